"""A lock has one owner at a time, and none that has ended."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from tfds_medvqa.common import owner_lock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.lock"


def write(path, seconds_ago=0.0, **changes):
    """A lock as another process would have left it, whose last sign of life was some time ago."""
    owner = dataclasses.replace(owner_lock.this_process(), **changes)
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    touched = path.stat().st_mtime - seconds_ago
    os.utime(path, (touched, touched))
    return owner


def take(path):
    """The lines that are said while the lock is taken and released."""
    said = []
    with owner_lock.held(path, said.append):
        pass
    return said


def test_a_lock_says_who_holds_it_and_is_gone_after_the_block(path):
    with owner_lock.held(path):
        with pytest.raises(
            owner_lock.HeldError, match=rf"process {os.getpid()} on \S+ \(since .* UTC"
        ):
            take(path)
        assert [each.name for each in path.parent.iterdir()] == ["run.lock"]
    assert not list(path.parent.iterdir())
    assert take(path) == []


def test_a_lock_is_released_on_an_error(path):
    with pytest.raises(KeyboardInterrupt), owner_lock.held(path):
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())


def test_a_lock_of_a_number_that_another_process_got_is_taken_over(path):
    write(path, process_start="1")
    (line,) = take(path)
    assert re.search(rf"process {os.getpid()} on .*ended", line)
    assert "\n" not in line


@pytest.mark.parametrize("seconds_ago", [0.0, owner_lock.STALE_SECONDS / 2])
def test_a_lock_of_another_machine_holds_while_it_is_renewed(path, seconds_ago):
    write(path, seconds_ago, machine="another", host="far", pid=1, process_start="1")
    with pytest.raises(owner_lock.HeldError, match="process 1 on far"):
        take(path)


def test_a_lock_of_another_machine_that_is_not_renewed_is_taken_over(path):
    write(path, 2 * owner_lock.STALE_SECONDS, machine="another", host="far", pid=1)
    (line,) = take(path)
    assert "process 1 on far" in line


def test_an_owner_on_this_machine_is_judged_by_its_process_alone(path):
    write(path, 100 * owner_lock.STALE_SECONDS)  # its file system stood still for hours
    with pytest.raises(owner_lock.HeldError):
        take(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_lock_that_is_cut_holds_until_it_is_old(path, content):
    path.write_text(content)
    with pytest.raises(owner_lock.HeldError):
        take(path)
    old = path.stat().st_mtime - 2 * owner_lock.STALE_SECONDS
    os.utime(path, (old, old))
    assert len(take(path)) == 1


def test_a_lock_is_renewed(path, monkeypatch):
    monkeypatch.setattr(owner_lock, "BEAT_SECONDS", 0.01)
    with owner_lock.held(path):
        os.utime(path, (1.0, 1.0))
        renewed = threading.Event()
        for _ in range(1000):
            if path.stat().st_mtime > 1.0 or renewed.wait(0.02):
                break
        assert path.stat().st_mtime > 1.0


def test_an_owner_that_lost_its_lock_is_told_and_leaves_the_new_one(path):
    with owner_lock.held(path) as taken_by:
        assert taken_by() is None
        other = write(path, pid=1)
        assert taken_by() == other
    assert path.exists()


def test_only_one_process_judges_a_lock_that_was_left_behind(path):
    write(path, process_start="1")
    write(path.with_name("run.lock.takeover"), pid=77)
    with pytest.raises(owner_lock.HeldError, match="process 77"):
        take(path)
    write(path.with_name("run.lock.takeover"), 2 * owner_lock.STALE_SECONDS, pid=77)
    assert len(take(path)) == 1
    assert not list(path.parent.iterdir())


def test_of_many_threads_one_at_a_time_holds_a_lock_that_was_left_behind(path):
    write(path, process_start="1")
    inside, most, said = [], [], []

    def work():
        with owner_lock.waited_for(path, "the work", said.append):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert sum("left behind" in line for line in said) == 1
    assert not list(path.parent.iterdir())


def test_a_killed_process_leaves_a_lock_that_is_taken_over(path):
    program = (
        "import pathlib, sys, time\n"
        "from tfds_medvqa.common import owner_lock\n"
        "with owner_lock.held(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(owner_lock.HeldError, match=f"process {process.pid} "):
            take(path)
        process.send_signal(signal.SIGKILL)
    assert path.exists()
    (line,) = take(path)
    assert f"process {process.pid} " in line
