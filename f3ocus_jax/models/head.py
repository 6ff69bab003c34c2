"""How are answers and findings read off a pooled state? A small network for each.

A model's `head` has an entry for every kind of task in the federation: `ANSWERS`, `FINDINGS` or
both. A client trains, sends and gets that of its own task.
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
"""A client's task to the entry of the head that it trains, in the order of the outputs."""

NORM_EPSILON = 1e-5
"""Of the LayerNorm in the head, which has torch's default in every family."""


class AnswerHead(nn.Module):
    """The answer head of ViLT, used by every family (Kim et al., 2021).

    Attributes:
      num_answers: C.
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
      key: typed random key.
      num_answers: classes; no head for 0.
      width: D, of the pooled state.

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
      heads: entry to parameters; an entry may be absent.
      old: entry to the classes it has.
      new: entry to the classes it shall have; none for a head that is not wanted.
      width: D, of the pooled state.
      key: typed random key, for what is absent.

    Returns:
      The wanted heads: those that are there keep what `align` keeps, the others are fresh.
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
    """Reads everything that the heads are for.

    Args:
      heads: entry to parameters of an `AnswerHead`.
      pooled_BD: float32.

    Returns:
      logits_BC: one class per answer, then one per finding.
    """
    logits = [
        modules.apply(AnswerHead(classes(heads[name])), heads[name], pooled_BD)
        for name in OF_TASK.values()
        if name in heads
    ]
    return logits[0] if len(logits) == 1 else jnp.concatenate(logits, axis=-1)


def classes(head: Params) -> int:
    """Returns how many classes an `AnswerHead` has."""
    return head["answers"]["bias"].shape[-1]


def split(logits_BC: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array | None]:
    """Separates a model's outputs.

    Args:
      logits_BC: from `read`.
      batch: the examples they are of.

    Returns:
      (those of the answers, those of the findings or None); that of the answers has no class where
      the model has findings only.
    """
    if batch.targets_BF is None:
        return logits_BC, None
    answers = logits_BC.shape[-1] - batch.targets_BF.shape[-1]
    return logits_BC[..., :answers], logits_BC[..., answers:]


def asked(batch: Batch, outputs: int) -> jax.Array:
    """Tells which of a model's outputs an example is asked for.

    Args:
      batch: B examples.
      outputs: C.

    Returns:
      float32 [B, C], or [B, 1] where it is the same for all outputs: 0 for those of another task,
      for findings not asked about, and for padding.
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
      head: of an `AnswerHead`.
      old_answers: its classes.
      new_answers: the classes it shall have.
      key: typed random key, for the classes it lacks.

    Returns:
      A head whose last map keeps its weights for every answer in both lists, matched by their
      normalised text, and has fresh ones for the others; all else is kept.
    """
    if tuple(old_answers) == tuple(new_answers):
        return head
    known = {answers_lib.normalise(answer): place for place, answer in enumerate(old_answers)}
    places = [known.get(answers_lib.normalise(answer), -1) for answer in new_answers]
    kernel_DC, bias_C = head["answers"]["kernel"], head["answers"]["bias"]
    is_known_C, places_C = np.array(places) >= 0, np.maximum(places, 0)
    fresh_DC = nn.initializers.lecun_normal()(key, (kernel_DC.shape[0], len(places)))
    answers = {
        "kernel": jnp.where(is_known_C[None], kernel_DC[:, places_C], fresh_DC),
        "bias": jnp.where(is_known_C, bias_C[places_C], 0.0),
    }
    return {**head, "answers": answers}
