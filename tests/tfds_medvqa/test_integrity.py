import hashlib
import json
import pwd
import random

import pytest
import xxhash

from tfds_medvqa.common import integrity
from tfds_medvqa.common.errors import DamagedError
from tfds_medvqa.common.integrity import MANIFEST, check_manifest, has_manifest, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b.bin").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "empty").touch()
    write_manifest(tmp_path)
    return tmp_path


def test_a_manifest_lists_every_file_with_its_size_and_checksum(folder):
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert list(files) == ["a.txt", "deep/er/b.bin", "empty"]
    content = (folder / "deep/er/b.bin").read_bytes()
    expected = {"bytes": len(content), "xxh3_128": xxhash.xxh3_128(content).hexdigest()}
    assert files["deep/er/b.bin"] == expected
    check_manifest(folder)


def test_a_manifest_is_written_and_checked_for_a_user_without_a_name(folder, monkeypatch):
    """As in containers that run under a number that the system's list of users has not."""

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    write_manifest(folder)
    assert check_manifest(folder)["a.txt"]["bytes"] == len("text")


def test_a_manifest_of_another_algorithm_is_still_checked(folder, monkeypatch):
    monkeypatch.setattr(integrity, "ALGORITHM", "sha256")
    write_manifest(folder)
    monkeypatch.undo()
    content = (folder / "a.txt").read_bytes()
    expected = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert check_manifest(folder)["a.txt"] == expected
    (folder / "a.txt").write_bytes(bytes(len(content)))
    with pytest.raises(DamagedError, match=r"a\.txt is damaged"):
        check_manifest(folder)


def test_a_manifest_of_an_unknown_algorithm_is_refused(folder, monkeypatch):
    monkeypatch.setattr(integrity, "ALGORITHM", "xxh9")
    monkeypatch.setattr(integrity, "ALGORITHMS", {"xxh9": hashlib.sha256})
    write_manifest(folder)
    monkeypatch.undo()
    with pytest.raises(DamagedError, match=r"checksum .* is xxh9, known are xxh3_128, sha256"):
        check_manifest(folder)


def test_files_that_a_manifest_does_not_list_are_ignored(folder):
    (folder / "README.md").write_text("a note")
    check_manifest(folder)


def test_a_manifest_of_chosen_files_lists_these_alone(folder):
    write_manifest(folder, ["a.txt"])
    (folder / "empty").unlink()
    check_manifest(folder)
    assert list(json.loads((folder / MANIFEST).read_text())["files"]) == ["a.txt"]


@pytest.mark.parametrize("name", ["a.txt", "deep/er/b.bin", "empty", MANIFEST])
def test_a_file_that_is_gone_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DamagedError, match=name):
        check_manifest(folder)


def test_a_folder_without_a_manifest_is_told_apart(folder):
    assert has_manifest(folder)
    (folder / MANIFEST).unlink()
    assert not has_manifest(folder)


@pytest.mark.parametrize("name", ["a.txt", "deep/er/b.bin", MANIFEST])
def test_every_flipped_bit_and_every_cut_is_named(folder, name):
    draw, path = random.Random(name), folder / name
    whole = path.read_bytes()
    for _ in range(50):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        for damaged in (bytes(changed), whole[: draw.randrange(len(whole))]):
            path.write_bytes(damaged)
            with pytest.raises(DamagedError) as caught:
                check_manifest(folder)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)
