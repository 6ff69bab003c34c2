"""Contract of a model family: its model, its sizes, and its Hugging Face directory."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import clip
from f3ocus_jax.models.huggingface.layout import Path, TensorMapping
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.models.spec import ANSWERING, ModelSpec, Setup
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
      question_length: Tokens of a question in a full-size run.
    """

    settings: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    answers: int
    parameters: int
    question_length: int = 40


def keep_names(names: list[str]) -> Mapping[str, str]:
    """Keeps all tensors of a checkpoint, and their names."""
    return {name: name for name in names}


def no_processor(config: Any) -> Mapping[str, Any]:
    """Returns the empty processor_config.json of a family whose processor needs no sizes."""
    del config
    return {}


@dataclasses.dataclass(frozen=True)
class Family:
    """One architecture and its Hugging Face directory.

    Attributes:
      name: Name in `config.model.family`, and key of `FAMILIES`.
      config: Dataclass of its sizes, a `FamilyConfig`.
      make_model: Maps a specification to the model.
      tensors: Maps sizes to the tensor mappings of all parameters.
      model_type: Value of `model_type` in config.json.
      architecture: Class of transformers that reads an exported directory.
      image_processor: Maps sizes to the entries of preprocessor_config.json that name the class of
        transformers that prepares images, and their size.
      position_embeddings: Path of the patches' position embeddings among the submodules, and the
        method of `positions.METHODS` that resizes them.
      vocabulary_sizes: Maps (entries of a tokenizer, token -> id) to the sizes of a fresh model
        that the tokenizer decides, by their Hugging Face names.
      tiny: Variant to a function that maps the side of an image in pixels to the sizes, by their
        Hugging Face names, of a model that trains in seconds on a CPU. Images are two patches wide.
        The one variant of a family with one language model is "".
      published: Published models by name; the first is the one that full-size runs have.
      layout: Maps sizes to the layout of the parameters; None for a family whose submodules are the
        embeddings, the blocks and the readout themselves.
      rename: Maps the names of a checkpoint's tensors to those of `tensors`; names of tensors that
        a model does not use are left out.
      head_prefix: Prefix of the answer head's tensors; "" if the class of transformers has no
        answer head, which is then a file of its own.
      edges: Maps sizes to (shorter edge of an image that keeps its aspect ratio, divisor of both
        edges), in pixels; None if images must be square.
      standardise: Maps config.json to the same with sizes under the names of `config`.
      prompt: Text in front of the tokenizer, with {question} in it; an "<image>" in it is one
        token.
      module_name: Maps the name of a block's tensor in a checkpoint to its name in a running model
        of transformers; None if transformers lacks the model.
      processor: Maps sizes to processor_config.json: the name of transformers' class, and what it
        needs of the sizes; empty for a class that needs nothing.
      further_types: Further values of `model_type` for the same model to their classes of
        transformers; the sizes then have a field `model_type`.
      answerings: Supported ways to answer, some of `ANSWERING`.
      image_mean: Default mean of the pixels, as in `Setup`.
      image_std: Default standard deviation of the pixels.
    """

    name: str
    config: type[Any]
    make_model: Callable[[ModelSpec[Any]], Model]
    tensors: Callable[[Any], list[TensorMapping]]
    model_type: str
    architecture: str
    image_processor: Callable[[Any], Mapping[str, Any]]
    position_embeddings: tuple[Path, str]
    vocabulary_sizes: Callable[[int, Callable[[str], int]], Mapping[str, Any]]
    tiny: Mapping[str, Callable[[int], dict[str, Any]]]
    published: Mapping[str, Published]
    layout: Callable[[Any], ParameterLayout] | None = None
    rename: Callable[[list[str]], Mapping[str, str]] = keep_names
    head_prefix: str = ""
    edges: Callable[[Any], tuple[int, int]] | None = None
    standardise: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    prompt: str = "{question}"
    module_name: Callable[[str], str] | None = str
    processor: Callable[[Any], Mapping[str, Any]] = no_processor
    further_types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answerings: tuple[str, ...] = ANSWERING
    image_mean: tuple[float, ...] = clip.MEAN
    image_std: tuple[float, ...] = clip.STD

    @property
    def architectures(self) -> dict[str, str]:
        """Every value of `model_type` to the class of transformers that reads such a directory."""
        return {self.model_type: self.architecture, **self.further_types}

    @property
    def stacks(self) -> tuple[str, ...]:
        """Names of the stacks that can be selectable; the first is the default."""
        return tuple(self.config().stacks)

    @property
    def full_size(self) -> Published:
        """The published model whose sizes full-size runs have; the defaults of `config` if none."""
        unpublished = Published(settings={}, vocabulary={}, answers=0, parameters=0)
        return next(iter(self.published.values()), unpublished)

    def spec(self, config: Any, **choices: Any) -> ModelSpec[Any]:
        """Makes the specification of a model.

        Args:
          config: Sizes.
          **choices: Fields of `Setup`; the family has defaults for all but `num_answers`.
        """
        defaults = {
            "selectable": self.stacks[0],
            "image_mean": self.image_mean,
            "image_std": self.image_std,
        }
        return ModelSpec(self.name, config, Setup(**(defaults | choices)))

    def to_submodules(self, spec: ModelSpec[Any], params: Params) -> Params:
        """Returns parameters by submodule, whichever stack is selectable."""
        if self.layout is None:
            return params
        return self.layout(spec.config).to_submodules(params, spec.stack.submodule)

    def to_params(self, spec: ModelSpec[Any], submodules: Params) -> Params:
        """Undoes `to_submodules`."""
        if self.layout is None:
            return submodules
        return self.layout(spec.config).to_params(submodules, spec.stack.submodule)

    def is_of_head(self, name: str) -> bool:
        """Returns True for a tensor of the answer head that the class of transformers has."""
        return bool(self.head_prefix) and name.startswith(self.head_prefix)
