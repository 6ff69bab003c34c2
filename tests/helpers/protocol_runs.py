"""The same federation by the simulator and over the protocol, and messages that are damaged."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import safetensors
from safetensors.numpy import save

from f3ocus_jax.deployment import in_process, protocol, wire
from f3ocus_jax.deployment.protocol import Exchange
from f3ocus_jax.deployment.server import Server
from f3ocus_jax.deployment.site import Site
from f3ocus_jax.federation import assembly, experiment
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.types import ClientMemory, RoundRecord, ServerState
from tests.helpers.configs import read_config, without_times

Result = tuple[ServerState, ClientMemory, list[RoundRecord]]
"""(state, memories of all clients, records) after the last round."""

MakeExchange = Callable[[Server, Mapping[str, Site]], Exchange]


def read_parts(variant: str, data_dir: Any, **settings: Any) -> Parts:
    """The parts of a tiny run on one device, on which the order of every sum is fixed."""
    return experiment.assemble(
        read_config(variant, data_dir, **{"federated__placement": "map", **settings})
    )


def simulated(parts: Parts) -> Result:
    """The whole run by the simulator."""
    state, memory, records = parts.start, parts.memory, [experiment.evaluate_start(parts)]
    while int(state.round) < parts.config.federated.rounds:
        state, memory, record = experiment.next_round(parts, state, memory)
        records.append(record)
    return state, memory, records


def over_protocol(parts: Parts, make_exchange: MakeExchange = in_process.connect) -> Result:
    """The whole run over the protocol; every message is bytes."""
    server, sites = in_process.make_server(parts), in_process.make_sites(parts)
    exchange = make_exchange(server, sites)
    state, records = protocol.play(protocol.without_data(parts, server, exchange))
    memories = [sites[client.name].memory for client in parts.federation.clients]
    return state, jax.tree.map(lambda *leaves: np.concatenate(leaves), *memories), records


def check_same(found: Result, expected: Result) -> None:
    """Raises AssertionError unless records and arrays are the same, bit for bit."""
    assert without_times(found[2]) == without_times(expected[2])
    same = jax.tree.structure(found[:2]) == jax.tree.structure(expected[:2])
    assert same
    pairs = zip(jax.tree.leaves(found[:2]), jax.tree.leaves(expected[:2]), strict=True)
    for one, other in pairs:
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def opened(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(header, arrays) of a message."""
    _, length = wire.FRAME.unpack_from(data)
    end = wire.FRAME.size + length
    stored = safetensors.deserialize(data[end:])
    arrays = {
        name: np.frombuffer(one["data"], wire.DTYPES[one["dtype"]]).reshape(one["shape"])
        for name, one in stored
    }
    return json.loads(data[wire.FRAME.size : end]), arrays


def closed(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A message of any header and arrays, right or wrong."""
    text = json.dumps(header).encode()
    return wire.FRAME.pack(wire.MARK, len(text)) + text + save(dict(arrays))


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(what is wrong, bytes) of messages that differ from a right one."""
    header, arrays = opened(data)
    fields = header["fields"]
    yield "another version", closed({**header, "version": 1}, arrays)
    yield "another kind", closed({**header, "kind": "gossip"}, arrays)
    yield "another site", closed({**header, "site": "elsewhere"}, arrays)
    yield "a later round", closed({**header, "round": header["round"] + 7}, arrays)
    yield "an unknown field", closed({**header, "fields": {**fields, "x": 1}}, arrays)
    yield "an unknown array", closed(header, {**arrays, "x": np.zeros(3, np.float32)})
    yield "too large", data + bytes(10**8)
    yield "truncated", data[:-1]
    yield "truncated in the header", data[:40]
    yield "longer", data + b"\0"
    yield "empty", b""
    yield "random", np.random.default_rng(0).bytes(len(data))
    for name, array in arrays.items():
        others = {each: arrays[each] for each in arrays if each != name}
        yield f"no {name}", closed(header, others)
        yield f"{name} of another shape", closed(header, {**others, name: array[None]})
        other = array.astype(np.float64)
        yield f"{name} of another type", closed(header, {**others, name: other})
        if array.dtype == np.float32 and array.size and name != "residuals":
            holed = array.copy()
            holed.flat[-1] = np.nan
            yield f"NaN in {name}", closed(header, {**others, name: holed})


def with_train_images(parts: Parts, change: Callable[[int, np.ndarray], np.ndarray]) -> Parts:
    """The parts of a run of which each client's training images are changed, by its index."""
    clients = []
    for index, client in enumerate(parts.federation.clients):
        images = change(index, np.asarray(client.train.images_NHWC[np.arange(len(client.train))]))
        train = dataclasses.replace(client.train, images_NHWC=images)
        clients.append(dataclasses.replace(client, train=train))
    frozen, *_ = assembly.make_start(parts.config, parts.foundation, len(clients))
    stages = assembly.make_stages(
        parts.config, parts.foundation.model, frozen, clients, parts.budgets
    )
    federation = dataclasses.replace(parts.federation, clients=clients)
    return dataclasses.replace(parts, federation=federation, stages=stages)
