"""Throughput and memory of the federation engine, against hand-written loops, FedJAX and Flower.

    python -m benchmarks.federation [--quick] [--json FILE]

Local training of an MLP 64-H-H-10, 10 steps of 32 examples per client, plain SGD, whose changes are
averaged. Ours is the project's engine (`clients.placement.stream` with the fold and the server step
of `server_side.py`), once around the local step of the hand-written loops and once around
the project's own client step. A CPU is one device per core here: "pmap" distributes clients over
them, all others run on the first device, whose matrix products use every core. Peers: hand-written
loops, FedJAX 0.0.17 and Flower 1.41 where they can be imported (`federation_peers.py`,
`federation_flower.py`; Flower runs its rounds after the others' bursts). All get the same arrays on
the host.
"""

import argparse
import functools
import importlib
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import federation_peers, reporting
from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.aggregation.layerwise import TrainedLayers
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.clients import Choice, LocalTask, local, placement
from f3ocus_jax.config import parsing
from f3ocus_jax.federation import presets
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.server_side import make_receive, make_server_step
from f3ocus_jax.federation.stages.client_work import ClientWork
from f3ocus_jax.federation.stages.train import make_fold
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.head import ANSWERS
from f3ocus_jax.types import Batch, ClientMemory, ServerState

FEATURES, CLASSES, STEPS, BATCH, RATE = 64, 10, 10, 32, 0.1
HIDDEN = (128, 512)
CLIENTS, MANY = 8, (8, 32, 128, 512)
IN_MEMORY = 8
OURS = {
    "ours, pmap": {"placement": "pmap"},
    "ours, map": {"placement": "map"},
    "ours, map of 8": {"placement": "map", "clients_at_once": 8},
    "ours, loop": {"placement": "loop"},
}
Params = dict[str, Any]


def start_params(hidden: int) -> Params:
    draw, sizes = np.random.default_rng(0), (FEATURES, hidden, hidden, CLASSES)
    made = {}
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes), 1):
        made[f"w{layer}"] = draw.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        made[f"b{layer}"] = np.zeros(columns, np.float32)
    return made


def examples(clients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training data of some clients: features [K, S, B, 64] and classes [K, S, B]."""
    draws = [np.random.default_rng([7, client]) for client in clients]
    shape = (STEPS, BATCH)
    features = np.stack([draw.normal(size=(*shape, FEATURES)) for draw in draws])
    classes = np.stack([draw.integers(0, CLASSES, shape) for draw in draws])
    return features.astype(np.float32), classes.astype(np.int32)


def logits(params: Params, features: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(features @ params["w1"] + params["b1"][None])
    hidden = jax.nn.relu(hidden @ params["w2"] + params["b2"][None])
    return hidden @ params["w3"] + params["b3"][None]


def loss(params: Params, features: jax.Array, classes: jax.Array) -> jax.Array:
    return jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(logits(params, features), classes)
    )


def train_one(params: Params, features_S: jax.Array, classes_S: jax.Array) -> Any:
    """One client by hand: (parameters after its steps, losses)."""

    def step(params: Params, batch: Any) -> tuple[Params, jax.Array]:
        value, slope = jax.value_and_grad(loss)(params, *batch)
        return jax.tree.map(lambda w, g: w - RATE * g, params, slope), value

    return jax.lax.scan(step, params, (features_S, classes_S))


def mean(params_K: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), params_K)


@jax.jit
def mapped(params: Params, features: jax.Array, classes: jax.Array) -> Any:
    params_K, losses = jax.lax.map(lambda one: train_one(params, *one), (features, classes))
    return mean(params_K), losses


@jax.jit
def vmapped(params: Params, features: jax.Array, classes: jax.Array) -> Any:
    params_K, losses = jax.vmap(train_one, (None, 0, 0))(params, features, classes)
    return mean(params_K), losses


one_client = jax.jit(train_one)
mean_of = jax.jit(lambda *each: jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *each))


def looped(params: Params, features: np.ndarray, classes: np.ndarray) -> Any:
    each, losses = zip(*map(functools.partial(one_client, params), features, classes), strict=True)
    return mean_of(*each), losses


def by_hand(method: Callable, hidden: int, clients: int) -> Callable[[], None]:
    """Runs consecutive rounds of a hand-written method."""
    params, data = start_params(hidden), examples(np.arange(clients))

    def run() -> None:
        nonlocal params
        params, losses = method(params, *data)
        jax.device_get(losses)

    return run


def split(params: Params) -> tuple[Params, Params, Params]:
    """The hidden layers as one selectable layer, and the last as the head."""
    rows_L = {name: params[name][None] for name in ("w1", "b1", "w2", "b2")}
    return (
        {"embeddings": {}, "readout": {}, "adapters": {}},
        rows_L,
        {ANSWERS: {name: params[name] for name in ("w3", "b3")}},
    )


def same_step(shared: Any, one: Any) -> tuple[ClientUpdate, ClientMemory]:
    """The hand-written local training, as a client of the engine."""
    _, rows_L, head = shared
    batch = one.task.batches_S
    start = jax.tree.map(lambda leaf: leaf[0], rows_L) | head[ANSWERS]
    after, losses_S = train_one(start, batch.images_BHWC, batch.labels_B)
    _, rows_R, head = split(after)
    return ClientUpdate(rows_R, head, losses_S, jnp.bool_(True)), ClientMemory()


def own_step(hidden: int) -> Callable[[Any, Any], tuple[ClientUpdate, ClientMemory]]:
    """The project's client step on the same network."""

    def embed(embeddings: Any, batch: Batch) -> tuple[jax.Array, Any]:
        room = ((0, 0), (0, hidden - FEATURES))  # hidden states of all layers are equally wide
        return jnp.pad(batch.images_BHWC, room), ()

    def block(block: Any, adapter: Any, hidden_BH: jax.Array, context: Any) -> jax.Array:
        first = jax.nn.relu(hidden_BH[:, :FEATURES] @ block["w1"] + block["b1"][None])
        return jax.nn.relu(first @ block["w2"] + block["b2"][None])

    def readout(readout: Any, head: Any, hidden_BH: jax.Array, context: Any) -> jax.Array:
        return hidden_BH @ head[ANSWERS]["w3"] + head[ANSWERS]["b3"][None]

    model = Model(1, CLASSES, lambda key: {}, embed, block, readout)
    train = local.make_local_training(
        model, unit="block", loss="cross_entropy", optimizer=optax.sgd(RATE), skip_frozen=True
    )

    def run(shared: Any, one: Any) -> tuple[ClientUpdate, ClientMemory]:
        made = train(*shared, one.task)
        return ClientUpdate(made.rows_R, made.head, made.losses_S, jnp.bool_(True)), ClientMemory()

    return run


def trained(count: int) -> TrainedLayers:
    return TrainedLayers(np.zeros((count, 1), np.int32), {ANSWERS: np.ones(count, bool)})


def tasks(indices: np.ndarray) -> ClientWork:
    features, classes = examples(indices)
    ones = np.ones(classes.shape, np.float32)
    ids = np.zeros((*classes.shape, 1), np.int32)
    batch = Batch(features, ids, ids, classes, ones)
    count = len(indices)
    choice = Choice(np.zeros((count, 1), np.int32))
    task = LocalTask(choice, batch, np.full(count, STEPS, np.int32))
    return ClientWork(ClientMemory(), task, trained(count), np.ones(count, np.float32))


def by_engine(
    function: Callable, hidden: int, clients: int, *, ready: bool, **layout: Any
) -> Callable[[], None]:
    """Runs consecutive rounds by the engine; `ready` gathers the training data once."""
    settings = parsing.parse(AggregationConfig, presets.get_base().aggregation)
    init, apply = server_optimizer.make_server_optimizer(settings)
    frozen, rows_L, head = split(start_params(hidden))
    memory = init(rows_L, head)
    state = ServerState(rows_L, head, jnp.int32(0), np.zeros(0, bool), optimizer=memory)
    train = placement.stream(
        function,
        make_fold(*make_receive(settings)),
        most=clients,
        clients_in_memory=IN_MEMORY,
        **layout,
    )
    finish = make_server_step(settings, apply, clients)
    made = tasks(np.arange(clients)) if ready else None

    def gather(indices: np.ndarray) -> Any:
        return tasks(indices) if made is None else made

    def run() -> None:
        nonlocal state
        total, held = train((frozen, state.rows_L, state.head), clients, gather)
        state = finish(state, total, held["received"], trained(clients))

    return run


def methods(hidden: int) -> dict[str, Callable[[], None]]:
    """All methods for 8 clients; each call is a round."""
    found: dict[str, Callable[[], None]] = {
        f"jit({name})": by_hand(method, hidden, CLIENTS)
        for name, method in {"lax.map": mapped, "vmap": vmapped}.items()
    }
    found["loop over jit"] = by_hand(looped, hidden, CLIENTS)
    for name, layout in OURS.items():
        found[name] = by_engine(same_step, hidden, CLIENTS, ready=True, **layout)
    step = own_step(hidden)
    found["ours, own client step"] = by_engine(step, hidden, CLIENTS, ready=True, placement="map")
    return found | federation_peers.methods(
        start_params(hidden), loss, RATE, *examples(np.arange(8))
    )


def burst(run: Callable[[], None], rounds: int) -> float:
    """Seconds per round."""
    start = time.perf_counter()
    for _ in range(rounds):
        run()
    return (time.perf_counter() - start) / rounds


def compare(hidden: int, bursts: int, rounds: int) -> list[dict[str, Any]]:
    """Times all methods in turn; the best burst of each counts."""
    found = methods(hidden)
    first = {name: burst(run, 1) for name, run in found.items()}
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(bursts):
        for name, run in found.items():
            seconds[name].append(burst(run, rounds))
    if "flwr" in federation_peers.versions():
        flower = importlib.import_module("benchmarks.federation_flower")
        first["Flower"], *others = flower.seconds_of_rounds(hidden, CLIENTS, rounds)
        seconds["Flower"] = others[flower.WARM_UP :]
    rows = []
    for name, values in seconds.items():
        row = {"case": f"H {hidden}, {CLIENTS} clients", "method": name, "seconds": min(values)}
        row |= {"median_seconds": float(np.median(values)), "first_call_seconds": first[name]}
        row |= {"rounds_per_second": 1 / min(values), "clients_per_second": CLIENTS / min(values)}
        rows.append(row)
        print(
            f"{row['case']:<18} {name:<24} {row['rounds_per_second']:>8.1f} rounds/s"
            f"  median {1 / row['median_seconds']:>8.1f}  first call {first[name]:.2f} s",
            flush=True,
        )
    return rows


def peak_megabytes() -> float:
    """The most memory this program has held; `ru_maxrss` would count that of its parent, too."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def grow(clients: int, hidden: int, repeats: int) -> dict[str, Any]:
    """Measures one number of clients in a separate process: seconds per round, and memory."""
    before = peak_megabytes()
    run = by_engine(same_step, hidden, clients, ready=False, placement="map")
    first = burst(run, 1)
    seconds = [burst(run, max(1, 64 // clients)) for _ in range(repeats)]
    peak = peak_megabytes()
    return {
        "case": f"H {hidden}, {clients} clients",
        "method": "ours, streamed",
        "seconds": min(seconds),
        "first_call_seconds": first,
        "seconds_per_client": min(seconds) / clients,
        "peak_mb": peak,
        "added_mb": peak - before,
    }


def growth(hidden: int, repeats: int) -> list[dict[str, Any]]:
    rows = []
    for clients in MANY:
        arguments = ["--grow", str(clients), str(hidden), str(repeats)]
        command = [sys.executable, "-m", "benchmarks.federation", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            f"{rows[-1]['case']:<20} {1e3 * rows[-1]['seconds_per_client']:>8.2f} ms per client"
            f"  peak {rows[-1]['peak_mb']:.0f} MB, {rows[-1]['added_mb']:.0f} MB more than before",
            flush=True,
        )
    return rows


def summarise(rows: list[dict[str, Any]], many: list[dict[str, Any]]) -> dict[str, float]:
    """Reduces the rows to the figures with targets."""
    summary = {}
    for hidden in HIDDEN:
        rate = {
            row["method"]: row["rounds_per_second"]
            for row in rows
            if row["case"].startswith(f"H {hidden},")
        }
        ours = max(rate[name] for name in OURS)
        hand = max(rate[name] for name in ("jit(lax.map)", "jit(vmap)", "loop over jit"))
        summary[f"federation.ratio_handwritten_{hidden}"] = ours / hand
        for peer in ("FedJAX", "Flower"):
            if peer in rate:
                summary[f"federation.ratio_{peer.lower()}_{hidden}"] = ours / rate[peer]
    least, most = many[0], many[-1]
    summary["federation.memory_growth"] = most["peak_mb"] / least["peak_mb"]
    summary["federation.added_memory_growth"] = most["added_mb"] / least["added_mb"]
    per_client = "seconds_per_client"
    summary["federation.time_growth"] = most[per_client] / least[per_client]
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within two minutes on 2 cores")
    parser.add_argument("--json", type=pathlib.Path, help="where to write rows and summary")
    parser.add_argument("--grow", nargs=3, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    if arguments.grow:
        print(json.dumps(grow(*arguments.grow)))
        return
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "optax")}
    versions |= federation_peers.versions()
    print(f"{hardware}; {versions}")
    bursts = 5 if arguments.quick else 20
    rows = [row for hidden in HIDDEN for row in compare(hidden, bursts, 2560 // hidden)]
    many = growth(512, 2 if arguments.quick else 5)
    summary = summarise(rows, many)
    reporting.show(summary)
    reporting.write(arguments.json, hardware, versions, rows + many, summary)


if __name__ == "__main__":
    main()
