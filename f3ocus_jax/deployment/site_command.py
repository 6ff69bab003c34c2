"""Check of a site before it joins: f3ocus deployment site --config SITE --workdir OUT."""

import dataclasses
import json

import ml_collections
import rich
from rich import table as rich_table

from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing
from f3ocus_jax.deployment import readiness
from f3ocus_jax.deployment.readiness import Check
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import DataError
from tfds_medvqa.common import whole_file
from tfds_medvqa.common.printable import printable

FILE = "readiness.json"


def run() -> None:
    """Runs the command."""
    _command_line.run_with_config(_check, lambda: DeployedConfig)


def _check(raw: ml_collections.ConfigDict) -> None:
    config = parsing.parse(DeployedConfig, raw)
    workdir = _command_line.prepare_workdir()
    checks = readiness.check_site(config)
    found = [dataclasses.asdict(check) for check in checks]
    whole_file.write(workdir / FILE, json.dumps(found, indent=2) + "\n")
    rich.print(_as_table(checks))
    bad = [check for check in checks if not check.is_good]
    if bad:
        raise DataError("; ".join(f"{check.name}: {check.result}" for check in bad))
    print(f"site {printable(config.deployment.site)} is ready; {workdir / FILE}")


def _as_table(checks: list[Check]) -> rich_table.Table:
    table = rich_table.Table(box=None)
    for title in ("check", "", "found"):
        table.add_column(title)
    for check in checks:
        table.add_row(check.name, "ok" if check.is_good else "NOT OK", printable(check.result))
    return table
