"""Files of builds and caches damaged at random: made again, one line, or the same data."""

import dataclasses
import pathlib
import random
import shutil

import numpy as np
import pytest

from f3ocus_jax._command_line import EXPECTED_ERRORS
from f3ocus_jax.data import cache
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.errors import DamagedError
from tests.helpers import damage
from tests.helpers.tables import data_config, dummy
from tfds_medvqa.build import build
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.integrity import MANIFEST

NAME, CANVAS = "vqa_rad/released", Canvas(6)
BUILD = "vqa_rad/released/1.0.0"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A folder with a build and its caches."""
    folder = tmp_path_factory.mktemp("pristine")
    read(folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return copy(pristine, tmp_path / "data")


def copy(pristine, folder, with_caches=True):
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns(*(() if with_caches else ("arrays_*",)))
    return shutil.copytree(pristine, folder, ignore=ignored)


def read(folder, with_source=True):
    """Everything that a run takes from a dataset."""
    manual_dir = dummy("vqa_rad") if with_source else ""
    clients, summary = read_tables(data_config(folder, NAME, manual_dir=manual_dir), CANVAS)
    found = {
        (client, split, name): value
        for client, splits in clients.items()
        for split, table in splits.items()
        for name, value in {
            "images": table.images[np.arange(len(table))].tolist(),
            "thumbnails": table.read_thumbnails().tolist(),
            "hashes": table.pixel_hash_N.tolist(),
            **{name: column.texts() for name, column in table.columns.items()},
        }.items()
    }
    return found, summary.lines()


def said(capsys, caplog):
    """Lines that were printed and logged since the last call."""
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if not line.startswith("building ")] + caplog.messages
    caplog.clear()
    return lines


@pytest.fixture
def assert_nothing_is_silent(pristine, tmp_path, capsys, caplog):
    whole = read(pristine)

    def check(draw):
        has_caches, has_source = draw.random() < 0.6, draw.random() < 0.7
        folder = copy(pristine, tmp_path / "data", has_caches)
        what = damage.described(folder, damage.damage(folder, draw))
        said(capsys, caplog)
        message = None
        try:
            assert read(folder, has_source) == whole, what
        except EXPECTED_ERRORS as error:
            message = str(error)
        lines = said(capsys, caplog) if message is None else [message]
        assert message is None or not has_source, (message, what)
        for line in lines:
            assert str(folder) in line, what
            assert "\n" not in line, what
        matters = [name for name in what if is_read(name, has_caches, what[name])]
        assert bool(lines) == bool(matters), (lines, what)
        named = (pathlib.PurePath(name).name in line for name in matters for line in lines)
        assert not matters or any(named), (lines, what)
        assert read(folder) == whole, what  # what was damaged was mended, or can be

    return check


def is_read(name, has_caches, what):
    """Whether a change must be noticed; where caches are whole, a shard's size alone counts."""
    if name.startswith("vqa_rad/.config/"):  # of TFDS, which only lists it
        return False
    before, after = what.replace(" before, now ", " ").replace("bytes", "").split()[:2]
    return before != after or not (has_caches and "array_record" in name)


def test_no_damage_to_a_build_or_a_cache_is_silent(assert_nothing_is_silent):
    for seed in range(16):
        assert_nothing_is_silent(random.Random(seed))


@pytest.mark.extended
def test_none_of_many_damages_to_builds_and_caches_is_silent(assert_nothing_is_silent):
    for seed in range(400):
        assert_nothing_is_silent(random.Random(f"many {seed}"))


def test_every_file_of_a_build_and_of_its_caches_is_missed_by_name(
    pristine, tmp_path, capsys, caplog
):
    for path in damage.files(pristine / BUILD):
        if path.parent.name == "test":  # as the other split's
            continue
        folder = copy(pristine, tmp_path / "data")
        (folder / path.relative_to(pristine)).unlink()
        said(capsys, caplog)
        read(folder)
        (line,) = said(capsys, caplog)[:1]
        assert str(folder / path.relative_to(pristine)) in line
        assert "is missing" in line


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_flip_in_what_describes_a_build_is_noticed_at_every_start(folder, name):
    path = folder / BUILD / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BuildError, match=rf"{name} is damaged: its checksum"):
        read(folder, with_source=False)


def test_a_damaged_build_without_its_source_is_refused_and_stays(folder):
    path = folder / BUILD / "dataset_info.json"
    path.write_text("")
    before = {each: each.read_bytes() for each in damage.files(folder)}
    message = (
        r"dataset_info\.json is damaged: 0 bytes .*; it cannot be built again: VQA-RAD.*manual"
    )
    with pytest.raises(BuildError, match=message):
        read(folder, with_source=False)
    assert {each: each.read_bytes() for each in damage.files(folder)} == before


def test_a_build_without_a_manifest_is_made_again(folder, capsys):
    (folder / BUILD / MANIFEST).unlink()
    read(folder)
    assert f"{MANIFEST} is missing" in capsys.readouterr().out
    assert (folder / BUILD / MANIFEST).exists()
    assert {path.name for path in (folder / BUILD).parent.iterdir()} == {"1.0.0"}


def test_a_build_whose_replacement_was_killed_is_found_again(folder, pristine):
    whole = read(pristine)
    (folder / BUILD).rename(folder / f"{BUILD}.damaged")
    assert read(folder, with_source=False) == whole
    assert {path.name for path in (folder / BUILD).parent.iterdir()} == {"1.0.0"}


def test_the_rest_of_a_damaged_build_is_removed_when_a_whole_one_stands_beside_it(folder, pristine):
    whole = read(pristine)
    (folder / f"{BUILD}.damaged").mkdir()
    (folder / f"{BUILD}.damaged" / "dataset_info.json").touch()
    assert read(folder, with_source=False) == whole
    assert {path.name for path in (folder / BUILD).parent.iterdir()} == {"1.0.0"}


def test_shards_are_read_when_a_cache_is_made_and_only_then(folder, pristine, capsys):
    whole = read(pristine)
    (shard,) = (folder / BUILD).glob("*train.array_record*")
    changed = bytearray(shard.read_bytes())
    changed[70_000] ^= 1
    shard.write_bytes(changed)
    assert read(folder, with_source=False) == whole
    shutil.rmtree(folder / BUILD / "arrays_6px" / "test")
    with pytest.raises(BuildError, match=r"train\.array_record.* is damaged: its checksum"):
        read(folder, with_source=False)
    capsys.readouterr()
    assert read(folder) == whole
    assert f"{shard} is damaged" in capsys.readouterr().out


def test_a_cache_of_another_build_split_or_canvas_is_not_taken(folder, pristine, caplog):
    whole = read(pristine)
    caches = folder / BUILD / "arrays_6px"
    other = build("phantom_medvqa/tiny", folder)
    cache.load(other, "phantom_medvqa/tiny", "train", CANVAS)
    foreign = pathlib.Path(other.data_dir) / "arrays_6px" / "train"
    larger = dataclasses.replace(CANVAS, side=9)
    cache.load(build(NAME, folder), NAME, "train", larger)
    for source in (foreign, caches / "test", folder / BUILD / "arrays_9px" / "train"):
        shutil.rmtree(caches / "train")
        shutil.copytree(source, caches / "train")
        caplog.clear()
        assert read(folder) == whole
        (line,) = caplog.messages
        assert f"{caches / 'train'} is of another build" in line


def test_a_moved_or_copied_build_keeps_its_caches(folder, monkeypatch):
    whole = read(folder)
    for path in damage.files(folder):
        path.touch()
    monkeypatch.setattr(cache, "_write", pytest.fail)
    assert read(folder) == whole


def test_a_damaged_cache_is_never_read(folder):
    builder = build(NAME, folder)
    (folder / BUILD / "arrays_6px" / "train" / "pixels.bin").unlink()
    (shard,) = (folder / BUILD).glob("*train.array_record*")
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DamagedError, match=r"train\.array_record"):
        cache.load(builder, NAME, "train", CANVAS)
    assert not (folder / BUILD / "arrays_6px" / "train.lock").exists()
