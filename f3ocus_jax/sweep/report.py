"""Report of a sweep: report.md with tables and figures, equal bytes for equal results."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence

from f3ocus_jax.report import text_table
from f3ocus_jax.sweep import (
    feature_figure,
    figures,
    formats,
    result_rows,
    tables,
    tuning_table,
)
from f3ocus_jax.sweep.arms import REFERENCE, Arm
from f3ocus_jax.sweep.results import MissingRun, RunResult
from f3ocus_jax.sweep.study import Column, Study, column_name
from f3ocus_jax.sweep.tuning_table import Tuning

REPORT_FILE = "report.md"

LONGEST_LIST = 30
"""Number of missing runs that are listed; the others are counted."""


def write_report(
    results: Iterable[RunResult],
    folder: str | os.PathLike[str],
    reference: str = REFERENCE,
    missing: Iterable[MissingRun] = (),
    tuning: Tuning | None = None,
) -> pathlib.Path:
    """Writes the report of a sweep.

    Files of an earlier report that this one does not have are removed.

    Args:
      results: Results of finished runs, in any order.
      folder: Output folder; created if absent. It gets report.md, tables/ and figures/; tables/
        also holds all results, see `result_rows`.
      reference: Method that the others are compared with.
      missing: Planned runs without a result, in any order.
      tuning: Candidates of a sweep that tuned settings.

    Returns:
      The path of report.md.

    Raises:
      ValueError: If two different runs have the same task, family, method, settings and seed.
    """
    directory = pathlib.Path(folder)
    directory.mkdir(parents=True, exist_ok=True)
    results = list(results)
    study = Study(results, reference)
    result_rows.write_csv(results, directory / "tables")
    tuned = [] if tuning is None else tuning_table.make_all(tuning)
    made = tables.make_all(study) if study.columns else []
    written = [
        path for table in (*tuned, *made) for path in formats.write_all(table, directory / "tables")
    ]
    pictures = figures.write_all(study, directory / "figures") if study.columns else []
    _remove_others([*written, *pictures], directory)
    lines = [
        "# Report of a sweep",
        *_runs(study, sorted(missing, key=_order)),
        *(part for table in tuned for part in _table(table)),
        *_not_separated(study),
        *(part for table in made for part in _table(table)),
        *_figures(study, pictures),
    ]
    path = directory / REPORT_FILE
    text = "\n\n".join(lines) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
    return path


def _runs(study: Study, missing: Sequence[MissingRun]) -> list[str]:
    """Returns the section that says which runs there are and which are not."""
    counted = [len(study.runs(c, arm)) for c in study.columns for arm in study.arms_of(c)]
    lines = ["## Runs", f"{sum(counted)} runs finished, {len(missing)} failed or are missing."]
    if study.columns:
        lines.append("\n".join(f"- {_seeds(study, column)}" for column in study.columns))
    if counted and min(counted) == 1:
        lines.append("A result with one seed is an observation: it has no interval and no test.")
    chosen = sorted(
        {
            run.chosen
            for c in study.columns
            for arm in study.arms_of(c)
            for run in study.runs(c, arm)
        }
    )
    if chosen:
        rules = text_table.escape_markdown("; ".join(chosen))
        lines.append(
            f"Accuracy is that on the test split at one round of a run, chosen as: {rules}."
        )
    if missing:
        lines += ["Without a result:", "\n".join(map(_item, _reasons(missing)))]
    return lines


def _reasons(missing: Sequence[MissingRun]) -> list[str]:
    """Returns the runs without a result, those of one task and one reason in one line."""
    alike: dict[tuple[Column, str], dict[str, list[int]]] = {}
    for run in missing[:LONGEST_LIST]:
        seeds_of = alike.setdefault(((run.base, run.family), run.reason), {})
        seeds_of.setdefault(Arm(run.method, run.setting).title, []).append(run.seed)
    shown = []
    for (column, reason), seeds_of in alike.items():
        arms = "; ".join(itertools.starmap(_with_seeds, seeds_of.items()))
        shown.append(f"{column_name(column)}, {arms}: {reason}")
    if len(missing) > LONGEST_LIST:
        shown.append(f"and {len(missing) - LONGEST_LIST} more")
    return shown


def _with_seeds(title: str, seeds: Sequence[int]) -> str:
    return f"{title}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _seeds(study: Study, column: Column) -> str:
    """Returns how many seeds each method has, methods of equal numbers together."""
    by_count: dict[int, list[str]] = {}
    for arm in study.arms_of(column):
        by_count.setdefault(len(study.runs(column, arm)), []).append(arm.title)
    parts = [
        f"{count} {'seed' if count == 1 else 'seeds'} of {', '.join(by_count[count])}"
        for count in sorted(by_count, reverse=True)
    ]
    return text_table.escape_markdown(f"{column_name(column)}: {'; '.join(parts)}")


def _not_separated(study: Study) -> list[str]:
    """Returns the section on what the results cannot tell apart."""
    lines = [f"- {text_table.escape_markdown(_verdict(study, column))}" for column in study.columns]
    ranked = _rank_verdict(study)
    return [
        "## What these results cannot separate",
        *(["\n".join(lines)] if lines else ["There are no results."]),
        *([text_table.escape_markdown(ranked)] if ranked else []),
        "Two methods count as separated if two tests at the level 0.05, each corrected for the "
        "number of methods, both reject equality: over seeds, and over the pairs of seed and "
        "client. What is not separated is not shown to be equal.",
    ]


def _verdict(study: Study, column: Column) -> str:
    reference, name = study.reference_arm(column), column_name(column)
    if reference is None:
        title = Arm(study.reference).title
        return f"{name}: no run of the reference {title}, so nothing is compared."
    compared = study.compare(column)
    untested = [each for each in compared if each.reason and not each.separated]
    same = [each for each in compared if not each.reason and not each.separated]
    better = [each for each in compared if each.separated and each.difference.mean > 0]
    worse = [each for each in compared if each.separated and each.difference.mean < 0]
    parts = [
        f"{verb} {reference.title}: {', '.join(each.arm.title for each in some)}"
        for verb, some in (
            ("not separated from", same),
            ("better than", better),
            ("worse than", worse),
        )
        if some
    ]
    parts += [f"{each.arm.title} not tested ({each.reason})" for each in untested]
    return f"{name}: {'; '.join(parts) or 'no other method'}."


def _rank_verdict(study: Study) -> str:
    """Returns what the ranks over the clients of all tasks say."""
    if not study.columns:
        return ""
    found = study.compare_ranks()
    if found.reason:
        return f"Ranks over clients are not tested: {found.reason}."
    left_out = f" ({found.left_out} clients lack a method)" if found.left_out else ""
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    groups = [", ".join(study.arms[index].title for index in group) for group in found.groups]
    text = (
        f"By ranks over {found.blocks} clients{left_out}, Friedman's test gives {p}, and the "
        f"critical difference (Nemenyi, 0.05) is {found.critical_difference:.2f}. "
    )
    if not groups:
        return text + "All methods differ by more."
    return text + f"Methods that differ by less: {'; '.join(groups)}."


def _table(table: formats.Table) -> list[str]:
    return [f"## {text_table.escape_markdown(table.title)}", formats.markdown(table).rstrip()]


def _figures(study: Study, pictures: Sequence[pathlib.Path]) -> list[str]:
    shown = [path.name for path in pictures if path.suffix == ".png"]
    if not shown:
        return []
    note = [feature_figure.MISSING] if feature_figure.is_missing(study) else []
    return [
        "## Figures",
        *note,
        *(f"![{name.removesuffix('.png')}](figures/{name})" for name in shown),
    ]


def _remove_others(written: Sequence[pathlib.Path], directory: pathlib.Path) -> None:
    """Removes what an earlier report wrote and this one does not, as after runs were removed."""
    patterns = ("table_*", "searches_*", "comparisons_*", "tuning_*")
    old = [path for pattern in patterns for path in (directory / "tables").glob(pattern)]
    for name in (*figures.FIGURES, "critical_difference"):
        old += (directory / "figures").glob(f"{name}*")
    for path in set(old) - set(written):
        path.unlink()


def _item(text: str) -> str:
    return f"- {text_table.escape_markdown(text)}"


def _order(run: MissingRun) -> tuple[str, str, str, str, int, str]:
    return run.base, run.family, run.method, run.setting, run.seed, run.reason
