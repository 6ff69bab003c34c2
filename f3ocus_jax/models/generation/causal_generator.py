"""How does a model that reads from left to right write behind its question?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import causal_attention
from f3ocus_jax.models.blocks.causal_attention import Language
from f3ocus_jax.models.generation.generator import GenerationState, Writer
from f3ocus_jax.types import Batch, Params

Begin = Callable[[Params, Batch], tuple[jax.Array, jax.Array]]
"""(parameters, batch without answers) -> (input of the language model's first block, last_B: where
the question's last token is in it)."""


def behind(
    words: Params, text_BTD: jax.Array, mask_BT: jax.Array, answer_ids_BA: jax.Array
) -> jax.Array:
    """Puts all tokens of answers but their last, which nothing follows, behind questions.

    Args:
      words: the language model's part of that name.
      text_BTD: the questions' tokens.
      mask_BT: 1 for a token of them and 0 for padding.
      answer_ids_BA: the answers.

    Returns:
      [B, T + A - 1, D].
    """
    answer_BAD = jnp.take(words["word"], answer_ids_BA[:, :-1], axis=0)
    return causal_attention.append(text_BTD, answer_BAD, jnp.sum(mask_BT, axis=1, dtype=jnp.int32))


def answer_scores(
    language: Language,
    above: Params,
    words: Params,
    hidden_BTD: jax.Array,
    last_B: jax.Array,
    length: int,
) -> jax.Array:
    """Scores the tokens of answers that were read behind their questions.

    Args:
      language: the model.
      above: its parts above the blocks.
      words: the part of that name.
      hidden_BTD: normed, of question and answer.
      last_B: int32, where the question's last token is, which the answer's first one follows.
      length: A.

    Returns:
      logits_BAV.
    """
    places_BA = last_B[:, None] + jnp.arange(length)[None]
    places_BA = jnp.minimum(places_BA, hidden_BTD.shape[1] - 1)
    taken_BAD = jnp.take_along_axis(hidden_BTD, places_BA[..., None], axis=1)
    return language.score(words, above, taken_BAD)


def writer(
    language: Language, begin: Begin, *, is_selectable: bool, end: int, padding: int
) -> Writer:
    """Makes the writer of such a model.

    Args:
      language: its language model.
      begin: what is done below that.
      is_selectable: whether its blocks are the rows of the selectable stack.
      end: the token that ends an answer.
      padding: the token behind the end.

    Returns:
      The writer.
    """

    def rows(params: Params) -> Params:
        if is_selectable:
            return {key: params[key] for key in ("blocks", "adapters", "lora") if key in params}
        return {"blocks": params["readout"]["language_blocks"], "adapters": {}}

    def score(params: Params, hidden_BTD: jax.Array) -> jax.Array:
        above, words = params["readout"], params["embeddings"]["words"]
        hidden_BTD = language.norm(above["language_norm"], hidden_BTD)
        return language.score(words, above, hidden_BTD)

    def start(params: Params, batch: Batch, room: int) -> tuple[jax.Array, GenerationState]:
        batch = batch.replace(  # type: ignore[attr-defined]
            answer_ids_BA=None, answer_mask_BA=None
        )
        hidden_BTD, last_B = begin(params, batch)
        hidden_BTD, cache_L = causal_attention.read(language, rows(params), hidden_BTD, room)
        last_B1D = jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)
        return score(params, last_B1D)[:, 0], GenerationState(cache_L, (), last_B + 1)

    def proceed(
        params: Params, memory: GenerationState, ids_BT: jax.Array
    ) -> tuple[jax.Array, GenerationState]:
        words, place_B = params["embeddings"]["words"], memory.place_B
        positions_BT = place_B[:, None] + jnp.arange(ids_BT.shape[1])[None]
        hidden_BTD = jnp.take(words["word"], ids_BT, axis=0)
        hidden_BTD = language.enter(words, hidden_BTD, positions_BT)
        hidden_BTD, cache_L = causal_attention.proceed(
            language, rows(params), hidden_BTD, memory.cache_L, place_B
        )
        return score(params, hidden_BTD), GenerationState(cache_L, (), place_B + ids_BT.shape[1])

    return Writer(start, proceed, end, padding)
