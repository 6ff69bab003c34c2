"""Releases as people hold them: marked, compressed, or read where the locale is ASCII."""

import gzip
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers import own_files
from tests.helpers.marking import marked
from tests.helpers.paths import REPOSITORY
from tests.tfds_medvqa.attacks import (
    CONFIGS,
    CSV,
    JSON,
    MADE_QUESTIONS,
    NAMED,
    PIPED,
    own_image,
    set_field,
    suffix_of,
)
from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tests.tfds_medvqa.dummy_files import picture
from tfds_medvqa.build import build

MARK = b"\xef\xbb\xbf"
TEXT_SUFFIXES = (".json", ".txt", ".csv", ".xml")
ENDS = "odd\u2028one\u2029two\u0085three"
"""A text with characters that Python's `splitlines` takes for the end of a line."""
MORE_ENDS = "\x0cfour\x0bfive\x1csix\x1dseven\x1eeight"
"""More of them, which XML does not allow."""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def copied(dataset, folder):
    return shutil.copytree(dummy_folder(dataset), folder / "manual")


def examples_of(dataset, folder, manual=None):
    """The examples of all splits by identifier."""
    splits = texts(build_dummy(f"{dataset}/{CONFIGS[dataset]}", folder, manual))
    return {each["example_id"]: each for examples in splits.values() for each in examples}


def quick(*datasets):
    """All datasets, of which the others are left to `make test-all`."""
    return marked(CONFIGS, extended=set(CONFIGS) - set(datasets))


@pytest.mark.parametrize("dataset", quick("pmc_vqa"))
def test_texts_may_begin_with_a_byte_order_mark(dataset, tmp_path):
    manual = copied(dataset, tmp_path)
    for path in manual.rglob("*"):
        if path.suffix in TEXT_SUFFIXES:
            path.write_bytes(MARK + path.read_bytes())
        elif path.suffix == ".gz":
            path.write_bytes(gzip.compress(MARK + gzip.decompress(path.read_bytes())))
    assert examples_of(dataset, tmp_path / "a", manual) == examples_of(dataset, tmp_path / "b")


@pytest.mark.parametrize("dataset", marked((*JSON, *PIPED, *CSV), extended=(*JSON, *PIPED)))
def test_tables_may_be_compressed(dataset, tmp_path):
    manual = copied(dataset, tmp_path)
    tables = [path for path in manual.rglob("*") if path.suffix in TEXT_SUFFIXES]
    for path in tables:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert tables
    assert examples_of(dataset, tmp_path / "a", manual) == examples_of(dataset, tmp_path / "b")


@pytest.mark.parametrize(
    "dataset",
    marked(
        [each for each in CONFIGS if each not in MADE_QUESTIONS],
        extended=set(CONFIGS) - {"slake"},
    ),
)
def test_rows_end_at_newlines_alone(dataset, tmp_path):
    manual, asked = copied(dataset, tmp_path), ENDS
    asked += "" if dataset == "open_i" else MORE_ENDS
    set_field(dataset, manual, "question", asked)
    changed, before = examples_of(dataset, tmp_path / "a", manual), examples_of(dataset, tmp_path)
    assert changed.keys() == before.keys()
    words = " ".join(asked.split()).encode()
    assert sum(words in each["question"] for each in changed.values()) == 1


BUILD = """
import json, pathlib, sys
from tests.tfds_medvqa.dummy_builds import build_dummy, texts
from tfds_medvqa.build import build
for name in sys.argv[2:]:
    folder = pathlib.Path(sys.argv[1])
    if name == "files":
        splits = texts(build(f"files:{folder}/Gr\\u00f6\\u00dfe", folder / "data"))
    else:
        splits = texts(build_dummy(name, folder / "data", folder / name.partition("/")[0]))
    ids = [[each["image_id"].decode(), each["question"].decode()]
           for examples in splits.values() for each in examples]
    (folder / "found").mkdir(exist_ok=True)
    (folder / "found" / name.partition("/")[0]).write_text(json.dumps(ids), encoding="utf-8")
"""


def name_in_german(dataset, manual):
    """Gives the first row an image whose name is not ASCII, and a question, if it names one."""
    if dataset == "mimic_cxr":
        own_image(dataset, manual).rename(next(manual.rglob("s50000001")) / "größe.jpg")
        set_field(dataset, manual, "image", "größe")
        return
    set_field(dataset, manual, "question", "Größe?")
    if dataset in NAMED:
        path = own_image(dataset, manual)
        set_field(dataset, manual, "image", f"größe{suffix_of(dataset)}")
        picture(path.with_name(f"größe{path.suffix}"), 1)


def write_own_folders(folder):
    """A user's own folders of two hospitals."""
    for hospital in ("Zürich", "Malmö"):
        rows = [
            {"image": f"größe_{number}.png", "question": "Groß?", "answer": "ja", "patient": number}
            for number in range(4)
        ]
        own_files.write_pictures(folder / hospital, rows)
        columns = ("image", "question", "answer", "patient")
        own_files.write_csv(folder / hospital / "fragen.csv", rows, columns)


@pytest.mark.extended
def test_every_builder_works_where_the_locale_is_ascii(tmp_path, capsys):
    names = [*(f"{dataset}/{config}" for dataset, config in CONFIGS.items()), "files"]
    for dataset in CONFIGS:
        name_in_german(dataset, shutil.copytree(dummy_folder(dataset), tmp_path / dataset))
    write_own_folders(tmp_path / "Größe")
    arguments = [sys.executable, "-c", BUILD, str(tmp_path), *names]
    environment = os.environ | ASCII | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, capture_output=True, check=False
    )
    assert process.returncode == 0, process.stderr.decode()
    for dataset in (*CONFIGS, "files"):
        told = json.loads((tmp_path / "found" / dataset).read_text(encoding="utf-8"))
        assert any("größe" in image or "Größe" in asked for image, asked in told), dataset
        # The same files under another locale are the same source.
        capsys.readouterr()
        if dataset == "files":
            splits = texts(build(f"files:{tmp_path}/Größe", tmp_path / "data"))
            expected = {each["example_id"]: each for split in splits.values() for each in split}
        else:
            expected = examples_of(dataset, tmp_path / "data", tmp_path / dataset)
        assert capsys.readouterr().out == ""
        assert sorted(told) == sorted(
            [each["image_id"].decode(), each["question"].decode()] for each in expected.values()
        )
