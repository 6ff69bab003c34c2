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
from f3ocus_jax.aggregation import layerwise, low_rank, outliers, robust, server_optimizer, weights
from f3ocus_jax.aggregation.layerwise import (
    AggregatedUpdate,
    Change,
    LayerWeights,
    TrainedLayers,
    WeightedSum,
)
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.clients import controls, placement
from f3ocus_jax.config.kept import kept
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.settings import SelectionConfig
from f3ocus_jax.privacy import noise, secret
from f3ocus_jax.privacy.settings import CLIENT, NOT_PRIVATE, PrivacyConfig
from f3ocus_jax.selection import Selection
from f3ocus_jax.types import Array, Controls, Params, Rows, ServerState, UpdateNorms

Total = WeightedSum | tuple[()]
"""Running sum of the updates received so far; empty for rules that need all updates at once."""


@struct.dataclass
class ReceivedUpdate:
    """Part of one client's update that the server keeps until the round ends.

    Attributes:
      losses_S: float32, loss of every step; 0 for a step that was skipped.
      finite: bool [], True if losses and change hold no NaN and no infinity.
      norm: float32 [], norm of the change before any clipping.
      change: Change of the parameters, if all clients' changes are needed at once; None otherwise.
      weight: Weight of the client in the mean, with the change.
      controls: Change of the client's controls; None in a run without any.
    """

    losses_S: Array
    finite: Array
    norm: Array
    change: Change | None
    weight: Any
    controls: Controls | None = None


Start = Callable[[Rows, Params], Total]
Choose = Callable[[Array, np.ndarray, Array, jax.Array], Selection]
Weigh = Callable[[Array, Array, TrainedLayers, int], LayerWeights]
Receive = Callable[[Any, Rows, Params, TrainedLayers, Any, ClientUpdate], tuple[Any, Any]]
Judge = Callable[[ReceivedUpdate], UpdateNorms]
Step = Callable[[ServerState, Any, Any, TrainedLayers], ServerState]
ReceiveAll = Callable[
    [Rows, Params, Sequence[TrainedLayers], LayerWeights, Sequence[ClientUpdate]], tuple[Any, Any]
]
TakeUp = Callable[
    [ServerState, Sequence["SentUpdate"]],
    tuple[ServerState, UpdateNorms],
]
SentUpdate = tuple[TrainedLayers, float, int, ClientUpdate]
"""(trained layers, number of training examples, local steps, update) of one client."""


@dataclasses.dataclass(frozen=True)
class ServerSide:
    """Functions of the server.

    Attributes:
      choose: (scores_KL, present_K, front_mask_PKL of the last round, key) -> Selection.
      start: (rows_L, head) -> total of no client.
      weigh: (numbers of training examples, local steps, trained layers of all clients, L) ->
        weights of all clients, see `weights.weigh_layers` and `weights.normalise_steps`.
      receive: (total, rows_L, head, trained layers, weight, update) -> (total, `ReceivedUpdate`).
      receive_all: (rows_L, head, trained layers, weights and update of each client) -> (total,
        received_K): `start` and `receive` for updates that arrive one by one.
      judge: received_K -> norms of the updates, and whether each is used.
      step: (state, total, received_K, trained layers of all clients) -> state after the round.
      take_up: (state, `SentUpdate` of each client) -> (state after the round, norms): `weigh`,
        `receive_all`, `judge` and `step`.
    """

    choose: Choose
    start: Start
    weigh: Weigh
    receive: Receive
    receive_all: ReceiveAll
    judge: Judge
    step: Step
    take_up: TakeUp


def make_server_side(
    budgets: Budgets,
    *,
    selection: SelectionConfig,
    aggregation: AggregationConfig,
    privacy: PrivacyConfig = NOT_PRIVATE,
) -> ServerSide:
    """Makes the server's half of a round.

    Args:
      budgets: Limits of the run.
      selection: Settings of the choice of layers.
      aggregation: Settings of the rule that combines updates, and of the server's optimizer.
      privacy: Settings of differential privacy; for that of clients, the server clips every update
        and adds noise to their sum.

    Returns:
      The server's functions.
    """
    is_private = privacy.unit == CLIENT
    if is_private:
        aggregation = dataclasses.replace(aggregation, clip_norm=privacy.clip)
    start, receive = make_receive(aggregation)
    weigh, judge = _make_weigh(aggregation), make_judge(aggregation)
    most = budgets.participation.most
    step = _with_noise(aggregation, privacy, most) if is_private else _make_step(aggregation, most)
    step = _with_controls(step, judge, len(budgets.budgets_K))
    receive_all = _make_receive_all(aggregation)
    return ServerSide(
        choose=_make_choose(budgets, selection),
        start=start,
        weigh=weigh,
        receive=receive,
        receive_all=receive_all,
        judge=judge,
        step=step,
        take_up=_make_take_up(weigh, receive_all, judge, step),
    )


def _make_choose(budgets: Budgets, settings: SelectionConfig) -> Choose:
    select = _make_selector(settings)

    def choose_layers(
        scores_KL: Array, present_K: np.ndarray, front_mask_PKL: Array, key: jax.Array
    ) -> Selection:
        limits = budgets.limits(present_K, np.asarray(scores_KL))
        budgets_K = jnp.asarray(budgets.budgets_K)
        inputs = (key, jnp.asarray(scores_KL), budgets_K, jnp.asarray(front_mask_PKL))
        return jax.device_get(select(*inputs, limits))

    return choose_layers


@kept
def _make_selector(settings: SelectionConfig) -> selection.Select:
    return selection.make_selector(
        settings.algorithm,
        population=settings.population,
        generations=settings.generations,
        variant=settings.variant,
        pick=settings.pick,
        pick_value=settings.make("pick"),
        disagreement_cost=settings.disagreement_cost,
        shape=settings.shape,
        randomised=settings.randomised,
    )


@kept
def make_receive(
    settings: AggregationConfig,
) -> tuple[Start, Receive]:
    """Makes `ServerSide.start` and `ServerSide.receive`."""
    streams = settings.streams

    def start(rows_L: Rows, head: Params) -> Total:
        return layerwise.make_empty_sum(rows_L, head) if streams else ()

    @jax.named_scope("aggregate")
    def receive(
        total: Any,
        rows_L: Rows,
        head: Params,
        trained: TrainedLayers,
        weight: Any,
        update: ClientUpdate,
    ) -> tuple[Any, ReceivedUpdate]:
        change = layerwise.difference(rows_L, head, trained, update.rows_R, update.head)
        finite = update.finite & layerwise.is_finite((change, update.losses_S))
        norm = layerwise.global_norm(change)
        change = layerwise.clip_to_norm(change, settings.clip_norm)
        if not streams:
            held = (change, weight, update.controls)
            return total, ReceivedUpdate(update.losses_S, finite, norm, *held)
        counted = jax.tree.map(lambda leaf: leaf * finite, weight)
        total = layerwise.add_update(total, change, trained, counted)
        return total, ReceivedUpdate(update.losses_S, finite, norm, None, None, update.controls)

    return start, receive


def make_judge(settings: AggregationConfig) -> Judge:
    """Makes `ServerSide.judge`."""
    return lambda received_K: outliers.judge(
        received_K.norm,
        received_K.finite,
        ratio=settings.outlier_ratio,
        treatment=settings.outliers,
    )


def _make_weigh(settings: AggregationConfig) -> Weigh:
    def weigh(
        examples_K: Array, steps_K: Array, trained_K: TrainedLayers, num_layers: int
    ) -> LayerWeights:
        equal = settings.weights == weights.EQUAL
        counts_K = (np.asarray(examples_K) > 0).astype(np.float32) if equal else examples_K
        weights_K = weights.weigh_layers(
            counts_K, trained_K, num_layers=num_layers, most=settings.max_weight_share
        )
        if settings.weights != weights.STEPS:
            return weights_K
        return weights.normalise_steps(weights_K, trained_K, steps_K, num_layers=num_layers)

    return weigh


@kept
def _make_step(settings: AggregationConfig, most: int) -> Step:
    _, apply = server_optimizer.make_server_optimizer(settings)
    return make_server_step(settings, apply, most)


def _with_noise(settings: AggregationConfig, privacy: PrivacyConfig, most: int) -> Step:
    """Makes the step whose noise is drawn from a secret of this process."""
    step, own = _make_noised_step(settings, privacy, most), secret.take_common(privacy.secret_seed)

    def step_with_noise(
        state: ServerState, total: WeightedSum, received_K: Any, trained_K: TrainedLayers
    ) -> ServerState:
        del received_K
        trained = layerwise.map_heads(np.any, trained_K.heads)
        return step(state, total, trained, own.key_data("aggregation", int(state.round) + 1))

    return step_with_noise


@kept
def _make_noised_step(
    settings: AggregationConfig, privacy: PrivacyConfig, most: int
) -> Callable[[ServerState, WeightedSum, Any, Array], ServerState]:
    _, apply = server_optimizer.make_server_optimizer(settings)

    @jax.jit
    @jax.named_scope("aggregate")
    def step(state: ServerState, total: WeightedSum, trained: Any, key_data: Any) -> ServerState:
        update = noise.noised_mean(
            total,
            trained,
            jax.random.wrap_key_data(key_data),
            clip=privacy.clip,
            multiplier=privacy.noise_multiplier,
            clients=most,
        )
        return _apply_update(apply, state, update)

    return step


def _with_controls(step: Step, judge: Judge, clients: int) -> Step:
    """Makes a step that also updates the server's controls, in a run that has them."""

    def step_all(
        state: ServerState, total: Any, received_K: Any, trained_K: TrainedLayers
    ) -> ServerState:
        after = step(state, total, received_K, trained_K)
        if state.controls is None:
            return after
        used_K, layers_KR = judge(received_K).accepted_K, trained_K.layers_R
        given = (received_K.controls, layers_KR, used_K, clients)
        return dataclasses.replace(after, controls=controls.add_changes(state.controls, *given))

    return step_all


def _apply_update(
    apply: server_optimizer.Apply, state: ServerState, update: AggregatedUpdate
) -> ServerState:
    rows_L, head, memory = apply(state.rows_L, state.head, state.optimizer, update)
    done = state.round + 1
    return dataclasses.replace(state, rows_L=rows_L, head=head, round=done, optimizer=memory)


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
    @jax.named_scope("aggregate")
    def apply_update(state: ServerState, update: AggregatedUpdate) -> ServerState:
        return _apply_update(apply, state, update)

    @jax.jit
    @jax.named_scope("aggregate")
    def step_by_mean(state: ServerState, total: WeightedSum) -> ServerState:
        return apply_update(state, layerwise.weighted_mean(total))

    @jax.jit
    @jax.named_scope("aggregate")
    def step_by_products(state: ServerState, total: WeightedSum, held_K: Any) -> ServerState:
        update = layerwise.weighted_mean(total)
        rows = low_rank.mean_products(state.rows_L, *held_K)
        change = dataclasses.replace(update.change, rows=rows)
        return apply_update(state, dataclasses.replace(update, change=change))

    def step_by_all(
        state: ServerState, total: Any, received_K: ReceivedUpdate, trained_K: TrainedLayers
    ) -> ServerState:
        del total
        norms = judge(received_K)
        changes_K: Any = received_K.change
        if settings.outliers == outliers.CLIP:
            changes_K = outliers.clip_outliers(changes_K, norms, settings.clip_norm)
        if rule is None:
            weights_K = received_K.weight
            total = sum_held(state, (changes_K, trained_K, weights_K), norms.accepted_K)
            if settings.low_rank != low_rank.PRODUCT:
                return step_by_mean(state, total)
            held_K = (changes_K.rows, trained_K.layers_R, weights_K.rows_R, norms.accepted_K)
            return step_by_products(state, total, _pad(held_K, most))
        return apply_update(state, combine(state, changes_K, trained_K, norms.accepted_K))

    rule, judge = settings.make("rule"), make_judge(settings)
    sum_held, combine = _make_sum_of_held(), _make_combine(rule, settings.outlier_ratio, most)
    if settings.streams:
        return lambda state, total, received_K, trained_K: step_by_mean(state, total)
    return step_by_all


def _make_sum_of_held() -> Callable[[ServerState, tuple[Any, ...], Array], WeightedSum]:
    """Makes (state, (changes_K, trained_K, weights_K), counted_K) -> sum over those that count."""
    add = jax.jit(layerwise.add_update)

    def sum_held(state: ServerState, held_K: tuple[Any, ...], counted_K: Array) -> WeightedSum:
        total = layerwise.make_empty_sum(state.rows_L, state.head)
        for index in np.flatnonzero(counted_K):
            total = add(total, *jax.tree.map(lambda leaf, index=index: leaf[index], held_K))
        return total

    return sum_held


def _make_combine(
    rule: Any, outlier_ratio: float, most: int
) -> Callable[[ServerState, Change, TrainedLayers, Array], AggregatedUpdate]:
    """Makes (state, changes_K, trained_K, counted_K) -> update by a robust rule."""

    def combine(
        state: ServerState, changes_K: Change, trained_K: TrainedLayers, counted_K: Array
    ) -> AggregatedUpdate:
        padded = _pad((changes_K, trained_K, counted_K), most)
        num_layers = jax.tree.leaves(state.rows_L)[0].shape[0]
        return robust.combine(rule, *padded, num_layers=num_layers, outlier_ratio=outlier_ratio)

    return combine


def _pad(held_K: Any, most: int) -> Any:
    """Pads what was received to the largest number of clients, so that no round compiles again."""
    return jax.tree.map(lambda leaf: placement.pad_leading_axis(leaf, most), held_K)


@kept
def _make_receive_all(settings: AggregationConfig) -> ReceiveAll:
    start, receive = make_receive(settings)
    compiled = jax.jit(receive)

    def receive_all(
        rows_L: Rows,
        head: Params,
        trained: Sequence[TrainedLayers],
        weights_K: LayerWeights,
        updates: Sequence[ClientUpdate],
    ) -> tuple[Any, ReceivedUpdate]:
        total: Any = start(rows_L, head)
        received = []
        for index, (layers, update) in enumerate(zip(trained, updates, strict=True)):
            sent = (layers, weights.take(weights_K, index), update)
            total, one = compiled(total, rows_L, head, *sent)
            received.append(one)
        return total, _stack(received)

    return receive_all


def _make_take_up(weigh: Weigh, receive_all: ReceiveAll, judge: Judge, step: Step) -> TakeUp:
    def take_up(
        state: ServerState, updates: Sequence[SentUpdate]
    ) -> tuple[ServerState, UpdateNorms]:
        trained = [layers for layers, *_ in updates]
        trained_K = _stack(trained)
        examples_K = np.array([examples for _, examples, _, _ in updates], np.float32)
        steps_K = np.array([steps for _, _, steps, _ in updates], np.int32)
        num_layers = jax.tree.leaves(state.rows_L)[0].shape[0]
        weights_K = weigh(examples_K, steps_K, trained_K, num_layers)
        sent = [update for *_, update in updates]
        total, received_K = receive_all(state.rows_L, state.head, trained, weights_K, sent)
        return step(state, total, received_K, trained_K), judge(received_K)

    return take_up


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees))
