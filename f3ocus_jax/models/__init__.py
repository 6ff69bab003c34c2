"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from typing import Any

from f3ocus_jax.models import blip, blip2, llava, smolvlm, vilt
from f3ocus_jax.models.blip import albef
from f3ocus_jax.models.family import Family
from f3ocus_jax.models.spec import ModelSpec

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (albef, blip, blip2, llava, smolvlm, vilt)
}
"""The model families, by the name that `config.model.family` has for them."""

TINY = {
    f"{name}_{variant}" if variant else name: (name, variant)
    for name, family in FAMILIES.items()
    for variant in family.tiny
}
"""Name of a tiny model, as in "vilt" or "blip2_opt", to its family and the variant of `tiny`."""


def family_of(spec: ModelSpec[Any]) -> Family:
    """Returns the family of a specification."""
    return FAMILIES[spec.family]
