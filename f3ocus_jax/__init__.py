"""Federated fine-tuning of vision-language models, a few chosen layers per client (F³OCUS)."""

__version__ = "0.1.0"
