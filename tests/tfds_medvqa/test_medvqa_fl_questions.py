import collections
import pathlib
import re

import numpy as np
import pytest

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.features import QUESTION_TYPES
from tfds_medvqa.medvqa_fl import census, facts, questions, records, wordings
from tfds_medvqa.medvqa_fl.sources import ANATOMIES, CLIENTS, MODALITIES, ORGANS, SOURCES

RECORDS = records.load()
README = pathlib.Path(questions.__file__).with_name("README.md")
LISTED_CHOICES = (
    *("malignant", "grade 0", "grade 4", "left", "right", "unpaired"),
    *("tubule", "glomerulus", "interstitium", "epithelial", "endothelial", "immune"),
)
"""Answers that a question may name because it lists what there is to choose from."""


def labels_of(record):
    """Every label; of a multi-label source, none, each one and some pairs."""
    if not record.multi_label:
        return [(place,) for place in range(len(record.labels))]
    rows = np.vstack([np.zeros(14, int), np.eye(14, dtype=int), np.eye(14, dtype=int)])
    rows[15:, 3] = 1
    return [tuple(row) for row in rows.tolist()]


def triplets(name, count):
    """Triplets of many images that go through the source's labels, with the labels by name."""
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


def asked(sentences, question, things):
    """The thing that a question put in one of these wordings asks about; None for others."""
    found = [
        thing
        for sentence in sentences
        for thing in things
        if sentence.format(thing=thing) == question
    ]
    return found[0] if found else None


@pytest.fixture(scope="module")
def counted():
    return census.count(RECORDS)


def test_every_image_of_every_client_gets_one_type_of_question(counted):
    assert set(counted) == set(CLIENTS)
    assert sum(sum(row.values()) for row in counted.values()) == 707_962


def test_shares_of_the_question_types_are_as_close_to_the_paper_s_as_the_sources_allow(counted):
    overall = sum(counted.values(), collections.Counter())
    for question_type, expected in census.PAPER_SHARES.items():
        # Only fundus images have grades: 1 600 of 707 962 are 0.23 %, not 1 %.
        tolerance = 0.008 if question_type == "disease grading" else 0.0025
        assert overall[question_type] / 707_962 == pytest.approx(expected, abs=tolerance)
    assert counted["fundus"]["disease grading"] == overall["disease grading"] > 0.85 * 1600


def test_the_readme_has_the_table_as_it_is(counted):
    table = "\n".join(census.table(counted))
    assert table in README.read_text(), f"put this into {README.name}:\n{table}"


@pytest.mark.parametrize("name", SOURCES)
def test_weights_are_shares_of_the_known_types(name):
    assert sum(questions.WEIGHTS[name].values()) == pytest.approx(1.0)
    assert set(questions.WEIGHTS[name]) <= set(QUESTION_TYPES)


@pytest.mark.parametrize("name", SOURCES)
def test_drawn_question_types_follow_the_weights(name):
    found = collections.Counter(triplet.question_type for triplet, _ in triplets(name, 4000))
    for question_type, weight in questions.WEIGHTS[name].items():
        assert found[question_type] / 4000 == pytest.approx(weight, abs=0.03)


@pytest.mark.parametrize("name", SOURCES)
def test_open_questions_have_several_wordings_and_do_not_name_their_answer(name):
    sentences = collections.defaultdict(set)
    for triplet, _ in triplets(name, 3000):
        if triplet.answer in ("yes", "no"):
            continue
        sentences[triplet.question_type].add(triplet.question)
        assert "{" not in triplet.question
        assert triplet.question == triplet.question.lower()
        assert triplet.answer == triplet.answer.lower()
        if triplet.answer not in LISTED_CHOICES:
            assert not re.search(rf"\b{re.escape(triplet.answer)}\b", triplet.question)
    assert min(len(found) for found in sentences.values()) >= 3


@pytest.mark.parametrize("name", SOURCES)
def test_no_yes_or_no_question_is_answered_by_its_words_alone(name):
    """Every closed wording whose labels vary has both answers for the same words."""
    answers = collections.defaultdict(set)
    for triplet, _ in triplets(name, 12_000):
        if triplet.answer in ("yes", "no") and triplet.question_type not in (
            "modality recognition",  # the modality and the anatomy of a client are the same for
            "anatomy",  # all of its images, so that words and answer go together in one client
        ):
            answers[triplet.question].add(triplet.answer)
    assert [question for question, seen in answers.items() if len(seen) < 2] == []


def test_modality_and_anatomy_are_confirmed_by_one_client_and_denied_by_others():
    answers = collections.defaultdict(set)
    for name in SOURCES:
        for triplet, _ in triplets(name, 6000):
            if triplet.answer in ("yes", "no") and triplet.question_type == "modality recognition":
                answers[triplet.question].add(triplet.answer)
    assert len(answers) == len(wordings.IS_MODALITY) * len(MODALITIES)
    assert all(seen == {"yes", "no"} for seen in answers.values())


@pytest.mark.parametrize("sentences", [s for s in vars(wordings).values() if type(s) is tuple])
def test_every_question_can_be_put_in_three_different_ways(sentences):
    assert len(set(sentences)) >= 3
    assert all(sentence.endswith(("?", ".")) for sentence in sentences)


def test_a_chest_x_ray_is_never_said_not_to_show_the_heart():
    for name in ("chestmnist", "pneumoniamnist"):
        assert not any("heart" in triplet.question for triplet, _ in triplets(name, 4000))


def test_ct_is_never_said_not_to_be_x_ray():
    assert not any("x-ray" in triplet.question for triplet, _ in triplets("organamnist", 4000))


def test_chest_answers_follow_the_findings():
    seen = collections.Counter()
    names = facts.CHEST_FINDINGS
    phrases = {
        facts.with_article(name) if name in facts.COUNTABLE else name: name
        for name in names.values()
    }
    for triplet, labels in triplets("chestmnist", 6000):
        if triplet.question_type != "disease diagnosis":
            continue
        present = {names[label] for label in labels}
        thing = asked(wordings.HAS_FINDING, triplet.question, phrases)
        if thing:
            assert triplet.answer == ("yes" if phrases[thing] in present else "no")
            seen["finding"] += 1
        elif triplet.answer in ("yes", "no"):
            assert (triplet.answer == "yes") == bool(present)
            seen["abnormal"] += 1
        else:
            assert triplet.answer == (next(iter(present)) if present else "no finding")
            assert len(present) <= 1
            seen["open"] += 1
    assert min(seen.values()) > 300
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("name", "positive", "answers"),
    [
        ("breastmnist", {"malignant"}, {"malignant", "normal or benign"}),
        ("pneumoniamnist", {"pneumonia"}, {"pneumonia", "normal"}),
    ],
)
def test_binary_sources_are_asked_openly_and_with_yes_or_no(name, positive, answers):
    seen = collections.Counter()
    for triplet, (label,) in triplets(name, 3000):
        if triplet.question_type == "disease diagnosis":
            seen[triplet.answer] += 1
            if triplet.answer in ("yes", "no"):
                assert (triplet.answer == "yes") == (label in positive)
            else:
                assert triplet.answer.startswith(label.split(",")[0])
    assert set(seen) == {"yes", "no", *answers}
    assert min(seen.values()) > 200


def test_fundus_answers_follow_the_grade():
    grades = [f"grade {grade}" for grade in range(5)]
    for triplet, (label,) in triplets("retinamnist", 4000):
        if triplet.question_type == "disease diagnosis":
            assert triplet.answer == ("no" if label == "0" else "yes")
        elif triplet.question_type == "disease grading" and triplet.answer in ("yes", "no"):
            grade = grades.index(asked(wordings.GRADE_AT_LEAST, triplet.question, grades))
            assert grade >= 1  # whether grade 0 is reached is no question
            assert (triplet.answer == "yes") == (int(label) >= grade)
        elif triplet.question_type == "disease grading":
            assert triplet.answer == f"grade {label}"


@pytest.mark.parametrize(
    ("name", "sentences", "names"),
    [
        ("pathmnist", wordings.IS_TISSUE, {x: x for x in RECORDS["pathmnist"].labels}),
        ("tissuemnist", wordings.IS_KIDNEY_CELL, facts.KIDNEY_CELLS),
        ("octmnist", wordings.HAS_FINDING, {x: x for x in RECORDS["octmnist"].labels}),
        (
            "dermamnist",
            wordings.IS_SKIN_LESION,
            {label: facts.with_article(name) for label, name in facts.SKIN_LESIONS.items()},
        ),
        (
            "bloodmnist",
            wordings.IS_BLOOD_CELL,
            {label: facts.with_article(name) for label, name in facts.BLOOD_CELLS.items()},
        ),
        ("organsmnist", wordings.IS_ORGAN, {label: ORGANS[label][0] for label in ORGANS}),
    ],
)
def test_yes_is_said_of_an_image_s_own_class_and_no_of_any_other(name, sentences, names):
    seen = collections.Counter()
    for triplet, (label,) in triplets(name, 6000):
        thing = asked(sentences, triplet.question, names.values())
        if thing:
            assert (triplet.answer == "yes") == (thing == names[label])
            seen[triplet.answer] += 1
    assert min(seen["yes"], seen["no"]) > 200


@pytest.mark.parametrize("name", ["organamnist", "organcmnist", "organsmnist"])
def test_ct_views_organs_and_sides_follow_the_subset_and_the_label(name):
    views = {"organamnist": "axial", "organcmnist": "coronal", "organsmnist": "sagittal"}
    seen = collections.Counter()
    for triplet, (label,) in triplets(name, 4000):
        organ, anatomy = ORGANS[label]
        assert triplet.anatomy == anatomy
        if triplet.question in wordings.VIEW:
            assert triplet.answer == views[name]
            seen["view"] += 1
        elif triplet.question in wordings.ORGAN:
            assert triplet.answer == organ
            seen["organ"] += 1
        elif triplet.question in wordings.SIDE:
            assert triplet.answer == (organ.split()[0] if " " in organ else "unpaired")
            seen["side"] += 1
        elif triplet.question in wordings.IS_PAIRED:
            assert (triplet.answer == "yes") == (" " in organ)
            seen["pair"] += 1
    assert min(seen.values()) > 50
    assert len(seen) == 4


def test_a_leukocyte_is_not_placed_anywhere():
    for triplet, (label,) in triplets("tissuemnist", 4000):
        if label == "Leukocytes" and triplet.question_type == "biological attributes":
            assert triplet.answer == "immune"


def test_every_label_has_its_words():
    assert set(facts.CHEST_FINDINGS) == set(RECORDS["chestmnist"].labels)
    assert {*facts.OCT_DISEASES, "normal"} == set(RECORDS["octmnist"].labels)
    assert set(facts.BREAST_DIAGNOSES) == set(RECORDS["breastmnist"].labels)
    assert set(facts.SKIN_LESIONS) == set(RECORDS["dermamnist"].labels)
    assert set(facts.BLOOD_CELLS) == set(RECORDS["bloodmnist"].labels)
    assert set(facts.KIDNEY_CELLS) == set(facts.KIDNEY_LINEAGES)
    assert set(facts.KIDNEY_CELLS) == set(RECORDS["tissuemnist"].labels)
    assert set(ORGANS) == set(RECORDS["organamnist"].labels)
    tissues = set(RECORDS["pathmnist"].labels)
    assert tissues > facts.COLON_CANCER | set(facts.COLON_DIAGNOSES)


def test_left_and_right_organs_share_a_category_and_there_are_twelve():
    assert ORGANS["kidney-left"][1] == ORGANS["kidney-right"][1] == "kidney"
    categories = {category for _, category in ORGANS.values()}
    categories |= {source.anatomy for source in SOURCES.values() if source.anatomy}
    assert categories == set(ANATOMIES)
    assert len(ANATOMIES) == 12


def test_draws_with_different_names_are_independent_and_even():
    images = [Draws(f"octmnist/train/{index}") for index in range(4000)]
    pairs = collections.Counter(
        (image.choice("wording", (0, 1)), image.choice("form", (0, 1))) for image in images
    )
    assert all(count / 4000 == pytest.approx(0.25, abs=0.03) for count in pairs.values())
    assert all(0 <= image.fraction("type") < 1 for image in images)
    assert Draws("a").integer("split") == Draws("a").integer("split")


def test_weights_that_fall_short_of_one_by_rounding_still_give_a_choice(monkeypatch):
    monkeypatch.setattr(Draws, "fraction", lambda *_: 1 - 2**-53)
    assert Draws("a").weighted("type", {"first": 0.7, "last": 0.3 - 1e-12}) == "last"
