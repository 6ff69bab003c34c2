"""Reproducible random choices for an image, the same in every build."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Draws:
    """Random choices that depend on an image's id alone.

    Every choice has a name, and choices with different names are independent.
    """

    def __init__(self, image_id: str) -> None:
        self._image_id = image_id

    def fraction(self, name: str) -> float:
        """Returns a number in [0, 1)."""
        return self.integer(name) / 2**64

    def integer(self, name: str) -> int:
        """Returns a number in [0, 2^64)."""
        text = f"{self._image_id} {name}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")

    def choice(self, name: str, items: Sequence[Item]) -> Item:
        """Returns one of the items, all equally likely."""
        return items[self.integer(name) % len(items)]

    def weighted(self, name: str, weights: Mapping[Item, float]) -> Item:
        """Returns one of the keys with probability equal to its weight; weights sum to 1."""
        point = self.fraction(name)
        for item, weight in weights.items():
            point -= weight
            if point < 0:
                return item
        return item
