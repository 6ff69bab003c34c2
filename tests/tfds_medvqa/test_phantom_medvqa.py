"""The phantom dataset is the same at every build, valid, and answered by its own images."""

import collections
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfds_medvqa.common.answers import answer_type
from tfds_medvqa.common.features import QUESTION_TYPES
from tfds_medvqa.phantom_medvqa import contact_sheet
from tfds_medvqa.phantom_medvqa.acquisition import Acquisition, answer_shares, client_acquisition
from tfds_medvqa.phantom_medvqa.drawing import MODALITIES
from tfds_medvqa.phantom_medvqa.phantom_config import CLIENTS, FEDERATION_SIZES, PhantomConfig
from tfds_medvqa.phantom_medvqa.phantom_medvqa_dataset_builder import Builder
from tfds_medvqa.phantom_medvqa.phantoms import (
    describe,
    generate,
    make_phantom,
    sample_facts,
    split_indices,
)
from tfds_medvqa.phantom_medvqa.questions import QUESTIONS

SMALL = {"fundus": 6, "oct": 10}


def build(folder, **options):
    config = PhantomConfig(images_per_client=SMALL, image_size=16, **options)
    builder = Builder(config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"))


def test_a_rebuild_is_byte_identical(built, tmp_path):
    again = build(tmp_path)
    files = sorted(pathlib.Path(built.data_dir).glob("*.array_record*"))
    assert len(files) == 2
    for file in files:
        assert file.read_bytes() == (pathlib.Path(again.data_dir) / file.name).read_bytes()


def test_a_built_dataset_reads_through_as_data_source(built):
    for split, count in (("train", 5 + 8), ("test", 1 + 2)):
        source = built.as_data_source(split=split, decoders={"image": skip_decoding()})
        assert len(source) == count
        for i in range(count):
            record = source[i]
            client = record["client"].decode()
            assert record["image_id"].decode().startswith(f"{client}-")
            assert record["question_type"].decode() in QUESTION_TYPES
            assert record["answer_type"].decode() == answer_type(record["answer"].decode())


def skip_decoding():
    import tensorflow_datasets as tfds

    return tfds.decode.SkipDecoding()


def test_building_imports_no_tensorflow(tmp_path):
    program = (
        "import sys; from tfds_medvqa.phantom_medvqa import phantom_medvqa_dataset_builder as b;"
        "builder = b.Builder(config=b.PhantomConfig(images_per_client=5, image_size=16),"
        " data_dir=sys.argv[1], file_format='array_record'); builder.download_and_prepare();"
        "builder.as_data_source(split='train')[0]; sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


@pytest.mark.parametrize("name", ["clients", "public", "tiny"])
def test_every_config_has_all_nine_clients_split_80_to_20(name):
    counts = Builder.builder_configs[name].counts
    assert tuple(counts) == CLIENTS
    for count in counts.values():
        train, test = split_indices(count, "train"), split_indices(count, "test")
        assert sorted(train + test) == list(range(count))
        assert len(test) * 5 == count


def test_the_federation_is_unequal_and_the_public_data_is_of_one_machine():
    configs = Builder.builder_configs
    assert len(set(configs["clients"].counts.values())) > 5
    assert (configs["clients"].shift, configs["public"].shift) == (1.0, 0.0)
    assert configs["clients"].seed != configs["public"].seed


def test_image_ids_are_unique_over_the_federation_and_the_public_data():
    tiny = dict.fromkeys(CLIENTS, 5)
    configs = [PhantomConfig(images_per_client=tiny, image_size=16, seed=seed) for seed in (0, 1)]
    ids = [key for c in configs for split in ("train", "test") for key, _ in generate(c, split)]
    assert len(ids) == len(set(ids)) == 2 * 9 * 5


@pytest.mark.parametrize("client", CLIENTS)
def test_an_image_depends_on_its_index_and_not_on_what_was_made_before(client):
    config = PhantomConfig(image_size=16)
    forward = [make_phantom(config, client, i).image_HWC for i in range(4)]
    backward = [make_phantom(config, client, i).image_HWC for i in reversed(range(4))]
    np.testing.assert_array_equal(forward, backward[::-1])
    assert len({image.tobytes() for image in forward}) == 4


@pytest.mark.parametrize("client", CLIENTS)
def test_no_answer_dominates_a_client(client):
    config, count = PhantomConfig(), FEDERATION_SIZES[client]
    answers, by_fact = collections.Counter(), collections.defaultdict(collections.Counter)
    for index in range(count):
        question, answer, _ = describe(config, client, index)
        answers[answer] += 1
        by_fact[question.fact][answer] += 1
    assert max(answers.values()) <= 0.35 * count
    for fact, counts in by_fact.items():
        if fact != "modality" and sum(counts.values()) >= 50:
            assert max(counts.values()) < 0.7 * sum(counts.values()), fact


def test_the_federation_asks_all_six_types_and_has_a_small_vocabulary():
    asked = [question for questions in QUESTIONS.values() for question in questions]
    assert {question.question_type for question in asked} == set(QUESTION_TYPES)
    answers = {answer for question in asked for answer in question.answers}
    assert 30 <= len(answers) <= 45
    assert all(answer == answer.lower() for answer in answers)
    assert all(len(question.paraphrases) > 1 for question in asked)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_answer_of_every_question_can_be_met_and_is_the_fact(client):
    for question in QUESTIONS[client]:
        for answer in question.answers:
            facts = sample_facts(np.random.default_rng(0), client, question.fact, answer)
            assert facts[question.fact] == answer


def test_an_answer_that_no_picture_has_is_an_error():
    with pytest.raises(ValueError, match="no image of oct has 'fluid' = 'maybe'"):
        sample_facts(np.random.default_rng(0), "oct", "fluid", "maybe")


@pytest.mark.parametrize("client", CLIENTS)
def test_all_wordings_are_used_and_the_same_image_keeps_its_own(client):
    config = PhantomConfig(image_size=16)
    phantoms = [make_phantom(config, client, i) for i in range(60)]
    wordings = {p.wording for p in phantoms if p.question == QUESTIONS[client][1]}
    assert wordings == set(QUESTIONS[client][1].paraphrases)
    assert [make_phantom(config, client, i).wording for i in range(60)] == [
        p.wording for p in phantoms
    ]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_scene_is_the_same_at_every_size(client):
    modality = MODALITIES[client]
    facts = modality.sample(np.random.default_rng(3))
    small = modality.draw(facts, np.random.default_rng(4), 64)
    large = modality.draw(facts, np.random.default_rng(4), 128)
    shrunk = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert small.dtype == np.float32
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.95


def test_without_shift_all_machines_are_alike_and_all_answers_equally_likely():
    for client in CLIENTS:
        grey = MODALITIES[client].grey
        machine = client_acquisition(0, client, grey=grey, shift=0.0)
        assert machine == client_acquisition(9, "oct", grey=True, shift=0.0) == Acquisition()
        np.testing.assert_allclose(answer_shares(0, client, "x", ("a", "b", "c"), 0.0), 1 / 3)


def test_shift_changes_brightness_noise_and_prevalence():
    near, far = PhantomConfig(shift=0.0), PhantomConfig(shift=1.0)
    for client in CLIENTS:
        means = []
        for config in (near, far):
            images = np.stack([make_phantom(config, client, i).image_HWC for i in range(8)])
            means.append(images.mean((0, 1, 2)))
        assert np.abs(means[0] - means[1]).max() > 10, client
        assert client_acquisition(0, client, grey=False, shift=1.0).noise > 0.03
        shares = answer_shares(0, client, "x", ("a", "b", "c"), 1.0)
        np.testing.assert_allclose([shares.sum(), shares.max() / shares.min()], [1.0, 2.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images_per_client": -3}, "images_per_client is -3; give an integer at least 5"),
        ({"images_per_client": {"oct": 4}}, r"images_per_client\['oct'\] is 4"),
        ({"images_per_client": {"mri": 40}}, "names client 'mri'; choose of chest_xray, oct"),
        ({"images_per_client": {}}, "names no client"),
        ({"images_per_client": 7.5}, "images_per_client is 7.5"),
        ({"image_size": -64}, r"image_size is -64; give an integer in \[16, 1024\]"),
        ({"image_size": True}, "image_size is True"),
        ({"seed": -1}, "seed is -1"),
        ({"shift": 1.5}, r"shift is 1.5; give a number in \[0, 1\]"),
        ({"shift": float("nan")}, "shift is nan"),
        ({"shift": "strong"}, "shift is 'strong'"),
    ],
)
def test_impossible_options_stop_at_once_with_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        PhantomConfig(**options)
    assert "\n" not in str(error.value)


def test_different_options_get_different_folders():
    options = ({}, {"seed": 2}, {"shift": 0.5}, {"image_size": 32}, {"images_per_client": 9})
    assert len({PhantomConfig(**option).name for option in options}) == 5


def test_an_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="split is 'validation'; choose of train, test"):
        split_indices(10, "validation")


def test_the_contact_sheet_is_written_with_a_row_per_client(tmp_path):
    file = tmp_path / "sheet.png"
    contact_sheet.main(["--out", str(file), "--columns", "3", "--size", "16", "--zoom", "2"])
    with Image.open(file) as sheet:
        assert sheet.size == (3 * 18 * 2, 9 * 18 * 2)
