"""Learned prompt tokens in front of a frozen stack, as in PromptFL (Guo et al., 2023).

To the rest of the system, a model with a prompt is a model with one selectable layer, the prompt,
and one block, which is the whole stack. The prompt is scored, selected, sent and averaged like any
other layer.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.config.kept import kept
from f3ocus_jax.models import base
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Params, Rows

INIT_STD = 0.02
"""Standard deviation of an initial prompt, as in CoOp (Zhou et al., 2022), PromptFL's basis."""


@kept
def make_prompted_model(model: Model, *, tokens: int, width: int) -> Model:
    """Makes the model that runs with a prompt in front of its selectable stack.

    Args:
      model: Model without a prompt.
      tokens: P, number of tokens of an initial prompt.
      width: D, width of the selectable stack's hidden states.

    Returns:
      The model with a prompt; `add_prompt` makes its parameters.

    Raises:
      ValueError: If the model's blocks take no further tokens.
    """
    extend = model.extend
    if extend is None:
        raise ValueError("the selectable blocks of this model take no further tokens")

    def block(row: Rows, prompt: Rows, hidden: jax.Array, context: Any) -> jax.Array:
        tokens_PD = prompt["tokens"].astype(hidden.dtype)
        length, longer = len(tokens_PD), extend(context, len(tokens_PD))
        prompt_BPD = jnp.broadcast_to(tokens_PD[None], (len(hidden), *tokens_PD.shape))

        def step(hidden: jax.Array, one: Params) -> tuple[jax.Array, None]:
            return base.run_block(model, one, hidden, longer), None

        hidden, _ = jax.lax.scan(step, jnp.concatenate([prompt_BPD, hidden], axis=1), row)
        return hidden[:, length:]

    def init(key: jax.Array) -> Params:
        model_key, prompt_key = jax.random.split(key)
        return add_prompt(model.init(model_key), init_prompt(prompt_key, tokens, width))

    return dataclasses.replace(model, num_layers=1, init=init, block=block, extend=None)


def init_prompt(key: jax.Array, tokens: int, width: int) -> jax.Array:
    """Initialises a prompt.

    Args:
      key: Typed random key.
      tokens: P, number of tokens.
      width: D, width of the selectable stack's hidden states.

    Returns:
      tokens_PD.
    """
    return INIT_STD * jax.random.normal(key, (tokens, width))


def add_prompt(params: Params, tokens_PD: jax.Array) -> Params:
    """Returns the parameters of the model with a prompt.

    Args:
      params: Parameters of the model without a prompt.
      tokens_PD: Prompt.
    """
    rows = {key: params[key] for key in base.ROW_KEYS if key in params}
    others = {key: params[key] for key in params if key not in base.ROW_KEYS}
    blocks = jax.tree.map(lambda leaf: leaf[None], rows)
    return {**others, "blocks": blocks, "adapters": {"tokens": tokens_PD[None]}}


def remove_prompt(params: Params) -> tuple[Params, jax.Array]:
    """Returns (parameters of the model without a prompt, prompt); undoes `add_prompt`."""
    rows = jax.tree.map(lambda leaf: leaf[0], params["blocks"])
    return {**params, **rows}, params["adapters"]["tokens"][0]
