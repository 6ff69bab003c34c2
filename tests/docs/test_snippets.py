"""Python in README and docs runs, page by page, and the commands in them exist."""

import importlib.util
import re
import tomllib

import pytest

from f3ocus_jax.__main__ import COMMANDS
from tests.docs import command_line
from tests.docs.snippets import PAGES, commands, snippets
from tests.helpers.paths import REPOSITORY

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
TARGETS = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
WITH_A_RUN = tuple(
    REPOSITORY / page
    for page in ("README.md", "docs/api.md", "docs/deployment.md", "docs/tutorial.md")
)
"""Pages whose snippets train a model."""
FILES_OF_THE_READER = "FOLDER"
PYTHON = {
    page: [
        snippet
        for snippet in snippets(page)
        if snippet.language == "python" and FILES_OF_THE_READER not in snippet.text
    ]
    for page in PAGES
}
"""Blocks of each page that run without files of the reader's."""

SHELL = ("", "bash", "console", "sh")
OTHERS = (
    *("cd", "cp", "git", "pre-commit", "sha256sum", "tensorboard"),
    *("flower-superlink", "flower-supernode", "flwr", "openssl", "ssh-keygen"),
)
"""Commands of other programs, which are not looked into."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.extended) if page in WITH_A_RUN else page
        for page in PAGES
        if PYTHON[page]
    ],
    ids=lambda page: str(page.relative_to(REPOSITORY)),
)
def test_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    installed = [s for s in PYTHON[page] if all(map(importlib.util.find_spec, s.needs))]
    if not installed:
        pytest.skip(f"not installed: {PYTHON[page][0].needs}")
    for snippet in installed:
        # The lines of the page, so that a traceback names them.
        code = compile("\n" * (snippet.line - 1) + snippet.text, str(page), "exec")
        exec(code, namespace)
    assert len(namespace) > 1  # a page without any block that runs is not among these


# ml_collections loads config files so.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@every_page
def test_commands_of_a_page_exist(page):
    for snippet in snippets(page):
        if snippet.language not in SHELL:
            continue
        for words in commands(snippet):
            check_command(words, snippet.where)


def check_command(words, where):
    match words:
        case ["make", target, *_]:
            assert target in TARGETS, f"{where}: no target {target!r} in the Makefile"
        case ["python", "-m", module, *arguments] if module.startswith("f3ocus_jax."):
            command_line.parse(module, arguments, REPOSITORY)
        case ["f3ocus", command, *arguments]:
            assert command in COMMANDS, f"{where}: no command {command!r}"
            command_line.parse(f"f3ocus_jax.{command}", arguments, REPOSITORY)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None, f"{where}: no module {module!r}"
        case ["pip", "install", *packages]:
            check_install(packages, where)
        case ["python", script, *_] | [script, *_] if script.startswith("scripts/"):
            assert (REPOSITORY / script).is_file(), f"{where}: no file {script!r}"
        case [program, *_]:
            assert program in OTHERS, f"{where}: unknown command {program!r}"


def check_install(packages, where):
    for package in packages:
        extras = re.match(r"(?:\.|f3ocus_jax)\[([\w,]+)\]", package)
        for extra in extras.group(1).split(",") if extras else ():
            assert extra in EXTRAS, f"{where}: no extra {extra!r} in pyproject.toml"


@every_page
def test_no_block_of_a_page_is_of_an_unknown_language(page):
    for snippet in snippets(page):
        assert snippet.language in (*SHELL, "python", "diff", "text"), snippet.where
