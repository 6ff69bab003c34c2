"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from f3ocus_jax.models import albef, blip, vilt_layout

FAMILIES = {"albef": albef.FAMILY, "blip": blip.FAMILY, "vilt": vilt_layout.FAMILY}
