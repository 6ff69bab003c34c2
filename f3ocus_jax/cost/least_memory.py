"""Memory that a run needs at least, from shapes alone, against the memory of this machine.

The numbers are lower bounds, unlike those of `memory_plan`: a run that they refuse fits in no way,
and one that they admit may still not fit.
"""

import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from f3ocus_jax.cost import step_memory
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import family_of
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Params

GIBIBYTE = 2**30
FLOAT_BYTES = 4
CONTROL_GROUP = pathlib.Path("/sys/fs/cgroup/memory.max")
"""Linux's limit on the memory of a container's processes; "max" for none."""


def machine_bytes() -> int:
    """Returns the memory of the host, or of its devices where these have more."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if (
        CONTROL_GROUP.is_file()
        and (text := CONTROL_GROUP.read_text(encoding="utf-8").strip()).isdigit()
    ):
        limits.append(int(text))
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(min(limits), sum(each.get("bytes_limit", 0) for each in stats))


def parameter_shapes(spec: ModelSpec[Any]) -> Params:
    """Returns the shapes of a model's parameters.

    Raises:
      ConfigError: For sizes beyond the largest array that there can be.
    """
    try:
        return jax.eval_shape(family_of(spec).make_model(spec).init, jax.random.key(0))
    except (OverflowError, TypeError, ValueError) as error:
        raise ConfigError(f"config.model has sizes that no array can have: {error}") from error


def model_bytes(shapes: Params, *, trained: int) -> int:
    """Returns the bytes of a model's parameters and of what training keeps beside them.

    Args:
      shapes: Shapes of all parameters.
      trained: Number of trained parameters, each with its gradient and two moments of AdamW.
    """
    return step_memory.tree_bytes(shapes) + 3 * FLOAT_BYTES * trained


def batch_bytes(spec: ModelSpec[Any], examples: int, question_length: int, side: int) -> int:
    """Returns the bytes of one batch: its images as bytes and as floats, and one hidden state.

    Args:
      spec: Specification of the model.
      examples: B, examples of the batch.
      question_length: T, tokens of a question.
      side: Side of the images in pixels.
    """
    pixels = side**2 * spec.config.num_channels
    hidden = question_length * spec.stack.width
    return examples * (pixels * (1 + FLOAT_BYTES) + hidden * FLOAT_BYTES)


def count(shapes: Any) -> int:
    """Returns the number of elements of all arrays in a pytree."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def require_room(needs: Mapping[str, int]) -> None:
    """Refuses a run that needs more memory than there is.

    Args:
      needs: Settings with their values, as the message names them, to the bytes that they need at
        least; all of them are needed at once.

    Raises:
      ConfigError: With the plan, the memory of this machine, and the settings to lower.
    """
    there, total = machine_bytes(), sum(needs.values())
    if total <= there:
        return
    largest = max(needs, key=lambda name: needs[name])
    raise ConfigError(
        f"this run needs at least {_text(total)} of memory, {_text(needs[largest])} of them for "
        f"{largest}; this machine has {_text(there)}; lower this setting"
    )


def _text(size: int) -> str:
    return f"{size / GIBIBYTE:,.1f} GiB"
