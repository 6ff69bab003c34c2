import collections
import dataclasses
import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.tfds_medvqa import medmnist_files
from tfds_medvqa import build as build_lib
from tfds_medvqa.build import BuildError, build, prepare
from tfds_medvqa.common.features import QUESTION_TYPES
from tfds_medvqa.medvqa_fl import archives, facts, questions, records
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import (
    Builder,
    MedVQAConfig,
    training_images,
)
from tfds_medvqa.medvqa_fl.sources import ANATOMIES, CLIENTS, ORGANS, SOURCES, sources_of

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
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
PAPER_SHARES = {
    "modality recognition": 0.10,
    "anatomy": 0.20,
    "disease diagnosis": 0.39,
    "disease grading": 0.01,
    "tissue identification": 0.20,
    "biological attributes": 0.10,
}
LISTED_CHOICES = (
    *("malignant", "normal or benign", "grade 0", "grade 4", "left", "right", "unpaired"),
    *("tubule", "glomerulus", "interstitium", "epithelial", "endothelial", "immune"),
)
"""Answers that a question may name because it lists what there is to choose from."""
RECORDS = records.load()


def built(folder: pathlib.Path, names=tuple(SOURCES), resolution=28, data="data"):
    """All sources, from small files of the official layout."""
    written = {name: medmnist_files.write(folder, name, resolution)[1] for name in names}
    config = MedVQAConfig(name="small", sources=names, resolution=resolution, records=written)
    builder = Builder(config=config, data_dir=folder / data, file_format="array_record")
    prepare(builder, folder)
    return builder


def text(value):
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Both splits of the small dataset of all sources."""
    builder = built(tmp_path_factory.mktemp("small"))
    return {split: list(builder.as_data_source(split)) for split in ("train", "test")}


def test_counts_per_client_and_in_total_are_the_paper_s():
    found = {client: sum(RECORDS[name].total for name in sources_of(client)) for client in CLIENTS}
    assert found == PAPER_COUNTS
    assert sum(found.values()) == 707_962


def test_there_is_a_config_per_client_and_resolution_and_one_for_all():
    for suffix in ("", "_64", "_128", "_224"):
        for name in (*CLIENTS, "all", "chest_xray_pneumonia"):
            assert f"{name}{suffix}" in Builder.builder_configs
    assert set(Builder.builder_configs["all"].sources) == set(SOURCES)


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
        length = 14 if source.name == "chestmnist" else 1
        assert len(example["label"]) == length


def test_images_are_the_file_s_own_pixels(examples):
    originals = medmnist_files.arrays(
        dataclasses.replace(RECORDS["bloodmnist"], counts=medmnist_files.COUNTS)
    )
    for example in examples["train"] + examples["test"]:
        name, split, index = text(example["image_id"]).split("/")
        if name == "bloodmnist":
            expected = originals[f"{split}_images"][int(index)]
            np.testing.assert_array_equal(example["image"], expected)
            assert list(example["label"]) == originals[f"{split}_labels"][int(index)].tolist()


def test_a_rebuild_is_byte_identical(tmp_path):
    names = ("retinamnist", "chestmnist")
    for data in ("first", "second"):
        built(tmp_path, names, data=data)
    first = sorted((tmp_path / "first").rglob("*.array_record*"))
    assert len(first) == 2
    for path in first:
        again = tmp_path / "second" / path.relative_to(tmp_path / "first")
        assert path.read_bytes() == again.read_bytes()


def test_images_are_stored_as_png(tmp_path):
    builder = built(tmp_path, ("breastmnist",), resolution=64)
    source = builder.as_data_source("test", decoders={"image": tfds.decode.SkipDecoding()})
    with Image.open(io.BytesIO(source[0]["image"])) as image:
        assert image.format == "PNG"
        assert image.size == (64, 64)


def labels_of(record: records.Record):
    """Every label; of a multi-label source, none, each one and some pairs."""
    if not record.multi_label:
        return [(place,) for place in range(len(record.labels))]
    rows = np.vstack([np.zeros(14, int), np.eye(14, dtype=int), np.eye(14, dtype=int)])
    rows[15:, 3] = 1
    return [tuple(row) for row in rows.tolist()]


def triplets(name: str, count: int):
    """Triplets of many images that go through the source's labels, with the label by name."""
    record = RECORDS[name]
    labels = labels_of(record)
    for index in range(count):
        label = labels[index % len(labels)]
        triplet = questions.ask(f"{name}/train/{index}", SOURCES[name], record, label)
        if record.multi_label:
            named = tuple(record.labels[place] for place, on in enumerate(label) if on)
        else:
            named = (record.labels[label[0]],)
        yield triplet, named


def test_shares_of_the_question_types_are_as_close_to_the_paper_s_as_the_sources_allow():
    shares = collections.Counter()
    for name, weights in questions.WEIGHTS.items():
        assert sum(weights.values()) == pytest.approx(1.0)
        for question_type, weight in weights.items():
            shares[question_type] += weight * RECORDS[name].total / 707_962
    for question_type, expected in PAPER_SHARES.items():
        assert shares[question_type] == pytest.approx(expected, abs=0.01), question_type
    # Only fundus images have grades: 1 600 of 707 962 are 0.23 %.
    assert shares["disease grading"] == pytest.approx(0.9 * 1600 / 707_962)


@pytest.mark.parametrize("name", SOURCES)
def test_drawn_question_types_follow_the_weights(name):
    found = collections.Counter(triplet.question_type for triplet, _ in triplets(name, 4000))
    for question_type, weight in questions.WEIGHTS[name].items():
        assert found[question_type] / 4000 == pytest.approx(weight, abs=0.03)


@pytest.mark.parametrize("name", SOURCES)
def test_open_questions_have_several_wordings_and_do_not_name_their_answer(name):
    wordings = collections.defaultdict(set)
    for triplet, _ in triplets(name, 3000):
        if triplet.answer in ("yes", "no"):
            continue
        wordings[triplet.question_type].add(triplet.question)
        assert "{" not in triplet.question
        assert triplet.question == triplet.question.lower()
        if triplet.answer not in LISTED_CHOICES:
            assert not re.search(rf"\b{re.escape(triplet.answer)}\b", triplet.question)
    assert min(len(questions) for questions in wordings.values()) >= 3


@pytest.mark.parametrize("name", ["breastmnist", "pneumoniamnist", "chestmnist", "dermamnist"])
def test_binary_and_multi_label_sources_have_yes_and_no(name):
    answers = collections.Counter(triplet.answer for triplet, _ in triplets(name, 2000))
    assert answers["yes"] > 200
    assert answers["no"] > 200


def test_chest_answers_follow_the_findings():
    seen = collections.Counter()
    for triplet, labels in triplets("chestmnist", 6000):
        if triplet.question_type != "disease diagnosis":
            continue
        present = {facts.CHEST_FINDINGS[label] for label in labels}
        asked = [name for name in facts.CHEST_FINDINGS.values() if name in triplet.question]
        if asked:
            # "pneumonia" is part of no other name, but "mass" could be: the longest is meant.
            assert triplet.answer == ("yes" if max(asked, key=len) in present else "no")
            seen["finding"] += 1
        elif triplet.answer in ("yes", "no"):
            assert (triplet.answer == "yes") == bool(present)
            seen["abnormal"] += 1
        else:
            assert triplet.answer == (next(iter(present)) if present else "no finding")
            assert len(present) <= 1
            seen["open"] += 1
    assert min(seen.values()) > 300


def test_fundus_grades_follow_the_label():
    for triplet, (label,) in triplets("retinamnist", 2000):
        if triplet.question_type != "disease grading":
            continue
        if triplet.answer in ("yes", "no"):
            asked = int(triplet.question.split("grade ")[-1][0])
            assert (triplet.answer == "yes") == (int(label) >= asked)
        else:
            assert triplet.answer == f"grade {label}"


@pytest.mark.parametrize("name", ["organamnist", "organcmnist", "organsmnist"])
def test_ct_views_and_organs_follow_the_subset_and_the_label(name):
    views = {"organamnist": "axial", "organcmnist": "coronal", "organsmnist": "sagittal"}
    seen = collections.Counter()
    for triplet, (label,) in triplets(name, 3000):
        organ, anatomy = ORGANS[label]
        assert triplet.anatomy == anatomy
        if triplet.answer in views.values():
            assert triplet.answer == views[name]
            seen["view"] += 1
        elif triplet.question_type == "anatomy" and triplet.answer not in ("yes", "no"):
            assert triplet.answer == organ
            seen["organ"] += 1
        elif triplet.question_type == "anatomy":
            asked = triplet.answer == "yes"
            assert asked == (f"the {organ} " in triplet.question.replace("?", " "))
            seen["closed"] += 1
    assert min(seen.values()) > 50


def test_left_and_right_organs_share_a_category_and_there_are_twelve():
    assert ORGANS["kidney-left"][1] == ORGANS["kidney-right"][1] == "kidney"
    categories = {category for _, category in ORGANS.values()}
    categories |= {source.anatomy for source in SOURCES.values() if source.anatomy}
    assert categories == set(ANATOMIES)
    assert len(ANATOMIES) == 12


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
            {"train_images": np.zeros((23, 28, 28))},
            "has dtype float64, expected uint8",
        ),
        ({"val_labels": np.full((5, 1), 2)}, "val_labels holds 2 for image 0, expected 0 to 1"),
        ({"val_labels": np.zeros((4, 1))}, r"val_labels has shape \(4, 1\), expected \(5, 1\)"),
    ],
)
def test_a_wrong_array_stops_the_build_and_names_the_file(tmp_path, changed, message):
    path, record = medmnist_files.write(tmp_path, "breastmnist", **changed)
    config = MedVQAConfig(name="wrong", sources=("breastmnist",), records={"breastmnist": record})
    builder = Builder(config=config, data_dir=tmp_path / "data", file_format="array_record")
    with pytest.raises(BuildError, match=message) as caught:
        prepare(builder, tmp_path)
    assert str(path) in str(caught.value)
    assert not builder.is_prepared()


def test_a_truncated_file_fails_its_checksum_and_is_named(tmp_path):
    path, record = medmnist_files.write(tmp_path, "breastmnist")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BuildError, match=r"breastmnist.npz: md5 is .*, expected .*truncated"):
        archives.check_md5(path, record.md5[28])
    with pytest.raises(BuildError, match=r"breastmnist.npz: cannot be read as an npz file"):
        list(archives.read(path, record, 28))


def test_a_missing_file_says_where_it_comes_from(tmp_path, monkeypatch):
    config = MedVQAConfig(name="missing", sources=("octmnist",))
    builder = Builder(config=config, data_dir=tmp_path / "data", file_format="array_record")

    def no_network(*_):
        raise ConnectionError("no network")

    monkeypatch.setattr("tensorflow_datasets.download.DownloadManager.download", no_network)
    with pytest.raises(BuildError, match=r"octmnist.npz is not in .* could not be downloaded from"):
        prepare(builder, tmp_path)


def test_unknown_names_list_the_choices(tmp_path):
    with pytest.raises(BuildError, match="choose one of medvqa_fl, phantom_medvqa"):
        build("medvqa", tmp_path)
    with pytest.raises(BuildError, match="choose one of chest_xray, oct"):
        build("medvqa_fl/eyes", tmp_path)
    with pytest.raises(BuildError, match="is no folder"):
        build("medvqa_fl/fundus", tmp_path, tmp_path / "absent")
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
    example = builder.as_data_source("test")[0]
    assert example["image"].shape == (28, 28, 3)
    assert example["image"].std() > 5


def test_a_build_that_is_killed_never_looks_finished(real_data, tmp_path):
    command = [
        *(sys.executable, "-m", "tfds_medvqa.build", "medvqa_fl/chest_xray_pneumonia"),
        *(f"--data_dir={tmp_path}", f"--manual_dir={real_data / 'medmnist'}"),
    ]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("medvqa_fl/**/incomplete.*")):
            assert process.poll() is None, "the build ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    unfinished = Builder(
        config="chest_xray_pneumonia", data_dir=tmp_path, file_format="array_record"
    )
    assert not unfinished.is_prepared()
    finished = build("medvqa_fl/chest_xray_pneumonia", tmp_path, real_data / "medmnist")
    assert len(finished.as_data_source("train")) == 4685


def test_the_command_fails_in_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tfds_medvqa.build",
        "medvqa_fl/eyes",
        f"--data_dir={tmp_path}",
    ]
    process = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ, check=False
    )
    assert process.returncode == 1
    assert process.stderr.startswith("error: medvqa_fl has no config 'eyes'")
    assert process.stderr.count("\n") == 1


def test_building_imports_no_tensorflow(tmp_path):
    code = (
        "import sys, tfds_medvqa.build as b; "
        f"b.build('phantom_medvqa/tiny', {str(tmp_path)!r}); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_every_dataset_has_a_builder():
    assert set(build_lib.BUILDERS) == {"medvqa_fl", "phantom_medvqa"}
