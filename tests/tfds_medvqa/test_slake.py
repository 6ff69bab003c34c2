"""Questions of SLAKE in each config."""

import json
import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.common.errors import BuildError


def test_english_leaves_chinese_questions_out_and_bilingual_keeps_them(tmp_path):
    english = texts(build_dummy("slake/english", tmp_path))
    bilingual = texts(build_dummy("slake/bilingual", tmp_path))
    assert [len(english[split]) for split in ("train", "validation", "test")] == [2, 2, 2]
    assert [len(bilingual[split]) for split in ("train", "validation", "test")] == [3, 3, 3]
    answers = {example["answer"].decode() for example in bilingual["test"]}
    assert answers == {"mri", "有", "no"}


def test_released_types_organ_and_modality_are_kept(tmp_path):
    (example,) = (
        example
        for example in texts(build_dummy("slake/bilingual", tmp_path))["train"]
        if example["example_id"] == b"slake/1"
    )
    assert (example["answer_type"], example["question_type"]) == (b"closed", b"organ")
    assert (example["modality"], example["anatomy"]) == (b"mri", b"chest heart")
    assert example["image_id"] == b"xmlab0/source.jpg"


def test_an_entry_without_a_field_is_named(tmp_path):
    manual = shutil.copytree(dummy_folder("slake"), tmp_path / "manual")
    path = manual / "Slake1.0" / "test.json"
    entries = json.loads(path.read_text())
    del entries[2]["q_lang"]
    path.write_text(json.dumps(entries))
    with pytest.raises(BuildError, match=r"test\.json: entry 2 has no 'q_lang'"):
        build_dummy("slake/english", tmp_path, manual)


def test_the_validation_file_may_have_the_name_of_other_releases(tmp_path):
    manual = shutil.copytree(dummy_folder("slake"), tmp_path / "manual")
    (manual / "Slake1.0" / "validate.json").rename(manual / "Slake1.0" / "validation.json")
    assert len(texts(build_dummy("slake/english", tmp_path, manual))["validation"]) == 2
