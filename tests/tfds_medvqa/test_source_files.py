"""Every builder's build knows the files that it was made of."""

import fnmatch
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers.marking import marked
from tests.helpers.paths import REPOSITORY
from tests.tfds_medvqa.attacks import CONFIGS
from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder
from tfds_medvqa.common import source_files

PICTURES = (".png", ".jpg")
UNUSED = {
    "pmc_vqa": ("*_2.csv", "test_clean.csv"),
    "mimic_cxr": ("*/s50000004.txt",),
    "modality_images": ("upstream/*", "modalities/[!c]*"),
}
"""Files of the dummy data that the config does not read: other versions, a study without labels,
hospitals other than that of CT."""


def read_files(dataset):
    """Paths of the files of rows in the dummy data that a build reads."""
    folder = dummy_folder(dataset)
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {
        name
        for name in names
        if not name.endswith(PICTURES)
        and not any(fnmatch.fnmatch(name, pattern) for pattern in UNUSED.get(dataset, ()))
    }


def test_a_build_keeps_the_names_of_all_files_of_rows(tmp_path):
    for dataset, config in CONFIGS.items():
        built = build_dummy(f"{dataset}/{config}", tmp_path)
        text = (built.data_path / source_files.FILE).read_text()
        names = json.loads(text)["files"]
        assert read_files(dataset) == {name for name in names if not name.endswith(PICTURES)}


@pytest.mark.parametrize("dataset", marked(CONFIGS, extended=set(CONFIGS) - {"path_vqa"}))
def test_a_file_of_rows_that_changes_is_named_and_the_dataset_built_again(
    dataset, tmp_path, capsys
):
    manual, name = tmp_path / "manual", f"{dataset}/{CONFIGS[dataset]}"
    shutil.copytree(dummy_folder(dataset), manual)
    build_dummy(name, tmp_path / "data", manual)
    capsys.readouterr()
    build_dummy(name, tmp_path / "data", manual)
    assert capsys.readouterr().out == ""
    path = manual / min(read_files(dataset))
    shutil.copyfile(path, tmp_path / "copy")
    path.unlink()
    shutil.copyfile(tmp_path / "copy", path)
    build_dummy(name, tmp_path / "data", manual)
    assert f"{path.name} has changed since" in capsys.readouterr().out


CHANGE = """
import pathlib, sys
from tfds_medvqa.common import source_files
build, root = map(pathlib.Path, sys.argv[1:])
print(ascii(source_files.change_of(build, root)))
source_files.write(build, root, root.iterdir())
"""


def test_a_record_is_the_same_where_the_locale_is_ascii(tmp_path):
    root, build = tmp_path / "root", tmp_path / "build"
    root.mkdir()
    build.mkdir()
    (root / "größe.csv").touch()
    source_files.write(build, root, root.iterdir())
    record = (build / source_files.FILE).read_text(encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-c", CHANGE, str(build), str(root)],
        env=os.environ | ascii_only | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "None\n"
    assert (build / source_files.FILE).read_text(encoding="utf-8") == record
