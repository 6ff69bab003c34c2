"""Which model does a run start from? Weights from a directory, or random ones of a given size."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from f3ocus_jax.config import choose, require
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import FAMILIES, head as head_lib, losses, sizes as sizes_lib, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import lora, prompts
from f3ocus_jax.models.huggingface import companions, directory as huggingface, peft_layout
from f3ocus_jax.models.settings import ModelConfig
from f3ocus_jax.models.sizes import Sizes
from f3ocus_jax.types import Params

EXTRA_STREAM = 1
"""Folded into the key of a model, for what is added to it."""


@dataclasses.dataclass(frozen=True)
class Foundation:
    """A model before federated training.

    Attributes:
      model: its functions.
      sizes: what it was made from.
      params: its parameters.
      answers: the classes of its answer head.
      findings: the classes of its head for findings.
      tokenizer: of its questions.
      fingerprint: of the parameters; two starts with the same one are the same to the bit.
      has_prompt: whether model and parameters are those of `prompts.make_prompted_model`.
      weights: the directory they were read from; "" if they were drawn.
    """

    model: Model
    sizes: Sizes
    params: Params
    answers: tuple[str, ...]
    findings: tuple[str, ...]
    tokenizer: Tokenizer
    fingerprint: str
    has_prompt: bool = False
    weights: str = ""

    def canvas(self, config: DataConfig) -> Canvas:
        """Returns the canvas that a run's images are put on."""
        return _frame(config, self.sizes)

    def save(self, directory: pathlib.Path, params: Params) -> None:
        """Writes a Hugging Face directory with other parameters of the same model.

        Low-rank changes are added to the maps that they change, and also written as PEFT reads
        them, where it can; a prompt is a file beside.
        """
        prompt_PD = None
        if self.has_prompt:
            params, prompt_PD = prompts.remove_prompt(params)
        merged = units.merged(params)
        huggingface.save(directory, self.sizes, merged, self.answers, self.tokenizer, self.findings)
        peft_layout.write(directory, self.sizes, params, self.weights)
        if prompt_PD is not None:
            companions.write_prompt(directory, self.sizes.selectable, prompt_PD)


def inputs(config: ModelConfig, data: DataConfig) -> tuple[Tokenizer, Canvas]:
    """Returns what data needs to know of a model, before its weights are read.

    Args:
      config: which model.
      data: lengths of questions and written answers, and how images are made to fit.

    Returns:
      (tokenizer, the canvas that images are put on).

    Raises:
      ConfigError: for an unknown family, stack or loss, sizes that cannot be, questions that are
        longer than the model takes, or images that do not fit it.
      WeightsError: for a directory that holds no model.
    """
    family = choose("model.family", config.family, FAMILIES)
    choose("model.selectable", config.selectable or family.stacks[0], dict.fromkeys(family.stacks))
    choose("model.loss", config.loss, losses.LOSSES)
    choose("model.answering", config.answering, dict.fromkeys(family.answerings))
    writes = config.answering == sizes_lib.GENERATE
    only = "cross_entropy"
    allowed = f"{only!r} where config.model.answering = {config.answering!r}"
    require(not writes or config.loss == only, "model.loss", config.loss, allowed)
    tokenizer = load_tokenizer(config.weights or None, family.prompt)
    if config.weights:
        sizes = huggingface.load_config(config.weights, image_size=config.image_size)
        _check_family(config, sizes)
    else:
        sizes = _sizes(config, tokenizer, num_answers=1)
    question_length, answer_length = data.question_length, data.answer_length
    shortest, longest = tokenizer.minimum_length, sizes.max_position_embeddings
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
    return tokenizer, _frame(data, sizes)


def _frame(config: DataConfig, sizes: Sizes) -> Canvas:
    """Returns the canvas that images are put on; raises ConfigError for one that does not fit."""
    family = huggingface.family_of(sizes)
    if config.image_fit == "stretch":
        return Canvas(sizes.image_size)
    if family.edges is None:
        takers = [name for name, other in FAMILIES.items() if other.edges is not None]
        raise ConfigError(
            f"config.data.image_fit = {config.image_fit!r}, must be 'stretch' with this model: "
            f"images of several sizes are taken by {', '.join(takers)} alone"
        )
    shortest_edge, patch = family.edges(sizes)
    side = config.canvas_size or sizes.image_size
    allowed = f"a multiple of {patch}, the side of this model's patches"
    require(side % patch == 0, "data.canvas_size", side, allowed)
    return Canvas(side, shortest_edge, patch)


def load(
    config: ModelConfig, answers: Sequence[str], key: jax.Array, findings: Sequence[str] = ()
) -> Foundation:
    """Makes or reads the model.

    Args:
      config: which one.
      answers: classes of the answer head; those that the weights' own head knows keep their
        weights. No such head without answers.
      key: typed random key, for what the weights lack.
      findings: the same for the head for findings.

    Returns:
      The foundation.

    Raises:
      ConfigError: for sizes that cannot be.
      WeightsError: for weights that cannot be used.
    """
    tokenizer = load_tokenizer(config.weights or None, FAMILIES[config.family].prompt)
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
        sizes, params = weights.config, weights.params
        _check_family(config, sizes)
    else:
        sizes = _sizes(config, tokenizer, num_answers=len(answers))
        params = None
    if tokenizer.vocabulary_size > sizes.vocab_size:
        raise ConfigError(
            f"the tokenizer of {config.weights or 'this package'} has {tokenizer.vocabulary_size} "
            f"entries, the model has embeddings for {sizes.vocab_size}"
        )
    model = FAMILIES[config.family].make_model(sizes)
    if params is None:
        params = model.init(key)
        classes = {head_lib.ANSWERS: answers, head_lib.FINDINGS: findings}
        if config.answering == sizes_lib.CLASSIFY:
            width = huggingface.head_width(sizes)
            params["head"] = head_lib.fit(params["head"], classes, classes, width=width, key=key)
    model, params = _extended(config, model, sizes, params, jax.random.fold_in(key, EXTRA_STREAM))
    has_prompt = config.prompt_length > 0
    names = tuple(answers), tuple(findings)
    found = fingerprint(params)
    return Foundation(model, sizes, params, *names, tokenizer, found, has_prompt, config.weights)


def _extended(
    config: ModelConfig, model: Model, sizes: Sizes, params: Params, key: jax.Array
) -> tuple[Model, Params]:
    """Adds low-rank changes or a prompt to a model, where the config asks for them."""
    if config.lora_rank:
        try:
            rows = lora.init_stack(key, params["blocks"], config.lora_rank)
        except ValueError as error:
            raise ConfigError(f"config.model.lora_rank = {config.lora_rank}: {error}") from error
        params = {**params, "lora": rows}
    stored_PD = None
    if config.weights:
        folder, stack = pathlib.Path(config.weights), sizes.selectable
        stored_PD = companions.read_prompt(folder, stack, config.prompt_length)
    if config.prompt_length == 0:
        return model, params
    if model.extend is None:
        raise ConfigError(
            f"config.model.prompt_length = {config.prompt_length}: the blocks of {config.family}, "
            f"stack {sizes.selectable!r}, take no further tokens"
        )
    if config.answering == sizes_lib.GENERATE:
        raise ConfigError(
            f"config.model.prompt_length = {config.prompt_length}, must be 0 where "
            "config.model.answering = 'generate'"
        )
    tokens, width = config.prompt_length, sizes.rows[1]
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


def _check_family(config: ModelConfig, sizes: Sizes) -> None:
    """Raises ConfigError for weights of another family than the config's."""
    found = next(name for name, family in FAMILIES.items() if type(sizes) is family.sizes)
    allowed = f"{found!r}, which config.model.weights = {config.weights!r} holds"
    require(found == config.family, "model.family", config.family, allowed)


def _sizes(config: ModelConfig, tokenizer: Tokenizer, *, num_answers: int) -> Sizes:
    """Returns the sizes of a model with random weights."""
    family = FAMILIES[config.family]
    sizes_lib.check_names(family.sizes, config.architecture, "config.model.architecture")
    decided = family.of_vocabulary(tokenizer.vocabulary_size, tokenizer.token_id)
    sizes = sizes_lib.build(
        family.sizes,
        sizes_lib.merged(decided, config.architecture),
        num_answers=num_answers,
        adapter_size=config.adapter_size,
        selectable=config.selectable or family.stacks[0],
        answering=config.answering,
    )
    return family.with_image_size(sizes, config.image_size) if config.image_size else sizes
