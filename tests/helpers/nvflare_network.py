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


def environment(site_configs: pathlib.Path) -> dict[str, str]:
    """Variables of NVFlare's processes, whose `python3` is this one."""
    programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    settings = {site_settings.SITE_CONFIG: str(site_configs / "{site}.py")}
    return {**os.environ, **settings, "PATH": programs, "PYTHONPATH": str(REPOSITORY)}


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


def provision(folder: pathlib.Path, name: str, sites: Sequence[str]) -> pathlib.Path:
    """Makes the startup kits of a project; returns the folder that holds them."""
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
    run_module(folder, CLI, "provision", "-p", file, "-w", folder / "kits", "--force")
    kits = folder / "kits" / name / "prod_00"
    for member in (SERVER, *sites):
        job.allow(kits / member)
    return kits


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
    workspace = folder / "simulated"
    job.allow(workspace)
    names, threads = ",".join(sites), str(len(sites))
    run_module(folder, CLI, "simulator", job_folder, "-w", workspace, "-c", names, "-t", threads)
    return workspace / "server"
