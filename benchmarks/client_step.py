"""Does training 4 of 12 layers cost what 4 layers cost? One client's gradient, ours and the rest.

    python -m benchmarks.client_step [--quick] [--json FILE]

ViLT blocks with attention, whole blocks trained. Peer: plain autodiff of all layers, whose result
is masked. Limit: the peer's time x FLOPs needed for the chosen layers / FLOPs of all layers.
"""

import argparse
import functools
import json
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

from f3ocus_jax import flops
from f3ocus_jax.clients import Choice, gradient
from f3ocus_jax.models import base, losses, trainable, vilt
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params

LAYERS = 12
LOSS = "cross_entropy"
CHOICES = {
    "12": range(LAYERS),
    "4_top": (8, 9, 10, 11),
    "4_spread": (0, 4, 8, 11),
    "4_bottom": (0, 1, 2, 3),
    "1_top": (11,),
    "1_bottom": (0,),
}
BATCHES = {256: 32, 768: 16}
"""Examples of 57 tokens per step, by width."""


def make_model(width: int) -> Model:
    return vilt.create(
        vilt.ViltConfig(
            vocab_size=100,
            hidden_size=width,
            num_hidden_layers=LAYERS,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            image_size=48,
            patch_size=8,
            num_answers=32,
        )
    )


def make_batch(examples: int) -> Batch:
    draw = np.random.default_rng(0)
    return Batch(
        images_BHWC=jnp.asarray(draw.integers(0, 256, (examples, 48, 48, 3)), jnp.uint8),
        input_ids_BT=jnp.asarray(draw.integers(0, 100, (examples, 20)), jnp.int32),
        attention_mask_BT=jnp.ones((examples, 20), jnp.int32),
        labels_B=jnp.asarray(draw.integers(0, 32, examples), jnp.int32),
        example_mask_B=jnp.ones(examples),
    )


def choice_of(layers: Any) -> Choice:
    return Choice(jnp.asarray(list(layers), jnp.int32))


def full_autodiff(model: Model, params: Params, batch: Batch) -> Callable[[Choice], Any]:
    """Gradient of every row by autodiff of the scanned model, set to 0 where not chosen."""

    @jax.jit
    def run(params: Params, choice: Choice, batch: Batch) -> Any:
        frozen, rows_L, head = trainable.split(params, "block")

        def objective(rows_L: Params, head: Params) -> jax.Array:
            joined = trainable.join(frozen, rows_L, head, "block")
            loss_B = losses.LOSSES[LOSS](base.apply(model, joined, batch), batch.labels_B)
            return losses.masked_mean(loss_B, batch)

        value, (slope_L, slope) = jax.value_and_grad(objective, argnums=(0, 1))(rows_L, head)
        chosen_L = choice.slots(LAYERS) < choice.layers_R.size

        def masked(leaf: jax.Array) -> jax.Array:
            return jnp.where(chosen_L.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, 0.0)

        return value, jax.tree.map(masked, slope_L), slope

    return lambda choice: run(params, choice, batch)


def ours(model: Model, params: Params, batch: Batch) -> Callable[[Choice], Any]:
    differentiate = gradient.create(model, unit="block", loss=LOSS, skip_frozen=True)
    frozen, rows_L, head = trainable.split(params, "block")

    @jax.jit
    def run(frozen: Params, rows_L: Params, head: Params, choice: Choice, batch: Batch) -> Any:
        return differentiate(frozen, rows_L, choice, (choice.take(rows_L), head), batch)

    return lambda choice: run(frozen, rows_L, head, choice, batch)


def state_bytes(model: Model, layers: int) -> int:
    """Bytes a client holds for its layers: copies, gradients and AdamW's state, head apart."""
    _, rows_L, _ = trainable.split(jax.eval_shape(model.init, jax.random.key(0)), "block")

    def held(rows_L: Params) -> Any:
        copies = choice_of(range(layers)).take(rows_L)
        return copies, jax.tree.map(jnp.zeros_like, copies), optax.adamw(1e-3).init(copies)

    leaves = jax.tree.leaves(jax.eval_shape(held, rows_L))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def measure_width(width: int, repeats: int) -> list[dict[str, Any]]:
    """Times every choice of layers by both methods in turn, `repeats` times over."""
    model, batch = make_model(width), make_batch(BATCHES[width])
    params = model.init(jax.random.key(0))
    counts = flops.step_flops(model, params, batch, "block")
    methods = {"ours": ours(model, params, batch), "autodiff": full_autodiff(model, params, batch)}
    runs = {
        (choice, name): functools.partial(method, choice_of(layers))
        for choice, layers in CHOICES.items()
        for name, method in methods.items()
        if name == "ours" or choice == "12"
    }
    first = {key: timed(run) for key, run in runs.items()}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(repeats):
        for key, run in runs.items():
            seconds[key].append(timed(run))
    full = min(seconds["12", "autodiff"])
    needed = {
        choice: counts.training(np.isin(np.arange(LAYERS), list(layers)))
        for choice, layers in CHOICES.items()
    }
    rows = []
    for (choice, name), values in seconds.items():
        ideal = full * needed[choice] / needed["12"]
        row = {
            "case": f"width {width}, {choice}",
            "method": name,
            "seconds": min(values),
            "first_call_seconds": first[choice, name],
            "gigaflops": needed[choice] * BATCHES[width] / 1e9,
            "ideal_seconds": ideal,
            "overhead": min(values) / ideal,
        }
        rows.append(row)
        print(
            f"{row['case']:<22} {name:<9} {row['seconds']:>8.3f} s  ideal {ideal:>7.3f} s"
            f"  ratio {row['overhead']:>6.3f}  first call {row['first_call_seconds']:>5.1f} s",
            flush=True,
        )
    return rows


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def summarise(rows: list[dict[str, Any]], widths: list[int]) -> dict[str, float]:
    """Reduces the rows to the figures that design targets are set for: the worst of all widths."""
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
    repeats = 3 if arguments.quick else 10
    rows = [row for width in arguments.widths for row in measure_width(width, repeats)]
    summary = summarise(rows, arguments.widths)
    for name, value in summary.items():
        print(f"{name:<28} {value:.4g}")
    if arguments.json:
        report = {"hardware": hardware, "versions": versions, "rows": rows, "summary": summary}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
