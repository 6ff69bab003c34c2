"""Federated fine-tuning of vision-language models, a few chosen layers per client (F³OCUS).

The public names below are imported when they are first used, so that `import f3ocus_jax` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from f3ocus_jax import _xla
from tfds_medvqa.common import interrupts as _interrupts

if TYPE_CHECKING:
    from f3ocus_jax.federation.runs import load as load, run as run
    from f3ocus_jax.federation.settings import ExperimentConfig as ExperimentConfig
    from f3ocus_jax.importance import (
        layerwise_ntk as layerwise_ntk,
        layerwise_ntk_of as layerwise_ntk_of,
    )
    from f3ocus_jax.selection import make_selector as make_selector

__version__ = "0.1.0"

_MODULES = {
    "ExperimentConfig": "f3ocus_jax.federation.settings",
    "layerwise_ntk": "f3ocus_jax.importance",
    "layerwise_ntk_of": "f3ocus_jax.importance",
    "load": "f3ocus_jax.federation.runs",
    "make_selector": "f3ocus_jax.selection",
    "run": "f3ocus_jax.federation.runs",
}
"""Maps each public name to the module that defines it."""

__all__ = [
    "ExperimentConfig",
    "layerwise_ntk",
    "layerwise_ntk_of",
    "load",
    "make_selector",
    "run",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_xla.set_flags()
if _interrupts.is_command("f3ocus_jax"):
    # Here, since a command imports large libraries before its first own line.
    _interrupts.end_at_once()
