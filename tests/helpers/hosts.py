"""Starts several processes as if they were hosts, each with CPU devices of its own."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from tests.helpers.paths import REPOSITORY

DEVICES = "--xla_force_host_platform_device_count="


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def run(
    command_of: Callable[[int, str], Sequence[str]], *, hosts: int, devices: int, timeout: float
) -> list[str]:
    """Runs `command_of(host, address)` on every host and returns what each wrote.

    All hosts are ended if one fails or the time is over, since the others would wait for it.
    """
    outcomes = run_to_end(command_of, hosts=hosts, devices=devices, timeout=timeout)
    for status, output in outcomes:
        assert status == 0, output
    return [output for _, output in outcomes]


def run_to_end(
    command_of: Callable[[int, str], Sequence[str]], *, hosts: int, devices: int, timeout: float
) -> list[tuple[int, str]]:
    """The same for hosts that may fail: exit status and output of each."""
    processes = start(command_of, hosts=hosts, devices=devices)
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, outputs, strict=True)]


def start(
    command_of: Callable[[int, str], Sequence[str]], *, hosts: int, devices: int
) -> list[subprocess.Popen[str]]:
    """Starts `command_of(host, address)` on every host."""
    address = free_address()
    # Else those of the tests themselves: random weights differ by them in their last bits.
    others = re.sub(rf"{DEVICES}\d+", "", os.environ.get("XLA_FLAGS", ""))
    flags = f"{others} {DEVICES}{devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return [
        subprocess.Popen(
            [sys.executable, *command_of(host, address)],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for host in range(hosts)
    ]
