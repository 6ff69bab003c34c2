"""Layers in the records of a run: ranks, counts of choices, and the rounds that have them."""

from collections.abc import Sequence

import numpy as np

from f3ocus_jax.types import ClientRecord, RoundRecord


def with_scores(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Returns the rounds in which any client scored its layers."""
    return [record for record in records if any(client.scores for client in record.clients)]


def with_training(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Returns the rounds in which any client trained a layer."""
    return [record for record in records if any(client.layers for client in record.clients)]


def with_values(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Returns the rounds in which any client has raw scores of its layers."""
    return [record for record in records if any(client.values for client in record.clients)]


def ranks(scores_L: Sequence[float], chosen: Sequence[int] = ()) -> np.ndarray:
    """Ranks layers: the chosen before the others, and by importance among themselves.

    Args:
      scores_L: Importance, larger is better; equal scores rank by depth, the first block first.
      chosen: Indices of the layers to rank first.

    Returns:
      int64 [L], 1 for the first.
    """
    is_other_L = ~np.isin(np.arange(len(scores_L)), list(chosen))
    order = np.lexsort((-np.asarray(scores_L), is_other_L))
    ranks_L = np.empty(len(scores_L), np.int64)
    ranks_L[order] = np.arange(1, len(scores_L) + 1)
    return ranks_L


def ranks_by_round(
    clients: Sequence[ClientRecord], num_layers: int, *, refined: bool
) -> np.ndarray:
    """Ranks the layers of one client in several rounds.

    Args:
      clients: Records of the client, one per round.
      num_layers: L.
      refined: True for the server's ranks, or those with the trained layers first where it made
        none; False for those of the client's own scores.

    Returns:
      float64 [L, rounds], 1 for the first; NaN in a round that the client missed.
    """
    ranks_LR = np.full((num_layers, len(clients)), np.nan)
    for ranks_L, client in zip(ranks_LR.T, clients, strict=True):
        if refined and client.ranks:
            ranks_L[:] = np.array(client.ranks) + 1
        elif client.scores:
            ranks_L[:] = ranks(client.scores, client.layers if refined else ())
    return ranks_LR


def picks(layers_RK: Sequence[Sequence[Sequence[int]]], num_layers: int) -> np.ndarray:
    """Counts n_l in every round: int64 [rounds, L]."""
    return np.stack(
        [
            np.bincount(
                np.array([layer for layers in layers_K for layer in layers], np.int64),
                minlength=num_layers,
            )
            for layers_K in layers_RK
        ]
    )


def num_layers(records: Sequence[RoundRecord]) -> int:
    """Returns L: the number of scores or, without scores, the deepest trained layer plus one."""
    clients = [client for record in records for client in record.clients]
    deepest = max(
        (layer for client in clients for layer in [*client.layers, *client.own_layers]), default=-1
    )
    return max(deepest + 1, *(len(client.scores) for client in clients))
