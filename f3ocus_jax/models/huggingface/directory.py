"""How does a model come from, and go to, a local Hugging Face directory?

Such a directory holds config.json, model.safetensors (or shards with an index), the tokenizer's
files and preprocessor_config.json. Ours may hold adapters.safetensors beside them,
head.safetensors where transformers' class has no answer head, and findings.safetensors, which
transformers overlooks; config.json then lists the findings.
config.json is written last and removed first, so that a directory with one is complete.
"""

import collections
import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models import FAMILIES, head as head_lib, sizes as sizes_lib
from f3ocus_jax.models.blocks import positions
from f3ocus_jax.models.family import Family
from f3ocus_jax.models.huggingface import companions, layout, preprocessor, shards, tensor_files
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor
from f3ocus_jax.models.sizes import Sizes
from f3ocus_jax.types import Params, Rows

CONFIG_FILE = "config.json"
STORED = "stored"
WEIGHT_DTYPES = ("float32", "bfloat16", STORED)
"""What weights become when they are read; "stored" leaves them as the file has them."""

Stored = Mapping[str, StoredTensor]
Tensors = Iterable[tuple[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model as read from disk.

    Attributes:
      config: its sizes.
      params: its parameters, with the keys of `Model`.
      answers: the classes of its answer head.
      findings: those of its head for findings; none if it has no such head.
    """

    config: Any
    params: Params
    answers: tuple[str, ...]
    findings: tuple[str, ...] = ()


def load(
    directory: pathlib.Path | str,
    *,
    key: jax.Array,
    answers: Sequence[str] | None = None,
    findings: Sequence[str] | None = None,
    adapter_size: int | None = None,
    selectable: str = "",
    image_size: int = 0,
    dtype: str = "float32",
    answering: str = sizes_lib.CLASSIFY,
) -> Weights:
    """Reads a model, one tensor after the other: no more than one file is in memory beside it.

    Args:
      directory: of any family in `FAMILIES`. One without an answer head gets a fresh one.
      key: typed random key, for what the directory lacks.
      answers: classes the answer head shall have; those the directory's head knows keep their
        weights. Its own if None.
      findings: the same for the head for findings.
      adapter_size: bottleneck of the adapters, fresh where the directory has none; None for its
        own, or none.
      selectable: the stack whose blocks can be chosen; "" for the one its adapters are in, or the
        family's first.
      image_size: side of the images it shall take, in pixels: the positions of its patches are
        resized to it; 0 for its own.
      dtype: one of `WEIGHT_DTYPES`; adapters and answer head are float32 always.
      answering: one of `sizes.ANSWERING`; a model that writes answers has no head.

    Returns:
      The model.

    Raises:
      WeightsError: if a file is absent, truncated or of another model, if tensors are missing, left
        over or of another shape (the message lists them), or if adapters have another size or are
        in another stack.
    """
    folder = pathlib.Path(directory)
    config, own = read_config(folder, selectable)
    parts = _read_parts(folder, config, own, dtype)
    heads, writes = parts.get("head", {}), answering == sizes_lib.GENERATE
    if answers is None and not heads and not writes:
        raise WeightsError(f"{folder} has no answer head, so the answers must be given")
    # A model that writes has no head, but its answers are still what it is ranked by.
    known = {*heads, head_lib.ANSWERS} if writes else heads
    own = {name: own[name] if name in known else () for name in own}
    new = {
        name: own[name] if given is None else tuple(given)
        for name, given in ((head_lib.ANSWERS, answers), (head_lib.FINDINGS, findings))
    }
    of_head, of_adapters = jax.random.split(key)
    parts["head"] = {}
    if not writes:
        parts["head"] = head_lib.fit(heads, own, new, width=head_width(config), key=of_head)
    count = len(new[head_lib.ANSWERS])
    config = dataclasses.replace(config, num_answers=count, answering=answering)
    if image_size:
        config = _resize_positions(config, parts, image_size)
    config, parts["adapters"] = companions.read_adapters(folder, config, adapter_size, of_adapters)
    arranged = family_of(config).arrange(config, parts)
    return Weights(config, arranged, new[head_lib.ANSWERS], new[head_lib.FINDINGS])


def load_config(directory: pathlib.Path | str, *, image_size: int = 0) -> Any:
    """Reads a model's sizes, without its weights.

    Args:
      directory: as of `load`.
      image_size: as of `load`.

    Returns:
      The sizes, with as many answers as config.json has labels, and no adapters.

    Raises:
      WeightsError: if config.json is absent, or not of a model that can be built.
    """
    config, _ = read_config(pathlib.Path(directory))
    return family_of(config).with_image_size(config, image_size) if image_size else config


def save(
    directory: pathlib.Path | str,
    config: Any,
    params: Params,
    answers: Sequence[str],
    tokenizer: Tokenizer,
    findings: Sequence[str] = (),
) -> None:
    """Writes a model as transformers' class for question answering reads it.

    Args:
      directory: made if absent; a model in it is replaced, other files stay.
      config: sizes.
      params: of the model.
      answers: classes of its answer head.
      tokenizer: of its questions.
      findings: classes of its head for findings.

    Raises:
      ValueError: if answers or tokenizer do not fit the sizes.
      OSError: if the directory cannot be written to.
    """
    if len(answers) != config.num_answers:
        raise ValueError(f"{len(answers)} answers for a head of {config.num_answers}")
    family, heads = family_of(config), params["head"]
    kinds = family.tensors(config)
    if head_lib.ANSWERS not in heads:
        kinds = [kind for kind in kinds if not family.is_of_head(kind.name)]
    own_files = {n: h for n, h in heads.items() if n != head_lib.ANSWERS or not family.head_prefix}
    write(
        directory,
        config,
        layout.stream(kinds, family.parts(config, params)),
        tokenizer,
        classes={head_lib.ANSWERS: answers, head_lib.FINDINGS: findings},
        heads=own_files,
        adapters=params["adapters"],
    )


def write(
    directory: pathlib.Path | str,
    config: Any,
    theirs: Tensors,
    tokenizer: Tokenizer,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    heads: Params | None = None,
    adapters: Rows | None = None,
    settings: Mapping[str, Any] | None = None,
    shard_bytes: int = shards.SHARD_BYTES,
) -> None:
    """Writes tensors that are already laid out as the family's directories have them.

    Args:
      directory: as of `save`.
      config: sizes.
      theirs: the tensors with their names, as they come.
      tokenizer: of the questions.
      classes: of the heads, by entry; None if there is no head.
      heads: those with a file of their own, by entry.
      adapters: of the selectable stack.
      settings: what config.json holds beside the sizes.
      shard_bytes: how large a file of the model gets before another is begun.

    Raises:
      ValueError: if the tokenizer does not fit the sizes.
      OSError: if the directory cannot be written to.
    """
    if tokenizer.vocabulary_size > config.vocab_size:
        raise ValueError(
            f"a tokenizer of {tokenizer.vocabulary_size} entries for {config.vocab_size} embeddings"
        )
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, *companions.FILES):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save(folder)
    preprocessor.write(folder, config, family_of(config).image_processor(config))
    bytes_of: collections.Counter[str] = collections.Counter()
    shards.write(folder, _counted(theirs, bytes_of), shard_bytes=shard_bytes)
    for name, params in (heads or {}).items():
        companions.write_head(folder, params, name)
    companions.write_adapters(folder, config, adapters)
    dtype = bytes_of.most_common(1)[0][0]
    content = sizes_lib.merged(settings or {}, _config_json(config, classes or {}, dtype))
    tensor_files.write_json(folder / CONFIG_FILE, content)


def _counted(tensors: Tensors, bytes_of: collections.Counter[str]) -> Iterator[Any]:
    for name, value in tensors:
        bytes_of[value.dtype.name] += value.nbytes
        yield name, value


def check(config: Any, shapes: Mapping[str, tuple[int, ...]], where: pathlib.Path) -> None:
    """Refuses tensors that are not those of a model.

    Args:
      config: its sizes.
      shapes: names to shapes; those of the answer head may be absent.
      where: they are, for the message.

    Raises:
      WeightsError: lists what is missing, left over or of another shape.
    """
    family = family_of(config)
    template = _shapes(config)
    expected = layout.expected_shapes(family.tensors(config), family.parts(config, template))
    if not any(family.is_of_head(name) for name in shapes):
        expected = {n: expected[n] for n in expected if not family.is_of_head(n)}
    tensor_files.check_fit(where, shapes, expected)


def family_of(config: Sizes) -> Family:
    """Returns the family whose sizes these are."""
    return next(family for family in FAMILIES.values() if type(config) is family.sizes)


def head_width(config: Any) -> int:
    """Returns the width of the state that a model's heads read."""
    template = _shapes(dataclasses.replace(config, num_answers=1))
    return template["head"][head_lib.ANSWERS]["hidden"]["kernel"].shape[0]


def head_shapes(config: Any, classes: Mapping[str, Sequence[str]]) -> Params:
    """Returns the shapes of heads, by entry.

    Args:
      config: sizes of the model.
      classes: by entry.
    """
    fit = functools.partial(head_lib.fit, {}, {}, classes, width=head_width(config))
    return jax.eval_shape(lambda: fit(key=jax.random.key(0)))


def _shapes(config: Any) -> Params:
    return jax.eval_shape(family_of(config).make_model(config).init, jax.random.key(0))


def read_config(
    folder: pathlib.Path, selectable: str = ""
) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Reads a directory's sizes, and what classes its heads would have.

    Args:
      folder: with config.json, and preprocessor_config.json if there is one.
      selectable: as of `load`.

    Returns:
      (sizes, entry of the head to classes).

    Raises:
      WeightsError: if config.json is absent, or not of a model that can be built.
    """
    path = folder / CONFIG_FILE
    content = tensor_files.read_json(path)
    families = {family.model_type: family for family in FAMILIES.values()}
    if content.get("model_type") not in families:
        raise WeightsError(
            f"{path}: model_type = {content.get('model_type')!r}, must be one of {sorted(families)}"
        )
    family = families[content["model_type"]]
    # What transformers takes where a config has no labels.
    labels = content.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        answers = tuple(labels[str(place)] for place in range(len(labels)))
        sizes = sizes_lib.build(
            family.sizes,
            family.standardise(content),
            num_answers=len(answers),
            selectable=selectable or companions.adapted_stack(folder) or family.stacks[0],
            **preprocessor.read_pixels(folder),
        )
        findings = tuple(content.get("findings", ()))
        return sizes, {head_lib.ANSWERS: answers, head_lib.FINDINGS: findings}
    except KeyError as error:
        raise WeightsError(f"{path}: id2label lacks {error}, must count from 0") from error
    except ConfigError as error:
        raise WeightsError(f"{path}: {error}") from error


def _config_json(config: Sizes, classes: Mapping[str, Sequence[str]], dtype: str) -> dict[str, Any]:
    family = family_of(config)
    content = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "dtype": dtype,
        **sizes_lib.names(config),
    }
    if findings := classes.get(head_lib.FINDINGS):
        content["findings"] = list(findings)
    if answers := classes.get(head_lib.ANSWERS):
        content["id2label"] = {str(place): answer for place, answer in enumerate(answers)}
        content["label2id"] = {answer: place for place, answer in enumerate(answers)}
    return content


def locate(config: Sizes, located: Stored, where: pathlib.Path) -> Stored:
    """Finds a model's tensors among those of a checkpoint.

    Args:
      config: sizes.
      located: all tensors that are there, by the names they have there.
      where: they are, for the message.

    Returns:
      Those of the model, by the names that the family gives them.

    Raises:
      WeightsError: lists what is missing, left over or of another shape.
    """
    renamed = family_of(config).rename(list(located))
    stored = {new: located[name] for name, new in renamed.items()}
    check(config, {name: tensor.shape for name, tensor in stored.items()}, where)
    return stored


def _read_parts(
    folder: pathlib.Path, config: Sizes, classes: Mapping[str, Sequence[str]], dtype: str
) -> dict[str, Params]:
    """Returns a directory's parts without adapters, and without a head if it has none."""
    kinds = family_of(config).tensors(config)
    stored = locate(config, tensor_files.locate(folder), folder)

    def dtype_of(names: Sequence[str]) -> np.dtype:
        if dtype == STORED:
            return tensor_files.common_dtype([stored[name].dtype for name in names])
        return np.dtype(dtype)

    parts = layout.from_huggingface(kinds, tensor_files.stream(stored), dtype_of)
    heads = parts.get("head", {}) | companions.read_heads(folder, head_shapes(config, classes))
    if not heads:
        return parts
    return {**parts, "head": jax.tree.map(lambda leaf: leaf.astype(jnp.float32), heads)}


def _resize_positions(config: Sizes, parts: Params, image_size: int) -> Sizes:
    """Changes the positions of patches in place; returns sizes for images of that side."""
    family = family_of(config)
    resized = family.with_image_size(config, image_size)
    path, method = family.positions
    node = parts
    for key in path[:-1]:
        node = node[key]
    side = math.isqrt(resized.num_patches)
    old_TD = np.asarray(node[path[-1]])
    new_TD = positions.resize(old_TD.astype(np.float32), side, method)
    node[path[-1]] = jnp.asarray(new_TD, old_TD.dtype)
    return resized
