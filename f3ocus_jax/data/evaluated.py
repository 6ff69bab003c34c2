"""Limit on the examples that are evaluated: the same ones of a split in every run."""

import hashlib
from collections.abc import Mapping

import numpy as np

from f3ocus_jax.data.table import Table
from f3ocus_jax.data.validation import VALIDATION

LIMITED = ("test", VALIDATION)
"""Splits that are evaluated after every round."""


def limit(
    clients: Mapping[str, Mapping[str, Table]], most: int, seed: int
) -> dict[str, dict[str, Table]]:
    """Leaves examples out of the evaluated splits of clients that have many.

    Args:
      clients: Client to split to examples.
      most: Most examples of a split that stay; 0 for all.
      seed: Seed of the order in which images stay. The order depends on it and on their pixels
        alone, so that a smaller limit keeps some of the same examples.

    Returns:
      Client to split to examples, in the order they had; training splits are whole.
    """
    return {
        name: {
            split: _limited(table, most, seed) if most and split in LIMITED else table
            for split, table in splits.items()
        }
        for name, splits in clients.items()
    }


def _limited(table: Table, most: int, seed: int) -> Table:
    if len(table) <= most:
        return table
    key_of = {pixels: _key(pixels, seed) for pixels in np.unique(table.pixel_hash_N).tolist()}
    keys = [key_of[pixels] for pixels in table.pixel_hash_N.tolist()]
    order = sorted(range(len(table)), key=keys.__getitem__)
    return table.take(np.sort(np.array(order[:most])))


def _key(pixels: int, seed: int) -> bytes:
    text = f"{seed}\0evaluated\0{pixels}".encode()
    return hashlib.blake2b(text, digest_size=16).digest()
