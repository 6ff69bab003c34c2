"""Federations of real images: their clients, their start, and that they never share images."""

import pytest

from configs.evidence import FEDERATIONS
from configs.sweeps.evidence import VARIANTS
from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.federation import experiment, presets
from f3ocus_jax.sweep.plan import make_plan
from f3ocus_jax.sweep.settings import SweepConfig
from tests.helpers.configs import raw_config, read_config
from tests.helpers.marking import marked
from tfds_medvqa.common.errors import BuildError

REAL = ("", "medmnist3", "medmnist3_own_splits", "task1", "label_shift", "label_shift_strong")
SAME_IMAGES = {
    "modality_images/breast_ultrasound": "medvqa_fl/breast_ultrasound",
    "modality_images/chest_xray": "medvqa_fl/chest_xray_pneumonia",
}


def read(variant, data_dir=None, **settings):
    return read_config(variant, data_dir, task="evidence", **settings)


@pytest.mark.parametrize("family", ["vilt", "albef"])
@pytest.mark.parametrize("variant", REAL)
def test_a_federation_starts_from_its_family_s_foundation_and_trains_blocks(variant, family):
    config = read(f"{variant}_{family}".removeprefix("_"))
    ending = "" if family == "vilt" else "_albef"
    assert config.model.family == family
    assert config.model.weights == f"runs/foundation_evidence{ending}"
    assert config.model.selectable == ("" if family == "vilt" else "vision")
    assert config.training.unit == "block"
    assert config.model.adapter_size == 0
    names = config.data.datasets
    assert not any(name in names and other in names for name, other in SAME_IMAGES.items())


def test_medmnist_is_split_anew_unless_its_own_splits_are_asked_for():
    anew, own = (
        read(variant).data.datasets for variant in ("medmnist3", "medmnist3_own_splits_fd")
    )
    assert own == tuple(f"{name}_own_splits" for name in anew)


@pytest.mark.parametrize("ending", ["", "_albef"])
def test_a_foundation_sees_none_of_the_hospitals_images(ending):
    config = raw_config(f"evidence{ending}", task="pretrain")
    assert config.model.weights == f"runs/text_start{ending}"
    seen = set(config.data.datasets)
    hospitals = {name for variant in REAL for name in read(variant).data.datasets}
    assert not seen & hospitals
    assert all("/upstream_" in name or name == "phantom_medvqa/public" for name in seen)


@pytest.mark.parametrize("method", presets.METHODS)
def test_every_method_has_the_adapters_that_its_unit_needs(method):
    for variant in ("medmnist3", "albef", "adapters", "task1_adapters"):
        config = read(f"{variant}_{method}")
        assert (config.model.adapter_size > 0) == (config.training.unit == "adapter")


def test_stronger_shift_has_the_smaller_concentration():
    mild, strong = read("label_shift").data, read("label_shift_strong").data
    assert strong.dirichlet_alpha < mild.dirichlet_alpha
    assert mild.partition == strong.partition == ("dirichlet",)


@pytest.mark.parametrize("federation", FEDERATIONS)
def test_a_federation_on_adapters_differs_in_the_unit_alone(federation):
    blocks, adapters = read(federation), read(f"{federation}_adapters")
    assert (adapters.training.unit, adapters.model.adapter_size) == ("adapter", 16)
    assert adapters.data == blocks.data
    assert adapters.federated == blocks.federated


@pytest.mark.parametrize("variant", ["tiny_blip", "llava", "medmnist3_blip"])
def test_a_family_without_a_foundation_is_refused(variant):
    with pytest.raises(ValueError, match=f"unknown variant '{variant}' of this config"):
        read(variant)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_sweep_has_a_plan(name, tmp_path):
    sweep = parsing.parse(SweepConfig, shipped.read(f"sweeps/evidence:{name}".removesuffix(":")))
    plan = make_plan(sweep, tmp_path)
    assert {run.seed for run in plan.with_waiting()} >= set(sweep.seeds)


def test_the_sweep_of_albef_follows_the_protocol_of_the_others(tmp_path):
    usual, sweep = (
        parsing.parse(SweepConfig, shipped.read(f"sweeps/evidence{name}"))
        for name in ("", ":albef")
    )
    assert (sweep.tuning, sweep.settings) == (usual.tuning, usual.settings)
    plan = make_plan(sweep, tmp_path)
    assert {(run.cell.base, run.cell.method, run.seed) for run in plan.waiting} == {
        ("evidence:albef", method, seed)
        for method in ("f3ocus", "lntk", "fd", "last_k", "full")
        for seed in usual.seeds
    }


def test_absent_data_is_listed_with_where_it_is_had(tmp_path):
    settings = {"model__weights": "", "model__architecture": {}}
    with pytest.raises(BuildError) as error:
        experiment.assemble(read("", tmp_path, **settings))
    assert str(error.value).count("labels.csv is not in any folder") == 6


def test_the_six_hospitals_are_six_clients(tmp_path):
    clients, _ = read_tables(read("tiny", tmp_path).data, Canvas(8))
    assert list(clients) == [
        *("chest_ct", "dermoscopy", "blood_microscopy", "brain_mri"),
        *("breast_ultrasound", "chest_xray"),
    ]


@pytest.mark.parametrize(
    "method",
    marked(("f3ocus", "full", "albef_f3ocus"), extended=("full", "albef_f3ocus")),
)
def test_the_tiny_federation_runs(method, tmp_path):
    records = experiment.run(
        read(f"tiny_{method}", tmp_path / "data"), tmp_path / "run", with_figures=False
    )
    assert [record.round for record in records] == [0, 1, 2]
    assert len(records[-1].clients) == 6
