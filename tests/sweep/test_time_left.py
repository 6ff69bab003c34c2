"""The time left of a sweep: compiling once per cell, rounds that are done, and workers."""

import pytest

from f3ocus_jax.sweep import marks, overview, time_left
from f3ocus_jax.sweep.plan import make_plan
from tests.helpers.sweep_plans import sweep_of


@pytest.fixture
def runs(tmp_path):
    return make_plan(sweep_of(seeds=(0, 1, 2, 3)), tmp_path)


def finish(run, workdir, **seconds):
    marks.write(run.folder(workdir), marks.FINISHED, seconds)


def test_nothing_is_known_before_a_run_is_finished(runs, tmp_path):
    assert time_left.seconds_left(runs, tmp_path) is None
    assert overview.status_lines(runs)[-1] == ("time left: unknown until the first run is finished")


def test_runs_take_the_median_of_alike_ones_without_compiling(runs, tmp_path):
    finish(runs[0], tmp_path, seconds=600.0, compiling=500.0)
    assert time_left.seconds_left(runs, tmp_path) == 300.0
    finish(runs[1], tmp_path, seconds=60.0, compiling=0.0)
    assert time_left.seconds_left(runs, tmp_path) == 160.0


def test_marks_of_earlier_versions_say_nothing_of_compiling(runs, tmp_path):
    finish(runs[0], tmp_path, seconds=90.0)
    assert time_left.seconds_left(runs, tmp_path) == 270.0


def test_workers_take_whole_runs(runs, tmp_path):
    """Of three runs one of two workers does two, and one of four workers none."""
    finish(runs[0], tmp_path, seconds=90.0, compiling=0.0)
    assert time_left.seconds_left(runs, tmp_path, 2) == 180.0
    assert time_left.seconds_left(runs, tmp_path, 4) == 90.0
    assert "time left: 3 min 00 s with 2 workers, from the runs that are finished" in (
        overview.plan_lines(runs, 2)
    )


def test_every_cell_compiles_once(tmp_path):
    runs = list(make_plan(sweep_of(methods=("f3ocus", "fd"), seeds=(0, 1, 2)), tmp_path))
    finish(runs[0], tmp_path, seconds=50.0, compiling=40.0)
    other = sum(run.cell != runs[0].cell for run in runs)
    assert other == 3
    assert time_left.seconds_left(runs, tmp_path) == 2 * 10.0 + 3 * 10.0 + 40.0
    waiting = [runs[0].cell, next(run.cell for run in runs if run.cell != runs[0].cell)]
    assert time_left.seconds_left(runs, tmp_path, undecided=waiting) == 90.0 + 20.0


def test_rounds_that_are_done_count(runs, tmp_path):
    finish(runs[0], tmp_path, seconds=30.0, compiling=0.0)
    rounds = runs[1].config.federated.rounds
    for run, done in ((runs[1], 1), (runs[2], rounds)):
        run.folder(tmp_path).mkdir(parents=True)
        (run.folder(tmp_path) / "records.jsonl").write_text("{}\n" * (1 + done))
    expected = 30.0 * (rounds - 1) / rounds + 30.0
    assert time_left.seconds_left(runs, tmp_path) == pytest.approx(expected)
