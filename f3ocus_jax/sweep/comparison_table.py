"""Table of the tests that compare every method with the reference."""

import math

from f3ocus_jax.sweep.formats import NOTHING, Cell, Number, Table
from f3ocus_jax.sweep.study import Column, Comparison, Study, column_name

PERCENT = 100.0


def comparisons(study: Study, column: Column, number: int) -> Table | None:
    """Makes the table of tests against the reference on a task and family.

    Args:
      study: Results.
      column: Task and family.
      number: Number of the column in the report.

    Returns:
      The table; None without the reference or without another method.
    """
    compared = study.compare(column)
    reference = study.reference_arm(column)
    if not compared or reference is None:
        return None
    header = [
        *("Method", "Difference, points", "Interval over clients", "Pairs"),
        *("p, seeds", "p, pairs", "d", "Rank-biserial", "McNemar p by seed", "Separated"),
    ]
    return Table(
        f"comparisons_{number}",
        f"Against {reference.title}, {column_name(column)}",
        header,
        [_comparison_row(each, study, column) for each in compared],
        [
            "Difference: method − reference, mean over seeds ± half of the 95 % t-interval over "
            "seeds; beside it the 95 % bootstrap interval over clients, seeds as strata. p, seeds: "
            "paired t-test on the mean of each seed; p, pairs: Wilcoxon's signed ranks on the "
            "pairs of seed and client (exact, zeros as Pratt); both Holm-corrected over the "
            "methods of this table. d: Cohen's d of the pairs. McNemar: mid-p on the same test "
            "questions, not corrected. Separated: both corrected p-values are below 0.05.",
        ],
    )


def _comparison_row(found: Comparison, study: Study, column: Column) -> list[Cell]:
    clients = found.clients
    interval = NOTHING
    if not math.isnan(clients.low):
        interval = f"[{PERCENT * clients.low:.1f}, {PERCENT * clients.high:.1f}]"
    questions = study.same_questions(column, found.arm)
    verdict = "yes" if found.separated else f"no ({found.reason})" if found.reason else "no"
    return [
        found.arm.title,
        Number(found.difference, PERCENT),
        interval,
        str(found.pairs),
        *(_p_value(p) for p in (found.p_seeds, found.p_pairs)),
        *(_effect(size) for size in (found.effects.cohen_d, found.effects.rank_biserial)),
        ", ".join(_p_value(test.p_mid) for test in questions.values()) or NOTHING,
        verdict,
    ]


def _p_value(p: float) -> str:
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _effect(size: float) -> str:
    return NOTHING if math.isnan(size) else f"{size:.2f}"
