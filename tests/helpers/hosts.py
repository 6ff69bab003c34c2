"""Starts several processes as if they were hosts, each with CPU devices of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from tests.helpers.paths import REPOSITORY


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
    address = free_address()
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    processes = [
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
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs
