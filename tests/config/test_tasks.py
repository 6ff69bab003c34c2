"""Does every task's config give the federation that F³OCUS describes, from made-up files?"""

import pytest

from f3ocus_jax import importance
from f3ocus_jax.data import summary as summary_lib
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.federation import experiment, presets
from f3ocus_jax.models import FAMILIES, foundation as foundation_lib, sizes
from tests.helpers.configs import read_config
from tests.helpers.marking import marked
from tfds_medvqa.build import build
from tfds_medvqa.common.errors import BuildError

QUESTIONS, FINDINGS = "question answering", "classification"
TINY = {
    "task1": [QUESTIONS] * 5,
    "task2": [QUESTIONS] * 8,
    "task4": [FINDINGS] * 2,
    "task5": [FINDINGS] * 2,
    "task6": [QUESTIONS] * 3 + [FINDINGS] * 2,
}
"""The task of every client; task 3 is MedVQA-FL, see test_medvqa_fl.py."""
FULL: dict = {
    name: sizes.build(family.config, family.full_size.settings).image_size
    for name, family in FAMILIES.items()
}
FULL |= {"albef": 384, "blip": 384, "blip2": 224, "llava": 336, "vilt": 384, ("task3", "vilt"): 28}
SMALL = {**dict.fromkeys(FAMILIES, 32), **{("task3", name): 28 for name in FAMILIES}}
SIDES: dict[str, dict] = {"": FULL, "tiny_": SMALL}
"""Side of the images, by family or by task and family."""


@pytest.mark.parametrize("task", TINY)
def test_a_task_s_tiny_variant_has_its_clients(task, tmp_path):
    config = read_config("tiny", tmp_path, task=task)
    clients, summary = read_tables(config.data, Canvas(8))
    assert [client.task for client in summary.clients] == TINY[task]
    assert [client.name for client in summary.clients] == list(clients)
    assert all(min(client.examples.values()) >= 1 for client in summary.clients)
    for client, splits in zip(summary.clients, clients.values(), strict=True):
        assert client.examples == {split: len(table) for split, table in splits.items()}
        assert client.images == {
            split: len(set(table.pixel_hash_N.tolist())) for split, table in splits.items()
        }
    assert read_tables(config.data, Canvas(8))[1].partition_hash == summary.partition_hash
    fewer = {name: clients[name] for name in [*clients][1:]}
    assert summary_lib.summarise(fewer, {}).partition_hash != summary.partition_hash


@pytest.mark.parametrize("task", ["task1", "task2", "task4", "task5", "task6"])
def test_absent_data_stops_with_all_that_is_missing_and_where_it_is_had(task, tmp_path):
    config = read_config("", tmp_path, task=task)
    with pytest.raises(BuildError) as error:
        experiment.assemble(config)
    assert str(error.value).count("is not in any folder") == len(config.data.datasets)
    assert "https://" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", [*TINY, "task3"])
def test_an_unknown_variant_lists_the_known_ones(task):
    with pytest.raises(ValueError, match=r"unknown variant 'huge' of this config; known: .*tiny"):
        read_config("huge", task=task)


@pytest.mark.parametrize("task", TINY)
def test_every_task_takes_the_methods_of_the_paper_s_table(task):
    assert read_config("", task=task).selection.algorithm == "nsga2"
    for method, score in presets.OWN_CHOICE_SCORES.items():
        for variant in (method, f"tiny_{method}"):
            config = read_config(variant, task=task)
            assert (config.importance.score, config.selection.algorithm) == (score, "own")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "task", marked([*TINY, "task3"], extended=("task2", "task4", "task5", "task6"))
)
def test_every_task_takes_every_family_with_every_method(task, family):
    for method in presets.METHODS:
        for size in ("", "tiny_"):
            config = read_config(f"{size}{family}_{method}", task=task)
            assert config.model.family == family
            assert config.importance.score in importance.SCORES
            _, canvas = foundation_lib.inputs(config.model, config.data)
            assert canvas.side == SIDES[size].get((task, family), SIDES[size][family])


@pytest.mark.parametrize("variant", ["real5_blip", "medmnist3_albef", "tiny_ernie", "blip_tiny"])
def test_a_family_is_refused_where_it_has_no_variant(variant):
    task = "task3" if "medmnist3" in variant else "task1"
    with pytest.raises(ValueError, match=rf"unknown variant '{variant}' of this config; known: "):
        read_config(variant, task=task)


@pytest.fixture(scope="module")
def real_dir(real_data, real_builds):
    for dataset in ("vqa_rad/released", "vqa_med_2019/development"):
        build(dataset, real_builds, real_data)
    return real_builds


REAL = {
    "real2": {"vqa_rad/released": (1797, 451), "vqa_med_2019/development": (12664, 1976)},
    "real5": {
        "abdomen": (581, 158),
        "chest": (620, 174),
        "head": (596, 119),
        "vqa_med_2019/development 1 of 2": (6313, 1008),
        "vqa_med_2019/development 2 of 2": (6351, 968),
    },
}


@pytest.mark.extended
@pytest.mark.parametrize("variant", REAL)
def test_the_real_federations_of_task_1(variant, real_dir, real_data):
    config = read_config(variant, real_dir, task="task1", data__manual_dir=str(real_data))
    _, summary = read_tables(config.data, Canvas(28))
    sizes = {c.name: c.examples for c in summary.clients}
    released = {n: (s["train"] + s["validation"], s["test"]) for n, s in sizes.items()}
    assert released == REAL[variant]
    assert all(0.05 < s["validation"] / s["train"] < 0.2 for s in sizes.values())
    assert summary.dropped == {"vqa_med_2019/development": (38, 152)}
    assert summary.leaks == [("vqa_rad/released", "vqa_rad/released", 202)]
