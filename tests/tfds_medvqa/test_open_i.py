"""Findings from a report's coded terms, and the other parts of a report."""

import pathlib

import numpy as np
import pytest

from tests.helpers.fact_tables import read_tables, values
from tests.tfds_medvqa.dummy_builds import build_dummy, texts
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.findings import FINDINGS, QUESTION, finding_vector, findings_example
from tfds_medvqa.open_i.reports import TERMS, findings, read_report

TABLE = read_tables(pathlib.Path(__file__).with_name("open_i_facts.md"))["terms"]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return texts(build_dummy("open_i/reports", tmp_path_factory.mktemp("data")))


def every(splits):
    return {each["image_id"]: each for examples in splits.values() for each in examples}


def test_every_report_with_an_image_gives_one_example(splits):
    assert len(every(splits)) == 29
    assert {each["task"] for each in every(splits).values()} == {b"classification"}


def test_labels_are_vectors_over_the_fifteen_findings(splits):
    expected = {0: "no finding", 1: "cardiomegaly", 2: "lung opacity", 3: "other"}
    for number, name in expected.items():
        example = every(splits)[f"CXR{number}_IM-0001-1001.png".encode()]
        np.testing.assert_array_equal(example["label"], [int(each == name) for each in FINDINGS])
        assert example["answer"].decode() == name


def test_a_config_chooses_the_sections(splits, tmp_path):
    assert {each["question"] for each in every(splits).values()} == {b"The heart is seen."}
    indication = every(texts(build_dummy("open_i/indication", tmp_path)))
    assert indication[b"CXR4_IM-0001-1001.png"]["question"] == b"Cough 4."


def test_the_findings_names_are_kept_with_the_built_dataset(tmp_path):
    builder = build_dummy("open_i/reports", tmp_path)
    assert list(builder.info.metadata["findings"]) == list(FINDINGS)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (["normal"], {"no finding"}),
        (["normal", "Nodule/lung"], {"lung lesion"}),
        (["Hydropneumothorax/left"], {"pleural effusion", "pneumothorax"}),
        (["Cardiac Shadow/enlarged"], {"cardiomegaly"}),
        (["Cardiac Shadow/shift"], set()),
        (["Thickening/pleura/apex"], {"pleural other"}),
        (["Thickening/bronchi"], set()),
        (["Pulmonary Disease, Chronic Obstructive"], set()),
        ([], set()),
    ],
)
def test_coded_terms_give_findings(terms, expected):
    assert findings(terms) == expected


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["term"])
def test_a_coded_term_gives_the_findings_of_the_table_of_facts(row):
    assert findings([row["term"]]) == set(values(row["findings"]))
    with_normal = set(values(row["findings"])) or {"no finding"}
    assert findings(["normal", row["term"]]) == with_normal


def test_the_table_of_facts_knows_every_term_and_every_finding():
    heads = {row["term"].split("/")[0].lower() for row in TABLE}
    assert {term for _, term, _ in TERMS} <= heads
    qualifiers = {part for row in TABLE for part in row["term"].split("/")[1:]}
    assert {each for _, _, any_of in TERMS for each in any_of} <= qualifiers
    assert {name for row in TABLE for name in values(row["findings"])} == set(FINDINGS) - {"other"}


def test_every_term_leads_to_one_of_the_findings():
    assert {finding for finding, _, _ in TERMS} == set(FINDINGS) - {"other"}


def test_no_finding_at_all_is_other_and_an_unknown_one_is_refused():
    assert finding_vector([]) == [0] * 14 + [1]
    assert sum(finding_vector(["edema", "pneumonia"])) == 2
    with pytest.raises(ValueError, match="'flu' is none of the findings atelectasis"):
        finding_vector(["flu"])


def test_an_image_without_a_report_gets_a_question():
    example = findings_example(image=None, image_id="a", report=" ", present=["edema"], source="s")
    assert example["question"] == QUESTION


def test_a_broken_report_is_named(tmp_path):
    (tmp_path / "7.xml").write_text("<eCitation>")
    with pytest.raises(BuildError, match=r"7\.xml: is not an XML file"):
        read_report(tmp_path / "7.xml")
