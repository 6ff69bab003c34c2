"""Which cases of a parametrised test are left to the slow tests?"""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def marked(cases: Iterable[Any], slow: Collection[Any]) -> list[Any]:
    """The same cases, one value or a tuple each, of which the slow ones are marked so."""

    def mark(case: Any) -> Any:
        values = case if isinstance(case, tuple) else (case,)
        return pytest.param(*values, marks=pytest.mark.slow if case in slow else ())

    return [mark(case) for case in cases]
