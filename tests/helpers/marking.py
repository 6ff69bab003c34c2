"""Cases of a parametrised test that are left to `make test-all` or `make test-slow`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def marked(
    cases: Iterable[Any], slow: Collection[Any] = (), *, extended: Collection[Any] = ()
) -> list[Any]:
    """The same cases, one value or a tuple each, of which some are marked slow or extended."""

    def mark(case: Any) -> Any:
        values = case if isinstance(case, tuple) else (case,)
        marks = [
            getattr(pytest.mark, name)
            for name, chosen in (("slow", slow), ("extended", extended))
            if case in chosen
        ]
        return pytest.param(*values, marks=marks)

    return [mark(case) for case in cases]
