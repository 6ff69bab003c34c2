"""NVFlare's files of a deployment: a job, and the classes that a participant lets jobs name.

A job holds settings and no code. NVFlare makes only classes that the participant's own list has, so
that a job can run nothing but what is installed there.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common import whole_file

APPLICATIONS = "f3ocus_jax.deployment.nvflare.applications"
SERVER, SITE = f"{APPLICATIONS}.FederationServer", f"{APPLICATIONS}.FederationSite"
CONTROLLER = "nvflare.collab.runtime.controller.CollabController"
EXECUTOR = "nvflare.collab.runtime.executor.CollabExecutor"

CLASSES = (CONTROLLER, EXECUTOR, SERVER, SITE)
"""Classes that a job names."""

ALLOWED = "class_allow_list"
RESOURCES, DEFAULT_RESOURCES = "resources.json", "resources.json.default"


def write_job(config: DeployedConfig, folder: pathlib.Path, *, workdir: str = "") -> None:
    """Writes the folder of a job, which `nvflare job submit` and `nvflare simulator` take.

    Args:
      config: Settings of the server.
      folder: Folder of the job, created if absent; its name is that of the job.
      workdir: Absolute path of the run's folder at the server; "" for one in its workspace.

    Raises:
      ConfigError: If no site is named.
    """
    if not config.deployment.sites:
        raise ConfigError("config.deployment.sites = (), must name the sites of the job")
    app = folder / "app" / "config"
    app.mkdir(parents=True, exist_ok=True)
    _write(folder / "meta.json", _meta(config, folder.name))
    _write(app / "config_fed_server.json", _server_app(config, folder.name, workdir))
    _write(app / "config_fed_client.json", _site_app(folder.name))


def allow(workspace: pathlib.Path) -> pathlib.Path:
    """Lets a participant's jobs name the classes of a deployment.

    Args:
      workspace: Startup kit of a server or site, or the workspace of a simulation.

    Returns:
      The file that was written, with what was there and `CLASSES`.

    Raises:
      ConfigError: If the file that is there cannot be read.
    """
    local = workspace / "local"
    file, default = local / RESOURCES, local / DEFAULT_RESOURCES
    there = file if file.is_file() else default
    resources: dict[str, Any] = _read(there) if there.is_file() else {"format_version": 2}
    listed = resources.get(ALLOWED, [])
    resources[ALLOWED] = [*listed, *(name for name in CLASSES if name not in listed)]
    local.mkdir(parents=True, exist_ok=True)
    _write(file, resources)
    return file


def _meta(config: DeployedConfig, name: str) -> dict[str, Any]:
    sites = list(config.deployment.sites)
    return {
        "name": name,
        "resource_spec": {},
        "min_clients": max(1, config.federated.min_clients),
        "deploy_map": {"app": ["server", *sites]},
    }


def _server_app(config: DeployedConfig, name: str, workdir: str) -> dict[str, Any]:
    settings = {"settings": dataclasses.asdict(config), "job": name, "workdir": workdir}
    seconds = math.ceil(config.deployment.join_seconds)
    controller = {"server_obj_id": "_server", "sync_task_timeout": seconds, "props": {}}
    return {
        "format_version": 2,
        "workflows": [{"id": "controller", "path": CONTROLLER, "args": controller}],
        "components": [{"id": "_server", "path": SERVER, "args": settings}],
        "task_data_filters": [],
        "task_result_filters": [],
    }


def _site_app(name: str) -> dict[str, Any]:
    executor = {"path": EXECUTOR, "args": {"client_obj_id": "_client", "props": {}}}
    return {
        "format_version": 2,
        "executors": [{"tasks": ["*"], "executor": executor}],
        "components": [{"id": "_client", "path": SITE, "args": {"job": name}}],
        "task_data_filters": [],
        "task_result_filters": [],
    }


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get(ALLOWED, []), list):
        raise ConfigError(f"{path} must hold an object whose {ALLOWED} is a list")
    return found


def _write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    whole_file.write(path, json.dumps(content, indent=2) + "\n")
