"""Specifications of published models, by name, and their number of parameters."""

import math
from typing import Any

import jax

from f3ocus_jax.config import choose
from f3ocus_jax.models import FAMILIES, family_of, sizes
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.spec import ModelSpec

PUBLISHED = {
    name: (family, model)
    for family in FAMILIES.values()
    for name, model in family.published.items()
}
"""Name to the family and the published model."""


def make_spec(name: str, **choices: Any) -> ModelSpec[Any]:
    """Makes the specification of a published model.

    Args:
      name: A key of `PUBLISHED`.
      **choices: Fields of `Setup`.

    Raises:
      ConfigError: For an unknown name; lists the choices.
    """
    family, model = choose("model", name, PUBLISHED)
    named = family.standardise(sizes.merged(model.settings, model.vocabulary))
    config = sizes.build(family.config, named)
    return family.spec(config, **({"num_answers": model.answers} | choices))


def count(spec: ModelSpec[Any]) -> int:
    """Counts the parameters of a model in the class of transformers, from shapes alone."""
    family = family_of(spec)
    template = jax.eval_shape(family.make_model(spec).init, jax.random.key(0))
    submodules = family.to_submodules(spec, template)
    shapes = layout.expected_shapes(family.tensors(spec.config), submodules)
    return sum(math.prod(shape) for shape in shapes.values())
