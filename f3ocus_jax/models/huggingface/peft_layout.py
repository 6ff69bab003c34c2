"""Low-rank changes in the layout of PEFT, which adds them to the weights that a run started from.

PEFT's folder holds adapter_config.json and adapter_model.safetensors. It names the modules of a
running model of transformers; ALBEF, which transformers lacks, has no such layout. If queries, keys
and values are one module there, its change is the changes of its parts side by side, with twice the
rank for two. adapter_config.json is written last and removed first: a folder that has it is
complete.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from f3ocus_jax.models import family_of, head as head_lib
from f3ocus_jax.models.huggingface import layout, tensor_files
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Params

FOLDER = "peft_adapter"
"""Folder in the directory of an exported model."""
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
"""Suffixes of a module's two matrices, [rank, in] and [out, rank]."""

_MODEL = "base_model.model."
"""Prefix of the model that a PeftModel changes."""


def write(directory: pathlib.Path, spec: ModelSpec[Any], params: Params, weights: str) -> None:
    """Writes low-rank changes beside an exported model, and removes those of an earlier one.

    Args:
      directory: Directory of the exported model.
      spec: Specification of the model.
      params: Parameters of the model, its changes not merged into its blocks; nothing is written
        without changes, or if PEFT has no layout for them.
      weights: Directory of the weights that the changes belong to; "" if they were drawn.

    Raises:
      OSError: If the directory cannot be written to.
    """
    folder = directory / FOLDER
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (folder / name).unlink(missing_ok=True)
    changes = tensors(spec, params.get("lora", {}))
    if not changes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    head = _head_tensors(spec, params)
    tensor_files.write(folder / WEIGHTS_FILE, {**changes, **head})
    tensor_files.write_json(folder / CONFIG_FILE, _settings(spec, changes, weights, bool(head)))


def tensors(spec: ModelSpec[Any], rows: Params) -> dict[str, np.ndarray]:
    """Returns low-rank changes in PEFT's layout.

    Args:
      spec: Specification of the model.
      rows: Changes of the selectable stack, as `lora.init_stack` makes them; empty without changes.

    Returns:
      Names to arrays, float32; empty if PEFT has no layout for these changes.
    """
    family = family_of(spec)
    if family.module_name is None:
        return {}
    blocks = family.to_submodules(spec, {"embeddings": {}, "blocks": rows, "readout": {}})
    # Once for all layers: copying one layer after the other from a device waits for each.
    flat = {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(blocks).items()}
    found = {}
    for mapping in family.tensors(spec.config):
        changed = [path[:-1] for path in mapping.paths if _is_changed(path, flat)]
        if not changed:
            continue
        for layer, name in enumerate(mapping.names):
            module = f"{_MODEL}{family.module_name(name).removesuffix('.weight')}"
            downs = [flat[*path, "down"][layer] for path in changed]
            ups = [flat[*path, "up"][layer] for path in changed]
            up = mapping.to_tensor(
                *_block_diagonal(mapping.paths, dict(zip(changed, ups, strict=True)))
            )
            found[f"{module}{DOWN}"] = np.concatenate([down.T for down in downs])
            found[f"{module}{UP}"] = up
    return found


def _is_changed(path: layout.Path, flat: Mapping[layout.Path, Any]) -> bool:
    return path[-1] == "kernel" and (*path[:-1], "down") in flat


def _block_diagonal(
    paths: Sequence[layout.Path], ups: Mapping[layout.Path, np.ndarray]
) -> list[np.ndarray]:
    """Gives each linear map in a module ranks of its own: [ranks of all, out], 0 elsewhere."""
    rank, outputs = next(iter(ups.values())).shape
    diagonal = {path[:-1]: np.zeros((len(ups) * rank, outputs), np.float32) for path in paths}
    for index, (path, up) in enumerate(ups.items()):
        diagonal[path][index * rank : (index + 1) * rank] = up
    return list(diagonal.values())


def _head_tensors(spec: ModelSpec[Any], params: Params) -> dict[str, np.ndarray]:
    """Returns the answer head, which is trained too, if the class of transformers has one."""
    family = family_of(spec)
    mappings = [one for one in family.tensors(spec.config) if family.is_of_head(one.name)]
    if head_lib.ANSWERS not in params["head"]:
        return {}
    tensors = layout.stream(mappings, family.to_submodules(spec, params))
    return {f"{_MODEL}{name}": value for name, value in tensors}


def _settings(
    spec: ModelSpec[Any], changes: dict[str, np.ndarray], weights: str, has_head: bool
) -> dict[str, Any]:
    """Returns the fields of PEFT's LoraConfig; its factor, lora_alpha / r, is 1."""
    modules = {name.removesuffix(DOWN): down for name, down in changes.items() if DOWN in name}
    rank = len(next(iter(modules.values())))
    head = family_of(spec).head_prefix.removesuffix(".")
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
        # Whole names, since other stacks' modules have the same suffixes.
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
