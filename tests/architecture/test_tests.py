"""The tests' own rules: where they stand, what they import, and where annotations stand."""

import ast

import pytest

from tests.helpers.paths import PACKAGE, REPOSITORY

TESTS = REPOSITORY / "tests"
FILES = sorted(TESTS.rglob("*.py"))
TEST_FILES = [path for path in FILES if path.name.startswith("test_")]
OUTSIDE = {
    "api",
    "architecture",
    "commands",
    "docs",
    "helpers",
    "integrity",
    "parity",
    "platform",
    "tfds_medvqa",
}
"""Folders of tests that are not of one folder of the package."""


def annotated(function):
    """True where arguments and result are annotated, False where none is, None where some are."""
    spec = function.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    annotations = [each.annotation for each in named if each and each.arg != "self"]
    given = [annotation is not None for annotation in [*annotations, function.returns]]
    return all(given) if len(set(given)) == 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_functions_of_test_files_are_untyped_and_those_of_helpers_typed(path):
    expected = path not in TEST_FILES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert annotated(node) is expected, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_imported_from_a_test_file(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
            for name in [*node.module.split("."), *(alias.name for alias in node.names)]:
                assert not name.startswith("test_"), f"{path}:{node.lineno}"


def test_the_folders_of_tests_are_those_of_the_package():
    folders = {path.relative_to(TESTS).parts[0] for path in TEST_FILES}
    assert folders <= OUTSIDE | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
