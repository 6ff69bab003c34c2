"""Operations of a run that is planned, against those in the table of a run that was done."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.data.released_sizes import ClientSizes
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import costs, experiment
from f3ocus_jax.federation.planned_costs import count_run, mean_training
from tests.helpers.configs import read_config
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING

SIZES = [ClientSizes(29, 3, 8)] * 9


def count(variant="tiny", sizes=SIZES, answers=7, findings=0, **settings):
    return count_run(read_config(variant, **settings), sizes, answers=answers, findings=findings)


@pytest.mark.extended
def test_a_run_costs_what_its_plan_says(data_dir, tmp_path):
    config = read_config("tiny_last_k", data_dir, federated__rounds=1)
    experiment.run(config, tmp_path)
    parts = experiment.assemble(config)
    clients = parts.federation.clients
    sizes = [
        ClientSizes(len(client.train), len(client.validation), len(client.test))
        for client in clients
    ]
    planned = count_run(config, sizes, answers=len(parts.foundation.answers), findings=0)
    table = json.loads((tmp_path / "table.json").read_text())
    spent = sum(row["gigaflops_total"] for row in table["clients"])
    assert planned.training + planned.scoring == pytest.approx(1e9 * spent)
    step = costs.count_step_flops(parts.foundation, clients, QUESTION_ANSWERING, config)
    assert planned.evaluation == pytest.approx(2 * 2 * 64 * step.forward)  # 99 in batches of 64


@pytest.mark.extended
@pytest.mark.parametrize("variant", ["full", "feddat", "lora", "promptfl", "ln"])
def test_a_run_of_all_layers_costs_what_its_plan_says(data_dir, tmp_path, variant):
    config = read_config(f"tiny_{variant}", data_dir, federated__rounds=1)
    experiment.run(config, tmp_path)
    answers = len(experiment.assemble(config).foundation.answers)
    planned = count_run(config, SIZES, answers=answers, findings=0)
    table = json.loads((tmp_path / "table.json").read_text())
    spent = sum(row["gigaflops_total"] for row in table["clients"])
    assert planned.training + planned.scoring == pytest.approx(1e9 * spent)


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_training_is_the_mean_over_all_choices_of_layers(budget):
    step = StepFlops(5, *np.random.default_rng(0).uniform(1, 9, 7))
    choices = [np.isin(np.arange(5), chosen) for chosen in itertools.combinations(range(5), budget)]
    expected = np.mean([step.training(mask_L) for mask_L in choices])
    assert mean_training(step, budget, read_config("tiny")) == pytest.approx(expected)
    last = step.training(np.arange(5) >= 5 - budget)
    assert mean_training(step, budget, read_config("tiny_last_k")) == pytest.approx(last)
    whole = step.training(np.ones(5, bool))
    assert mean_training(step, None, read_config("tiny")) == pytest.approx(whole)


def test_every_part_grows_with_what_it_is_made_of():
    one = count()
    longer = count(federated__rounds=4)
    assert longer.training == pytest.approx(2 * one.training)
    assert longer.scoring == pytest.approx(2 * one.scoring)
    assert longer.evaluation == pytest.approx(5 / 3 * one.evaluation)
    half = count(federated__participation=0.34)
    assert half.training == pytest.approx(one.training * 3 / 9)
    assert half.evaluation == one.evaluation
    unvalidated = count(sizes=[dataclasses.replace(SIZES[0], test=500)] * 9)
    assert unvalidated.evaluation > one.evaluation
    assert unvalidated.training == one.training
    assert count("tiny_last_k").scoring == 0 < one.scoring
    seldom = count(federated__rounds=4, importance__every=3, evaluation__every=3)
    assert seldom.scoring == pytest.approx(one.scoring)  # in rounds 1 and 4
    assert seldom.evaluation == pytest.approx(one.evaluation)  # of rounds 0, 3 and 4


def test_clients_of_two_tasks_are_counted_with_their_own_heads():
    sizes = [*SIZES[:4], *[dataclasses.replace(SIZES[0], task=CLASSIFICATION)] * 5]
    both = count("tiny_last_k", sizes, findings=15)
    wider = count("tiny_last_k", sizes, findings=1500)
    assert wider.training > both.training


def test_what_cannot_be_counted_beforehand_is_refused():
    for settings, message in (
        ({"federated__budget_unit": "bytes"}, "budget_unit = 'bytes', must be 'layers'"),
        ({"federated__budgets": (1, 2)}, "must be 1 number or 9, one per client"),
        ({"model__weights": "w", "model__architecture": {}}, "model.weights = 'w', must be empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            count(**settings)
    with pytest.raises(ConfigError, match=r"unit = 'bias': .*have no bias"):
        count("tiny_llava_bias")
