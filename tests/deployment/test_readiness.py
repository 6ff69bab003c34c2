"""The check of a site before it joins, and the log of what leaves it."""

import dataclasses

import pytest

from f3ocus_jax.deployment import outbound, readiness, server_run, site_run
from f3ocus_jax.deployment.threads import Threads
from f3ocus_jax.errors import DataError
from tests.helpers.deployments import HOSPITALS, of_server, of_site, write_hospitals


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder)
    return folder


def test_the_trial_is_of_one_site_that_takes_part_in_every_round(root):
    settings = {
        "federated__budgets": (1, 2, 1),
        "federated__participants": 2,
        "federated__dropout": 0.5,
        "federated__min_clients": 3,
        "limits__minimum_sharers": 2,
    }
    config = of_site(root, "Bern", **settings)
    trial = readiness.trial_settings(config)
    assert trial.deployment.sites == ("Bern",)
    assert (trial.federated.budgets, trial.federated.rounds) == ((2,), readiness.ROUNDS)
    assert (trial.federated.min_clients, trial.federated.dropout) == (1, 0)
    assert trial.limits.minimum_sharers == 1
    assert (trial.training, trial.importance) == (config.training, config.importance)


def test_a_site_whose_data_are_absent_is_not_ready(root, tmp_path):
    config = of_site(root, "Bern", data__datasets=(f"files:{tmp_path / 'nowhere'}",))
    with pytest.raises((DataError, ValueError), match="nowhere"):
        readiness.check_site(config)


@pytest.mark.extended
def test_a_site_plays_rounds_of_its_own_and_is_measured(root):
    masks = {"secure_aggregation__enabled": True, "limits__minimum_sharers": 2}
    config = of_site(root, "Bern", **masks)
    checks = {check.name: check for check in readiness.check_site(config)}
    assert "train" in checks["data"].result
    assert {"tokenizer", "architecture of the model", "files of the start weights"} <= set(checks)
    for stage in ("score", "train", "evaluate"):
        allowed = getattr(config.deployment, f"{stage}_seconds")
        assert checks[f"time to {stage}"].result.endswith(f"of {allowed:.0f} s")
    assert all(check.is_good for check in checks.values())
    hurried = dataclasses.replace(config.deployment, train_seconds=1e-9)
    found = readiness.check_site(dataclasses.replace(config, deployment=hurried))
    assert [check.name for check in found if not check.is_good] == ["time to train"]


@pytest.mark.extended
def test_the_log_of_a_site_has_every_message_that_reached_the_server(root, tmp_path):
    sites, reached = {}, {name: [] for name in HOSPITALS}
    for name in HOSPITALS:
        sites[name] = site_run.open_site(of_site(root, name), tmp_path / name)

    def answer_of(name):
        def answer(task):
            reached[name].append(sites[name].answer(task))
            return reached[name][-1]

        return answer

    with Threads({name: answer_of(name) for name in HOSPITALS}) as transport:
        config = of_server(root, federated__rounds=1)
        records = server_run.run(config, tmp_path / "server", transport, with_figures=False)
    for index, name in enumerate(HOSPITALS):
        lines = outbound.read(tmp_path / name)
        assert [line.bytes for line in lines] == [len(data) for data in reached[name]]
        kinds = [line.kind for line in lines]
        assert kinds == ["join", "ready", "metrics", "scores", "update", "metrics"]
        assert lines[4].layers == records[-1].clients[index].layers
        sites[name].close()
