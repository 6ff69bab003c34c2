"""The layers of an `nnx` module as parameters of a pure function."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
from flax import nnx

Path: TypeAlias = tuple[Any, ...]
"""Path of a parameter in the state of a module, such as ("blocks", 0, "mlp", "kernel")."""

Layers: TypeAlias = str | Sequence[str] | Callable[[Path], int | None]
"""Which parameters belong to which layer; see `black_box.layerwise_ntk_of`."""

PARAMETERS = (nnx.Param, nnx.LoRAParam)
"""Types of variables that count as parameters of a layer; all others are constants."""


def split_module(
    module: nnx.Module, layers: Layers
) -> tuple[Callable[[Any, Any], jax.Array], Any, bool]:
    """Splits a module into a pure function and the parameters of its layers.

    Args:
      module: Module that maps a batch to outputs.
      layers: Layers as in `black_box.layerwise_ntk_of`.

    Returns:
      (function of the layers' parameters and a batch, parameters of the layers, True if they are
      one stack with a leading layer axis). Parameters of one layer are a dict of arrays by path;
      those of layers that are no stack are a list of L dicts.

    Raises:
      ValueError: If a layer has no parameters or shares one with another layer, or if a stack has
        no common leading axis.
    """
    graph, *states = nnx.split(module, PARAMETERS, ...)
    state, others = states
    variables = dict(nnx.to_flat_state(state))
    is_stacked = isinstance(layers, str)
    groups = _group(list(variables), [layers] if isinstance(layers, str) else layers)
    rows = [{_name(path): variables[path].get_value() for path in group} for group in groups]
    if is_stacked:
        _check_stack(rows[0])

    def apply(parameters: Any, batch: Any) -> jax.Array:
        arrays: dict[str, jax.Array] = {}
        for row in [parameters] if is_stacked else parameters:
            arrays.update(row)
        flat = {
            path: variable.replace(arrays.get(_name(path), variable.get_value()))
            for path, variable in variables.items()
        }
        # A copy, since a call may change other variables, such as the random state of a dropout.
        copied = jax.tree.map(lambda leaf: leaf, others)
        merged = nnx.merge(graph, nnx.from_flat_state(flat), copied)
        return merged(*batch) if isinstance(batch, tuple) else merged(batch)

    return apply, rows[0] if is_stacked else rows, is_stacked


def _name(path: Path) -> str:
    return "/".join(map(str, path))


def _group(
    paths: Sequence[Path], layers: Sequence[str] | Callable[[Path], int | None]
) -> list[list[Path]]:
    """Returns the paths of every layer's parameters."""
    if callable(layers):
        index = {path: layers(path) for path in paths}
        count = 1 + max((i for i in index.values() if i is not None), default=-1)
        groups = [[path for path in paths if index[path] == layer] for layer in range(count)]
        names = [f"layer {layer}" for layer in range(max(count, 1))]
    else:
        groups = [[path for path in paths if _is_within(path, layer)] for layer in layers]
        names = [f"layer {layer!r}" for layer in layers]
    for name, group in zip(names, groups or [[]], strict=True):
        if not group:
            raise ValueError(f"{name} has no parameters; the module has {_names(paths)}")
    owners: dict[Path, str] = {}
    for name, group in zip(names, groups, strict=True):
        for path in group:
            if path in owners:
                raise ValueError(f"{owners[path]} and {name} share the parameter {_name(path)}")
            owners[path] = name
    return groups


def _is_within(path: Path, layer: str) -> bool:
    parts = layer.strip("/").split("/")
    return [str(part) for part in path[: len(parts)]] == parts


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(_name(path) for path in paths)


def _check_stack(row: dict[str, jax.Array]) -> None:
    sizes = {name: array.shape[:1] for name, array in row.items()}
    if len(set(sizes.values())) > 1 or () in sizes.values():
        shapes = ", ".join(f"{name} {array.shape}" for name, array in row.items())
        raise ValueError(
            f"stacked layers need one leading layer axis, they have {shapes}: name the layers' "
            "paths one by one"
        )
