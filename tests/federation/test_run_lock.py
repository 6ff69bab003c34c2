"""A run's folder belongs to one process, which removes what a killed one left."""

import dataclasses
import json
import pathlib

import pytest
from etils import epath

from f3ocus_jax import pretrain
from f3ocus_jax.errors import LockedError
from f3ocus_jax.federation import experiment, run_lock, runs
from tests.helpers.configs import read_config
from tfds_medvqa.common import owner_lock


def leave_lock(path, **changes):
    owner = dataclasses.replace(owner_lock.this_process(), **changes)
    path.write_text(json.dumps(dataclasses.asdict(owner)))


def test_a_second_run_in_a_folder_is_refused_before_it_reads_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "assemble", pytest.fail)
    leave_lock(tmp_path / run_lock.LOCK)
    with pytest.raises(LockedError, match=r"in use by process \d+ on .*choose another") as caught:
        runs.run(read_config("tiny", tmp_path / "data"), tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_run_holds_the_lock_from_its_start_and_releases_it_on_an_error(tmp_path):
    def fail(config):
        assert (tmp_path / run_lock.LOCK).is_file()
        raise OSError("no data")

    with pytest.raises(OSError, match="no data"):
        experiment.run(read_config("tiny", tmp_path / "data"), tmp_path, make_parts=fail)
    assert not list(tmp_path.iterdir())


def test_pretraining_holds_the_lock_too(tmp_path, monkeypatch):
    leave_lock(tmp_path / run_lock.LOCK)
    monkeypatch.setattr(pretrain._command_line, "prepare_workdir", lambda: tmp_path)
    monkeypatch.setattr(pretrain.parsing, "parse", lambda *_: None)
    with pytest.raises(LockedError):
        pretrain.main(None)


def test_two_folders_cannot_share_checkpoints(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    shared = epath.Path(tmp_path / "shared")
    with run_lock.owned(first, shared):
        assert run_lock.is_seen(first, shared)
        assert run_lock.is_seen(second, shared)  # a host with a workdir of its own
        assert not run_lock.is_seen(second, epath.Path(second / "checkpoints"))
        with pytest.raises(LockedError, match="shared is in use"), run_lock.owned(second, shared):
            pass
        assert not list(second.iterdir())
    with run_lock.owned(second, shared):
        pass


def test_an_address_of_checkpoints_has_no_lock(tmp_path):
    with run_lock.owned(tmp_path, epath.Path("gs://bucket/run")):
        assert [path.name for path in tmp_path.iterdir()] == [run_lock.LOCK]


def test_a_run_whose_lock_was_taken_over_stops(tmp_path):
    with run_lock.owned(tmp_path) as check:
        check()
        leave_lock(tmp_path / run_lock.LOCK, host="far")
        with pytest.raises(LockedError, match=r"taken over by .* far"):
            check()


def test_other_hosts_of_a_federation_take_no_lock_and_hear_of_a_refusal(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock.hosts, "is_first", lambda: False)
    with run_lock.owned(tmp_path):
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr(run_lock.hosts, "all_gather", lambda own: ["in use", own])
    with pytest.raises(LockedError, match="in use"), run_lock.owned(tmp_path):
        pass


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    kept = ["run.json", "records.jsonl", "model/config.json", "figures/loss.png", "notes.tmpl"]
    left = [
        "run.json.tmp",
        "partition.tmp",
        "records.jsonl.tmp",
        ".writable-12",
        "model/.adapters.safetensors.partial-12",
        "model/.config.json.partial-12",
        "model/peft_adapter/.adapter_model.safetensors.partial-12",
        "peft_adapter/.adapter_config.json.partial-12",
        "model/.f3ocus_manifest.json.partial",
        "figures/loss.png.tmp",
        ".model.safetensors.partial-12",
        ".run.lock.clock-12",
    ]
    for name in kept + left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with run_lock.owned(tmp_path):
        pass
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(kept)


def test_a_file_that_is_gone_before_it_is_removed_is_no_error(tmp_path, monkeypatch):
    """On a shared folder, the process that wrote it may remove it in the meantime."""
    gone = tmp_path / "run.json.tmp"
    monkeypatch.setattr(pathlib.Path, "glob", lambda self, pattern: iter([gone]))
    run_lock.remove_unfinished(tmp_path)
    assert not gone.exists()
