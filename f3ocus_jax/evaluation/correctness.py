"""Correctness of every test answer, one bit each, as text that fits into a record."""

import base64
import binascii

import numpy as np


def pack(correct_N: np.ndarray) -> str:
    """Returns the number of answers and their bits in base64, as in "9:/4A=".

    Args:
      correct_N: bool, True for a correct answer, in the order of the test split.

    >>> pack(np.ones(9, bool))
    '9:/4A='
    """
    bits = base64.b64encode(np.packbits(np.asarray(correct_N, bool)).tobytes()).decode()
    return f"{len(correct_N)}:{bits}"


def unpack(text: str) -> np.ndarray:
    """Returns correct_N from the text of `pack`.

    Raises:
      ValueError: If it is no such text.
    """
    count, colon, bits = text.partition(":")
    try:
        packed = np.frombuffer(base64.b64decode(bits, validate=True), np.uint8)
    except binascii.Error as error:
        raise ValueError(f"bits of answers are no base64: {error}") from error
    if not colon or not count.isdecimal() or len(packed) != -(-int(count) // 8):
        raise ValueError(f"{len(packed)} bytes are not the bits of {count!r} answers")
    return np.unpackbits(packed, count=int(count)).astype(bool)
