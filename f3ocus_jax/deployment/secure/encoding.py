"""Sizes of keys and shares in bytes, and byte strings put together."""

KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES = 32, 64, 16
"""An X25519 or Ed25519 key, an Ed25519 signature, and what encryption adds for authentication."""

SECRET_BYTES, SHARE_BYTES = 32, 33
"""A secret that is shared, and one share of it."""

CONFIRMATION_BYTES = 32
"""What proves to one site which shares another one has received."""

COUNTS = 2
"""Counts of a piece: sum of the weights, and of the numbers that were clipped."""


def packed(*parts: bytes) -> bytes:
    """Returns byte strings as one, from which each can be told: every one after its length."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def sealed_bytes(pieces: int) -> int:
    """Returns the size of one site's encrypted shares for another, with seeds of some pieces."""
    return (1 + pieces) * SHARE_BYTES + TAG_BYTES
