"""Workers of a sweep: in this process, as processes on cores of their own, or as jobs."""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

from f3ocus_jax.config import shipped
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.interrupts import PARENT_SAYS_IT, Interrupted
from f3ocus_jax.sweep import worker
from f3ocus_jax.sweep.marks import LEASES
from f3ocus_jax.sweep.plan import Plan
from f3ocus_jax.sweep.run_config import FOUNDATION
from tfds_medvqa.common import owner_lock

CLUSTERS = ("slurm", "local")
"""Schedulers that submitit can start jobs with; "local" starts processes of this machine."""

MODULE = ("-m", "f3ocus_jax.sweep", "work")

PINNED = """
import os, runpy, sys
os.sched_setaffinity(0, map(int, sys.argv.pop(1).split(",")))
from f3ocus_jax import interrupts
interrupts.end_at_once()
runpy.run_module("f3ocus_jax.sweep", run_name="__main__", alter_sys=True)
"""
"""Program of a worker that sees only the cores of its first argument."""

END_SECONDS = 60.0
"""Time that a worker has to end after the first signal."""


def work_alone(plan: Plan, *, wait: bool) -> None:
    """Does the runs in this process, after the weights that they start from.

    Args:
      plan: Runs of the sweep.
      wait: See `worker.work`.
    """
    if plan.sweep.foundation:
        make_foundation(plan.sweep.foundation, plan.workdir)
    worker.work(plan, lambda line: print(line, flush=True), wait=wait)


def make_foundation(config: str, workdir: pathlib.Path) -> None:
    """Pre-trains the weights of a sweep, unless they are there.

    Raises:
      ConfigError: if pre-training fails; its own message is on standard error.
    """
    folder = workdir / FOUNDATION
    (workdir / LEASES).mkdir(parents=True, exist_ok=True)
    with owner_lock.waited_for(workdir / LEASES / f"{FOUNDATION}.lock", "it pre-trains"):
        if (folder / "config.json").is_file():
            return
        options = (f"--config={shipped.locate(config)}", f"--workdir={folder}")
        command = [sys.executable, "-m", "f3ocus_jax.pretrain", *options]
        ended = subprocess.run(command, env=os.environ | {PARENT_SAYS_IT: "1"}, check=False)
        if ended.returncode:
            raise ConfigError(f"sweep.foundation = {config!r} cannot be pre-trained, see above")


def work_here(workdir: pathlib.Path, workers: int) -> None:
    """Does the runs in several processes of this machine, each on cores of its own.

    Args:
      workdir: Folder of the sweep.
      workers: Number of processes.

    Raises:
      ConfigError: if there are more workers than cores, or a worker fails.
    """
    cores = _cores()
    if workers > len(cores):
        raise ConfigError(f"--workers={workers}, must be at most {len(cores)}, the cores here")
    shares = [cores[index::workers] for index in range(workers)]
    processes = [_start(workdir, share) for share in shares]
    try:
        codes = [process.wait() for process in processes]
    except Interrupted:
        _end(processes)
        raise
    failed = [code for code in codes if code]
    if failed:
        statuses = ", ".join(map(str, failed))
        raise ConfigError(
            f"{len(failed)} of {workers} workers ended early with status {statuses}, see above"
        )


def _start(workdir: pathlib.Path, cores: Sequence[int]) -> subprocess.Popen[bytes]:
    """Starts a worker that sees only some of the cores."""
    environment = os.environ | {PARENT_SAYS_IT: "1"}
    command = [sys.executable, *MODULE, f"--workdir={workdir}"]
    if hasattr(os, "sched_setaffinity"):
        listed = ",".join(map(str, cores))
        command[1:3] = ["-c", PINNED, listed]
    return subprocess.Popen(command, env=environment)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends workers, which keep the checkpoint that they are writing."""
    for process in processes:
        process.terminate()
    latest = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, latest - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def launch(cluster: str, workdir: pathlib.Path, workers: int) -> list[str]:
    """Starts workers as jobs of a scheduler, by submitit.

    Args:
      cluster: One of `CLUSTERS`.
      workdir: Folder of the sweep, which all machines must see.
      workers: Number of jobs.

    Returns:
      A line about every job.

    Raises:
      ConfigError: if submitit is not installed, or knows no such scheduler here.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "--launch needs submitit: install f3ocus_jax[sweep], or start "
            f"python {' '.join(MODULE)} --workdir={workdir} by your scheduler"
        ) from error
    command = [sys.executable, *MODULE, f"--workdir={workdir}"]
    try:
        executor = submitit.AutoExecutor(folder=workdir / "jobs", cluster=cluster)
        executor.update_parameters(name="f3ocus_sweep", timeout_min=24 * 60)
        with executor.batch():
            jobs = [
                executor.submit(submitit.helpers.CommandFunction(command)) for _ in range(workers)
            ]
    except RuntimeError as error:
        raise ConfigError(f"--launch={cluster}: {error}") from error
    return [f"job {job.job_id}: {job.paths.stdout}" for job in jobs]
