"""Candidates of a sweep's tuning: a grid, or draws that every method shares."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from f3ocus_jax.sweep.settings import GRID, LINEAR, LOG, RANDOM, TuningConfig, by_name

DIGITS = 4
"""Significant digits of a drawn number."""

MOST_DRAWS = 100
"""Draws for each wanted candidate, after which no further different one is looked for."""


def list_candidates(tuning: TuningConfig) -> list[dict[str, Any]]:
    """Lists the settings that a tuning tries.

    Further trials of a random search leave the earlier ones as they are.

    Args:
      tuning: Settings of the tuning.

    Returns:
      Dotted name of a setting to value, for every candidate, each once; none without a search. A
      random search finds fewer than `trials` where the values have fewer combinations.
    """
    values = by_name(tuning.values)
    if tuning.search == GRID:
        made = [
            dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())
        ]
        return list({describe(candidate): candidate for candidate in made}.values())
    if tuning.search == RANDOM:
        return list(_drawn(values, tuning.trials, tuning.seed))
    return []


def describe(settings: Mapping[str, Any]) -> str:
    """Returns settings in words.

    >>> describe({"training.learning_rate": 0.001, "federated.budgets": (2, 3)})
    'training.learning_rate=0.001 federated.budgets=[2, 3]'
    """
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    )


def _drawn(values: Mapping[str, Any], trials: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yields different candidates, each from a generator of its own number."""
    seen: set[str] = set()
    for number in range(trials * MOST_DRAWS):
        generator = np.random.default_rng((seed, number))
        candidate = {name: _draw(given, generator) for name, given in values.items()}
        if describe(candidate) in seen:
            continue
        seen.add(describe(candidate))
        yield candidate
        if len(seen) == trials:
            return


def _draw(given: Any, generator: np.random.Generator) -> Any:
    """Draws one value of a tuple, or of a range: integers between integers, numbers otherwise."""
    if not isinstance(given, Mapping):
        return given[int(generator.integers(len(given)))]
    low, high = given["low"], given["high"]
    whole = type(low) is type(high) is int
    # An integer stands for the numbers that are rounded down to it, so the last is as likely.
    end = high + 1 if whole else high
    if given.get("scale", LINEAR) == LOG:
        drawn = math.exp(generator.uniform(math.log(low), math.log(end)))
    else:
        drawn = generator.uniform(low, end)
    value = math.floor(drawn) if whole else float(f"{drawn:.{DIGITS}g}")
    return min(max(value, low), high)
