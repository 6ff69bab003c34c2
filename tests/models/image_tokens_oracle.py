"""What our LLaVA or SmolVLM gives, named as torch's results are in tests/parity/torch_llava.py."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.models import base, family_of, image_tokens
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.llava import model as llava
from f3ocus_jax.models.losses import binary_cross_entropy, masked_mean
from f3ocus_jax.models.smolvlm import model as smolvlm
from f3ocus_jax.types import Batch, Params
from tests.models.blip.blip_oracle import head_tensors

READERS = {"llava": llava.READER, "smolvlm": smolvlm.READER}


def run(spec: Any, params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """Returns hidden_BTD, logits_BTV, logits_BC, the loss, and its gradients by their names."""
    family = family_of(spec)
    model = family.make_model(spec)

    def objective(params: Params) -> tuple[jax.Array, dict[str, jax.Array]]:
        outputs = forward(spec, model, params, batch)
        of_head = binary_cross_entropy(outputs["logits_BC"], batch.labels_B)
        of_text = text_loss(spec, outputs["logits_BTV"], batch)
        return masked_mean(of_head, batch) + of_text, outputs

    (loss, outputs), gradients = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    theirs = layout.to_huggingface(
        family.tensors(spec.config), family.to_submodules(spec, gradients)
    )
    theirs |= head_tensors(gradients["head"]["answers"])
    named = {f"gradient.{name}": value for name, value in theirs.items()}
    _, mask_BT = expand(batch, spec.config.image_token, spec.config.image_tokens)
    seen = {name: np.where(mask_BT[..., None] > 0, outputs[name], 0) for name in SEEN}
    return {**outputs, **seen, **named, "loss": np.asarray(loss)}


SEEN = ("hidden_BTD", "logits_BTV")
"""What is compared where there is no padding, which torch hides and a causal mask ignores."""


def forward(spec: Any, model: Model, params: Params, batch: Batch) -> dict[str, jax.Array]:
    hidden, context = model.embed(params["embeddings"], batch)

    def step(hidden: jax.Array, row: Params) -> tuple[jax.Array, None]:
        return model.block(*row, hidden, context), None

    hidden, _ = jax.lax.scan(step, hidden, (params["blocks"], params["adapters"]))
    hidden_BTD = image_tokens.encode(READERS[spec.family], spec, params["readout"], hidden, context)
    score = image_tokens.make_language_model(spec.config).logits
    return {
        "hidden_BTD": hidden_BTD,
        "logits_BTV": score(params["embeddings"]["words"], params["readout"], hidden_BTD),
        "logits_BC": base.apply(model, params, batch),
    }


def expand(batch: Batch, image_token: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeats the image's token in (ids_BT, mask_BT), as transformers' processor does."""
    ids_BT, mask_BT = np.asarray(batch.input_ids_BT), np.asarray(batch.attention_mask_BT)
    repeats_BT = np.where(ids_BT == image_token, tokens, 1)
    repeated = [
        [np.repeat(row, count) for row, count in zip(rows_BT, repeats_BT, strict=True)]
        for rows_BT in (ids_BT, mask_BT)
    ]
    return np.stack(repeated[0]), np.stack(repeated[1])


def text_loss(spec: Any, logits_BTV: jax.Array, batch: Batch) -> jax.Array:
    """Mean over the question's tokens behind its first of their negative log-probability."""
    ids_BT, mask_BT = expand(batch, spec.config.image_token, spec.config.image_tokens)
    counted_BT = mask_BT[:, 1:] * (ids_BT[:, 1:] != spec.config.image_token)
    log_probability = jax.nn.log_softmax(logits_BTV[:, :-1])
    picked = jnp.take_along_axis(log_probability, ids_BT[:, 1:, None], axis=-1)[..., 0]
    return -jnp.sum(picked * counted_BT) / counted_BT.sum()
