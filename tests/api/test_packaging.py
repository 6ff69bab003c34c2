"""What the wheel holds, and that an installed one runs from any folder."""

import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.helpers.paths import DATASETS, PACKAGE, REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of a copy of the checkout without isolation, so without a network."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    if int(version.split(".")[0]) < 77:
        pytest.skip(f"setuptools 77 is needed to build (extra `test`), found {version}")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("f3ocus_jax", "tfds_medvqa", "configs"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, ignore=without)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    command = [sys.executable, "-c", BUILD, str(folder)]
    process = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    (path,) = folder.glob("*.whl")
    return path


def files_below(folder):
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_packages_their_files_and_the_configs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"f3ocus_jax/_configs/{path.name}" for path in (REPOSITORY / "configs").glob("*.py")}
    expected = files_below(PACKAGE) | files_below(DATASETS) | configs
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"f3ocus_jax/py.typed", "f3ocus_jax/data/vocab.txt"} <= names
    assert any(name.startswith("tfds_medvqa/slake/dummy_data/") for name in names)


def test_the_wheel_installs_no_package_that_could_hide_another(wheel):
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "f3ocus_jax",
        "tfds_medvqa",
    }


def test_extras_and_bounds_are_as_documented():
    project = PROJECT["project"]
    assert {"cuda", "cuda12", "cuda13", "tpu", "test", "parity"} <= set(
        project["optional-dependencies"]
    )
    assert {"evosax>=0.3,<0.4", "orbax-checkpoint<1"} <= set(project["dependencies"])


def test_every_extra_of_jax_that_ours_name_exists():
    extras = importlib.metadata.metadata("jax").get_all("Provides-Extra")
    for name in ("cuda", "cuda12", "cuda13", "tpu"):
        (requirement,) = PROJECT["project"]["optional-dependencies"][name]
        assert requirement == f"jax[{name}]"
        assert name in extras


@pytest.mark.slow
def test_an_installed_wheel_trains_and_predicts_from_another_folder(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / "bin"
    install = [scripts / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel]
    subprocess.run(install, check=True)
    # The dependencies of this environment; its editable install stays out, as .pth files do.
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def f3ocus(*arguments):
        process = subprocess.run(
            [scripts / "f3ocus", *arguments], cwd=elsewhere, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    f3ocus("train", "--config=phantom:tiny", "--workdir=x", "--config.federated.rounds=1")
    picture = next(pathlib.Path(elsewhere / "x" / "figures").glob("*.png"))
    said = f3ocus("predict", "--workdir=x", f"--image={picture}", "--question=which organ is it?")
    assert "round " in said
    f3ocus("inspect_data", "--config=task1:tiny", "--workdir=page")


def requirements(name):
    """Package to (version, its hashes or "") of a lock or of its list of hashes."""
    text = (REPOSITORY / name).read_text().replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if not line.startswith("#")]
    pins = [(*pin.split("=="), hashes) for pin, _, hashes in lines]
    return {re.sub(r"[-_.]+", "-", name).lower(): rest for name, *rest in pins}


def run_time_closure():
    """Names of all packages that an installed f3ocus_jax needs, found by their metadata."""
    found, waiting = set(), [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    while waiting:
        one = waiting.pop()
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        if (name, *one.extras) in found:
            continue
        found.add((name, *one.extras))
        for extra in one.extras or ("",):
            lines = importlib.metadata.requires(name) or []
            needs = [Requirement(line) for line in lines]
            chosen = {"extra": extra}
            waiting += [each for each in needs if not each.marker or each.marker.evaluate(chosen)]
    return {name for name, *_ in found}


@pytest.mark.parametrize("name", ["requirements", "requirements-newest"])
def test_a_list_of_hashes_holds_every_package_of_a_wheel_as_it_is_locked(name):
    locked, hashed = requirements(f"{name}.lock"), requirements(f"{name}.hashes")
    if (name == "requirements") == (sys.version_info < (3, 12)):
        assert run_time_closure() <= hashed.keys()
    assert hashed.keys() <= locked.keys()
    for package, (version, hashes) in hashed.items():
        assert locked[package] == [version, ""]
        assert re.fullmatch(r"( *--hash=sha256:[0-9a-f]{64})+", hashes), package
    for package in ("jaxlib", "numpy", "pyarrow"):  # Linux on two processors, and macOS
        assert hashed[package][1].count("sha256") >= 3


@pytest.mark.parametrize(("extra", "package"), [("cuda12", "jax-cuda12-plugin"), ("tpu", "libtpu")])
def test_a_list_of_an_accelerator_adds_its_packages_to_those_of_the_wheel(extra, package):
    base, added = requirements("requirements.hashes"), requirements(f"requirements-{extra}.hashes")
    assert package in added
    assert not added.keys() & base.keys()
    for name, (version, hashes) in added.items():
        assert re.fullmatch(r" *--hash=sha256:[0-9a-f]{64}", hashes), name
        if name.startswith("jax"):
            assert version == base["jax"][0]
    if base["jax"][0] == importlib.metadata.version("jax"):
        needs = map(Requirement, importlib.metadata.requires("jax"))
        chosen = [n for n in needs if n.marker and n.marker.evaluate({"extra": extra})]
        named = {n.name: n.specifier for n in chosen if n.name in added}
        assert package in named
        assert all(spec.contains(added[name][0]) for name, spec in named.items())


@pytest.mark.parametrize("suffix", ["lock", "hashes"])
def test_locks_name_no_address(suffix):
    for path in REPOSITORY.glob(f"requirements*.{suffix}"):
        assert not re.search(r"//|@|--(?!hash=)|\blocalhost\b", path.read_text()), path
