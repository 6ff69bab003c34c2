"""Time to find the files that rows name, in a folder of 20 000.

python -m benchmarks.lookup [--quick] [--json FILE]

The folder given as manual_dir holds release/images with all files, and 200 other folders. A row
names its image from that folder, in the right case or in another, or one that is absent; or, as in
MIMIC-CXR, by the folders of patient and study. The first look-up, which reads the folder, is timed
alone: "first", in milliseconds. "each" is the median of the others, in microseconds.
"""

import argparse
import contextlib
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks import reporting
from tfds_medvqa.common.rows import Row, RowError
from tfds_medvqa.common.source_folder import Origin, SourceFolder

FILES, OTHER_FOLDERS, LOOKUPS = 20_000, 200, 200
ORIGIN = Origin("Generated files", "nowhere", "none")


def write_files(root: pathlib.Path, files: int) -> None:
    """Writes empty files: in one folder, and in folders of patients and studies."""
    for number in range(OTHER_FOLDERS):
        (root / f"folder_{number:03d}" / "more").mkdir(parents=True)
    (root / "release" / "images").mkdir(parents=True)
    for number in range(files):
        (root / "release" / "images" / f"image_{number:05d}.png").touch()
        study = root / "release" / study_path(number)
        study.parent.mkdir(parents=True, exist_ok=True)
        study.touch()


def study_path(number: int) -> str:
    """Returns the path of a report, as in MIMIC-CXR: ten of a patient."""
    return f"files/p10/p{10_000_000 + number // 10}/s{50_000_000 + number}.txt"


CASES: dict[str, Callable[[int], str]] = {
    "as named": lambda number: f"images/image_{number:05d}.png",
    "other case": lambda number: f"Images/Image_{number:05d}.PNG",
    "patient and study": study_path,
    "absent": lambda number: f"images/absent_{number:05d}.png",
}
"""Case to a function of a file's number that returns the name in its row."""


def measure(root: pathlib.Path, files: int, name: Callable[[int], str]) -> dict[str, float]:
    """Looks up some of the files, evenly spread, with a fresh index."""
    source = SourceFolder(root, ORIGIN)
    seconds = []
    for number in range(0, files, files // LOOKUPS):
        start = time.perf_counter()
        with contextlib.suppress(RowError):
            source.named_file(Row("row", {}), name(number))
        seconds.append(time.perf_counter() - start)
    first, *others = seconds
    return {"first_ms": first * 1e3, "each_us": statistics.median(others) * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lookup")
    parser.add_argument("--quick", action="store_true", help="2 000 files instead of 20 000")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    arguments = parser.parse_args()
    files = FILES // 10 if arguments.quick else FILES
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    print(hardware, f"{files} files", flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(pathlib.Path(folder), files)
        for case, name in CASES.items():
            found = measure(pathlib.Path(folder), files, name)
            print(f"{case:<18} first {found['first_ms']:8.1f} ms  each {found['each_us']:10.1f} us")
            rows.append({"case": case, "method": "ours"} | found)
    summary = {f"lookup.{row['case'].replace(' ', '_')}_us": row["each_us"] for row in rows}
    reporting.write(arguments.json, hardware, {}, rows, summary)


if __name__ == "__main__":
    main()
