"""Rounds of secure aggregation among participants, without models and messages."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax.deployment.secure import unmasking
from f3ocus_jax.deployment.secure.keys import Identity
from f3ocus_jax.deployment.secure.masks import Piece
from f3ocus_jax.deployment.secure.participant import Participant, Revealed
from f3ocus_jax.deployment.secure.roster import Roster
from f3ocus_jax.deployment.secure.rules import Rules
from f3ocus_jax.deployment.secure.shamir import Source
from f3ocus_jax.deployment.secure.unmask_plan import make_plan

SIZE = 7
"""Numbers of a piece."""

Pieces = dict[int, Piece]
Sealed = dict[str, dict[str, bytes]]
"""Sender to receiver to encrypted shares."""


def make_rules(**changed: Any) -> Rules:
    """Rules of a run: 32 bits, more than half of the sites, two sharers."""
    plain: dict[str, Any] = {"largest": 1.0, "threshold": 0.5, "minimum_sharers": 2, "keys": {}}
    return Rules(**{"run": "a hash", "bits": 32, **plain, **changed})


def drawn(seed: int) -> Source:
    """A source of bytes that are the same in every run of a test."""
    return np.random.default_rng(seed).bytes


@dataclasses.dataclass
class SecureRound:
    """One round, as far as it has come.

    Attributes:
      rules: Rules of the run.
      sites: Participants by name.
      roster: List of these sites.
      pieces: What each site would send in the open.
      confirmed: Site to what it has confirmed to each other one.
    """

    rules: Rules
    sites: dict[str, Participant]
    roster: Roster
    pieces: dict[str, Pieces]
    confirmed: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)

    def share(self) -> Sealed:
        """Shares of all sites."""
        return {name: self.share_of(name) for name in self.sites}

    def share_of(self, name: str) -> dict[str, bytes]:
        """Shares of one site, by receiver."""
        others = [other for other in self.sites if other != name]
        return dict(zip(others, self.sites[name].share(self.roster), strict=True))

    def mask(self, sealed: Sealed, senders: Sequence[str]) -> dict[str, Pieces]:
        """Masked pieces of the sites whose shares came."""
        found = {}
        for name in senders:
            given = {other: sealed[other][name] for other in senders if other != name}
            site = self.sites[name]
            found[name] = site.mask(site.open(given), self.pieces[name])
            others = [other for other in senders if other != name]
            self.confirmed[name] = dict(zip(others, site.confirm(), strict=True))
        return found

    def reveal(self, name: str, survivors: tuple[str, ...]) -> Revealed:
        """Shares that one site gives, with what the other survivors confirm to it."""
        others = [other for other in survivors if other != name]
        confirmed = [self.confirmed.get(other, {}).get(name, bytes(32)) for other in others]
        return self.sites[name].unmask(survivors, confirmed)

    def unmask(
        self,
        masked: Mapping[str, Pieces],
        survivors: Sequence[str],
        helpers: Sequence[str] | None = None,
    ) -> Pieces:
        """Sums that the server learns, with shares of some of the survivors; None for all."""
        came = tuple(sorted(survivors))
        names = came if helpers is None else helpers
        revealed = {name: self.reveal(name, came) for name in names}
        return self.sums(masked, came, revealed)

    def sums(
        self,
        masked: Mapping[str, Pieces],
        survivors: tuple[str, ...],
        revealed: Mapping[str, Revealed],
    ) -> Pieces:
        """Sums that the server learns of given shares."""
        plan = make_plan(self.roster, self.rules, tuple(sorted(masked)), survivors)
        return unmasking.sums(self.roster, self.rules, plan, masked, revealed)

    def plain(self, survivors: Sequence[str]) -> Pieces:
        """Sums in the open, by Python's integers, of the pieces that enough sites share."""
        found = {}
        for piece in range(self.roster.trains_KP.shape[1]):
            own = [self.pieces[name][piece] for name in survivors if piece in self.pieces[name]]
            if len(own) >= self.rules.minimum_sharers:
                numbers = [sum(map(int, column)) % 2**self.rules.bits for column in _columns(own)]
                counts = [sum(int(one.counts[at]) for one in own) % 2**64 for at in range(2)]
                dtype = own[0].numbers.dtype
                found[piece] = Piece(np.array(numbers, dtype), np.array(counts, np.uint64))
        return found


def _columns(pieces: Sequence[Piece]) -> list[tuple[Any, ...]]:
    return list(zip(*(piece.numbers for piece in pieces), strict=True))


def start(
    trains_KP: Any,
    rules: Rules | None = None,
    *,
    number: int = 3,
    seed: int = 0,
    identities: Mapping[str, Identity] | None = None,
) -> SecureRound:
    """A round of sites a, b, c and so on, whose pieces are any integers; the last is a head's."""
    rules, identities = rules or make_rules(), identities or {}
    trains_KP = np.asarray(trains_KP, bool)
    names = tuple(chr(ord("a") + index) for index in range(len(trains_KP)))
    source = drawn(seed)
    sites = {name: Participant(name, number, rules, source, identities.get(name)) for name in names}
    advertised = tuple(sites[name].advertised for name in names)
    roster = Roster(number, names, advertised, trains_KP, trains_KP.shape[1] - 1, 7)
    draw = np.random.default_rng(seed)
    pieces = {
        name: {piece: _any_piece(draw, rules) for piece in roster.pieces(index, rules)}
        for index, name in enumerate(names)
    }
    return SecureRound(rules, sites, roster, pieces)


def _any_piece(draw: np.random.Generator, rules: Rules) -> Piece:
    dtype = f"uint{rules.bits}"
    numbers = draw.integers(2**rules.bits - 1, size=SIZE, dtype=dtype, endpoint=True)
    return Piece(numbers, draw.integers(2**63, size=2, dtype=np.uint64))


def same(found: Mapping[int, Piece], expected: Mapping[int, Piece]) -> bool:
    """True if the pieces are the same integers."""
    return found.keys() == expected.keys() and all(
        np.array_equal(found[piece].numbers, expected[piece].numbers)
        and np.array_equal(found[piece].counts, expected[piece].counts)
        for piece in found
    )


def chi_square(data: bytes) -> float:
    """The statistic of uniform bytes: 255 in the mean, with a standard deviation of 22.6."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    return float(np.sum((counts - expected) ** 2) / expected)
