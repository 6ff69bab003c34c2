"""Sizes of models: checks, tiny and base values, and the way from and to a config.json.

The sizes of a family are a frozen dataclass whose fields have the names of Hugging Face's
config.json; a section of config.json is a dataclass within.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from f3ocus_jax.config import nearest
from f3ocus_jax.errors import ConfigError

SIDES = ("image_size", "patch_size")
"""Sizes that config.json may hold as [height, width]."""
LARGEST_SIZE = 2**31 - 1
"""Largest integer of a model's sizes, which index arrays by 32 bits."""
GENERATION = "generation_config"
"""Entry beside the sizes of a config.json that holds a directory's generation_config.json."""
KINDS = "kinds"
"""Metadata of a field that is one of several dataclasses: `model_type` to dataclass."""

BASE_STACK = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
"""Sizes of a stack of blocks in BERT's and ViT's base models."""
TINY_STACK = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 1,
    "intermediate_size": 128,
}
"""Sizes of a stack of blocks in a model that trains in seconds on a CPU."""

Dataclass = TypeVar("Dataclass")


def check(
    sizes: Any,
    model: str,
    *,
    minimums: Mapping[str, int] | None = None,
    choices: Mapping[str, Sequence[object]] | None = None,
    multiples: Sequence[tuple[str, str]] = (),
) -> None:
    """Refuses sizes that no model can have.

    Args:
      sizes: Dataclass; its fields of type int, float, str and bool are checked.
      model: Name of the model in messages.
      minimums: Lower bound of each integer field that has another than 1.
      choices: Allowed values of a field.
      multiples: Pairs (size, divisor) of fields; the divisor must divide the size.

    Raises:
      ConfigError: Names the field, its value and what is allowed.
    """
    for field in dataclasses.fields(sizes):
        value = getattr(sizes, field.name)
        if field.type not in (int, float, str, bool):
            continue
        if type(value) is not field.type:
            kind = getattr(field.type, "__name__", field.type)
            raise ConfigError(f"{model} {field.name} = {value!r}, must be of type {kind}")
        minimum = (minimums or {}).get(field.name, 1)
        if isinstance(value, int) and field.type is int and value < minimum:
            raise ConfigError(f"{model} {field.name} = {value}, must be at least {minimum}")
        if isinstance(value, int) and value > LARGEST_SIZE:
            raise ConfigError(f"{model} {field.name} = {value}, must be at most {LARGEST_SIZE}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{model} {field.name} = {value}, must be finite")
    for name, allowed in (choices or {}).items():
        if getattr(sizes, name) not in allowed:
            given, known = getattr(sizes, name), sorted(allowed, key=str)
            raise ConfigError(f"{model} {name} = {given!r}, must be one of {known}")
    for name, divisor in multiples:
        value, unit = getattr(sizes, name), getattr(sizes, divisor)
        if value % unit != 0:
            raise ConfigError(f"{model} {name} = {value}, must be a multiple of {divisor} = {unit}")


def build(kind: type[Dataclass], named: Mapping[str, Any]) -> Dataclass:
    """Makes sizes from Hugging Face's names.

    Args:
      kind: Dataclass of a family's sizes.
      named: Values by name, as in config.json; names that are no size are ignored.

    Returns:
      The sizes; a size that is not named has its default.

    Raises:
      ConfigError: For sizes that no model can have.
    """
    values = {field.name: _value(field, named[field.name]) for field in _named(kind, named)}
    return kind(**values)


def names(sizes: Any) -> dict[str, Any]:
    """Returns sizes by Hugging Face's names, as config.json holds them."""
    return {
        name: names(value) if dataclasses.is_dataclass(value) else value
        for name, value in ((f.name, getattr(sizes, f.name)) for f in dataclasses.fields(sizes))
    }


def check_names(kind: type[Any], named: Mapping[str, Any], prefix: str) -> None:
    """Refuses names that are no size of a family.

    Args:
      kind: Dataclass of the family's sizes.
      named: Values by name.
      prefix: Dotted name of the setting that holds them.

    Raises:
      ConfigError: For an unknown name; says which known one is most similar.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in named.items():
        if name not in known:
            raise ConfigError(f"{prefix}.{name} is unknown{nearest(name, known)}")
        section = _section(known[name], value, f"{prefix}.")
        if section is not None:
            check_names(section, value, f"{prefix}.{name}")


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Joins two nested mappings; the second's value replaces the first's."""
    result = dict(first)
    for name, value in second.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result


def without_nulls(named: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sizes of a config.json, or of a section of it, that are not null."""
    return {name: value for name, value in named.items() if value is not None}


def rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of rotary positions, which transformers 4 keeps under two names.

    Args:
      text: Section of a config.json that describes a Llama.
    """
    found = text.get("rope_parameters") or text.get("rope_scaling") or {}
    theta = found.get("rope_theta", text.get("rope_theta", 10000.0))
    kind = found.get("rope_type", found.get("type", "default"))
    return {"rope_theta": float(theta), "rope_type": kind}


def end_token(generation: Mapping[str, Any]) -> dict[str, int]:
    """Returns the end of an answer as a size of a language model.

    Args:
      generation: Content of a generation_config.json, which has precedence in transformers.

    Returns:
      `eos_token_id`, the first one if there are several; empty if none is named.
    """
    found = generation.get("eos_token_id")
    first = found[0] if isinstance(found, list) and found else found
    return {"eos_token_id": first} if isinstance(first, int) else {}


def tiny_image(image_size: int) -> dict[str, int]:
    """Returns the image and patch size of a tiny model; an image is two patches wide."""
    return {"image_size": image_size, "patch_size": image_size // 2}


def tiny_encoders(image_size: int) -> dict[str, Any]:
    """Returns sizes of a tiny model of one stack for images and one for text."""
    return {"vision_config": TINY_STACK | tiny_image(image_size), "text_config": dict(TINY_STACK)}


def _named(kind: type[Any], named: Mapping[str, Any]) -> Iterator[dataclasses.Field[Any]]:
    return (field for field in dataclasses.fields(kind) if field.name in named)


def _section(field: dataclasses.Field[Any], value: Any, prefix: str = "") -> type[Any] | None:
    """Returns the dataclass of a field that is a section; None for a plain size."""
    kinds = field.metadata.get(KINDS, {})
    own = field.type if isinstance(field.type, type) else None
    if not kinds and not dataclasses.is_dataclass(own):
        return None
    name = f"{prefix}{field.name}"
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} = {value!r}, must be a section")
    if not kinds:
        return own
    given = value.get("model_type", next(iter(kinds)))
    if given not in kinds:
        allowed = ", ".join(sorted(kinds))
        raise ConfigError(f"{name}.model_type = {given!r}, must be one of {allowed}")
    return kinds[given]


def _value(field: dataclasses.Field[Any], value: Any) -> Any:
    section = _section(field, value)
    if section is not None:
        return build(section, value)
    if field.name in SIDES and isinstance(value, list | tuple):
        if len(set(value)) != 1:
            raise ConfigError(f"{field.name} = {list(value)}, must be square")
        return value[0]
    return value
