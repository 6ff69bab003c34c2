"""How much the plan lets a network's kernels hold at once."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from f3ocus_jax import importance
from f3ocus_jax.importance import layer_sweep, plan as plan_lib, spectrum
from f3ocus_jax.importance.linearised_network import LinearisedNetwork
from tests.importance.token_network import ANSWERS, EXAMPLES, TOKENS, network

OUTPUTS = TOKENS * ANSWERS
"""C, outputs of each example."""


@pytest.fixture(scope="module")
def problem():
    linearised = LinearisedNetwork(network())
    return spectrum.make_eigenproblem(linearised, None, 1, 1e-4, 64, None, None)


def test_memory_of_a_gibibyte_is_the_default():
    """Enough to pull all outputs of a small network back at once."""
    plan, enough = (
        importance.make_plan(network(), **settings) for settings in ({}, {"memory_limit": 2.0**30})
    )
    assert plan == enough
    assert plan.vectors_at_once == OUTPUTS


@pytest.mark.parametrize(
    ("pulls", "at_once"), [(-1, 1), (0.5, 1), (1.5, 2), (3.9, 4), (1000, OUTPUTS)]
)
def test_every_pull_that_fits_in_the_memory_left_is_one_more_at_once(problem, pulls, at_once):
    needed = plan_lib.choose_method(problem, method="lanczos", memory_limit=0).bytes["lanczos"]
    limit = needed + pulls * plan_lib._bytes_of_pull(problem)
    plan = plan_lib.choose_method(problem, method="lanczos", memory_limit=limit)
    assert plan.vectors_at_once == at_once


def test_each_eigenvalue_holds_its_start_its_vector_and_its_image():
    """Lanczos vectors have one float32 per output, and an update holds two copies."""
    bytes_of = [importance.make_plan(network(), count=count).bytes["lanczos"] for count in (1, 2)]
    assert bytes_of[1] - bytes_of[0] == 2 * 3 * 4 * EXAMPLES * OUTPUTS


@pytest.mark.parametrize("at_once", range(1, 13))
def test_outputs_are_filled_up_to_the_fewest_chunks_of_equal_size(at_once):
    problem = SimpleNamespace(mask_NC=jnp.zeros((1, 10)), vectors_at_once=at_once)
    chunks = next(number for number in range(1, 11) if number * at_once >= 10)
    expected = next(count for count in range(10, 21) if count % chunks == 0)
    assert layer_sweep.padded_count(problem) == expected
