"""Planned size of a sweep: operations by task and family, hours at an assumed share of the peak."""

import pytest

from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.planned_costs import RunFlops
from f3ocus_jax.sweep import hours
from f3ocus_jax.sweep.plan import make_plan
from f3ocus_jax.sweep.settings import SweepConfig
from tests.helpers.sweep_plans import sweep_of

TASKS = ("task1", "task4")


@pytest.fixture
def counted(monkeypatch):
    """Configs that are counted, each of which takes 3.6e18 operations, in place of real counts."""
    seen = []

    def count_run(config, clients, *, answers, findings):
        seen.append((config, len(clients), answers, findings))
        return RunFlops(2e18, 1e18, 0.6e18)

    monkeypatch.setattr(hours, "count_run", count_run)
    return seen


def test_hours_are_operations_by_share_and_peak(counted, tmp_path):
    runs = make_plan(sweep_of(bases=TASKS, methods=("f3ocus", "fd"), seeds=(0, 1)), tmp_path)
    lines = hours.hour_lines(runs, [0.5])
    assert "H200 at 50%, h | TPU v4-8 at 50%, h" in lines[0]
    # 3.6e18 operations are 1 000 PFLOP · 3.6, and at half of 989e12 per second 2.0 hours.
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells[:5] == ["task1", "4", "2,000", "1,000", "600"]
    assert cells[5:] == ["3,600 (3,600 to 3,600)", "2 (8.1)", "1.8 (7.3)"]
    assert lines[4].startswith("| all | 8 | 2,000 | 1,000 | 600 | 3,600 ")
    assert "not measured" in lines[6]


def test_runs_that_differ_by_their_seed_are_counted_once(counted, tmp_path):
    runs = make_plan(sweep_of(bases=TASKS, methods=("f3ocus", "fd"), seeds=(0, 1, 2)), tmp_path)
    hours.count_columns(runs)
    assert [each[1:] for each in counted] == [(5, 3129, 0)] * 2 + [(4, 0, 15)] * 2


def test_runs_that_cannot_be_counted_are_named(tmp_path):
    sweep = sweep_of(bases=("task1",), families=("llava",), methods=("bias", "last_k"))
    sizes, problems = hours.count_columns(make_plan(sweep, tmp_path))
    assert [len(size.runs) for size in sizes] == [1]
    assert problems == [
        "not counted: task1 llava bias, 1 runs: config.training.unit = 'bias': the selectable "
        "blocks of this model have no bias"
    ]
    with pytest.raises(ConfigError, match=r"no run of this sweep can be counted: .*phantom_medvqa"):
        hours.hour_lines(make_plan(sweep_of(), tmp_path))


def test_the_study_of_the_paper_has_every_method_task_and_family(tmp_path):
    sweep = parsing.parse(SweepConfig, shipped.read("sweeps/paper"))
    assert len(sweep.methods) == 13 + 8 - 1
    assert (len(sweep.bases), len(sweep.families), len(sweep.seeds)) == (6, 4, 5)
    few = sweep_of(bases=("task3", "task6"), families=("vilt",), methods=("last_k",))
    sizes, problems = hours.count_columns(make_plan(few, tmp_path))
    assert (len(sizes), problems) == (2, [])
    # ViLT-B/32 at 384 px has 88 million parameters and 185 tokens: 33 GFLOP forward, more backward.
    per_example = sizes[1].runs[0].evaluation / (31 * 8192)
    assert per_example == pytest.approx(33e9, rel=0.05)
