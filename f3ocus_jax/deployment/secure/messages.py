"""Messages of secure aggregation: four tasks of the server, and what a site answers to each.

`KeysTask` and `Keys`, `SharesTask` and `Shares`, `MaskedTask` and `MaskedUpdate`, `UnmaskTask` and
`Unmasking`; they are checked and encoded as all other messages.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from f3ocus_jax.deployment import fields as fields_lib
from f3ocus_jax.deployment.fields import Field, Fields, RefusedError
from f3ocus_jax.deployment.layout import Layout, Tensors, TensorSpec
from f3ocus_jax.deployment.messages import Message, TrainTask
from f3ocus_jax.deployment.secure import vectors
from f3ocus_jax.deployment.secure.encoding import (
    CONFIRMATION_BYTES,
    COUNTS,
    KEY_BYTES,
    SHARE_BYTES,
    SIGNATURE_BYTES,
    sealed_bytes,
)
from f3ocus_jax.deployment.secure.roster import Advertisement, Roster

MOST_SITES = 1024
"""Largest number of sites in a round."""

KEYS = {"mask_key": KEY_BYTES, "channel_key": KEY_BYTES, "signature": SIGNATURE_BYTES}
"""Arrays of an `Advertisement`, with their bytes."""


def most_pieces(layout: Layout) -> int:
    """Returns the number of pieces of a round: layers and entries of the head."""
    return layout.num_layers + len(layout.heads)


def _bytes(*shape: int) -> TensorSpec:
    return TensorSpec(shape, "uint8")


def _require_sites(count: int) -> None:
    if count > MOST_SITES:
        raise RefusedError(f"{count} sites, must be at most {MOST_SITES}")


def from_bytes(rows: list[bytes], width: int) -> np.ndarray:
    """Returns byte strings of one length as an array, uint8, with one a row."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


@dataclasses.dataclass(frozen=True, eq=False)
class KeysTask(Message):
    """The server asks for a site's public keys of a round."""

    kind = "keys_task"


@dataclasses.dataclass(frozen=True, eq=False)
class Keys(Message):
    """A site advertises its public keys of a round.

    Attributes:
      advertised: The keys.
    """

    advertised: Advertisement

    kind = "keys"

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {name: np.frombuffer(getattr(self.advertised, name), np.uint8) for name in KEYS}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message must have."""
        return {name: _bytes(size) for name, size in KEYS.items()}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Keys":
        """Makes the message from checked parts."""
        return cls(round, site, Advertisement(**{name: tensors[name].tobytes() for name in KEYS}))


@dataclasses.dataclass(frozen=True, eq=False)
class SharesTask(Message):
    """The server tells a site who trains what with which keys, and asks for its secrets' shares.

    Attributes:
      roster: The sites of the round.
    """

    roster: Roster

    kind = "shares_task"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "sites": fields_lib.NAMES,
        "layers": fields_lib.COUNT,
        "largest_weight": fields_lib.COUNT,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        roster = self.roster
        known = {"layers": roster.num_layers, "largest_weight": roster.largest_weight}
        return {"sites": list(roster.names), **known}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        roster = self.roster
        keys = {
            name: from_bytes([getattr(each, name) for each in roster.advertised], size)
            for name, size in KEYS.items()
        }
        return {**keys, "trains": roster.trains_KP}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        count, layers = len(fields["sites"]), fields["layers"]
        _require_sites(count)
        if layers != layout.num_layers:
            raise RefusedError(f"layers = {layers}, must be {layout.num_layers}")
        keys = {name: _bytes(count, size) for name, size in KEYS.items()}
        return {**keys, "trains": TensorSpec((count, most_pieces(layout)), "bool")}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of the largest list of sites."""
        return {"sites": [""] * MOST_SITES, "layers": layout.num_layers}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "SharesTask":
        """Makes the message from checked parts."""
        rows = zip(*(tensors[name] for name in KEYS), strict=True)
        advertised = tuple(Advertisement(*(each.tobytes() for each in row)) for row in rows)
        given = (round, tuple(fields["sites"]), advertised, tensors["trains"])
        return cls(round, site, Roster(*given, fields["layers"], fields["largest_weight"]))


@dataclasses.dataclass(frozen=True, eq=False)
class Shares(Message):
    """A site answers the shares of its secrets, encrypted for each other site.

    Attributes:
      sealed: Shares for every other site, in the order of the list of sites; all of one length.
    """

    sealed: list[bytes]

    kind = "shares"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "others": fields_lib.COUNT,
        "pieces": fields_lib.COUNT,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        length = len(self.sealed[0]) if self.sealed else sealed_bytes(0)
        pieces = (length - sealed_bytes(0)) // SHARE_BYTES
        return {"others": len(self.sealed), "pieces": pieces}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {"sealed": from_bytes(self.sealed, sealed_bytes(self.fields()["pieces"]))}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        _require_sites(fields["others"])
        if fields["pieces"] > most_pieces(layout):
            raise RefusedError(
                f"pieces = {fields['pieces']}, must be at most {most_pieces(layout)}"
            )
        return {"sealed": _bytes(fields["others"], sealed_bytes(fields["pieces"]))}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of the most shares."""
        return {"others": MOST_SITES, "pieces": most_pieces(layout)}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Shares":
        """Makes the message from checked parts."""
        return cls(round, site, [row.tobytes() for row in tensors["sealed"]])


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedTask(TrainTask):
    """A `TrainTask` whose answer is masked; it brings the other sites' shares.

    Attributes:
      sealed: Encrypted shares for this site, by the site that sent them; they and this site share
        the masks of the round.
    """

    sealed: Mapping[str, bytes]

    kind = "masked_task"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **TrainTask.FIELDS,
        "sites": fields_lib.NAMES,
        "sizes": fields_lib.COUNTS,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        sites = sorted(self.sealed)
        sizes = [len(self.sealed[site]) for site in sites]
        return {**super().fields(), "sites": sites, "sizes": sizes}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        everything = b"".join(self.sealed[site] for site in sorted(self.sealed))
        return {**super().tensors(), "sealed": np.frombuffer(everything, np.uint8)}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        sites, sizes = fields["sites"], fields["sizes"]
        _require_sites(len(sites))
        most = sealed_bytes(most_pieces(layout))
        if len(sites) != len(sizes) or max(sizes, default=0) > most:
            raise RefusedError(f"sizes must be one of each site, at most {most}")
        return {**super().specs(fields, layout), "sealed": _bytes(sum(sizes))}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of the largest task."""
        sizes = [sealed_bytes(most_pieces(layout))] * MOST_SITES
        return {**super().largest(layout), "sites": [""] * MOST_SITES, "sizes": sizes}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "MaskedTask":
        """Makes the message from checked parts."""
        plain = TrainTask.build(fields, tensors, round, site)
        given = (plain.since, plain.parameters, plain.chosen_R, plain.slots, plain.steps)
        everything, sizes = tensors["sealed"].tobytes(), fields["sizes"]
        ends = itertools.accumulate(sizes)
        parts = [everything[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        sealed = dict(zip(fields["sites"], parts, strict=True))
        return cls(round, site, *given, sealed)


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedUpdate(Message):
    """A site answers what it has trained, masked.

    Attributes:
      rows: Masked integers of its layers, one layer a row.
      heads: Those of the entry of the head that it trained, by its name.
      counts: uint64, masked sum of weights and number of clipped numbers of every piece.
      losses_S: float32, loss of each step that it took.
      confirmed: Proofs for the other sites, see `Participant.confirm`.
    """

    rows: np.ndarray
    heads: Mapping[str, np.ndarray]
    counts: np.ndarray
    losses_S: np.ndarray
    confirmed: list[bytes]

    kind = "masked_update"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "layers": fields_lib.COUNT,
        "heads": fields_lib.NAMES,
        "steps": fields_lib.COUNT,
        "others": fields_lib.COUNT,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        counts = {"steps": len(self.losses_S), "others": len(self.confirmed)}
        return {"layers": len(self.rows), "heads": sorted(self.heads), **counts}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        named = {"rows": self.rows, "counts": self.counts, "losses": self.losses_S}
        named["confirmed"] = from_bytes(self.confirmed, CONFIRMATION_BYTES)
        return {**named, **{f"head/{name}": vector for name, vector in self.heads.items()}}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        layers, heads, steps = fields["layers"], fields["heads"], fields["steps"]
        _require_sites(fields["others"])
        if layers > layout.num_layers or steps > layout.most_steps:
            most = f"{layout.num_layers} and {layout.most_steps}"
            raise RefusedError(f"layers = {layers} and steps = {steps}, must be at most {most}")
        if unknown := set(heads) - layout.heads.keys():
            raise RefusedError(f"unknown entry of the head: {fields_lib.quoted(min(unknown))}")
        entries = {
            f"head/{name}": TensorSpec((vectors.entry_size(layout, name),), layout.masked)
            for name in heads
        }
        return {
            "rows": TensorSpec((layers, vectors.row_size(layout)), layout.masked),
            "counts": TensorSpec((layers + len(heads), COUNTS), "uint64"),
            "losses": TensorSpec((steps,), "float32"),
            "confirmed": _bytes(fields["others"], CONFIRMATION_BYTES),
            **entries,
        }

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of an update of all layers."""
        heads = sorted(layout.heads)
        counts = {"steps": layout.most_steps, "others": MOST_SITES}
        return {"layers": layout.num_layers, "heads": heads, **counts}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "MaskedUpdate":
        """Makes the message from checked parts."""
        heads = {name: tensors[f"head/{name}"] for name in fields["heads"]}
        given = (tensors["rows"], heads, tensors["counts"], tensors["losses"])
        return cls(round, site, *given, [row.tobytes() for row in tensors["confirmed"]])


@dataclasses.dataclass(frozen=True, eq=False)
class UnmaskTask(Message):
    """The server tells who has sent a masked update, and asks for the shares that unmask the sums.

    Attributes:
      survivors: Names of these sites, ascending.
      confirmed: Proofs of each of the others for this one.
    """

    survivors: tuple[str, ...]
    confirmed: list[bytes]

    kind = "unmask_task"
    FIELDS: ClassVar[Mapping[str, Field]] = {"sites": fields_lib.NAMES}

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        return {"sites": list(self.survivors)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {"confirmed": from_bytes(self.confirmed, CONFIRMATION_BYTES)}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        _require_sites(len(fields["sites"]))
        return {"confirmed": _bytes(max(len(fields["sites"]) - 1, 0), CONFIRMATION_BYTES)}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of the most sites."""
        return {"sites": [""] * MOST_SITES}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "UnmaskTask":
        """Makes the message from checked parts."""
        confirmed = [row.tobytes() for row in tensors["confirmed"]]
        return cls(round, site, tuple(fields["sites"]), confirmed)


@dataclasses.dataclass(frozen=True, eq=False)
class Unmasking(Message):
    """A site answers shares of other sites' secrets, and of its own.

    Attributes:
      keys: Shares of the mask keys of the sites that have sent no update.
      seeds: Shares of the seeds of those that have.
    """

    keys: list[bytes]
    seeds: list[bytes]

    kind = "unmasking"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "keys": fields_lib.COUNT,
        "seeds": fields_lib.COUNT,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        return {"keys": len(self.keys), "seeds": len(self.seeds)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {name: from_bytes(getattr(self, name), SHARE_BYTES) for name in self.FIELDS}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        most = cls.largest(layout)
        for name in cls.FIELDS:
            if fields[name] > most[name]:
                raise RefusedError(f"{name} = {fields[name]}, must be at most {most[name]}")
        return {name: _bytes(fields[name], SHARE_BYTES) for name in cls.FIELDS}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of the most shares."""
        return {"keys": MOST_SITES, "seeds": MOST_SITES * most_pieces(layout)}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Unmasking":
        """Makes the message from checked parts."""
        keys, seeds = ([row.tobytes() for row in tensors[name]] for name in cls.FIELDS)
        return cls(round, site, keys, seeds)


ALL = (KeysTask, Keys, SharesTask, Shares, MaskedTask, MaskedUpdate, UnmaskTask, Unmasking)
"""All messages of secure aggregation."""
