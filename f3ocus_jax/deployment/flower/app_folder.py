"""What `flwr run` starts: a folder with one file that names the apps, and settings at the server.

There is no code in the folder. Server and sites run what is installed with them.
"""

import dataclasses
import json
import pathlib

import f3ocus_jax
from f3ocus_jax.config import parsing
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common import whole_file

SETTINGS = "deployment.json"
"""File of the settings in the folder of the run, which the SuperLink's machine keeps."""

WORKDIR = "workdir"
"""Key of the app's configuration that names the folder of the run."""

APP = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "f3ocus-jax"
version = {version}
description = "A federation of f3ocus_jax, whose code is installed at the server and at every site."
license = "Apache-2.0"
dependencies = ["flwr>=1.42,<1.43"]

[tool.flwr.app]
publisher = "f3ocus-jax"

[tool.flwr.app.components]
serverapp = "f3ocus_jax.deployment.flower.server_app:app"
clientapp = "f3ocus_jax.deployment.flower.client_app:app"

[tool.flwr.app.config]
{key} = {workdir}
"""


def write(config: DeployedConfig, workdir: pathlib.Path, out: pathlib.Path) -> None:
    """Writes the folder of an app, and the settings of its run.

    Args:
      config: Settings of the server.
      workdir: Absolute path of the folder of the run, at the SuperLink's machine.
      out: Folder of the app, made if absent.

    Raises:
      ConfigError: If no site is named.
    """
    if not config.deployment.sites:
        raise ConfigError("config.deployment.sites = (), must name the sites")
    settings = json.dumps(dataclasses.asdict(config), indent=2)
    _write(workdir / SETTINGS, settings + "\n")
    version, folder = (json.dumps(text) for text in (f3ocus_jax.__version__, str(workdir)))
    _write(out / "pyproject.toml", APP.format(version=version, key=WORKDIR, workdir=folder))


def read_settings(workdir: pathlib.Path) -> DeployedConfig:
    """Reads the settings of a run.

    Args:
      workdir: Folder of the run.

    Raises:
      ConfigError: If the file is not there, or a setting is impossible.
    """
    path = workdir / SETTINGS
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): write it with python -m f3ocus_jax.deployment "
            f"flower app --config CONFIG --workdir {workdir} --out APP"
        ) from error
    return parsing.parse(DeployedConfig, raw)


def _write(path: pathlib.Path, text: str) -> None:
    """Writes a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_file.write(path, text)
