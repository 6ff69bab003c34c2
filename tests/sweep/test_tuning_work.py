"""Work on a sweep that tunes: order, takeover and interrupts, counts, and its report."""

import contextlib
import dataclasses
import itertools
import types

import pytest

from f3ocus_jax.report import record_files
from f3ocus_jax.sweep import collecting, marks, overview, sweep_file, worker
from f3ocus_jax.sweep.plan import make_plan
from f3ocus_jax.sweep.report import write_report
from f3ocus_jax.types import RoundRecord
from tests.helpers.sweep_plans import sweep_of
from tests.helpers.tuned_sweeps import RATES, fail, final, finish, tuned
from tests.helpers.unread_tests import watch_test_examples
from tfds_medvqa.common import owner_lock

BOTH = ("f3ocus", "fd")
GOOD = {("f3ocus", RATES[0]): 0.3, ("fd", RATES[2]): 0.4}
"""(method, learning rate) to result on validation; the others have 0.1."""


@pytest.fixture
def federation(monkeypatch):
    """A federation that only notes its settings, and stops before the runs in `interrupts`."""
    seen, interrupts = [], set()

    def run(config, folder, *, with_figures):
        method = "fd" if config.importance.score == "random" else "f3ocus"
        rate, tested = config.training.learning_rate, config.evaluation.test
        if len(seen) in interrupts:
            interrupts.remove(len(seen))
            raise worker.Interrupted(2)
        seen.append((method, rate, config.seed, tested))
        value = GOOD.get((method, rate), 0.1)
        record = RoundRecord(0, 0.5 if tested else None, None, [], None, {}, validation=value)
        record_files.rewrite_records(folder / "records.jsonl", [record])
        return [record]

    monkeypatch.setattr(worker.experiment, "run", run)
    return types.SimpleNamespace(seen=seen, interrupts=interrupts)


SWEEP = tuned(methods=BOTH, seeds=(0, 1))
TUNING = [(method, rate, 1000, False) for method in BOTH for rate in RATES]
WINNERS = [(*pair, seed, True) for seed in (0, 1) for pair in GOOD]


def test_all_candidates_are_tried_once_then_the_winners_run_with_all_seeds(federation, tmp_path):
    worker.work(make_plan(SWEEP, tmp_path), lambda line: None)
    assert federation.seen == TUNING + WINNERS
    worker.work(make_plan(SWEEP, tmp_path), lambda line: None)
    assert len(federation.seen) == 10


@pytest.mark.parametrize("place", [0, 3, 5, 6, 9])
def test_an_interrupted_sweep_goes_on_where_it_was(place, federation, tmp_path):
    federation.interrupts.add(place)
    with pytest.raises(worker.Interrupted):
        worker.work(make_plan(SWEEP, tmp_path), lambda line: None)
    assert len(federation.seen) == place
    worker.work(make_plan(SWEEP, tmp_path), lambda line: None)
    assert federation.seen == TUNING + WINNERS


def test_a_worker_does_the_runs_of_a_decided_cell_while_others_are_tuned(federation, tmp_path):
    plan = make_plan(SWEEP, tmp_path)
    held = [run for run in plan if run.cell.method == "fd"]
    (tmp_path / marks.LEASES).mkdir()
    with contextlib.ExitStack() as stack:
        for run in held:
            stack.enter_context(owner_lock.held(marks.lease_of(run, tmp_path)))
        worker.work(plan, lambda line: None, wait=False)
    assert federation.seen == [
        *(each for each in TUNING if each[0] == "f3ocus"),
        *(each for each in WINNERS if each[0] == "f3ocus"),
    ]
    worker.work(plan, lambda line: None)
    assert sorted(federation.seen) == sorted(TUNING + WINNERS)


def test_the_plan_and_the_status_tell_tuning_and_winners_apart(tmp_path):
    plan = make_plan(SWEEP, tmp_path)
    lines = overview.plan_lines(plan, 1)
    assert lines[0] == (
        f"{plan[0].key}  left      "
        "phantom:tiny f3ocus tuning training.learning_rate=0.001 seed 1000"
    )
    assert lines[6].split(maxsplit=1) == ["waits", "phantom:tiny f3ocus seed 0: waits for tuning"]
    assert (
        "6 tuning runs: 0 finished, 0 failed, 6 left; each method: 3 candidates × 1 seed = 3 runs"
    ) in lines
    assert "4 runs of the winners: 0 finished, 0 failed, 4 left, 4 wait for tuning" in lines
    for run in plan:
        if run.cell.method == "fd":
            fail(run, tmp_path, "no memory")
        else:
            finish(run, tmp_path, 0.5)
    plan = plan.renewed()
    finish(final(plan)[0], tmp_path, 0.5)
    lines = overview.status_lines(plan)
    reason = "all 3 candidates failed in tuning: no memory"
    assert f"failed: phantom:tiny fd seed 0: {reason}" in lines
    assert "4 runs of the winners: 1 finished, 2 failed, 1 left" in lines
    assert "time left: 9 s with 1 worker, from the runs that are finished" in lines


def test_time_left_counts_the_runs_that_wait_for_tuning(tmp_path):
    plan = make_plan(SWEEP, tmp_path)
    finish(plan[0], tmp_path, 0.5)
    lines = overview.status_lines(plan)
    assert "time left: 1 min 21 s with 1 worker, from the runs that are finished" in lines  # 9 runs


def test_a_sweeps_folder_keeps_its_tuning(tmp_path):
    values = {
        "training": {"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}},
        "federated": {"budgets": ((1,), (2, 1))},
    }
    for search in (SWEEP, tuned(tuning={"search": "random", "values": values, "trials": 4})):
        sweep_file.write(search, tmp_path)
        assert (
            make_plan(sweep_file.read(tmp_path), tmp_path).runs == make_plan(search, tmp_path).runs
        )
    old = {k: v for k, v in dataclasses.asdict(sweep_of()).items() if k != "tuning"}
    marks.write(tmp_path, sweep_file.SWEEP_FILE, old)
    assert sweep_file.read(tmp_path) == sweep_of()


def test_the_report_has_every_candidate_with_the_budget_and_the_winner(tmp_path):
    sweep = tuned(methods=(*BOTH, "snip"), tuning={"seeds": (7, 8)})
    plan = make_plan(sweep, tmp_path)
    for run in plan:
        rate = run.config.training.learning_rate
        if (run.cell.method, rate) == ("f3ocus", RATES[2]):
            fail(run, tmp_path, "no | memory")
        elif run.cell.method != "snip":
            finish(run, tmp_path, GOOD.get((run.cell.method, rate), 0.1))
    tuning = collecting.collect_tuning(plan.renewed())
    text = write_report([], tmp_path / "report", tuning=tuning).read_text(encoding="utf-8")
    assert "## Tuning, phantom:tiny" in text
    assert "| Candidate | FD % | SNIP % | F³OCUS % |" in text
    row = "| training.learning_rate="
    assert f"{row}0.001 | 10.0 ± 0.0 | – | **30.0 ± 0.0** |" in text
    assert f"{row}0.004 | **40.0 ± 0.0** | – | failed |" in text
    assert (
        "Budget of each method: 3 candidates × 2 seeds = 6 runs, by grid search; seeds of the "
        "tuning: 7, 8."
    ) in text
    plain = text.replace("\\", "")
    assert "F³OCUS: training.learning_rate=0.004 is out, since a run failed: no | memory" in plain
    assert "SNIP: tuning is not finished." in plain
    shuffled = dataclasses.replace(tuning, arms=tuning.arms[::-1])
    again = write_report([], tmp_path / "again", tuning=shuffled)
    assert again.read_bytes() == text.encode()
    assert list((tmp_path / "report").glob("tables/tuning_1.*"))
    write_report([], tmp_path / "report")
    assert not list((tmp_path / "report").glob("tables/tuning_1.*"))


def test_tuning_runs_are_no_results_and_undecided_runs_are_missing(tmp_path):
    plan = make_plan(SWEEP, tmp_path)
    assert [run.tunes for run in plan] == [True] * 6
    results, missing = collecting.collect(plan)
    assert results == []
    assert [(run.method, run.seed, run.reason) for run in missing] == [
        (method, seed, "waits for tuning") for seed in (0, 1) for method in BOTH
    ]


@pytest.mark.extended
def test_test_examples_are_read_by_the_runs_of_winners_alone(tmp_path, monkeypatch):
    looks = watch_test_examples(monkeypatch)
    sweep = tuned(
        methods=("f3ocus", "last_k"),
        rates=(1e-3, 1e-2),
        seeds=(0, 1),
        settings={
            "data": {"data_dir": str(tmp_path / "data")},
            "federated": {"rounds": 1},
            "selection": {"generations": 2},
        },
    )
    plan = make_plan(sweep, tmp_path)
    read_by = {}

    def say(line):
        read_by[line.partition("] ")[2]] = list(looks)
        looks.clear()

    worker.work(plan, say)
    say("] end")
    names = list(read_by)
    # What a run has read is noted as the next one starts.
    noted = {run: read_by[after] for run, after in itertools.pairwise(names)}
    assert len(noted) == 8
    assert {run: bool(read) for run, read in noted.items()} == {
        run: "tuning" not in run for run in noted
    }
    plan = make_plan(sweep, tmp_path)
    results, missing = collecting.collect(plan)
    assert missing == []
    assert [(run.method, run.setting, run.seed) for run in results] == [
        (method, "", seed) for seed in (0, 1) for method in ("f3ocus", "last_k")
    ]
    first = collecting.write_report(plan).read_bytes()
    assert collecting.write_report(make_plan(sweep, tmp_path)).read_bytes() == first
    assert b"each method: 2 candidates \xc3\x97 1 seed = 2 runs" in first
