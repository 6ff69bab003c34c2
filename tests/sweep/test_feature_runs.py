"""From runs that keep features to the picture in their sweep's report."""

import numpy as np
import pytest

from f3ocus_jax.evaluation import features
from f3ocus_jax.evaluation.features import FEATURES_FILE
from f3ocus_jax.federation import experiment
from f3ocus_jax.sweep import collecting, worker
from f3ocus_jax.sweep.plan import make_plan
from tests.helpers.sweep_plans import sweep_of


def sweep(data_dir, **evaluation):
    settings = {"federated": {"rounds": 1}, "data": {"data_dir": str(data_dir)}}
    return sweep_of(methods=("f3ocus", "last_k"), settings=settings | {"evaluation": evaluation})


@pytest.mark.extended
def test_runs_that_keep_features_have_their_picture_in_the_report(tmp_path):
    plan = make_plan(sweep(tmp_path / "data", features=4), tmp_path / "sweep")
    worker.work(plan, lambda line: None)
    first, second = (
        features.read(run.folder(plan.workdir) / FEATURES_FILE).before_ND for run in plan
    )
    np.testing.assert_array_equal(first, second)  # The start, on the same examples.
    page = collecting.write_report(plan).read_text(encoding="utf-8")
    assert "![features_1](figures/features_1.png)" in page
    figures = plan.workdir / collecting.REPORT / "figures"
    assert "Last-k" in (figures / "features_1.svg").read_text(encoding="utf-8")


@pytest.mark.extended
def test_a_finished_run_gets_features_when_it_is_asked_again(tmp_path):
    (run, *_) = make_plan(sweep(tmp_path / "data"), tmp_path)
    (asked, *_) = make_plan(sweep(tmp_path / "data", features=4), tmp_path)
    records = experiment.run(run.config, tmp_path / "run", with_figures=False)
    assert not (tmp_path / "run" / FEATURES_FILE).exists()
    again = experiment.run(asked.config, tmp_path / "run", with_figures=False)
    assert [record.accuracy for record in again] == [record.accuracy for record in records]
    assert len(features.read(tmp_path / "run" / FEATURES_FILE).client_N) == 4 * 9
