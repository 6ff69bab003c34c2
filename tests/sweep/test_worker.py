"""Workers do every run once, take over from dead ones, and survive runs that fail."""

import gc
import json
import multiprocessing
import os
import pathlib
import signal
import threading
import time
import types

import pytest

from f3ocus_jax import interrupts
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.sweep import launching, marks, overview, worker
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import make_plan
from tests.helpers.sweep_plans import sweep_of

SEEDS = (0, 1, 2, 3)


@pytest.fixture
def runs(tmp_path):
    return make_plan(sweep_of(seeds=SEEDS), tmp_path)


def record_of(seconds):
    """A round that takes the seconds, and as many again to compile."""
    return types.SimpleNamespace(steady_seconds=seconds, compiling_seconds=seconds)


@pytest.fixture
def federation(monkeypatch):
    """A federation that only notes its seed; what is put into `errors` by seed is raised."""
    seen, errors = [], {}

    def run(config, folder, *, with_figures):
        assert not with_figures
        seen.append(config.seed)
        print("round 1")
        if config.seed in errors:
            raise errors[config.seed]
        return [record_of(9.0), record_of(1.0)]

    monkeypatch.setattr(worker.experiment, "run", run)
    return types.SimpleNamespace(seen=seen, errors=errors)


def test_every_run_is_done_once_and_none_again(runs, federation, tmp_path, capsys):
    worker.work(runs)
    assert federation.seen == [0, 1, 2, 3]
    assert capsys.readouterr().out.splitlines() == [
        f"[{number} of 4] phantom:tiny f3ocus seed {number - 1}" for number in (1, 2, 3, 4)
    ]
    assert (runs[0].folder(tmp_path) / "log.txt").read_text() == "round 1\n"
    worker.work(runs)
    assert federation.seen == [0, 1, 2, 3]
    more = make_plan(sweep_of(seeds=(*SEEDS, 8)), tmp_path)
    worker.work(more)
    assert federation.seen == [0, 1, 2, 3, 8]


def test_programs_are_counted_after_every_run(runs, federation, monkeypatch):
    counted = []
    monkeypatch.setattr(
        worker.programs, "forget_if_many", lambda: counted.append(list(federation.seen))
    )
    worker.work(runs)
    assert counted == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_a_run_that_fails_is_recorded_and_stops_no_other(runs, federation, tmp_path):
    federation.errors[1] = ValueError("the loss\nis nan")
    said = []
    worker.work(runs, said.append)
    assert [marks.state_of(run, tmp_path) for run in runs] == [
        State.FINISHED,
        State.FAILED,
        State.FINISHED,
        State.FINISHED,
    ]
    failed = json.loads((runs[1].folder(tmp_path) / marks.FAILED).read_text())
    assert (failed["kind"], failed["error"]) == ("ValueError", "the loss is nan")
    assert "in run" in failed["traceback"]
    assert "failed: phantom:tiny f3ocus seed 1: the loss is nan" in said
    lines = overview.status_lines(runs)
    assert "failed: phantom:tiny f3ocus seed 1: the loss is nan" in lines
    assert "4 runs: 3 finished, 1 failed, 0 left" in lines


def test_an_interrupt_ends_the_worker_and_leaves_the_run(runs, federation, tmp_path):
    federation.errors[1] = worker.Interrupted(signal.SIGINT)
    with pytest.raises(worker.Interrupted):
        worker.work(runs, lambda line: None)
    assert federation.seen == [0, 1]
    assert marks.state_of(runs[1], tmp_path) is State.LEFT
    assert not list((tmp_path / marks.LEASES).glob("*.lock"))


def test_an_error_that_was_a_signal_leaves_the_run_and_is_no_failure(runs, monkeypatch, tmp_path):
    def run(config, folder, *, with_figures):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            raise TypeError from None

    monkeypatch.setattr(worker.experiment, "run", run)
    with pytest.raises(worker.Interrupted), interrupts.raised():
        worker.work(runs, lambda line: None)
    assert marks.state_of(runs[0], tmp_path) is State.LEFT


def slow_worker(tmp_path, seconds):
    """A worker of a process of its own, whose runs take a while and note their process."""
    runs = make_plan(sweep_of(seeds=SEEDS), tmp_path)

    def run(config, folder, *, with_figures):
        with (tmp_path / "done.txt").open("a") as file:
            file.write(f"{config.seed} {os.getpid()}\n")
        time.sleep(seconds)
        return [record_of(0.0), record_of(seconds)]

    worker.experiment = types.SimpleNamespace(run=run)
    worker.POLL_SECONDS = 0.05
    worker.work(runs, lambda line: None)


def start(tmp_path, seconds):
    process = multiprocessing.get_context("fork").Process(
        target=slow_worker, args=(tmp_path, seconds)
    )
    process.start()
    return process


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError("nothing happened")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_two_workers_share_the_runs_and_one_takes_over_from_a_dead_one(tmp_path, runs):
    done = tmp_path / "done.txt"
    first = start(tmp_path, 60.0)
    wait_for(lambda: done.is_file() and done.read_text().count("\n") == 1)
    assert f"process {first.pid} on" in overview.status_lines(runs)[0]
    second = start(tmp_path, 0.01)
    wait_for(lambda: done.read_text().count("\n") == 4)
    assert second.is_alive()  # It waits for the run that the first one holds.
    assert marks.state_of(runs[0], tmp_path) is State.LEFT
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    second.join(30)
    assert second.exitcode == 0
    rows = [line.split() for line in done.read_text().splitlines()]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "0"]
    assert {row[1] for row in rows[1:]} == {str(second.pid)}
    assert {marks.state_of(run, tmp_path) for run in runs} == {State.FINISHED}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_jobs_of_a_scheduler_do_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(launching, "MODULE", ("-c", "import sys; print('working on', sys.argv[1])"))
    lines = launching.launch("local", tmp_path, 2)
    assert len(lines) == 2
    logs = [pathlib.Path(line.partition(": ")[2]) for line in lines]
    expected = f"working on --workdir={tmp_path}"
    wait_for(lambda: all(log.is_file() and expected in log.read_text() for log in logs))
    gc.collect()  # The scheduler's processes, of which Python warns when it finds them.


def test_a_scheduler_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="--launch=slurm: Could not detect"):
        launching.launch("slurm", tmp_path, 1)


WAITING = """
import pathlib, sys, time
from f3ocus_jax import interrupts
interrupts.end_at_once()
pathlib.Path(sys.argv[3].partition("=")[2], sys.argv[1]).touch()
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processes on chosen cores")
def test_workers_end_with_their_command_and_say_nothing(tmp_path, monkeypatch, capfd):
    """As Ctrl-C does, the signal reaches a worker as well, which ends twice."""
    monkeypatch.setattr(launching, "PINNED", WAITING)
    monkeypatch.setattr(launching, "_cores", lambda: [0, 1])
    started, start = [], launching._start
    monkeypatch.setattr(
        launching, "_start", lambda *given: started.append(start(*given)) or started[-1]
    )

    def interrupt():
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        started[0].send_signal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(worker.Interrupted), interrupts.raised():
        launching.work_here(tmp_path, 2)
    first, second = started
    assert second.returncode == 143
    # Either signal may come first; of a process whose end its parent has seen while it was
    # interrupted itself, Python says 0.
    assert first.returncode in (130, 143, 0)
    assert capfd.readouterr().err == ""


def test_workers_get_cores_of_their_own(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(launching, "_cores", lambda: [0, 1, 2, 3, 4])
    monkeypatch.setattr(
        launching,
        "_start",
        lambda workdir, share: started.append(share) or types.SimpleNamespace(wait=lambda: 0),
    )
    launching.work_here(tmp_path, 2)
    assert started == [[0, 2, 4], [1, 3]]
    with pytest.raises(ConfigError, match="--workers=6, must be at most 5, the cores here"):
        launching.work_here(tmp_path, 6)
