"""Accuracy of a federation with hostile or broken clients, by attack and by aggregation.

    python -m benchmarks.attacks [--rounds N] [--seeds 0 1] [--defences NAME ...] [--json FILE]

The nine hospitals of the demo with the tiny ViLT of `configs/phantom.py:tiny_fd`, from random
weights: every client trains the head and two random blocks. The attack is a mark in the corner
pixel of a client's training images, which the wrapped client's half reads and blackens, so that all
attacks share one compiled program per defence.
"""

import argparse
import dataclasses
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import reporting
from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.aggregation.layerwise import TrainedLayers
from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation import accuracy
from f3ocus_jax.federation import assembly
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.federation.client_side import ClientSide, ClientUpdate, make_client_side
from f3ocus_jax.federation.round import Stages, run_round
from f3ocus_jax.federation.server_side import ServerSide, make_server_side
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.types import ServerState


@dataclasses.dataclass(frozen=True)
class Attack:
    """What some clients send in place of their update.

    Attributes:
      clients: Number of these clients.
      mark: Value of the corner pixel that stands for the update, an index of `tamper`.
      examples: Factor of the number of training examples that they claim.
    """

    clients: int = 2
    mark: int = 0
    examples: float = 1.0


HONEST, REVERSED, HUGE, NOISE = range(4)
"""The client's own change c, -10 c, 1e30 in every place, normal noise of ten times c's size.

The noise of two clients is the same up to its size: they act together.
"""

ATTACKS = {
    "none": Attack(0),
    "two send -10 times their change": Attack(2, REVERSED),
    "one claims 1000 times its examples, and sends -10 times its change": Attack(1, REVERSED, 1e3),
    "one sends 1e30": Attack(1, HUGE),
    "two send noise": Attack(2, NOISE),
    "one honest client has 100 times the weight": Attack(1, HONEST, 100.0),
}

DEFENCES: dict[str, dict[str, Any]] = {
    "mean": {},
    "mean, clip_norm": {"clip_norm": 1.0},
    "mean, outliers clip": {"outliers": "clip"},
    "mean, outliers drop": {"outliers": "drop"},
    "mean, max_weight_share 0.2": {"max_weight_share": 0.2},
    "median": {"rule": "median"},
    "trimmed_mean 0.1": {"rule": "trimmed_mean", "trimmed_mean.share": 0.1},
    "trimmed_mean 0.25": {"rule": "trimmed_mean"},
    "krum": {"rule": "krum"},
    "multi_krum": {"rule": "multi_krum"},
    "geometric_median": {"rule": "geometric_median"},
}
"""Settings of `config.aggregation`."""


def tamper(mark: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """Returns one array of the parameters that a client of this mark sends."""
    change = after - before
    noise = jax.random.normal(jax.random.key(1), change.shape)
    size = jnp.sqrt(jnp.mean(jnp.square(change)))
    sent = [after, before - 10.0 * change, jnp.full_like(after, 1e30), before + 10 * size * noise]
    return jnp.select([mark == index for index in range(len(sent))], sent, after)


def tampered_client_side(*arguments: Any, **settings: Any) -> ClientSide:
    """Makes the client's half of a round, in which marked clients attack."""
    side = make_client_side(*arguments, **settings)

    def train(shared: Any, memory: Any, task: Any) -> tuple[ClientUpdate, Any]:
        images = task.batches_S.images_BHWC
        mark = jnp.max(images[0, :, 0, 0, 0])
        batches = dataclasses.replace(task.batches_S, images_BHWC=images.at[..., 0, 0, :].set(0))
        update, memory = side.train(shared, memory, dataclasses.replace(task, batches_S=batches))
        _, rows_L, head = shared

        def of_rows(before_L: jax.Array, after_R: jax.Array) -> jax.Array:
            before_R = before_L.at[task.choice.layers_R].get(mode="clip")
            return tamper(mark, before_R, after_R)

        def of_head(before: jax.Array, after: jax.Array) -> jax.Array:
            return tamper(mark, before, after)

        rows_R = jax.tree.map(of_rows, rows_L, update.rows_R)
        sent = jax.tree.map(of_head, head, update.head)
        return dataclasses.replace(update, rows_R=rows_R, head=sent), memory

    return ClientSide(side.score, train)


def claiming_server_side(factors_K: np.ndarray) -> Callable[..., ServerSide]:
    """Makes the server's half that believes some clients' numbers of examples."""

    def make(*arguments: Any, **settings: Any) -> ServerSide:
        side = make_server_side(*arguments, **settings)

        def weigh(examples_K: Any, steps_K: Any, trained_K: TrainedLayers, num_layers: int) -> Any:
            return side.weigh(examples_K * factors_K, steps_K, trained_K, num_layers)

        return dataclasses.replace(side, weigh=weigh)

    return make


def mark_clients(clients: Sequence[ClientData], marks_K: np.ndarray) -> list[ClientData]:
    """Returns the clients with the mark of an attack in all training images."""

    def marked(client: ClientData, mark: int) -> ClientData:
        images = np.array(client.train.images_NHWC[np.arange(len(client.train))])
        images[:, 0, 0, :] = mark
        return dataclasses.replace(
            client, train=dataclasses.replace(client.train, images_NHWC=images)
        )

    return [marked(client, int(mark)) for client, mark in zip(clients, marks_K, strict=True)]


class Federation:
    """A tiny federation whose data, model and evaluation all defences and attacks share.

    Attributes:
      config: Settings without a defence.
      parts: Parts of the run without attack.
    """

    def __init__(self, data_dir: str, *, rounds: int, seed: int, **settings: Any) -> None:
        raw = shipped.read("phantom:tiny_fd")
        raw.data.data_dir, raw.federated.rounds, raw.seed = data_dir, rounds, seed
        raw.data.datasets = ("phantom_medvqa/clients",)
        raw.federated.placement = "map"
        raw.federated.budgets = (2,)
        raw.model.adapter_size, raw.training.unit = 0, "block"
        raw.training.learning_rate, raw.training.batch_size = 3e-3, 16
        raw.training.max_local_steps = 20
        with raw.ignore_type():
            raw.update_from_flattened_dict(settings)
        self.config = parsing.parse(ExperimentConfig, raw)
        self._raw = raw
        self.parts: Parts = assembly.assemble(self.config)
        self._made: dict[str, tuple[ExperimentConfig, list[ClientData], np.ndarray, Stages]] = {}

    def _stages(
        self, name: str, defence: Mapping[str, Any]
    ) -> tuple[ExperimentConfig, list[ClientData], np.ndarray, Stages]:
        """Makes the stages of a defence once; clients and claims are changed in place."""
        if name not in self._made:
            raw = self._raw.copy_and_resolve_references()
            raw.update_from_flattened_dict({f"aggregation.{k}": v for k, v in defence.items()})
            config = parsing.parse(ExperimentConfig, raw)
            clients, parts = list(self.parts.federation.clients), self.parts
            factors_K = np.ones(len(clients), np.float32)
            frozen, _, _ = assembly.make_start(config, parts.foundation, len(clients))
            with (
                mock.patch.object(assembly, "make_client_side", tampered_client_side),
                mock.patch.object(assembly, "make_server_side", claiming_server_side(factors_K)),
            ):
                stages = assembly.make_stages(
                    config, parts.foundation.model, frozen, clients, parts.budgets
                )
            base = parts.stages
            stages = dataclasses.replace(base, train=stages.train, aggregate=stages.aggregate)
            self._made[name] = (config, clients, factors_K, stages)
        return self._made[name]

    def run(self, name: str, defence: Mapping[str, Any], attack: Attack) -> float | str:
        """Runs a federation under attack.

        Args:
          name: Name of the defence.
          defence: Settings of `config.aggregation`.
          attack: The attack; the last clients are the hostile ones.

        Returns:
          Mean accuracy of the clients that do not attack after the last round, or the message with
          which the run ended.
        """
        config, clients, factors_K, stages = self._stages(name, defence)
        hostile_K = np.arange(len(clients)) >= len(clients) - attack.clients
        clients[:] = mark_clients(self.parts.federation.clients, attack.mark * hostile_K)
        factors_K[:] = np.where(hostile_K, attack.examples, 1.0)
        init, _ = server_optimizer.make_server_optimizer(config.aggregation)
        start, memory = self.parts.start, self.parts.memory
        state: ServerState = dataclasses.replace(start, optimizer=init(start.rows_L, start.head))
        key, metrics = jax.random.key(config.seed), []
        try:
            for number in range(1, config.federated.rounds + 1):
                each = jax.random.fold_in(key, number)
                state, memory, outcome = run_round(stages, state, memory, number, each)
                metrics = outcome.metrics
        except RoundError as error:
            return str(error)
        accuracy_K = np.array([accuracy.main_metric(one.test) for one in metrics])
        return float(np.mean(accuracy_K[~hostile_K]))


def measure(
    federation: Federation, defences: Sequence[str], attacks: Sequence[str]
) -> list[dict[str, Any]]:
    """Runs every attack on every defence; returns a row each, and prints it."""
    rows = []
    for defence in defences:
        for attack in attacks:
            began = time.perf_counter()
            found = federation.run(defence, DEFENCES[defence], ATTACKS[attack])
            seconds = time.perf_counter() - began
            row = {"defence": defence, "attack": attack, "seed": federation.config.seed}
            ended = isinstance(found, str)
            rows.append(row | {"accuracy": None if ended else found, "seconds": seconds})
            text = found if isinstance(found, str) else f"{100 * found:5.1f} %"
            print(f"{defence:<28} {attack:<68} {text}  ({seconds:.0f} s)", flush=True)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the mean accuracies over seeds as a Markdown table; "ended" where any run failed."""
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    lines = ["| | " + " | ".join(attacks) + " |", "|---" * (len(attacks) + 1) + "|"]
    for defence in dict.fromkeys(row["defence"] for row in rows):
        cells = []
        for attack in attacks:
            here = [
                row["accuracy"]
                for row in rows
                if (row["defence"], row["attack"]) == (defence, attack)
            ]
            cells.append("ended" if None in here else f"{100 * np.mean(here):.1f}")
        lines.append(f"| {defence} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--defences", nargs="+", choices=DEFENCES, default=list(DEFENCES))
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--data", help="folder of built datasets; a temporary one if not given")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    arguments = parser.parse_args()
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "optax")}
    print(f"{hardware}; {versions}; {arguments.rounds} rounds, seeds {arguments.seeds}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if not jax.config.jax_compilation_cache_dir:  # defences share most of their programs
            jax.config.update("jax_compilation_cache_dir", folder)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        for seed in arguments.seeds:
            federation = Federation(arguments.data or folder, rounds=arguments.rounds, seed=seed)
            rows += measure(federation, arguments.defences, arguments.attacks)
    print(table(rows))
    reporting.write(arguments.json, hardware, versions, rows, {})


if __name__ == "__main__":
    main()
