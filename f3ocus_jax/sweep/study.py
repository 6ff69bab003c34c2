"""Results of a sweep by task, family and method, and their comparison with the reference."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from f3ocus_jax.sweep import intervals, mcnemar, paired, ranks
from f3ocus_jax.sweep.arms import REFERENCE, Arm
from f3ocus_jax.sweep.intervals import Interval
from f3ocus_jax.sweep.mcnemar import McNemar
from f3ocus_jax.sweep.ranks import ALPHA, RankComparison
from f3ocus_jax.sweep.results import RunResult

Column = tuple[str, str]
"""(base config, family)."""


def column_name(column: Column) -> str:
    """Returns a task and family in words."""
    return " ".join(filter(None, column))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Paired comparison of an arm with the reference on one task and family.

    Attributes:
      arm: The arm.
      difference: Mean over seeds of arm - reference, with the t-interval over seeds.
      by_seed: Seed to the mean over clients of arm - reference, which `difference` is taken of.
      clients: The same mean with a bootstrap interval over clients, seeds as strata.
      pairs: Number of pairs (seed, client).
      seeds: t-test on the mean difference of each seed.
      by_pair: Wilcoxon's test on the pairs.
      p_seeds: p-value of `seeds`, Holm-corrected over the arms of the task and family.
      p_pairs: p-value of `by_pair`, corrected alike.
      effects: Effect sizes over the pairs.
      unpaired: Number of results (seed, client) of either arm that the other lacks.
    """

    arm: Arm
    difference: Interval
    by_seed: Mapping[int, float]
    clients: Interval
    pairs: int
    seeds: paired.Test
    by_pair: paired.Test
    p_seeds: float
    p_pairs: float
    effects: paired.EffectSizes
    unpaired: int

    @property
    def separated(self) -> bool:
        """True if both tests reject equality.

        The clients of a seed share a model, so pairs alone would count each seed several times;
        seeds alone do not show whether the clients agree.
        """
        return bool(self.p_seeds < ALPHA and self.p_pairs < ALPHA)

    @property
    def reason(self) -> str:
        """Cause of a missing test, or ""."""
        if self.pairs == 0:
            return "no run of the reference has the same seed and clients"
        if self.difference.n == 1:
            return "one seed: an observation"
        return self.seeds.reason or self.by_pair.reason


class Study:
    """Results by task, family and arm, in an order that is independent of the results' own.

    Args:
      results: Results of finished runs; a run that is given twice counts once.
      reference: Method that the others are compared with.

    Raises:
      ValueError: If two different runs have the same task, family, method, settings and seed.
    """

    def __init__(self, results: Iterable[RunResult], reference: str = REFERENCE):
        runs: dict[tuple[Column, Arm], dict[int, RunResult]] = {}
        for run in sorted(results, key=lambda run: run.order):
            seeds = runs.setdefault(((run.base, run.family), Arm(run.method, run.setting)), {})
            if run.seed in seeds and seeds[run.seed].key != run.key:
                raise ValueError(
                    f"runs {seeds[run.seed].key} and {run.key} are both {run.base} {run.family} "
                    f"{run.method} {run.setting} seed {run.seed}: give one of them"
                )
            seeds[run.seed] = run
        self._runs = runs
        self.reference = reference
        self.columns: list[Column] = sorted({column for column, _ in runs})
        self.arms = sorted({arm for _, arm in runs}, key=lambda arm: arm.order)

    def runs(self, column: Column, arm: Arm) -> list[RunResult]:
        """Returns the runs of a cell, seeds ascending."""
        return list(self._runs.get((column, arm), {}).values())

    def arms_of(self, column: Column) -> list[Arm]:
        """Returns the arms that have a run of a task and family."""
        return [arm for arm in self.arms if (column, arm) in self._runs]

    def clients(self, column: Column) -> list[str]:
        """Returns the clients that all runs of a task and family have, in their order."""
        every = [run for arm in self.arms_of(column) for run in self.runs(column, arm)]
        return [name for name in every[0].clients if all(name in run.clients for run in every)]

    def accuracy(self, column: Column, arm: Arm) -> Interval:
        """Returns the mean over clients, with its t-interval over seeds."""
        return intervals.t_interval([run.accuracy for run in self.runs(column, arm)])

    def reference_arm(self, column: Column) -> Arm | None:
        """Returns the arm of the reference: that without settings of its own, if there is one."""
        arms = [arm for arm in self.arms_of(column) if arm.method == self.reference]
        return arms[0] if arms else None  # the empty setting sorts first

    def compare(self, column: Column) -> list[Comparison]:
        """Compares every other arm with the reference.

        Args:
          column: Task and family.

        Returns:
          One comparison per arm; none without the reference.
        """
        reference = self.reference_arm(column)
        if reference is None:
            return []
        others = [arm for arm in self.arms_of(column) if arm != reference]
        found = [
            _compare(arm, self.runs(column, arm), self.runs(column, reference)) for arm in others
        ]
        p_seeds = paired.holm([each.seeds.p for each in found])
        p_pairs = paired.holm([each.by_pair.p for each in found])
        return [
            dataclasses.replace(each, p_seeds=seeds, p_pairs=pairs)
            for each, seeds, pairs in zip(found, p_seeds, p_pairs, strict=True)
        ]

    def compare_ranks(self, columns: Sequence[Column] | None = None) -> RankComparison:
        """Ranks all arms over the clients of the tasks and families, means over seeds.

        Args:
          columns: Tasks and families; all of them if None.

        Returns:
          The comparison; arms in the order of `arms`.
        """
        blocks = []
        for column in self.columns if columns is None else columns:
            for client in self.clients(column):
                values = [
                    [run.clients[client].metrics["accuracy"] for run in self.runs(column, arm)]
                    for arm in self.arms
                ]
                blocks.append([float(np.mean(v)) if v else math.nan for v in values])
        return ranks.compare_ranks(np.array(blocks).reshape(-1, len(self.arms)))

    def same_questions(self, column: Column, arm: Arm) -> dict[int, McNemar]:
        """Compares an arm with the reference on the same test questions.

        Returns:
          Seed to McNemar's test over the questions of all clients whose correctness both runs kept.
        """
        reference = self.reference_arm(column)
        others = {} if reference is None else self._runs[column, reference]
        pairs = [(run, others[run.seed]) for run in self.runs(column, arm) if run.seed in others]
        found = {one.seed: mcnemar_of(one, other) for one, other in pairs}
        return {seed: test for seed, test in found.items() if test is not None}


def mcnemar_of(one: RunResult, other: RunResult) -> McNemar | None:
    """Tests whether two runs are correct equally often on the same test questions.

    Args:
      one: A run.
      other: Another run.

    Returns:
      McNemar's test over the clients whose questions are the same; None if there is none.
    """
    first, second = one.correct or {}, other.correct or {}
    same = [
        name
        for name in first
        if name in second
        and one.examples.get(name)
        and one.examples[name] == other.examples.get(name)
    ]
    if not same:
        return None
    return mcnemar.mcnemar(
        np.concatenate([first[name] for name in same]),
        np.concatenate([second[name] for name in same]),
    )


def _compare(arm: Arm, runs: Sequence[RunResult], reference: Sequence[RunResult]) -> Comparison:
    first, second = _by_pair(runs), _by_pair(reference)
    keys, differences = paired.match(first, second)
    seeds = sorted({seed for seed, _ in keys})
    strata = [[d for (s, _), d in zip(keys, differences, strict=True) if s == n] for n in seeds]
    means = [float(np.mean(stratum)) for stratum in strata]
    seeds_test, pairs_test = paired.t_test(means), paired.wilcoxon(differences)
    return Comparison(
        arm=arm,
        difference=intervals.t_interval(means),
        by_seed=dict(zip(seeds, means, strict=True)),
        clients=intervals.stratified_bootstrap(strata),
        pairs=len(keys),
        seeds=seeds_test,
        by_pair=pairs_test,
        p_seeds=seeds_test.p,
        p_pairs=pairs_test.p,
        effects=paired.effect_sizes(differences),
        unpaired=len(first.keys() ^ second.keys()),
    )


def _by_pair(runs: Sequence[RunResult]) -> Mapping[tuple[int, str], float]:
    return {
        (run.seed, name): client.metrics["accuracy"]
        for run in runs
        for name, client in run.clients.items()
    }
