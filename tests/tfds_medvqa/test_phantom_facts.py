"""Every answer about a phantom is the one that follows from a table of facts written apart."""

import collections
import pathlib

import pytest

from tests.helpers.fact_tables import UNDECIDED, Meanings, read_tables
from tfds_medvqa.phantom_medvqa.phantom_config import PhantomConfig
from tfds_medvqa.phantom_medvqa.phantoms import make_phantom, to_example

TABLES = read_tables(pathlib.Path(__file__).with_name("phantom_facts.md"))
OF_CLIENT = {row["client"]: row for row in TABLES["clients"]}
CONFIG = PhantomConfig(image_size=16)
PHANTOMS = 400


@pytest.fixture(scope="module", params=OF_CLIENT)
def client(request):
    """(name, meanings of its questions, (example, facts of its class) of many phantoms)."""
    name = request.param
    examples = [to_example(make_phantom(CONFIG, name, i), name) for i in range(PHANTOMS)]
    facts = [OF_CLIENT[name] | TABLES[name][example["label"][0]] for example in examples]
    return name, Meanings(TABLES["questions"], name), list(zip(examples, facts, strict=True))


def possible(cell):
    """The answers that the class allows; one where the class decides."""
    return set() if cell == UNDECIDED else set(cell.split(" / "))


def test_every_answer_about_a_phantom_follows_from_its_class(client):
    name, meanings, examples = client
    for example, facts in examples:
        meaning, _ = meanings.of(example["question"])
        assert example["answer"] in possible(facts[meaning["property"]]), (example, facts)
        assert example["question_type"] == meaning["type"]
        assert (example["modality"], example["anatomy"]) == (facts["modality"], facts["anatomy"])
        assert example["client"] == name


def test_all_questions_are_asked_and_every_answer_that_a_class_allows_is_given(client):
    name, meanings, examples = client
    asked, given = set(), collections.defaultdict(set)
    for example, facts in examples:
        meaning, _ = meanings.of(example["question"])
        asked.add(meaning["question"])
        given[meaning["property"]].add((facts["class"], example["answer"]))
    assert asked == {row["question"] for row in meanings.rows}
    for key in {row["property"] for row in meanings.rows}:
        allowed = {
            (row["class"], value)
            for row in TABLES[name]
            for value in possible((OF_CLIENT[name] | row)[key])
        }
        assert given[key] == allowed, key
