"""How likely is a text, token by token, given an encoded question? A decoder of BERT's blocks."""

import jax
import jax.numpy as jnp

from f3ocus_jax.models import bert, modules
from f3ocus_jax.models.bert import TextConfig, TokenScores
from f3ocus_jax.types import Params


def init(config: TextConfig, key: jax.Array, states_width: int) -> Params:
    """Draws a fresh decoder.

    Args:
      config: its sizes.
      key: typed random key.
      states_width: of the states it looks at.

    Returns:
      Embeddings, blocks with a leading layer axis, and the map to scores.
    """
    of_words, of_blocks, of_scores = jax.random.split(key, 3)
    embeddings = bert.init_embeddings(config, of_words)
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    return {
        "embeddings": embeddings,
        "blocks": bert.init_blocks(config, of_blocks, config.num_hidden_layers, states_width),
        "scores": modules.draw(TokenScores(config), of_scores, hidden_BTD, embeddings["word"]),
    }


def token_scores(
    config: TextConfig,
    params: Params,
    ids_BT: jax.Array,
    mask_BT: jax.Array,
    states_BSD: jax.Array,
    states_bias: jax.Array | None,
) -> jax.Array:
    """Scores the token that follows each token of a text, which sees those before it.

    Args:
      config: sizes.
      params: of a decoder.
      ids_BT: the text's tokens.
      mask_BT: 1 for a token and 0 for padding.
      states_BSD: the encoded question.
      states_bias: [B, 1, 1, S], hides the question's padding; None if it has none.

    Returns:
      scores_BTV, unnormalised.
    """
    tokens = ids_BT.shape[1]
    visible_B1TT = jnp.tril(jnp.ones((tokens, tokens), bool))[None, None] & (
        mask_BT[:, None, None, :] > 0
    )
    bias_B1TT = jnp.where(visible_B1TT, 0.0, jnp.finfo(jnp.float32).min)
    hidden_BTD = bert.embed(config, params["embeddings"], ids_BT)
    hidden_BTD = bert.run(config, params["blocks"], hidden_BTD, bias_B1TT, states_BSD, states_bias)
    word_VD = params["embeddings"]["word"]
    return modules.run(TokenScores(config), params["scores"], hidden_BTD, word_VD)
