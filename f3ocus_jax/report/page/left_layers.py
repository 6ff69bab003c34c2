"""Layers that a client scored highly and did not train, and the variance they would have cost."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.report import layer_data
from f3ocus_jax.types import ClientRecord, RoundRecord


@dataclasses.dataclass(frozen=True)
class LeftLayer:
    """A layer that a client would have chosen by itself and that the server left out.

    Attributes:
      client: Name of the client.
      layer: Index of the layer.
      rank: Its rank by the client's own score, 1 for the first.
      score: The client's score of it.
      instead: Layer that the client trained in its place; None if it trained one less.
      instead_score: The client's score of that layer; 0 without one.
      others: Other clients that train the layer.
      cost: Change of the variance of the layer picks if the client had kept the layer, with
        everything else as it was, in clients²; above 0 where the choice made the picks more even.
    """

    client: str
    layer: int
    rank: int
    score: float
    instead: int | None
    instead_score: float
    others: int
    cost: float


def left_layers(record: RoundRecord) -> list[LeftLayer]:
    """Returns the left layers of a round, client by client, the highest score first.

    Args:
      record: Record of a round; empty for one without choices or scores.
    """
    if not layer_data.with_training([record]):
        return []
    num_layers = layer_data.num_layers([record])
    (counts_L,) = layer_data.picks([[client.layers for client in record.clients]], num_layers)
    return [left for client in record.clients for left in _of_client(client, counts_L)]


def variance(counts_L: np.ndarray) -> float:
    """Returns (1/L) Σ_l (n_l - n̄)², the server's second objective (F³OCUS, section 3.3).

    Args:
      counts_L: n_l, number of clients that train each layer.
    """
    return float(np.var(counts_L))


def _of_client(client: ClientRecord, counts_L: np.ndarray) -> list[LeftLayer]:
    if not client.scores:
        return []
    scores, ranks_L = client.scores, layer_data.ranks(client.scores)
    left = _by_score(set(client.own_layers) - set(client.layers), scores)
    taken: Sequence[int | None] = _by_score(set(client.layers) - set(client.own_layers), scores)
    taken = [*taken, *[None] * len(left)][: len(left)]
    return [
        LeftLayer(
            client=client.client,
            layer=layer,
            rank=int(ranks_L[layer]),
            score=scores[layer],
            instead=instead,
            instead_score=0.0 if instead is None else scores[instead],
            others=int(counts_L[layer]),
            cost=variance(_swapped(counts_L, layer, instead)) - variance(counts_L),
        )
        for layer, instead in zip(left, taken, strict=True)
    ]


def _by_score(layers: set[int], scores: Sequence[float]) -> list[int]:
    return sorted(layers, key=lambda layer: (-scores[layer], layer))


def _swapped(counts_L: np.ndarray, added: int, removed: int | None) -> np.ndarray:
    swapped_L = counts_L.copy()
    swapped_L[added] += 1
    if removed is not None:
        swapped_L[removed] -= 1
    return swapped_L
