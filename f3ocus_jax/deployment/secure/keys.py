"""Keys of secure aggregation, all by the package cryptography: X25519, HKDF-SHA256, Ed25519.

Secrets that two sites share are only used by way of `derive`, with a context of their own.
"""

import pathlib
from collections.abc import Mapping

from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.secure.encoding import KEY_BYTES, packed
from f3ocus_jax.errors import ConfigError

try:
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey,
        X25519PublicKey,
    )
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as error:
    raise ConfigError(
        "config.secure_aggregation needs the package cryptography: install f3ocus_jax[secure]"
    ) from error

ONCE = bytes(12)
"""Nonce of a key that encrypts one message alone."""


def public_of(private: bytes) -> bytes:
    """Returns the X25519 public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    """Returns the secret that two sites share (X25519).

    Args:
      private: Private key of one.
      public: Public key of the other.

    Raises:
      RefusedError: If the public key is of small order, so that the secret would be known.
    """
    try:
        own = X25519PrivateKey.from_private_bytes(private)
        return own.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise RefusedError("a public key gives no secret") from error


def derive(secret: bytes, *context: bytes) -> bytes:
    """Returns a key of 32 bytes for one use of a secret (HKDF-SHA256).

    Args:
      secret: The secret.
      *context: Purpose, round and parties; every context gives another key.
    """
    info = packed(*context)
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)


def seal(key: bytes, text: bytes) -> bytes:
    """Encrypts the only message of a key, with authentication (ChaCha20-Poly1305)."""
    return ChaCha20Poly1305(key).encrypt(ONCE, text, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """Returns the text of `seal`.

    Raises:
      RefusedError: If it was altered or encrypted with another key.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(ONCE, sealed, None)
    except InvalidTag as error:
        raise RefusedError(
            "cannot be decrypted: altered, or made for another round or list of sites"
        ) from error


class Identity:
    """The key by which a site proves that its keys of a round are its own (Ed25519)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Makes it of a private key."""
        self._private = private

    @classmethod
    def read(cls, path: str) -> "Identity | None":
        """Reads a private key in PEM; None for an empty path.

        Raises:
          ConfigError: If the file cannot be read or holds no such key.
        """
        if not path:
            return None
        try:
            data = pathlib.Path(path).read_bytes()
            private = serialization.load_pem_private_key(data, None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"config.secure_aggregation.identity = {path!r}: {error}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"config.secure_aggregation.identity = {path!r}: no Ed25519 key")
        return cls(private)

    @property
    def public(self) -> bytes:
        """The public key, which stands in `config.secure_aggregation.keys`."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> bytes:
        """Returns the signature of a statement."""
        return self._private.sign(statement)


def check_signature(known: Mapping[str, str], site: str, statement: bytes, given: bytes) -> None:
    """Checks who made a statement.

    Args:
      known: `config.secure_aggregation.keys`; nothing is checked if it is empty.
      site: Name of the site that should have signed.
      statement: Statement that is signed.
      given: The signature.

    Raises:
      RefusedError: If the site has no key, or has not signed.
    """
    if not known:
        return
    if site not in known:
        raise RefusedError(f"site {site} is not in config.secure_aggregation.keys")
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(known[site])).verify(given, statement)
    except InvalidSignature as error:
        raise RefusedError(f"the keys of site {site} are not signed by it") from error
