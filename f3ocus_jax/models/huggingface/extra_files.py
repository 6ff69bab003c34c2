"""Files of a model's directory that transformers ignores: adapters, heads and a prompt.

The names of the adapters' tensors begin with the name of their stack.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models import head
from f3ocus_jax.models.blocks import adapters
from f3ocus_jax.models.huggingface import tensor_files
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Params, Rows

ADAPTERS_FILE = "adapters.safetensors"
HEAD_FILES = {head.ANSWERS: "head.safetensors", head.FINDINGS: "findings.safetensors"}
"""File of each entry of a model's `head`."""
PROMPT_FILE = "prompt.safetensors"
FILES = (ADAPTERS_FILE, *HEAD_FILES.values(), PROMPT_FILE)


def adapted_stack(folder: pathlib.Path) -> str:
    """Returns the name of the stack of a directory's adapters; "" without adapters."""
    path = folder / ADAPTERS_FILE
    names = tensor_files.contents(path) if path.is_file() else {}
    return next(iter(names)).split(".")[0] if names else ""


def read_adapters(
    folder: pathlib.Path, spec: ModelSpec[Any], size: int | None, key: jax.Array
) -> tuple[ModelSpec[Any], Rows]:
    """Reads adapters, or draws fresh ones if there are none.

    Args:
      folder: Directory of the model.
      spec: Specification of the model.
      size: Bottleneck of the adapters; None for that of the file, or no adapters without a file.
      key: Typed random key.

    Returns:
      (specification with this bottleneck, adapters with leading axis L).

    Raises:
      WeightsError: If adapters in the file have another size, shape or stack.
    """
    path, stack = folder / ADAPTERS_FILE, spec.setup.selectable
    stored = tensor_files.contents(path) if path.is_file() else {}
    found_stack, bias = adapted_stack(folder), stored.get(f"{stack}.down.bias")
    if found_stack not in ("", stack):
        raise WeightsError(
            f"{path} has adapters in the stack {found_stack!r}, config.model.selectable = {stack!r}"
        )
    found = bias.shape[-1] if bias else 0
    if size is not None and found not in (0, size):
        raise WeightsError(f"{path} has bottleneck {found}, config.model.adapter_size = {size}")
    spec = spec.replace(adapter_size=found if size is None else size)

    def fresh() -> Rows:
        return adapters.init_stack(
            key,
            layers=spec.stack.num_layers,
            width=spec.stack.width,
            bottleneck=spec.setup.adapter_size,
        )

    if not stored:
        return spec, fresh()
    return spec, _read_tree(path, {stack: jax.eval_shape(fresh)})[stack]


def read_heads(folder: pathlib.Path, templates: Mapping[str, Params]) -> dict[str, Params]:
    """Reads the heads that have files of their own.

    Args:
      folder: Directory of the model.
      templates: Entry to a head of the expected shapes.

    Returns:
      Entry to head, for those that have a file.

    Raises:
      WeightsError: If a head has other shapes.
    """
    paths = {name: folder / HEAD_FILES[name] for name in templates}
    return {
        name: _read_tree(path, templates[name]) for name, path in paths.items() if path.is_file()
    }


def write_adapters(folder: pathlib.Path, stack: str, rows: Rows | None) -> None:
    """Writes adapters; no file if there are none."""
    if rows:
        tensor_files.write(folder / ADAPTERS_FILE, _flat({stack: rows}))


def write_head(folder: pathlib.Path, params: Params, name: str = head.ANSWERS) -> None:
    """Writes one entry of a model's `head` into a file of its own."""
    tensor_files.write(folder / HEAD_FILES[name], _flat(params))


def read_prompt(folder: pathlib.Path, stack: str, tokens: int) -> jax.Array | None:
    """Reads the learned tokens in front of a stack.

    Args:
      folder: Directory of the model.
      stack: Name of the selectable stack.
      tokens: Expected number of tokens.

    Returns:
      tokens_PD; None without such a file.

    Raises:
      WeightsError: If the file has another number of tokens, or tokens of another stack.
    """
    path = folder / PROMPT_FILE
    if not path.is_file():
        return None
    stored = tensor_files.contents(path)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    if shapes.get(stack, (0,))[0] != tokens:
        raise WeightsError(
            f"{path} has a prompt of stack and tokens {shapes}, the run has the stack {stack!r} "
            f"and config.model.prompt_length = {tokens}"
        )
    return jnp.asarray(tensor_files.read(stored)[stack])


def write_prompt(folder: pathlib.Path, stack: str, tokens_PD: jax.Array) -> None:
    """Writes the learned tokens in front of a stack."""
    tensor_files.write(folder / PROMPT_FILE, {stack: np.asarray(tokens_PD)})


def _read_tree(path: pathlib.Path, template: Any) -> Any:
    stored = tensor_files.contents(path)
    expected = {name: leaf.shape for name, leaf in _flat(template).items()}
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    tensor_files.check_shapes(path, shapes, expected)
    values = {name: jnp.asarray(value) for name, value in tensor_files.read(stored).items()}
    return traverse_util.unflatten_dict(values, sep=".")


def _flat(tree: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(tree, sep=".")
