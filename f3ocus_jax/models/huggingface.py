"""How does a ViLT come from, and go to, a local Hugging Face directory?

Such a directory holds config.json, model.safetensors (or shards with an index) and the tokenizer's
files. Ours may hold adapters.safetensors beside them, which transformers overlooks. config.json is
written last and removed first, so that a directory with one is complete.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from f3ocus_jax.config import ConfigError
from f3ocus_jax.data import answers as answers_lib
from f3ocus_jax.data.text import Tokenizer
from f3ocus_jax.models import adapters, tensor_files, vilt, vilt_layout
from f3ocus_jax.models.tensor_files import WeightsError
from f3ocus_jax.models.vilt import ViltConfig
from f3ocus_jax.types import Params, Rows

CONFIG_FILE = "config.json"
ADAPTERS_FILE = "adapters.safetensors"
SIZES = tuple(
    field.name
    for field in dataclasses.fields(ViltConfig)
    if field.name not in ("num_answers", "adapter_size")
)


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model as read from disk.

    Attributes:
      config: its sizes.
      params: its parameters, with the keys of `Model`.
      answers: the classes of its head, length C.
    """

    config: ViltConfig
    params: Params
    answers: tuple[str, ...]


def load(
    directory: pathlib.Path | str,
    *,
    key: jax.Array,
    answers: Sequence[str] | None = None,
    adapter_size: int | None = None,
) -> Weights:
    """Reads a model.

    Args:
      directory: of a ViltForQuestionAnswering, or of a ViltModel or ViltForMaskedLM, which have no
        answer head and get a fresh one.
      key: typed random key, for what the directory lacks.
      answers: classes the head shall have; those the directory's head knows keep their weights.
        Its own if None.
      adapter_size: bottleneck of the adapters, fresh where the directory has none; None for its
        own, or none.

    Returns:
      The model.

    Raises:
      WeightsError: if a file is absent, truncated or of another model, if tensors are missing, left
        over or of another shape (the message lists them), or if adapters have another size.
    """
    folder = pathlib.Path(directory)
    config, own_answers = _read_config(folder)
    params = _read_params(folder, config)
    if answers is None and "head" not in params:
        raise WeightsError(f"{folder} has no answer head, so the answers must be given")
    answers = own_answers if answers is None else tuple(answers)
    of_head, of_adapters = jax.random.split(key)
    config = dataclasses.replace(config, num_answers=len(answers))
    if "head" in params:
        params["head"] = align_head(params["head"], own_answers, answers, of_head)
    else:
        params["head"] = vilt.init_head(config, of_head)
    config, params["adapters"] = _read_adapters(folder, config, adapter_size, of_adapters)
    return Weights(config, params, answers)


def load_config(directory: pathlib.Path | str) -> ViltConfig:
    """Reads a model's sizes, without its weights.

    Args:
      directory: as of `load`.

    Returns:
      The sizes, with as many answers as config.json has labels, and no adapters.

    Raises:
      WeightsError: if config.json is absent, or not of a ViLT that can be built.
    """
    return _read_config(pathlib.Path(directory))[0]


def save(
    directory: pathlib.Path | str,
    config: ViltConfig,
    params: Params,
    answers: Sequence[str],
    tokenizer: Tokenizer,
) -> None:
    """Writes a model as a ViltForQuestionAnswering.

    Args:
      directory: made if absent; a model in it is replaced, other files stay.
      config: sizes.
      params: of the model.
      answers: classes of its head, length C.
      tokenizer: of its questions.

    Raises:
      ValueError: if answers or tokenizer do not fit the sizes.
      OSError: if the directory cannot be written to.
    """
    if len(answers) != config.num_answers:
        raise ValueError(f"{len(answers)} answers for a head of {config.num_answers}")
    if tokenizer.vocabulary_size > config.vocab_size:
        raise ValueError(
            f"a tokenizer of {tokenizer.vocabulary_size} entries for {config.vocab_size} embeddings"
        )
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, tensor_files.INDEX_FILE, ADAPTERS_FILE):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save(folder)
    theirs = vilt_layout.to_huggingface(config, params)
    tensor_files.write(folder / tensor_files.WEIGHTS_FILE, theirs)
    if params["adapters"]:
        rows = traverse_util.flatten_dict(params["adapters"], sep=".")
        tensor_files.write(folder / ADAPTERS_FILE, rows)
    tensor_files.write_json(folder / CONFIG_FILE, _config_json(config, answers))


def align_head(
    head: Params, old_answers: Sequence[str], new_answers: Sequence[str], key: jax.Array
) -> Params:
    """Gives an answer head other classes.

    Args:
      head: of a ViLT.
      old_answers: its classes.
      new_answers: the classes it shall have.
      key: typed random key, for the classes it lacks.

    Returns:
      A head whose last map keeps its weights for every answer in both lists, matched by their
      normalised text, and has fresh ones for the others; all else is kept.
    """
    if tuple(old_answers) == tuple(new_answers):
        return head
    known = {answers_lib.normalise(answer): place for place, answer in enumerate(old_answers)}
    places = [known.get(answers_lib.normalise(answer), -1) for answer in new_answers]
    kernel_DC, bias_C = head["answers"]["kernel"], head["answers"]["bias"]
    is_known_C, places_C = np.array(places) >= 0, np.maximum(places, 0)
    fresh_DC = nn.initializers.lecun_normal()(key, (kernel_DC.shape[0], len(places)))
    answers = {
        "kernel": jnp.where(is_known_C[None], kernel_DC[:, places_C], fresh_DC),
        "bias": jnp.where(is_known_C, bias_C[places_C], 0.0),
    }
    return {**head, "answers": answers}


def _read_config(folder: pathlib.Path) -> tuple[ViltConfig, tuple[str, ...]]:
    """Returns a directory's sizes and the answers of its head."""
    path = folder / CONFIG_FILE
    content = tensor_files.read_json(path)
    if content.get("model_type") != "vilt":
        raise WeightsError(f"{path}: model_type = {content.get('model_type')!r}, must be 'vilt'")
    # What transformers takes where a config has no labels.
    labels = content.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        answers = tuple(labels[str(place)] for place in range(len(labels)))
        sizes = {name: _square(name, content[name]) for name in SIZES if name in content}
        return ViltConfig(num_answers=len(answers), **sizes), answers
    except KeyError as error:
        raise WeightsError(f"{path}: id2label lacks {error}, must count from 0") from error
    except ConfigError as error:
        raise WeightsError(f"{path}: {error}") from error


def _square(name: str, value: Any) -> Any:
    """Returns the side of a size that is given as [height, width]."""
    if not isinstance(value, list):
        return value
    if len(set(value)) != 1:
        raise ConfigError(f"ViLT {name} = {value}, must be square")
    return value[0]


def _config_json(config: ViltConfig, answers: Sequence[str]) -> dict[str, Any]:
    return {
        "architectures": ["ViltForQuestionAnswering"],
        "model_type": "vilt",
        "dtype": "float32",
        **{name: getattr(config, name) for name in SIZES},
        "id2label": {str(place): answer for place, answer in enumerate(answers)},
        "label2id": {answer: place for place, answer in enumerate(answers)},
    }


def _read_params(folder: pathlib.Path, config: ViltConfig) -> dict[str, Params]:
    """Returns a directory's parameters without adapters, and without a head if it has none."""
    stored = tensor_files.locate(folder)
    if not any(name.startswith("vilt.") for name in stored):
        stored = {f"vilt.{name}": stored[name] for name in stored}  # a bare ViltModel
    unused = (*vilt_layout.OTHER_HEADS, *vilt_layout.BUFFERS)
    stored = {name: stored[name] for name in stored if not name.startswith(unused)}
    expected = vilt_layout.expected_shapes(config)
    if not any(name.startswith(vilt_layout.HEAD) for name in stored):
        expected = {n: expected[n] for n in expected if not n.startswith(vilt_layout.HEAD)}
    _check_fit(folder, stored, expected)
    return vilt_layout.from_huggingface(config, tensor_files.read(stored))


def _read_adapters(
    folder: pathlib.Path, config: ViltConfig, size: int | None, key: jax.Array
) -> tuple[ViltConfig, Rows]:
    """Returns a directory's adapters, or fresh ones, and a config that tells their size."""
    path = folder / ADAPTERS_FILE
    stored = tensor_files.contents(path) if path.is_file() else {}
    bias = stored.get("down.bias")
    found = bias.shape[-1] if bias else 0
    if size is not None and found not in (0, size):
        raise WeightsError(f"{path} has bottleneck {found}, config.model.adapter_size = {size}")
    config = dataclasses.replace(config, adapter_size=found if size is None else size)

    def fresh() -> Rows:
        layers, width = config.num_hidden_layers, config.hidden_size
        bottleneck = config.adapter_size
        return adapters.init_stack(key, layers=layers, width=width, bottleneck=bottleneck)

    if not stored:
        return config, fresh()
    expected = {
        name: leaf.shape
        for name, leaf in traverse_util.flatten_dict(jax.eval_shape(fresh), sep=".").items()
    }
    _check_fit(path, stored, expected)
    values = tensor_files.read(stored)
    return config, traverse_util.unflatten_dict(
        {name: jnp.asarray(value) for name, value in values.items()}, sep="."
    )


def _check_fit(
    where: pathlib.Path,
    stored: Mapping[str, tensor_files.StoredTensor],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Raises WeightsError unless the tensors are the expected ones."""
    wrong = [
        f"{name} {stored[name].shape} instead of {expected[name]}"
        for name in sorted(set(stored) & set(expected))
        if stored[name].shape != expected[name]
    ]
    problems = {
        "missing": sorted(set(expected) - set(stored)),
        "left over": sorted(set(stored) - set(expected)),
        "of another shape": wrong,
    }
    if any(problems.values()):
        parts = [
            f"{kind}: {tensor_files.listed(names)}" for kind, names in problems.items() if names
        ]
        raise WeightsError(f"{where} does not fit the model; tensors {'; '.join(parts)}")
