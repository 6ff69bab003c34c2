"""NVFlare's simulator, and its members on loopback with the certificates of startup kits."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from f3ocus_jax.deployment.nvflare import job, site_settings
from tests.helpers.flower_network import free_port
from tests.helpers.paths import REPOSITORY

ADMIN, SERVER = "admin@example.org", "localhost"
CLI = "nvflare.cli"
SECONDS = 1800.0
BUILDERS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("workspace.WorkspaceBuilder", {"template_file": ["master_template.yml"]}),
    ("static_file.StaticFileBuilder", {"config_folder": "config"}),
    ("cert.CertBuilder", {}),
    ("signature.SignatureBuilder", {}),
)


def environment(folder: pathlib.Path) -> dict[str, str]:
    """Variables of NVFlare's processes, whose `python3` is this one, with their files in a folder.

    Args:
      folder: Folder of the sites' configs, of a POC's workspace and of NVFlare's own settings.

    Returns:
      The variables.
    """
    programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return {
        **os.environ,
        site_settings.SITE_CONFIG: str(folder / "{site}.py"),
        "NVFLARE_POC_WORKSPACE": str(folder / "poc"),
        "HOME": str(folder),
        "PATH": programs,
        "PYTHONPATH": str(REPOSITORY),
    }


def run_module(folder: pathlib.Path, module: str, *arguments: object) -> str:
    """Runs a module, such as NVFlare's command line; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environment(folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def write_project(folder: pathlib.Path, name: str, sites: Sequence[str]) -> pathlib.Path:
    """Writes the file of a project whose server listens on free ports; returns its path."""
    port, admin_port = free_port(), free_port()
    ports = {"fed_learn_port": port, "admin_port": admin_port}
    participants = [
        {"name": SERVER, "type": "server", "org": "coordinator", **ports},
        *({"name": site, "type": "client", "org": site.lower()} for site in sites),
        {"name": ADMIN, "type": "admin", "org": "coordinator", "role": "project_admin"},
    ]
    builders = [
        {"path": f"nvflare.lighter.impl.{path}", "args": dict(given)} for path, given in BUILDERS
    ]
    project = {
        "api_version": 3,
        "name": name,
        "description": name,
        "participants": participants,
        "builders": builders,
    }
    file = folder / f"{name}.yml"
    file.write_text(yaml.safe_dump(project), encoding="utf-8")
    return file


def provision(folder: pathlib.Path, name: str, sites: Sequence[str]) -> pathlib.Path:
    """Makes the startup kits of a project; returns the folder that holds them."""
    file = write_project(folder, name, sites)
    run_module(folder, CLI, "provision", "-p", file, "-w", folder / "kits", "--force")
    return _allowed(folder / "kits" / name / "prod_00", sites)


def _allowed(kits: pathlib.Path, sites: Sequence[str]) -> pathlib.Path:
    for member in (SERVER, *sites):
        job.allow(kits / member)
    return kits


@contextlib.contextmanager
def proof_of_concept(
    folder: pathlib.Path, name: str, sites: Sequence[str]
) -> Iterator[pathlib.Path]:
    """Starts NVFlare's POC mode, all members on one machine; yields the folder of their kits."""
    project = write_project(folder, name, sites)
    run_module(folder, CLI, "poc", "prepare", "-i", project, "--force")
    kits = _allowed(folder / "poc" / name / "prod_00", sites)
    try:
        run_module(folder, CLI, "poc", "start")
        yield kits
    finally:
        run_module(folder, CLI, "poc", "stop")


class Members:
    """Processes of a server and its sites."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, kit: pathlib.Path, log: str) -> subprocess.Popen[bytes]:
        """Starts the member of a startup kit."""
        with (self._folder / f"{log}.log").open("wb") as file:
            process = subprocess.Popen(
                ["bash", kit / "startup" / "sub_start.sh", "--once"],
                env=environment(self._folder),
                cwd=self._folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def said(self, log: str) -> str:
        """What a member has printed so far."""
        return (self._folder / f"{log}.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Ends all processes and what they have started."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def submit(folder: pathlib.Path, kits: pathlib.Path, job_folder: pathlib.Path) -> str:
    """Submits a job and waits for its end; returns its status."""
    given = (ADMIN, kits / ADMIN, job_folder)
    return run_module(folder, "tests.helpers.nvflare_submit", *given).split()[-1]


@contextlib.contextmanager
def members(folder: pathlib.Path) -> Iterator[Members]:
    """Starts and stops members."""
    started = Members(folder)
    try:
        yield started
    finally:
        started.stop()


def simulate(folder: pathlib.Path, job_folder: pathlib.Path, sites: Sequence[str]) -> pathlib.Path:
    """Runs a job in NVFlare's simulator; returns the server's workspace."""
    run_module(folder, *_simulation(folder, job_folder, sites))
    return folder / "simulated" / "server"


def start_simulator(
    folder: pathlib.Path, job_folder: pathlib.Path, sites: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Starts a job in NVFlare's simulator, in a group of processes of its own."""
    with (folder / "simulator.log").open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, _simulation(folder, job_folder, sites))],
            env=environment(folder),
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _simulation(
    folder: pathlib.Path, job_folder: pathlib.Path, sites: Sequence[str]
) -> list[object]:
    """Arguments of Python for NVFlare's simulator, whose workspace is `simulated`."""
    workspace = folder / "simulated"
    job.allow(workspace)
    names, threads = ",".join(sites), str(len(sites))
    return [CLI, "simulator", job_folder, "-w", workspace, "-c", names, "-t", threads]
