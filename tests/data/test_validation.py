"""Validation examples are held out by patient, deterministic, and never all of a client's."""

import numpy as np
import pytest

from f3ocus_jax.data import validation
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_federation, read_tables
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import DataError
from tests.helpers import own_files
from tests.helpers.tables import data_config, dummy, table
from tests.tfds_medvqa.dummy_builds import dummy_folder

SHARES = (0.01, 0.1, 0.3, 0.5, 0.99)


def hold_out(train, share=0.2, seed=0, released=None, dataset="a", **columns):
    """Splits of one client with these training images, after the hold-out."""
    splits = {
        "train": table(train, [f"answer {n}" for n in range(len(train))], dataset, **columns),
        "test": table([10**6], ["test"], dataset),
    }
    if released is not None:
        splits["validation"] = released
    clients, without = validation.hold_out({"eye": splits}, share, seed)
    return clients["eye"], without


def images(splits, split="validation"):
    return set(splits[split].pixel_hash_N.tolist())


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_a_share_of_the_images_is_held_out_and_training_is_never_empty(share, count):
    train = np.repeat(np.arange(count), 3)
    splits, without = hold_out(train, share)
    held = images(splits)
    assert len(held) == min(max(1, round(share * count)), count - 1)
    assert held | images(splits, "train") == set(range(count))
    assert not held & images(splits, "train")
    assert len(splits["validation"]) == 3 * len(held)
    assert len(splits["test"]) == 1
    assert without == []


def test_every_example_keeps_its_own_texts():
    splits, _ = hold_out(range(20))
    for split in ("train", "validation"):
        found = splits[split]
        expected = [f"answer {pixels}" for pixels in found.pixel_hash_N.tolist()]
        assert found.texts("answer") == expected


def test_all_images_of_a_patient_are_on_one_side():
    patients = [f"p{image // 4}" for image in range(40)]
    splits, _ = hold_out(range(40), patient=patients)
    held = set(splits["validation"].texts("patient"))
    assert len(held) == 2
    assert not held & set(splits["train"].texts("patient"))


def test_an_image_that_two_patients_have_joins_them():
    """The same pixels twice in training, under two patients of two images each."""
    for seed in range(20):
        splits, _ = hold_out([1, 2, 2, 3, 4, 5], 0.3, seed, patient=[*"aabb", "unknown", "c"])
        whole = {1, 2, 3}
        assert images(splits) in (whole, {4}, {5})
        assert not images(splits) & images(splits, "train")


def test_patients_of_one_name_in_two_datasets_are_two():
    one, other = table([1, 2], "xy", "a", patient=["p", "p"]), table([3], "z", "b", patient=["p"])
    joined = validation.join_tables([one, other])
    splits = {"train": joined, "test": table([9], "t")}
    clients, without = validation.hold_out({"eye": splits}, 0.5, 0)
    assert images(clients["eye"]) in ({1, 2}, {3})
    assert without == []


def test_patients_of_one_name_in_two_hospitals_of_one_client_are_two():
    columns = {"client": ["Oslo"] * 4 + ["Bern"] * 4, "patient": ["p0", "p0", "p1", "p1"] * 2}
    held = {frozenset(images(hold_out(range(8), 0.25, seed, **columns)[0])) for seed in range(30)}
    assert held == {frozenset({first, first + 1}) for first in (0, 2, 4, 6)}


@pytest.mark.parametrize(
    ("train", "columns"), [([7], {}), ([7, 7, 7], {}), ([1, 2, 3], {"patient": ["p"] * 3})]
)
def test_nothing_is_held_out_of_one_image_or_patient_and_it_is_said(train, columns):
    splits, without = hold_out(train, 0.9, **columns)
    assert "validation" not in splits
    assert len(splits["train"]) == len(train)
    assert without == ["eye"]


def test_the_choice_follows_the_seed_alone():
    first, again, other = (images(hold_out(range(100), 0.1, seed)[0]) for seed in (0, 0, 1))
    assert first == again != other
    order = np.random.default_rng(0).permutation(100)
    assert images(hold_out(order, 0.1)[0]) == first


def test_an_image_of_two_clients_is_held_out_of_both():
    both = {name: {"train": table(range(50), "x" * 50)} for name in ("eye", "skin")}
    clients, _ = validation.hold_out(both, 0.2, 3)
    assert images(clients["eye"]) == images(clients["skin"])


def test_without_a_share_nothing_changes():
    released = table([5, 6], "xy")
    for given in (None, released):
        splits, without = hold_out(range(9), 0.0, released=given)
        assert len(splits["train"]) == 9
        assert ("validation" in splits) == (given is not None)
        assert without == []


def test_released_examples_are_used_instead():
    splits, _ = hold_out(range(10), 0.3, released=table([50, 51], "xy"))
    assert images(splits) == {50, 51}
    assert len(splits["train"]) == 10


def test_only_the_dataset_without_released_examples_is_held_out_of():
    mixed = ["a"] * 10 + ["b"] * 10
    splits, _ = hold_out(range(20), 0.2, released=table([50], "x", "a"), dataset="a")
    assert len(splits["train"]) == 20
    train = validation.join_tables(
        [table(range(10), "x" * 10, "a"), table(range(10, 20), "x" * 10, "b")]
    )
    assert train.texts("dataset") == mixed
    clients, _ = validation.hold_out(
        {"eye": {"train": train, "validation": table([50], "x", "a")}}, 0.2, 0
    )
    held = images(clients["eye"])
    assert 50 in held
    assert len(held - {50}) == 2
    assert held - {50} <= set(range(10, 20))


def test_a_client_without_any_of_the_released_examples_is_held_out_of():
    splits, _ = hold_out(range(10), 0.2, released=table([], []))
    assert len(images(splits)) == 2


def own(tmp_path, **settings):
    """A folder whose two hospitals name their patients alike."""
    folder = own_files.write_folder(tmp_path / "own")
    given = {"partition": ("hospital",), "validation_share": 0.3} | settings
    return data_config(tmp_path / "data", f"files:{folder}", **given)


def test_own_files_are_held_out_by_patient_apart_in_each_hospital(tmp_path):
    clients, summary = read_tables(own(tmp_path), Canvas(8))
    for name, splits in clients.items():
        patients = {split: set(found.texts("patient")) for split, found in splits.items()}
        assert [len(patients[split]) for split in ("train", "test", "validation")] == [3, 1, 1]
        assert not patients["validation"] & (patients["train"] | patients["test"])
        (counted,) = [each for each in summary.clients if each.name == name]
        assert counted.examples == {"train": 12, "test": 4, "validation": 4}
        assert counted.images["validation"] == 2
    first, second = (
        set().union(*(t.texts("patient") for t in each.values())) for each in clients.values()
    )
    assert first == second, "the hospitals name their patients alike"
    assert any("validation 4 (2 images)" in line for line in summary.lines())


def test_the_hash_of_the_partition_tells_share_and_seed_apart(tmp_path):
    hashes = {
        read_tables(own(tmp_path, validation_share=share, split_seed=0), Canvas(8))[
            1
        ].partition_hash
        for share in (0.0, 0.3, 0.6)
    }
    assert len(hashes) == 3


def test_a_vocabulary_holds_training_answers_alone(tmp_path):
    config = own(tmp_path)
    federation = read_federation(config, canvas=Canvas(8), tokenizer=load_tokenizer())
    trained = {answer for client in federation.clients for answer in client.train.answers}
    assert set(federation.vocabulary.answers) == trained
    for client in federation.clients:
        assert len(client.validation) == 4
        assert client.validation.input_ids_NT.shape[0] == 4


def test_a_released_split_is_read_for_every_dataset_unless_the_share_is_0(tmp_path):
    given = {"manual_dir": str(dummy_folder("slake"))}
    with_share = data_config(tmp_path, "slake/english", validation_share=0.1, **given)
    (splits,) = read_tables(with_share, Canvas(8))[0].values()
    assert {split: len(found) for split, found in splits.items()} == {
        "train": 2,
        "test": 2,
        "validation": 2,
    }
    without = data_config(tmp_path, "slake/english", validation_share=0.0, **given)
    (splits,) = read_tables(without, Canvas(8))[0].values()
    assert splits.keys() == {"train", "test"}


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_findings_keep_their_released_validation_split(tmp_path, share):
    config = data_config(
        tmp_path, "open_i/reports", validation_share=share, manual_dir=dummy("open_i")
    )
    (splits,) = read_tables(config, Canvas(8))[0].values()
    released = read_tables(config, Canvas(8))[0]["open_i/reports"]["validation"]
    assert images(splits) == images({"validation": released})
    assert len(splits["validation"]) > 0


def test_a_client_that_finds_diseases_without_validation_examples_is_named(tmp_path, monkeypatch):
    config = data_config(
        tmp_path, "open_i/reports", validation_share=0.0, manual_dir=dummy("open_i")
    )
    monkeypatch.setattr(
        validation,
        "hold_out",
        lambda clients, *_: (
            {
                name: {split: found for split, found in splits.items() if split != "validation"}
                for name, splits in clients.items()
            },
            [],
        ),
    )
    with pytest.raises(DataError, match="has no validation example"):
        read_tables(config, Canvas(8))
