"""Cost of a round for a client: trained parameters, bits sent and received, FLOPs per example."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.types import Params, RoundRecord, Rows

BITS_PER_PARAMETER = 32
"""Parameters are sent as float32, as in the paper's table (MBit = 32 bit x parameters)."""


@dataclasses.dataclass(frozen=True)
class ClientCost:
    """Cost of one round for one client, mean over the rounds trained; the head is separate.

    Attributes:
      client: Name of the client.
      megabits_up: Size of the layers it sends, in 10^6 bits; without the head.
      megabits_down: Size of the layers it receives, in 10^6 bits; without the head.
      trainable_parameters: Number of parameters of the layers it trains; without the head.
      head_parameters: Number of parameters of its task's head, which it trains, sends and receives
        too.
      gigaflops_per_example: Operations of one training step per example, in 10^9.
    """

    client: str
    megabits_up: float
    megabits_down: float
    trainable_parameters: float
    head_parameters: int
    gigaflops_per_example: float


def parameter_count(tree: Params) -> int:
    """Returns the number of elements in a pytree of arrays or shapes."""
    return sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(tree))


def row_parameters(rows_L: Rows) -> np.ndarray:
    """Counts the parameters of every selectable layer.

    Args:
      rows_L: Pytree whose leaves share a leading axis L.

    Returns:
      parameters_L, int64.

    Raises:
      ValueError: if there are no leaves, or they disagree on L.
    """
    lengths = sorted({np.shape(leaf)[0] for leaf in jax.tree.leaves(rows_L)})
    if len(lengths) != 1:
        raise ValueError(
            f"leading axes of the rows are {lengths}; all leaves must share one number of layers"
        )
    return np.full(lengths[0], parameter_count(rows_L) // lengths[0], np.int64)


def megabits(parameters: float) -> float:
    """Converts float32 parameters to 10^6 bits.

    The paper's table is close to this, not equal: 12, 4 and 36 adapters of 74 544 parameters are
    28.6, 9.5 and 85.9 MBit here, 28.8, 9.7 and 86.1 there (0.90, 0.30 and 2.69 million
    parameters). All six of its numbers agree if the same 5 479 to 6 511 parameters are added to
    each; the paper does not name them. This function counts the parameters sent and adds nothing.
    """
    return BITS_PER_PARAMETER * parameters / 1e6


def traffic(parameters_L: np.ndarray, mask_KL: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts the bits of the layers that are sent in one round, without the head.

    A client sends the layers that it trained. It receives the layers that any client trained,
    since every client scores and evaluates the whole global model; the other layers are unchanged.

    Args:
      parameters_L: Number of parameters of every layer.
      mask_KL: bool, True where client k trained layer l.

    Returns:
      (megabits_up_K, megabits_down_K), float64, in 10^6 bits.
    """
    mask_KL = np.asarray(mask_KL, bool)
    up_K = megabits(1.0) * (mask_KL @ parameters_L)
    down = megabits(float(parameters_L[mask_KL.any(axis=0)].sum()))
    return up_K, np.full(len(mask_KL), down)


def client_costs(
    records: Sequence[RoundRecord],
    parameters_L: np.ndarray,
    head_parameters_K: Sequence[int],
    step_flops_K: Sequence[StepFlops],
    rows_per_layer: int = 1,
) -> list[ClientCost]:
    """Computes the cost of a run's rounds for each client, mean over the rounds that trained.

    Args:
      records: Records of the run; round 0 trains nothing and is left out.
      parameters_L: Number of parameters of every layer, from `row_parameters`.
      head_parameters_K: Number of parameters of the head that each client trains.
      step_flops_K: FLOPs of each client's training step, from `flops.step_flops`.
      rows_per_layer: Rows trained per layer; 2 if a client also trains a row of its own.

    Returns:
      One cost per client, in the records' order; zero traffic and layers if no round trained.
    """
    if not records:
        return []
    names = [client.client for client in records[-1].clients]
    masks_RKL = [
        layer_mask([client.layers for client in record.clients], len(parameters_L))
        for record in records
        if record.round > 0
    ] or [np.zeros((len(names), len(parameters_L)), bool)]
    up_K, down_K = np.mean([traffic(parameters_L, mask_KL) for mask_KL in masks_RKL], axis=0)
    trained_K = rows_per_layer * np.mean([mask_KL @ parameters_L for mask_KL in masks_RKL], axis=0)
    flops_K = np.mean(
        [
            [cost.training(mask_L) for cost, mask_L in zip(step_flops_K, mask_KL, strict=True)]
            for mask_KL in masks_RKL
        ],
        axis=0,
    )
    return [
        ClientCost(
            client=name,
            megabits_up=float(up_K[k]),
            megabits_down=float(down_K[k]),
            trainable_parameters=float(trained_K[k]),
            head_parameters=head_parameters_K[k],
            gigaflops_per_example=float(flops_K[k]) / 1e9,
        )
        for k, name in enumerate(names)
    ]


def layer_mask(layers: Sequence[Sequence[int]], num_layers: int) -> np.ndarray:
    """Turns every client's layer indices into mask_KL, bool."""
    mask_KL = np.zeros((len(layers), num_layers), bool)
    for row_L, chosen in zip(mask_KL, layers, strict=True):
        row_L[list(chosen)] = True
    return mask_KL
