"""Cost of a round for a client: trained parameters, bits sent and received, FLOPs."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.types import ClientRecord, Params, RoundRecord, Rows

BITS_PER_PARAMETER = 32
"""Parameters are sent as float32, as in the paper's table (MBit = 32 bit x parameters)."""

BITS_PER_SCORE, BITS_PER_CHOICE = 32, 1
"""Bits of one layer's score, sent as float32, and of the server's answer whether to train it."""


@dataclasses.dataclass(frozen=True)
class ClientCost:
    """Cost of one round for one client, mean over the rounds; the head is separate but in totals.

    Attributes:
      client: Name of the client.
      megabits_up: Size of the layers it sends, in 10^6 bits; without the head.
      megabits_down: Size of the layers it receives, in 10^6 bits; without the head.
      trainable_parameters: Number of parameters of the layers it trains; without the head.
      head_parameters: Number of parameters of its task's head, which it trains, sends and receives
        too; 0 in rounds that do not train it.
      gigaflops_per_example: Operations of one training step per example, in 10^9.
      megabits_total: Everything that it sends and receives, in 10^6 bits: layers, head, scores and
        the choice of layers.
      gigaflops_scoring: Operations of scoring its layers, in 10^9, where it does; None if unknown.
      gigaflops_total: Operations of scoring and of all its training steps with the head, in 10^9;
        None if those of scoring are unknown.
    """

    client: str
    megabits_up: float
    megabits_down: float
    trainable_parameters: float
    head_parameters: float
    gigaflops_per_example: float
    megabits_total: float
    gigaflops_scoring: float | None
    gigaflops_total: float | None


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
    *,
    rows_per_layer: int = 1,
    batch_size: int = 1,
    scoring_flops_K: Sequence[float | None] | None = None,
    trains_head: Callable[[int], bool] = lambda number: True,
    sends_head: Callable[[int], bool] | None = None,
) -> list[ClientCost]:
    """Computes the cost of a run's rounds for each client, mean over the rounds that trained.

    Args:
      records: Records of the run; round 0 trains nothing and is left out.
      parameters_L: Number of parameters of every layer, from `row_parameters`.
      head_parameters_K: Number of parameters of the head that each client trains.
      step_flops_K: FLOPs of each client's training step, from `flops.step_flops`.
      rows_per_layer: Rows trained per layer; 2 if a client also trains a row of its own.
      batch_size: Examples of a local step.
      scoring_flops_K: FLOPs of scoring all layers once; None, or an entry of None, if unknown.
      trains_head: Round number -> True if clients train the head in this round.
      sends_head: Round number -> True if they also send it; `trains_head` if None.

    Returns:
      One cost per client, in the records' order; zero traffic and layers if no round trained.
    """
    if not records:
        return []
    rounds = [record for record in records if record.round > 0]
    names = [client.client for client in records[-1].clients]
    masks_RKL = _masks(rounds, len(names), len(parameters_L))
    sent_R2K = np.array([traffic(parameters_L, mask_KL) for mask_KL in masks_RKL])
    up_K, down_K = sent_R2K.mean(axis=0)
    trained_K = rows_per_layer * (masks_RKL @ parameters_L).mean(axis=0)
    head_K = np.array([megabits(count) for count in head_parameters_K])
    head_R = np.array([trains_head(record.round) for record in rounds] or [trains_head(1)])
    sent_R = head_R if sends_head is None else np.array([sends_head(r.round) for r in rounds])
    total_K = up_K + down_K + _other_megabits(rounds, sent_R, head_K, len(parameters_L))
    flops_RK = _step_flops(masks_RKL, head_R, step_flops_K)
    training_K = batch_size * _mean_over(rounds, lambda client: client.steps, flops_RK)
    scored_K = _mean_over(rounds, _took_scores, np.ones_like(flops_RK))
    scoring_K = scoring_flops_K or [None] * len(names)
    return [
        ClientCost(
            client=name,
            megabits_up=float(up_K[k]),
            megabits_down=float(down_K[k]),
            trainable_parameters=float(trained_K[k]),
            head_parameters=_over_rounds(head_parameters_K[k], head_R),
            gigaflops_per_example=float(flops_RK[:, k].mean()) / 1e9,
            megabits_total=float(total_K[k]),
            gigaflops_scoring=_giga(scoring_K[k]),
            gigaflops_total=_giga(_with_scoring(training_K[k], scored_K[k], scoring_K[k])),
        )
        for k, name in enumerate(names)
    ]


def _masks(rounds: Sequence[RoundRecord], clients: int, num_layers: int) -> np.ndarray:
    """Returns mask_RKL, bool, of the trained layers; one empty round if none trained."""
    if not rounds:
        return np.zeros((1, clients, num_layers), bool)
    return np.stack([layer_mask([c.layers for c in r.clients], num_layers) for r in rounds])


def _over_rounds(count: int, head_R: np.ndarray) -> float:
    """Returns the mean over rounds of a number that is 0 where the head is not trained."""
    return count if head_R.all() else count * float(head_R.mean())


def _step_flops(
    masks_RKL: np.ndarray, head_R: np.ndarray, step_flops_K: Sequence[StepFlops]
) -> np.ndarray:
    """Returns the operations of a training step per example: float64 [rounds, K]."""
    return np.array(
        [
            [
                step.training(mask_L, trains_head=bool(head))
                for step, mask_L in zip(step_flops_K, mask_KL, strict=True)
            ]
            for mask_KL, head in zip(masks_RKL, head_R, strict=True)
        ]
    )


def _giga(operations: float | None) -> float | None:
    """Converts operations to 10^9; None stays None."""
    return None if operations is None else float(operations) / 1e9


def _with_scoring(training: float, scored: float, scoring: float | None) -> float | None:
    """Adds the scoring of a fraction of the rounds; unknown only for a client that scores."""
    if scored == 0:
        return training
    return None if scoring is None else training + scored * scoring


def _other_megabits(
    rounds: Sequence[RoundRecord], head_R: np.ndarray, head_K: np.ndarray, num_layers: int
) -> np.ndarray:
    """Counts what is sent beside layers: the head both ways, the scores, the choice of layers.

    Every client receives the head to evaluate it; only one whose update was used sent it back. A
    head that was not trained in a round is as it was, and stays where it is.
    """
    ones_RK = np.ones((len(rounds), len(head_K)))
    with_head_RK = ones_RK * head_R[: len(rounds), None]
    sent_K = _mean_over(rounds, lambda client: client.left_out is None, with_head_RK)
    scored_K = _mean_over(rounds, _took_scores, ones_RK)
    chosen_K = _mean_over(rounds, lambda client: bool(client.scores), ones_RK)
    received = float(head_R.mean()) if rounds else 0.0
    bits_K = num_layers * (scored_K * BITS_PER_SCORE + chosen_K * BITS_PER_CHOICE)
    return (received + sent_K) * head_K + bits_K / 1e6


def _took_scores(client: ClientRecord) -> bool:
    """Returns True if a client scored its layers in the round, and did not keep earlier scores."""
    return bool(client.scores) and not client.kept_scores


def _mean_over(
    rounds: Sequence[RoundRecord], count: Callable[[ClientRecord], float], weight_RK: np.ndarray
) -> np.ndarray:
    """Returns the weighted mean over rounds of something counted per client; 0 without rounds."""
    if not rounds:
        return np.zeros(weight_RK.shape[1])
    counts_RK = np.array([[count(c) for c in record.clients] for record in rounds], np.float64)
    return (weight_RK * counts_RK).mean(axis=0)


def layer_mask(layers: Sequence[Sequence[int]], num_layers: int) -> np.ndarray:
    """Turns every client's layer indices into mask_KL, bool."""
    mask_KL = np.zeros((len(layers), num_layers), bool)
    for row_L, chosen in zip(mask_KL, layers, strict=True):
        row_L[list(chosen)] = True
    return mask_KL
