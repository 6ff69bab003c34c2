"""LLaVA-1.5 (Liu et al., 2023)."""
