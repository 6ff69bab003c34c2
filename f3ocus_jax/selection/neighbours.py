"""Random neighbours of the front: the search's way to points that no trade-off is best for.

The local search takes the best swap at a price, and so leads to supported points: those that are
best for some trade-off. A point in a concave part of the front is none, and is met by chance.
Pareto local search (L. Paquete, M. Chiarandini, T. Stützle: Pareto local optimum sets in the
biobjective traveling salesman problem. 2004) finds such points among the neighbours of the front:
here, choices that differ by one random swap of a client, or by two.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, external_archive, swaps
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.external_archive import ExternalArchive
from f3ocus_jax.selection.problem import Problem


def random_neighbours(
    key: jax.Array, problem: Problem, archive: ExternalArchive, size: int
) -> Choices:
    """Draws members of the front and makes one random swap in each, and a second one in half.

    Args:
      key: Random key.
      problem: Problem of this round.
      archive: Archive that holds the front.
      size: P, number of neighbours.

    Returns:
      P choices, a swap that would break a layer's bounds is left out.
    """
    key_member, key_swap = jax.random.split(key)
    upto_V = jnp.cumsum(external_archive.nondominated(archive))
    drawn_P = jax.random.randint(key_member, (size,), 0, upto_V[-1])
    level_P = jnp.searchsorted(upto_V, drawn_P, side="right")
    masks_PKL = choices_lib.unpack(archive.words_VKW[level_P], problem.scores_KL.shape[1])
    keys_2P = jax.random.split(key_swap, (2, size))
    flip = jax.vmap(lambda key, mask_KL: swaps.flip(key, problem, mask_KL))
    once_PKL = flip(keys_2P[0], masks_PKL)
    twice_PKL = flip(keys_2P[1], once_PKL)
    # The members are in random order already.
    masks_PKL = jnp.where(jnp.arange(size)[:, None, None] % 2 == 0, once_PKL, twice_PKL)
    return choices_lib.from_words(choices_lib.pack(masks_PKL), problem.scores_KL)
