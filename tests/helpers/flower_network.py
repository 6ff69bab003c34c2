"""A SuperLink and SuperNodes on loopback, in processes of an environment that has Flower."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import IO

import pytest

from tests.helpers.paths import REPOSITORY

VARIABLE = "F3OCUS_FLOWER"
"""Environment variable with the folder of a virtual environment, see docs/contributing.md."""

SECONDS = 1200.0
"""Longest time for anything to happen; nothing waits so long where nothing is wrong."""

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
"""Without them Flower's processes send what they are, and ask for newer versions."""

AUTHORITY = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 "
    "-subj /CN=federation -addext keyUsage=critical,keyCertSign,cRLSign "
    "-keyout ca.key -out ca.crt"
)
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 "
    "-CA ca.crt -CAkey ca.key -subj /CN=server -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
    "-addext basicConstraints=critical,CA:FALSE -keyout server.key -out server.crt"
)


def environment_folder() -> pathlib.Path:
    """The environment with Flower; skips the test that asks where there is none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"no environment with Flower (set {VARIABLE}, see docs/contributing.md)")
    for command in ("openssl", "ssh-keygen"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")
    return pathlib.Path(folder).absolute()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Waits until a condition holds; fails if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


class Network:
    """Processes of a test, with one log each.

    Attributes:
      folder: Folder of certificates, keys, logs, and a home folder for each member.
      port: Port of the SuperLink.
    """

    def __init__(self, environment: pathlib.Path, folder: pathlib.Path) -> None:
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        self._bin = environment / "bin"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._make_certificates()

    def _make_certificates(self) -> None:
        for command in (AUTHORITY, CERTIFICATE):
            self._tool(*command.split())
        home = self.folder / "operator"
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "federation"\n\n[superlink.federation]\n'
            f'address = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{self.folder / "ca.crt"}"\n'
        )

    def make_key(self, site: str) -> None:
        """Makes the key pair of a site, as a hospital would."""
        self._tool("ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", site)

    def _tool(self, *command: str) -> None:
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=SECONDS)

    def run(self, *command: str | os.PathLike[str], home: str = "operator") -> str:
        """Runs a command of the environment to its end and returns what it wrote."""
        done = subprocess.run(
            [self._bin / command[0], *command[1:]],
            env=self._environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, log: str, *command: str | os.PathLike[str], home: str) -> subprocess.Popen:
        """Starts a command of the environment, whose output goes to a file."""
        with self._log(log) as output:
            process = subprocess.Popen(
                [self._bin / command[0], *command[1:]],
                env=self._environment(home),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def start_server(self) -> None:
        """Starts the SuperLink and waits until it can be reached."""
        tls = {"certfile": "server.crt", "keyfile": "server.key", "ca-certfile": "ca.crt"}
        certificates = [f"--ssl-{name}={self.folder / file}" for name, file in tls.items()]
        options = ("--enable-supernode-auth", "--disable-runtime-dependency-installation")
        address = ("--host=127.0.0.1", f"--port={self.port}")
        command = ("flower-superlink", *certificates, *options, *address)
        self.start("superlink", *command, home="server")
        until(lambda: self._is_listening(self.port), self.said("superlink"))

    def register(self, site: str) -> None:
        """Registers the public key of a site under its name."""
        self.run("flwr", "supernode", "register", self.folder / f"{site}.pub", "--name", site)

    def start_node(self, site: str, workdir: pathlib.Path) -> subprocess.Popen:
        """Starts the SuperNode of a site, whose process has that workdir."""
        return self.start(
            f"supernode_{site}",
            "flower-supernode",
            f"--root-certificates={self.folder / 'ca.crt'}",
            f"--superlink=127.0.0.1:{self.port}",
            f"--auth-supernode-private-key={self.folder / site}",
            f'--node-config=folder="{workdir}"',
            f"--port={free_port()}",
            home=f"home_{site}",
        )

    def status(self) -> str:
        """Status of the only run, such as "running"."""
        (status,) = re.findall(r'"status": "([^"]+)"', self.run("flwr", "list", "--format", "json"))
        return str(status)

    def said(self, log: str) -> str:
        """What a process has written."""
        path = self.folder / f"{log}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def close(self) -> None:
        """Ends all processes, and those that they have started."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _is_listening(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _log(self, name: str) -> IO[bytes]:
        return (self.folder / f"{name}.log").open("ab")

    def _environment(self, home: str) -> dict[str, str]:
        folder = self.folder / home
        folder.mkdir(exist_ok=True)
        path = f"{self._bin}{os.pathsep}{os.environ['PATH']}"
        own = {"FLWR_HOME": str(folder), "PYTHONPATH": str(REPOSITORY), "PATH": path}
        return os.environ | QUIET | own | {"PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def network(folder: pathlib.Path) -> Iterator[Network]:
    """A network without members yet; all its processes end with the block."""
    made = Network(environment_folder(), folder)
    try:
        yield made
    finally:
        made.close()
