"""Finished runs side by side: settings that differ, clients, tests, curves."""

import dataclasses
import json
import math
import pathlib
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.report import style
from f3ocus_jax.sweep import formats, round_figures
from f3ocus_jax.sweep.formats import NOTHING, Cell, Number, Table
from f3ocus_jax.sweep.intervals import t_interval
from f3ocus_jax.sweep.results import RunResult, read_result
from f3ocus_jax.sweep.study import Column, Comparison, Study

RUN_FILE = "run.json"

PLACES = ("data.data_dir", "data.manual_dir", "checkpoint.directory")
"""Settings that name folders of a machine, and change no result."""

COLUMN: Column = ("runs", "")
PERCENT = 100.0


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """Comparison of runs.

    Attributes:
      tables: Tables: the runs, the settings that differ, the clients.
      verdicts: Sentence for each group after the first, on its difference from the first.
      study: The results; the method of a run is the letter of its group.
    """

    tables: list[Table]
    verdicts: list[str]
    study: Study


def compare_runs(folders: Sequence[pathlib.Path]) -> SideBySide:
    """Compares finished runs with the first of them.

    Runs whose settings differ in nothing but the seed form a group, of which means and intervals
    over seeds are taken.

    Args:
      folders: Folders of two or more runs.

    Returns:
      The comparison.

    Raises:
      ConfigError: If fewer than two runs are given, a run is given twice or leaves the test splits
        out, or no client is in all.
      DamagedError: If a file does not hold what a run writes there.
      FileNotFoundError: If a folder holds no finished run.
    """
    resolved = [folder.resolve() for folder in folders]
    repeated = [str(f) for f, r in zip(folders, resolved, strict=True) if resolved.count(r) > 1]
    if repeated:
        raise ConfigError(f"run {repeated[0]} is given twice")
    if len(folders) < 2:
        raise ConfigError(f"give the folders of two or more finished runs; {len(folders)} given")
    settings = [_read_settings(folder) for folder in folders]
    _check_tested(folders, settings)
    letters = _letters(settings)
    results = [
        read_result(folder, key=str(folder), base=COLUMN[0], method=letter, seed=given["seed"])
        for folder, letter, given in zip(folders, letters, settings, strict=True)
    ]
    study = Study(results, reference="A")
    if not study.clients(COLUMN):
        raise ConfigError("no client is in all of these runs, so nothing can be compared")
    made = [_runs(results), _settings(dict(zip(letters, settings, strict=True))), _clients(study)]
    tables = [table for table in made if table.rows]
    return SideBySide(tables, [_verdict(each, study) for each in study.compare(COLUMN)], study)


def write(found: SideBySide, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes comparison.md, the tables in every format, and the curves as PNG and SVG.

    Args:
      found: The comparison.
      folder: Output folder; created if absent.

    Returns:
      The files written.
    """
    written = [path for table in found.tables for path in formats.write_all(table, folder)]
    curves = round_figures.curves(found.study, COLUMN)
    if curves is not None:
        written += [style.save(curves, folder / f"curves{end}") for end in (".png", ".svg")]
    parts = ["# Comparison of runs", *(f"- {verdict}" for verdict in found.verdicts)]
    for table in found.tables:
        parts += [f"## {table.title}", formats.markdown(table).rstrip()]
    page = folder / "comparison.md"
    page.write_bytes(("\n\n".join(parts) + "\n").encode("utf-8", "backslashreplace"))
    return [page, *written]


def _read_settings(folder: pathlib.Path) -> dict[str, Any]:
    """Returns a run's settings by dotted name."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run (no {RUN_FILE})")
    try:
        found = _flat(json.loads(path.read_text(encoding="utf-8"))["config"])
        return {**found, "seed": int(found["seed"])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({error}): restore it, or resume the run") from error


def _check_tested(folders: Sequence[pathlib.Path], settings: Sequence[Mapping[str, Any]]) -> None:
    """Raises ConfigError for a run that has no test metrics, as runs of a tuning."""
    for folder, given in zip(folders, settings, strict=True):
        if not given.get("evaluation.test", True):
            raise ConfigError(
                f"{folder} leaves the test splits out (config.evaluation.test = False), so that "
                "there is nothing to compare: give a run of the winner"
            )


def _flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sections.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _letters(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the letter of each run's group: equal settings but for the seed, each seed once."""
    groups: list[tuple[str, set[int]]] = []
    letters = []
    for given in settings:
        alike = {k: v for k, v in given.items() if not _without_effect(k)}
        text, seed = json.dumps(alike, sort_keys=True), given["seed"]
        fitting = [i for i, (t, seeds) in enumerate(groups) if t == text and seed not in seeds]
        index = fitting[0] if fitting else len(groups)
        if index == len(groups):
            groups.append((text, set()))
        groups[index][1].add(seed)
        letters.append(index)
    if len(groups) > len(string.ascii_uppercase):
        raise ConfigError(f"{len(groups)} different runs given; at most 26 stand side by side")
    return [string.ascii_uppercase[index] for index in letters]


def _without_effect(name: str) -> bool:
    return name == "seed" or name in PLACES or name.startswith("distributed.")


def _runs(results: Iterable[RunResult]) -> Table:
    ordered = sorted(results, key=lambda run: (run.method, run.seed))
    rows = [[run.key, run.method, str(run.seed), run.chosen] for run in ordered]
    return Table("runs", "Runs", ["Folder", "Group", "Seed", "Round chosen"], rows)


def _settings(by_letter: Mapping[str, Mapping[str, Any]]) -> Table:
    """Makes the table of settings that are not equal in all groups."""
    names = dict.fromkeys(name for settings in by_letter.values() for name in settings)
    rows: list[list[Cell]] = []
    for name in names:
        values = [_shown(settings, name) for settings in by_letter.values()]
        if len(set(values)) > 1 and not _without_effect(name):
            rows.append([name, *values])
    return Table("settings", "Settings that differ", ["Setting", *by_letter], rows)


def _shown(settings: Mapping[str, Any], name: str) -> str:
    if name not in settings:
        return NOTHING
    value = settings[name]
    return value or '""' if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _clients(study: Study) -> Table:
    """Makes the table of every client: metric of each group, and difference from the first."""
    first, *others = study.arms
    header = ["Client", *(f"{arm.method} %" for arm in study.arms)]
    header += [f"{arm.method} − {first.method}" for arm in others]
    clients = study.clients(COLUMN)
    values = {arm: _by_seed(study.runs(COLUMN, arm), clients) for arm in study.arms}
    rows: list[list[Cell]] = []
    for index, client in enumerate([*clients, "mean"]):
        row: list[Cell] = [client]
        for by_seed in values.values():
            row.append(Number(t_interval([each[index] for each in by_seed.values()]), PERCENT))
        for arm in others:
            seeds = [seed for seed in values[arm] if seed in values[first]]
            differences = [values[arm][s][index] - values[first][s][index] for s in seeds]
            row.append(Number(t_interval(differences), PERCENT) if seeds else NOTHING)
        rows.append(row)
    note = "Test metric at the round that each run chose; differences in points, of equal seeds"
    return Table("clients", "Clients", header, rows, [f"{note}; ±: half of the 95 % t-interval."])


def _by_seed(runs: Sequence[RunResult], clients: Sequence[str]) -> dict[int, list[float]]:
    """Returns seed to the metric of each client, the mean last."""
    found = {run.seed: [run.clients[name].metrics["accuracy"] for name in clients] for run in runs}
    return {seed: [*values, float(np.mean(values))] for seed, values in found.items()}


def _verdict(found: Comparison, study: Study) -> str:
    """Returns what the tests say about one group and the first."""
    name = f"{found.arm.method} against A"
    if not found.pairs:
        return f"{name}: no equal seeds, so nothing is paired"
    points = f"{PERCENT * found.difference.mean:+.1f}"
    if not math.isnan(found.difference.half_width):
        points += f" ± {PERCENT * found.difference.half_width:.1f}"
    judged = "separated" if found.separated else "cannot be separated"
    text = f"{name}: {points} points over {_count(found.difference.n, 'seed')}, {judged}"
    text += f" ({found.reason})" if found.reason else ""
    return f"{text}; {_same_questions(found, study)}"


def _same_questions(found: Comparison, study: Study) -> str:
    tests = study.same_questions(COLUMN, found.arm)
    if not tests:
        return "no answers are kept for McNemar's test"
    shown = [
        f"seed {seed}: {test.only_first} against {test.only_second} of {test.n}"
        + (f", p = {test.p_mid:.3g}" if not test.reason else "")
        for seed, test in tests.items()
    ]
    return f"answers that only one has right (McNemar, mid-p): {'; '.join(shown)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
