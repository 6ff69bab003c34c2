"""Seconds and bytes of a round over messages beside the simulator's, with 2, 4 and 8 sites.

    python -m benchmarks.deployment [--sites 2 4 8] [--rounds N] [--json FILE]

The tiny model and phantoms of `configs/deployment.py`, dealt to the sites, on one device. Each case
runs in the simulator, as threads that exchange messages in one process, and, if NVFlare is
installed, in NVFlare's simulator, whose server and sites are processes; in turn. Seconds are the
median over the rounds from the second on. Bytes are of whole messages, per site and round.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata

import numpy as np

from benchmarks import reporting
from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.deployment import server_run, site_run
from f3ocus_jax.deployment.nvflare import job
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.deployment.threads import Threads
from f3ocus_jax.federation import experiment

Member = Callable[..., DeployedConfig]
"""Returns the config of the server, or of the site that is named."""

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    engines: dict[str, Callable[..., dict[str, float]]] = {"simulator": simulate, "threads": talk}
    if importlib.util.find_spec("nvflare"):
        engines["NVFlare"] = fly
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in given.sites:
            for name, run in engines.items():
                workdir = pathlib.Path(folder, f"{name}-{count}")
                workdir.mkdir()
                found = run(workdir, functools.partial(settings, folder, count, given.rounds))
                rows.append({"engine": name, "sites": count, **found})
                print(rows[-1], flush=True)
    summary = {
        f"{row['engine']} / simulator, {row['sites']} sites": row["seconds"] / base["seconds"]
        for row in rows
        for base in rows
        if base["engine"] == "simulator" and base["sites"] == row["sites"]
    }
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    versions = {name: metadata.version(name) for name in ("jax", "numpy", "safetensors")}
    print(hardware, versions)
    reporting.show(summary)
    reporting.write(given.json, hardware, versions, rows, summary)


def settings(folder: str, count: int, rounds: int, site: str = "") -> DeployedConfig:
    """The config of a member: of the server, or of a site."""
    raw = shipped.read("deployment:tiny")
    raw.data.data_dir = str(pathlib.Path(folder, "data"))
    raw.data.partition, raw.data.clients_per_dataset = ("shards",), count
    raw.deployment.sites = tuple(f"tiny_{index}" for index in range(count))
    raw.deployment.site = site
    raw.federated.rounds, raw.federated.placement = rounds, "map"
    return parsing.parse(DeployedConfig, raw)


def simulate(workdir: pathlib.Path, member: Member) -> dict[str, float]:
    """The simulator, with the clients that the sites have."""
    experiment.run(member().experiment, workdir, with_figures=False)
    return {"seconds": seconds_of(workdir)}


def talk(workdir: pathlib.Path, member: Member) -> dict[str, float]:
    """Sites as threads; counts the bytes of all messages after round 0."""
    names, moved = member().deployment.sites, collections.Counter[str]()
    with contextlib.ExitStack() as stack:

        def site_of(name: str) -> Callable[[bytes], bytes]:
            opened = site_run.open_site(member(site=name), workdir / name)
            site = stack.enter_context(opened)

            def answer(task: bytes) -> bytes:
                answered = site.answer(task)
                moved["down"] += len(task)
                moved["up"] += len(answered)
                return answered

            return answer

        sites = {name: site_of(name) for name in names}
        transport = stack.enter_context(Threads(sites))
        server_run.run(member(), workdir / "run", transport, with_figures=False)
    rounds = member().federated.rounds
    each = {f"{way} bytes": moved[way] / len(names) / rounds for way in ("up", "down")}
    return {"seconds": seconds_of(workdir / "run"), **each}


def fly(workdir: pathlib.Path, member: Member) -> dict[str, float]:
    """NVFlare's simulator, with a process for the server and for each site."""
    names = member().deployment.sites
    for name in names:
        write_config(workdir / f"{name}.py", member(site=name))
    job.write_job(member(), workdir / "job", workdir=str(workdir / "run"))
    job.allow(workdir / "workspace")
    command = [sys.executable, "-m", "nvflare.cli", "simulator", "job", "-w", "workspace"]
    command += ["-c", ",".join(names), "-t", str(len(names))]
    variables = {"F3OCUS_SITE_CONFIG": str(workdir / "{site}.py"), "PYTHONPATH": str(REPOSITORY)}
    with (workdir / "log.txt").open("wb") as log:
        subprocess.run(
            command,
            cwd=workdir,
            env={**os.environ, **variables},
            stdout=log,
            stderr=log,
            check=True,
        )
    return {"seconds": seconds_of(workdir / "run")}


def write_config(path: pathlib.Path, config: DeployedConfig) -> None:
    """Writes a config file with all settings of a site."""
    text = json.dumps(json.dumps(dataclasses.asdict(config)))
    lines = ["import json", "import ml_collections", "", "def get_config():"]
    lines.append(f"    return ml_collections.ConfigDict(json.loads({text}))")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def seconds_of(workdir: pathlib.Path) -> float:
    """Returns the median seconds of a round, those before the second left out."""
    lines = (workdir / "records.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines][2:]
    return float(np.median([sum(each.values()) for each in seconds]))


if __name__ == "__main__":
    main()
