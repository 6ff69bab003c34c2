"""The package from outside: what its import does, its public names, and the command f3ocus."""

import ast
import importlib.metadata
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import f3ocus_jax
from f3ocus_jax import __main__ as door, _xla
from f3ocus_jax.config import shipped
from f3ocus_jax.data import questions
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError, DataError
from tests.helpers.paths import PACKAGE, REPOSITORY

HEAVY = {"jax", "flax", "optax", "orbax", "tensorflow_datasets", "transformers", "grain"}

IMPORT = f"""
import contextlib, io, json, os, sys
before = dict(os.environ)
import f3ocus_jax
environment = {{k: v for k, v in os.environ.items() if before.get(k) != v}}
from f3ocus_jax import __main__ as door
text = io.StringIO()
sys.argv = ["f3ocus", "--help"]
with contextlib.redirect_stdout(text):
    door.main()
imported = sorted({HEAVY!r} & set(sys.modules))
sys.argv = ["f3ocus", "train", "--config=nosuch", "--workdir=nowhere"]
errors = io.StringIO()
with contextlib.redirect_stderr(errors), contextlib.suppress(SystemExit):
    door.main()
late = sorted({HEAVY!r} & set(sys.modules))
values = {{name: getattr(f3ocus_jax, name).__module__ for name in f3ocus_jax.__all__}}
from jax._src import xla_bridge
print(json.dumps({{
    "imported": imported,
    "late": late,
    "help": text.getvalue(),
    "error": errors.getvalue(),
    "environment": environment,
    "values": values,
    "started": xla_bridge.backends_are_initialized(),
}}))
"""


@pytest.fixture(scope="module")
def outside():
    """What a fresh process sees of the package, with no flags of ours in its environment."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    process = subprocess.run(
        [sys.executable, "-c", IMPORT],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_importing_the_package_imports_no_large_library_and_starts_no_backend(outside):
    assert outside["imported"] == []
    assert not outside["started"]


def test_importing_the_package_sets_one_flag_of_xla_and_nothing_else(outside):
    affected = importlib.metadata.version("jaxlib").startswith("0.10.")
    expected = {"XLA_FLAGS": _xla.WITHOUT_SUMS} if affected else {}
    assert outside["environment"] == expected


def test_every_public_name_is_there_and_listed(outside):
    assert set(outside["values"]) == set(f3ocus_jax.__all__)
    assert all(module.startswith("f3ocus_jax.") for module in outside["values"].values())
    assert set(f3ocus_jax.__all__) <= set(dir(f3ocus_jax))
    assert sorted(f3ocus_jax.__all__) == f3ocus_jax.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        f3ocus_jax.nosuch  # noqa: B018


def test_an_unknown_config_is_one_line_that_lists_the_shipped_ones_without_jax(outside):
    assert outside["late"] == []
    assert len(outside["error"].splitlines()) == 1
    assert outside["error"].startswith("error: --config: 'nosuch' is neither a file nor a shipped")
    assert all(name in outside["error"] for name in shipped.names())


def test_help_lists_every_command_with_one_line(outside):
    lines = outside["help"].splitlines()
    for name in door.COMMANDS:
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert f"f3ocus {name} " in line


def test_every_module_that_runs_is_a_command():
    files = [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__main__.py")]
    found = set()
    for path in files:
        guards = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
        if any("__main__" in ast.unparse(guard.test) for guard in guards):
            found.add(path.parent.name if path.stem == "__main__" else path.stem)
    assert found - {"f3ocus_jax"} == set(door.COMMANDS)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("trian", "did you mean train?"), ("xyz", "choose train, evaluate"), ("", "choose train")],
)
def test_an_unknown_command_names_the_nearest(monkeypatch, capsys, name, hint):
    monkeypatch.setattr(sys, "argv", ["f3ocus", name])
    with pytest.raises(SystemExit) as stopped:
        door.main()
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: command {name!r} is unknown; {hint}")


def test_a_flag_that_the_user_has_set_stays(monkeypatch):
    monkeypatch.setattr(_xla.importlib.metadata, "version", lambda name: "0.10.9")
    for given in (f"{_xla.FLAG}=dot,reduce", f"--xla_other=1 {_xla.FLAG}=all"):
        monkeypatch.setenv("XLA_FLAGS", given)
        _xla.set_flags()
        assert os.environ["XLA_FLAGS"] == given
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1")
    _xla.set_flags()
    assert os.environ["XLA_FLAGS"] == f"--xla_other=1 {_xla.WITHOUT_SUMS}"


def test_other_versions_of_jaxlib_get_no_flag(monkeypatch):
    monkeypatch.setattr(_xla.importlib.metadata, "version", lambda name: "0.12.0.1")
    monkeypatch.setenv("XLA_FLAGS", "")
    _xla.set_flags()
    assert os.environ["XLA_FLAGS"] == ""


def test_shipped_configs_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    assert shipped.names() == sorted(path.stem for path in (REPOSITORY / "configs").glob("*.py"))
    assert shipped.locate("task1:real5_lntk") == f"{REPOSITORY / 'configs/task1.py'}:real5_lntk"
    own = tmp_path / "own.py"
    own.write_text("def get_config(variant='none'):\n    return {'variant': variant}\n")
    monkeypatch.chdir(tmp_path)
    assert shipped.locate("own.py:x") == "own.py:x"
    assert shipped.read("own.py") == {"variant": "none"}
    assert shipped.read(own) == {"variant": "none"}
    assert shipped.read("own.py:x") == {"variant": "x"}
    assert shipped.read("phantom:tiny").data.datasets == ("phantom_medvqa/tiny",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("phantm", "'phantm' is neither .*medvqa_fl, own_data, phantom.*; did you mean phantom?"),
        ("configs/none.py", "'configs/none.py' is neither a file nor"),
        ("", "'' is neither"),
        ("phantom:tinny", "unknown variant 'tinny'"),
    ],
)
def test_configs_that_do_not_exist_are_named(name, message):
    with pytest.raises(ConfigError, match=message):
        shipped.read(name)


def test_one_image_or_question_goes_with_all_others():
    assert questions.pair("a.png", ["x", "y"]) == [("a.png", "x"), ("a.png", "y")]
    assert questions.pair(["a.png", "b.png"], "x") == [("a.png", "x"), ("b.png", "x")]
    assert questions.pair(["a.png", "b.png"], ["x", "y"]) == [("a.png", "x"), ("b.png", "y")]
    assert questions.pair("a.png", "x") == [("a.png", "x")]
    assert questions.pair([], []) == questions.pair([], "x") == questions.pair("a.png", []) == []
    assert len(questions.pair(np.zeros((3, 8, 8, 3), np.uint8), "x")) == 3
    assert len(questions.pair(np.zeros((8, 8, 3), np.uint8), "x")) == 1
    with pytest.raises(DataError, match="3 images and 2 questions"):
        questions.pair(["a", "b", "c"], ["x", "y"])


def test_an_image_is_the_same_from_a_file_a_pil_image_and_an_array(tmp_path):
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(pixels_HWC).save(path)
    kinds = [path, str(path), Image.fromarray(pixels_HWC), pixels_HWC]
    batch = questions.make_batch(
        [(picture, "which organ is shown?") for picture in kinds],
        canvas=Canvas(16),
        tokenizer=load_tokenizer(None),
        question_length=12,
        findings=2,
    )
    assert batch.images_BHWC.shape == (4, 16, 16, 3)
    assert (batch.images_BHWC == batch.images_BHWC[:1]).all()
    assert batch.input_ids_BT.shape == (4, 12)
    assert batch.targets_BF.shape == (4, 2)
    assert batch.image_size_B2 is None
    grey = questions.read_picture(pixels_HWC[..., 0])
    assert grey.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(grey)[..., 2], pixels_HWC[..., 0])


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8), np.uint8)],
    ids=["float", "four channels", "empty"],
)
def test_an_array_that_is_no_image_is_refused(pixels):
    with pytest.raises(DataError, match="must be uint8"):
        questions.read_picture(pixels)
