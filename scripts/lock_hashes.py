"""Write the hashes of the packages that a released wheel needs, for pip's --require-hashes.

usage: python scripts/lock_hashes.py LOCK PYTHON... > HASHES

Every package that `pip install .` takes becomes one requirement: its pinned version, and the hash
of each file that pip would take on one of `PLATFORMS`. pip asks the index that it is configured
for; no address is written.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

ANYWHERE = ("-none-any.whl", ".tar.gz", ".zip")
"""Ends of the names of files that are the same on every platform."""

GLIBC = (28, 34, 39)
"""Minor versions of glibc 2 for whose systems files are taken; pyarrow needs 28."""


def linux(machine: str, newest: int) -> list[str]:
    """Returns the platforms of a Linux system with glibc 2.`newest`, most preferred first."""
    named = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)]
    return [*named, f"manylinux2014_{machine}", f"linux_{machine}"]


PLATFORMS = (
    *(linux(machine, minor) for machine in ("x86_64", "aarch64") for minor in GLIBC),
    ["macosx_12_0_arm64"],
    ["macosx_14_0_arm64"],
)
"""Systems that hashes are written for; jaxlib has no files for others but Windows."""


class File(NamedTuple):
    """A file that pip would install.

    Attributes:
      pin: Name and version, as a requirement.
      name: Name of the file.
      digest: Its SHA-256.
    """

    pin: str
    name: str
    digest: str


def report(python: str, *arguments: str) -> list[File]:
    """Returns the files that pip would install.

    Args:
      python: Interpreter that runs pip, since pip checks packages against its own version.
      *arguments: Arguments of `pip install`.
    """
    pip = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    process = subprocess.run(
        [*pip, "--report", "-", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return [
        File(
            f"{normalised(item['metadata']['name'])}=={item['metadata']['version']}",
            item["download_info"]["url"].rpartition("/")[2],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in json.loads(process.stdout)["install"]
        if "archive_info" in item["download_info"]  # the project itself is a folder
    ]


def normalised(name: str) -> str:
    """Returns a package's name as the index writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def on_platforms(python: str, pins: Iterable[str]) -> Iterator[File]:
    """Yields the wheels that pip would install on each platform, without dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        fixed = ["--no-deps", "--only-binary=:all:", f"--target={folder}"]
        for platforms in PLATFORMS:
            chosen = [f"--platform={platform}" for platform in platforms]
            yield from report(python, *fixed, *chosen, *pins)


def collect(lock: str, pythons: Iterable[str]) -> dict[str, set[str]]:
    """Returns the hashes of each package that `pip install .` takes under a lock."""
    found: dict[str, set[str]] = {}
    for python in pythons:
        here = report(python, "--constraint", lock, ".")
        compiled = [file.pin for file in here if not file.name.endswith(ANYWHERE)]
        for file in [*here, *on_platforms(python, compiled)]:
            found.setdefault(file.pin, set()).add(file.digest)
    return found


def main() -> None:
    """Prints one requirement with its hashes per package."""
    lock, *pythons = sys.argv[1:]
    print(f"# What a wheel needs of {lock}, for Linux and macOS; written by `make hashes`.")
    names = re.findall(
        r"^([\w.-]+)==", pathlib.Path(lock).read_text(encoding="utf-8"), re.MULTILINE
    )
    locked = set(map(normalised, names))
    for pin, digests in sorted(collect(lock, pythons).items()):
        if pin.partition("==")[0] not in locked:
            raise SystemExit(f"error: {lock} holds no version of {pin.partition('==')[0]}")
        print(" \\\n    ".join([pin, *(f"--hash=sha256:{each}" for each in sorted(digests))]))


if __name__ == "__main__":
    main()
