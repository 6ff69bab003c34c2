"""How are the top eigenvalues of every layer's kernel found? Four ways, all exact.

"lanczos" pulls one vector per iteration down to its layer and pushes it up again. The others pull
all outputs down once, which serves every layer: "sweep" then runs Lanczos within each layer alone,
"gram" forms the kernel itself, and "parameters" the kernel's transpose Jᵀ J, of the same non-zero
eigenvalues, which is smaller where a layer has fewer parameters than there are outputs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.importance import factors, lanczos
from f3ocus_jax.importance.lanczos import Eigenpair
from f3ocus_jax.importance.linearised_network import Linearised
from f3ocus_jax.models import units

Found = TypeVar("Found")

SMALL_MATRIX = 128
"""Up to this size a matrix is decomposed; Lanczos takes less time on larger ones."""

IMAGE, IMAGE_WHEN_WARM = 0.2, 0.1
"""Share of the layer above's image of a random vector in a start vector.

The known vector of which the rest is made, the layer above's or the last round's, can be so near
another eigenvector that nothing of the top one is left in it. The image has parts in all
eigenvectors of large eigenvalues above, of which the top one here will be.
"""

RANDOM, RANDOM_ALONE = 0.03, 0.3
"""Share of a random vector beside such an image, and where there is none."""


@struct.dataclass
class Above:
    """What a layer tells the one below it, since the kernels of neighbours move outputs alike.

    Attributes:
      vector_NC: its top eigenvector; 0 if there is none.
      image_NC: what its kernel makes of a random vector; 0 if that is not known.
    """

    vector_NC: jax.Array
    image_NC: jax.Array


@dataclasses.dataclass(frozen=True)
class Task:
    """What is looked for.

    Attributes:
      linearised: the network.
      mask_NC: float32, 1 for outputs that count and 0 for others, outputs flattened per example.
      starts_MNC: random start vectors of the M eigenvalues wanted, masked.
      random_NC: a vector drawn independently of them, masked.
      warm_LNC: vectors near every layer's top eigenvector; None, or 0 where none is known.
      tolerance: relative residual at which an eigenvalue is accepted.
      max_iterations: kernel products for one eigenvalue at most.
      vectors_at_once: cotangents of the whole batch that are pulled side by side.
      explicit_bytes: memory for the gradients of one layer, beyond which Gram matrices are taken
        from activations and output gradients.
    """

    linearised: Linearised
    mask_NC: jax.Array
    starts_MNC: jax.Array
    random_NC: jax.Array
    warm_LNC: jax.Array | None
    tolerance: float
    max_iterations: int
    vectors_at_once: int
    explicit_bytes: float

    @property
    def layers(self) -> jax.Array:
        """All layers."""
        return jnp.arange(self.linearised.num_layers)

    def shaped(self, vector_NC: jax.Array) -> jax.Array:
        """Returns a masked vector in the shape of the outputs."""
        return (self.mask_NC * vector_NC).reshape(self.linearised.outputs.shape)

    @property
    def nothing_above(self) -> Above:
        """What the topmost layer is told."""
        return Above(jnp.zeros_like(self.mask_NC), jnp.zeros_like(self.mask_NC))

    def starts(self, layer: jax.Array, above: Above) -> jax.Array:
        """Returns a layer's start vectors, the first near its last eigenvector or the one above."""
        known_NC, image = above.vector_NC, jnp.float32(IMAGE)
        if self.warm_LNC is not None:
            warm_NC = self.mask_NC * self.warm_LNC[layer]
            is_warm = jnp.any(warm_NC != 0)
            known_NC = jnp.where(is_warm, _unit(warm_NC), known_NC)
            image = jnp.where(is_warm, IMAGE_WHEN_WARM, IMAGE)
        random = jnp.where(jnp.any(above.image_NC != 0), RANDOM, RANDOM_ALONE)
        first_NC = known_NC + image * _unit(above.image_NC) + random * _unit(self.starts_MNC[0])
        return self.starts_MNC.at[0].set(first_NC)

    def solve(
        self, product: Callable[[jax.Array], jax.Array], starts_M: jax.Array, random: jax.Array
    ) -> tuple[Eigenpair, jax.Array]:
        """Runs Lanczos on a kernel; returns its image of the random vector, too."""
        return lanczos.top_eigenpairs(
            product,
            starts_M,
            random,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )


def lanczos_method(task: Task) -> Eigenpair:
    """Runs Lanczos on every layer's kernel, from the topmost layer down.

    Args:
      task: what is looked for; `vectors_at_once` is of no effect.

    Returns:
      Eigenpairs with leading axes L, M.
    """

    def top(above: Above, layer: jax.Array) -> tuple[Above, Eigenpair]:
        kernel = task.linearised.kernel_product(layer)

        def product(vector_NC: jax.Array) -> jax.Array:
            return task.mask_NC * kernel(task.shaped(vector_NC)).reshape(task.mask_NC.shape)

        pair, image_NC = task.solve(product, task.starts(layer, above), task.random_NC)
        return Above(pair.vector[0], image_NC), pair

    return jax.lax.scan(top, task.nothing_above, task.layers, reverse=True)[1]


def sweep_method(task: Task) -> Eigenpair:
    """Pulls all outputs down once and runs Lanczos within each layer.

    Args:
      task: what is looked for.

    Returns:
      Eigenpairs with leading axes L, M.
    """

    def top(above: Above, layer: jax.Array, pulled: jax.Array) -> tuple[Above, Eigenpair]:
        product = product_within(task, layer, pulled)
        pair, image_NC = task.solve(product, task.starts(layer, above), task.random_NC)
        return Above(pair.vector[0], image_NC), pair

    return over_layers(task, top)


def gram_method(task: Task) -> Eigenpair:
    """Pulls all outputs down once and forms each layer's kernel, [N·C, N·C].

    Args:
      task: what is looked for; neither start vectors nor the cap matter to small kernels.

    Returns:
      Eigenpairs with leading axes L, M.
    """

    def top(above: Above, layer: jax.Array, pulled: jax.Array) -> tuple[Above, Eigenpair]:
        kernel = gram_of_layer(task, layer, pulled)
        starts_MD = task.starts(layer, above).reshape(-1, task.mask_NC.size)
        pair, image_D = solve_matrix(task, kernel, starts_MD, task.random_NC.reshape(-1))
        pair = _with_vectors(pair, pair.vector, task)
        return Above(pair.vector[0], image_D.reshape(task.mask_NC.shape)), pair

    return over_layers(task, top)


def parameters_method(task: Task) -> Eigenpair:
    """Pulls all outputs down once and forms each layer's Jᵀ J, [P, P].

    Args:
      task: what is looked for; neither start vectors nor the cap matter to small kernels.

    Returns:
      Eigenpairs with leading axes L, M; vectors are those of J Jᵀ.
    """

    def top(above: Above, layer: jax.Array, pulled: jax.Array) -> tuple[Above, Eigenpair]:
        jacobian = jacobian_of_layer(task, layer, pulled)
        starts_MP = task.starts(layer, above).reshape(-1, task.mask_NC.size) @ jacobian
        random_P = task.random_NC.reshape(-1) @ jacobian
        pair, image_P = solve_matrix(task, jacobian.T @ jacobian, starts_MP, random_P)
        lengths_M1 = jnp.sqrt(pair.value)[:, None]
        vectors_MD = pair.vector @ jacobian.T / jnp.where(lengths_M1 > 0, lengths_M1, 1.0)
        pair = _with_vectors(pair, vectors_MD, task)
        return Above(pair.vector[0], (jacobian @ image_P).reshape(task.mask_NC.shape)), pair

    return over_layers(task, top)


def over_layers(
    task: Task, visit: Callable[[Above, jax.Array, jax.Array], tuple[Above, Found]]
) -> Found:
    """Pulls all outputs down the network and stops at every layer.

    Args:
      task: what is looked for.
      visit: (what the layer above tells, layer, cotangents of the layer's output for every output
        of the network, [C', N, ...], of which those beyond C are 0) -> (what this layer tells the
        one below, what was found).

    Returns:
      What was found, with a leading axis L.
    """
    linearised = task.linearised

    def down(state: tuple[Any, Any], layer: jax.Array) -> tuple[tuple[Any, Any], Found]:
        above, pulled = state
        above, found = visit(above, layer, pulled)

        def pull(pulled: jax.Array) -> jax.Array:
            return in_chunks(task, lambda one: linearised.pull(layer, one), pulled)

        pulled = jax.lax.cond(layer > 0, pull, lambda pulled: pulled, pulled)
        return (above, pulled), found

    pulled = in_chunks(task, lambda place: pull_output(task, place), jnp.arange(padded_count(task)))
    state = (task.nothing_above, pulled)
    return jax.lax.scan(down, state, task.layers, reverse=True)[1]


def pull_output(task: Task, place: jax.Array) -> jax.Array:
    """Pulls one output of every example down to the last block; 0 for a place beyond C."""
    one_NC = jnp.zeros_like(task.mask_NC).at[:, place].set(1.0, mode="drop")
    return task.linearised.pull_readout(task.shaped(one_NC))


def padded_count(task: Task) -> int:
    """Returns C', the number of outputs filled up to whole chunks of equal size."""
    count = task.mask_NC.shape[1]
    chunks = -(-count // task.vectors_at_once)
    return chunks * -(-count // chunks)


def in_chunks(task: Task, function: Callable[[jax.Array], jax.Array], items: jax.Array) -> Any:
    """Maps over as many vectors at once as there is memory for."""
    count = len(items)
    chunks = -(-task.mask_NC.shape[1] // task.vectors_at_once)
    if chunks == 1:
        return jax.vmap(function)(items)
    return jax.lax.map(function, items, batch_size=count // chunks)


def product_within(
    task: Task, layer: jax.Array, pulled: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Returns v_NC -> Θ_l v from the cotangents of a layer's output."""
    to_row, from_row = task.linearised.row_maps(layer)
    missing = len(pulled) - task.mask_NC.shape[1]

    def product(vector_NC: jax.Array) -> jax.Array:
        filled_NC = jnp.pad(vector_NC, ((0, 0), (0, missing)))
        hidden = jnp.einsum("nc,cn...->n...", filled_NC, pulled)
        moved_NC = jnp.einsum("n...,cn...->nc", from_row(to_row(hidden)), pulled)
        return moved_NC[:, : vector_NC.shape[1]]

    return product


def jacobian_of_layer(task: Task, layer: jax.Array, pulled: jax.Array) -> jax.Array:
    """Returns J of a layer, [N·C, P], from the cotangents of its output."""
    parts = _factors(task, layer, pulled)
    pairs = zip(parts.received, parts.given, strict=True)
    maps = [factors.gradient_of_map(*pair) for pair in pairs]
    jacobian = jnp.concatenate([*maps, _flat(parts.others_CP)], axis=1)
    examples, count = task.mask_NC.shape
    jacobian = jacobian.reshape(examples, len(pulled), jacobian.shape[1])
    return jacobian[:, :count].reshape(examples * count, jacobian.shape[2])


def trace_of_layer(task: Task, layer: jax.Array, pulled: jax.Array) -> jax.Array:
    """Returns the trace of a layer's kernel, [], from the cotangents of its output."""

    def squared_length(one: jax.Array) -> jax.Array:
        parts = _factors(task, layer, one[None])
        total = jnp.sum(parts.others_CP**2)
        for received, given in zip(parts.received, parts.given, strict=True):
            # |Σ_t a_t g_tᵀ|² is Σ_ts (a_t·a_s)(g_t·g_s): no gradient of one example is formed.
            alike = jnp.einsum("nti,nsi->nts", received, received)
            total += jnp.einsum("nts,ncto,ncso->", alike, given, given)
        return total

    return jnp.sum(in_chunks(task, squared_length, pulled))


def gram_of_layer(task: Task, layer: jax.Array, pulled: jax.Array) -> jax.Array:
    """Returns the kernel of a layer, [N·C, N·C], from the cotangents of its output."""
    parts = _factors(task, layer, pulled)
    total = _flat(parts.others_CP) @ _flat(parts.others_CP).T
    for received, given in zip(parts.received, parts.given, strict=True):
        explicit = _takes_explicit(received.shape, given.shape, task.explicit_bytes)
        total = total + factors.gram_of_map(received, given, explicit=explicit)
    examples, count = task.mask_NC.shape
    total = total.reshape(examples, pulled.shape[0], examples, pulled.shape[0])
    return total[:, :count, :, :count].reshape(examples * count, -1)


def _takes_explicit(received: tuple[int, ...], given: tuple[int, ...], most_bytes: float) -> bool:
    """Tells whether a linear map's gradients are formed for its Gram matrix.

    Args:
      received: shape of its activations, [N, T, in].
      given: shape of the gradients of what it gave, [N, C, T, out].
      most_bytes: memory for them.

    Returns:
      True if they fit and cost fewer operations than going without them.
    """
    examples, tokens, wide = received
    _, cotangents, _, out = given
    rows = examples * cotangents
    formed = rows * tokens * wide * out + rows**2 * wide * out
    without = (examples * tokens) ** 2 * wide + (rows * tokens) ** 2 * out
    return 4 * rows * wide * out <= most_bytes and formed <= without


def _factors(task: Task, layer: jax.Array, pulled: jax.Array) -> factors.Factors:
    """Returns a layer's gradients in factors, leading axis N."""
    network = task.linearised.network
    row, frozen_row = network.rows_at(layer)
    axes = network.context_axes

    def of_example(hidden: jax.Array, context: Any, cotangents_C: jax.Array) -> factors.Factors:
        def output(row: Any) -> jax.Array:
            alone = _with_example_axis(context, axes)
            return network.block(row, frozen_row, hidden[None], alone)[0]

        return factors.factors(output, row, cotangents_C)

    hidden = units.row_at(task.linearised.inputs_L, layer)
    return jax.vmap(of_example, in_axes=(0, axes, 1))(hidden, network.context, pulled)


def _with_example_axis(context: Any, axes: Any) -> Any:
    def add(axis: int | None, part: Any) -> Any:
        return part if axis is None else jax.tree.map(lambda leaf: leaf[None], part)

    return jax.tree.map(add, axes, context, is_leaf=lambda leaf: leaf is None)


def solve_matrix(
    task: Task, matrix_DD: jax.Array, starts_MD: jax.Array, random_D: jax.Array
) -> tuple[Eigenpair, jax.Array]:
    """Finds the eigenvalues of a kernel that is known, and its image of a random vector, [D]."""
    if len(matrix_DD) <= SMALL_MATRIX:
        pairs = lanczos.eigenpairs_of_matrix(matrix_DD, len(starts_MD))
        return pairs, matrix_DD @ random_D
    return task.solve(lambda vector: matrix_DD @ vector, starts_MD, random_D)


def _with_vectors(pair: Eigenpair, vectors_MD: jax.Array, task: Task) -> Eigenpair:
    shaped = vectors_MD.reshape(-1, *task.mask_NC.shape)
    return Eigenpair(pair.value, shaped, pair.residual, pair.iterations)


def _flat(gradients_NCP: jax.Array) -> jax.Array:
    examples, cotangents, size = gradients_NCP.shape
    return gradients_NCP.reshape(examples * cotangents, size)


def _unit(vector_NC: jax.Array) -> jax.Array:
    length = jnp.linalg.norm(vector_NC)
    return vector_NC / jnp.where(length > 0, length, 1.0)


METHODS: dict[str, Callable[[Task], Eigenpair]] = {
    "lanczos": lanczos_method,
    "sweep": sweep_method,
    "gram": gram_method,
    "parameters": parameters_method,
}
"""Every method by name: task -> eigenpairs with leading axes L, M."""
