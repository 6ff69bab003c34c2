"""Factories return one object for equal arguments, so that runs share compiled programs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.clients import placement
from f3ocus_jax.clients.backends import KEEP_ALL
from f3ocus_jax.config import kept as kept_lib
from f3ocus_jax.config.kept import frozen, kept
from f3ocus_jax.federation.settings import ExperimentConfig


def test_equal_settings_get_the_same_object_and_others_another():
    make = kept(lambda *arguments, **named: object())
    first = make(ExperimentConfig(), {"a": [1, 2]}, size=1)
    assert make(ExperimentConfig(), {"a": [1, 2]}, size=1) is first
    assert make(ExperimentConfig(seed=1), {"a": [1, 2]}, size=1) is not first
    assert make(ExperimentConfig(), {"a": [1, 3]}, size=1) is not first
    assert make(ExperimentConfig(), {"a": [1, 2]}, size=2) is not first


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, 1.0), ((1,), [1]), ("1", 1), (None, False)]
)
def test_values_of_another_type_are_not_equal(one, other):
    assert frozen(one) != frozen(other)


def test_dataclasses_of_other_classes_are_not_equal():
    @dataclasses.dataclass
    class One:
        size: int

    @dataclasses.dataclass
    class Other:
        size: int

    assert frozen(One(1)) == frozen(One(1))
    assert frozen(One(1)) != frozen(Other(1))


def test_what_has_no_hash_is_refused():
    with pytest.raises(TypeError, match="unhashable"):
        frozen({"a": np.zeros(1)})


def test_what_was_asked_for_longest_ago_is_forgotten():
    make = kept(lambda size: object())
    first = make(0)
    for size in range(1, kept_lib.MOST):
        make(size)
    assert make(0) is first
    make(kept_lib.MOST)
    assert make(0) is first
    second = make(2)
    for size in range(100, 100 + kept_lib.MOST):
        make(size)
    assert make(2) is not second


def test_a_map_over_clients_is_compiled_once_for_all_runs():
    traces = []

    def double(shared, one):
        traces.append(1)
        return shared * one

    def run():
        stream = placement.stream(double, KEEP_ALL, most=4, placement="pmap")
        return stream(jnp.float32(2), 4, lambda indices: np.float32(indices))[1]

    np.testing.assert_array_equal(run(), [0, 2, 4, 6])
    seen = len(traces)
    np.testing.assert_array_equal(run(), [0, 2, 4, 6])
    assert seen > 0
    assert len(traces) == seen
    assert len(jax.devices()) == 4
