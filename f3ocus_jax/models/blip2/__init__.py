"""BLIP-2 (Li et al., 2023)."""
