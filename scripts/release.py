"""Build the files of a release into dist/, and try them out: `make release`.

dist/ gets the source archive, the wheel, the lists of hashes with the wheel added, a bill of
materials (CycloneDX), and the checksums of all of these.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
HASHES = ("requirements.hashes", "requirements-newest.hashes")
"""Lists of hashes for Python 3.11, and for later ones."""
ACCELERATORS = ("requirements-cuda12.hashes", "requirements-tpu.hashes")
"""What accelerators add to the first list."""


def run(*command: object) -> None:
    """Runs a command in the root of the checkout; a failure ends the release."""
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build() -> pathlib.Path:
    """Builds the source archive, and of it the wheel; returns the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def add_hashes(wheel: pathlib.Path) -> None:
    """Writes the lists of hashes beside the wheel, with the wheel as the first requirement."""
    name, version = wheel.name.split("-")[:2]
    for each in HASHES:
        own = f"{name}=={version} \\\n    --hash=sha256:{digest(wheel)}\n"
        (DIST / each).write_text(own + (ROOT / each).read_text(encoding="utf-8"), encoding="utf-8")
    for each in ACCELERATORS:
        shutil.copy(ROOT / each, DIST / each)


def try_out(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Installs what was built, verified by its hashes, and writes the bill of materials of that.

    Args:
      wheel: The wheel.
      folder: Folder of the environment.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    hashes = DIST / HASHES[sys.version_info >= (3, 12)]
    pip = [sys.executable, "-m", "pip", "--python", python]
    only = ["--require-hashes", "--no-compile", "--quiet", "--find-links", DIST]
    run(*pip, "install", *only, "--requirement", hashes)
    run(*pip, "check")
    run(folder / "bin" / "f3ocus", "--help")
    name = "-".join(wheel.name.split("-")[:2])
    options = ["--pyproject", ROOT / "pyproject.toml", "--output-reproducible"]
    bill = ["--output-file", DIST / f"{name}.cdx.json"]
    run(sys.executable, "-m", "cyclonedx_py", "environment", *options, *bill, python)


def main() -> None:
    """Makes dist/."""
    wheel = build()
    add_hashes(wheel)
    with tempfile.TemporaryDirectory() as folder:
        try_out(wheel, pathlib.Path(folder) / "environment")
    sums = [f"{digest(path)}  {path.name}\n" for path in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    print("".join(sums), end="")


if __name__ == "__main__":
    main()
