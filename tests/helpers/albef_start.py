"""An ALBEF that `f3ocus initialise` makes from a small BERT, and the states of its text blocks."""

import pathlib
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax import initialise
from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.blocks import bert, layers
from f3ocus_jax.models.huggingface import directory as huggingface
from tests.helpers import bert as reference

SENTENCE = [2, 9, 31, 17, 3]
FLAGS = {
    "width": None,
    "layers": None,
    "vision_width": 32,
    "vision_layers": 2,
    "image_size": 16,
    "patch_size": 8,
}


def options(**changes: Any) -> types.SimpleNamespace:
    """Values of the command's flags."""
    return types.SimpleNamespace(**{**FLAGS, **changes})


def sizes(source: pathlib.Path, **changes: Any) -> dict[str, Any]:
    """The sizes of the ALBEF that the command makes of a BERT; changes are of the flags."""
    return initialise.albef_sizes(source, options(**changes))


def written(
    folder: pathlib.Path, tensors: reference.Tensors, *, seed: int = 0, **changes: Any
) -> pathlib.Path:
    """The folder of an ALBEF that the command makes of a BERT of these tensors."""
    source = reference.write(folder / "bert", tensors)
    initialise.initialise_albef(source, sizes(source, **changes), folder / "albef", seed=seed)
    return folder / "albef"


def text_states(folder: pathlib.Path, ids_T: list[int]) -> list[np.ndarray]:
    """States of the embeddings, after the text blocks, and after fusion blocks without an image."""
    read = huggingface.load(folder, key=jax.random.key(1), answers=("yes", "no"))
    parts = FAMILIES["albef"].to_submodules(read.spec, read.params)
    config = read.spec.config.text_config
    ids_BT = jnp.asarray(ids_T)[None]
    bias_B11T = layers.padding_bias(jnp.ones_like(ids_BT))
    states = [bert.embed(config, parts["text_embeddings"], ids_BT)]
    for stack in ("text_blocks", "fusion_blocks"):
        states.append(bert.run(config, parts[stack], states[-1], bias_B11T))
    return [np.asarray(state[0]) for state in states]
