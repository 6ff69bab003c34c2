import collections
import contextlib
import dataclasses
import functools
import http.server
import io
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.tfds_medvqa import medmnist_files
from tests.tfds_medvqa.dummy_builds import texts
from tfds_medvqa.build import BuildError, build, prepare
from tfds_medvqa.common.features import QUESTION_TYPES
from tfds_medvqa.common.findings import NONE
from tfds_medvqa.medvqa_fl import archives, records
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import (
    Builder,
    MedVQAConfig,
    training_images,
)
from tfds_medvqa.medvqa_fl.sources import ANATOMIES, CLIENTS, SOURCES, sources_of

PAPER_COUNTS = {
    "chest_xray": 117_976,
    "oct": 109_309,
    "colon_pathology": 107_180,
    "dermatoscope": 10_015,
    "fundus": 1_600,
    "breast_ultrasound": 780,
    "blood_microscope": 17_092,
    "kidney_cortex_microscope": 236_386,
    "abdominal_ct": 107_624,
}
"""Triplets per client (F³OCUS, MedVQA-FL)."""
RECORDS = records.load()


def builder_of(folder, known, resolution=28, data="data"):
    """A builder of sources whose files have other counts than MedMNIST's."""
    config = MedVQAConfig(name="small", sources=tuple(known), resolution=resolution, records=known)
    return Builder(config=config, data_dir=folder / data, file_format="array_record")


def built(folder, names=tuple(SOURCES), resolution=28, data="data"):
    """All sources, from small files of the official layout."""
    written = {name: medmnist_files.write(folder, name, resolution)[1] for name in names}
    builder = builder_of(folder, written, resolution, data)
    prepare(builder, folder)
    return builder


def text(value):
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Both splits of the small dataset of all sources."""
    builder = built(tmp_path_factory.mktemp("small"))
    return {split: list(builder.as_data_source(split)) for split in ("train", "test")}


@pytest.fixture
def server(tmp_path):
    """A web server for tmp_path / "served": its address, and the paths it was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    requested = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requested.append((self.command, self.path))

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}", requested
        running.shutdown()


def served(server, name):
    """Writes a file to the server and gives its record the server's address."""
    folder, address, _ = server
    path, record = medmnist_files.write(folder, name)
    return path, dataclasses.replace(record, addresses={28: f"{address}/{path.name}"})


def test_counts_per_client_and_in_total_are_the_paper_s():
    found = {client: sum(RECORDS[name].total for name in sources_of(client)) for client in CLIENTS}
    assert found == PAPER_COUNTS
    assert sum(found.values()) == 707_962


def test_there_is_a_config_per_client_and_resolution_and_one_for_all():
    for suffix in ("", "_64", "_128", "_224"):
        for name in (*CLIENTS, "all", "chest_xray_pneumonia", "chest_xray_findings"):
            assert f"{name}{suffix}" in Builder.builder_configs
            own = Builder.builder_configs.get(f"{name}{suffix}_own_splits")
            assert (own is None) == (name == "chest_xray_findings")
            assert own is None or own.own_splits
            assert not Builder.builder_configs[f"{name}{suffix}"].own_splits
    assert set(Builder.builder_configs["all"].sources) == set(SOURCES)
    assert len({*Builder.BUILDER_CONFIGS}) == len(Builder.builder_configs)  # each has a hash


def test_every_subset_has_an_address_and_a_checksum_at_every_resolution():
    for record in RECORDS.values():
        for resolution in records.RESOLUTIONS:
            assert record.file_name(resolution) in record.addresses[resolution]
            assert len(record.md5[resolution]) == 32
    assert len({md5 for record in RECORDS.values() for md5 in record.md5.values()}) == 48


@pytest.mark.parametrize("client", ["fundus", "breast_ultrasound", "blood_microscope"])
def test_four_fifths_of_every_client_are_for_training(client):
    total = sum(RECORDS[name].total for name in sources_of(client))
    train = sum(len(training_images(RECORDS[name])) for name in sources_of(client))
    assert train == round(0.8 * total)


def test_split_counts_by_source_add_up_to_four_fifths_of_every_client():
    for client, total in PAPER_COUNTS.items():
        train = sum(round(0.8 * RECORDS[name].total) for name in sources_of(client))
        assert train == round(0.8 * total), client


def test_the_split_is_drawn_over_all_of_medmnist_s_own_splits():
    training = training_images(RECORDS["breastmnist"])
    for split, count in RECORDS["breastmnist"].counts.items():
        share = sum(f"breastmnist/{split}/{index}" in training for index in range(count)) / count
        assert 0.65 < share < 0.92, split


def test_every_source_is_built_with_all_features(examples):
    everything = examples["train"] + examples["test"]
    assert len(everything) == 12 * sum(medmnist_files.COUNTS.values())
    assert len({example["image_id"] for example in everything}) == len(everything)
    by_source = collections.Counter(text(example["source"]) for example in everything)
    assert set(by_source) == set(SOURCES)
    for example in everything:
        source = SOURCES[text(example["source"])]
        assert text(example["client"]) == source.client
        assert text(example["modality"]) == source.modality
        assert text(example["anatomy"]) in ANATOMIES
        assert text(example["question_type"]) in QUESTION_TYPES
        assert example["image"].shape == (28, 28, 3)
        closed = text(example["answer"]) in ("yes", "no")
        assert text(example["answer_type"]) == ("closed" if closed else "open")
        assert len(example["label"]) == (14 if source.name == "chestmnist" else 1)


def test_medmnist_s_own_splits_are_kept_with_the_same_questions(tmp_path, examples):
    names = ("breastmnist", "chestmnist")
    known = {name: medmnist_files.write(tmp_path, name)[1] for name in names}
    config = MedVQAConfig(name="kept", sources=names, own_splits=True, records=known)
    builder = Builder(config=config, data_dir=tmp_path / "data", file_format="array_record")
    prepare(builder, tmp_path)
    splits = texts(builder)
    counts = {split: len(found) for split, found in splits.items()}
    assert counts == {"train": 2 * 23, "validation": 2 * 5, "test": 2 * 9}
    parts = {"train": "train", "validation": "val", "test": "test"}
    asked = {each["image_id"]: each for each in examples["train"] + examples["test"]}
    for split, found in splits.items():
        for example in found:
            assert text(example["image_id"]).split("/")[1] == parts[split]
            for name in ("question", "answer", "client"):
                assert example[name] == asked[example["image_id"]][name]


@pytest.mark.parametrize("source", ["bloodmnist", "chestmnist"])
def test_images_and_labels_are_the_file_s_own(examples, source):
    originals = medmnist_files.arrays(
        dataclasses.replace(RECORDS[source], counts=medmnist_files.COUNTS)
    )
    checked = 0
    for example in examples["train"] + examples["test"]:
        name, split, index = text(example["image_id"]).split("/")
        if name == source:
            image = originals[f"{split}_images"][int(index)]
            expected = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
            np.testing.assert_array_equal(example["image"], expected)
            assert list(example["label"]) == originals[f"{split}_labels"][int(index)].tolist()
            checked += 1
    assert checked == sum(medmnist_files.COUNTS.values())


def test_a_rebuild_is_byte_identical(tmp_path):
    for data in ("first", "second"):
        built(tmp_path, ("retinamnist", "chestmnist"), data=data)
    first = [path for path in sorted((tmp_path / "first").rglob("*")) if path.is_file()]
    assert sum(".array_record" in path.name for path in first) == 2
    for path in first:
        again = tmp_path / "second" / path.relative_to(tmp_path / "first")
        assert path.read_bytes() == again.read_bytes(), path.name


def test_images_are_stored_as_png(tmp_path):
    builder = built(tmp_path, ("breastmnist",), resolution=64)
    source = builder.as_data_source("test", decoders={"image": tfds.decode.SkipDecoding()})
    with Image.open(io.BytesIO(source[0]["image"])) as image:
        assert image.format == "PNG"
        assert image.size == (64, 64)


def test_a_question_does_not_depend_on_the_resolution(tmp_path):
    by_id = {}
    for resolution in (28, 64):
        folder = tmp_path / str(resolution)
        folder.mkdir()
        for example in built(folder, ("octmnist",), resolution).as_data_source("train"):
            triplet = (example["question"], example["answer"])
            assert by_id.setdefault(example["image_id"], triplet) == triplet


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"val_images": None}, "array val_images is missing"),
        (
            {"test_images": np.zeros((9, 27, 28), np.uint8)},
            r"test_images has shape \(9, 27, 28\), expected \(9, 28, 28\)",
        ),
        (
            {"train_images": np.zeros((22, 28, 28), np.uint8)},
            r"train_images has shape \(22, 28, 28\), expected \(23, 28, 28\)",
        ),
        ({"train_images": np.zeros((23, 28, 28))}, "dtype float64, expected uint8"),
        (
            {"train_images": np.zeros((28, 28, 23), np.uint8).T},
            "in Fortran order, expected",
        ),
        ({"val_labels": np.full((5, 1), 2)}, "val_labels holds 2 for image 0, expected 0 to 1"),
        ({"val_labels": np.full((5, 1), -1)}, "val_labels holds -1 for image 0, expected 0 to 1"),
        ({"val_labels": np.zeros((4, 1))}, r"val_labels has shape \(4, 1\), expected \(5, 1\)"),
        ({"val_labels": np.full((5, 1), 0.5)}, "val_labels has dtype float64, expected an integer"),
        ({"val_labels": np.full((5, 1), None)}, "val_labels has dtype object, expected an integer"),
    ],
)
def test_a_wrong_array_stops_the_build_and_names_the_file(tmp_path, changed, message):
    path, record = medmnist_files.write(tmp_path, "breastmnist", **changed)
    builder = builder_of(tmp_path, {"breastmnist": record})
    with pytest.raises(BuildError, match=message) as caught:
        prepare(builder, tmp_path)
    assert str(path) in str(caught.value)
    assert not builder.is_prepared()


def test_an_unknown_label_of_a_multi_label_source_is_named(tmp_path):
    labels = np.zeros((9, 14), np.uint8)
    labels[4, 13] = 2
    path, record = medmnist_files.write(tmp_path, "chestmnist", test_labels=labels)
    with pytest.raises(BuildError, match="test_labels holds 2 for image 4, expected 0 to 1"):
        list(archives.read(path, record, 28))


def test_a_truncated_file_fails_its_checksum_and_is_named(tmp_path):
    path, record = medmnist_files.write(tmp_path, "breastmnist")
    path.write_bytes(path.read_bytes()[:-100])
    builder = builder_of(tmp_path, {"breastmnist": record})
    with pytest.raises(BuildError, match=r"breastmnist.npz: md5 is .*, expected .*truncated"):
        prepare(builder, tmp_path)
    assert not builder.is_prepared()
    with pytest.raises(BuildError, match=r"breastmnist.npz: cannot be read as an npz file"):
        list(archives.read(path, record, 28))


def test_a_file_damaged_after_its_checksum_was_taken_is_named(tmp_path):
    path, record = medmnist_files.write(tmp_path, "bloodmnist")
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(BuildError, match=r"bloodmnist.npz: "):
        list(archives.read(path, record, 28))


def test_a_missing_file_says_where_it_comes_from_and_what_it_must_be(tmp_path):
    _, record = medmnist_files.write(tmp_path, "octmnist")
    (tmp_path / "octmnist.npz").rename(tmp_path / "other.npz")
    nowhere = dataclasses.replace(record, addresses={28: "http://127.0.0.1:9/octmnist.npz"})
    builder = builder_of(tmp_path, {"octmnist": nowhere})
    message = (
        rf"octmnist.npz is neither in .* nor below it .* from http://127.*md5 {record.md5[28]}"
    )
    with pytest.raises(BuildError, match=message):
        prepare(builder, tmp_path)
    with pytest.raises(BuildError, match="is in no manual folder"):
        prepare(builder)
    assert not builder.is_prepared()


def test_an_absent_file_is_downloaded_and_checked(tmp_path, server):
    _, record = served(server, "octmnist")
    builder = builder_of(tmp_path, {"octmnist": record})
    prepare(builder)
    assert ("GET", "/octmnist.npz") in server[2]
    counts = [len(builder.as_data_source(split)) for split in ("train", "test")]
    assert counts == [30, 7]


def test_a_wrong_download_is_refused(tmp_path, server):
    path, record = served(server, "octmnist")
    path.write_bytes(path.read_bytes()[:-100])
    builder = builder_of(tmp_path, {"octmnist": record})
    with pytest.raises(BuildError, match=r"md5 is .*, remove it and download it again"):
        prepare(builder)
    assert not builder.is_prepared()


def test_a_download_that_the_server_refuses_is_named(tmp_path, server):
    path, record = served(server, "octmnist")
    path.unlink()
    with pytest.raises(BuildError, match=r"octmnist.npz is in no manual folder.*DownloadError"):
        prepare(builder_of(tmp_path, {"octmnist": record}))


@pytest.mark.parametrize("below", ["", "all sources/medmnist"], ids=["in the folder", "below it"])
def test_a_file_of_the_user_is_not_downloaded(tmp_path, server, below):
    _, record = served(server, "octmnist")
    manual = tmp_path / "manual"
    (manual / below).mkdir(parents=True)
    medmnist_files.write(manual / below, "octmnist")
    prepare(builder_of(tmp_path, {"octmnist": record}), manual)
    assert server[2] == []


def test_a_config_names_what_it_does_not_know():
    with pytest.raises(ValueError, match="resolution is 32"):
        MedVQAConfig(name="odd", resolution=32)
    with pytest.raises(ValueError, match="sources are"):
        MedVQAConfig(name="odd", sources=("mnist",))


REAL = {
    "breast_ultrasound": (624, 156),
    "fundus": (1280, 320),
    "chest_xray_pneumonia": (4685, 1171),
}


@pytest.mark.parametrize("config", REAL)
def test_the_real_files_build_completely(config, real_data, tmp_path):
    builder = build(f"medvqa_fl/{config}", tmp_path, real_data / "medmnist")
    counts = tuple(len(builder.as_data_source(split)) for split in ("train", "test"))
    assert counts == REAL[config]
    assert (builder.info.splits["train"].num_examples, counts[1]) == REAL[config]
    (name,) = Builder.builder_configs[config].sources
    with contextlib.closing(np.load(real_data / "medmnist" / f"{name}.npz")) as arrays:
        for example in (builder.as_data_source("test")[place] for place in range(20)):
            _, split, index = text(example["image_id"]).split("/")
            original = arrays[f"{split}_images"][int(index)].reshape(28, 28, -1)
            assert (example["image"] == original).all()
            assert list(example["label"]) == arrays[f"{split}_labels"][int(index)].tolist()


@pytest.mark.extended
def test_the_real_fundus_images_keep_their_own_splits(real_data, tmp_path):
    builder = build("medvqa_fl/fundus_own_splits", tmp_path, real_data / "medmnist")
    counts = {split: len(builder.as_data_source(split)) for split in builder.info.splits}
    assert counts == {"train": 1080, "validation": 120, "test": 400}


def test_chestmnist_s_findings_are_asked_for_in_medmnist_s_own_splits(tmp_path):
    path, record = medmnist_files.write(tmp_path / "files", "chestmnist")
    settings = {"sources": ("chestmnist",), "records": {"chestmnist": record}}
    config = MedVQAConfig(name="some_findings", findings=True, **settings)
    builder = Builder(config=config, data_dir=tmp_path / "data", file_format="array_record")
    prepare(builder, tmp_path / "files")
    assert tuple(builder.info.metadata["findings"]) == record.labels
    splits = texts(builder)
    counts = {split: len(examples) for split, examples in splits.items()}
    assert counts == {"train": 23, "validation": 5, "test": 9}
    released = {"train": "train", "validation": "val", "test": "test"}
    with np.load(path) as arrays:
        for split, examples in splits.items():
            for example in examples:
                _, part, place = example["image_id"].decode().split("/")
                assert part == released[split]
                np.testing.assert_array_equal(
                    example["label"], arrays[f"{part}_labels"][int(place)]
                )
                present = np.array(record.labels)[np.array(example["label"]) > 0].tolist()
                assert example["answer"].decode() == (", ".join(present) or NONE)
                assert example["task"] == b"classification"


@pytest.mark.parametrize("sources", [("breastmnist",), ("chestmnist", "pneumoniamnist")])
def test_findings_are_asked_of_one_multi_label_source_alone(sources):
    with pytest.raises(ValueError, match="one multi-label source, not "):
        MedVQAConfig(name="x", sources=sources, findings=True)
