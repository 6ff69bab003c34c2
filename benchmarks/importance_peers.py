"""The same eigenvalues by other methods, and float64 references for comparison.

torch is not a dependency of this project; without it, its row is left out.
"""

import dataclasses
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import linalg

from f3ocus_jax.types import Params

TOKENS, HEAD_WIDTH = 17, 32
DENSE_REFERENCE = 100
"""Outputs up to which the reference is `eigvalsh` of the whole kernel."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and a batch.

    Attributes:
      layers: L, number of layers.
      width: Width of a token.
      examples: N, number of examples.
      answers: C, number of answers.
      peers: Other methods that finish within minutes for this case.
      loss: If True, the kernel is that of the examples' losses.
    """

    layers: int
    width: int
    examples: int
    answers: int
    peers: tuple[str, ...]
    loss: bool = False

    @property
    def size(self) -> int:
        """Number of outputs of the whole batch."""
        return self.examples * (1 if self.loss else self.answers)


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Arrays of the case's function; float32 except the labels."""

    rows_L: Params
    hidden: jax.Array
    matrix: jax.Array
    labels: jax.Array


def make_arrays(case: Case) -> Arrays:
    """Draws the arrays of a case."""
    draw, width = np.random.default_rng(0), case.width

    def normal(*shape: int, scale: float = 1.0) -> jax.Array:
        return jnp.asarray(scale * draw.normal(size=shape), jnp.float32)

    def stacked(rows: int, columns: int) -> jax.Array:
        return normal(case.layers, rows, columns, scale=rows**-0.5)

    rows_L = {
        "scale_1": 1 + normal(case.layers, width, scale=0.1),
        "scale_2": 1 + normal(case.layers, width, scale=0.1),
        "qkv": stacked(width, 3 * width),
        "out": stacked(width, width),
        "up": stacked(width, 4 * width),
        "down": stacked(4 * width, width),
    }
    hidden = normal(case.examples, TOKENS, width)
    matrix = normal(width, case.answers, scale=width**-0.5)
    labels = jnp.asarray(draw.integers(0, case.answers, case.examples), jnp.int32)
    return Arrays(rows_L, hidden, matrix, labels)


def _normalised(x: jax.Array, scale: jax.Array) -> jax.Array:
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * scale


def block(row: Params, hidden: jax.Array) -> jax.Array:
    """One transformer block: [N, T, D] -> [N, T, D]."""
    examples, tokens, width = hidden.shape
    scale_1, scale_2 = row["scale_1"][None, None], row["scale_2"][None, None]
    joined = _normalised(hidden, scale_1) @ row["qkv"]
    shaped = joined.reshape(examples, tokens, 3, width // HEAD_WIDTH, HEAD_WIDTH)
    query, key, value = (shaped[:, :, index] for index in range(3))
    weights = jnp.einsum("nthd,nshd->nhts", query, key) * HEAD_WIDTH**-0.5
    mixed = jnp.einsum("nhts,nshd->nthd", jax.nn.softmax(weights), value)
    hidden = hidden + mixed.reshape(examples, tokens, width) @ row["out"]
    inner = jax.nn.gelu(_normalised(hidden, scale_2) @ row["up"], approximate=False)
    return hidden + inner @ row["down"]


def readout(case: Case, arrays: Arrays, hidden: jax.Array) -> jax.Array:
    """Answers [N, C] of the mean token, or the loss of every example."""
    logits = jnp.mean(hidden, axis=1) @ arrays.matrix.astype(hidden.dtype)
    if not case.loss:
        return logits
    chosen = jnp.take_along_axis(logits, arrays.labels[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - chosen


def apply(case: Case, arrays: Arrays, rows_L: Params) -> jax.Array:
    """The whole network."""
    hidden = arrays.hidden.astype(rows_L["qkv"].dtype)
    hidden, _ = jax.lax.scan(lambda h, row: (block(row, h), None), hidden, rows_L)
    return readout(case, arrays, hidden)


def methods(case: Case, arrays: Arrays) -> dict[str, Callable[[Params], Any]]:
    """The case's peers by name: rows_L -> top eigenvalue of every layer."""
    makers = {"dense": _dense, "power": _power, "torch": _torch}
    wanted = [name for name in case.peers if name != "torch" or versions()]
    return {name: makers[name](case, arrays) for name in wanted}


def versions() -> dict[str, str]:
    """The version of torch, if it is installed."""
    try:
        return {"torch": metadata.version("torch")}
    except metadata.PackageNotFoundError:
        return {}


def _dense(case: Case, arrays: Arrays) -> Callable[[Params], jax.Array]:
    """`vmap(jacrev)` over examples, the kernel of each layer, and all of its eigenvalues."""

    def one(rows_L: Params, hidden: jax.Array, label: jax.Array) -> jax.Array:
        alone = dataclasses.replace(arrays, hidden=hidden[None], labels=label[None])
        return apply(case, alone, rows_L)[0]

    def kernels(rows_L: Params) -> jax.Array:
        jacobian = jax.vmap(jax.jacrev(one), (None, 0, 0))(rows_L, arrays.hidden, arrays.labels)

        def gram(leaf: jax.Array) -> jax.Array:
            flat = leaf.reshape(case.size, case.layers, -1)
            return jnp.einsum("alp,blp->lab", flat, flat, precision="highest")

        return sum(gram(leaf) for leaf in jax.tree.leaves(jacobian))

    return jax.jit(lambda rows_L: jnp.linalg.eigvalsh(kernels(rows_L))[:, -1])


def _power(case: Case, arrays: Arrays) -> Callable[[Params], jax.Array]:
    """Power iteration to a relative residual of 1e-4, through the whole network every time."""

    def unfinished(state: tuple) -> jax.Array:
        _, _, residual, count = state
        return (residual > 1e-4) & (count < 1000)

    def of_layer(rows_L: Params, layer: jax.Array) -> jax.Array:
        row = jax.tree.map(lambda leaf: leaf[layer], rows_L)

        def function(row: Params) -> jax.Array:
            changed = jax.tree.map(lambda leaf, new: leaf.at[layer].set(new), rows_L, row)
            return apply(case, arrays, changed)

        def step(state: tuple) -> tuple:
            vector, _, _, count = state
            outputs, pull = jax.vjp(function, row)
            product = jax.jvp(function, (row,), pull(vector.reshape(outputs.shape)))[1].reshape(-1)
            value = vector @ product
            residual = jnp.linalg.norm(product - value * vector) / value
            return product / jnp.linalg.norm(product), value, residual, count + 1

        start = jax.random.normal(jax.random.key(0), (case.size,))
        state = (start / jnp.linalg.norm(start), 0.0, jnp.inf, 0)
        return jax.lax.while_loop(unfinished, step, state)[1]

    def run(rows_L: Params) -> jax.Array:
        return jax.lax.map(lambda layer: of_layer(rows_L, layer), jnp.arange(case.layers))

    return jax.jit(run)


def _torch(case: Case, arrays: Arrays) -> Callable[[Params], np.ndarray]:
    """torch.func, as PyTorch's tutorial on neural tangent kernels does it, layer by layer."""
    import torch
    from torch import func

    functional = torch.nn.functional

    def tensor(leaf: jax.Array) -> torch.Tensor:
        return torch.from_numpy(np.array(leaf))

    matrix, hidden_N = tensor(arrays.matrix), tensor(arrays.hidden)
    width = case.width

    def one(rows: list[dict[str, Any]], hidden: torch.Tensor) -> torch.Tensor:
        for row in rows:
            inner = functional.layer_norm(hidden, (width,)) * row["scale_1"]
            shaped = (inner @ row["qkv"]).reshape(TOKENS, 3, -1, HEAD_WIDTH)
            query, key, value = (shaped[:, index].transpose(0, 1) for index in range(3))
            weights = torch.softmax(query @ key.transpose(1, 2) * HEAD_WIDTH**-0.5, dim=-1)
            hidden = hidden + (weights @ value).transpose(0, 1).reshape(TOKENS, -1) @ row["out"]
            inner = functional.layer_norm(hidden, (width,)) * row["scale_2"]
            hidden = hidden + functional.gelu(inner @ row["up"]) @ row["down"]
        return hidden.mean(0) @ matrix

    def run(rows_L: Params) -> np.ndarray:
        stacked = {name: tensor(leaf) for name, leaf in rows_L.items()}
        rows = [{name: leaf[at] for name, leaf in stacked.items()} for at in range(case.layers)]
        jacobians = func.vmap(func.jacrev(one), (None, 0))(rows, hidden_N)
        values = []
        for jacobian in jacobians:
            flat = [leaf.flatten(2) for leaf in jacobian.values()]
            kernel = sum(torch.einsum("nap,mbp->namb", leaf, leaf) for leaf in flat)
            values.append(torch.linalg.eigvalsh(kernel.reshape(case.size, case.size))[-1])
        return torch.stack(values).numpy()

    return run


def reference(case: Case, arrays: Arrays) -> np.ndarray:
    """Top eigenvalue of every layer in float64."""
    with jax.enable_x64(True):
        arrays = Arrays(
            *(
                jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), part)
                for part in (arrays.rows_L, arrays.hidden, arrays.matrix)
            ),
            labels=arrays.labels,
        )
        rows_L = arrays.rows_L

        @jax.jit
        def product(layer: jax.Array, vector: jax.Array) -> jax.Array:
            row = jax.tree.map(lambda leaf: leaf[layer], rows_L)

            def function(row: Params) -> jax.Array:
                changed = jax.tree.map(lambda leaf, new: leaf.at[layer].set(new), rows_L, row)
                return apply(case, arrays, changed).reshape(-1)

            _, pull = jax.vjp(function, row)
            return jax.jvp(function, (row,), pull(vector))[1]

        return np.array([_top(case.size, product, layer) for layer in range(case.layers)])


def _top(size: int, product: Callable[[Any, Any], jax.Array], layer: int) -> float:
    if size <= DENSE_REFERENCE:
        columns = jax.lax.map(lambda v: product(jnp.int32(layer), v), jnp.eye(size))
        return float(np.linalg.eigvalsh(np.asarray(columns))[-1])
    operator = linalg.LinearOperator(
        (size, size),
        matvec=lambda vector: np.asarray(product(jnp.int32(layer), jnp.asarray(vector))),
        dtype=np.float64,
    )
    start = np.random.default_rng(0).normal(size=size)
    return float(linalg.eigsh(operator, k=1, tol=1e-7, v0=start, return_eigenvectors=False)[0])
