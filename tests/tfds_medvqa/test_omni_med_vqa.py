"""Modality and split of a question of OmniMedVQA."""

import collections

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, texts
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.omni_med_vqa.omni_med_vqa_dataset_builder import MODALITIES, modality_of


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return texts(build_dummy("omni_med_vqa/all", tmp_path_factory.mktemp("data")))


def test_all_eight_modalities_are_clients_of_both_splits(splits):
    for examples in splits.values():
        clients = collections.Counter(example["client"].decode() for example in examples)
        assert clients == dict.fromkeys(MODALITIES.values(), 2)


def test_a_modality_s_config_has_the_same_splits_as_the_whole(splits, tmp_path):
    alone = texts(build_dummy("omni_med_vqa/x_ray", tmp_path))
    for split, examples in splits.items():
        whole = {each["example_id"] for each in examples if each["modality"] == b"x-ray"}
        assert {each["example_id"] for each in alone[split]} == whole


def test_answers_lose_the_full_stop_and_options_are_not_used(splits):
    answers = {example["answer"] for examples in splits.values() for example in examples}
    assert answers == {b"yes", b"no, it is normal"}


def test_an_unknown_modality_is_named():
    assert modality_of("MR (Mag-netic Resonance Imaging)", "") == "magnetic resonance imaging"
    with pytest.raises(BuildError, match=r"x\.json: entry 3 has modality_type 'PET', expected ct"):
        modality_of("PET", "x.json: entry 3")
