"""How are the sizes of a model named, checked, and read from and written to a config.json?

A family's sizes are a frozen dataclass whose fields have the names that Hugging Face gives them in
config.json, parts of a model being dataclasses within. Fields of `OWN` are ours alone.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from f3ocus_jax.config import nearest
from f3ocus_jax.errors import ConfigError

OWN = ("num_answers", "adapter_size", "selectable", "answering", "image_mean", "image_std")
CLASSIFY, GENERATE = "classify", "generate"
ANSWERING = (CLASSIFY, GENERATE)
"""How a model answers: by a head over the answers, or token by token."""
SIDES = ("image_size", "patch_size")
"""Sizes that may be given as [height, width]."""
KINDS = "kinds"
"""Metadata of a field whose part is one of several dataclasses: `model_type` to dataclass."""

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


class Sizes(Protocol):
    """What the system needs to know of any family's sizes."""

    @property
    def num_answers(self) -> int:
        """Classes of the answer head; 0 for none."""

    @property
    def adapter_size(self) -> int:
        """Bottleneck of the adapter in every selectable block; 0 for none."""

    @property
    def selectable(self) -> str:
        """The stack whose blocks can be chosen, one of the family's."""

    @property
    def answering(self) -> str:
        """How it answers, one of `ANSWERING`."""

    @property
    def image_mean(self) -> tuple[float, ...]:
        """Mean of the pixels per channel, or one for all, as shares of 255."""

    @property
    def image_std(self) -> tuple[float, ...]:
        """Their standard deviation."""

    @property
    def image_size(self) -> int:
        """Side of the square image, in pixels."""

    @property
    def num_patches(self) -> int:
        """Patches of such an image."""

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer's vocabulary."""

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens."""

    @property
    def rows(self) -> tuple[int, int]:
        """(L, D): how many blocks can be chosen, and how wide they are."""


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
      sizes: a dataclass; its int, float, str and bool fields are looked at.
      model: its name in messages.
      minimums: of the integers that may be below 1, or must be above it.
      choices: the values that a field may have.
      multiples: (size, divisor) pairs of fields that must divide without rest.

    Raises:
      ConfigError: names the field, its value and what is allowed.
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
    for name, allowed in (choices or {}).items():
        if getattr(sizes, name) not in allowed:
            given, known = getattr(sizes, name), sorted(allowed, key=str)
            raise ConfigError(f"{model} {name} = {given!r}, must be one of {known}")
    for name, divisor in multiples:
        value, unit = getattr(sizes, name), getattr(sizes, divisor)
        if value % unit != 0:
            raise ConfigError(f"{model} {name} = {value}, must be a multiple of {divisor} = {unit}")


def check_pixels(sizes: Any, model: str, channels: int) -> None:
    """Refuses means and deviations of pixels that fit no image of so many channels.

    Args:
      sizes: with `image_mean` and `image_std`.
      model: its name in messages.
      channels: of an image.

    Raises:
      ConfigError: names the field, its value and what is allowed.
    """
    for name in ("image_mean", "image_std"):
        values = getattr(sizes, name)
        if len(values) not in (1, channels):
            raise ConfigError(f"{model} {name} = {list(values)}, must hold 1 or {channels} numbers")
    if min(sizes.image_std) <= 0:
        raise ConfigError(f"{model} image_std = {list(sizes.image_std)}, must be above 0")


def build(kind: type[Dataclass], named: Mapping[str, Any], **own: Any) -> Dataclass:
    """Makes sizes from Hugging Face's names.

    Args:
      kind: a family's dataclass.
      named: values by name, as in config.json; names that are no size are left out.
      **own: values of fields of `OWN`.

    Returns:
      The sizes; what is not named has its default.

    Raises:
      ConfigError: for sizes that cannot be.
    """
    values = {field.name: _value(field, named[field.name]) for field in _named(kind, named)}
    return kind(**own, **values)


def tiny_image(image_size: int) -> dict[str, int]:
    """Returns the image and patch size of a tiny model; an image is two patches wide."""
    return {"image_size": image_size, "patch_size": image_size // 2}


def tiny_encoders(image_size: int) -> dict[str, Any]:
    """Returns sizes of a tiny model of one stack for images and one for text."""
    return {"vision_config": TINY_STACK | tiny_image(image_size), "text_config": dict(TINY_STACK)}


def names(sizes: Any) -> dict[str, Any]:
    """Returns sizes by Hugging Face's names, as config.json holds them."""
    return {
        name: names(value) if dataclasses.is_dataclass(value) else value
        for name, value in ((f.name, getattr(sizes, f.name)) for f in dataclasses.fields(sizes))
        if name not in OWN
    }


def check_names(kind: type[Any], named: Mapping[str, Any], prefix: str) -> None:
    """Refuses names that are no size of a family.

    Args:
      kind: the family's dataclass.
      named: values by name.
      prefix: dotted name of the setting that holds them.

    Raises:
      ConfigError: for an unknown name; the most similar known one is named.
    """
    known = {field.name: field for field in dataclasses.fields(kind) if field.name not in OWN}
    for name, value in named.items():
        if name not in known:
            raise ConfigError(f"{prefix}.{name} is unknown{nearest(name, known)}")
        part = _part(known[name], value, f"{prefix}.")
        if part is not None:
            check_names(part, value, f"{prefix}.{name}")


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Joins two nested mappings; where both have a value, the second's counts."""
    result = dict(first)
    for name, value in second.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result


def rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of rotary positions, which transformers 4 keeps in two places.

    Args:
      text: section of a config.json, of a Llama.
    """
    found = text.get("rope_parameters") or text.get("rope_scaling") or {}
    theta = found.get("rope_theta", text.get("rope_theta", 10000.0))
    kind = found.get("rope_type", found.get("type", "default"))
    return {"rope_theta": float(theta), "rope_type": kind}


def _named(kind: type[Any], named: Mapping[str, Any]) -> Iterator[dataclasses.Field[Any]]:
    for field in dataclasses.fields(kind):
        if field.name not in OWN and field.name in named:
            yield field


def _part(field: dataclasses.Field[Any], value: Any, prefix: str = "") -> type[Any] | None:
    """Returns the dataclass of a field that is a part of a model; None for a plain size."""
    kinds = field.metadata.get(KINDS, {})
    is_part = isinstance(field.type, type) and dataclasses.is_dataclass(field.type)
    if not kinds and not is_part:
        return None
    name = f"{prefix}{field.name}"
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} = {value!r}, must be a section")
    if not kinds:
        return field.type  # type: ignore[return-value]
    given = value.get("model_type", next(iter(kinds)))
    if given not in kinds:
        allowed = ", ".join(sorted(kinds))
        raise ConfigError(f"{name}.model_type = {given!r}, must be one of {allowed}")
    return kinds[given]


def _value(field: dataclasses.Field[Any], value: Any) -> Any:
    part = _part(field, value)
    if part is not None:
        return build(part, value)
    if field.name in SIDES and isinstance(value, list | tuple):
        if len(set(value)) != 1:
            raise ConfigError(f"{field.name} = {list(value)}, must be square")
        return value[0]
    return value
