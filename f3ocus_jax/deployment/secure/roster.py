"""Who takes part in a round, with which keys, and who trains what: all that masks depend on.

The layers and the entries of the head are the pieces of a round: pieces 0 to L - 1 are the layers,
the others the entries, by name. A hash of the whole roster goes into every key that two sites
share, so that sites that were told different rosters cannot decrypt each other's shares.
"""

import dataclasses
import hashlib

import numpy as np

from f3ocus_jax.deployment.secure.encoding import SIGNATURE_BYTES, packed
from f3ocus_jax.deployment.secure.rules import Rules


@dataclasses.dataclass(frozen=True)
class Advertisement:
    """Public keys of one site in one round.

    Attributes:
      mask_key: X25519 key of its masks.
      channel_key: X25519 key of the shares that it is sent.
      signature: Ed25519 signature of `statement`; zeros if keys are not signed.
    """

    mask_key: bytes
    channel_key: bytes
    signature: bytes = bytes(SIGNATURE_BYTES)


@dataclasses.dataclass(frozen=True, eq=False)
class Roster:
    """The sites of a round.

    Attributes:
      round: Round number.
      names: Names of the sites, ascending.
      advertised: Keys of each.
      trains_KP: bool, True where a site trains a piece.
      num_layers: L; the pieces from here on are entries of the head.
      largest_weight: Largest weight of a site, of which every site sends a fraction.
    """

    round: int
    names: tuple[str, ...]
    advertised: tuple[Advertisement, ...]
    trains_KP: np.ndarray
    num_layers: int
    largest_weight: int

    def hash(self, rules: Rules) -> bytes:
        """Returns the hash of all that the sites of this round must have in common."""
        statements = [
            statement(rules, self.round, name, keys)
            for name, keys in zip(self.names, self.advertised, strict=True)
        ]
        sizes = (*self.trains_KP.shape, self.num_layers, self.largest_weight)
        facts = (np.array(sizes, "<i8").tobytes(), np.packbits(self.trains_KP).tobytes())
        return hashlib.sha256(packed(*statements, *facts)).digest()

    def index(self, name: str) -> int:
        """Returns the index of a site."""
        return self.names.index(name)

    def layers(self, name: str) -> np.ndarray:
        """Returns the layers that a site trains: int32, ascending."""
        own_L = self.trains_KP[self.index(name), : self.num_layers]
        return np.flatnonzero(own_L).astype(np.int32)

    def place(self, name: str, sender: str) -> int:
        """Returns the index of a site among all others but a sender."""
        return self.index(name) - (self.index(name) > self.index(sender))

    def pieces(self, index: int, rules: Rules) -> list[int]:
        """Returns the pieces that a site masks: those that enough sites train."""
        enough_P = self.trains_KP.sum(axis=0) >= rules.minimum_sharers
        return np.flatnonzero(self.trains_KP[index] & enough_P).tolist()

    def sharers(self, piece: int, names: tuple[str, ...]) -> list[str]:
        """Returns those of some sites that train a piece."""
        return [name for name in names if self.trains_KP[self.index(name), piece]]


def statement(rules: Rules, number: int, site: str, keys: Advertisement) -> bytes:
    """Returns what a site signs of its keys of a round."""
    facts = (rules.run.encode(), str(number).encode(), site.encode())
    return packed(b"f3ocus keys of a round", *facts, keys.mask_key, keys.channel_key)


def mask_secret_context(found: bytes, one: str, other: str, piece: int) -> tuple[bytes, ...]:
    """Returns the context of the key of two sites' mask of a piece.

    Args:
      found: Hash of the roster.
      one: Name of a site.
      other: Name of the other one; the order does not matter.
      piece: Index of the piece.
    """
    names = sorted((one, other))
    return (b"f3ocus mask", found, *(name.encode() for name in names), str(piece).encode())
