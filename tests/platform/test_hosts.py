"""Two hosts of two devices do what one host of four does."""

import json

import numpy as np
import pytest

from f3ocus_jax import hosts as distributed
from tests.helpers import hosts
from tests.helpers.marking import marked


def test_alone_every_client_is_here_and_an_exchange_gives_back_what_was_given():
    assert distributed.is_first()
    assert distributed.dealt_mask(3).all()
    assert distributed.all_gather({"a": 1}) == [{"a": 1}]
    places, values = distributed.gather_clients(np.array([2, 5]), {"x": np.array([1.0, 2.0])})
    assert places.tolist() == [2, 5]
    assert values["x"].tolist() == [1.0, 2.0]


def rounds(folder, rule, count):
    """Two rounds on `count` hosts with four devices in all: every host's final state."""
    files = [folder / f"{rule} {host} of {count}.npz" for host in range(count)]

    def command(host, address):
        arguments = (address, count, host, rule, files[host])
        return ["-m", "tests.helpers.host_rounds", *map(str, arguments)]

    outputs = hosts.run(command, hosts=count, devices=4 // count, timeout=300)
    assert all(f"{count} hosts, 4 devices" in output for output in outputs)
    return [dict(np.load(file)) for file in files]


@pytest.mark.parametrize("rule", marked(["mean", "median"], ("median",), extended=("mean",)))
def test_two_hosts_that_each_hold_their_own_clients_give_the_state_of_one(tmp_path, rule):
    (alone,), (first, second) = rounds(tmp_path, rule, 1), rounds(tmp_path, rule, 2)
    assert first.keys() == alone.keys()
    for name, expected in alone.items():
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], expected, atol=1e-6)


def evaluated(folder, count):
    """The record of round 0 on `count` hosts with four devices in all, as every host has it."""
    files = [folder / f"{host} of {count}.json" for host in range(count)]

    def command(host, address):
        arguments = (address, count, host, files[host])
        return ["-m", "tests.helpers.host_evaluation", *map(str, arguments)]

    hosts.run(command, hosts=count, devices=4 // count, timeout=300)
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.extended
def test_two_hosts_measure_validation_of_all_clients_as_one_does(tmp_path):
    (alone,), (first, second) = evaluated(tmp_path, 1), evaluated(tmp_path, 2)
    assert first == second
    assert first["validation"] == pytest.approx(alone["validation"], abs=1e-6)
    for one, other in zip(alone["clients"], first["clients"], strict=True):
        assert other["validation"] == pytest.approx(one["validation"], abs=1e-5)
        assert other["test"] == pytest.approx(one["test"], abs=1e-5)
    means = [client["validation"].get("accuracy") for client in first["clients"]]
    assert means[-1] is None
    assert first["validation"] == pytest.approx(sum(means[:-1]) / len(means[:-1]))


def train(workdir, data_dir, count, rounds):
    """The tiny federation on `count` hosts with four devices in all."""

    def command(host, address):
        arguments = {
            "config": "configs/phantom.py:tiny",
            "workdir": workdir,
            "config.data.data_dir": data_dir,
            "config.federated.rounds": rounds,
        }
        if count > 1:
            arguments["config.distributed.coordinator"] = address
            arguments |= {"config.distributed.hosts": count, "config.distributed.host": host}
        return ["-m", "f3ocus_jax.train", *(f"--{k}={v}" for k, v in arguments.items())]

    hosts.run(command, hosts=count, devices=4 // count, timeout=600)
    return [json.loads(line) for line in (workdir / "records.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_on_two_hosts_that_is_stopped_and_resumed_has_the_records_of_one_host(tmp_path):
    alone = train(tmp_path / "alone", tmp_path / "data", 1, 2)
    train(tmp_path / "together", tmp_path / "data", 2, 1)
    together = train(tmp_path / "together", tmp_path / "data", 2, 2)
    assert [record["round"] for record in together] == [0, 1, 2]
    for one, other in zip(alone, together, strict=True):
        for client, same in zip(one["clients"], other["clients"], strict=True):
            assert client["client"] == same["client"]
            assert client["layers"] == same["layers"]
            np.testing.assert_allclose(client["scores"], same["scores"], atol=1e-5)
            for split in ("test", "validation"):
                assert client[split]["loss"] == pytest.approx(same[split]["loss"], abs=1e-4)
    for folder in ("checkpoints", "model", "figures"):
        assert any((tmp_path / "together" / folder).iterdir())


def test_hosts_can_still_be_joined_once_the_command_is_imported():
    """JAX refuses as soon as anything has asked for its devices."""

    def command(host, address):
        join = f"jax.distributed.initialize({address!r}, 1, {host})"
        return ["-c", f"import f3ocus_jax.train, jax; {join}; print(jax.process_count())"]

    (output,) = hosts.run(command, hosts=1, devices=1, timeout=120)
    assert output.split()[-1] == "1"
