"""Output of all benchmarks: printed figures, and a JSON file with a common layout."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any


def write(
    path: pathlib.Path | None,
    hardware: str,
    versions: dict[str, str],
    rows: Sequence[dict[str, Any]],
    summary: dict[str, float],
) -> None:
    """Writes the measurements as JSON.

    Args:
      path: Output file, from `--json`; None to write nothing.
      hardware: Description of the hardware.
      versions: Package to version.
      rows: Measurements, one row per case and method.
      summary: Name to value of the figures with targets.
    """
    content = {"hardware": hardware, "versions": versions, "rows": rows, "summary": summary}
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show(summary: dict[str, float]) -> None:
    """Prints the figures, one per line."""
    for name, value in summary.items():
        print(f"{name:<42} {value:.4g}")
