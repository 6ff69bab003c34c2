"""VQA-RAD builds completely, and its splits are as documented."""

import collections
import json
import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.build import build
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.vqa_rad.vqa_rad_dataset_builder import QUESTIONS, question_types


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    builder = build_dummy("vqa_rad/released", tmp_path_factory.mktemp("data"))
    return {
        example["example_id"].decode(): example
        for split in ("train", "test")
        for example in builder.as_data_source(split)
    }


def test_stray_spaces_numbers_and_codes_are_read(examples):
    assert examples["vqa_rad/0"]["answer_type"] == b"closed"
    assert examples["vqa_rad/0"]["question"] == b"Is there a mass?"
    assert examples["vqa_rad/2"]["answer"] == b"left lung"
    assert examples["vqa_rad/2"]["question_type"] == b"position, abnormality"
    assert examples["vqa_rad/3"]["answer"] == b"2"
    assert examples["vqa_rad/5"]["answer"] == b"2"
    assert examples["vqa_rad/4"]["question_type"] == b"presence"
    assert examples["vqa_rad/3"]["anatomy"] == b"abdomen"


def test_an_unknown_question_type_is_refused():
    assert question_types("PRES") == "presence"
    with pytest.raises(BuildError, match=r"question_type 'PRES, FOO', expected ABN"):
        question_types("PRES, FOO")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_organ": "FOOT"}, "entry 1 has image_organ 'FOOT', expected one of HEAD"),
        ({"qid": None}, "entry 1 has no 'qid'"),
        ({"image_name": "z.jpg"}, "VQA_RAD Image Folder/z.jpg is not in"),
    ],
)
def test_a_broken_entry_is_named(change, message, tmp_path):
    manual = shutil.copytree(dummy_folder("vqa_rad"), tmp_path / "manual")
    entries = json.loads((manual / QUESTIONS).read_text())
    entries[1] = {k: v for k, v in (entries[1] | change).items() if v is not None}
    (manual / QUESTIONS).write_text(json.dumps(entries))
    with pytest.raises(BuildError, match=message):
        build_dummy("vqa_rad/released", tmp_path / "data", manual)


@pytest.fixture(scope="module")
def real(real_data, real_builds):
    """Both real configs: config to split to examples."""
    folder, configs = real_data / "vqa_rad", ("released", "by_image")
    return {config: texts(build(f"vqa_rad/{config}", real_builds, folder)) for config in configs}


def images(examples):
    return {example["image_id"] for example in examples}


@pytest.mark.extended
def test_the_real_release_has_2248_questions_about_314_images(real):
    splits = real["released"]
    assert {split: len(examples) for split, examples in splits.items()} == {
        "train": 1797,
        "test": 451,
    }
    assert len(images(splits["train"])) == 313
    assert len(images(splits["test"])) == 203
    assert len(images(splits["train"]) & images(splits["test"])) == 202
    assert len(images(splits["train"]) | images(splits["test"])) == 314


@pytest.mark.extended
def test_the_real_split_by_image_shares_no_image(real):
    splits = real["by_image"]
    assert {split: len(examples) for split, examples in splits.items()} == {
        "train": 1762,
        "test": 486,
    }
    assert (len(images(splits["train"])), len(images(splits["test"]))) == (245, 69)
    assert not images(splits["train"]) & images(splits["test"])


@pytest.mark.extended
def test_the_real_answers_organs_and_types_are_counted_as_released(real):
    examples = [example for part in real["released"].values() for example in part]
    types = collections.Counter(example["answer_type"].decode() for example in examples)
    assert types == {"closed": 1299, "open": 949}
    organs = collections.Counter(example["anatomy"].decode() for example in examples)
    assert organs == {"chest": 794, "abdomen": 739, "head": 715}
    several = [example for example in examples if b"," in example["question_type"]]
    assert len(several) == 34
