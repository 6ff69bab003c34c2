"""The same federation in FedJAX, where it is installed; a note where it is not.

FedJAX is no dependency of this project; in an environment of its own, which also sees this
project's packages: `pip install --no-deps fedjax==0.0.17 dm-haiku jmp tabulate msgpack`.
"""

import importlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import numpy as np

PEERS = ("fedjax", "flwr")


def versions() -> dict[str, str]:
    """Versions of the peers that are installed."""
    found = {}
    for name in PEERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed, and left out")
    return found


def methods(
    params: Any, loss: Callable, rate: float, features: np.ndarray, classes: np.ndarray
) -> dict[str, Callable[[], None]]:
    """The peers of which each call is a round, if they are installed."""
    if "fedjax" not in versions():
        return {}
    return {"FedJAX": _fedjax(params, loss, rate, features, classes)}


def _fedjax(
    params: Any, loss: Callable, rate: float, features: np.ndarray, classes: np.ndarray
) -> Callable[[], None]:
    # FedJAX 0.0.17 calls this function of older versions of JAX.
    jax.tree_map = jax.tree.map  # type: ignore[attr-defined]
    fedjax = importlib.import_module("fedjax")

    def client_init(server_params: Any, client_input: Any) -> Any:
        del client_input
        return server_params

    def client_step(params: Any, batch: Any) -> Any:
        slope = jax.grad(loss)(params, batch["x"], batch["y"])
        return jax.tree.map(lambda w, g: w - rate * g, params, slope)

    def client_final(server_params: Any, params: Any) -> Any:
        del server_params
        return params

    fedjax.set_for_each_client_backend("jit")
    train = fedjax.for_each_client(client_init, client_step, client_final)
    clients = [
        (index, [{"x": x, "y": y} for x, y in zip(*data, strict=True)], 0)
        for index, data in enumerate(zip(features, classes, strict=True))
    ]

    def run() -> None:
        nonlocal params
        outputs = [(output, 1.0) for _, output in train(params, clients)]
        params = jax.block_until_ready(fedjax.tree_util.tree_mean(outputs))

    return run
