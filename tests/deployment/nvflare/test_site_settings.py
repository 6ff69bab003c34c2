"""The settings of a site in an NVFlare job."""

import pytest

from f3ocus_jax.deployment.nvflare import site_settings
from f3ocus_jax.errors import ConfigError

CONFIG = """\
from f3ocus_jax.config import shipped


def get_config():
    config = shipped.read("deployment:tiny")
    config.deployment.site = {site!r}
    return config
"""


def write(path, site=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.format(site=site))


def test_a_site_reads_the_config_in_its_kit_and_gets_its_name(tmp_path, monkeypatch):
    monkeypatch.delenv(site_settings.SITE_CONFIG, raising=False)
    write(tmp_path / "local" / site_settings.SITE_FILE)
    assert site_settings.site_config("oct", tmp_path).deployment.site == "oct"


def test_the_variable_comes_first_and_holds_a_place_for_the_name(tmp_path, monkeypatch):
    monkeypatch.setenv(site_settings.SITE_CONFIG, str(tmp_path / "{site}.py"))
    write(tmp_path / "oct.py", "oct")
    write(tmp_path / "local" / site_settings.SITE_FILE, "another")
    assert site_settings.site_config("oct", tmp_path).deployment.site == "oct"


def test_a_site_without_a_config_is_told_where_it_may_be(tmp_path, monkeypatch):
    monkeypatch.delenv(site_settings.SITE_CONFIG, raising=False)
    with pytest.raises(ConfigError, match=site_settings.SITE_FILE):
        site_settings.site_config("oct", tmp_path)


def test_the_config_of_another_site_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv(site_settings.SITE_CONFIG, raising=False)
    write(tmp_path / "local" / site_settings.SITE_FILE, "fundus")
    with pytest.raises(ConfigError, match="fundus, but NVFlare knows it as oct"):
        site_settings.site_config("oct", tmp_path)
