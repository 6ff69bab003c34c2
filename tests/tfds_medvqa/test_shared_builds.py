"""Of several processes that want one dataset, one builds it, and nothing of killed ones stays."""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import gcs_utils

from tests.helpers.paths import REPOSITORY
from tests.tfds_medvqa.dummy_builds import build_dummy, builder_class, dummy_folder
from tfds_medvqa.build import BUILDERS, prepare
from tfds_medvqa.common import interrupts, owner_lock
from tfds_medvqa.common.local_builder import LocalBuilder

NAME = "vqa_rad/released"
SKIP = {"image": tfds.decode.SkipDecoding()}


def make_builder(data_dir):
    return builder_class("vqa_rad")(
        config="released", data_dir=data_dir, file_format="array_record"
    )


def test_a_builder_reads_the_counts_of_what_was_built_after_it_was_made(tmp_path):
    early = make_builder(tmp_path)
    built = build_dummy(NAME, tmp_path)
    prepare(early, dummy_folder("vqa_rad"))
    assert early.info.splits["train"].num_examples == built.info.splits["train"].num_examples
    assert len(early.as_data_source("train")) > 0


def test_a_dataset_that_another_process_builds_is_waited_for(tmp_path, monkeypatch, capsys):
    early = make_builder(tmp_path / "data")
    folder = early.data_path
    build_dummy(NAME, tmp_path / "elsewhere")
    finished = make_builder(tmp_path / "elsewhere").data_path
    folder.parent.mkdir(parents=True)
    lock = folder.parent / f"{folder.name}.lock"
    lock.write_text("")  # of a process that is just starting

    def finish(seconds):
        finished.rename(folder)
        lock.unlink()

    capsys.readouterr()
    monkeypatch.setattr(owner_lock.time, "sleep", finish)
    monkeypatch.setattr(type(early), "download_and_prepare", pytest.fail)
    prepare(early, dummy_folder("vqa_rad"))
    assert len(early.as_data_source("train")) > 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("waiting for ")
    assert "builds vqa_rad/released" in line


def test_preparing_a_damaged_build_again_makes_it_whole(tmp_path, capsys):
    builder = build_dummy(NAME, tmp_path)
    expected = list(builder.as_data_source("test", decoders=SKIP))
    (shard,) = builder.data_path.glob("*-test.array_record*")
    shard.write_bytes(shard.read_bytes()[:-1])
    prepare(builder, dummy_folder("vqa_rad"))
    assert f"{shard} is damaged: " in capsys.readouterr().out
    assert list(builder.as_data_source("test", decoders=SKIP)) == expected
    assert builder.info.splits["test"].num_examples == len(expected)


def test_a_build_asks_no_bucket_and_leaves_nothing_among_temporary_files(tmp_path, monkeypatch):
    for name in ("gcs_dataset_info_files", "is_dataset_on_gcs"):
        monkeypatch.setattr(gcs_utils, name, pytest.fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    build_dummy(NAME, tmp_path / "data")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not [path for path in (tmp_path / "data").rglob("*") if "tmp" in path.name]


@pytest.mark.parametrize("dataset", BUILDERS)
def test_no_builder_looks_for_its_dataset_in_a_bucket(dataset):
    builder = importlib.import_module(BUILDERS[dataset]).Builder
    assert issubclass(builder, LocalBuilder)


def test_downloads_of_killed_processes_are_removed_and_those_of_others_are_not(tmp_path):
    downloads = tmp_path / "downloads"
    for name, age in {"old.tmp.0a": 7200, "new.tmp.0b": 60, "kept.npz": 7200}.items():
        (downloads / name).mkdir(parents=True)
        for path in (downloads / name / "part", downloads / name):
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
    build_dummy(NAME, tmp_path)
    names = {path.name for path in downloads.iterdir()}
    assert names & {"old.tmp.0a", "new.tmp.0b", "kept.npz"} == {"new.tmp.0b", "kept.npz"}


def test_unfinished_builds_of_the_same_dataset_are_removed(tmp_path):
    folder = make_builder(tmp_path).data_path
    same = folder.parent / f"incomplete.ABCDEF_{folder.name}"
    other = folder.parent / "incomplete.ABCDEF_9.9.9"
    for path in (same, other):
        path.mkdir(parents=True)
        (path / "part").touch()
    build_dummy(NAME, tmp_path)
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, other.name}


def test_a_build_that_is_stopped_as_tfds_makes_its_folder_leaves_none(tmp_path, monkeypatch):
    builder = make_builder(tmp_path)

    def make_folder_and_stop(*args, **kwargs):
        (builder.data_path.parent / f"incomplete.ABCDEF_{builder.data_path.name}").mkdir()
        raise interrupts.Interrupted(signal.SIGINT)

    monkeypatch.setattr(builder, "download_and_prepare", make_folder_and_stop)
    with pytest.raises(interrupts.Interrupted):
        prepare(builder)
    assert not list(builder.data_path.parent.iterdir())


@pytest.mark.extended
def test_two_processes_build_and_cache_one_dataset_in_an_empty_folder(tmp_path):
    program = (
        "import sys\n"
        "from f3ocus_jax.data import cache\n"
        "from f3ocus_jax.data.images import Canvas\n"
        "from tfds_medvqa.build import build\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "builder = build('phantom_medvqa/tiny', sys.argv[1])\n"
        "for split in ('train', 'test'):\n"
        "    table = cache.load(builder, 'phantom_medvqa/tiny', split, Canvas(16))\n"
        "    print(split, len(table), int(table.images[0].sum()), flush=True)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    lines = [out.splitlines() for out, _ in outputs]
    assert sum(line.startswith("building ") for out in lines for line in out) == 1
    counts = {tuple(line for line in out if line[:5] in ("train", "test ")) for out in lines}
    assert len(counts) == 1
    names = {path.name for path in tmp_path.rglob("*")}
    assert not [name for name in names if "incomplete" in name or "lock" in name or "clock" in name]
