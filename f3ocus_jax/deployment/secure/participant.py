"""A site's half of one round of secure aggregation: its secrets, and what it gives of others'.

The steps are those of Bonawitz et al. (2017): advertise keys, share secrets, mask, help to unmask.
Each is done once, in this order, so that nobody gets both a site's mask key and one of its seeds.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence

from f3ocus_jax.deployment.fields import RefusedError, quoted
from f3ocus_jax.deployment.secure import keys as keys_lib, shamir
from f3ocus_jax.deployment.secure.encoding import KEY_BYTES, SECRET_BYTES, SHARE_BYTES
from f3ocus_jax.deployment.secure.masks import Piece
from f3ocus_jax.deployment.secure.roster import (
    Advertisement,
    Roster,
    mask_secret_context,
    statement,
)
from f3ocus_jax.deployment.secure.roster_check import check_roster
from f3ocus_jax.deployment.secure.rules import Rules
from f3ocus_jax.deployment.secure.shamir import Source
from f3ocus_jax.deployment.secure.unmask_plan import make_plan

Revealed = tuple[list[bytes], list[bytes]]
"""Shares of the mask keys of the plan's `dropped`, and of its `seeds`."""

ADVERTISED, SHARED, MASKED, UNMASKED = range(4)
STEPS = ("advertising keys", "sharing secrets", "masking", "unmasking")


class Participant:
    """The secrets of one site in one round.

    Attributes:
      number: Round number.
      advertised: The site's public keys.
    """

    def __init__(
        self,
        name: str,
        number: int,
        rules: Rules,
        source: Source,
        identity: keys_lib.Identity | None = None,
    ) -> None:
        """Draws the keys of a round.

        Args:
          name: Name of the site.
          number: Round number.
          rules: Rules of the run.
          source: Source of randomness.
          identity: Key that signs the others; None to leave them unsigned.
        """
        self.number = number
        self._name, self._rules, self._source = name, rules, source
        self._mask_key, self._channel_key = source(KEY_BYTES), source(KEY_BYTES)
        public = map(keys_lib.public_of, (self._mask_key, self._channel_key))
        keys = Advertisement(*public)
        if identity is not None:
            signature = identity.sign(statement(rules, number, name, keys))
            keys = Advertisement(keys.mask_key, keys.channel_key, signature)
        self.advertised = keys
        self._done = ADVERTISED
        self._roster: Roster
        self._seeds: dict[int, bytes] = {}
        self._own: list[bytes] = []
        self._held: dict[str, list[bytes]] = {}

    def share(self, roster: Roster) -> list[bytes]:
        """Shares the secrets of the round.

        Args:
          roster: The sites of the round, as the server sent it.

        Returns:
          For every other site, in the roster's order, its shares of this site's mask key and seeds,
          encrypted for it.

        Raises:
          RefusedError: If the roster is refused, see `check_roster`.
        """
        self._require(ADVERTISED)
        if roster.round != self.number:
            raise RefusedError(f"the list of sites is of round {roster.round}")
        check_roster(roster, self._rules, self._name, self.advertised)
        self._hash = roster.hash(self._rules)
        index, count = roster.index(self._name), len(roster.names)
        pieces = roster.pieces(index, self._rules)
        seeds = {piece: self._source(SECRET_BYTES) for piece in pieces}
        needed = self._rules.needed(count)
        split = [
            shamir.split(secret, needed, count, self._source)
            for secret in (self._mask_key, *seeds.values())
        ]
        texts = [[shares[other] for shares in split] for other in range(count)]
        sealed = [
            keys_lib.seal(self._channel(roster, self._name, name), b"".join(texts[at]))
            for at, name in enumerate(roster.names)
            if at != index
        ]
        self._roster, self._seeds, self._own = roster, seeds, texts[index]
        self._done = SHARED
        return sealed

    def open(self, sealed: Mapping[str, bytes]) -> Mapping[str, list[bytes]]:
        """Decrypts the shares of the others, before anything is trained or masked.

        Args:
          sealed: Site to what it has encrypted for this one.

        Returns:
          Site to its shares, for `mask`.

        Raises:
          RefusedError: If there are too few, or one cannot be decrypted.
        """
        self._require(SHARED)
        roster, needed = self._roster, self._rules.needed(len(self._roster.names))
        if unknown := sealed.keys() - (set(roster.names) - {self._name}):
            raise RefusedError(f"shares of {quoted(min(unknown))}, which is no other site")
        if len(sealed) + 1 < needed:
            raise RefusedError(f"{len(sealed) + 1} sites share secrets, {needed} are needed")
        return {name: self._unseal(name, sealed[name]) for name in sorted(sealed)}

    def mask(
        self, opened: Mapping[str, list[bytes]], pieces: Mapping[int, Piece]
    ) -> dict[int, Piece]:
        """Masks what the site has trained.

        Args:
          opened: Shares from `open`; masks are shared with these sites.
          pieces: The site's own pieces, by index; see `Roster.pieces`.

        Returns:
          The same, masked: one by one they are uniform integers.
        """
        self._require(SHARED)
        self._held = {**opened, self._name: self._own}
        index = self._roster.index(self._name)
        if list(pieces) != self._roster.pieces(index, self._rules):
            raise ValueError(f"pieces {list(pieces)} are not those of the list of sites")
        masked = {piece: pieces[piece].masked(self._seeds[piece]) for piece in pieces}
        for other in opened:
            key_of = pair_keys(self._roster, self._hash, self._mask_key, self._name, other)
            sign = 1 if self._name < other else -1
            for piece in self._roster.pieces(self._roster.index(other), self._rules):
                if piece in masked:
                    masked[piece] = masked[piece].masked(key_of(piece), sign)
        self._done = MASKED
        return masked

    def confirm(self) -> list[bytes]:
        """Proves to every other site of which sites this one has the shares, once it has masked.

        Returns:
          For each of these other sites, ascending, what only this one and it can make.

        Raises:
          RefusedError: If it has not masked.
        """
        self._require(MASKED)
        return [self._confirmation(self._name, other) for other in self._others()]

    def unmask(self, survivors: tuple[str, ...], confirmed: Sequence[bytes]) -> Revealed:
        """Gives the server what it needs of this site to unmask the sums.

        Args:
          survivors: Sites whose masked update has come, ascending.
          confirmed: Proofs of each of the others for this one, from `confirm`.

        Returns:
          The shares of the plan.

        Raises:
          RefusedError: If this site or too few are among them, or others than those that have
            shared secrets, or one has not the shares of the same sites.
        """
        self._require(MASKED)
        needed = self._rules.needed(len(self._roster.names))
        if unknown := set(survivors) - self._held.keys():
            raise RefusedError(f"{quoted(min(unknown))} has shared no secrets in this round")
        if self._name not in survivors or len(survivors) < needed:
            raise RefusedError(
                f"{len(survivors)} sites have sent an update, {needed} with this one are needed"
            )
        others = [name for name in survivors if name != self._name]
        for other, given in zip(others, confirmed, strict=True):
            if not hmac.compare_digest(given, self._confirmation(other, self._name)):
                raise RefusedError(f"site {other} has not the shares of the same sites")
        plan = make_plan(self._roster, self._rules, tuple(sorted(self._held)), survivors)
        self._done = UNMASKED
        keys = [self._held[name][0] for name in plan.dropped]
        return keys, [self._seed_share(name, piece) for name, piece in plan.seeds]

    def _others(self) -> list[str]:
        return [name for name in sorted(self._held) if name != self._name]

    def _confirmation(self, sender: str, receiver: str) -> bytes:
        names = (name.encode() for name in (sender, receiver, *sorted(self._held)))
        secret = self._channel_secret(self._roster, receiver if sender == self._name else sender)
        return keys_lib.derive(secret, b"f3ocus confirmation", self._hash, *names)

    def _seed_share(self, name: str, piece: int) -> bytes:
        pieces = self._roster.pieces(self._roster.index(name), self._rules)
        return self._held[name][1 + pieces.index(piece)]

    def _unseal(self, name: str, sealed: bytes) -> list[bytes]:
        try:
            text = keys_lib.unseal(self._channel(self._roster, name, self._name), sealed)
        except RefusedError as problem:
            raise RefusedError(f"the shares of site {name}: {problem}") from problem
        count = 1 + len(self._roster.pieces(self._roster.index(name), self._rules))
        if len(text) != count * SHARE_BYTES:
            raise RefusedError(f"the shares of site {name}: {len(text)} bytes")
        return [text[at : at + SHARE_BYTES] for at in range(0, len(text), SHARE_BYTES)]

    def _channel(self, roster: Roster, sender: str, receiver: str) -> bytes:
        """Returns the key of the one message from a site to another in this round."""
        other = receiver if sender == self._name else sender
        secret = self._channel_secret(roster, other)
        names = (sender.encode(), receiver.encode())
        return keys_lib.derive(secret, b"f3ocus shares", self._hash, *names)

    def _channel_secret(self, roster: Roster, other: str) -> bytes:
        public = roster.advertised[roster.index(other)].channel_key
        return keys_lib.agree(self._channel_key, public)

    def _require(self, done: int) -> None:
        if self._done != done:
            raise RefusedError(f"{STEPS[self._done]} is what this site has done last in this round")


def pair_keys(
    roster: Roster, found: bytes, private: bytes, own: str, other: str
) -> Callable[[int], bytes]:
    """Returns the function from a piece to the key of two sites' mask.

    Args:
      roster: The sites of the round.
      found: Its hash.
      private: Mask key of one site.
      own: Its name.
      other: Name of the other one.
    """
    secret = keys_lib.agree(private, roster.advertised[roster.index(other)].mask_key)
    return lambda piece: keys_lib.derive(secret, *mask_secret_context(found, own, other, piece))
