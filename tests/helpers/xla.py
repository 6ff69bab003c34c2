"""Costs of a function according to XLA."""

import jax


def xla_flops(function, *args):
    """The outside oracle: XLA's own count, of the program before it is optimised."""
    return jax.jit(function).lower(*args).cost_analysis()["flops"]
