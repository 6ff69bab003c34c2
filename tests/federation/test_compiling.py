"""Compiling is timed apart from the stages that compile, and announced while it lasts."""

import itertools

import jax
import jax.numpy as jnp
import pytest
from jax import monitoring

from f3ocus_jax.federation import compiling, observing
from f3ocus_jax.federation.round import Stages

LOWERING, COMPILER = compiling.STEPS[1:]


def report_step(event, start, end):
    """Reports a step to the listeners as JAX does."""
    monitoring.record_scalar(event, start, fun_name="f")
    monitoring.record_event_time_span(event, start, end, fun_name="f")


@pytest.fixture
def cube():
    """A function that no other test has compiled."""
    return jax.jit(lambda values: values**3 + 1)


def test_a_function_is_compiled_once_and_anew_for_other_shapes(cube):
    small, large = jnp.ones(3), jnp.ones(4)
    seconds = []
    for values in (small, small, large):
        with compiling.recorded() as spans:
            cube(values)
        seconds.append(compiling.total_seconds(spans))
    assert seconds[0] > 0.0
    assert seconds[1] == 0.0
    assert seconds[2] > 0.0


def test_a_program_compiled_within_another_counts_once():
    spans = [(2.0, 3.0), (1.0, 4.0), (3.5, 5.0), (8.0, 9.0)]
    assert compiling.total_seconds(spans) == 5.0
    assert compiling.total_seconds([]) == 0.0


def test_a_compilation_is_announced_as_it_starts_and_as_it_ends(cube):
    values, said = jnp.ones(3), []
    with compiling.announced(said.append):
        cube(values)
        assert said
        assert said == [True, False] * (len(said) // 2)
        count = len(said)
        cube(values)
    cube(jnp.ones(5))
    assert len(said) == count


def test_one_within_another_is_announced_once_and_tracing_alone_is_not():
    said = []
    with compiling.announced(said.append):
        report_step(compiling.TRACING, 0.0, 1.0)
        report_step("/jax/other", 0.0, 1.0)
        assert said == []
        monitoring.record_scalar(LOWERING, 0.0, fun_name="f")
        report_step(COMPILER, 0.0, 1.0)
        assert said == [True]
        monitoring.record_event_time_span(LOWERING, 0.0, 2.0, fun_name="f")
    assert said == [True, False]


def stages_of(**given):
    nothing = {field: lambda: None for field in observing.STAGE_NAMES}
    return Stages(**(nothing | given))


def test_a_stage_s_time_and_what_it_compiles_add_up(monkeypatch):
    """Training takes 10 s of which 7 compile; aggregation, which counts as training, 10 s."""
    clock = itertools.count(step=10)
    monkeypatch.setattr(observing.time, "perf_counter", lambda: float(next(clock)))
    train = stages_of(train=lambda: report_step(COMPILER, 1.0, 8.0))
    stages, seconds = observing.observe(train, lambda *_: None, 1, 2)
    stages.train()
    stages.aggregate()
    assert seconds == {"training": 13.0, "compiling training": 7.0}


def test_a_round_that_compiles_nothing_says_so(cube):
    shown = []
    evaluate = stages_of(evaluate=lambda: cube(jnp.ones(3)))
    rounds = []
    for number in (1, 2):
        stages, seconds = observing.observe(evaluate, lambda *each: shown.append(each), number, 2)
        stages.evaluate()
        rounds.append(seconds)
    assert [list(seconds) for seconds in rounds] == [["evaluation", "compiling evaluation"]] * 2
    assert rounds[0]["compiling evaluation"] > 0.0
    assert rounds[1]["compiling evaluation"] == 0.0
    assert shown == [
        (number, "evaluation", finished, 2) for number in (1, 2) for finished in (0, 2)
    ]
