"""Check of a site before it joins: its data, its weights, its memory, and rounds of its own."""

import dataclasses
import pathlib
import re
import resource
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.cost import least_memory
from f3ocus_jax.deployment import server_run, site_run, wire
from f3ocus_jax.deployment.messages import EvaluateTask, ScoreTask, TrainTask
from f3ocus_jax.deployment.settings import DeployedConfig, DeploymentConfig
from f3ocus_jax.deployment.site_run import OpenSite
from f3ocus_jax.deployment.threads import Threads

ROUNDS = 2
"""Rounds of the trial: one that compiles the programs, and one as all others will be."""

STAGES: Mapping[str, str] = {
    ScoreTask.kind: "score",
    TrainTask.kind: "train",
    EvaluateTask.kind: "evaluate",
}
"""Kind of a task to its stage, which begins the name of its deadline."""

NO_DEADLINE = 1e7
"""Seconds that no stage of a trial takes."""

MEBIBYTE = 2**20
PROCESS_STATUS = pathlib.Path("/proc/self/status")


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
      name: Part of the site that was checked.
      is_good: False if the site must not join like this.
      result: The finding, in one line.
    """

    name: str
    is_good: bool
    result: str


def check_site(config: DeployedConfig) -> list[Check]:
    """Opens a site as for a deployment, and lets it play rounds with a server of its own.

    Nothing leaves the machine, and nothing of the trial is kept.

    Args:
      config: Settings of the site.

    Returns:
      The checks, in the order in which they were made.

    Raises:
      BuildError, ConfigError, DataError, WeightsError: If data, settings or weights cannot be used.
      RoundError: If the rounds of the trial fail.
    """
    # Masks need other sites.
    in_the_open = dataclasses.replace(config.secure_aggregation, enabled=False)
    config = dataclasses.replace(config, secure_aggregation=in_the_open)
    with tempfile.TemporaryDirectory(prefix="f3ocus-trial-") as folder:
        root = pathlib.Path(folder)
        with site_run.open_site(config, root / "site") as site:
            checks = [_describe_data(site), *_describe_facts(site)]
            seconds = _play(config, site, root / "server")
    deadlines = [_compare(stage, seconds[stage], config.deployment) for stage in STAGES.values()]
    return [*checks, *deadlines, _describe_memory()]


def trial_settings(config: DeployedConfig) -> DeployedConfig:
    """Returns the settings of the trial's server: the same, for this site alone."""
    federated = dataclasses.replace(
        config.federated,
        rounds=ROUNDS,
        budgets=(max(config.federated.budgets),),
        absent={},
        participation=1.0,
        participants=0,
        min_clients=1,
        dropout=0.0,
        stragglers=0.0,
    )
    limits = dataclasses.replace(
        config.limits, forbidden={}, minimum_coverage=0, maximum_coverage=0, minimum_sharers=1
    )
    names = ("join", *STAGES.values())
    unlimited: dict[str, Any] = {f"{name}_seconds": NO_DEADLINE for name in names}
    alone: dict[str, Any] = {"sites": (config.deployment.site,), "site": ""}
    deployment = dataclasses.replace(config.deployment, **alone, **unlimited)
    return dataclasses.replace(config, federated=federated, limits=limits, deployment=deployment)


def _play(config: DeployedConfig, site: OpenSite, workdir: pathlib.Path) -> dict[str, list[float]]:
    """Plays the rounds; returns the seconds of each of the site's answers, by stage."""
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES.values()}

    def answer(task: bytes) -> bytes:
        begin = time.perf_counter()
        answered = site.answer(task)
        stage = STAGES.get(wire.kind_of(task))
        if stage is not None:
            seconds[stage].append(time.perf_counter() - begin)
        return answered

    workdir.mkdir()
    with Threads({site.name: answer}) as transport:
        server_run.run(trial_settings(config), workdir, transport, with_figures=False)
    return seconds


def _describe_data(site: OpenSite) -> Check:
    sizes = ", ".join(f"{len(table)} {split}" for split, table in site.splits.items())
    return Check("data", True, f"{sizes} examples")


def _describe_facts(site: OpenSite) -> list[Check]:
    wanted = ("architecture of the model", "files of the start weights", "tokenizer")
    return [Check(name, True, f"SHA-256 {site.facts[name][:16]}") for name in wanted]


def _compare(stage: str, seconds: list[float], settings: DeploymentConfig) -> Check:
    allowed = getattr(settings, f"{stage}_seconds")
    first, later = seconds[0], seconds[-1]
    result = f"{first:.1f} s the first time, {later:.1f} s later, of {allowed:.0f} s"
    return Check(f"time to {stage}", max(first, later) <= allowed, result)


def _describe_memory() -> Check:
    there = least_memory.machine_bytes()
    result = f"{_peak_bytes() / MEBIBYTE:.0f} MiB at most, of {there / MEBIBYTE:.0f} MiB"
    return Check("memory", True, result)


def _peak_bytes() -> int:
    """Returns the most memory that this process has held."""
    if PROCESS_STATUS.is_file():
        match = re.search(r"VmHWM:\s+(\d+) kB", PROCESS_STATUS.read_text(encoding="ascii"))
        if match:
            return 1024 * int(match.group(1))
    # Where it is all there is: it would be that of the parent process, too.
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
