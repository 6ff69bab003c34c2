"""What do all benchmarks leave behind? Their figures, printed, and a file of one layout."""

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
    """Writes what was measured as JSON.

    Args:
      path: of `--json`; nothing is written without it.
      hardware: what it ran on.
      versions: of packages, by name.
      rows: one per case and method.
      summary: the figures that targets are set for, by their names.
    """
    content = {"hardware": hardware, "versions": versions, "rows": rows, "summary": summary}
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n")


def show(summary: dict[str, float]) -> None:
    """Prints the figures, a line each."""
    for name, value in summary.items():
        print(f"{name:<42} {value:.4g}")
