"""Foundation model of a run: weights of a directory, or random ones of given sizes."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from f3ocus_jax.config import choose, require
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import (
    FAMILIES,
    family_of,
    head as head_lib,
    losses,
    sizes,
    units,
)
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import lora, prompts
from f3ocus_jax.models.huggingface import directory as huggingface, extra_files, peft_layout, seal
from f3ocus_jax.models.settings import ModelConfig
from f3ocus_jax.models.spec import CLASSIFY, GENERATE, ModelSpec
from f3ocus_jax.types import Params

EXTRA_STREAM = 1
"""Folded into the key of a model, for its low-rank changes or prompt."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclasses.dataclass(frozen=True)
class Foundation:
    """A model before federated training.

    Attributes:
      model: Functions of the model.
      spec: Specification of the model.
      params: Parameters.
      answers: Classes of the answer head.
      findings: Classes of the head for findings.
      tokenizer: Tokenizer of the questions.
      fingerprint: Hash of the parameters; starts with the same one are equal to the bit.
      has_prompt: True if model and parameters come from `prompts.make_prompted_model`.
      weights: Directory of the weights; "" if they were drawn.
    """

    model: Model
    spec: ModelSpec[Any]
    params: Params
    answers: tuple[str, ...]
    findings: tuple[str, ...]
    tokenizer: Tokenizer
    fingerprint: str
    has_prompt: bool = False
    weights: str = ""

    def canvas(self, config: DataConfig) -> Canvas:
        """Returns the canvas of a run's images."""
        return _canvas(config, self.spec)

    def save(self, directory: pathlib.Path, params: Params) -> None:
        """Writes a Hugging Face directory with other parameters of the same model.

        Low-rank changes are merged into their weights, and also written in PEFT's layout if it has
        one for them. A prompt is a file of its own.
        """
        prompt_PD = None
        if self.has_prompt:
            params, prompt_PD = prompts.remove_prompt(params)
        merged = units.merged(params)
        huggingface.save(directory, self.spec, merged, self.answers, self.tokenizer, self.findings)
        peft_layout.write(directory, self.spec, params, self.weights)
        if prompt_PD is not None:
            extra_files.write_prompt(directory, self.spec.setup.selectable, prompt_PD)
        seal.seal(directory)


def inputs(config: ModelConfig, data: DataConfig) -> tuple[Tokenizer, Canvas]:
    """Returns the tokenizer and the canvas of a model, before its weights are read.

    Args:
      config: Model section of a run.
      data: Data section of a run.

    Returns:
      (tokenizer, canvas of the images).

    Raises:
      ConfigError: For an unknown family, stack or loss, sizes that no model can have, questions
        that are longer than the model takes, or images that do not fit it.
      DamagedError: For a directory with a file that changed after the export, or is gone.
      WeightsError: For a directory that holds no model.
    """
    family = choose("model.family", config.family, FAMILIES)
    choose("model.selectable", config.selectable or family.stacks[0], dict.fromkeys(family.stacks))
    choose("model.loss", config.loss, losses.LOSSES)
    choose("model.answering", config.answering, dict.fromkeys(family.answerings))
    writes = config.answering == GENERATE
    only = "cross_entropy"
    allowed = f"{only!r} where config.model.answering = {config.answering!r}"
    require(not writes or config.loss == only, "model.loss", config.loss, allowed)
    _check_folder(config.weights)
    tokenizer = _tokenizer(config)
    spec = specify(config, tokenizer)
    question_length, answer_length = data.question_length, data.answer_length
    shortest, longest = tokenizer.minimum_length, spec.config.max_position_embeddings
    require(
        question_length >= shortest,
        "data.question_length",
        question_length,
        f"at least {shortest}, the tokens of this model's prompt with one word",
    )
    require(
        question_length <= longest,
        "data.question_length",
        question_length,
        f"at most {longest}, the tokens this model takes",
    )
    room = longest - question_length
    require(
        not writes or answer_length <= room,
        "data.answer_length",
        answer_length,
        f"at most {room}, what the question leaves of the {longest} tokens this model takes",
    )
    return tokenizer, _canvas(data, spec)


def _tokenizer(config: ModelConfig) -> Tokenizer:
    """Returns the tokenizer of a model's directory, once its files are known to be whole."""
    if config.weights:
        seal.check(pathlib.Path(config.weights), weights=False)
    return load_tokenizer(config.weights or None, FAMILIES[config.family].prompt)


def specify(config: ModelConfig, tokenizer: Tokenizer) -> ModelSpec[Any]:
    """Returns the specification of a run's model, with one answer and the run's adapters.

    Args:
      config: Model section of the run.
      tokenizer: Tokenizer of the questions.

    Raises:
      ConfigError: For sizes that no model can have.
      WeightsError: For a directory that holds no model.
    """
    if not config.weights:
        return _fresh_spec(config, tokenizer, num_answers=1)
    spec = huggingface.load_spec(config.weights, image_size=config.image_size)
    _check_family(config, spec)
    return spec.replace(adapter_size=config.adapter_size)


def _canvas(config: DataConfig, spec: ModelSpec[Any]) -> Canvas:
    """Returns the canvas of the images; raises ConfigError for one that does not fit the model."""
    family = family_of(spec)
    if config.image_fit == "stretch":
        return Canvas(spec.config.image_size)
    if family.edges is None:
        takers = [name for name, other in FAMILIES.items() if other.edges is not None]
        raise ConfigError(
            f"config.data.image_fit = {config.image_fit!r}, must be 'stretch' with this model: "
            f"images of several sizes are taken by {', '.join(takers)} alone"
        )
    shortest_edge, patch = family.edges(spec.config)
    side = config.canvas_size or spec.config.image_size
    allowed = f"a multiple of {patch}, the side of this model's patches"
    require(side % patch == 0, "data.canvas_size", side, allowed)
    return Canvas(side, shortest_edge, patch)


def load(
    config: ModelConfig, answers: Sequence[str], key: jax.Array, findings: Sequence[str] = ()
) -> Foundation:
    """Makes or reads the foundation model of a run.

    Args:
      config: Model section of the run.
      answers: Classes of the answer head; classes that the head of the weights knows keep their
        weights. No such head without answers.
      key: Typed random key of parameters that the weights lack.
      findings: Classes of the head for findings, likewise.

    Raises:
      ConfigError: For sizes that no model can have.
      DamagedError: For weights with a file that changed after the export, or is gone.
      WeightsError: For weights that cannot be used.
    """
    tokenizer = _tokenizer(config)
    if config.weights:
        weights = huggingface.load(
            config.weights,
            key=key,
            answers=answers,
            findings=findings,
            adapter_size=config.adapter_size,
            selectable=config.selectable,
            image_size=config.image_size,
            answering=config.answering,
        )
        spec, params = weights.spec, weights.params
        _check_family(config, spec)
    else:
        spec = _fresh_spec(config, tokenizer, num_answers=len(answers))
        params = None
    if tokenizer.vocabulary_size > spec.config.vocab_size:
        raise ConfigError(
            f"the tokenizer of {config.weights or 'this package'} has {tokenizer.vocabulary_size} "
            f"entries, the model has embeddings for {spec.config.vocab_size}"
        )
    model = FAMILIES[config.family].make_model(spec)
    if params is None:
        params = _drawn(config, model, spec, answers, findings, key)
    model, params = _extended(config, model, spec, params, jax.random.fold_in(key, EXTRA_STREAM))
    has_prompt = config.prompt_length > 0
    names = tuple(answers), tuple(findings)
    found = fingerprint(params)
    return Foundation(model, spec, params, *names, tokenizer, found, has_prompt, config.weights)


def outline(config: ModelConfig, answers: Sequence[str], findings: Sequence[str]) -> Foundation:
    """Makes the foundation model of a run without its weights: its parameters are shapes.

    Args:
      config: Model section of the run.
      answers: Classes of the answer head.
      findings: Classes of the head for findings.

    Returns:
      The model; nothing is drawn, read from weights or computed, so that a model of any size takes
      seconds.

    Raises:
      ConfigError: For weights in a folder, whose sizes are not the config's, or for sizes that no
        model can have.
    """
    require(
        not config.weights,
        "model.weights",
        config.weights,
        "empty to count without weights: sizes come from config.model.architecture",
    )
    tokenizer = _tokenizer(config)
    spec = _fresh_spec(config, tokenizer, num_answers=len(answers))
    model = FAMILIES[config.family].make_model(spec)
    made: list[Model] = []

    def draw(key: jax.Array) -> Params:
        params = _drawn(config, model, spec, answers, findings, key)
        extended, params = _extended(config, model, spec, params, key)
        made.append(extended)
        return params

    shapes = jax.eval_shape(draw, jax.random.key(0))
    has_prompt = config.prompt_length > 0
    names = tuple(answers), tuple(findings)
    return Foundation(made[-1], spec, shapes, *names, tokenizer, "", has_prompt)


def _drawn(
    config: ModelConfig,
    model: Model,
    spec: ModelSpec[Any],
    answers: Sequence[str],
    findings: Sequence[str],
    key: jax.Array,
) -> Params:
    """Draws the parameters of a model with a head for each kind of classes that there are."""
    params = model.init(key)
    classes = {head_lib.ANSWERS: answers, head_lib.FINDINGS: findings}
    if config.answering == CLASSIFY:
        width = huggingface.head_width(spec)
        params["head"] = head_lib.fit(params["head"], classes, classes, width=width, key=key)
    return params


def _extended(
    config: ModelConfig, model: Model, spec: ModelSpec[Any], params: Params, key: jax.Array
) -> tuple[Model, Params]:
    """Adds low-rank changes or a prompt to a model, if the config has them."""
    if config.lora_rank:
        try:
            rows = lora.init_stack(key, params["blocks"], config.lora_rank)
        except ValueError as error:
            raise ConfigError(f"config.model.lora_rank = {config.lora_rank}: {error}") from error
        params = {**params, "lora": rows}
    stored_PD = None
    if config.weights:
        folder, stack = pathlib.Path(config.weights), spec.setup.selectable
        stored_PD = extra_files.read_prompt(folder, stack, config.prompt_length)
    if config.prompt_length == 0:
        return model, params
    if model.extend is None:
        raise ConfigError(
            f"config.model.prompt_length = {config.prompt_length}: the blocks of {config.family}, "
            f"stack {spec.setup.selectable!r}, take no further tokens"
        )
    if config.answering == GENERATE:
        raise ConfigError(
            f"config.model.prompt_length = {config.prompt_length}, must be 0 where "
            "config.model.answering = 'generate'"
        )
    tokens, width = config.prompt_length, spec.stack.width
    tokens_PD = prompts.init_prompt(key, tokens, width) if stored_PD is None else stored_PD
    return prompts.make_prompted_model(model, tokens=tokens, width=width), prompts.add_prompt(
        params, tokens_PD
    )


def fingerprint(params: Params) -> str:
    """Returns a hash of all parameters, their names and dtypes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:16]


def _check_folder(weights: str) -> None:
    """Raises ConfigError for weights that are no folder, and says how to download them."""
    if not weights or pathlib.Path(weights).is_dir():
        return
    hint = "give the folder of a model in Hugging Face's format"
    if _HUB_NAME.fullmatch(weights):
        folder = pathlib.PurePosixPath(weights).name
        hint = (
            f"if it is a name on the Hugging Face Hub, hf download {weights} --local-dir {folder} "
            f"puts it into a folder for config.model.weights = {folder!r}"
        )
    raise ConfigError(
        f"config.model.weights = {weights!r} is no folder, and nothing is downloaded; {hint}"
    )


def _check_family(config: ModelConfig, spec: ModelSpec[Any]) -> None:
    """Raises ConfigError for weights of another family than the config's."""
    found = spec.family
    allowed = f"{found!r}, which config.model.weights = {config.weights!r} holds"
    require(found == config.family, "model.family", config.family, allowed)


def _fresh_spec(config: ModelConfig, tokenizer: Tokenizer, *, num_answers: int) -> ModelSpec[Any]:
    """Returns the specification of a model with random weights."""
    family = FAMILIES[config.family]
    sizes.check_names(family.config, config.architecture, "config.model.architecture")
    decided = family.vocabulary_sizes(tokenizer.vocabulary_size, tokenizer.token_id)
    spec = family.spec(
        sizes.build(family.config, sizes.merged(decided, config.architecture)),
        num_answers=num_answers,
        adapter_size=config.adapter_size,
        selectable=config.selectable or family.stacks[0],
        answering=config.answering,
    )
    return spec.with_image_size(config.image_size)
