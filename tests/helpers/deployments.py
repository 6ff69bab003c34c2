"""Small deployments: hospitals with files of their own, a server without any, and their configs."""

import contextlib
import dataclasses
import json
import pathlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from f3ocus_jax.config import parsing
from f3ocus_jax.deployment.secure.keys import Identity
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.federation.settings import ExperimentConfig
from tests.helpers.configs import raw_config
from tests.helpers.own_files import write_folder

HOSPITALS = ("Oslo", "Bern", "Kiel")
ANSWERS = ("left", "no", "yes")
"""All answers of the made-up files, in the order of the simulator's classes."""

SHARED_LAYERS = {
    "limits__minimum_sharers": 2,
    "selection__algorithm": "nsga2",
    "training__optimizer_state": "kept",
}
"""Settings with which no layer is trained by one site alone."""

WITH_MEMORY = {"training__optimizer_state": "kept", "training__head": "personal"}
"""Settings with which a site has a memory to lose."""


def write_hospitals(root: pathlib.Path, names: Sequence[str] = HOSPITALS) -> None:
    """Files of each hospital in a folder of its own, and the list of all answers."""
    for index, name in enumerate(names):
        write_folder(root / name / "files", 10 + 2 * index, (name,), first=100 * index)
    (root / "answers.txt").write_text("\n".join(ANSWERS) + "\n", encoding="utf-8")


def write_identities(root: pathlib.Path, names: Sequence[str] = HOSPITALS) -> None:
    """A signing key for each hospital, NAME.pem."""
    for name in names:
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (root / f"{name}.pem").write_bytes(pem)


def with_masks(root: pathlib.Path, names: Sequence[str] = HOSPITALS) -> dict[str, Any]:
    """Settings of secure aggregation with the keys of `write_identities`."""
    keys = {name: Identity.read(str(root / f"{name}.pem")).public.hex() for name in names}
    return {"secure_aggregation__enabled": True, "secure_aggregation__keys": keys}


def with_identity(root: pathlib.Path, name: str) -> dict[str, Any]:
    """The setting of a site's own key."""
    return {"secure_aggregation__identity": str(root / f"{name}.pem")}


def deployed(variant: str = "tiny_fd", **settings: Any) -> DeployedConfig:
    """The shipped config of a deployment, on one device, with settings replaced."""
    fixed = {"federated__placement": "map", "data__question_length": 12}
    raw = raw_config(variant, task="deployment", **{**fixed, **settings})
    return parsing.parse(DeployedConfig, raw)


def of_site(root: pathlib.Path, name: str, variant: str = "tiny_fd", **settings: Any) -> Any:
    """The config of a hospital, which knows of its own files alone."""
    own = {
        "deployment__site": name,
        "deployment__sites": (),
        "data__datasets": (f"files:{root / name / 'files'}",),
        "data__data_dir": str(root / name / "built"),
    }
    return deployed(variant, **{**own, **settings})


def of_server(
    root: pathlib.Path, names: Sequence[str] = HOSPITALS, variant: str = "tiny_fd", **settings: Any
) -> DeployedConfig:
    """The config of a server, whose data would be nowhere."""
    own = {
        "deployment__sites": tuple(names),
        "deployment__answers": str(root / "answers.txt"),
        "data__datasets": ("files:/nowhere",),
        "data__data_dir": "/nowhere/built",
    }
    return deployed(variant, **{**own, **settings})


def of_simulator(
    root: pathlib.Path, names: Sequence[str] = HOSPITALS, variant: str = "tiny_fd", **settings: Any
) -> ExperimentConfig:
    """The config of the same federation on one machine, which reads all files."""
    every = {
        "data__datasets": tuple(f"files:{root / name / 'files'}" for name in names),
        "data__partition": ("hospital",),
        "data__data_dir": str(root / "all"),
    }
    return deployed(variant, **{**every, **settings}).experiment


CONFIG = """\
import json
import pathlib

import ml_collections


def get_config():
    settings = pathlib.Path(__file__).with_suffix(".json").read_text()
    return ml_collections.ConfigDict(json.loads(settings))
"""


def write_config(path: pathlib.Path, config: DeployedConfig) -> None:
    """A config file with all settings of a member."""
    settings = json.dumps(dataclasses.asdict(config))
    path.with_suffix(".json").write_text(settings, encoding="utf-8")
    path.write_text(CONFIG, encoding="utf-8")


def rounds_of(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Records without what no two runs share."""
    lines = (workdir / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


class Watch:
    """Paths that this process opens or lists, by the thread that does."""

    EVENTS = ("open", "os.listdir", "os.scandir")

    def __init__(self) -> None:
        self._found: list[tuple[bool, str]] | None = None
        sys.addaudithook(self._note)  # cannot be removed, so it is told when to look

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        found = self._found
        if found is not None and event in self.EVENTS and isinstance(arguments[0], str):
            is_main = threading.current_thread() is threading.main_thread()
            found.append((is_main, arguments[0]))

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[tuple[bool, str]]]:
        """Yields the list of (whether the main thread opens it, path), which fills up."""
        self._found = []
        try:
            yield self._found
        finally:
            self._found = None
