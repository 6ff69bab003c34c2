"""Contract of all builders."""

import filecmp
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.tfds_medvqa import dummy_files
from tests.tfds_medvqa.attacks import PARQUET
from tests.tfds_medvqa.dummy_builds import build_dummy, builder_class, dummy_folder, names
from tests.tfds_medvqa.dummy_files import DATASETS, WRITERS
from tfds_medvqa.build import BUILDERS
from tfds_medvqa.common.answers import normalise
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import TASKS, example_features

TEXTS = [name for name in example_features() if name not in ("image", "label")]
WITH_FILES = [dataset for dataset in BUILDERS if dummy_folder(dataset)]


@pytest.fixture(scope="module", params=names())
def built(request, tmp_path_factory):
    """A dataset built from its dummy data: its name and the examples of every split."""
    builder = build_dummy(request.param, tmp_path_factory.mktemp("data"))
    splits = {split: list(builder.as_data_source(split)) for split in builder.info.splits}
    return request.param, splits


def column(examples, name):
    return [example[name].decode() for example in examples]


def test_examples_have_the_shared_features_and_no_text_is_empty(built):
    _, splits = built
    for examples in splits.values():
        for example in examples:
            assert set(example) == set(example_features())
            assert example["image"].dtype == np.uint8
            assert example["image"].shape[-1] == 3
            assert all(example[name] for name in TEXTS)


def test_there_are_train_and_test_examples(built):
    _, splits = built
    assert {"train", "test"} <= set(splits) <= {"train", "validation", "test"}
    assert all(splits.values())


def test_example_ids_are_unique_over_all_splits(built):
    _, splits = built
    ids = [each for examples in splits.values() for each in column(examples, "example_id")]
    assert len(ids) == len(set(ids))


def test_an_image_is_in_one_split_but_where_the_release_has_it_in_two(built):
    name, splits = built
    images = {split: set(column(examples, "image_id")) for split, examples in splits.items()}
    shared = images["train"] & images["test"]
    assert bool(shared) == (name == "vqa_rad/released")


def test_answers_are_normalised_and_types_are_known(built):
    _, splits = built
    for examples in splits.values():
        assert all(answer == normalise(answer) for answer in column(examples, "answer"))
        assert set(column(examples, "answer_type")) <= {"closed", "open"}
        assert set(column(examples, "task")) <= set(TASKS)
        assert all(text == " ".join(text.split()) for text in column(examples, "question"))


def test_a_second_build_gives_the_same_examples(built, tmp_path):
    name, splits = built
    again = build_dummy(name, tmp_path)
    for split, examples in splits.items():
        repeated = list(again.as_data_source(split))
        assert column(repeated, "example_id") == column(examples, "example_id")
        for one, other in zip(examples, repeated, strict=True):
            np.testing.assert_array_equal(one["image"], other["image"])


@pytest.mark.parametrize("dataset", BUILDERS)
def test_a_dataset_s_folder_is_laid_out_as_tfds_new_does(dataset):
    folder = DATASETS / dataset
    for name in ("README.md", "CITATIONS.bib", "TAGS.txt"):
        assert (folder / name).read_text().strip(), name
    assert (folder / f"{dataset}_dataset_builder.py").is_file()
    assert "@" in (folder / "CITATIONS.bib").read_text()
    if dataset in WITH_FILES:
        assert (folder / "checksums.tsv").is_file()
    builder = builder_class(dataset)
    assert builder.name == dataset
    assert str(builder.VERSION) in builder.RELEASE_NOTES


@pytest.mark.parametrize("dataset", WITH_FILES)
def test_the_readme_names_every_config_and_the_licence(dataset):
    text = (DATASETS / dataset / "README.md").read_text()
    builder = builder_class(dataset)
    if dataset != "medvqa_fl":
        assert all(f"`{name}`" in text for name in builder.builder_configs)
        assert builder.ORIGIN.address in text
        assert builder.ORIGIN.licence in text
    assert f"tfds_medvqa.build {dataset}/" in text


@pytest.mark.parametrize("dataset", [name for name in WITH_FILES if name != "medvqa_fl"])
def test_every_missing_file_is_named_with_its_origin_and_licence(dataset, tmp_path):
    origin = builder_class(dataset).ORIGIN
    for name in (name for name in names() if name.startswith(f"{dataset}/")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "empty" / "unrelated.txt").touch()
        with pytest.raises(BuildError) as error:
            build_dummy(name, tmp_path, tmp_path / "empty")
        for expected in (origin.title, origin.address, origin.licence, "is not in", "manual_dir"):
            assert expected in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("dataset", sorted(set(WITH_FILES) - {"medvqa_fl", *PARQUET}))
def test_a_missing_or_damaged_image_stops_the_build_and_is_named(dataset, tmp_path):
    manual = tmp_path / "manual"
    shutil.copytree(dummy_folder(dataset), manual)
    name = names_of(dataset)[0]
    image = sorted(path for path in manual.rglob("*") if path.suffix in (".jpg", ".png"))
    content = image[0].read_bytes()
    image[0].write_bytes(content[: len(content) // 2])
    with pytest.raises(BuildError, match=f"{image[0].name}: cannot be read as an image"):
        build_dummy(name, tmp_path / "damaged", manual)
    image[0].unlink()
    with pytest.raises(BuildError, match=f"{image[0].stem}.* is not in"):
        build_dummy(name, tmp_path / "missing", manual)


def names_of(dataset):
    return [name for name in names() if name.startswith(f"{dataset}/")]


@pytest.mark.parametrize("dataset", WITH_FILES)
def test_dummy_data_is_what_the_script_writes(dataset, tmp_path):
    assert set(WRITERS) == set(WITH_FILES)
    WRITERS[dataset](tmp_path)
    committed = files_of(dummy_folder(dataset))
    assert set(files_of(tmp_path)) == set(committed)
    for name, path in committed.items():
        if path.suffix in (".jpg", ".png"):
            np.testing.assert_array_equal(pixels(path), pixels(tmp_path / name))
        elif path.suffix not in dummy_files.COMPRESSED:
            assert filecmp.cmp(path, tmp_path / name, shallow=False), name


def files_of(folder):
    return {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}


def pixels(path):
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return np.asarray(image)
