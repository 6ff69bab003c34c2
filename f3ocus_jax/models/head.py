"""Heads for answers and findings: a small network over a pooled state for each.

A model's `head` has an entry for every kind of task in the federation: `ANSWERS`, `FINDINGS` or
both. A client trains, sends and receives the entry of its own task.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data import answers as answers_lib
from f3ocus_jax.models.blocks import modules
from f3ocus_jax.models.blocks.activations import gelu
from f3ocus_jax.types import Batch, Params
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING

ANSWERS, FINDINGS = "answers", "findings"
OF_TASK = {QUESTION_ANSWERING: ANSWERS, CLASSIFICATION: FINDINGS}
"""Task of a client to the entry of the head that it trains, in the order of the outputs."""

NORM_EPSILON = 1e-5
"""Epsilon of the head's LayerNorm, torch's default in every family."""


class AnswerHead(nn.Module):
    """The answer head of ViLT, used by every family (Kim et al., 2021).

    Attributes:
      num_answers: Number of classes, C.
    """

    num_answers: int

    @nn.compact
    def __call__(self, pooled_BD: jax.Array) -> jax.Array:
        """Returns logits_BC."""
        inner = nn.Dense(2 * pooled_BD.shape[-1], name="hidden")(pooled_BD)
        inner = nn.LayerNorm(NORM_EPSILON, use_fast_variance=False, name="norm")(inner)
        inner = gelu(inner)
        return nn.Dense(self.num_answers, name="answers")(inner)


def init(key: jax.Array, *, num_answers: int, width: int) -> Params:
    """Draws a fresh head for answers alone.

    Args:
      key: Typed random key.
      num_answers: Number of classes; no head for 0.
      width: Width of the pooled state, D.

    Returns:
      Entry to parameters of an `AnswerHead`.
    """
    if not num_answers:
        return {}
    return {ANSWERS: modules.init(AnswerHead(num_answers), key, jnp.zeros((1, width)))}


def fit(
    heads: Params,
    old: Mapping[str, Sequence[str]],
    new: Mapping[str, Sequence[str]],
    *,
    width: int,
    key: jax.Array,
) -> Params:
    """Gives a model the heads of a federation.

    Args:
      heads: Entry to parameters; an entry may be absent.
      old: Entry to the classes of its head.
      new: Entry to the classes of the head in the result; no head without classes.
      width: Width of the pooled state, D.
      key: Typed random key of absent heads.

    Returns:
      Heads of the new classes: an existing head goes through `align`, an absent one is drawn.
    """
    keys = {ANSWERS: key, FINDINGS: jax.random.fold_in(key, 1)}
    wanted = {}
    for name, names in new.items():
        if not names:
            continue
        if name in heads:
            wanted[name] = align(heads[name], old[name], names, keys[name])
        else:
            fresh = modules.init(AnswerHead(len(names)), keys[name], jnp.zeros((1, width)))
            wanted[name] = fresh
    return wanted


def read(heads: Params, pooled_BD: jax.Array) -> jax.Array:
    """Applies all heads.

    Args:
      heads: Entry to parameters of an `AnswerHead`.
      pooled_BD: Pooled states, float32.

    Returns:
      logits_BC, one class per answer, then one per finding; the pooled states without any head.
    """
    if not heads:
        return pooled_BD
    logits = [
        modules.apply(AnswerHead(classes(heads[name])), heads[name], pooled_BD)
        for name in OF_TASK.values()
        if name in heads
    ]
    return logits[0] if len(logits) == 1 else jnp.concatenate(logits, axis=-1)


def classes(head: Params) -> int:
    """Returns the number of classes of an `AnswerHead`."""
    return head["answers"]["bias"].shape[-1]


def split(logits_BC: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array | None]:
    """Separates the logits of answers and findings.

    Args:
      logits_BC: Logits of `read`.
      batch: Examples of the logits.

    Returns:
      (logits of the answers, logits of the findings or None); those of the answers have no class if
      the model has findings only.
    """
    if batch.targets_BF is None:
        return logits_BC, None
    answers = logits_BC.shape[-1] - batch.targets_BF.shape[-1]
    return logits_BC[..., :answers], logits_BC[..., answers:]


def asked(batch: Batch, outputs: int) -> jax.Array:
    """Returns a mask of the outputs that an example is asked for.

    Args:
      batch: B examples.
      outputs: Number of outputs, C.

    Returns:
      float32 [B, C], or [B, 1] if it is the same for all outputs: 0 for outputs of another task,
      for findings that are not asked about, and for padding.
    """
    mask_B1 = jnp.asarray(batch.example_mask_B)[:, None]
    if batch.targets_BF is None:
        return mask_B1
    findings_BF = jnp.asarray(batch.targets_BF) >= 0
    answers_B1 = ~findings_BF.any(axis=-1, keepdims=True)
    answers = outputs - findings_BF.shape[-1]
    return mask_B1 * jnp.concatenate([jnp.repeat(answers_B1, answers, 1), findings_BF], axis=1)


def align(
    head: Params, old_answers: Sequence[str], new_answers: Sequence[str], key: jax.Array
) -> Params:
    """Gives an answer head other classes.

    Args:
      head: Parameters of an `AnswerHead`.
      old_answers: Classes of the head.
      new_answers: Classes of the result.
      key: Typed random key of classes that the head lacks.

    Returns:
      A head whose last layer keeps its weights for the answers in both lists, matched by normalised
      text, and has fresh weights for the others; the other layers are kept.
    """
    if tuple(old_answers) == tuple(new_answers):
        return head
    known = {answers_lib.normalise(answer): index for index, answer in enumerate(old_answers)}
    indices = [known.get(answers_lib.normalise(answer), -1) for answer in new_answers]
    kernel_DC, bias_C = head["answers"]["kernel"], head["answers"]["bias"]
    is_known_C, index_C = np.array(indices) >= 0, np.maximum(indices, 0)
    fresh_DC = nn.initializers.lecun_normal()(key, (kernel_DC.shape[0], len(indices)))
    answers = {
        "kernel": jnp.where(is_known_C[None], kernel_DC[:, index_C], fresh_DC),
        "bias": jnp.where(is_known_C, bias_C[index_C], 0.0),
    }
    return {**head, "answers": answers}
