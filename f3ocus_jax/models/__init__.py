"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from f3ocus_jax.models import albef, blip, llava_layout, vilt_layout

FAMILIES = {
    "albef": albef.FAMILY,
    "blip": blip.FAMILY,
    "llava": llava_layout.FAMILY,
    "vilt": vilt_layout.FAMILY,
}
