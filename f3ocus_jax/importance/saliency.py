"""Saliency scores from a client's gradients.

Each function is one published score of single parameters, summed or averaged over a layer's
elements, as `reduction` says. θ are the layer's parameters, ḡ the gradient of the mean loss over
all probe examples, H the Hessian of that loss.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import probe as probe_lib
from f3ocus_jax.importance.probe import Probe
from f3ocus_jax.importance.score import norms, per_layer, products, squares
from f3ocus_jax.types import Rows


def snip(probe: Probe) -> jax.Array:
    """Returns Σ |θ · ḡ|, first-order change of the loss without a weight (Lee et al. 2019).

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, >= 0, in nats.
    """
    saliency = products(probe.rows_L, probe.gradient(probe.batch))
    return per_layer(jax.tree.map(jnp.abs, saliency), probe.reduction)


def grasp(probe: Probe) -> jax.Array:
    """Returns Σ θ · (H ḡ), fall of the gradient's norm without the layer.

    Wang et al. (2020) score −θ · (H g) and remove the largest; with the sign turned, the largest
    is kept. Their temperature on the logits is left at 1.

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, of either sign.
    """
    return per_layer(products(probe.rows_L, probe.hessian_gradient()), probe.reduction)


def gradflow(probe: Probe) -> jax.Array:
    """Returns ‖ḡ_l‖₂, gradient flow into a layer (Lubana and Dick 2021).

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, >= 0.
    """
    return norms(probe.gradient(probe.batch), probe.reduction)


def squared_gradient(probe: Probe) -> jax.Array:
    """Returns ‖ḡ_l‖₂², the gain of a small step of the layer (Sun et al. 2024).

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, >= 0.
    """
    return per_layer(squares(probe.gradient(probe.batch)), probe.reduction)


def gradflow_preserve(probe: Probe) -> jax.Array:
    """Returns |Σ θ · (H ḡ)|, the change of gradient flow in either direction.

    Lubana and Dick (2021) keep what changes it most: `grasp` without its sign.

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, >= 0.
    """
    return jnp.abs(grasp(probe))


def fishmask(probe: Probe) -> jax.Array:
    """Returns the mean over examples of ‖g_{n,l}‖₂², the empirical Fisher (Sung et al. 2021).

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, >= 0.
    """

    def square(gradient: Rows) -> jax.Array:
        return per_layer(squares(gradient), probe.reduction)

    return probe.mean_over(probe_lib.singles(probe.batch), square)


def rgn(probe: Probe) -> jax.Array:
    """Returns the mean over batches of ‖g_l‖₂ / ‖θ_l‖₂, the relative gradient norm.

    Lee et al. (2023), surgical fine-tuning. The ratio is the same for both reductions. A layer
    whose parameters are all 0 has none, and gets 0.

    Args:
      probe: Layers and probe examples of one client.

    Returns:
      values_L, >= 0.
    """
    size_L = norms(probe.rows_L, probe.reduction)

    def relative(gradient: Rows) -> jax.Array:
        ratio_L = norms(gradient, probe.reduction) / jnp.where(size_L > 0, size_L, 1.0)
        return jnp.where(size_L > 0, ratio_L, 0.0)

    return probe.mean_over(probe.batches_J, relative)
