"""Secrets that noise is drawn from, which nobody can compute from the settings of a run."""

import dataclasses
import hashlib
import json
import os

import numpy as np

from f3ocus_jax import hosts


@dataclasses.dataclass(frozen=True)
class Secret:
    """Secret of one site or of the server.

    Attributes:
      value: 32 bytes. They are never printed, sent or written.
    """

    value: bytes = dataclasses.field(repr=False)

    def digest(self, purpose: str, *facts: str | int) -> bytes:
        """Returns 32 bytes that differ by purpose and facts, by SHA-256.

        Args:
          purpose: Use of the bytes.
          *facts: Seed, round and client.
        """
        text = json.dumps([purpose, *facts])
        return hashlib.sha256(self.value + text.encode()).digest()

    def key_data(self, purpose: str, *facts: str | int) -> np.ndarray:
        """Returns the data of a typed random key, uint32 [2], for `jax.random.wrap_key_data`."""
        return np.frombuffer(self.digest(purpose, *facts)[:8], np.uint32)

    def generator(self, purpose: str, *facts: str | int) -> np.random.Generator:
        """Makes a random number generator of the host."""
        return np.random.default_rng(np.frombuffer(self.digest(purpose, *facts), np.uint32))


def take(secret_seed: str) -> Secret:
    """Takes the secret of a process.

    Args:
      secret_seed: The setting `config.privacy.secret_seed`.

    Returns:
      A secret made of it; for "", of 32 bytes of the operating system's generator.
    """
    if not secret_seed:
        return Secret(os.urandom(32))
    return Secret(hashlib.sha256(secret_seed.encode()).digest())


def take_common(secret_seed: str) -> Secret:
    """Takes one secret for all hosts of a run, which compute the server's steps alike.

    Args:
      secret_seed: The setting `config.privacy.secret_seed`.

    Returns:
      The secret of the first host.
    """
    own = take(secret_seed).value.hex()
    return Secret(bytes.fromhex(hosts.all_gather(own)[0]))
