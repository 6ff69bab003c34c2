"""Imports go one way, and the names that the design fixes are there."""

import ast
import pathlib

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "f3ocus_jax"
ORDER = [
    {"compiler"},
    {"types"},
    {"checks"},
    {"config", "config_federated", "config_layers"},
    {"parsing"},
    {"distributed"},
    {"data"},
    {"models"},
    {"flops"},
    {"importance"},
    {"selection"},
    {"clients"},
    {"aggregation"},
    {
        "decoding",
        "foundation",
        "generated",
        "inference",
        "memory",
        "metrics",
        "multilabel",
        "scoring",
    },
    {"memory_plan"},
    {"robust", "server_optimizer"},
    {"participation"},
    {"accounting", "checkpoint"},
    {"budgets"},
    {"report"},
    {"probing", "training"},
    {"rounds"},
    {"experiment"},
    {"commands"},
    {"memory_table"},
    {"convert", "evaluate", "predict", "pretrain", "train"},
]
"""Stages from the bottom up; a module imports from its own or a lower line."""
COMMANDS = {"data/inspect.py": "train"}
"""Commands inside a package, and the module whose line they belong to."""


def stage_of(module: str) -> int:
    return next(place for place, names in enumerate(ORDER) if module in names)


def imported_modules(path: pathlib.Path) -> set[str]:
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
    name = str(path.relative_to(PACKAGE))
    module = COMMANDS.get(name, path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    if module == "__init__":
        assert imported_modules(path) == {"compiler"}
        return
    for name in imported_modules(path):
        assert stage_of(name) <= stage_of(module), f"{module} must not import {name}"


def test_builders_and_configs_know_nothing_of_the_package():
    for folder in ("tfds_medvqa", "configs"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            assert imported_modules(path) == set(), path


def test_nothing_imports_tensorflow_or_unpickles():
    for path in [*PACKAGE.rglob("*.py"), *(REPOSITORY / "tfds_medvqa").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", []) or []]
            names.append(getattr(node, "module", None) or "")
            roots = {name.split(".")[0] for name in names if isinstance(name, str)}
            assert not roots & {"tensorflow", "torch", "pickle"}, path
