"""Which cases of a parametrised test are left to the slow tests?"""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def marked(cases: Iterable[Any], slow: Collection[Any]) -> list[Any]:
    """The same cases, of which the slow ones are marked so."""
    return [pytest.param(c, marks=pytest.mark.slow) if c in slow else c for c in cases]
