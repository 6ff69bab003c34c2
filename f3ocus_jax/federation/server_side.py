"""Server's half of a round: choose every client's layers, then apply the clients' updates.

Nothing here has access to examples. The simulator and a deployed server call the same functions.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from f3ocus_jax import selection
from f3ocus_jax.aggregation import layerwise, robust, server_optimizer
from f3ocus_jax.aggregation.layerwise import AggregatedUpdate, Change, TrainedLayers, WeightedSum
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.clients import placement
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.settings import SelectionConfig
from f3ocus_jax.selection import Selection
from f3ocus_jax.types import Array, Params, Rows, ServerState

Total = WeightedSum | tuple[()]
"""Running sum of the updates received so far; empty for rules that need all updates at once."""


@struct.dataclass
class ReceivedUpdate:
    """Part of one client's update that the server keeps until the round ends.

    Attributes:
      losses_S: float32, loss of every step; 0 for a step that was skipped.
      finite: bool [], True if losses and change hold no NaN and no infinity.
      change: Change of the parameters, if the rule needs all clients' changes at once; None
        otherwise.
    """

    losses_S: Array
    finite: Array
    change: Change | None


Start = Callable[[Rows, Params], Total]
Choose = Callable[[Array, np.ndarray, Array, jax.Array], Selection]
Receive = Callable[[Any, Rows, Params, TrainedLayers, Array, ClientUpdate], tuple[Any, Any]]
Step = Callable[[ServerState, Any, Any, TrainedLayers], ServerState]
TakeUp = Callable[
    [ServerState, Sequence[tuple[TrainedLayers, float, ClientUpdate]]],
    tuple[ServerState, np.ndarray],
]


@dataclasses.dataclass(frozen=True)
class ServerSide:
    """Functions of the server.

    Attributes:
      choose: (scores_KL, present_K, front_mask_PKL of the last round, key) -> Selection.
      start: (rows_L, head) -> total of no client.
      receive: (total, rows_L, head, trained layers, weight, update) -> (total, `ReceivedUpdate`);
        the weight is the client's number of training examples.
      step: (state, total, received_K, trained layers of all clients) -> state after the round.
      take_up: (state, (trained layers, weight, update) of each client) -> (state after the round,
        accepted_K): `start`, `receive` and `step` for updates that arrive one by one.
    """

    choose: Choose
    start: Start
    receive: Receive
    step: Step
    take_up: TakeUp


def make_server_side(
    budgets: Budgets, *, selection: SelectionConfig, aggregation: AggregationConfig
) -> ServerSide:
    """Makes the server's half of a round.

    Args:
      budgets: Limits of the run.
      selection: Settings of the choice of layers.
      aggregation: Settings of the rule that combines updates, and of the server's optimizer.

    Returns:
      The server's functions.
    """
    start, receive = make_receive(aggregation)
    _, apply = server_optimizer.make_server_optimizer(aggregation)
    step = make_server_step(aggregation, apply, budgets.participation.most)
    return ServerSide(
        choose=_make_choose(budgets, selection),
        start=start,
        receive=receive,
        step=step,
        take_up=_make_take_up(start, receive, step),
    )


def _make_choose(budgets: Budgets, settings: SelectionConfig) -> Choose:
    select = selection.make_selector(
        settings.algorithm,
        population=settings.population,
        generations=settings.generations,
        pick=settings.pick,
        pick_value=settings.make("pick"),
    )

    def choose_layers(
        scores_KL: Array, present_K: np.ndarray, front_mask_PKL: Array, key: jax.Array
    ) -> Selection:
        limits = budgets.limits(present_K, np.asarray(scores_KL))
        budgets_K = jnp.asarray(budgets.budgets_K)
        inputs = (key, jnp.asarray(scores_KL), budgets_K, jnp.asarray(front_mask_PKL))
        return jax.device_get(select(*inputs, limits))

    return choose_layers


def make_receive(
    settings: AggregationConfig,
) -> tuple[Start, Receive]:
    """Makes `ServerSide.start` and `ServerSide.receive`."""
    streams = settings.make("rule") is None

    def start(rows_L: Rows, head: Params) -> Total:
        return layerwise.make_empty_sum(rows_L, head) if streams else ()

    def receive(
        total: Any,
        rows_L: Rows,
        head: Params,
        trained: TrainedLayers,
        weight: Array,
        update: ClientUpdate,
    ) -> tuple[Any, ReceivedUpdate]:
        change = layerwise.difference(rows_L, head, trained, update.rows_R, update.head)
        finite = update.finite & layerwise.is_finite((change, update.losses_S))
        change = layerwise.clip_to_norm(change, settings.clip_norm)
        if not streams:
            return total, ReceivedUpdate(update.losses_S, finite, change)
        total = layerwise.add_update(total, change, trained, weight * finite)
        return total, ReceivedUpdate(update.losses_S, finite, None)

    return start, receive


def make_server_step(settings: AggregationConfig, apply: server_optimizer.Apply, most: int) -> Step:
    """Makes the step of the server's model.

    Args:
      settings: Settings of the rule that combines updates.
      apply: Step of the server's optimizer.
      most: Largest number of clients in a round.

    Returns:
      (state, total, received_K, trained_K) -> state after the round.
    """

    @jax.jit
    def apply_update(state: ServerState, update: AggregatedUpdate) -> ServerState:
        rows_L, head, memory = apply(state.rows_L, state.head, state.optimizer, update)
        done = state.round + 1
        return dataclasses.replace(state, rows_L=rows_L, head=head, round=done, optimizer=memory)

    @jax.jit
    def step_by_mean(state: ServerState, total: WeightedSum) -> ServerState:
        return apply_update(state, layerwise.weighted_mean(total))

    def step_by_rule(
        state: ServerState, received_K: ReceivedUpdate, trained_K: TrainedLayers
    ) -> ServerState:
        num_layers = jax.tree.leaves(state.rows_L)[0].shape[0]
        padded = jax.tree.map(
            lambda leaf: placement.pad_leading_axis(leaf, most),
            (received_K.change, trained_K, received_K.finite),
        )
        return apply_update(state, robust.combine(rule, *padded, num_layers=num_layers))

    rule = settings.make("rule")
    if rule is None:
        return lambda state, total, received_K, trained_K: step_by_mean(state, total)
    return lambda state, total, received_K, trained_K: step_by_rule(state, received_K, trained_K)


def _make_take_up(start: Start, receive: Receive, step: Step) -> TakeUp:
    compiled = jax.jit(receive)

    def take_up(
        state: ServerState, updates: Sequence[tuple[TrainedLayers, float, ClientUpdate]]
    ) -> tuple[ServerState, np.ndarray]:
        total: Any = start(state.rows_L, state.head)
        received = []
        for trained, weight, update in updates:
            sent = (trained, np.float32(weight), update)
            total, one = compiled(total, state.rows_L, state.head, *sent)
            received.append(one)
        received_K, trained_K = (
            jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(each))
            for each in (received, [trained for trained, _, _ in updates])
        )
        return step(state, total, received_K, trained_K), received_K.finite

    return take_up
