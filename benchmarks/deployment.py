"""Seconds and bytes of a round over messages beside the simulator's, with 2, 4 and 8 sites.

    python -m benchmarks.deployment [--sites 2 4 8] [--rounds N] [--json FILE]

The tiny model of `configs/deployment.py` and made-up pictures, on one device. Each case runs in the
simulator, as threads that exchange messages in one process, and, if NVFlare is
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
from PIL import Image

from benchmarks import reporting
from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.deployment import server_run, site_run
from f3ocus_jax.deployment.nvflare import job, site_settings
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.deployment.threads import Threads
from f3ocus_jax.federation import experiment

Member = Callable[..., DeployedConfig]
"""Returns the config of the server, or of the site that is named."""

PICTURES = 40
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
        for index in range(max(given.sites)):
            write_site(pathlib.Path(folder, f"site_{index}", "files"), index)
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
    """The config of a site, or that of the server and of the simulator, which has all clients."""
    names = [f"site_{index}" for index in range(count)]
    raw = shipped.read("deployment:tiny")
    raw.data.data_dir = str(pathlib.Path(folder, site or f"all_{count}", "built"))
    raw.data.datasets = tuple(
        f"files:{pathlib.Path(folder, name, 'files')}" for name in ([site] if site else names)
    )
    raw.data.partition = ("hospital",)
    raw.deployment.sites, raw.deployment.site = () if site else tuple(names), site
    raw.federated.rounds, raw.federated.placement = rounds, "map"
    return parsing.parse(DeployedConfig, raw)


def write_site(folder: pathlib.Path, seed: int) -> None:
    """Writes made-up pictures of noise with two questions each, of one hospital."""
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(seed)
    lines = ["image,question,answer,hospital,patient"]
    for number in range(PICTURES):
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        path = folder / "images" / f"{number}.png"
        Image.fromarray(pixels).save(path)
        for question, answer in (("which side?", "left"), ("effusion?", ("no", "yes")[number % 2])):
            row = (f"images/{number}.png", question, answer, folder.parent.name, f"p{number}")
            lines.append(",".join(row))
    (folder / "questions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


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
    variables = {
        site_settings.SITE_CONFIG: str(workdir / "{site}.py"),
        "PYTHONPATH": str(REPOSITORY),
    }
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
