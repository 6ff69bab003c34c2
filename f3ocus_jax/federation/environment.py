"""Versions, hardware and commit that a process runs with, as text for run.json."""

import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess

import jax

from f3ocus_jax.federation import checkpoint

SOURCE = pathlib.Path(__file__).parents[2]
"""Folder of the checkout, or that of the installed packages."""

SECONDS = 10.0
"""Longest time that git may take."""


def describe() -> dict[str, str]:
    """Returns name to text, the same names on every machine.

    The commit is "" for an installed package, and ends in "-dirty" in a checkout with changes.
    """
    kinds = [device.device_kind for device in jax.devices()]
    counted = [f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)]
    return {
        "f3ocus_jax": importlib.metadata.version("f3ocus_jax"),
        "commit": commit_of(SOURCE),
        "Python": platform.python_version(),
        **checkpoint.versions(),
        "devices": ", ".join(counted),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def commit_of(folder: pathlib.Path) -> str:
    """Returns the commit of a folder that is the top of a checkout; "" for any other folder."""
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return ""
    command = [git, "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--exclude=*"]  # the hash alone, not the nearest tag
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
