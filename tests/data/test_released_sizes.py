"""Sizes that datasets are released with, as the README of each builder states them."""

import dataclasses
import re

import pytest

from f3ocus_jax.data.released_sizes import RELEASED, released_clients
from f3ocus_jax.errors import ConfigError
from tests.helpers.configs import read_config
from tests.helpers.paths import DATASETS
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING


def readme(dataset):
    return (DATASETS / dataset / "README.md").read_text(encoding="utf-8").replace("\xa0", " ")


def numbers(text):
    """Numbers in a text, whose thousands are apart: "12 792 questions" holds 12792."""
    return [int(each.replace(" ", "")) for each in re.findall(r"\d[\d ]*", text)]


def clients(task, **settings):
    return released_clients(read_config("", task=task, **settings).data)


@pytest.mark.parametrize(
    "name", [name for name in RELEASED if name.startswith(("slake", "vqa_", "medvqa_fl"))]
)
def test_sizes_are_those_of_the_readme(name):
    dataset, config = name.split("/")
    lines = [line for line in readme(dataset).splitlines() if line.startswith("| `")]
    if config == "all_own_splits":
        rows = [line.split("|")[2:-1] for line in lines if line.count("|") == 5]
        found = [[number for cell in row for number in numbers(cell)] for row in rows]
        assert found[:9] == [[each.train, each.validation, each.test] for each in RELEASED[name]]
        return
    if dataset == "medvqa_fl":
        found = [numbers(line.split("|")[-3]) + numbers(line.split("|")[-2]) for line in lines[:9]]
        assert found == [[each.train, each.test] for each in RELEASED[name]]
        return
    (line,) = [line for line in lines if line.startswith(f"| `{config}` ")]
    cells = [numbers(cell.split(",")[0].split(":")[0])[:1] for cell in line.split("|")[2:-1]]
    (sizes,) = RELEASED[name]
    if name == "vqa_med_2021/new_images":
        assert "500 for validation" in line
        assert (sizes.train, sizes.validation, sizes.test) == (500, 0, cells[2][0])
    elif name == "vqa_med_2019/development":
        assert (sizes.train, sizes.validation, sizes.test) == (cells[0][0], 0, 2000)
    elif dataset == "vqa_rad":
        assert (sizes.train, sizes.validation, sizes.test) == (cells[0][0], 0, cells[1][0])
    else:
        assert [sizes.train, sizes.validation, sizes.test] == [cell[0] for cell in cells]


def test_sizes_of_splits_that_builders_draw_add_up_to_the_readme():
    for dataset, total in (("mimic_cxr", 377_110), ("omni_med_vqa", 88_996), ("open_i", 3_955)):
        (name,) = [each for each in RELEASED if each.startswith(dataset)]
        assert sum(each.train + each.validation + each.test for each in RELEASED[name]) == total
        assert total in numbers(readme(dataset).split("\n\n")[1].replace("\n", " "))


def test_the_tasks_have_the_clients_of_the_paper():
    assert [len(clients(f"task{number}")) for number in range(1, 7)] == [5, 8, 9, 4, 10, 5]
    assert {each.task for each in clients("task4")} == {CLASSIFICATION}
    tasks = [each.task for each in clients("task6")]
    assert tasks == [QUESTION_ANSWERING] * 3 + [CLASSIFICATION] * 2
    assert sum(each.train for each in clients("task4")) == 2768


def test_examples_are_held_out_where_no_validation_is_released():
    slake, rad, *_ = clients("task1")
    assert slake == RELEASED["slake/english"][0]
    assert rad == dataclasses.replace(RELEASED["vqa_rad/released"][0], train=1617, validation=180)
    assert clients("task1", data__validation_share=0.0)[1] == RELEASED["vqa_rad/released"][0]
    limited = clients("task1", data__evaluated_examples=300)[1]
    assert limited == dataclasses.replace(rad, test=300)


def test_a_dataset_of_unknown_size_is_named():
    with pytest.raises(ConfigError, match=r"phantom_medvqa/tiny' is unknown; choose .*slake"):
        released_clients(read_config("tiny").data)
