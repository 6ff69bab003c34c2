"""The site has a page per folder, and pre-commit checks what `make test` checks."""

import re

import pytest
import yaml

from tests.helpers.paths import PACKAGE, REPOSITORY

DOCS = REPOSITORY / "docs"


def test_every_folder_of_the_package_has_a_page_of_its_api():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders | {"types"} == {path.stem for path in (DOCS / "api").glob("*.md")}


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/]+\.md", (REPOSITORY / "mkdocs.yml").read_text()))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


@pytest.mark.parametrize("tool", ["ruff check", "ruff format", "mypy"])
def test_pre_commit_runs_the_lint_of_make_test(tool):
    settings = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repository in settings["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.M)
    assert recipe is not None
    lines = [line.strip().replace("$(VENV)", ".venv") for line in recipe.group(1).splitlines()]
    (line,) = (line for line in lines if tool in line)
    assert line in entries
    assert len(entries) == 3


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-newest.lock"])
def test_the_readme_names_the_pinned_versions(lock):
    pins = dict(line.split("==") for line in (REPOSITORY / lock).read_text().split())
    row = rf"\| Python [\d., ]+ \| {pins['jax']} \| {pins['flax']} \| `{lock}` \|"
    assert re.search(row, (REPOSITORY / "README.md").read_text())
