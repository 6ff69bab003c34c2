"""The folder that `flwr run` starts, and the settings of its run."""

import ast
import importlib.util
import json
import pathlib
import tomllib

import pytest

from f3ocus_jax.config import defaults, parsing
from f3ocus_jax.deployment.flower import app_folder
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError


def config_of(*sites):
    raw = defaults(DeployedConfig)
    raw.deployment.sites = sites
    raw.federated.min_clients, raw.training.learning_rate = 2, 3e-4
    return parsing.parse(DeployedConfig, raw)


def written(tmp_path, *sites):
    workdir, out = tmp_path / 'a "run"', tmp_path / "app"
    app_folder.write(config_of(*sites), workdir, out)
    return workdir, out


def test_an_app_has_no_code_and_no_settings(tmp_path):
    workdir, out = written(tmp_path, "north", "south")
    assert [path.name for path in out.iterdir()] == ["pyproject.toml"]
    app = tomllib.loads((out / "pyproject.toml").read_text(encoding="utf-8"))
    assert app["tool"]["flwr"]["app"]["config"] == {"workdir": str(workdir)}
    assert app["project"]["dependencies"] == ["flwr>=1.42,<1.43"]


def test_an_app_names_objects_that_are_there_without_any_import(tmp_path):
    _, out = written(tmp_path, "north")
    app = tomllib.loads((out / "pyproject.toml").read_text(encoding="utf-8"))
    components = app["tool"]["flwr"]["app"]["components"]
    assert components.keys() == {"serverapp", "clientapp"}
    for reference in components.values():
        module, _, name = reference.partition(":")
        tree = ast.parse(pathlib.Path(importlib.util.find_spec(module).origin).read_text())
        assigned = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)]
        assert name in assigned, reference


def test_the_settings_of_a_run_are_read_back_as_they_were(tmp_path):
    workdir, _ = written(tmp_path, "north", "south")
    assert app_folder.read_settings(workdir) == config_of("north", "south")


def test_the_requirement_of_the_extra_is_that_of_an_app(tmp_path):
    _, out = written(tmp_path, "north")
    app = tomllib.loads((out / "pyproject.toml").read_text(encoding="utf-8"))
    package = tomllib.loads(pathlib.Path("pyproject.toml").read_text(encoding="utf-8"))
    extra = package["project"]["optional-dependencies"]["flower"]
    assert app["project"]["dependencies"] == extra


def test_an_app_without_sites_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must name the sites"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "{", '{"seed": 1}'])
def test_settings_that_are_not_there_or_not_whole_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / app_folder.SETTINGS).write_text(content)
    with pytest.raises(ConfigError, match=r"deployment\.json|config\.\w+ is missing"):
        app_folder.read_settings(tmp_path)


def test_unknown_settings_are_refused(tmp_path):
    workdir, _ = written(tmp_path, "north")
    path = workdir / app_folder.SETTINGS
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sead": 1}))
    with pytest.raises(ConfigError, match=r"config\.sead is unknown"):
        app_folder.read_settings(workdir)
