"""Every answer of MedVQA-FL is the one that follows from a table of facts written apart from it."""

import collections
import itertools
import pathlib

import pytest

from tests.helpers.fact_tables import (
    UNDECIDED,
    Meanings,
    answer,
    read_tables,
    values,
    without_article,
)
from tfds_medvqa.medvqa_fl import census, questions, records
from tfds_medvqa.medvqa_fl.sources import SOURCES

TABLES = read_tables(pathlib.Path(__file__).with_name("medvqa_fl_facts.md"))
OF_SOURCE = {row["source"]: row for row in TABLES["sources"]}
RECORDS = records.load()
IMAGES = 4000
"""Images of each source that are asked about; enough to meet every question of every class."""


def classes_of(name):
    return TABLES["organmnist" if name.startswith("organ") else name]


def facts_of(name, classes):
    """Property to cell: the source's own, and those of the image's classes."""
    facts = {key: cell for key, cell in OF_SOURCE[name].items() if cell != UNDECIDED}
    if name == "chestmnist":
        found = [row["finding"] for row in classes]
        return facts | {
            "finding": "; ".join(found) or "no finding",
            "abnormal": "yes" if found else "no",
        }
    return facts | classes[0]


def images(name):
    """Yields (label, rows of the classes that the image has), every class again and again."""
    classes = classes_of(name)
    if name != "chestmnist":
        yield from itertools.cycle([([place], [row]) for place, row in enumerate(classes)])
    for index in itertools.count():
        present = {index % 15, 4 + index % 29}  # none, one and two of the fourteen findings
        label = [int(place in present) for place in range(len(classes))]
        yield label, [row for place, row in enumerate(classes) if label[place]]


def asked(name):
    """Yields (triplet, meaning of the question, value asked about, facts of the image)."""
    meanings = Meanings(TABLES["questions"], name, OF_SOURCE[name]["region"])
    for index, (label, classes) in enumerate(itertools.islice(images(name), IMAGES)):
        triplet = questions.ask(f"{name}/train/{index}", SOURCES[name], RECORDS[name], label)
        facts = facts_of(name, classes)
        yield triplet, *meanings.of(triplet.question), facts


@pytest.fixture(scope="module", params=OF_SOURCE)
def source(request):
    """(name, everything that `asked` yields for it)."""
    return request.param, list(asked(request.param))


def test_labels_stand_for_the_classes_in_the_publications_order():
    assert set(OF_SOURCE) == set(SOURCES) == set(RECORDS)
    for name, record in RECORDS.items():
        assert list(record.labels) == [row["class"] for row in classes_of(name)], name


def test_hospitals_and_their_sizes_are_the_papers():
    for name, row in OF_SOURCE.items():
        assert SOURCES[name].client == row["client"]
        assert RECORDS[name].total == int(row["images"]), name
    percent = {row["question type"]: int(row["percent"]) for row in TABLES["paper's shares"]}
    assert {kind: round(100 * share) for kind, share in census.PAPER_SHARES.items()} == percent


def test_every_answer_follows_from_the_facts(source):
    _, triplets = source
    for triplet, meaning, value, facts in triplets:
        cell = facts[meaning["property"]]
        assert triplet.answer == answer(value, cell), (triplet, facts)
        assert triplet.question_type == meaning["type"], triplet
        assert triplet.anatomy == values(facts["anatomy"])[0], triplet


def test_an_open_question_has_one_right_answer(source):
    name, triplets = source
    for triplet, meaning, value, facts in triplets:
        if value is None and meaning["property"] not in ("modality", "anatomy"):
            assert len(values(facts[meaning["property"]])) == 1, (name, triplet)


def test_every_question_of_the_table_is_asked_and_every_class_has_its_properties(source):
    name, triplets = source
    meanings = Meanings(TABLES["questions"], name, OF_SOURCE[name]["region"])
    seen = {meaning["question"] for _, meaning, _, _ in triplets}
    # CT asks for the organ in the centre, never for the part of the body that was examined.
    unasked = "anatomy" if name.startswith("organ") else None
    assert seen == {row["question"] for row in meanings.rows if row["property"] != unasked}
    met = {(facts.get("class"), meaning["property"]) for _, meaning, _, facts in triplets}
    properties = {row["property"] for row in meanings.rows} - {unasked}
    decided = {
        (facts.get("class"), key)
        for _, _, _, facts in triplets
        for key in properties & set(facts)
        if facts[key] != UNDECIDED
    }
    assert met == decided


def test_every_value_is_both_confirmed_and_denied(source):
    name, triplets = source
    answers = collections.defaultdict(set)
    known = collections.defaultdict(set)
    for triplet, meaning, value, facts in triplets:
        if value is not None and meaning["property"] not in ("modality", "anatomy"):
            answers[meaning["property"], without_article(value)].add(triplet.answer)
            known[meaning["property"]] |= set(values(facts[meaning["property"]]))
    for key, things in known.items():
        for thing in things - {"no finding"}:
            assert answers[key, thing] == {"yes", "no"}, (name, key, thing)
