"""Masked updates as pieces, and the sums of pieces as the weighted sum that the mean is made of."""

from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.aggregation.layerwise import Change, WeightedSum
from f3ocus_jax.clients import placement
from f3ocus_jax.deployment.layout import Layout
from f3ocus_jax.deployment.messages import Message
from f3ocus_jax.deployment.secure import vectors
from f3ocus_jax.deployment.secure.fixed_point import signed
from f3ocus_jax.deployment.secure.masks import Piece
from f3ocus_jax.deployment.secure.messages import MaskedUpdate
from f3ocus_jax.deployment.secure.roster import Roster
from f3ocus_jax.deployment.secure.rules import Rules
from f3ocus_jax.federation.server_side import ReceivedUpdate
from f3ocus_jax.types import Array, Params


def masked_pieces(update: MaskedUpdate, roster: Roster, rules: Rules) -> dict[int, Piece]:
    """Returns the pieces of a site's masked update, by index."""
    pieces = roster.pieces(roster.index(update.site), rules)
    numbers = [*update.rows, *(update.heads[name] for name in sorted(update.heads))]
    each = zip(pieces, numbers, update.counts, strict=True)
    return {piece: Piece(own, counts) for piece, own, counts in each}


def weighted_sum(
    sums: Mapping[int, Piece], scales: Mapping[int, float], layout: Layout
) -> WeightedSum:
    """Returns the weighted sum of the changes; 0 with weight 0 for a piece that has no sum.

    Args:
      sums: Sum over sites by piece.
      scales: Factor of the integers of each.
      layout: Arrays of the model.
    """
    num_layers = layout.num_layers
    rows_LS = np.zeros((num_layers, vectors.row_size(layout)), np.float32)
    weight_L = np.zeros(num_layers, np.float32)
    heads: dict[str, Params] = {}
    totals: dict[str, Array] = {}
    for layer in range(num_layers):
        if layer in sums:
            rows_LS[layer] = _numbers(sums[layer], scales[layer])
            weight_L[layer] = sums[layer].counts[0]
    for index, entry in enumerate(vectors.entries(layout)):
        total = sums.get(num_layers + index)
        vector = np.zeros(vectors.entry_size(layout, entry), np.float32)
        if total is not None:
            vector = _numbers(total, scales[num_layers + index])
        heads[entry] = vectors.entry_of(vector, layout, entry)
        totals[entry] = np.array(0 if total is None else total.counts[0], np.float32)
    return WeightedSum(Change(vectors.rows_of(rows_LS, layout), heads), weight_L, totals)


def received(answers: Sequence[Message], most: int) -> ReceivedUpdate:
    """Returns what the server knows of single updates: losses, and which are there.

    Args:
      answers: `MaskedUpdate` or `Failure` of each site that trained.
      most: S, largest number of local steps of a site.

    Returns:
      The same with a leading axis of these sites; NaN for the norms, which it does not learn.
    """
    losses_KS = np.zeros((len(answers), most), np.float32)
    finite_K = np.array([isinstance(answer, MaskedUpdate) for answer in answers])
    for losses_S, answer in zip(losses_KS, answers, strict=True):
        if isinstance(answer, MaskedUpdate):
            losses_S[:] = placement.pad_leading_axis(answer.losses_S, most)
    return ReceivedUpdate(losses_KS, finite_K, np.full(len(answers), np.nan), None, None)


def _numbers(total: Piece, scale: float) -> np.ndarray:
    return (signed(total.numbers) * np.float64(scale)).astype(np.float32)
