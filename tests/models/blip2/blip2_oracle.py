"""What our BLIP-2 gives, named as torch's results are in tests/parity/torch_blip2.py."""

from typing import Any

import jax
import numpy as np

from f3ocus_jax.models import FAMILIES, base
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.losses import binary_cross_entropy, masked_mean
from f3ocus_jax.types import Batch, Params
from tests.models.blip.blip_oracle import head_tensors

FAMILY = FAMILIES["blip2"]


def run(spec: Any, params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """Returns logits_BC, the loss, and its gradients by their names."""
    model = FAMILY.make_model(spec)

    def objective(params: Params) -> tuple[jax.Array, jax.Array]:
        logits_BC = base.apply(model, params, batch)
        return masked_mean(binary_cross_entropy(logits_BC, batch.labels_B), batch), logits_BC

    (loss, logits_BC), gradients = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    theirs = layout.to_huggingface(
        FAMILY.tensors(spec.config), FAMILY.to_submodules(spec, gradients)
    )
    theirs |= head_tensors(gradients["head"]["answers"])
    named = {f"gradient.{name}": value for name, value in theirs.items()}
    return {**named, "logits_BC": np.asarray(logits_BC), "loss": np.asarray(loss)}
