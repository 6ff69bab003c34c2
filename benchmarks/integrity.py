"""Cost of a checkpoint's manifest beside the save and the restore that it belongs to.

    python -m benchmarks.integrity [--megabytes N] [--repeats N] [--json FILE]

A state of random float32, which no compression shortens. A save is timed as a run sees it (until
`save` returns) and until the step is on disk, manifest included; the manifest is then written and
checked once more, alone. Peers, in turn with it: each algorithm alone on the same files and on as
many bytes in memory. A file of the same size stands for the pixels of a cache; it is read plainly
and with its checksum, once from memory and once after its pages were given up.
"""

import argparse
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from benchmarks import reporting
from f3ocus_jax.federation import sealed_steps
from tfds_medvqa.common import integrity

MEGABYTE = 1_000_000


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(epath.Path(folder), given.megabytes, given.repeats))
    median = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    summary = {f"seconds, {name}": value for name, value in median.items()}
    for whole in ("save call", "save until on disk"):
        summary[f"manifest / {whole}"] = median["manifest"] / median[whole]
    summary["check / restore"] = median["check"] / median["restore"]
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, {given.megabytes} MB"
    packages = ("numpy", "orbax-checkpoint", "xxhash")
    versions = {name: metadata.version(name) for name in packages}
    print(hardware, versions)
    reporting.show(summary)
    reporting.write(given.json, hardware, versions, rows, summary)


def measure(folder: epath.Path, megabytes: int, repeats: int) -> Iterator[dict[str, float]]:
    """Yields the seconds of each part, once per saved step; the first one warms up."""
    values = np.random.default_rng(0).random((megabytes, MEGABYTE // 4), np.float32)
    writer = sealed_steps.StepWriter(folder, [checkpoint_managers.LatestN(2)])
    items = ocp.args.Composite(state=ocp.args.StandardSave({"values": values}))
    wanted = ocp.args.Composite(state=ocp.args.StandardRestore({"values": values}))
    for number in range(repeats + 1):
        start = time.perf_counter()
        writer.save(number, items)
        call = time.perf_counter() - start
        writer.wait()
        step = folder / str(number)
        row = {"save call": call, "save until on disk": time.perf_counter() - start}
        names = [name for name in integrity.files(step) if name != sealed_steps.METADATA]
        listed = [name for name in names if name not in (integrity.MANIFEST, "commit_success.txt")]
        row["manifest"] = seconds(integrity.write_manifest, step, listed)
        row["check"] = seconds(sealed_steps.check, step)
        row["restore"] = seconds(sealed_steps.read, step, wanted)
        for algorithm, function in integrity.ALGORITHMS.items():
            row[f"{algorithm} of the files"] = seconds(checksums, step, listed, algorithm)
            row[f"{algorithm} in memory"] = seconds(function, values.data)
        row |= read_cache(folder / "pixels.bin", values)
        if number:
            yield row
    writer.close()


def checksums(folder: epath.Path, names: list[str], algorithm: str) -> None:
    for name in names:
        integrity.checksum(folder / name, algorithm)


def read_cache(path: epath.Path, values: np.ndarray) -> dict[str, float]:
    """Returns the seconds of reading one large file, with and without its checksum."""
    row = {}
    path.write_bytes(values.tobytes())
    for place in ("memory", "disk"):
        for name, function in (("read", read), ("checksum", integrity.checksum)):
            if place == "disk":
                forget(path)
            row[f"cache, {name} from {place}"] = seconds(function, path)
    return row


def read(path: epath.Path) -> None:
    """Reads a file piece by piece, as the checksum does."""
    piece = bytearray(1 << 18)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def forget(path: epath.Path) -> None:
    """Makes the system give up the pages of a file that it keeps in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def seconds(function: Callable[..., object], *arguments: Any) -> float:
    """Returns the seconds of a call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
