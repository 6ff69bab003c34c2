"""Operations of a score are those of its trace, and grow with what it computes."""

import dataclasses
import types

import jax
import optax
import pytest

from f3ocus_jax.cost.flops import step_flops
from f3ocus_jax.importance import SCORES, ScoreContext, scoring_flops as scoring
from f3ocus_jax.importance.scoring_flops import scoring_flops
from f3ocus_jax.importance.settings import ImportanceConfig
from tests.helpers.families import FAMILY_OF
from tests.helpers.models import tiny_batch, tiny_vilt


@pytest.fixture(scope="module")
def probe():
    """(context, shapes of the parameters, batch, operations of the batch's forward pass)."""
    spec = tiny_vilt()
    model = FAMILY_OF["vilt"].make_model(spec)
    params = jax.eval_shape(model.init, jax.random.key(0))
    batch = tiny_batch(spec)
    context = ScoreContext(model, "adapter", "cross_entropy", optax.adamw(1e-3), "sum", 1)
    forward = step_flops(model, params, batch, "adapter").forward * len(batch.labels_B)
    return context, params, batch, forward


def count(probe, **settings):
    context, params, batch, _ = probe
    return scoring_flops(context, ImportanceConfig(**settings, probe_batches=1), params, batch)


@pytest.mark.parametrize("score", SCORES)
def test_every_shipped_score_is_counted(probe, score):
    flops = count(probe, score=score)
    if score in ("random", "last", "magnitude"):
        assert flops == 0
    elif score == "synflow":  # one input of ones, however many probe examples there are
        assert 0 < flops < probe[-1]
    else:
        assert flops > probe[-1]


def test_a_score_whose_loop_has_no_known_length_is_not_counted(probe):
    context, params, batch, _ = probe

    def until_small(frozen, rows_L, head, batch, key):
        matrix = jax.numpy.eye(3)
        return jax.lax.while_loop(lambda m: m.sum() > 1e-3, lambda m: m @ matrix / 2, matrix)

    settings = types.SimpleNamespace(score="own", make=lambda *_: until_small)
    assert scoring_flops(context, settings, params, batch) is None


def test_the_layers_kernels_cost_what_their_method_does(probe):
    """A method that is named costs what it does; "auto" takes the cheapest."""
    default = ImportanceConfig().lntk
    named = ("lanczos", "gram")
    costs = [count(probe, lntk=dataclasses.replace(default, method=name)) for name in named]
    assert probe[-1] < count(probe) <= min(costs) < max(costs)


def test_the_forward_pass_of_the_probe_examples_is_counted_once(probe, monkeypatch):
    def make_free_plan(*args, **kwargs):
        plan = make_plan(*args, **kwargs)
        return dataclasses.replace(plan, flops=dict.fromkeys(plan.flops, 0.0))

    make_plan = scoring.make_plan
    monkeypatch.setattr(scoring, "make_plan", make_free_plan)
    assert probe[-1] <= count(probe) < 1.5 * probe[-1]  # with what the linearisation keeps


def test_a_gradient_costs_two_to_three_forward_passes(probe):
    """Backward of the hidden states as much as forward, and weights of small adapters."""
    assert 1.5 * probe[-1] < count(probe, score="snip") < 3.1 * probe[-1]
