"""The same federation in Flower's simulation engine, where it is installed.

Flower is no dependency of this project: `pip install "flwr[simulation]==1.41.0"` in an environment
of its own. Its workers import this file, so that each of them compiles the local training once.
"""

import functools
import importlib
import time
from typing import Any

import jax
import numpy as np

from benchmarks import federation

WARM_UP = 3
"""Rounds until every worker has compiled."""


@functools.cache
def data_of(client: int) -> tuple[np.ndarray, np.ndarray]:
    """Training data of one client, made once per worker."""
    features, classes = federation.examples(np.array([client]))
    return features[0], classes[0]


def fit(hidden: int, parameters: list[np.ndarray], client: int) -> list[np.ndarray]:
    """The hand-written local training of one client, on Flower's list of arrays."""
    structure = jax.tree.structure(federation.start_params(hidden))
    params = jax.tree.unflatten(structure, parameters)
    trained, _ = federation.one_client(params, *data_of(client))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained)]


def client_app(hidden: int) -> Any:
    """Flower's client: trains, and sends everything back."""
    flower = importlib.import_module("flwr.client")

    class Client(flower.NumPyClient):
        def __init__(self, client: int) -> None:
            self.client = client

        def fit(self, parameters: list[np.ndarray], config: Any) -> tuple:
            del config
            return fit(hidden, parameters, self.client), federation.STEPS * federation.BATCH, {}

    def client_fn(context: Any) -> Any:
        return Client(int(context.node_config["partition-id"])).to_client()

    return flower.ClientApp(client_fn=client_fn)


def seconds_of_rounds(hidden: int, clients: int, rounds: int) -> list[float]:
    """Runs FedAvg in Flower's simulation; returns the seconds between the rounds' ends."""
    server = importlib.import_module("flwr.server")
    common = importlib.import_module("flwr.common")
    simulation = importlib.import_module("flwr.simulation")
    strategies = importlib.import_module("flwr.server.strategy")
    ends: list[float] = []

    class Timed(strategies.FedAvg):
        def aggregate_fit(self, *arguments: Any) -> Any:
            result = super().aggregate_fit(*arguments)
            ends.append(time.perf_counter())
            return result

    start = [np.asarray(leaf) for leaf in jax.tree.leaves(federation.start_params(hidden))]
    strategy = Timed(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        initial_parameters=common.ndarrays_to_parameters(start),
    )

    def server_fn(context: Any) -> Any:
        del context
        config = server.ServerConfig(num_rounds=WARM_UP + rounds)
        return server.ServerAppComponents(strategy=strategy, config=config)

    simulation.run_simulation(
        server_app=server.ServerApp(server_fn=server_fn),
        client_app=client_app(hidden),
        num_supernodes=clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    return np.diff(ends).tolist()
