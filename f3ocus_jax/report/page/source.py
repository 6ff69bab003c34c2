"""What the page of a run is made of, and limits of what it shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from f3ocus_jax.types import ClientRecord, RoundRecord
from tfds_medvqa.common.printable import printable

LONGEST_TEXT = 60
"""Characters of a name or value; the middle of a longer one is left out."""

MOST_ROWS = 200
"""Largest number of clients in a table; a line says how many there are."""

MOST_PANELS = 24
"""Largest number of clients with a chart of their own."""


@dataclasses.dataclass(frozen=True)
class RunSource:
    """What a run left behind.

    Attributes:
      name: Name of the run.
      records: Records of the finished rounds, ascending; at least that of round 0.
      summary: Final table, from `table.summarise_run`; empty while the run goes on.
      rounds: Rounds that the run is to have.
      federated: (name, value) of what was federated: data, model, score, selection.
      changed: (name, value, default) of every setting that differs from its default.
      provenance: (name, value) of versions, hardware, seed, commit and hashes.
      tolerance: Relative residual up to which an eigenvalue counts as converged; None for a score
        without eigenvalues.
    """

    name: str
    records: Sequence[RoundRecord]
    summary: Mapping[str, Any]
    rounds: int
    federated: Sequence[tuple[str, str]] = ()
    changed: Sequence[tuple[str, str, str]] = ()
    provenance: Sequence[tuple[str, str]] = ()
    tolerance: float | None = None

    @property
    def clients(self) -> list[str]:
        """Names of the clients, in the federation's order."""
        return [client.client for client in self.records[-1].clients]


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """Returns a name or value as the page shows it: one line of limited length."""
    return printable(text, longest)


def measured(client: ClientRecord) -> Mapping[str, float]:
    """Returns the metrics on the test split, or on validation where that is left out."""
    return client.test or client.validation
