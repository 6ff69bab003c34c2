"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from f3ocus_jax.models import albef, blip, blip2_layout, llava_layout, vilt_layout

FAMILIES = {
    "albef": albef.FAMILY,
    "blip": blip.FAMILY,
    "blip2": blip2_layout.FAMILY,
    "llava": llava_layout.FAMILY,
    "vilt": vilt_layout.FAMILY,
}
