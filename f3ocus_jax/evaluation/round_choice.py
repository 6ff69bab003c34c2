"""Choice of a run's round by its validation examples, never by its test examples."""

import math
from collections.abc import Sequence

from f3ocus_jax.types import RoundRecord

ON_VALIDATION = "the best on validation examples"
LAST = "the last one, since no validation examples choose"
"""Reasons for a round, after "round 3, "."""


def preference(validation: float | None, round: int) -> tuple[float, int]:
    """Returns the sort key of a round: the greater, the better on validation, then the later.

    Args:
      validation: `RoundRecord.validation`.
      round: Round number.
    """
    return -math.inf if validation is None else validation, round


def evaluated(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Returns the records of the rounds that were evaluated; round 0 always is."""
    return [r for r in records if r.accuracy is not None or r.validation is not None]


def chosen_round(records: Sequence[RoundRecord]) -> RoundRecord:
    """Returns the evaluated round that is best on validation examples, or the last without any.

    Args:
      records: Records of a run; at least one.
    """
    return max(evaluated(records), key=lambda record: preference(record.validation, record.round))


def reason(validation: float | None) -> str:
    """Returns why a round with this `RoundRecord.validation` is the chosen one."""
    return LAST if validation is None else ON_VALIDATION
