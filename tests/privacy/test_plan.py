"""What a run spends round by round, the budget that ends it, and settings that are refused."""

import dataclasses

import numpy as np
import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import experiment, private_runs
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.privacy_plan import PrivacyPlan, count_due, make_privacy_plan
from f3ocus_jax.federation.settings import ExperimentConfig, FederatedConfig
from f3ocus_jax.importance import SCORES
from f3ocus_jax.privacy import accountant
from f3ocus_jax.privacy.accountant import Mechanism
from f3ocus_jax.privacy.settings import PrivacyConfig
from tests.helpers.configs import read_config

CLIENT = {"privacy__unit": "client", "aggregation__weights": "equal", "importance__score": "last"}


def plan(settings=None, **privacy):
    federated = FederatedConfig(**(settings or {}))
    participation = Participation(("a", "b", "c"), federated, 0)
    return PrivacyPlan(
        settings=PrivacyConfig(**{"unit": "client"} | privacy),
        participation=participation,
        examples_K=[100, 40, 8],
        planned_K=np.array([10, 4, 1], np.int32),
        batch_size=10,
        scores_every=2,
    )


def test_every_client_pays_for_the_rounds_that_it_is_meant_to_take_part_in():
    found = plan({"absent": {"a": (1, 3), "c": (1, 2, 3, 4)}}, noise_multiplier=2.0).epsilons(4)
    expected = [accountant.epsilon({Mechanism(2.0): count}, 1e-5) for count in (2, 4, 0)]
    assert found == expected
    assert found[2] == 0


def test_a_draw_of_participants_saves_only_the_rounds_that_a_client_is_not_drawn():
    """Who is drawn follows from the settings, so that the draw hides nobody."""
    drawn = plan({"participants": 1})
    rounds = [drawn.releases(index, 30)[Mechanism(1.0)] for index in range(3)]
    assert sum(rounds) == 30
    assert min(rounds) > 0


@pytest.mark.parametrize("allowed", [1, 2, 7, 12])
def test_the_budget_ends_a_run_before_the_round_that_would_exceed_it(allowed):
    most = plan().epsilons(allowed)[0]
    limited = plan(epsilon=most * (1 + 1e-9))
    assert limited.last_round(12) == allowed
    if allowed > 1:
        assert plan(epsilon=most * 0.999).last_round(12) == allowed - 1
    line = limited.describe_end(allowed, 12)
    if allowed == 12:
        assert line is None
    else:
        assert f"ended after round {allowed} of 12" in line
        assert f"{plan().epsilons(allowed + 1)[0]:.4g} at delta = 1e-05" in line


def test_a_budget_that_allows_no_round_is_refused():
    with pytest.raises(ConfigError, match=r"privacy.epsilon = 0.5, must be at least 4.38, that of"):
        plan(epsilon=0.5).last_round(3)


def test_without_privacy_there_is_no_plan():
    assert make_privacy_plan(ExperimentConfig(), [], None) is None


def test_examples_pay_for_their_client_s_steps_and_scores():
    """Steps on a Poisson sample of rate B / N, at most 1; scores without sampling."""
    found = plan({"absent": {"b": (2,)}}, unit="example", score_noise_multiplier=7.0)
    assert found.releases(0, 3) == {Mechanism(1.0, 0.1): 30, Mechanism(7.0): 2}
    assert found.releases(1, 3) == {Mechanism(1.0, 0.25): 8, Mechanism(7.0): 2}
    assert found.releases(2, 3) == {Mechanism(1.0, 1.0): 3, Mechanism(7.0): 2}
    alike = plan(unit="example", score_noise_multiplier=1.0)
    assert alike.releases(2, 3) == {Mechanism(1.0, 1.0): 5}


def test_stragglers_pay_for_the_steps_that_they_take():
    slow = plan({"stragglers": 0.999}, unit="example").releases(0, 4)
    assert slow[Mechanism(1.0, 0.1)] == 20


@pytest.mark.parametrize(
    ("rounds", "every", "count"),
    [([1, 2, 3, 4], 1, 4), ([1, 2, 3, 4, 5], 2, 3), ([2, 3, 9, 10], 3, 2), ([5], 0, 0), ([], 2, 0)],
)
def test_scores_are_counted_as_they_fall_due(rounds, every, count):
    assert count_due(rounds, every) == count


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("aggregation__rule", "median", "not of a median or a trimmed mean"),
        ("aggregation__rule", "trimmed_mean", "not of a median or a trimmed mean"),
        ("aggregation__weights", "examples", "a weight by examples would scale"),
        ("aggregation__weights", "steps", "a weight by examples would scale"),
        ("aggregation__outliers", "drop", "depends on every client"),
        ("aggregation__max_weight_share", 0.5, "every client counts once"),
        ("aggregation__clip_norm", 1.0, "config.privacy.clip is the limit"),
        ("importance__score", "lntk", "would change the layers of the others"),
        ("secure_aggregation__enabled", True, "the server must clip every update"),
    ],
)
def test_settings_that_break_client_level_privacy_are_refused_in_one_line(name, value, reason):
    changed = {name: value, "secure_aggregation__single_sharers": True}
    if name == "aggregation__rule":
        changed["aggregation__weights"] = "examples"
    with pytest.raises(ConfigError, match=reason) as caught:
        read_config("tiny", **CLIENT | changed)
    assert "\n" not in str(caught.value)
    assert " must be " in str(caught.value)


EXAMPLE = {"privacy__unit": "example", "importance__lntk__kernel": "loss"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("training__precision", "bfloat16", "must not exceed the limit by rounding"),
        ("importance__score", "snip", "no bound is known for another"),
        ("importance__score", "fedselect", "no bound is known for another"),
        ("importance__lntk__kernel", "outputs", "not all of its outputs"),
        ("importance__lntk__warm_start", True, "keep no eigenvectors"),
    ],
)
def test_settings_that_break_example_level_privacy_are_refused_in_one_line(name, value, reason):
    assert read_config("tiny", **EXAMPLE).privacy.unit == "example"
    with pytest.raises(ConfigError, match=reason) as caught:
        read_config("tiny", **EXAMPLE | {name: value})
    assert "\n" not in str(caught.value)


def test_two_adapters_that_teach_each_other_are_refused_for_examples():
    with pytest.raises(ConfigError, match="two branches are not clipped together"):
        read_config("tiny_feddat", **EXAMPLE)


@pytest.mark.parametrize(
    "changed",
    [
        {"limits__minimum_coverage": 1},
        {"limits__maximum_coverage": 3},
        {"importance__relative": True},
    ],
)
def test_own_choices_from_data_stay_each_client_s_own(changed):
    own = CLIENT | {"importance__score": "lntk", "selection__algorithm": "own"}
    assert read_config("tiny", **own).privacy.unit == "client"
    with pytest.raises(ConfigError, match="would change the layers of the others"):
        read_config("tiny", **own | changed)


def test_the_default_has_no_privacy_and_needs_no_condition():
    assert ExperimentConfig().privacy.unit == "none"
    assert list(private_runs.conditions(ExperimentConfig())) == []


def test_scores_that_need_no_data_are_those_of_their_module():
    of_module = {
        name
        for name, component in SCORES.items()
        if getattr(component.make, "__module__", "").endswith("without_data")
    }
    assert set(private_runs.WITHOUT_DATA) == of_module


@pytest.mark.extended
def test_a_run_ends_well_at_its_budget(tmp_path, data_dir, capsys):
    config = read_config("tiny", data_dir, **CLIENT, privacy__secret_seed="x")
    config = dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, every=9))
    budget = plan().epsilons(1)[0] * 1.01
    privacy = dataclasses.replace(config.privacy, epsilon=budget)
    federated = dataclasses.replace(config.federated, rounds=3)
    config = dataclasses.replace(config, privacy=privacy, federated=federated)
    records = experiment.run(config, tmp_path, with_figures=False)
    assert [record.round for record in records] == [0, 1]
    assert (records[0].epsilon, records[0].delta) == (None, None)
    assert records[1].epsilon == pytest.approx(plan().epsilons(1)[0])
    assert records[1].delta == 1e-5
    assert records[1].clients[0].epsilon == records[1].epsilon
    assert records[1].accuracy is not None
    said = " ".join(capsys.readouterr().out.split())
    assert "ended after round 1 of 3: with the next round epsilon would be " in said
    assert f"epsilon {records[1].epsilon:.4g} at delta 1e-05" in said
    assert (tmp_path / "model" / "config.json").is_file()
    table = (tmp_path / "table.md").read_text()
    assert "Epsilon" in table
    assert "docs/privacy.md says what it covers" in table
    again = experiment.run(config, tmp_path, with_figures=False)
    assert [record.to_json() for record in again] == [record.to_json() for record in records]
