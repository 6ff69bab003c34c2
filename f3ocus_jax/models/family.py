"""Contract of a model family: its model, its sizes, and its Hugging Face directory."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.models.base import Model
from f3ocus_jax.models.huggingface.layout import Path, Tensor
from f3ocus_jax.models.sizes import ANSWERING, Sizes
from f3ocus_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Published:
    """One published model.

    Attributes:
      settings: Sizes by their Hugging Face names, as a run sets them.
      vocabulary: Sizes that a run takes from its tokenizer instead.
      answers: Classes of its answer head, or of the one that it gets in tables.
      parameters: Number of parameters as torch counts them in the class of transformers (ALBEF: in
        the composite of its classes that the tests compare with). An answer head that the class
        lacks is left out.
    """

    settings: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    answers: int
    parameters: int


@dataclasses.dataclass(frozen=True)
class Family:
    """One architecture and its Hugging Face directory.

    "Parts" are a model's parameters under names that do not depend on which stack is selectable.

    Attributes:
      name: Name in `config.model.family`, and key of `FAMILIES`.
      sizes: the dataclass of its sizes.
      make_model: sizes -> the model.
      stacks: names of the stacks that can be selectable; the first is the default.
      parts: (sizes, parameters) -> parts.
      arrange: (sizes, parts) -> parameters.
      model_type: of config.json.
      architecture: the class of transformers that a directory is written for.
      head_prefix: of the answer head's tensors; "" if that class has no such head, which then has a
        file of its own.
      tensors: sizes -> every kind of tensor.
      rename: the names of stored tensors -> those among them that count, by the names that
        `tensors` gives them.
      image_processor: sizes -> what preprocessor_config.json says beside the numbers: the class of
        transformers that prepares images, and the size it makes them.
      positions: where the learned positions of patches are among the parts, and by which of
        `positions.METHODS` they are resized.
      of_vocabulary: (entries, token -> id) -> sizes of a fresh model that its tokenizer decides, by
        Hugging Face's names.
      with_image_size: (sizes, side in pixels) -> the same sizes for images of that side.
      edges: sizes -> (shorter edge of an image that keeps its aspect ratio, what both edges must be
        a multiple of), in pixels; None if images must fill a square.
      standardise: config.json -> the same with sizes under the names that `sizes` has for them.
      prompt: what the tokenizer is given for a question, with {question} in it; an "<image>" in it
        is one token.
      module: the name of a block's tensor -> the same in a running model of transformers; None if
        transformers has no such model.
      answerings: how the models of the family can answer, some of `sizes.ANSWERING`.
      tiny: Variant to a function that maps the side of an image in pixels to the sizes, by their
        Hugging Face names, of a model that trains in seconds on a CPU. Images are two patches wide.
        The one variant of a family with one language model is "".
      published: Published models by name; the first is the one that full-size runs have.
    """

    name: str
    sizes: type[Any]
    make_model: Callable[[Any], Model]
    stacks: tuple[str, ...]
    parts: Callable[[Any, Params], Params]
    arrange: Callable[[Any, Params], Params]
    model_type: str
    architecture: str
    head_prefix: str
    tensors: Callable[[Any], list[Tensor]]
    rename: Callable[[list[str]], Mapping[str, str]]
    image_processor: Callable[[Any], Mapping[str, Any]]
    positions: tuple[Path, str]
    of_vocabulary: Callable[[int, Callable[[str], int]], Mapping[str, Any]]
    with_image_size: Callable[[Any, int], Sizes]
    tiny: Mapping[str, Callable[[int], dict[str, Any]]]
    published: Mapping[str, Published]
    edges: Callable[[Any], tuple[int, int]] | None = None
    standardise: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    prompt: str = "{question}"
    module: Callable[[str], str] | None = str
    answerings: tuple[str, ...] = ANSWERING

    def is_of_head(self, name: str) -> bool:
        """Returns whether a tensor is one of the answer head that transformers' class has."""
        return bool(self.head_prefix) and name.startswith(self.head_prefix)
