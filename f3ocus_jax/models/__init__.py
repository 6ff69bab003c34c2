"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from f3ocus_jax.models import blip, vilt_layout

FAMILIES = {"blip": blip.FAMILY, "vilt": vilt_layout.FAMILY}
