"""A sweep's plan: every run once, named by its settings, with clear errors."""

import dataclasses

import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.sweep import run_config
from f3ocus_jax.sweep.plan import make_plan
from f3ocus_jax.sweep.run_config import FOUNDATION, hash_settings
from tests.helpers.sweep_plans import sweep_of


def test_every_combination_is_planned_once_and_seed_by_seed(tmp_path):
    sweep = sweep_of(
        methods=("f3ocus", "fd"),
        seeds=(3, 4),
        settings={"federated": {"rounds": 5}},
        grid={"training": {"learning_rate": (1e-3, 1e-4)}},
        rows=({"importance": {"probe_examples": 5}}, {"importance": {"probe_examples": 6}}),
    )
    runs = make_plan(sweep, tmp_path)
    assert [run.seed for run in runs] == [3] * 8 + [4] * 8
    found = {
        (
            run.cell.method,
            run.config.training.learning_rate,
            run.config.importance.probe_examples,
            run.seed,
        )
        for run in runs
    }
    assert len(found) == len({run.key for run in runs}) == 16
    assert {run.config.federated.rounds for run in runs} == {5}
    assert {run.config.importance.score for run in runs if run.cell.method == "fd"} == {"random"}
    assert "training.learning_rate=0.001 importance.probe_examples=5" in str(runs[0])


def test_runs_of_equal_settings_are_one_run(tmp_path):
    sweep = sweep_of(grid={"federated": {"rounds": (2, 2)}})
    assert len(make_plan(sweep, tmp_path)) == 1


def test_a_seed_or_method_more_leaves_the_other_runs_their_names(tmp_path):
    few = {run.key for run in make_plan(sweep_of(), tmp_path)}
    more = make_plan(sweep_of(methods=("f3ocus", "snip"), seeds=(0, 1)), tmp_path)
    assert few < {run.key for run in more}
    assert len(more) == 4


def test_a_run_is_named_by_what_can_change_its_results(tmp_path):
    (run,) = make_plan(sweep_of(), tmp_path)

    def changed(section, **values):
        part = dataclasses.replace(getattr(run.config, section), **values)
        return hash_settings(dataclasses.replace(run.config, **{section: part}))

    assert changed("data", data_dir="/elsewhere") == run.key
    assert changed("data", question_length=7) != run.key
    assert changed("training", batch_size=7) != run.key
    assert hash_settings(dataclasses.replace(run.config, seed=9)) != run.key


def test_a_version_with_more_settings_leaves_runs_their_names(tmp_path, monkeypatch):
    (run,) = make_plan(sweep_of(), tmp_path)
    settings = run_config.parsing.flatten(run.config)

    def named_without(name):
        fewer = {key: value for key, value in settings.items() if key != name}
        with monkeypatch.context() as patch:
            patch.setattr(run_config.parsing, "flatten", lambda config: fewer)
            return hash_settings(run.config)

    # One whose default keeps what was done before, and one whose default does not.
    assert named_without("importance.shuffled") == run.key
    assert named_without("data.validation_share") != run.key


def test_the_folder_of_a_sweep_may_move_with_the_weights_that_it_made(tmp_path):
    sweep = sweep_of(foundation="pretrain:tiny")
    (here,) = make_plan(sweep, tmp_path / "here")
    (there,) = make_plan(sweep, tmp_path / "there")
    assert here.config.model.weights == str(tmp_path / "here" / FOUNDATION)
    assert here.key == there.key
    assert here.key != make_plan(sweep_of(), tmp_path)[0].key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("snipp",)}, r"config.methods = \('snipp',\), must be of lntk"),
        ({"families": ("bert",)}, r"config.families = \('bert',\), must be of albef"),
        ({"methods": ()}, "config.methods = .*must be one or more, each once"),
        ({"seeds": (1, 1)}, "config.seeds = .*must be one or more, each once"),
        ({"seeds": (-1,)}, "config.seeds = .*at least 0"),
        ({"grid": {"training": {"batch_size": 3}}}, "config.grid = .*must be a tuple"),
        ({"grid": {"training": {"batch_size": ()}}}, "config.grid = .*must be a tuple"),
        (
            {"settings": {"training": {"learning_rat": 1.0}}},
            r"run phantom:tiny f3ocus seed 0: config.training.learning_rat is unknown; did you "
            r"mean .*training.learning_rate",
        ),
        ({"settings": {"federated": 3}}, "config.federated = 3, must be of type ConfigDict"),
        ({"settings": {"training": {"batch_size": 0}}}, "config.training.batch_size = 0"),
        ({"settings": {"training": {"batch_size": "x"}}}, "batch_size = 'x', must be of type int"),
        ({"bases": ("phantm",)}, "run phantm f3ocus seed 0: 'phantm' is neither"),
        ({"bases": ("phantom:huge",)}, "unknown variant 'huge'"),
    ],
)
def test_a_wrong_sweep_is_refused_before_any_run(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        make_plan(sweep_of(**changes), tmp_path)
