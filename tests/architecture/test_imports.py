"""Imports go one way, and the names that the design fixes are there."""

import ast
import sys

import pytest

from tests.helpers.paths import PACKAGE, REPOSITORY

FOUNDATIONS = {"types", "errors", "interrupts", "_xla"}
ORDER = (
    "config",
    "hosts",
    "data",
    "models",
    "clients",
    "cost",
    "importance",
    "selection",
    "aggregation",
    "privacy",
    "evaluation",
    "report",
    "federation",
    "_command_line",
    "deployment",
    "sweep",
)
"""Folders and shared modules from the bottom up; the foundations below and commands above."""


def stage_of(module):
    if module in FOUNDATIONS:
        return -1
    return ORDER.index(module) if module in ORDER else len(ORDER)


def imported_modules(path):
    """The first name below f3ocus_jax of everything a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "f3ocus_jax":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("f3ocus_jax."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("f3ocus_jax.")
            }
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_go_one_way(path):
    is_command = path.name == "__main__.py"  # It stands above the folder that it belongs to.
    module = "__main__" if is_command else path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if module == "__init__":
        # The others are for type checkers; tests/api shows that none is imported when this runs.
        assert imported_modules(path) == {"_xla", "federation", "importance", "selection"}
        return
    for name in imported_modules(path):
        assert stage_of(name) <= stage_of(module), f"{module} must not import {name}"


def test_selection_imports_nothing_of_the_package():
    for path in (PACKAGE / "selection").rglob("*.py"):
        assert imported_modules(path) <= {"selection"}, path


def test_every_folder_has_a_place_in_the_order():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(ORDER)


def test_few_modules_stand_outside_of_folders():
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 15


def test_builders_know_nothing_of_the_package():
    for path in (REPOSITORY / "tfds_medvqa").rglob("*.py"):
        assert imported_modules(path) == set(), path


def test_configs_are_leaf_scripts_that_know_only_the_package():
    allowed = {"f3ocus_jax", "ml_collections", *sys.stdlib_module_names}
    for path in (REPOSITORY / "configs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


def test_nothing_imports_tensorflow_or_unpickles():
    for path in [*PACKAGE.rglob("*.py"), *(REPOSITORY / "tfds_medvqa").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [alias.name for alias in node.names]
            names.append(getattr(node, "module", None) or "")
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"tensorflow", "torch", "pickle"}, path
