"""Report of a sweep: its words, its files, and equal bytes for equal results."""

import dataclasses
import random

import numpy as np
import pytest

from f3ocus_jax.sweep import figures, rank_diagram, round_figures
from f3ocus_jax.sweep.report import write_report
from f3ocus_jax.sweep.results import MissingRun
from f3ocus_jax.sweep.study import Study
from tests.helpers.sweep_results import make_results, with_setting

COLUMN = ("task1", "vilt")
FEW = {"f3ocus": 0.1, "lntk": 0.09, "fd": 0.0}
MISSING = [
    MissingRun("task1", "vilt", "snip", "", 4, "out of memory | lower the batch"),
    MissingRun("task1", "vilt", "fd", "", 3, "not run yet"),
]


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def no_figures(monkeypatch):
    """Leaves the drawing out, which takes most of a report's time."""
    monkeypatch.setattr(figures, "write_all", lambda study, folder: [])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(make_results(FEW, seeds=(0, 1)), folder, missing=MISSING)
    return folder


def test_equal_results_give_equal_bytes_in_any_order(written, tmp_path):
    runs = make_results(FEW, seeds=(0, 1))
    shuffled = random.Random(1).sample(runs, len(runs))
    write_report(shuffled, tmp_path, missing=reversed(MISSING))
    assert contents(tmp_path) == contents(written)


def test_the_report_says_what_is_not_separated_and_what_is_missing(tmp_path, no_figures):
    text = write_report(make_results(), tmp_path, missing=MISSING).read_text(encoding="utf-8")
    assert "30 runs finished, 2 failed or are missing." in text
    assert "- task1 vilt: 5 seeds of FD, SNIP, LNTK, Full, LoRA, F³OCUS" in text
    assert "not separated from F³OCUS: LNTK, Full; worse than F³OCUS: FD, SNIP, LoRA." in text
    assert "- task1 vilt, SNIP, seed 4: out of memory \\| lower the batch" in text
    assert "By ranks over 5 clients, Friedman's test gives p < 0.001" in text.replace("\\", "")
    assert "observation" not in text


def test_runs_that_are_missing_for_one_reason_are_one_line(tmp_path, no_figures):
    reasons = {"no file": (("fd", (1, 2)), ("snip", (0,))), "no memory": (("fd", (0,)),)}
    missing = [
        MissingRun("task1", "vilt", method, "", seed, reason)
        for reason, runs in reasons.items()
        for method, seeds in runs
        for seed in seeds
    ]
    text = write_report(make_results(FEW), tmp_path, missing=missing).read_text(encoding="utf-8")
    said = text.partition("Without a result:\n\n")[2].partition("\n\n")[0].splitlines()
    assert said == [
        "- task1 vilt, FD, seed 0: no memory",
        "- task1 vilt, FD, seeds 1, 2; SNIP, seed 0: no file",
    ]


def test_every_file_that_the_report_shows_exists(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    shown = [line.split("](")[1][:-1] for line in text.splitlines() if line.startswith("![")]
    assert shown == [
        f"figures/{name}.png" for name in ("curves_1", "costs_1", "picks_1", "critical_difference")
    ]
    for name in shown:
        assert (written / name).read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (written / name.replace(".png", ".svg")).read_bytes()


def test_one_seed_is_called_an_observation(tmp_path, no_figures):
    text = write_report(make_results(seeds=(0,)), tmp_path).read_text(encoding="utf-8")
    assert "A result with one seed is an observation" in text
    assert "FD not tested (one seed: an observation)" in text


def test_a_report_without_results_or_reference_says_so(tmp_path, no_figures):
    text = write_report([], tmp_path, missing=MISSING).read_text(encoding="utf-8")
    assert "0 runs finished, 2 failed or are missing." in text
    assert "There are no results." in text
    text = write_report(make_results({"fd": 0.0}), tmp_path).read_text(encoding="utf-8")
    assert "no run of the reference F³OCUS, so nothing is compared." in text


def test_a_new_report_leaves_no_file_of_the_old_one(tmp_path, no_figures):
    write_report(make_results({"f3ocus": 0.1, "lora": 0.0, "fd": 0.0}, seeds=(0, 1)), tmp_path)
    (tmp_path / "tables" / "own.md").touch()
    (tmp_path / "figures").mkdir()
    for name in ("curves_2.png", "critical_difference.svg", "own.png"):
        (tmp_path / "figures" / name).touch()
    write_report(make_results({"fd": 0.0}, seeds=(0, 1)), tmp_path)
    names = {path.name for path in tmp_path.rglob("*.md")}
    assert names == {"report.md", "table_1_layer_selection.md", "own.md"}
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["own.png"]


def test_names_from_configs_cannot_break_the_report(tmp_path, no_figures):
    runs = [
        dataclasses.replace(run, base="a|b\n# c $x$", setting="<b>&_%", method="own method")
        for run in make_results({"fd": 0.0}, seeds=(0, 1))
    ]
    text = write_report(runs, tmp_path).read_text(encoding="utf-8")
    assert "\n# c" not in text
    assert "own method (\\<b\\>\\&_%)" in text


def test_curves_have_a_band_over_seeds_and_none_for_one():
    axes = round_figures.curves(Study(make_results({"f3ocus": 0.1})), COLUMN).axes[0]
    runs = make_results({"f3ocus": 0.1})
    expected = np.mean([run.rounds for run in runs], axis=0)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), expected)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() < expected.min()
    assert band.max() > expected.max()
    alone = round_figures.curves(Study(make_results({"f3ocus": 0.1}, seeds=(0,))), COLUMN).axes[0]
    drawn = [path for each in alone.collections for path in each.get_paths()]
    assert not any(np.isfinite(path.vertices).all() and len(path.vertices) > 1 for path in drawn)


def test_rounds_that_were_not_measured_are_left_out_of_the_curves():
    runs = make_results({"f3ocus": 0.1}, seeds=(0, 1), rounds=4)
    gaps = [dataclasses.replace(r, rounds=[r.rounds[0], np.nan, *r.rounds[2:]]) for r in runs]
    assert list(round_figures.curves(Study(gaps), COLUMN).axes[0].lines[0].get_xdata()) == [
        0,
        2,
        3,
        4,
    ]
    none = [dataclasses.replace(run, rounds=()) for run in runs]
    assert round_figures.curves(Study(none), COLUMN) is None


def test_losses_have_a_panel_each_and_among_many_methods_the_reference_alone_has_a_band():
    runs = [
        dataclasses.replace(run, losses=[2.0, 1.0 + run.seed], train_losses=[np.nan, 0.5])
        for run in make_results(seeds=(0, 1))
    ]
    left, right = round_figures.losses(Study(runs), COLUMN).axes
    assert [list(axes.lines[0].get_xdata()) for axes in (left, right)] == [[1], [0, 1]]
    np.testing.assert_allclose(right.lines[0].get_ydata(), [2.0, 1.5])
    assert len(right.lines) == 6
    assert len(right.collections) == 1
    few = [run for run in runs if run.method in ("f3ocus", "fd")]
    assert len(round_figures.losses(Study(few), COLUMN).axes[1].collections) == 2
    assert round_figures.losses(Study(make_results()), COLUMN) is None


def test_the_front_over_methods_joins_those_that_nothing_beats():
    study = Study(make_results({"f3ocus": 0.1, "fd": 0.0, "lora": 0.05}))
    left, _ = figures.costs(study, COLUMN).axes
    assert [round(float(x), 6) for x in left.lines[0].get_xdata()] == [10, 15]
    unknown = [dataclasses.replace(run, costs={}) for run in make_results({"fd": 0.0})]
    assert figures.costs(Study(unknown), COLUMN) is None


def test_picks_are_means_over_seeds_of_the_methods_that_select():
    runs = make_results({"f3ocus": 0.1, "full": 0.1, "fd": 0.0}, seeds=(0, 1))
    image = figures.picks(Study(runs), COLUMN).axes[0].images[0].get_array()
    expected = np.mean([run.picks for run in runs if run.method == "fd"], axis=0)
    assert image.shape == (2, 12)
    np.testing.assert_allclose(image[0], expected)
    assert figures.picks(Study(make_results({"full": 0.1})), COLUMN) is None


def test_the_rank_diagram_names_every_method_and_bars_what_is_not_separated():
    study = Study(make_results())
    axes = rank_diagram.draw(study).axes[0]
    shown = " ".join(text.get_text() for text in axes.texts)
    assert all(arm.title in shown for arm in study.arms)
    thick = [line for line in axes.lines if line.get_linewidth() > 3]
    assert len(thick) == len(study.compare_ranks().groups) == 3
    assert rank_diagram.draw(Study(make_results({"f3ocus": 0.1, "fd": 0.0}))) is None


def test_an_arm_with_a_setting_has_a_look_of_its_own():
    runs = make_results({"f3ocus": 0.1}, seeds=(0, 1))
    changed = [with_setting(run, "selection.algorithm=sa") for run in runs]
    lines = round_figures.curves(Study([*runs, *changed]), COLUMN).axes[0].lines
    assert len({line.get_color() for line in lines}) == 2
