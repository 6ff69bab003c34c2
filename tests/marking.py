"""Which cases of a parametrised test are left to the slow tests?"""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def marked(cases: Iterable[Any], slow: Collection[Any]) -> list[Any]:
    """The same cases, one value or a tuple each, of which the slow ones are marked so."""
    slow_only = pytest.mark.slow
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=slow_only)
        if case in slow
        else case
        for case in cases
    ]
