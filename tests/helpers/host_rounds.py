"""One host of `test_hosts.py`: two rounds of the training stage, its state to a file.

python -m tests.helpers.host_rounds ADDRESS HOSTS HOST RULE FILE
"""

import dataclasses
import sys

import jax
import numpy as np

from f3ocus_jax import hosts as distributed
from f3ocus_jax.data.examples import ClientData, RemoteExamples
from f3ocus_jax.hosts import DistributedConfig
from tests.helpers import training_stage


def only_mine(clients: list[ClientData]) -> list[ClientData]:
    """Takes the examples of other hosts' clients away."""
    kept = []
    for client, here in zip(clients, distributed.dealt_mask(len(clients)), strict=True):
        away = RemoteExamples(len(client.train), client.task)
        validation = None if client.validation is None else away
        other = dataclasses.replace(client, train=away, test=away, validation=validation)
        kept.append(client if here else other)
    return kept


def main(address: str, hosts: str, host: str, rule: str, file: str) -> None:
    alone = int(hosts) == 1
    distributed.start(DistributedConfig("" if alone else address, int(hosts), int(host)))
    data = only_mine(training_stage.clients())
    stages = training_stage.make_stages(data, aggregation__rule=rule)
    state, losses = stages.start, []
    for number in (1, 2):
        # In the second round one host has no client at all.
        present_K = np.arange(len(data)) % 2 == 0 if number == 2 else None
        state, outcome = training_stage.train_round(stages, state, present_K)
        losses.append(outcome.losses_KS)
    leaves = {f"leaf {index}": leaf for index, leaf in enumerate(jax.tree.leaves(state))}
    np.savez(file, losses=np.stack(losses), **leaves)
    print(f"{jax.process_count()} hosts, {jax.device_count()} devices")


if __name__ == "__main__":
    main(*sys.argv[1:])
