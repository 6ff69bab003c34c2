"""PMC-VQA in both versions, asked openly and with choices."""

import csv
import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tests.tfds_medvqa.dummy_files import write_csv
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.rows import ReadOptions

ASKED = "What is the uptake pattern?"
CHOICES = "A: Focal uptake B: Diffuse uptake C: No uptake D: Cannot be told"


@pytest.fixture
def manual(tmp_path):
    return shutil.copytree(dummy_folder("pmc_vqa"), tmp_path / "manual")


def told(name, folder, manual=None, **options):
    """Questions and answers of every split in the order of their rows."""
    splits = texts(build_dummy(name, folder, manual, **options))
    return {
        split: [
            tuple(each[key].decode() for key in ("question", "answer"))
            for each in sorted(examples, key=lambda example: example["example_id"])
        ]
        for split, examples in splits.items()
    }


def change(path, **fields):
    """Changes fields of the first row of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0].update({name.replace("_", " "): text for name, text in fields.items()})
    write_csv(path, rows)


@pytest.mark.parametrize("version", ["version_1", "version_2"])
def test_both_versions_answer_with_the_text_or_the_letter_of_the_right_choice(version, tmp_path):
    assert told(f"pmc_vqa/{version}", tmp_path) == {
        "train": [(ASKED, "focal uptake"), (ASKED, "diffuse uptake")],
        "test": [(ASKED, "no uptake"), (ASKED, "cannot be told")],
    }
    asked = f"{ASKED} {CHOICES}"
    assert told(f"pmc_vqa/{version}_choices", tmp_path) == {
        "train": [(asked, "a"), (asked, "b")],
        "test": [(asked, "c"), (asked, "d")],
    }


def test_the_checked_test_set_takes_the_place_of_the_other(tmp_path):
    whole, checked = (told(f"pmc_vqa/version_1{end}", tmp_path) for end in ("", "_clean"))
    assert checked["train"] == whole["train"]
    assert checked["test"] == [(ASKED, "no uptake")]


def test_an_answer_loses_the_letter_before_it(manual, tmp_path):
    change(manual / "train.csv", Answer="A: Focal uptake")
    assert told("pmc_vqa/version_1", tmp_path, manual)["train"][0] == (ASKED, "focal uptake")


def test_a_version_s_figures_are_found_whatever_their_folder(manual, tmp_path):
    (manual / "images").rename(manual / "images_2" / "unpacked")
    assert len(told("pmc_vqa/version_1", tmp_path, manual)["train"]) == 2


def test_a_letter_that_is_none_and_a_choice_of_a_letter_alone_are_named(manual, tmp_path):
    change(manual / "train_2.csv", Answer="E")
    with pytest.raises(BuildError, match=r"train_2\.csv, line 3 has 'Answer' 'E', expected A, B"):
        told("pmc_vqa/version_2", tmp_path, manual)
    change(manual / "train_2.csv", Answer="A", Choice_A=" A: ")
    with pytest.raises(BuildError, match="has an empty 'Choice A'"):
        told("pmc_vqa/version_2", tmp_path, manual)
    skip = ReadOptions(invalid_rows="skip")
    assert len(told("pmc_vqa/version_2", tmp_path, manual, options=skip)["train"]) == 1


def test_figures_that_are_all_absent_are_named_by_the_first(manual, tmp_path):
    shutil.rmtree(manual / "images")
    with pytest.raises(BuildError, match=r"PMC-VQA: PMC101_F1\.jpg is not in .*CC BY-SA"):
        told("pmc_vqa/version_1", tmp_path, manual)
