"""How the clients of a run rank and train their layers, means over its rounds."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.report import layer_data
from f3ocus_jax.types import ClientRecord, RoundRecord


@dataclasses.dataclass(frozen=True)
class LayerUse:
    """Ranks and choices of the layers, means over the rounds in which a client scored them.

    Attributes:
      clients: Names of the K clients.
      own_ranks_KL: float64, rank by the client's own importance, 1 for the most important.
      refined_ranks_KL: float64, rank after the server's choice, in which chosen layers come first.
      own_KL: float64, share of rounds in which the client would choose the layer itself.
      trained_KL: float64, share of rounds in which it trained the layer.
    """

    clients: tuple[str, ...]
    own_ranks_KL: np.ndarray
    refined_ranks_KL: np.ndarray
    own_KL: np.ndarray
    trained_KL: np.ndarray


def of_records(records: Sequence[RoundRecord]) -> LayerUse | None:
    """Reads the layer use of a run.

    Args:
      records: Records of its rounds.

    Returns:
      The layer use; None if a client never scored its layers.
    """
    scored: dict[str, list[ClientRecord]] = {each.client: [] for each in records[-1].clients}
    for record in records:
        for client in record.clients:
            if client.scores and client.client in scored:
                scored[client.client].append(client)
    if not all(scored.values()):
        return None
    return LayerUse(
        tuple(scored),
        *(
            np.stack(
                [np.mean([read(each) for each in rounds], axis=0) for rounds in scored.values()]
            )
            for read in (_own_ranks, _refined_ranks, _own, _trained)
        ),
    )


def mean(uses: Sequence[LayerUse]) -> LayerUse | None:
    """Takes the mean over runs; None for none, or for runs with other clients or layers."""
    if len({(use.clients, use.own_KL.shape) for use in uses}) != 1:
        return None
    arrays = [
        np.mean([getattr(use, field.name) for use in uses], axis=0)
        for field in dataclasses.fields(LayerUse)[1:]
    ]
    return LayerUse(uses[0].clients, *arrays)


def _own_ranks(client: ClientRecord) -> np.ndarray:
    return layer_data.ranks(client.scores)


def _refined_ranks(client: ClientRecord) -> np.ndarray:
    if client.ranks:
        return np.array(client.ranks) + 1
    return layer_data.ranks(client.scores, client.layers)


def _own(client: ClientRecord) -> np.ndarray:
    return np.isin(np.arange(len(client.scores)), client.own_layers)


def _trained(client: ClientRecord) -> np.ndarray:
    return np.isin(np.arange(len(client.scores)), client.layers)
