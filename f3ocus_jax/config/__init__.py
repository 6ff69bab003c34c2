"""Declaration, checks and parsing of settings; the sections stand in <folder>/settings.py."""

from f3ocus_jax.config.checks import choose, nearest, require
from f3ocus_jax.config.parsing import defaults, flatten, parse
from f3ocus_jax.config.periodic import Periodic
from f3ocus_jax.config.section import Component, Section, section
from f3ocus_jax.config.setting import SEED, setting

__all__ = [
    "SEED",
    "Component",
    "Periodic",
    "Section",
    "choose",
    "defaults",
    "flatten",
    "nearest",
    "parse",
    "require",
    "section",
    "setting",
]
