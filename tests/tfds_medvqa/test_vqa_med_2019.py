"""VQA-Med 2019 builds completely, with and without the challenge's test set."""

import collections
import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.build import build
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.imageclef import first_reference


def test_the_validation_set_is_the_test_set_where_there_is_none(tmp_path):
    development = texts(build_dummy("vqa_med_2019/development", tmp_path))
    challenge = texts(build_dummy("vqa_med_2019/challenge", tmp_path))
    assert set(development) == {"train", "test"}
    assert set(challenge) == {"train", "validation", "test"}
    assert images(development["test"]) == images(challenge["validation"]) == {b"synpic4.jpg"}
    assert images(challenge["test"]) == {b"synpic5.jpg", b"synpic6.jpg"}


def images(examples):
    return {example["image_id"] for example in examples}


def test_an_image_shows_the_organ_that_its_organ_question_names(tmp_path):
    for example in texts(build_dummy("vqa_med_2019/development", tmp_path))["train"]:
        assert example["anatomy"] == b"lung, mediastinum, pleura"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("glioma", "glioma"),
        ("anaplastic glioma#mass", "anaplastic glioma"),
        ("(invasive disease with) emboli", "emboli"),
        ("(all optional)", "(all optional)"),
    ],
)
def test_the_first_reference_answer_is_taken_without_its_optional_parts(reference, expected):
    assert first_reference(reference) == expected


def test_the_test_set_is_asked_for_only_where_it_is_needed(tmp_path):
    manual = shutil.copytree(dummy_folder("vqa_med_2019"), tmp_path / "manual")
    shutil.rmtree(manual / "VQAMed2019Test")
    build_dummy("vqa_med_2019/development", tmp_path, manual)
    with pytest.raises(BuildError, match=r"VQAMed2019_Test_Questions_w_Ref_Answers\.txt is not in"):
        build_dummy("vqa_med_2019/challenge", tmp_path, manual)


@pytest.fixture(scope="module")
def real(real_data, real_builds):
    folder = real_data / "vqa_med_2019"
    return texts(build("vqa_med_2019/development", real_builds, folder))


@pytest.mark.extended
def test_the_real_training_and_validation_sets_are_complete(real):
    assert {split: len(examples) for split, examples in real.items()} == {
        "train": 12_792,
        "test": 2_000,
    }
    assert {split: len(images(examples)) for split, examples in real.items()} == {
        "train": 3_200,
        "test": 500,
    }
    assert not images(real["train"]) & images(real["test"])


@pytest.mark.extended
def test_the_real_categories_and_organs_are_counted_as_released(real):
    types = collections.Counter(example["question_type"].decode() for example in real["train"])
    assert types == {"modality": 3200, "plane": 3200, "organ": 3200, "abnormality": 3192}
    organs = collections.Counter(
        {example["image_id"]: example["anatomy"] for example in real["train"]}.values()
    )
    assert len(organs) == 10
    assert organs[b"skull and contents"] == 1216
    assert organs[b"breast"] == 65
