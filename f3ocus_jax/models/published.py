"""Sizes of published models, by name, and their number of parameters."""

import math
from typing import Any

import jax

from f3ocus_jax.config import choose
from f3ocus_jax.models import FAMILIES, sizes as sizes_lib
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.sizes import Sizes

PUBLISHED = {
    name: (family, model)
    for family in FAMILIES.values()
    for name, model in family.published.items()
}
"""Name to the family and the published model."""


def sizes(name: str, **own: Any) -> Sizes:
    """Returns the sizes of a published model.

    Args:
      name: A key of `PUBLISHED`.
      **own: Values of `sizes.OWN`.

    Raises:
      ConfigError: For an unknown name; lists the choices.
    """
    family, model = choose("model", name, PUBLISHED)
    named = family.standardise(sizes_lib.merged(model.settings, model.vocabulary))
    defaults = {"num_answers": model.answers, "selectable": family.stacks[0]}
    return sizes_lib.build(family.sizes, named, **(defaults | own))


def count(sizes: Sizes) -> int:
    """Counts the parameters of a model as transformers' class has them, by shape alone."""
    family = FAMILIES[type_name(sizes)]
    template = jax.eval_shape(family.make_model(sizes).init, jax.random.key(0))
    shapes = layout.expected_shapes(family.tensors(sizes), family.parts(sizes, template))
    return sum(math.prod(shape) for shape in shapes.values())


def type_name(sizes: Sizes) -> str:
    """Returns the key of the family whose sizes these are."""
    return next(name for name, family in FAMILIES.items() if type(sizes) is family.sizes)
