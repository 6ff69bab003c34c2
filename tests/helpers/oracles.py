"""References that are slow and obviously right, and a small model to try them on."""

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data.examples import Examples
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch


def toy_model(*, layers: int = 4, width: int = 8, answers: int = 3, tokens: int = 5) -> Model:
    """A residual network over token embeddings with a bottleneck adapter in every block."""

    def init(key: jax.Array) -> dict:
        keys = iter(jax.random.split(key, 8))

        def normal(*shape: int, scale: float = 0.4) -> jax.Array:
            return scale * jax.random.normal(next(keys), shape)

        return {
            "embeddings": {"words": normal(16, width, scale=1.0), "pixel": normal(3, width)},
            "blocks": {"in": normal(layers, width, width), "out": normal(layers, width, width)},
            "adapters": {"down": normal(layers, width, 2), "up": normal(layers, 2, width)},
            "readout": {"scale": 1.0 + normal(width)},
            "head": {"answers": {"kernel": normal(width, answers), "bias": jnp.zeros(answers)}},
        }

    def embed(embeddings: dict, batch: Batch) -> tuple[jax.Array, jax.Array]:
        pixels_B3 = jnp.mean(batch.images_BHWC.astype(jnp.float32) / 255.0, axis=(1, 2))
        hidden_BTD = embeddings["words"][batch.input_ids_BT]
        hidden_BTD = hidden_BTD + (pixels_B3 @ embeddings["pixel"])[:, None, :]
        return hidden_BTD, batch.attention_mask_BT.astype(jnp.float32)[..., None]

    def block(block: dict, adapter: dict, hidden_BTD: jax.Array, mask_BT1: jax.Array) -> jax.Array:
        inner_BTD = jnp.tanh(hidden_BTD @ block["in"]) @ block["out"]
        mixed_B1D = jnp.mean(mask_BT1 * hidden_BTD, axis=1, keepdims=True)
        inner_BTD = inner_BTD + jax.nn.relu(inner_BTD @ adapter["down"]) @ adapter["up"]
        return hidden_BTD + 0.5 * (inner_BTD + jnp.tanh(mixed_B1D))

    def readout(readout: dict, head: dict, hidden_BTD: jax.Array, mask_BT1: jax.Array) -> jax.Array:
        pooled_BD = jnp.tanh(hidden_BTD[:, 0]) * readout["scale"][None]
        return pooled_BD @ head["answers"]["kernel"] + head["answers"]["bias"][None]

    del tokens
    return Model(layers, answers, init, embed, block, readout)


def toy_batch(examples: int, *, tokens: int = 5, answers: int = 3, seed: int = 0) -> Batch:
    """Random images, questions and answers; every question but the first has padding."""
    draw = np.random.default_rng(seed)
    mask_BT = np.ones((examples, tokens), np.int32)
    mask_BT[1:, -2:] = 0
    return Batch(
        images_BHWC=draw.integers(0, 256, (examples, 4, 4, 3)).astype(np.uint8),
        input_ids_BT=draw.integers(0, 16, (examples, tokens)).astype(np.int32),
        attention_mask_BT=mask_BT,
        labels_B=draw.integers(0, answers, examples).astype(np.int32),
        example_mask_B=np.ones(examples, np.float32),
    )


def toy_examples(count: int, seed: int = 0) -> Examples:
    """The examples of a toy batch, of which every third has an unknown answer."""
    batch = toy_batch(count, seed=seed)
    text = [f"{seed} {place}" for place in range(count)]
    return Examples(
        np.asarray(batch.images_BHWC),
        np.asarray(batch.input_ids_BT),
        np.asarray(batch.attention_mask_BT),
        np.where(np.arange(count) % 3 == 0, -1, batch.labels_B).astype(np.int32),
        *(text,) * 5,
    )


def dense_kernel(jacobian: dict, outputs: int) -> np.ndarray:
    """J Jᵀ in float64 from a pytree of Jacobians whose first two axes are [N, C]."""
    leaves = [
        np.asarray(leaf, np.float64).reshape(outputs, -1) for leaf in jax.tree.leaves(jacobian)
    ]
    matrix = np.concatenate(leaves, axis=1)
    return matrix @ matrix.T


def kernel_with(eigenvalues: list[float], seed: int = 0) -> np.ndarray:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return rotation @ np.diag(eigenvalues) @ rotation.T
