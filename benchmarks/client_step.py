"""Time of a client's training step with 4 of 12 layers chosen, against the step of all layers.

    python -m benchmarks.client_step [--quick] [--json FILE]

ViLT blocks with attention, whole blocks trained by gradient descent, several steps in one program,
each with a batch of its own, as in local training; the time is that of a step. Peer: plain autodiff
of all layers, whose result is masked. Limit: the peer's time x FLOPs needed for the chosen layers /
FLOPs of all layers.
"""

import argparse
import functools
import math
import pathlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import reporting
from f3ocus_jax.clients import Choice, gradient
from f3ocus_jax.cost import flops
from f3ocus_jax.models import base, losses, units, vilt
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params

LAYERS, ANSWERS = 12, 32
LOSS = "cross_entropy"
CHOICES = {
    "12": range(LAYERS),
    "4_top": (8, 9, 10, 11),
    "4_spread": (0, 4, 8, 11),
    "4_bottom": (0, 1, 2, 3),
    "1_top": (11,),
    "1_bottom": (0,),
}
COUNTS = (1, 3)
"""Steps of a short and a long run, whose difference is the time of a step."""

BATCHES = {256: 32, 768: 16}
"""Examples of 57 tokens per step, by width."""


def make_model(width: int, adapter_size: int = 0) -> Model:
    config = vilt.FAMILY.config(
        vocab_size=100,
        hidden_size=width,
        num_hidden_layers=LAYERS,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        image_size=48,
        patch_size=8,
    )
    spec = vilt.FAMILY.spec(config, num_answers=ANSWERS, adapter_size=adapter_size)
    return vilt.FAMILY.make_model(spec)


def make_batch(examples: int) -> Batch:
    draw = np.random.default_rng(0)
    return Batch(
        images_BHWC=jnp.asarray(draw.integers(0, 256, (examples, 48, 48, 3)), jnp.uint8),
        input_ids_BT=jnp.asarray(draw.integers(0, 100, (examples, 20)), jnp.int32),
        attention_mask_BT=jnp.ones((examples, 20), jnp.int32),
        labels_B=jnp.asarray(draw.integers(0, ANSWERS, examples), jnp.int32),
        example_mask_B=jnp.ones(examples),
    )


def choice_of(layers: Any) -> Choice:
    return Choice(jnp.asarray(list(layers), jnp.int32))


Run = Callable[[Choice, int], Any]
"""(choice, steps) -> what is trained after so many steps of gradient descent in one program."""


def descend(trained: Any, slope: Any) -> Any:
    return jax.tree.map(lambda leaf, change: leaf - 1e-6 * change, trained, slope)


def full_autodiff(model: Model, params: Params, batches_S: Batch) -> Run:
    """The gradient of every row by autodiff of the scanned model, set to 0 where not chosen."""

    @jax.jit
    def run(params: Params, choice: Choice, batches_S: Batch, steps: jax.Array) -> Any:
        frozen, rows_L, head = units.split(params, "block")
        chosen_L = choice.slots(LAYERS) < choice.layers_R.size

        def objective(trained: tuple[Params, Params], batch: Batch) -> jax.Array:
            joined = units.join(frozen, *trained, "block")
            loss_B = losses.make_loss(LOSS)(base.apply(model, joined, batch), batch)
            return losses.masked_mean(loss_B, batch)

        def masked(leaf: jax.Array) -> jax.Array:
            return jnp.where(chosen_L.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, 0.0)

        def step(index: jax.Array, trained: tuple[Params, Params]) -> tuple[Params, Params]:
            slope_L, slope = jax.grad(objective)(trained, units.row_at(batches_S, index))
            return descend(trained, (jax.tree.map(masked, slope_L), slope))

        return jax.lax.fori_loop(0, steps, step, (rows_L, head))

    return lambda choice, steps: run(params, choice, batches_S, jnp.int32(steps))


def ours(model: Model, params: Params, batches_S: Batch) -> Run:
    """The gradient of the chosen rows only, as in local training."""
    gradients = gradient.make_buffered_gradient(model, unit="block", loss=LOSS, skip_frozen=True)

    @jax.jit
    def run(params: Params, choice: Choice, batches_S: Batch, steps: jax.Array) -> Any:
        frozen, rows_L, head = units.split(params, "block")

        def step(index: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
            trained, room = state
            batch = units.row_at(batches_S, index)
            _, slope, room = gradients.run(frozen, rows_L, choice, trained, batch, room)
            return descend(trained, slope), room

        trained = (choice.take(rows_L), head)
        first = units.row_at(batches_S, 0)
        room = gradients.make_buffer(frozen, rows_L, choice, trained, first)
        return jax.lax.fori_loop(0, steps, step, (trained, room))[0]

    return lambda choice, steps: run(params, choice, batches_S, jnp.int32(steps))


def state_bytes(model: Model, layers: int) -> int:
    """Bytes a client holds for its layers: copies, gradients and AdamW's state, head apart."""
    _, rows_L, _ = units.split(jax.eval_shape(model.init, jax.random.key(0)), "block")

    def held(rows_L: Params) -> Any:
        copies = choice_of(range(layers)).take(rows_L)
        return copies, jax.tree.map(jnp.zeros_like, copies), optax.adamw(1e-3).init(copies)

    leaves = jax.tree.leaves(jax.eval_shape(held, rows_L))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def measure_width(width: int, repeats: int) -> list[dict[str, Any]]:
    """Times every choice of layers by both methods in turn, `repeats` times over."""
    model, batch = make_model(width), make_batch(BATCHES[width])
    batches_S = jax.tree.map(lambda leaf: jnp.stack([leaf] * max(COUNTS)), batch)
    params = model.init(jax.random.key(0))
    counts = flops.step_flops(model, params, batch, "block")
    methods = {
        "ours": ours(model, params, batches_S),
        "autodiff": full_autodiff(model, params, batches_S),
    }
    runs = {
        (choice, name): functools.partial(method, choice_of(layers))
        for choice, layers in CHOICES.items()
        for name, method in methods.items()
        if name == "ours" or choice == "12"
    }
    first = {key: timed(functools.partial(run, 1)) for key, run in runs.items()}
    best = step_seconds(runs, repeats)
    full = best["12", "autodiff"]
    needed = {
        choice: counts.training(np.isin(np.arange(LAYERS), list(layers)))
        for choice, layers in CHOICES.items()
    }
    rows = []
    for (choice, name), value in best.items():
        ideal = full * needed[choice] / needed["12"]
        row = {
            "case": f"width {width}, {choice}",
            "method": name,
            "seconds": value,
            "first_call_seconds": first[choice, name],
            "gigaflops": needed[choice] * BATCHES[width] / 1e9,
            "ideal_seconds": ideal,
            "overhead": value / ideal,
        }
        rows.append(row)
        print(
            f"{row['case']:<22} {name:<9} {row['seconds']:>8.3f} s  ideal {ideal:>7.3f} s"
            f"  ratio {row['overhead']:>6.3f}  first call {row['first_call_seconds']:>5.1f} s",
            flush=True,
        )
    return rows


def step_seconds(
    runs: dict[tuple[str, str], Callable[[int], Any]], repeats: int
) -> dict[tuple[str, str], float]:
    """Returns the best seconds of a step, from the difference of a long and a short run."""
    seconds = {(*key, count): math.inf for key in runs for count in COUNTS}
    for _ in range(repeats):
        for key, run in runs.items():
            for count in COUNTS:
                taken = timed(functools.partial(run, count))
                seconds[*key, count] = min(taken, seconds[*key, count])
    few, many = COUNTS
    return {key: (seconds[*key, many] - seconds[*key, few]) / (many - few) for key in runs}


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def summarise(rows: list[dict[str, Any]], widths: list[int]) -> dict[str, float]:
    """Reduces the rows to the figures with design targets: the worst of all widths."""
    summary = {
        f"client.overhead_{choice}": max(
            row["overhead"]
            for row in rows
            if row["case"].endswith(f", {choice}") and row["method"] == "ours"
        )
        for choice in CHOICES
    }
    ratios = [
        state_bytes(make_model(width), 4) / state_bytes(make_model(width), 12) for width in widths
    ]
    return summary | {"client.state_ratio": max(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within two minutes on 2 cores")
    parser.add_argument("--json", type=pathlib.Path, help="where to write rows and summary")
    parser.add_argument("--widths", nargs="+", type=int, choices=BATCHES, default=list(BATCHES))
    arguments = parser.parse_args()
    device = jax.devices()[0]
    hardware = f"{platform.processor() or platform.machine()}, {device.device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "flax", "optax")}
    print(f"{hardware}; {versions}")
    repeats = 2 if arguments.quick else 10
    rows = [row for width in arguments.widths for row in measure_width(width, repeats)]
    summary = summarise(rows, arguments.widths)
    reporting.show(summary)
    reporting.write(arguments.json, hardware, versions, rows, summary)


if __name__ == "__main__":
    main()
