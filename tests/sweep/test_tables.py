"""Tables of a sweep in every format."""

import csv
import dataclasses
import io
import math

import pytest

from f3ocus_jax.federation.presets import METHODS
from f3ocus_jax.sweep import formats, paper_figures, tables
from f3ocus_jax.sweep.arms import PEFT, TITLES
from f3ocus_jax.sweep.formats import Number, Table
from f3ocus_jax.sweep.intervals import Interval, t_interval
from f3ocus_jax.sweep.study import Study
from tests.helpers.sweep_results import make_results, with_setting

COLUMN = ("task1", "vilt")
HOSTILE = "a|b*c_d\\e\n=<script> & 50 % $x$ #1 {y} ~^"


def cells(table, title):
    """Heading to cell of one row."""
    row = next(row for row in table.rows if row[0] == title)
    return dict(zip(table.header, row, strict=True))


def parsed(table):
    return list(csv.DictReader(io.StringIO(formats.comma_separated(table))))


def test_every_method_has_a_title_and_a_unit():
    assert set(METHODS) == set(TITLES)
    assert set(PEFT) <= set(METHODS)


def test_table_1_has_means_over_clients_and_seeds_beside_the_papers():
    study = Study(make_results())
    table = tables.layer_selection(study)
    assert [row[0] for row in table.rows] == ["FD", "SNIP", "LNTK", "F³OCUS"]
    ours = cells(table, "F³OCUS")["task1 vilt %"]
    expected = t_interval([run.accuracy for run in make_results() if run.method == "f3ocus"])
    assert (ours.value, ours.best) == (expected, True)
    assert cells(table, "F³OCUS")["task1 vilt, paper %"].value.mean == 40.85
    assert "n = 5 seeds in every cell." in table.notes


def test_what_cannot_be_separated_is_marked():
    table = tables.layer_selection(Study(make_results({"f3ocus": 0.1, "lntk": 0.1, "fd": 0.0})))
    marks = {row[0]: row[1].mark for row in table.rows}
    assert marks == {"FD": "", "LNTK": "same", "F³OCUS": ""}
    assert "†: cannot be separated from F³OCUS." in table.notes
    one = tables.layer_selection(Study(make_results(seeds=(0,))))
    assert {row[1].mark for row in one.rows} == {"untested", ""}
    assert "n = 1 seed in every cell: observations without intervals." in one.notes


def test_a_task_that_a_method_lacks_is_an_empty_cell():
    runs = [*make_results({"f3ocus": 0.1, "fd": 0.0}), *make_results({"fd": 0.0}, bases=("task2",))]
    assert cells(tables.layer_selection(Study(runs)), "F³OCUS")["task2 vilt %"] == formats.NOTHING


def test_table_2_has_costs_and_clients_beside_the_papers():
    table = tables.peft(Study(make_results()), COLUMN, 1)
    assert [row[0] for row in table.rows] == [
        *("Full", "Full, paper", "LoRA", "LoRA, paper", "F³OCUS", "F³OCUS, paper")
    ]
    ours, paper = cells(table, "LoRA"), cells(table, "LoRA, paper")
    assert (ours["MBit"].parts()[0], ours["Param (M)"].parts()[0]) == ("40", "0.3")
    assert (paper["MBit"].parts()[0], paper["vqa_med_2019 %"].value.mean) == ("19.5", 60.18)
    assert paper["Overall %"].value.mean == 35.09
    assert ours["slake %"].value.n == 5
    assert tables.peft(Study(make_results({"f3ocus": 0.1})), COLUMN, 1) is None


def test_searches_are_compared_by_accuracy_hypervolume_and_seconds():
    runs = make_results({"f3ocus": 0.1, "fd": 0.0})
    changed = [
        with_setting(run, "selection.algorithm=exact", algorithm="exact", hypervolume=0.9)
        for run in runs
        if run.method == "f3ocus"
    ]
    assert tables.searches(Study(runs), COLUMN, 1) is None
    table = tables.searches(Study([*runs, *changed]), COLUMN, 1)
    assert [row[0] for row in table.rows] == ["nsga2", "exact"]
    first, second = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert first["Hypervolume"].value.mean == pytest.approx(0.72)
    assert (second["Hypervolume"].best, first["Hypervolume"].best) == (True, False)
    assert first["s / round"].value.mean == pytest.approx(2.2)
    assert first["s compiling"].value.mean == pytest.approx(3.0)


def test_the_comparisons_name_both_tests_and_the_verdict():
    table = next(t for t in tables.make_all(Study(make_results())) if t.name == "comparisons_1")
    found = cells(table, "FD")
    assert found["Separated"] == "yes"
    assert found["Difference, points"].value.mean < 0
    assert (found["p, pairs"], found["Pairs"]) == ("< 0.001", "25")
    assert len(found["McNemar p by seed"].split(", ")) == 5
    one = next(
        t for t in tables.make_all(Study(make_results(seeds=(0,)))) if t.name == "comparisons_1"
    )
    assert cells(one, "FD")["Separated"] == "no (one seed: an observation)"


def test_each_format_escapes_what_it_would_act_on():
    table = Table("x", "X", ["Method", HOSTILE], [[HOSTILE, "1"], ["=1+1", "@x"]])
    _, _, row, _ = formats.markdown(table).splitlines()
    assert row.startswith("| a\\|b\\*c_d\\\\e\\\\n=\\<script\\> \\& 50 % \\$x\\$")
    latex = formats.latex(table)
    assert (
        r"a$|$b{*}c\_d\textbackslash{}e\textbackslash{}n=$<$script$>$ \& 50 \% \$x\$ \#1 \{y\} "
        in latex
    )
    first, second = parsed(table)
    assert first["Method"] == HOSTILE.replace("\n", "\\n")
    assert (second["Method"], list(second.values())[1]) == ("'=1+1", "'@x")


def test_numbers_have_intervals_in_every_format():
    best = Number(Interval(0.625, 0.6, 0.65, 5), 100.0, best=True, mark="same")
    alone = Number(Interval(0.25, math.nan, math.nan, 1, "one value: an interval needs two"), 100.0)
    table = Table("x", "X", ["Method", "A %"], [["a", best], ["b", alone], ["c", ""]])
    lines = formats.markdown(table).splitlines()
    assert lines[2:] == ["| a | **62.5 ± 2.5** † |", "| b | 25.0 |", "| c | – |"]
    latex = formats.latex(table)
    assert r"a & \textbf{62.5} $\pm$ 2.5$^{\dagger}$ \\" in latex
    assert "c & -- \\\\" in latex
    first, second, third = parsed(table)
    assert [float(first[f"A %{part}"]) for part in ("", " low", " high", " n")] == [62.5, 60, 65, 5]
    assert first["A % note"] == "not separated from the reference"
    assert (second["A % low"], second["A % note"]) == ("", "one value: an interval needs two")
    assert third["A %"] == ""


def test_large_numbers_are_written_out():
    assert Number(Interval(3915.2, math.nan, math.nan, 1), digits=None).parts() == ("3915", "")


def test_the_papers_tables_are_its_own():
    assert len(paper_figures.TABLE_1) == 13 * 6 * 2
    assert paper_figures.TABLE_1["lntk", 4, "blip"] == 65.40
    for method in ("promptfl", "f3ocus"):  # the two rows whose "overall" is the mean of the clients
        row = paper_figures.TABLE_2[method]
        clients = [row[name] for name in paper_figures.TABLE_2_COLUMNS[3:-1]]
        assert sum(clients) / 5 == pytest.approx(row["overall"], abs=0.01)


def test_published_results_stand_beside_the_same_task_alone():
    assert paper_figures.task_of("task1:real2") is None
    runs = [dataclasses.replace(run, base="task1:tiny") for run in make_results()]
    study = Study(runs)
    assert "task1:tiny vilt, paper %" not in tables.layer_selection(study).header
    assert not any("paper" in row[0] for row in tables.peft(study, ("task1:tiny", "vilt"), 1).rows)


def test_a_table_is_written_in_every_format(tmp_path):
    table = tables.layer_selection(Study(make_results()))
    written = formats.write_all(table, tmp_path / "tables")
    assert [path.name for path in written] == [
        f"table_1_layer_selection.{ending}" for ending in ("md", "tex", "csv")
    ]
    assert "| F³OCUS |" in written[0].read_text(encoding="utf-8")
    assert r"F$^{3}$OCUS" in written[1].read_text(encoding="utf-8")
