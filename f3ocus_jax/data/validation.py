"""Validation examples: of the released split, or held out of each client's training by patient."""

import hashlib
from collections.abc import Mapping

import numpy as np
import scipy.sparse
from scipy.sparse import csgraph

from f3ocus_jax.data import overlap
from f3ocus_jax.data.table import Table, join_tables
from tfds_medvqa.common.rows import UNKNOWN

VALIDATION = "validation"
"""Split on which thresholds and the round are chosen."""

Splits = Mapping[str, Table]


def hold_out(
    clients: Mapping[str, Splits], share: float, seed: int
) -> tuple[dict[str, dict[str, Table]], list[str]]:
    """Gives every client validation examples.

    A client keeps those that its datasets release. Of its training examples of other datasets, a
    share is held out: whole patients, and whole images where no patients are known. An image that
    several patients have joins them. The order in which they are taken depends on the seed and on
    their images alone, so that an image of several clients tends to be held out of all of them.

    Args:
      clients: Client to split to examples.
      share: Share of a client's patients in [0, 1): at least one, and never all. 0 for none.
      seed: Seed of the order.

    Returns:
      (client to split to examples, in which a client without validation examples has no such
      split; clients of which nothing could be held out, since all of their examples are of one
      patient or image).
    """
    held = {
        name: {split: table for split, table in splits.items() if len(table) or split != VALIDATION}
        for name, splits in clients.items()
    }
    if not share:
        return held, []
    for splits in held.values():
        train, released = splits["train"], splits.get(VALIDATION)
        out_N = _held_out(train, released, share, seed) if len(train) else np.zeros(0, bool)
        if out_N.any():
            parts = [train.take(out_N), *([] if released is None else [released])]
            splits |= {"train": train.take(~out_N), VALIDATION: join_tables(parts)}
    return held, [name for name, splits in held.items() if VALIDATION not in splits]


def _held_out(train: Table, released: Table | None, share: float, seed: int) -> np.ndarray:
    """Returns bool [N]: training examples to hold out, of datasets that release no validation."""
    covered = () if released is None else released.columns["dataset"].values
    datasets, groups_N = train.columns["dataset"], _groups(train)
    is_covered_D = np.array([name in covered for name in datasets.values], bool)
    bound = np.unique(groups_N[is_covered_D[datasets.code_N]])
    keys = _keys(train.pixel_hash_N, groups_N, seed)
    groups = sorted(set(keys) - set(bound.tolist()), key=keys.__getitem__)
    count = max(1, round(share * len(groups)))
    # One stays in training, unless examples of another dataset do.
    most = len(groups) if len(bound) else len(groups) - 1
    return np.isin(groups_N, groups[: min(count, most)])


def _groups(table: Table) -> np.ndarray:
    """Returns int [N]: equal for examples of one patient, and of images with the same pixels."""
    _, image_N = np.unique(table.pixel_hash_N, return_inverse=True)
    patients = table.columns["patient"]
    is_known_N = np.array([name != UNKNOWN for name in patients.values], bool)[patients.code_N]
    owner_N = np.unique(overlap.number_patients(table), return_inverse=True)[1].reshape(-1)
    images = int(image_N.max(initial=-1)) + 1
    size = images + int(owner_N.max(initial=-1)) + 1
    pairs = (image_N[is_known_N], images + owner_N[is_known_N])
    joined = scipy.sparse.coo_array((np.ones(len(pairs[0]), np.int8), pairs), (size, size))
    return csgraph.connected_components(joined, directed=False)[1][image_N]


def _keys(pixel_hash_N: np.ndarray, groups_N: np.ndarray, seed: int) -> dict[int, bytes]:
    """Returns the key of every patient or image, by which they are ordered."""
    order = np.lexsort((pixel_hash_N, groups_N))
    groups, starts = np.unique(groups_N[order], return_index=True)
    parts = np.split(pixel_hash_N[order], starts[1:])
    return {
        group: hashlib.blake2b(
            f"{seed}\0".encode() + np.unique(part).astype("<i8").tobytes(), digest_size=16
        ).digest()
        for group, part in zip(groups.tolist(), parts, strict=True)
    }
