"""A site in a process of its own, which can be killed: python -m tests.helpers.site_process."""

import pathlib
import struct
import subprocess
import sys

from f3ocus_jax.deployment import site_run
from tests.helpers.paths import REPOSITORY

LENGTH = struct.Struct("<Q")


class SiteProcess:
    """A site that is asked through pipes."""

    def __init__(self, root: pathlib.Path, name: str, folder: pathlib.Path) -> None:
        self._command = [sys.executable, "-m", "tests.helpers.site_process"]
        self._command += [str(root), name, str(folder)]
        self._start()

    def _start(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(self._command, cwd=REPOSITORY, **pipes)

    def __enter__(self) -> "SiteProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def send(self, task: bytes) -> None:
        """Hands over a task without waiting for the answer."""
        self._process.stdin.write(LENGTH.pack(len(task)) + task)
        self._process.stdin.flush()

    def receive(self) -> bytes:
        """Waits for the answer."""
        (length,) = LENGTH.unpack(self._process.stdout.read(LENGTH.size))
        return self._process.stdout.read(length)

    def answer(self, task: bytes) -> bytes:
        """Asks and waits."""
        self.send(task)
        return self.receive()

    def kill(self) -> None:
        """Kills the process, as a machine that loses its power would."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def restart(self) -> None:
        """Kills the process and starts another one."""
        self.kill()
        self._start()


def main(root: str, name: str, folder: str) -> None:
    """Answers until the input ends; what a site prints goes to standard error."""
    output, sys.stdout = sys.stdout, sys.stderr
    from tests import conftest  # noqa: F401 (flags of XLA as in the tests)
    from tests.helpers.deployments import WITH_MEMORY, of_site

    config = of_site(pathlib.Path(root), name, **WITH_MEMORY)
    with site_run.open_site(config, pathlib.Path(folder)) as site:
        while header := sys.stdin.buffer.read(LENGTH.size):
            answer = site.answer(sys.stdin.buffer.read(*LENGTH.unpack(header)))
            output.buffer.write(LENGTH.pack(len(answer)) + answer)
            output.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
