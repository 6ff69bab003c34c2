"""X-rays of MIMIC-CXR-JPG, with their labels and text."""

import gzip
import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.findings import QUESTION
from tfds_medvqa.mimic_cxr.mimic_cxr_dataset_builder import report_text


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return texts(build_dummy("mimic_cxr/reports", tmp_path_factory.mktemp("data")))


def test_frontal_images_of_labelled_studies_are_in_their_released_split(splits):
    images = {
        split: {example["image_id"].decode() for example in examples}
        for split, examples in splits.items()
    }
    assert images == {
        "train": {f"front{place}.jpg" for place in (0, *range(4, 10))},
        "validation": {f"front{place}.jpg" for place in (1, *range(10, 18, 2))},
        "test": {f"front{place}.jpg" for place in (2, *range(11, 18, 2))},
    }


def test_only_what_is_certain_is_a_finding_and_nothing_is_other(splits):
    answers = {
        example["image_id"].decode(): example["answer"].decode()
        for examples in splits.values()
        for example in examples
    }
    expected = ["cardiomegaly", "other", "no finding", "edema, pneumonia", "no finding"]
    assert [answers[f"front{place}.jpg"] for place in (0, 1, 2, 4, 5)] == expected


def test_reports_are_the_question_and_images_alone_share_one(splits, tmp_path):
    assert splits["train"][0]["question"] == b"Heart is large. ."
    alone = texts(build_dummy("mimic_cxr/images", tmp_path))
    assert alone["train"][0]["question"].decode() == QUESTION


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("EXAM: x\n FINDINGS: a\n b\n IMPRESSION:\n c\n", "a b c"),
        ("FINDINGS: a\nNOTIFICATION: d", "a"),
        ("just words\n here", "just words here"),
    ],
)
def test_findings_and_impression_are_cut_out_of_a_report(report, expected, tmp_path):
    (tmp_path / "s1.txt").write_text(report)
    assert report_text(tmp_path / "s1.txt") == expected


def test_tables_may_be_unpacked(splits, tmp_path):
    manual = shutil.copytree(dummy_folder("mimic_cxr"), tmp_path / "manual")
    for path in manual.glob("*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = texts(build_dummy("mimic_cxr/reports", tmp_path, manual))
    for split, examples in splits.items():
        assert [each["answer"] for each in unpacked[split]] == [each["answer"] for each in examples]


@pytest.fixture
def mirror(tmp_path):
    """The two releases as wget copies them from PhysioNet, and the version of the first."""
    root = tmp_path / "data" / "physionet.org" / "files"
    images = shutil.copytree(dummy_folder("mimic_cxr"), root / "mimic-cxr-jpg" / "2.1.0")
    for report in images.rglob("*.txt"):
        moved = root / "mimic-cxr" / "2.1.0" / report.relative_to(images)
        moved.parent.mkdir(parents=True, exist_ok=True)
        report.rename(moved)
    return images


@pytest.mark.parametrize("above", range(3))
def test_both_releases_are_found_in_wget_s_tree_from_any_folder_above(
    above, mirror, splits, tmp_path
):
    folder = (mirror.parents[1], mirror.parents[2], tmp_path)[above]
    found = texts(build_dummy("mimic_cxr/reports", tmp_path / "built", folder))
    assert found == splits


@pytest.mark.parametrize("above", range(5))
def test_images_alone_are_found_in_wget_s_tree_from_any_folder_above(above, mirror, tmp_path):
    folder = (mirror, *mirror.parents)[above]
    found = texts(build_dummy("mimic_cxr/images", tmp_path / "built", folder))
    assert sum(map(len, found.values())) == 17


def test_an_absent_report_names_the_release_that_holds_it(mirror, tmp_path):
    with pytest.raises(BuildError, match=r"s50000001\.txt is not in") as error:
        build_dummy("mimic_cxr/reports", tmp_path / "built", mirror)
    assert "mimic-cxr-reports.zip" in str(error.value)
    assert "physionet.org/content/mimic-cxr/ " in str(error.value)
    assert "\n" not in str(error.value)
