"""VQA-Med 2020's splits are read from their own files."""

import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.common.errors import BuildError


def test_every_split_has_its_images_and_the_first_reference_answer(tmp_path):
    splits = texts(build_dummy("vqa_med_2020/challenge", tmp_path))
    images = {
        split: sorted(example["image_id"].decode() for example in examples)
        for split, examples in splits.items()
    }
    assert images == {
        "train": ["synpic11.jpg", "synpic12.jpg"],
        "validation": ["synpic13.jpg"],
        "test": ["synpic14.jpg"],
    }
    assert [example["answer"] for example in splits["test"]] == [b"finding 14"]
    assert splits["test"][0]["question_type"] == b"abnormality"


def test_a_question_without_a_reference_is_named(tmp_path):
    manual = shutil.copytree(dummy_folder("vqa_med_2020"), tmp_path / "manual")
    (path,) = manual.rglob("*ReferenceAnswers.txt")
    path.write_text("synpic99|a lesion\n")
    with pytest.raises(BuildError, match=r"ReferenceAnswers\.txt: has no answer for synpic14"):
        build_dummy("vqa_med_2020/challenge", tmp_path, manual)
