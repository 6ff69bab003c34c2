"""Names in README and docs exist: settings, config variants, files and links."""

import re

import pytest

from f3ocus_jax.config import flatten
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.federation.settings import PretrainConfig
from tests.docs.snippets import DOCUMENTS, PAGES
from tests.helpers.paths import PACKAGE, REPOSITORY

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
every_document = pytest.mark.parametrize(
    "page", DOCUMENTS, ids=lambda page: str(page.relative_to(REPOSITORY))
)
FOLDERS = ("benchmarks", "configs", "docs", "f3ocus_jax", "scripts", "tests", "tfds_medvqa")


def known_settings():
    names = set()
    for section in (DeployedConfig, PretrainConfig):
        for name in flatten(section()):
            parts = name.split(".")
            names |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return names


@every_document
def test_settings_that_a_page_names_exist(page):
    known = known_settings()
    for name in re.findall(r"\bconfig\.([a-z_]+(?:\.[a-z_]+)+)", page.read_text()):
        assert name in known, f"{page.name}: config.{name}"


@every_document
def test_files_that_a_page_names_exist(page):
    for name in re.findall(r"`([\w./-]+/[\w./-]*)`", page.read_text()):
        if name.split("/")[0] in FOLDERS:
            assert (REPOSITORY / name).exists(), f"{page.name}: {name}"
        elif (PACKAGE / name.split("/")[0]).is_dir() and "/" in name.rstrip("/"):
            assert (PACKAGE / name).exists(), f"{page.name}: {name}"


@every_page
def test_links_of_a_page_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
