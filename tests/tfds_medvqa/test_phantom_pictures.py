"""Every answer can be read off the phantom it belongs to, pixel by pixel."""

import itertools

import numpy as np
import pytest

from tfds_medvqa.phantom_medvqa.drawing import MODALITIES, abdomen
from tfds_medvqa.phantom_medvqa.drawing.canvas import blur, coordinates
from tfds_medvqa.phantom_medvqa.phantom_config import CLIENTS, PhantomConfig
from tfds_medvqa.phantom_medvqa.phantoms import make_phantom

SIZE = 64
SEEDS = range(8)

FINDINGS = [
    ("chest_xray", {"diagnosis": "consolidation"}),
    ("chest_xray", {"diagnosis": "effusion"}),
    ("oct", {"diagnosis": "drusen", "pit": "yes"}),
    ("oct", {"diagnosis": "macular edema", "pit": "no"}),
    ("breast_ultrasound", {"diagnosis": "benign"}),
    ("breast_ultrasound", {"diagnosis": "malignant"}),
]

WHOLES = [
    *(("dermatoscope", {"diagnosis": d, "hair": "no"}) for d in ("nevus", "melanoma")),
    *(("blood_microscope", {"cell": cell}) for cell in ("neutrophils", "lymphocytes", "platelets")),
    *(("kidney_cortex_microscope", {"structure": s}) for s in ("glomerulus", "leukocytes")),
]


def draw(client, facts, seed):
    return MODALITIES[client].draw(facts, np.random.default_rng(seed), SIZE)


def middle_of(weight_HW):
    """Returns x and y of the centre of mass."""
    x_HW, y_HW = coordinates(SIZE)
    total = weight_HW.sum()
    return float((weight_HW * x_HW).sum() / total), float((weight_HW * y_HW).sum() / total)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("client", "facts"), FINDINGS)
def test_a_finding_changes_the_healthy_picture_on_its_side(client, facts, side):
    healthy = {"diagnosis": "normal", "pit": facts.get("pit", "no")}
    for seed in SEEDS:
        with_HWC = draw(client, {**facts, "side": side}, seed)
        change_HW = np.abs(with_HWC - draw(client, healthy, seed)).sum(-1)
        # The place is drawn also without a finding, so only the finding itself may differ.
        x, _ = middle_of(change_HW)
        assert x < -0.2 if side == "left" else x > 0.2
        assert (change_HW > 0.3).mean() > 0.02


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("client", "facts"), WHOLES)
def test_what_is_asked_for_lies_on_its_side(client, facts, side):
    for seed in SEEDS:
        image_HWC = draw(client, {**facts, "side": side}, seed)
        unusual_HW = np.abs(image_HWC - np.median(image_HWC, axis=(0, 1))).sum(-1)
        x, _ = middle_of(unusual_HW >= np.quantile(unusual_HW, 0.97))
        assert x < -0.15 if side == "left" else x > 0.15


# A sagittal slice through the liver does not meet the spleen.
LESIONS = [
    (view, organ)
    for view in abdomen.VIEWS
    for organ in abdomen.ORGANS
    if (view, organ) != ("sagittal", "spleen")
]


@pytest.mark.parametrize(("view", "organ"), LESIONS)
def test_a_lesion_lies_in_its_organ(view, organ):
    for seed in SEEDS:
        slices = [
            draw("abdominal_ct", {"view": view, "lesion": lesion, "organ": organ}, seed)
            for lesion in ("yes", "no")
        ]
        x, y = middle_of(np.abs(slices[0] - slices[1]).sum(-1))
        places = [shape for shape in abdomen.SHAPES[view] if shape[0] == organ]
        distance = min(np.hypot((x - s[1]) / s[3], (y - s[2]) / s[4]) for s in places)
        assert distance < 0.7


def test_the_optic_disc_is_the_bright_spot_on_its_side():
    for side, seed in [(side, seed) for side in ("left", "right") for seed in SEEDS]:
        image_HWC = draw("fundus", {"grade": "grade 4", "disc side": side}, seed)
        x, _ = middle_of(blur(image_HWC.min(-1), 0.03) > 0.4)
        assert x < -0.3 if side == "left" else x > 0.3


def test_a_higher_grade_of_retinopathy_has_more_blood():
    for seed in SEEDS:
        blood = [
            (draw("fundus", {"grade": f"grade {g}", "disc side": "left"}, seed)[..., 0] < 0.3).sum()
            for g in range(5)
        ]
        assert all(less < more for less, more in itertools.pairwise(blood))


def test_exudates_are_yellow_and_absent_where_the_answer_is_no():
    for seed in SEEDS:
        counts = {}
        for answer in ("yes", "no"):
            facts = {"grade": "grade 2", "disc side": "left", "exudates": answer}
            image_HWC = draw("fundus", facts, seed)
            counts[answer] = int(((image_HWC[..., 1] > 0.8) & (image_HWC[..., 2] < 0.5)).sum())
        assert counts["no"] < 5 < counts["yes"]


def test_an_enlarged_heart_is_wider():
    for seed in SEEDS:
        normal, enlarged = (
            draw("chest_xray", {"diagnosis": d}, seed)[34:44, :, 0]
            for d in ("normal", "cardiomegaly")
        )
        assert (enlarged > 0.7).sum() > 1.5 * (normal > 0.7).sum()


def test_a_foveal_pit_lowers_the_surface_of_the_middle():
    for seed in SEEDS:
        surfaces = []
        for pit in ("yes", "no"):
            column = draw("oct", {"diagnosis": "normal", "pit": pit}, seed)[:, 30:34, 0].mean(1)
            surfaces.append(int(np.argmax(column > 0.35)))
        assert surfaces[0] > surfaces[1] + 4


def test_hairs_are_dark_lines_over_the_same_skin():
    for seed in SEEDS:
        facts = {"diagnosis": "nevus", "side": "left"}
        hairy, bare = (draw("dermatoscope", facts | {"hair": h}, seed) for h in ("yes", "no"))
        assert ((bare - hairy).mean(-1) > 0.3).mean() > 0.05


def test_the_body_has_the_outline_of_its_view():
    for seed in SEEDS:
        shape = {}
        for view in abdomen.VIEWS:
            body_HW = draw("abdominal_ct", {"view": view, "lesion": "no"}, seed)[..., 0] > 0.12
            shape[view] = body_HW.any(0).sum() / body_HW.any(1).sum()
        assert shape["axial"] > 1.2 > 0.85 > shape["coronal"] > shape["sagittal"]


def features(image_HWC):
    """Returns what a simple reader looks at: how bright and how rough, however it is placed."""
    image_HWC = image_HWC.astype(np.float32) / 255.0
    rough_HWC = np.abs(image_HWC - blur(image_HWC, 0.04))
    levels = np.linspace(0.02, 0.98, 13)
    parts = [np.quantile(part, levels, axis=(0, 1)).ravel() for part in (image_HWC, rough_HWC)]
    profile_H = blur(image_HWC.mean(-1), 0.03).mean(1)[::4]
    return np.concatenate([*parts, profile_H, image_HWC.mean(-1).std(1)[::4]])


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_linear_reader_tells_the_classes_apart_at_32_pixels(client, shift):
    """Ridge regression on a few image statistics is the outside reader; chance is 1/3 to 1/5."""
    modality = MODALITIES[client]
    config = PhantomConfig(shift=shift, image_size=32)
    phantoms = [make_phantom(config, client, i) for i in range(240)]
    classes = [modality.label_classes.index(p.facts[modality.label_fact]) for p in phantoms]
    inputs = np.stack([features(p.image_HWC) for p in phantoms])
    inputs = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-3)
    inputs = np.concatenate([inputs, np.ones((240, 1))], axis=1)
    targets = np.eye(len(modality.label_classes))[classes]
    gram = inputs[:180].T @ inputs[:180] + 3.0 * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs[:180].T @ targets[:180])
    accuracy = np.mean((inputs[180:] @ weights).argmax(1) == classes[180:])
    assert accuracy > 0.7
