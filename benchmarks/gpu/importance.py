"""Cost of LNTK's scores of all adapters of a published model, from 16 examples."""

import functools
import time

import jax
import numpy as np

from benchmarks import importance as on_blocks
from benchmarks.gpu import lines, models
from f3ocus_jax import importance
from f3ocus_jax.importance import network as network_lib
from f3ocus_jax.types import Batch, Params, Rows

EXAMPLES = 16
MEMORY_LIMIT = 2**34


def main() -> None:
    """Runs the part."""
    given = lines.parse(__doc__.splitlines()[0], cases=True)
    made = models.make(given.model, tiny=given.tiny)

    def network(frozen: Params, rows_L: Rows, head: Params, batch: Batch) -> importance.Network:
        parts = (made.model, models.UNIT, frozen, rows_L, head, batch)
        return network_lib.make_network(*parts, read=network_lib.read_logits)

    def score(*parts: Params) -> importance.Spectrum:
        return importance.layerwise_ntk(network(*parts), memory_limit=MEMORY_LIMIT)

    parts = (made.frozen, made.rows_L, made.head, made.batch(EXAMPLES))
    plan = importance.make_plan(network(*parts), memory_limit=MEMORY_LIMIT)
    start = time.perf_counter()
    compiled = jax.jit(score).lower(*parts).compile()
    row = {"compile_seconds": time.perf_counter() - start}
    row |= lines.measure(functools.partial(compiled, *parts))
    found = compiled(*parts)
    flops = on_blocks.counted(plan, found)
    rate = on_blocks.matmul_rate(256 if given.tiny else 8192)
    described = {
        "model": given.model,
        "tiny": given.tiny,
        "examples": EXAMPLES,
        "method": plan.method,
        "iterations": float(np.mean(found.iterations_LM)),
        "converged": bool(np.all(found.converged_LM)),
        "gigaflops": flops / 1e9,
        "flops_per_second": flops / row["seconds"],
        "flop_efficiency": flops / row["seconds"] / rate,
        "program_mb": on_blocks.device_megabytes(compiled),
        "peak_bytes": lines.peak_memory(),
    }
    lines.write(given.out, "importance", row | described)


if __name__ == "__main__":
    main()
