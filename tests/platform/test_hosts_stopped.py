"""A signal to one of two hosts, or to both, ends both; the same commands go on bit-identically."""

import json
import signal
import time

import pytest

from tests.helpers import hosts

ROUNDS = 3


def start(workdir, data_dir):
    """A tiny federation on two hosts with one device each."""

    def command(host, address):
        arguments = {
            "config": "configs/phantom.py:tiny_last_k",
            "workdir": workdir,
            "config.data.data_dir": data_dir,
            "config.federated.rounds": ROUNDS,
            "config.distributed.coordinator": address,
            "config.distributed.hosts": 2,
            "config.distributed.host": host,
        }
        return ["-u", "-m", "f3ocus_jax.train", *(f"--{k}={v}" for k, v in arguments.items())]

    return hosts.start(command, hosts=2, devices=1)


def end(processes):
    outputs = []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=1200)[0])
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, outputs, strict=True)]


def read_records(workdir):
    """All that is recorded, apart from the time it took."""
    lines = (workdir / "records.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


def wait_for_records(workdir, count, processes):
    path = workdir / "records.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert all(process.poll() is None for process in processes), end(processes)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    outcomes = end(start(folder / "run", folder / "data"))
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "stopped"),
    [(signal.SIGTERM, 143, (1,)), (signal.SIGTERM, 143, (0, 1)), (signal.SIGINT, 130, (0,))],
)
def test_a_signal_to_any_host_ends_both_and_a_resume_is_bit_identical(
    number, status, stopped, uninterrupted, tmp_path
):
    workdir, data = tmp_path / "run", uninterrupted / "data"
    processes = start(workdir, data)
    wait_for_records(workdir, 2, processes)
    for host in stopped:
        processes[host].send_signal(number)
    outcomes = end(processes)
    assert [code for code, _ in outcomes] == [status, status], outcomes
    for _, output in outcomes:
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert errors == [f"error: stopped by {number.name}; the same command again goes on"]
        assert "Traceback" not in output
    kept = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert all(name.isdigit() for name in kept), kept  # none is half-written
    recorded = read_records(workdir)[-1]["round"]
    assert 1 <= recorded == max(map(int, kept)) < ROUNDS
    outcomes = end(start(workdir, data))
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    assert f"resuming after round {recorded}" in outcomes[0][1]
    assert read_records(workdir) == read_records(uninterrupted / "run")
    models = [folder / "model" for folder in (workdir, uninterrupted / "run")]
    tensors = [{path.name: path.read_bytes() for path in m.glob("*.safetensors")} for m in models]
    assert tensors[0] == tensors[1] != {}


@pytest.mark.slow
def test_a_signal_while_hosts_read_their_data_ends_both(uninterrupted, tmp_path):
    processes = start(tmp_path / "run", uninterrupted / "data")
    while not (tmp_path / "run" / "run.lock").exists():
        assert all(process.poll() is None for process in processes), end(processes)
        time.sleep(0.01)
    processes[0].send_signal(signal.SIGTERM)
    outcomes = end(processes)
    assert [code for code, _ in outcomes] == [143, 143], outcomes
