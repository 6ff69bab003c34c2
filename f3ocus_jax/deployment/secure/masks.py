"""Masks that hide integers: key streams of ChaCha20, added modulo powers of two."""

import dataclasses

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from f3ocus_jax.deployment.secure.encoding import COUNTS


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Integers of one layer or of one entry of the head, of one site or summed over some.

    Attributes:
      numbers: Unsigned integers modulo 2^b, one axis.
      counts: uint64, weight and number of clipped numbers, modulo 2^64.
    """

    numbers: np.ndarray
    counts: np.ndarray

    def plus(self, other: "Piece", sign: int = 1) -> "Piece":
        """Returns the sum, or the difference for the sign -1; integers wrap."""
        if sign > 0:
            return Piece(self.numbers + other.numbers, self.counts + other.counts)
        return Piece(self.numbers - other.numbers, self.counts - other.counts)

    def masked(self, key: bytes, sign: int = 1) -> "Piece":
        """Adds the mask of a key, or subtracts it for the sign -1."""
        return self.plus(mask(key, len(self.numbers), self.numbers.dtype), sign)


def mask(key: bytes, size: int, dtype: np.dtype) -> Piece:
    """Returns the mask that a key stands for, uniform in all integers.

    Args:
      key: 32 bytes, of which no other mask is made.
      size: Number of integers.
      dtype: Their type.
    """
    counts_bytes = COUNTS * np.dtype(np.uint64).itemsize
    stream = _stream(key, counts_bytes + size * dtype.itemsize)
    numbers = np.frombuffer(stream, dtype.newbyteorder("<"), offset=counts_bytes).astype(dtype)
    counts = np.frombuffer(stream, "<u8", count=COUNTS).astype(np.uint64)
    return Piece(numbers, counts)


def _stream(key: bytes, length: int) -> bytes:
    encryptor = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    return encryptor.update(bytes(length))
