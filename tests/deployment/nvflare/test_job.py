"""Jobs of NVFlare, and the list of classes that a participant lets them name."""

import importlib
import json

import pytest

from f3ocus_jax.config import defaults, parsing
from f3ocus_jax.deployment.nvflare import job
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.errors import ConfigError


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def config_of(*sites, min_clients=1):
    raw = defaults(DeployedConfig)
    raw.deployment.sites, raw.federated.min_clients = sites, min_clients
    return parsing.parse(DeployedConfig, raw)


def test_a_job_holds_settings_and_no_code(tmp_path):
    job.write_job(config_of("north", "south", min_clients=2), tmp_path / "three")
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"meta.json", "config_fed_server.json", "config_fed_client.json"}
    meta = read(tmp_path / "three" / "meta.json")
    assert (meta["name"], meta["min_clients"]) == ("three", 2)
    assert meta["deploy_map"] == {"app": ["server", "north", "south"]}


def test_the_settings_in_a_job_are_those_of_the_config(tmp_path):
    config = config_of("north", "south")
    job.write_job(config, tmp_path / "job", workdir="/runs/first")
    server = read(tmp_path / "job/app/config/config_fed_server.json")["components"][0]
    assert parsing.parse(DeployedConfig, server["args"]["settings"]) == config
    assert server["args"]["workdir"] == "/runs/first"


def test_a_site_is_given_neither_settings_nor_paths(tmp_path):
    job.write_job(config_of("north"), tmp_path / "job")
    site = read(tmp_path / "job/app/config/config_fed_client.json")
    assert [component["args"] for component in site["components"]] == [{"job": "job"}]
    assert site["executors"][0]["executor"]["args"] == {"client_obj_id": "_client", "props": {}}


def test_a_job_without_sites_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must name the sites of the job"):
        job.write_job(config_of(), tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_every_class_that_a_job_names_is_allowed_and_exists(tmp_path):
    pytest.importorskip("nvflare")
    job.write_job(config_of("north"), tmp_path / "job")
    named = set()
    for path in (tmp_path / "job").rglob("config_fed_*.json"):
        named |= {part.split('"')[0] for part in path.read_text().split('"path": "')[1:]}
    assert named == set(job.CLASSES)
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_allow_adds_to_what_a_participant_allows_already(tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    default = {"format_version": 2, job.ALLOWED: ["other.Class"], "kept": 1}
    (local / job.DEFAULT_RESOURCES).write_text(json.dumps(default))
    assert job.allow(tmp_path) == local / job.RESOURCES
    expected = {**default, job.ALLOWED: ["other.Class", *job.CLASSES]}
    assert read(local / job.RESOURCES) == expected
    job.allow(tmp_path)
    assert read(local / job.RESOURCES) == expected


def test_allow_leaves_a_file_that_it_cannot_read(tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    (local / job.RESOURCES).write_text('{"class_allow_list": "all"}')
    with pytest.raises(ConfigError, match="must hold an object whose class_allow_list is a list"):
        job.allow(tmp_path)
    assert (local / job.RESOURCES).read_text() == '{"class_allow_list": "all"}'
