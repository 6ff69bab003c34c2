"""Write the hashes of the packages that a released wheel needs, for pip's --require-hashes.

usage: python scripts/lock_hashes.py LOCK PYTHON... [--extra EXTRA] > HASHES

Every package that `pip install .` takes becomes one requirement: its pinned version, and the hash
of each file that pip would take on one of `PLATFORMS`. pip asks the index that it is configured
for; no address is written.

With an extra, such as cuda12, the list has what the extra adds on the machine that writes it: the
packages of accelerators have gigabytes, and pip downloads them. The list is their lock, too.
"""

import argparse
import json
import pathlib
import platform
import re
import subprocess
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


def added(lock: str, python: str, extra: str) -> dict[str, set[str]]:
    """Returns the hashes of each package that an extra adds to those of `pip install .`."""
    base = {file.pin for file in report(python, "--constraint", lock, ".")}
    here = report(python, "--constraint", lock, f".[{extra}]")
    return {file.pin: {file.digest} for file in here if file.pin not in base}


def show(found: dict[str, set[str]]) -> None:
    """Prints one requirement with its hashes per package."""
    for pin, digests in sorted(found.items()):
        print(" \\\n    ".join([pin, *(f"--hash=sha256:{each}" for each in sorted(digests))]))


def main() -> None:
    """Prints the list of a lock, or of an extra."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lock")
    parser.add_argument("pythons", nargs="+")
    parser.add_argument("--extra")
    given = parser.parse_args()
    lock, extra = given.lock, given.extra
    if extra:
        system = f"{platform.system()} on {platform.machine()}"
        python = pathlib.Path(given.pythons[0]).name
        print(f"# What the extra {extra} adds to {lock}, for {python}, {system}.")
        show(added(lock, given.pythons[0], extra))
        return
    print(f"# What a wheel needs of {lock}, for Linux and macOS; written by `make hashes`.")
    found = collect(lock, given.pythons)
    names = re.findall(
        r"^([\w.-]+)==", pathlib.Path(lock).read_text(encoding="utf-8"), re.MULTILINE
    )
    locked = set(map(normalised, names))
    for pin in sorted(found):
        if pin.partition("==")[0] not in locked:
            raise SystemExit(f"error: {lock} holds no version of {pin.partition('==')[0]}")
    show(found)


if __name__ == "__main__":
    main()
