"""What is imported is declared, and what is declared is imported or has a reason."""

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib

import pytest

from tests.helpers.paths import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OURS = {"f3ocus_jax", "tfds_medvqa", "configs", "tests", "benchmarks"}
PACKAGE = ("f3ocus_jax", "tfds_medvqa", "configs")

RUN_TIME_REASONS = {
    "array-record": "file format of built datasets, which TFDS imports",
    "chex": "of the stack that this package builds on; compares trees in the tests",
    "importlib-resources": "TFDS imports it where TensorFlow is absent",
    "transformers": "of the stack that this package builds on: its folders are read and written, "
    "and its models are what tests/parity compares with",
}
EXTRA_REASONS = {
    "mypy": "command of `make test`",
    "pytest-xdist": "option of pytest",
    "ruff": "command of `make test`",
    "setuptools": "backend of the build, in a process of its own",
    "mkdocs": "command of `make docs`",
    "mkdocstrings": "plug-in of mkdocs",
    "build": "command of `make release`",
    "cyclonedx-bom": "command of `make release`",
    "submitit": "starts the jobs of a sweep, which imports it where it is asked for",
    "threadpoolctl": "holds the t-SNE of a report to one thread",
}
"""Packages that no module imports, and why they are declared."""

OPTIONAL = ("dicom", "flower", "nvflare", "privacy", "secure")
"""Extras that a user may do without."""

WHERE_INSTALLED = {
    # Masks updates; computes epsilon; draws t-SNE; starts jobs; reads torch; is an app.
    "f3ocus_jax": {
        *("cryptography", "dp-accounting", "flwr", "nvflare"),
        *("scikit-learn", "submitit", "threadpoolctl", "torch"),
    },
    "tfds_medvqa": {"pydicom"},  # reads DICOM files
    "tests": {"flwr", "jax-privacy", "nvflare", "peft"},
    "benchmarks": {"cosmic-ray", "fedjax", "flwr", "torch"},
}
"""Packages that are used where they are installed, and that are not needed otherwise."""

NOT_INSTALLED = {
    "cosmic_ray": "cosmic-ray",
    "fedjax": "fedjax",
    "flwr": "flwr",
    "jax_privacy": "jax-privacy",
    "nvflare": "nvflare",
    "peft": "peft",
    "torch": "torch",
}
"""Top-level module to package, of those that an environment of the tests may lack."""


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra=None):
    """Names of the packages that an extra declares; those of run time for None."""
    options = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] if extra is None else options[extra]
    return {normalised(re.match(r"[\w.-]+", line)[0]) for line in lines}


@functools.cache
def imported(*folders):
    """Names of the packages that the modules of folders import, at any depth of their code."""
    modules = set()
    for path in (each for folder in folders for each in (REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules |= {name.partition(".")[0] for name in _imported_by(node)}
    found = importlib.metadata.packages_distributions() | {
        module: [package] for module, package in NOT_INSTALLED.items()
    }
    modules -= OURS | set(sys.stdlib_module_names)
    assert modules <= found.keys(), f"not installed: {modules - found.keys()}"
    return {normalised(found[module][0]) for module in modules}


def _imported_by(node):
    """Names of the modules that a node of the syntax tree imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module]
    by_name = isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "importlib.import_module",
        "pytest.importorskip",
    )
    return [node.args[0].value] if by_name and isinstance(node.args[0], ast.Constant) else []


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(PACKAGE, ()), (("tests",), ("test", "parity")), (("benchmarks", "scripts"), ("test",))],
    ids=["package", "tests", "benchmarks"],
)
def test_whatever_is_imported_is_declared(folders, extras):
    allowed = declared().union(*(declared(extra) for extra in extras))
    optional = set().union(*(WHERE_INSTALLED.get(folder, set()) for folder in folders))
    assert imported(*folders) - allowed == optional - allowed


def test_the_parts_of_a_wheel_import_nothing_of_the_tests():
    assert imported(*PACKAGE) <= declared() | declared("dicom") | WHERE_INSTALLED["f3ocus_jax"]


def test_whatever_is_declared_for_run_time_is_imported_or_has_a_reason():
    assert declared() - imported(*PACKAGE) == RUN_TIME_REASONS.keys()


@pytest.mark.parametrize(
    "extra",
    [*OPTIONAL, "sweep", "tsne", "test", "parity", "docs", "release", "mutation"],
)
def test_whatever_an_extra_declares_is_imported_or_has_a_reason(extra):
    used = imported("tests", "benchmarks") | EXTRA_REASONS.keys()
    assert declared(extra) <= used
    assert not declared(extra) & declared()


def test_every_extra_is_accounted_for():
    accelerators = {"cuda", "cuda12", "cuda13", "tpu"}  # of JAX, see tests/api/test_packaging.py
    tested = {*OPTIONAL, "sweep", "tsne", "test", "parity", "docs", "release", "mutation"}
    assert set(PROJECT["optional-dependencies"]) == accelerators | tested
    needed = set().union(*(declared(extra) for extra in tested))
    assert needed - imported("tests", "benchmarks") == EXTRA_REASONS.keys()
