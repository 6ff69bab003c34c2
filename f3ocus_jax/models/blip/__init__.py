"""BLIP (Li et al., 2022) and ALBEF (Li et al., 2021)."""
