"""How are low-rank changes laid out for PEFT, which adds them to the weights that a run began with?

PEFT's folder holds adapter_config.json and adapter_model.safetensors. It names the modules of a
running model of transformers, so that ALBEF, which transformers lacks, has none. Where queries,
keys and values are one module there, its change is that of all changed parts side by side, of
twice the rank for two. adapter_config.json is written last and removed first, so that a folder with
one is complete.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from f3ocus_jax.models import head as head_lib
from f3ocus_jax.models.huggingface import directory as huggingface, layout, tensor_files
from f3ocus_jax.models.sizes import Sizes
from f3ocus_jax.types import Params

FOLDER = "peft_adapter"
"""Within the directory of an exported model."""
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
"""Ends of the names of a module's two maps, [rank, in] and [out, rank]."""

_MODEL = "base_model.model."
"""Where a PeftModel keeps the model that it changes."""


def write(directory: pathlib.Path, config: Sizes, params: Params, weights: str) -> None:
    """Writes low-rank changes beside an exported model; those of an earlier one go in any case.

    Args:
      directory: of the exported model.
      config: its sizes.
      params: of the model, its changes not added to its blocks; nothing is written without changes,
        or where PEFT has no layout for them.
      weights: directory of those that the changes belong to; "" if they were drawn.

    Raises:
      OSError: if the directory cannot be written to.
    """
    folder = directory / FOLDER
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (folder / name).unlink(missing_ok=True)
    changes = tensors(config, params.get("lora", {}))
    if not changes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    head = _head_tensors(config, params)
    tensor_files.write(folder / WEIGHTS_FILE, {**changes, **head})
    tensor_files.write_json(folder / CONFIG_FILE, _settings(config, changes, weights, bool(head)))


def tensors(config: Sizes, rows: Params) -> dict[str, np.ndarray]:
    """Returns low-rank changes as PEFT has them.

    Args:
      config: sizes of the model.
      rows: of `lora.init_stack`, in the selectable stack; empty without changes.

    Returns:
      Names to arrays, float32; empty where PEFT has no layout for these changes.
    """
    family = huggingface.family_of(config)
    if family.module is None:
        return {}
    parts = family.parts(config, {"embeddings": {}, "blocks": rows, "readout": {}})
    # Once for all layers: taking one layer after the other from a device would wait for each.
    flat = {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(parts).items()}
    found = {}
    for kind in family.tensors(config):
        changed = [path[:-1] for path in kind.paths if _is_changed(path, flat)]
        if not changed:
            continue
        for layer, name in enumerate(kind.names):
            module = f"{_MODEL}{family.module(name).removesuffix('.weight')}"
            downs = [flat[*path, "down"][layer] for path in changed]
            ups = [flat[*path, "up"][layer] for path in changed]
            up = kind.to_theirs(*_apart(kind.paths, dict(zip(changed, ups, strict=True))))
            found[f"{module}{DOWN}"] = np.concatenate([down.T for down in downs])
            found[f"{module}{UP}"] = up
    return found


def _is_changed(path: layout.Path, flat: Mapping[layout.Path, Any]) -> bool:
    return path[-1] == "kernel" and (*path[:-1], "down") in flat


def _apart(paths: Sequence[layout.Path], ups: Mapping[layout.Path, np.ndarray]) -> list[np.ndarray]:
    """Gives each of our maps in a module ranks of its own: [ranks of all, out], 0 beside them."""
    rank, outputs = next(iter(ups.values())).shape
    apart = {path[:-1]: np.zeros((len(ups) * rank, outputs), np.float32) for path in paths}
    for place, (path, up) in enumerate(ups.items()):
        apart[path][place * rank : (place + 1) * rank] = up
    return list(apart.values())


def _head_tensors(config: Sizes, params: Params) -> dict[str, np.ndarray]:
    """Returns the answer head, which is trained too, where it is in transformers' class."""
    family = huggingface.family_of(config)
    kinds = [kind for kind in family.tensors(config) if family.is_of_head(kind.name)]
    if head_lib.ANSWERS not in params["head"]:
        return {}
    theirs = layout.stream(kinds, family.parts(config, params))
    return {f"{_MODEL}{name}": value for name, value in theirs}


def _settings(
    config: Sizes, changes: dict[str, np.ndarray], weights: str, has_head: bool
) -> dict[str, Any]:
    """Returns what PEFT's LoraConfig is made from; its factor, lora_alpha / r, is 1."""
    modules = {name.removesuffix(DOWN): down for name, down in changes.items() if DOWN in name}
    rank = len(next(iter(modules.values())))
    head = huggingface.family_of(config).head_prefix.removesuffix(".")
    return {
        "peft_type": "LORA",
        "task_type": None,
        "auto_mapping": None,
        "base_model_name_or_path": weights or None,
        "revision": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        # Whole names: the ends of them are those of other stacks' modules too.
        "target_modules": [name.removeprefix(_MODEL) for name in modules],
        "modules_to_save": [head] if has_head else None,
        "layers_to_transform": None,
        "layers_pattern": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "loftq_config": {},
        "use_rslora": False,
        "use_dora": False,
    }
