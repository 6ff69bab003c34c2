"""Hosts that each read a folder of their own: one federation, without the other's files."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import run_folder, runs
from tests.helpers import hosts
from tests.helpers.configs import read_config
from tests.helpers.own_files import write_folder
from tfds_medvqa.common.errors import BuildError

ROUNDS = {"config": "configs/own_data.py:tiny_last_k", "config.training.max_local_steps": 2}


class Hosts:
    """Two hosts with a place each, which the other must not open, and common checkpoints."""

    def __init__(self, root):
        self.root = root
        self.places = [root / f"host {number}" for number in (0, 1)]

    def run(self, **settings):
        """Outcomes of one command on both."""

        def command(host, address):
            place, other = self.places[host], self.places[1 - host]
            arguments = ROUNDS | {
                "workdir": place / "run",
                "config.data.datasets": f"('files:{place / 'own'}',)",
                "config.data.data_dir": place / "built",
                "config.checkpoint.directory": self.root / "checkpoints",
                "config.distributed.coordinator": address,
                "config.distributed.hosts": 2,
                "config.distributed.host": host,
                "config.distributed.own_data": True,
            }
            arguments |= {f"config.{name.replace('__', '.')}": v for name, v in settings.items()}
            flags = [f"--{name}={value}" for name, value in arguments.items()]
            return ["-m", "tests.helpers.guarded_command", str(other), "f3ocus_jax.train", *flags]

        return hosts.run_to_end(command, hosts=2, devices=2, timeout=1200)

    def refused(self, **settings):
        """Last line of each host of a command that must fail on both."""
        outcomes = self.run(**settings)
        for status, output in outcomes:
            assert status == 1, output
            assert "Traceback" not in output, output
        return [output.splitlines()[-1] for _, output in outcomes]


def records_of(workdir):
    return [json.loads(line) for line in (workdir / "records.jsonl").read_text().splitlines()]


def run_alone(two, rounds):
    """The same federation in one process that has both folders."""
    folders = tuple(f"files:{place / 'own'}" for place in two.places)
    arguments = ROUNDS | {
        "workdir": two.root / "alone",
        "config.data.datasets": str(folders),
        "config.data.data_dir": two.root / "built",
        "config.federated.rounds": rounds,
    }
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    command = ["-m", "f3ocus_jax.train", *flags]
    hosts.run(lambda host, address: command, hosts=1, devices=4, timeout=1200)
    return two.root / "alone"


@pytest.mark.slow
def test_hosts_with_a_folder_each_train_what_one_process_with_both_trains(tmp_path):
    two = Hosts(tmp_path)
    write_folder(two.places[0] / "own", 10, ("Oslo", "Bern", "Kiel"))
    # Its first picture is the last one of the other folder.
    write_folder(two.places[1] / "own", 16, ("Graz",), first=29)
    alone = run_alone(two, 2)
    for rounds in (1, 2):  # the second goes on from the checkpoints of the first
        for status, output in two.run(federated__rounds=rounds):
            assert status == 0, output
    first, second = (place / "run" for place in two.places)

    records = records_of(first)
    assert [record["round"] for record in records] == [0, 1, 2]
    for one, other in zip(records_of(alone), records, strict=True):
        for client, same in zip(one["clients"], other["clients"], strict=True):
            exact = ("client", "train_examples", "layers", "steps")
            assert {name: client[name] for name in exact} == {name: same[name] for name in exact}
            np.testing.assert_allclose(client["scores"], same["scores"], atol=1e-5)
            assert client["test"] == pytest.approx(same["test"], abs=1e-4)
    weights, expected = (load_file(each / "model/model.safetensors") for each in (first, alone))
    assert weights.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_allclose(weights[name], leaf, atol=1e-5)

    partitions = [json.loads((each / "partition.json").read_text()) for each in (first, alone)]
    hashes = {partition.pop("partition_hash") for partition in partitions}
    assert partitions[0] == partitions[1]
    assert len(hashes) == 2  # that of two hosts is made of hashes, since it must not see questions
    assert partitions[0]["dropped"] == {f"files:{two.places[1] / 'own'}": [1, 2]}
    assert str(two.places[1]) not in (first / "run.json").read_text()

    shutil.rmtree(two.places[0] / "own")
    shutil.rmtree(two.places[0] / "built")
    finished = runs.load(second)
    assert finished.answer(two.places[1] / "own/images/Graz_0.png", "which side?")
    measured = finished.evaluate()
    (graz,) = (each for each in records[finished.round]["clients"] if each["client"] == "Graz")
    assert measured.keys() == {"Graz"}
    assert measured["Graz"] == pytest.approx(graz["test"], abs=1e-5)
    with pytest.raises(BuildError, match="host 0"):
        runs.load(first).evaluate()
    assert run_folder.read_run(second).clients == ["Bern", "Kiel", "Oslo", "Graz"]


@pytest.mark.extended
def test_only_clients_whose_data_can_be_read_are_measured_and_changes_are_said(tmp_path, caplog):
    def settings(*places):
        return {
            "data__datasets": tuple(f"files:{tmp_path / place}" for place in places),
            "distributed__own_data": True,
            "federated__rounds": 1,
            "training__max_local_steps": 1,
        }

    def config(*places):
        return read_config("tiny_last_k", tmp_path / "built", task="own_data", **settings(*places))

    workdir = tmp_path / "run"
    write_folder(tmp_path / "first", 10, ("Oslo",))
    write_folder(tmp_path / "second", 16, ("Graz",), first=50)
    records = runs.run(config("first", "second"), workdir)
    expected = {client.client: client.test for client in records[-1].clients}

    # What two hosts write, each of which knows its own folder.
    written = json.loads((workdir / "run.json").read_text())
    for name, place in (("run.json", "first"), ("run_of_host_1.json", "second")):
        written["config"]["data"]["datasets"] = [f"files:{tmp_path / place}"]
        (workdir / name).write_text(json.dumps(written))
    measured = runs.load(workdir, 1).evaluate()
    assert measured.keys() == expected.keys()
    for name, metrics in expected.items():
        assert measured[name] == pytest.approx(metrics, abs=1e-6)
    assert not caplog.records

    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "built")
    write_folder(tmp_path / "second", 40, ("Graz",), first=50)
    assert runs.load(workdir, 1).evaluate().keys() == {"Graz"}
    assert "not measured, since their data are on other hosts: Oslo" in caplog.text
    assert f"the run measured {expected['Graz']['examples']}" in caplog.text

    write_folder(tmp_path / "second", 16, ("Linz",), first=50)
    with pytest.raises(ConfigError, match=r"client Linz of .* is none of the run's"):
        runs.load(workdir, 1).evaluate()
    shutil.rmtree(tmp_path / "second")
    shutil.rmtree(tmp_path / "built")
    with pytest.raises(BuildError, match="first is neither a folder nor a table"):
        runs.load(workdir, 1).evaluate()


@pytest.mark.extended
def test_two_hosts_with_a_hospital_of_the_same_name_are_refused(tmp_path):
    two = Hosts(tmp_path)
    write_folder(two.places[0] / "own", 10, ("Oslo", "Bern"))
    write_folder(two.places[1] / "own", 10, ("Bern",), first=50)
    (line,) = set(two.refused())
    assert "error: hosts 0 and 1 both have a client 'Bern': give hospitals names of" in line


@pytest.mark.extended
def test_hosts_that_do_not_share_the_folder_of_checkpoints_are_refused(tmp_path):
    two = Hosts(tmp_path)
    lines = two.refused(checkpoint__directory="")
    assert (
        lines
        == [
            "error: host 1 does not see the folder in which host 0 keeps the checkpoints: let "
            "config.checkpoint.directory be a folder that all hosts see"
        ]
        * 2
    )


@pytest.mark.extended
def test_a_broken_folder_ends_both_hosts_and_its_content_stays_there(tmp_path):
    two = Hosts(tmp_path)
    write_folder(two.places[0] / "own", 10, ("Oslo",))
    own = write_folder(two.places[1] / "own", 10, ("Graz",), first=50)
    (own / "images" / "Graz_3.png").write_text("no picture of zzpatient")
    first, second = two.refused()
    assert (
        first
        == "error: host 1 of 2 stopped (BuildError); it printed why, and the others stop with it"
    )
    assert "Graz_3.png" in second
