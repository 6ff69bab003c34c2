"""Hospitals of one modality: answers follow from labels, and no patient is on both sides."""

import shutil

import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.modality_images import questions
from tfds_medvqa.modality_images.hospitals import HOSPITALS, MODALITIES
from tfds_medvqa.modality_images.questions import MODALITY, ask

MANY = 400
ABNORMAL = {"benign", "malignant", "glioma", "meningioma", "pituitary tumor"} | {
    "bacterial pneumonia",
    "viral pneumonia",
}
MEMBERS = {
    "melanocytic": {"melanoma", "melanocytic nevus"},
    "melanocytes": {"melanoma", "melanocytic nevus"},
    "granulocyte": {"basophil", "eosinophil", "immature granulocyte", "neutrophil"},
    "granulocytes": {"basophil", "eosinophil", "immature granulocyte", "neutrophil"},
    "abnormal": ABNORMAL,
    "disease": ABNORMAL,
}
"""Last word of a question to the labels for which the answer is yes."""


def asked(name):
    """(label in words, triplet) of many images, of all labels."""
    hospital = HOSPITALS[name]
    for number in range(MANY):
        for label, word in hospital.labels.items():
            yield word, ask(f"{name}/{number}", hospital, label)


@pytest.mark.parametrize("name", HOSPITALS)
def test_every_answer_follows_from_the_label(name):
    hospital = HOSPITALS[name]
    names = [*hospital.labels.values(), *MODALITIES]
    for word, triplet in asked(name):
        true = {word, hospital.source.modality}
        if triplet.answer not in ("yes", "no"):
            assert triplet.answer in true
            assert (triplet.question_type == MODALITY) == (
                triplet.answer not in names[: -len(MODALITIES)]
            )
            continue
        last = triplet.question.removesuffix("?").split()[-1]
        is_of_one = any(triplet.question.endswith(f" {thing}?") for thing in hospital.labels)
        if last in MEMBERS and not is_of_one:
            is_true = word in MEMBERS[last]
        else:
            (thing,) = _named(triplet.question, names)
            is_true = thing in true
        assert triplet.answer == ("yes" if is_true else "no"), triplet


def _named(question, names):
    """The one thing that a question is about: the longest name in it."""
    return sorted((n for n in names if n in question), key=len)[-1:]


@pytest.mark.parametrize("name", HOSPITALS)
def test_half_of_the_questions_ask_for_the_label_and_a_tenth_for_the_modality(name):
    triplets = [triplet for _, triplet in asked(name)]
    labels = set(HOSPITALS[name].labels.values())
    assert 0.35 < sum(t.answer in labels for t in triplets) / len(triplets) < 0.55
    share = sum(t.question_type == MODALITY for t in triplets) / len(triplets)
    assert share == pytest.approx(questions.MODALITY_SHARE, abs=0.05)
    assert max(len(t.question.split()) for t in triplets) <= 9


def test_the_splits_are_those_of_the_table(tmp_path):
    splits = texts(build_dummy("modality_images/chest_ct", tmp_path))
    names = {s: {each["image_id"].decode() for each in found} for s, found in splits.items()}
    assert names["validation"] == {"chest_ct/4.jpg", "chest_ct/5.jpg"}
    assert names["test"] == {"chest_ct/6.jpg", "chest_ct/7.jpg"}
    assert {each["client"] for found in splits.values() for each in found} == {b"chest_ct"}


def test_an_upstream_patient_is_on_one_side(tmp_path):
    manual = tmp_path / "manual"
    shutil.copytree(dummy_folder("modality_images"), manual)
    folder = manual / "upstream" / "xray_kermany"
    picture = next((folder / "images").iterdir())
    lines = ["image,label,split,patient"]
    for number in range(90):
        shutil.copy(picture, folder / "images" / f"{number}.jpg")
        lines.append(f"images/{number}.jpg,normal,train,p{number // 3:02d}")
    (folder / "labels.csv").write_text("\n".join(lines))
    splits = texts(build_dummy("modality_images/upstream_chest_xray", tmp_path, manual))
    train, test = ({each["patient"] for each in splits[split]} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("benign,train", "flu,train", "labels.csv, line 3 has label 'flu', expected one of normal"),
        (",train,", ",learn,", "has split 'learn', expected one of train, val, test"),
        ("image,label", "picture,label", "column 'image' is missing"),
        ("images/0.jpg", "../0.jpg", "0.jpg"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(old, new, message, tmp_path):
    manual = tmp_path / "manual"
    shutil.copytree(dummy_folder("modality_images"), manual)
    table = manual / "modalities" / "ct_iqothnccd" / "labels.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(BuildError, match=message):
        build_dummy("modality_images/chest_ct", tmp_path, manual)


@pytest.mark.slow
def test_the_real_hospitals_have_the_numbers_of_the_readme(real_data, real_builds):
    expected = {"chest_ct": (719, 130, 206), "breast_ultrasound": (536, 77, 154)}
    for name, counts in expected.items():
        builder = build_dummy(f"modality_images/{name}", real_builds, real_data)
        found = builder.info.splits
        assert tuple(found[s].num_examples for s in ("train", "validation", "test")) == counts
