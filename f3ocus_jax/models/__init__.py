"""Vision-language models as stacks of rows, with their adapters, losses and weights."""

from f3ocus_jax.models import vilt

FAMILIES = {"vilt": vilt.create}
