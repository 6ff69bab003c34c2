"""Every family and stack at tiny sizes: models, parameters and batches that tests share."""

import functools

import jax
import numpy as np

from f3ocus_jax import models
from f3ocus_jax.models import FAMILIES, base
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import lora
from f3ocus_jax.types import Batch, Params
from tests.helpers.models import TINY, random_params, tiny_batch

FAMILY_OF = {name: FAMILIES[family] for name, (family, _) in models.TINY.items()}
"""Name of a tiny model to its family."""
CASES = [(name, stack) for name in sorted(TINY) for stack in FAMILY_OF[name].stacks]
FURTHER = [case for case in CASES if case[1] != FAMILY_OF[case[0]].stacks[0]]
"""Stacks beside a family's first, which costly tests leave to the slow ones."""

apply = jax.jit(base.apply, static_argnums=0)


@functools.cache
def made(name: str, stack: str) -> tuple[Model, Params, Batch]:
    """One of each, so that tests share what is compiled."""
    spec = TINY[name](selectable=stack)
    model = FAMILY_OF[name].make_model(spec)
    return model, random_params(model), tiny_batch(spec)


def with_lora(params: Params, seed: int = 1) -> Params:
    """Parameters with low-rank changes that are drawn at random, second maps too."""
    fresh = lora.init_stack(jax.random.key(0), params["blocks"], 2)
    draw = np.random.default_rng(seed)
    rows = jax.tree.map(lambda leaf: draw.normal(0, 0.3, leaf.shape).astype(np.float32), fresh)
    return {**params, "lora": rows}


@functools.cache
def made_with_lora(name: str, stack: str) -> tuple[Model, Params, Batch]:
    """The same with low-rank changes of rank 2 beside the blocks."""
    model, params, batch = made(name, stack)
    return model, with_lora(params), batch
