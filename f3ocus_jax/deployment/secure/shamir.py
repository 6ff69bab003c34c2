"""Secret sharing over a prime field (Shamir, 1979): any t of n shares give a secret of 32 bytes.

A share is the value of a polynomial of degree t - 1 at a point x >= 1; the secret is its value at
0. Fewer than t shares say nothing about the secret.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.secure.encoding import SECRET_BYTES, SHARE_BYTES

PRIME = 2**256 + 297
"""Smallest prime above all secrets of 32 bytes."""

Source = Callable[[int], bytes]
"""Number of bytes -> random bytes; `os.urandom` but in tests."""


def split(secret: bytes, needed: int, count: int, source: Source) -> list[bytes]:
    """Splits a secret.

    Args:
      secret: 32 bytes.
      needed: Shares that give the secret, t.
      count: Number of shares, n >= t.
      source: Source of randomness.

    Returns:
      The shares at x = 1 to n, 33 bytes each.
    """
    if len(secret) != SECRET_BYTES or not 1 <= needed <= count:
        raise ValueError(f"{needed} of {count} shares of a secret of {len(secret)} bytes")
    coefficients = [int.from_bytes(secret, "big")]
    coefficients += [_draw(source) for _ in range(needed - 1)]
    return [_to_share(_evaluate(coefficients, x)) for x in range(1, count + 1)]


def combine(shares: Mapping[int, bytes], needed: int) -> bytes:
    """Returns the secret of shares.

    Args:
      shares: Share by its point x, at least `needed`.
      needed: Shares that give the secret, t.

    Raises:
      RefusedError: For fewer shares, or shares that are not of one polynomial of degree t - 1.
    """
    if len(shares) < needed:
        raise RefusedError(f"{len(shares)} shares of a secret, {needed} are needed")
    points = sorted(shares)
    values = {x: int.from_bytes(shares[x], "big") for x in points}
    used, others = tuple(points[:needed]), points[needed:]
    for at in others:
        if _interpolate(values, used, at) != values[at]:
            raise RefusedError("the shares of a secret contradict each other")
    secret = _interpolate(values, used, 0)
    if secret >= 2 ** (8 * SECRET_BYTES):
        raise RefusedError("the shares of a secret contradict each other")
    return secret.to_bytes(SECRET_BYTES, "big")


@functools.lru_cache(maxsize=4096)
def lagrange(points: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Returns the factors of the values at some points whose sum is the value at another one."""
    factors = []
    for x in points:
        above = below = 1
        for other in points:
            if other != x:
                above = above * (at - other) % PRIME
                below = below * (x - other) % PRIME
        factors.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(factors)


def _interpolate(values: Mapping[int, int], points: tuple[int, ...], at: int) -> int:
    pairs = zip(lagrange(points, at), points, strict=True)
    return sum(factor * values[x] for factor, x in pairs) % PRIME


def _evaluate(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % PRIME
    return value


def _draw(source: Source) -> int:
    """Returns a uniform number of the field: draws of 257 bits until one is below the prime."""
    while True:
        number = int.from_bytes(source(SHARE_BYTES), "big") >> 7
        if number < PRIME:
            return number


def _to_share(value: int) -> bytes:
    return value.to_bytes(SHARE_BYTES, "big")
