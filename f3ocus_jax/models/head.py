"""How is an answer read off a pooled state? One hidden layer and a class per answer."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data import answers as answers_lib
from f3ocus_jax.models import modules
from f3ocus_jax.models.activations import gelu
from f3ocus_jax.types import Params

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
    """Draws a fresh answer head.

    Args:
      key: typed random key.
      num_answers: C.
      width: D, of the pooled state.

    Returns:
      Parameters of an `AnswerHead`.
    """
    return modules.draw(AnswerHead(num_answers), key, jnp.zeros((1, width)))


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
