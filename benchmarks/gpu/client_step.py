"""Cost of a client's step that trains four adapter layers of a published model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.gpu import lines, models
from f3ocus_jax.clients import Choice, LocalTask, local
from f3ocus_jax.cost import flops
from f3ocus_jax.models import units

STEPS, LAYERS, LOSS = 4, 4, "cross_entropy"


def main() -> None:
    """Runs the part."""
    given = lines.parse(__doc__.splitlines()[0], cases=True)
    made = models.make(given.model, tiny=given.tiny)
    examples = 2 if given.tiny else 32
    batch, count = made.batch(examples), jax.tree.leaves(made.rows_L)[0].shape[0]
    chosen = np.unique(np.linspace(0, count - 1, LAYERS).round().astype(np.int32))
    train = jax.jit(
        local.make_local_training(
            made.model, unit=models.UNIT, loss=LOSS, optimizer=optax.adamw(1e-3), skip_frozen=True
        )
    )
    batches_S = jax.tree.map(lambda leaf: jnp.stack([leaf] * STEPS), batch)
    task = LocalTask(Choice(jnp.asarray(chosen)), batches_S, jnp.int32(STEPS))
    row = lines.measure(functools.partial(train, made.frozen, made.rows_L, made.head, task))
    row["seconds"] /= STEPS
    params = units.join(made.frozen, made.rows_L, made.head, models.UNIT)
    counts = flops.step_flops(made.model, params, batch, models.UNIT)
    needed = examples * counts.training(np.isin(np.arange(count), chosen))
    row |= {
        "model": given.model,
        "tiny": given.tiny,
        "examples": examples,
        "layers": len(chosen),
        "gigaflops": needed / 1e9,
        "flops_per_second": needed / row["seconds"],
        "peak_bytes": lines.peak_memory(),
    }
    lines.write(given.out, "client_step", row)


if __name__ == "__main__":
    main()
