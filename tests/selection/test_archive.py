import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.selection import archive as archive_lib


@pytest.mark.parametrize(
    ("used", "fraction", "drawn"),
    [(1, 1.0, {0}), (1, 0.5, {0}), (2, 0.5, {0}), (5, 1.0, set(range(5))), (6, 0.5, {0, 1, 2})],
)
def test_members_are_drawn_from_the_fraction_asked_for_of_those_in_use(used, fraction, drawn):
    uniform_P = jnp.linspace(0.0, 0.999, 40)
    archive = archive_lib.Archive(None, jnp.zeros((8, 2)), jnp.arange(8) < used)
    assert set(np.asarray(archive_lib.draw(uniform_P, archive, fraction)).tolist()) == drawn
