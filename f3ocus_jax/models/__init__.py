"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from f3ocus_jax.models.blip import albef, blip
from f3ocus_jax.models.blip2 import tensors as blip2_layout
from f3ocus_jax.models.llava import tensors as llava_layout
from f3ocus_jax.models.vilt import tensors as vilt_layout

FAMILIES = {
    "albef": albef.FAMILY,
    "blip": blip.FAMILY,
    "blip2": blip2_layout.FAMILY,
    "llava": llava_layout.FAMILY,
    "vilt": vilt_layout.FAMILY,
}
