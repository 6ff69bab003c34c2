"""Features of a model, the pooled states that its heads read, and the file that keeps some."""

import dataclasses
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax.clients import placement
from f3ocus_jax.config.kept import kept
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import Examples
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.models import base
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Params

FEATURES_FILE = "features.npz"

UNREADABLE = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of NumPy and zipfile for a damaged file."""

Pool = Callable[[Params, Examples, np.ndarray], np.ndarray]
"""(parameters, examples, indices of some of them) -> features_ND, float32."""


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of some test examples of every client, before and after training.

    Attributes:
      clients: Names of the K clients.
      client_N: int32, index of the client that has the example.
      labels_N: int32, index of its answer in the vocabulary; -1 for one that is not there, and for
        an example without an answer.
      before_ND: float32, features of the model that the run starts from.
      after_ND: float32, features of the model after the last round.
    """

    clients: tuple[str, ...]
    client_N: np.ndarray
    labels_N: np.ndarray
    before_ND: np.ndarray
    after_ND: np.ndarray


@kept
def make_pool(model: Model, *, placement_name: str) -> Pool:
    """Makes the function that reads a model's features.

    Args:
      model: Model with an answer head.
      placement_name: Key of `backends.BACKENDS`.

    Returns:
      The function; it compiles once per number of examples.
    """
    over_batches = placement.make_map(
        lambda params, batch: base.pool(model, params, batch), placement=placement_name
    )

    def pool(params: Params, examples: Examples, indices: np.ndarray) -> np.ndarray:
        pooled_1ND = over_batches(params, examples.batch(indices[None]))
        return np.asarray(pooled_1ND[0], np.float32)

    return pool


def measure(
    pool: Pool, before: Params, after: Params, tests: Mapping[str, Examples], count: int
) -> dict[str, dict[str, Any]]:
    """Reads the features of some test examples of each client.

    Args:
      pool: Function of `make_pool`.
      before: Parameters before training.
      after: Parameters after training.
      tests: Client to its test split, of the clients whose examples are here.
      count: Examples of each client; all of one that has fewer. They are the same in every run.

    Returns:
      Client to its arrays, as `join` takes them.
    """
    found = {}
    for name, examples in tests.items():
        draw = order.make_generator(0, 0, name, "features")
        indices = np.sort(draw.permutation(len(examples))[:count])
        found[name] = {
            "labels": np.asarray(examples.labels_N[indices], np.int32),
            "before": pool(before, examples, indices),
            "after": pool(after, examples, indices),
        }
    return found


def join(found: Mapping[str, Mapping[str, Any]], clients: Sequence[str]) -> Features:
    """Joins the features of all clients, in the order of their names here."""
    parts = [found[name] for name in clients]
    counts = [len(part["labels"]) for part in parts]
    return Features(
        tuple(clients),
        np.repeat(np.arange(len(parts), dtype=np.int32), counts),
        *(np.concatenate([part[name] for part in parts]) for name in ("labels", "before", "after")),
    )


def write(features: Features, folder: pathlib.Path) -> pathlib.Path:
    """Writes `FEATURES_FILE` in one step, compressed; its parts carry checksums."""
    path = folder / FEATURES_FILE
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            clients=np.array(features.clients),
            client_N=features.client_N,
            labels_N=features.labels_N,
            before_ND=features.before_ND,
            after_ND=features.after_ND,
        )
    temporary.replace(path)
    return path


def read(path: pathlib.Path) -> Features:
    """Reads what `write` has written.

    Raises:
      DamagedError: If the file is damaged, or holds something else.
      FileNotFoundError: If it is not there.
    """
    names = [field.name for field in dataclasses.fields(Features)]
    try:
        with zipfile.ZipFile(path) as file:
            if (part := file.testzip()) is not None:
                raise ValueError(f"the checksum of {part} is wrong")
        with np.load(path, allow_pickle=False) as file:
            clients, *arrays = (file[name] for name in names)
        features = Features(tuple(map(str, clients)), *arrays)
        _check(features)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise DamagedError(f"{path} is damaged ({error}): remove it, or resume the run") from error
    return features


def _check(features: Features) -> None:
    """Raises ValueError for arrays that do not fit together."""
    before_ND, after_ND = features.before_ND, features.after_ND
    shape = (len(features.client_N), *before_ND.shape[1:])
    if before_ND.shape != shape or after_ND.shape != shape or before_ND.ndim != 2:
        raise ValueError(f"features of shapes {before_ND.shape} and {after_ND.shape}")
    if features.labels_N.shape != features.client_N.shape:
        raise ValueError(f"{len(features.labels_N)} labels of {len(features.client_N)} examples")
    if not np.isin(features.client_N, np.arange(len(features.clients))).all():
        raise ValueError("examples of unknown clients")
    if not (np.isfinite(before_ND).all() and np.isfinite(after_ND).all()):
        raise ValueError("features that are not finite")
