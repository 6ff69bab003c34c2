"""A round computed again from its data, its records and the checkpoint before it, in float64.

NumPy, SciPy and optax alone do what the stages do. The model's forward function is the package's,
differentiated by JAX.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg
import scipy.special

from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import base
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, ClientRecord, Params, ServerState

ROWS_OF = {"adapter": "adapters", "block": "blocks", "lora": "lora"}
SMALLEST_SLOPE = 4e-6
"""AdamW divides a gradient by its own size: one of rounding size alone gives a step of any sign."""

AVERAGING_RATE = 0.8
ADAM_RATE, MOMENTUM, SECOND_MOMENTUM, EPSILON = 0.02, 0.8, 0.95, 1e-3
"""FedAvg and FedAdam as the replayed runs have them."""

Tree = Any


def to_float64(tree: Tree) -> Tree:
    """Floats of a pytree as float64 on the host."""

    def wide(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf

    return jax.tree.map(wide, jax.device_get(tree))


def is_told(gradient: jax.Array) -> jax.Array:
    """True where float32 tells a gradient from 0, or where it is 0 exactly."""
    return (jnp.abs(gradient) > SMALLEST_SLOPE) | (gradient == 0)


def is_matrix(trained: Tree) -> Tree:
    """True for parameters of two axes or more, beside that of the layers."""
    return {
        kind: jax.tree.map(lambda leaf, axes=axes: leaf.ndim >= axes, trained[kind])
        for kind, axes in (("rows", 3), ("head", 2))
    }


@dataclasses.dataclass(frozen=True)
class Trained:
    """One client's parameters after its training, and where they are not rounding alone.

    Attributes:
      after: {"rows": all L layers, "head": the head}.
      known: bool, True where every step had a gradient that float32 tells from 0.
      losses: Loss of every step before it is taken.
    """

    after: Tree
    known: Tree
    losses: list[float]


@dataclasses.dataclass(frozen=True)
class Replay:
    """The parts of a run that a round is computed again from."""

    config: ExperimentConfig
    model: Model
    params: Params
    clients: Sequence[ClientData]

    @property
    def rows_key(self) -> str:
        return ROWS_OF[self.config.training.unit]

    def draw(self, number: int, client: ClientData, purpose: str) -> np.random.Generator:
        """The random numbers of (seed, round, client, purpose)."""
        texts = [zlib.crc32(text.encode()) for text in (client.name, purpose)]
        return np.random.default_rng([self.config.seed, number, *texts])

    def logits(self, trained: Tree, batch: Batch) -> jax.Array:
        params = {**self.params, self.rows_key: trained["rows"], "head": trained["head"]}
        params = jax.tree.map(jnp.asarray, params)
        return base.apply(self.model, params, batch)

    def loss(self, trained: Tree, batch: Batch) -> jax.Array:
        """Mean cross-entropy of the examples that are real and have a known answer."""
        logits_BC = self.logits(trained, batch)
        log_BC = logits_BC - jax.nn.logsumexp(logits_BC, axis=-1, keepdims=True)
        counts_B = batch.example_mask_B * (batch.labels_B >= 0)
        right_B = jnp.take_along_axis(log_BC, jnp.maximum(batch.labels_B, 0)[:, None], 1)[:, 0]
        return -jnp.sum(counts_B * right_B) / jnp.maximum(jnp.sum(counts_B), 1)

    @functools.cached_property
    def jacobian(self) -> Callable[[Tree, Batch], Tree]:
        return jax.jit(jax.jacrev(self.logits))

    @functools.cached_property
    def forward(self) -> Callable[[Tree, Batch], jax.Array]:
        return jax.jit(self.logits)

    def probe(self, number: int, client: ClientData) -> Batch:
        order = self.draw(number, client, "probe").permutation(len(client.train))
        return client.train.batch(order[: self.config.importance.probe_examples])

    def eigenvalues(self, state: ServerState, number: int, client: ClientData) -> np.ndarray:
        """λ_1 of every layer's kernel, from its dense Jacobian."""
        trained = to_float64({"rows": state.rows_L, "head": state.head})
        jacobian = jax.device_get(self.jacobian(trained, self.probe(number, client)))
        values = []
        for layer in range(self.model.num_layers):
            parts = [leaf[:, :, layer] for leaf in jax.tree.leaves(jacobian["rows"])]
            outputs = parts[0].shape[0] * parts[0].shape[1]
            matrix = np.concatenate([part.reshape(outputs, -1) for part in parts], axis=1)
            values.append(scipy.linalg.eigvalsh(matrix @ matrix.T)[-1])
        return np.array(values)

    def steps(self, client: ClientData) -> int:
        training = self.config.training
        wanted = int(np.ceil(training.local_epochs * len(client.train) / training.batch_size))
        return min(wanted, training.max_local_steps)

    def trains_head(self, number: int) -> bool:
        """True in a round in which clients train the head."""
        settings = self.config.training
        last = {"every_round": np.inf, "first_rounds": settings.head_rounds, "frozen": 0}
        return number <= last[settings.head]

    def weight(self, index: int) -> float:
        """Weight of a client in the mean."""
        equal = self.config.aggregation.weights == "equal"
        return 1.0 if equal else len(self.clients[index].train)

    def batches(self, number: int, client: ClientData) -> list[Batch]:
        """Passes over the data, each in an order of its own, cut into batches."""
        count, size = len(client.train), self.config.training.batch_size
        draw, made = self.draw(number, client, "training"), []
        while len(made) < self.steps(client):
            order = draw.permutation(count)
            for start in range(0, count, size):
                indices = np.zeros(size, int)
                part = order[start : start + size]
                indices[: len(part)] = part
                made.append(client.train.batch(indices, np.arange(size) < len(part)))
        return made[: self.steps(client)]

    def train(
        self, state: ServerState, number: int, client: ClientData, layers: Sequence[int]
    ) -> Trained:
        """AdamW from the server's model, on these layers and a head that is trained alone."""
        start = now = to_float64({"rows": state.rows_L, "head": state.head})
        is_own = {
            "rows": jax.tree.map(lambda leaf: along_layers(layers, leaf), start["rows"]),
            "head": jax.tree.map(
                lambda leaf: np.full(leaf.shape, self.trains_head(number)), start["head"]
            ),
        }
        memory = None
        losses, known = [], is_own
        for batch in self.batches(number, client):
            now, memory, loss, known = self.local_step(now, memory, known, start, is_own, batch)
            losses.append(float(loss))
        return Trained(jax.device_get(now), jax.device_get(known), losses)

    @functools.cached_property
    def local_step(self) -> Callable[..., tuple[Tree, Any, jax.Array, Tree]]:
        """One step of AdamW with FedProx's pull back to the start."""
        settings = self.config.training
        decay = {"weight_decay": settings.weight_decay}
        if settings.decay == "matrices":
            decay["mask"] = is_matrix
        optimizer = optax.adamw(settings.learning_rate, **decay)

        @jax.jit
        def step(
            now: Tree, memory: Any, known: Tree, start: Tree, is_own: Tree, batch: Batch
        ) -> tuple[Tree, Any, jax.Array, Tree]:
            loss, slope = jax.value_and_grad(self.loss)(now, batch)
            pulled = jax.tree.map(
                lambda g, w, w0: g + settings.proximal * (w - w0), slope, now, start
            )
            known = jax.tree.map(lambda k, g, p: k & is_told(g) & is_told(p), known, slope, pulled)
            change, memory = optimizer.update(pulled, memory, now)
            moved = optax.apply_updates(now, change)
            return jax.tree.map(jnp.where, is_own, moved, now), memory, loss, known

        init = jax.jit(optimizer.init)

        def start_or_step(now: Tree, memory: Any, *others: Any) -> tuple:
            return step(now, init(now) if memory is None else memory, *others)

        return start_or_step

    def mean_change(
        self, state: ServerState, trained: dict[int, Trained], records: Sequence[ClientRecord]
    ) -> tuple[Tree, Tree, np.ndarray]:
        """(mean change weighted as the run says, where it is known, trained_L)."""
        start = to_float64({"rows": state.rows_L, "head": state.head})
        weights_KL = np.zeros((len(self.clients), self.model.num_layers))
        for index in trained:
            weights_KL[index, records[index].layers] = self.weight(index)
        trained_L = weights_KL.any(axis=0)

        def mean(weights_K: Callable[[int], np.ndarray], kind: str) -> Tree:
            def of_leaf(before: np.ndarray, *after: np.ndarray) -> np.ndarray:
                weights = [align(weights_K(index), before) for index in trained]
                total = np.sum(weights, axis=0)
                shares = [w / np.where(total > 0, total, 1) for w in weights]
                changes = [leaf - before for leaf in after]
                if self.config.aggregation.weights != "steps":
                    return np.sum([p * d for p, d in zip(shares, changes, strict=True)], axis=0)
                steps = [self.steps(self.clients[index]) for index in trained]
                each = list(zip(shares, steps, changes, strict=True))
                effective = np.sum([p * tau for p, tau, _ in each], axis=0)
                return effective * np.sum([p * d / tau for p, tau, d in each], axis=0)

            return jax.tree.map(of_leaf, start[kind], *[t.after[kind] for t in trained.values()])

        is_fixed = not self.trains_head(int(state.round) + 1)

        def known_head(*leaves: np.ndarray) -> np.ndarray:
            return np.all(leaves, axis=0) | is_fixed

        def known_rows(*leaves: np.ndarray) -> np.ndarray:
            chosen = [align(weights_KL[index] > 0, leaves[0]) for index in trained]
            return np.all([k | ~c for k, c in zip(leaves, chosen, strict=True)], axis=0)

        change = {
            "rows": mean(lambda index: weights_KL[index], "rows"),
            "head": mean(lambda index: np.array([self.weight(index)]), "head"),
        }
        known = {
            "rows": jax.tree.map(known_rows, *[t.known["rows"] for t in trained.values()]),
            "head": jax.tree.map(known_head, *[t.known["head"] for t in trained.values()]),
        }
        return change, known, trained_L

    def step(
        self, state: ServerState, change: Tree, trained_L: np.ndarray
    ) -> tuple[Tree, dict[str, Tree]]:
        """(the server's model after its step, its moments): FedAvg, or FedAdam layer by layer."""
        start = to_float64({"rows": state.rows_L, "head": state.head})
        if self.config.aggregation.optimizer == "fedavg":
            return jax.tree.map(lambda w, d: w + AVERAGING_RATE * d, start, change), {}
        old = moments(state)
        is_trained = {
            "rows": jax.tree.map(lambda leaf: align(trained_L, leaf), start["rows"]),
            "head": jax.tree.map(
                lambda leaf: np.bool_(self.trains_head(int(state.round) + 1)), start["head"]
            ),
        }
        count = jax.tree.map(lambda n, t: n + t, old["count"], is_trained)
        first, second = (
            jax.tree.map(
                lambda m, d, t, decay=decay, power=power: np.where(
                    t, decay * m + (1 - decay) * (-d) ** power, m
                ),
                old[name],
                change,
                is_trained,
            )
            for name, decay, power in (("first", MOMENTUM, 1), ("second", SECOND_MOMENTUM, 2))
        )

        def moved(w: Any, m: Any, v: Any, n: Any, t: Any) -> np.ndarray:
            n = np.maximum(n, 1)
            m, v = m / (1 - MOMENTUM**n), v / (1 - SECOND_MOMENTUM**n)
            return np.where(t, w - ADAM_RATE * m / (np.sqrt(v) + EPSILON), w)

        after = jax.tree.map(moved, start, first, second, count, is_trained)
        return after, {"count": count, "first": first, "second": second}

    def metrics(self, state: ServerState, test: Examples) -> dict[str, float]:
        """Accuracies and loss on a client's test or validation split."""
        # Padded to one size, so that all splits share one program.
        indices = np.minimum(np.arange(max(len(each.test) for each in self.clients)), len(test) - 1)
        trained = to_float64({"rows": state.rows_L, "head": state.head})
        logits_BC = np.asarray(self.forward(trained, test.batch(indices)))[: len(test)]
        labels_B = np.asarray(test.labels_N)
        right_B = (logits_BC.argmax(axis=1) == labels_B) & (labels_B >= 0)
        log_BC = logits_BC - scipy.special.logsumexp(logits_BC, axis=1, keepdims=True)
        losses = [-row[label] for row, label in zip(log_BC, labels_B, strict=True) if label >= 0]
        found = {"examples": len(test), "accuracy": right_B.mean(), "loss": np.mean(losses)}
        for prefix, kinds in (("", test.answer_types), ("type/", test.question_types)):
            for kind in set(kinds):
                found[f"{prefix}{kind}"] = right_B[np.array(kinds) == kind].mean()
        return found


def moments(state: ServerState) -> dict[str, Tree]:
    """Step counts and moments of the server's Adam, as it is in a checkpoint."""
    rows, heads = state.optimizer["rows_L"][0], state.optimizer["head"]
    found: dict[str, Tree] = {}
    for name, field in (("first", "mu"), ("second", "nu")):
        head = {entry: getattr(each[0], field) for entry, each in heads.items()}
        found[name] = to_float64({"rows": getattr(rows, field), "head": head})
    found["count"] = {
        "rows": jax.tree.map(lambda leaf: align(np.asarray(rows.count), leaf), state.rows_L),
        "head": {
            entry: jax.tree.map(
                lambda leaf, each=each: np.asarray(each[0].count), state.head[entry]
            )
            for entry, each in heads.items()
        },
    }
    return found


def align(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.asarray(values).reshape(-1, *(1,) * (like.ndim - 1))


def along_layers(layers: Sequence[int], leaf: np.ndarray) -> np.ndarray:
    """True in these rows of a leaf with leading axis L."""
    return np.broadcast_to(align(np.isin(np.arange(len(leaf)), layers), leaf), leaf.shape)
