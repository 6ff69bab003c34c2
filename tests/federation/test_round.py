"""One round with stages that only note what they are given."""

import types

import jax
import numpy as np
import pytest

from f3ocus_jax.federation.round import RoundOutcome, Stages, run_round
from f3ocus_jax.types import ClientMemory, ServerState

KEY = jax.random.key(3)
BEFORE = ServerState(rows_L="rows 1", head={}, round=1, front_mask_PKL="front 1", optimizer=())
SCORED = types.SimpleNamespace(present_K=np.array([True, False]), left_out=[None, "absent"])
CHOSEN = types.SimpleNamespace(mask_KL="mask", own_mask_KL="own", front_mask_PKL="front 2")
UPDATES = types.SimpleNamespace(outcome=types.SimpleNamespace(left_out=["step 1: nan", None]))
TRAINED = ClientMemory(head="own heads")
RESULTS = {
    "score": (SCORED, "memory after scoring"),
    "select": CHOSEN,
    "train": (UPDATES, TRAINED),
    "aggregate": BEFORE.replace(rows_L="rows 2", round=2),
    "evaluate": ["metrics"],
}


@pytest.fixture
def given():
    """What each stage was given, in the order of the calls."""
    return {}


def noting(name, given):
    def stage(*arguments):
        given[name] = arguments
        return RESULTS[name]

    return stage


def test_every_stage_is_given_what_those_before_it_made(given):
    stages = Stages(**{name: noting(name, given) for name in RESULTS})
    state, memory, outcome = run_round(stages, BEFORE, "memory", 2, KEY)
    assert list(given) == ["score", "select", "train", "aggregate", "evaluate"]
    *of_score, score_key = given["score"]
    *of_select, select_key = given["select"]
    assert of_score == [BEFORE, "memory", 2]
    assert of_select == [BEFORE, SCORED, 2]
    keys = [str(jax.random.key_data(key)) for key in (KEY, score_key, select_key)]
    assert len(set(keys)) == 3
    assert given["train"] == (BEFORE, "memory after scoring", 2, "mask", SCORED.present_K)
    assert given["aggregate"] == (BEFORE, UPDATES)
    after = BEFORE.replace(rows_L="rows 2", round=2, front_mask_PKL="front 2")
    assert given["evaluate"] == (after, UPDATES.outcome, TRAINED.head)
    assert (state, memory) == (after, TRAINED)
    assert outcome == RoundOutcome(SCORED, CHOSEN, UPDATES.outcome, ["metrics"])
    assert outcome.left_out == ["step 1: nan", "absent"]
