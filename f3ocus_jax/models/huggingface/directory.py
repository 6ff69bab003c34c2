"""Models in local Hugging Face directories: read, checked and written.

Such a directory holds config.json, model.safetensors (or shards with an index), the tokenizer's
files, preprocessor_config.json and, in some families, processor_config.json. Exported models may
also have adapters.safetensors, findings.safetensors, and head.safetensors if the class of
transformers has no answer head, all of which transformers ignores; config.json then lists the
findings.
config.json is written last and removed first: a directory that has it is complete. A manifest of
all these files follows it, which transformers ignores, too; see `seal`.
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
from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models import family_of, head as head_lib, sizes
from f3ocus_jax.models.blocks import positions
from f3ocus_jax.models.huggingface import (
    config_file,
    extra_files,
    layout,
    preprocessor,
    seal,
    shards,
    tensor_files,
)
from f3ocus_jax.models.huggingface.config_file import CONFIG_FILE
from f3ocus_jax.models.huggingface.tensor_files import StoredTensors
from f3ocus_jax.models.spec import CLASSIFY, GENERATE, ModelSpec
from f3ocus_jax.types import Params, Rows

STORED = "stored"
WEIGHT_DTYPES = ("float32", "bfloat16", STORED)
"""Dtypes of weights in memory; "stored" is that of the file."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model as read from disk.

    Attributes:
      spec: Specification of the model.
      params: Parameters, with the keys of `Model`.
      answers: Classes of the answer head.
      findings: Classes of the head for findings; none without such a head.
    """

    spec: ModelSpec[Any]
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
    answering: str = CLASSIFY,
) -> Weights:
    """Reads a model, one tensor after the other: no more than one file is in memory beside it.

    Args:
      directory: Directory of any family in `FAMILIES`. If it has no answer head, a fresh one is
        drawn.
      key: Typed random key of parameters that the directory lacks.
      answers: Classes of the answer head; classes that the directory's head knows keep their
        weights. None for the classes of the directory.
      findings: Classes of the head for findings, likewise.
      adapter_size: Bottleneck of the adapters, which are drawn if the directory has none; None for
        the bottleneck of the directory, or no adapters.
      selectable: Name of the selectable stack; "" for that of the directory's adapters, or the
        family's first.
      image_size: Side of the images in pixels, to which the position embeddings of patches are
        resized; 0 for the directory's own.
      dtype: One of `WEIGHT_DTYPES`; adapters and answer head are always float32.
      answering: One of `ANSWERING`; a model that writes answers has no head.

    Returns:
      The model.

    Raises:
      DamagedError: If a file that the directory's manifest lists is absent or changed.
      WeightsError: If a file is absent, truncated or of another model, if tensors are missing, left
        over or of another shape (the message lists them), or if adapters have another size or are
        in another stack.
    """
    folder = pathlib.Path(directory)
    seal.check(folder, weights=True)
    spec, own = config_file.read(folder, selectable)
    submodules = _read_submodules(folder, spec, own, dtype)
    heads, generates = submodules.get("head", {}), answering == GENERATE
    if answers is None and not heads and not generates:
        raise WeightsError(f"{folder} has no answer head, so the answers must be given")
    # A model that writes has no head, but its answers are still the candidates that it ranks.
    known = {*heads, head_lib.ANSWERS} if generates else heads
    own = {name: own[name] if name in known else () for name in own}
    new = {
        name: own[name] if given is None else tuple(given)
        for name, given in ((head_lib.ANSWERS, answers), (head_lib.FINDINGS, findings))
    }
    head_key, adapters_key = jax.random.split(key)
    submodules["head"] = {}
    if not generates:
        width = head_width(spec)
        submodules["head"] = head_lib.fit(heads, own, new, width=width, key=head_key)
    spec = spec.replace(num_answers=len(new[head_lib.ANSWERS]), answering=answering)
    if image_size:
        spec = _resize_positions(spec, submodules, image_size)
    spec, submodules["adapters"] = extra_files.read_adapters(
        folder, spec, adapter_size, adapters_key
    )
    params = family_of(spec).to_params(spec, submodules)
    return Weights(spec, params, new[head_lib.ANSWERS], new[head_lib.FINDINGS])


def load_spec(directory: pathlib.Path | str, *, image_size: int = 0) -> ModelSpec[Any]:
    """Reads a model's specification, without its weights.

    Args:
      directory: Directory of any family in `FAMILIES`.
      image_size: Side of the images in pixels; 0 for the directory's own.

    Returns:
      The specification, with as many answers as config.json has labels, and no adapters.

    Raises:
      DamagedError: If a file that the directory's manifest lists is absent or changed.
      WeightsError: If config.json is absent, or its model cannot be built.
    """
    folder = pathlib.Path(directory)
    seal.check(folder, weights=False)
    spec, _ = config_file.read(folder)
    return spec.with_image_size(image_size)


def save(
    directory: pathlib.Path | str,
    spec: ModelSpec[Any],
    params: Params,
    answers: Sequence[str],
    tokenizer: Tokenizer,
    findings: Sequence[str] = (),
) -> None:
    """Writes a model as the class of transformers for question answering reads it.

    Args:
      directory: Made if absent; a model in it is replaced, other files are kept.
      spec: Specification of the model.
      params: Parameters of the model.
      answers: Classes of the answer head.
      tokenizer: Tokenizer of the questions.
      findings: Classes of the head for findings.

    Raises:
      ValueError: If answers or tokenizer do not fit the specification.
      OSError: If the directory cannot be written to.
    """
    if len(answers) != spec.setup.num_answers:
        raise ValueError(f"{len(answers)} answers for a head of {spec.setup.num_answers}")
    family, heads = family_of(spec), params["head"]
    mappings = family.tensors(spec.config)
    if head_lib.ANSWERS not in heads:
        mappings = [one for one in mappings if not family.is_of_head(one.name)]
    write(
        directory,
        spec,
        layout.stream(mappings, family.to_submodules(spec, params)),
        tokenizer,
        classes={head_lib.ANSWERS: answers, head_lib.FINDINGS: findings},
        heads={n: heads[n] for n in heads if n != head_lib.ANSWERS or not family.head_prefix},
        adapters=params["adapters"],
    )


def write(
    directory: pathlib.Path | str,
    spec: ModelSpec[Any],
    tensors: Iterable[tuple[str, np.ndarray]],
    tokenizer: Tokenizer,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    heads: Params | None = None,
    adapters: Rows | None = None,
    settings: Mapping[str, Any] | None = None,
    shard_bytes: int = shards.SHARD_BYTES,
) -> None:
    """Writes tensors that have the layout and the names of the family's directories.

    Args:
      directory: Made if absent; a model in it is replaced, other files are kept.
      spec: Specification of the model.
      tensors: (name, array) pairs, written as they come.
      tokenizer: Tokenizer of the questions.
      classes: Entry of the head to its classes; None without a head.
      heads: Heads that have a file of their own, by entry.
      adapters: Adapters of the selectable stack.
      settings: Further entries of config.json.
      shard_bytes: Size of a model file at most.

    Raises:
      ValueError: If the tokenizer does not fit the sizes.
      OSError: If the directory cannot be written to.
    """
    entries, embeddings = tokenizer.vocabulary_size, spec.config.vocab_size
    if entries > embeddings:
        raise ValueError(f"a tokenizer of {entries} entries for {embeddings} embeddings")
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    seal.unseal(folder)
    for name in (CONFIG_FILE, *extra_files.FILES):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save(folder)
    preprocessor.write(folder, spec.setup, family_of(spec).image_processor(spec.config))
    preprocessor.write_processor(folder, family_of(spec).processor(spec.config))
    bytes_of: collections.Counter[str] = collections.Counter()
    shards.write(folder, _counted(tensors, bytes_of), shard_bytes=shard_bytes)
    for name, params in (heads or {}).items():
        extra_files.write_head(folder, params, name)
    extra_files.write_adapters(folder, spec.setup.selectable, adapters)
    dtype = bytes_of.most_common(1)[0][0]
    content = config_file.content(spec, classes or {}, dtype)
    tensor_files.write_json(folder / CONFIG_FILE, sizes.merged(settings or {}, content))


def _counted(
    tensors: Iterable[tuple[str, np.ndarray]], bytes_of: collections.Counter[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Passes tensors on; adds their bytes up by dtype."""
    for name, value in tensors:
        bytes_of[value.dtype.name] += value.nbytes
        yield name, value


def check(spec: ModelSpec[Any], shapes: Mapping[str, tuple[int, ...]], where: pathlib.Path) -> None:
    """Compares the tensors of a checkpoint with those of a model.

    Args:
      spec: Specification of the model.
      shapes: Names to shapes; tensors of the answer head may be absent.
      where: Path of the checkpoint, for the message.

    Raises:
      WeightsError: Lists the tensors that are missing, left over or of another shape; names the
        class of transformers instead if config.json has another one than this model's.
    """
    family = family_of(spec)
    submodules = family.to_submodules(spec, _shapes(spec))
    expected = layout.expected_shapes(family.tensors(spec.config), submodules)
    if not any(family.is_of_head(name) for name in shapes):
        expected = {n: expected[n] for n in expected if not family.is_of_head(n)}
    try:
        tensor_files.check_shapes(where, shapes, expected)
    except WeightsError as error:
        found, needed = config_file.architecture(where), family.architecture
        if found in ("", *family.architectures.values()):
            raise
        raise WeightsError(f"{where} holds a {found}, must be a {needed}") from error


def head_width(spec: ModelSpec[Any]) -> int:
    """Returns the width of the state that a model's heads read."""
    template = _shapes(spec.replace(num_answers=1, answering=CLASSIFY))
    return template["head"][head_lib.ANSWERS]["hidden"]["kernel"].shape[0]


def head_shapes(spec: ModelSpec[Any], classes: Mapping[str, Sequence[str]]) -> Params:
    """Returns the shapes of a model's heads, by entry.

    Args:
      spec: Specification of the model.
      classes: Entry of the head to its classes.
    """
    fit = functools.partial(head_lib.fit, {}, {}, classes, width=head_width(spec))
    return jax.eval_shape(lambda: fit(key=jax.random.key(0)))


def _shapes(spec: ModelSpec[Any]) -> Params:
    return jax.eval_shape(family_of(spec).make_model(spec).init, jax.random.key(0))


def locate(spec: ModelSpec[Any], stored: StoredTensors, where: pathlib.Path) -> StoredTensors:
    """Finds a model's tensors among those of a checkpoint.

    Args:
      spec: Specification of the model.
      stored: All tensors of the checkpoint, by their names there.
      where: Path of the checkpoint, for the message.

    Returns:
      The model's tensors, by the names that the family gives them.

    Raises:
      WeightsError: Lists the tensors that are missing, left over or of another shape.
    """
    renamed = family_of(spec).rename(list(stored))
    found = {new: stored[name] for name, new in renamed.items()}
    check(spec, {name: tensor.shape for name, tensor in found.items()}, where)
    return found


def _read_submodules(
    folder: pathlib.Path, spec: ModelSpec[Any], classes: Mapping[str, Sequence[str]], dtype: str
) -> dict[str, Params]:
    """Returns a directory's submodules without adapters; without a head if it has none."""
    mappings = family_of(spec).tensors(spec.config)
    stored = locate(spec, tensor_files.locate(folder), folder)

    def dtype_of(names: Sequence[str]) -> np.dtype:
        if dtype == STORED:
            return tensor_files.common_dtype([stored[name].dtype for name in names])
        return np.dtype(dtype)

    submodules = layout.from_huggingface(mappings, tensor_files.stream(stored), dtype_of)
    heads = extra_files.read_heads(folder, head_shapes(spec, classes))
    heads = submodules.get("head", {}) | heads
    if not heads:
        return submodules
    return {**submodules, "head": jax.tree.map(lambda leaf: leaf.astype(jnp.float32), heads)}


def _resize_positions(spec: ModelSpec[Any], submodules: Params, image_size: int) -> ModelSpec[Any]:
    """Resizes the patches' position embeddings in place; returns the new specification."""
    resized = spec.with_image_size(image_size)
    path, method = family_of(spec).position_embeddings
    node = submodules
    for key in path[:-1]:
        node = node[key]
    side = math.isqrt(resized.config.num_patches)
    old_TD = np.asarray(node[path[-1]])
    new_TD = positions.resize(old_TD.astype(np.float32), side, method)
    node[path[-1]] = jnp.asarray(new_TD, old_TD.dtype)
    return resized
