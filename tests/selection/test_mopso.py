import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.selection import archive as archive_lib, choices as choices_lib, mopso

SIZE = 96
TOLD_M = {"better": (-1.0, -1.0), "worse": (1.0, 1.0), "neither": (1.0, -1.0)}
"""A new position's objectives beside a best of (0, 0)."""


@pytest.fixture
def told(monkeypatch):
    """For each kind of news, which particles took their new position for their best one."""
    masks_PKL = jnp.zeros((SIZE, 2, 4), bool)
    choices = choices_lib.from_words(choices_lib.pack(masks_PKL), jnp.ones((2, 4)))
    best_PM = jnp.zeros((SIZE, 2))
    state = mopso.State(
        position=choices,
        velocity_KLP=None,
        best=choices,
        best_PM=best_PM,
        archive=None,
        generation_counter=jnp.int32(0),
    )
    fitness_PM = jnp.tile(jnp.array(list(TOLD_M.values())), (SIZE // 3, 1))
    monkeypatch.setattr(archive_lib, "merge", lambda archive, choices, objectives_PM: archive)
    search = mopso.MOPSO(SIZE, 2, 4)
    after = search._tell(jax.random.key(1), choices, fitness_PM, state, search.default_params)
    taken_P = np.all(np.asarray(after.best_PM == fitness_PM), axis=1)
    np.testing.assert_array_equal(after.best_PM[~taken_P], 0)
    return {name: taken_P[number::3] for number, name in enumerate(TOLD_M)}


def test_a_particle_keeps_the_better_of_its_best_and_its_position(told):
    assert told["better"].all()
    assert not told["worse"].any()


def test_a_coin_decides_between_a_best_and_a_position_that_do_not_dominate(told):
    assert 0.25 < told["neither"].mean() < 0.75
