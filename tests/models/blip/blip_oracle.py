"""What our BLIP gives, under the names that torch's results have in tests/parity/torch_blip.py."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.models import base, family_of
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip import model as grounded
from f3ocus_jax.models.blocks import bert_decoder, layers
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.losses import binary_cross_entropy, masked_mean
from f3ocus_jax.types import Batch, Params


def run(
    spec: Any, params: Params, batch: Batch, answers: tuple[np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns question_BTD, logits_BC, logits_BTV, the loss, and its gradients by their names."""
    family = family_of(spec)
    model = family.make_model(spec)

    def objective(params: Params) -> tuple[jax.Array, dict[str, jax.Array]]:
        outputs = forward(spec, model, params, batch, answers)
        of_head = binary_cross_entropy(outputs["logits_BC"], batch.labels_B)
        loss = masked_mean(of_head, batch) + decoder_loss(outputs["logits_BTV"], *answers)
        return loss, outputs

    (loss, outputs), gradients = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    theirs = layout.to_huggingface(
        family.tensors(spec.config), family.to_submodules(spec, gradients)
    )
    theirs |= head_tensors(gradients["head"]["answers"])
    named = {f"gradient.{name}": value for name, value in theirs.items()}
    return {**outputs, **named, "loss": np.asarray(loss)}


def forward(
    spec: Any, model: Model, params: Params, batch: Batch, answers: tuple[np.ndarray, np.ndarray]
) -> dict[str, jax.Array]:
    hidden, context = model.embed(params["embeddings"], batch)

    def step(hidden: jax.Array, row: Params) -> tuple[jax.Array, None]:
        return model.block(*row, hidden, context), None

    hidden, _ = jax.lax.scan(step, hidden, (params["blocks"], params["adapters"]))
    question_BTD = grounded.encode_question(spec, params["readout"], hidden, context)
    mask_bias = layers.padding_bias(jnp.asarray(batch.attention_mask_BT))
    logits_BTV, _ = bert_decoder.prefill(
        spec.config.decoder_config,
        params["readout"]["decoder"],
        answers[0],
        question_BTD,
        mask_bias,
    )
    logits_BC = base.apply(model, params, batch)
    return {"question_BTD": question_BTD, "logits_BC": logits_BC, "logits_BTV": logits_BTV}


def decoder_loss(logits_BTV: jax.Array, ids_BT: np.ndarray, mask_BT: np.ndarray) -> jax.Array:
    """Mean over tokens of the negative log-probability of each token after the first."""
    log_probability = jax.nn.log_softmax(logits_BTV[:, :-1])
    picked = jnp.take_along_axis(log_probability, ids_BT[:, 1:, None], axis=-1)[..., 0]
    return -jnp.sum(picked * mask_BT[:, 1:]) / np.sum(mask_BT[:, 1:])


def head_tensors(head: Params) -> dict[str, np.ndarray]:
    """The answer head by the names that torch's Sequential gives it."""
    return {
        "answer_head.0.weight": head["hidden"]["kernel"].T,
        "answer_head.0.bias": head["hidden"]["bias"],
        "answer_head.1.weight": head["norm"]["scale"],
        "answer_head.1.bias": head["norm"]["bias"],
        "answer_head.3.weight": head["answers"]["kernel"].T,
        "answer_head.3.bias": head["answers"]["bias"],
    }
