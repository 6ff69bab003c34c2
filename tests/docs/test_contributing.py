"""The worked examples of docs/contributing.md fit the code, and a run can use all of them."""

import shutil
import subprocess
import sys

import pytest

from tests.docs.snippets import snippets
from tests.helpers.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "contributing.md"
DIFFS = [snippet for snippet in snippets(PAGE) if snippet.language == "diff"]
EXAMPLE = REPOSITORY / "tests" / "docs" / "run_with_additions.py"


def apply(diff, folder, *options):
    subprocess.run(
        ["git", "apply", *options, "-"],
        cwd=folder,
        input=diff.text,
        text=True,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def copy(tmp_path):
    """A copy of all that the examples change."""
    for name in ("f3ocus_jax", "tfds_medvqa", "configs"):
        unused = shutil.ignore_patterns("__pycache__", "dummy_data")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=unused)
    return tmp_path


def test_every_kind_of_addition_has_an_example():
    assert len(DIFFS) == 5


def test_examples_apply_to_the_code_one_after_the_other(copy):
    for diff in DIFFS:
        apply(diff, copy)
    assert (copy / "f3ocus_jax" / "models" / "vilt_mean" / "model.py").is_file()


@pytest.mark.extended
def test_a_run_uses_what_all_examples_add(copy):
    for diff in DIFFS:
        apply(diff, copy)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=copy,
        env={"PATH": "", "PYTHONPATH": str(copy), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
