"""Federated fine-tuning of vision-language models, a few chosen layers per client (F³OCUS)."""

from f3ocus_jax import _xla

__version__ = "0.1.0"

_xla.set_flags()
