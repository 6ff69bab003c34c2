"""How clients rank and use their layers: means over rounds and seeds, and the figures of them."""

import dataclasses

import numpy as np
import pytest

from f3ocus_jax.sweep import layer_use, layer_use_figures
from f3ocus_jax.sweep.study import Study
from f3ocus_jax.types import ClientRecord, RoundRecord
from tests.helpers.sweep_results import make_results

COLUMN = ("task1", "vilt")


def client(name, scores, own, trained, ranks=()):
    metrics = {"accuracy": 0.5}
    return ClientRecord(name, 9, 1, None, [], [], scores, own, trained, 0.5, metrics, list(ranks))


def record(number, *clients):
    return RoundRecord(number, 0.5, 1.0, list(clients), None, {})


RECORDS = [
    record(0, client("ct", [], [], []), client("mri", [], [], [])),
    record(
        1,
        client("ct", [0.7, 0.2, 0.1], [0], [1], ranks=[1, 0, 2]),
        client("mri", [0.2, 0.3, 0.5], [2], [2]),
    ),
    record(
        2,
        client("ct", [0.1, 0.2, 0.7], [2], [1]),  # without the server's ranks: chosen first
        client("mri", [0.2, 0.3, 0.5], [2], [0]),
    ),
]


def test_the_ranks_and_shares_of_a_run_are_means_over_its_rounds():
    found = layer_use.of_records(RECORDS)
    assert found.clients == ("ct", "mri")
    np.testing.assert_allclose(found.own_ranks_KL, [[2, 2, 2], [3, 2, 1]])
    np.testing.assert_allclose(found.refined_ranks_KL, [[2.5, 1, 2.5], [2, 2.5, 1.5]])
    np.testing.assert_allclose(found.own_KL, [[0.5, 0, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(found.trained_KL, [[0, 1, 0], [0.5, 0, 0.5]])


def test_a_run_in_which_a_client_scores_nothing_has_none():
    assert layer_use.of_records(RECORDS[:1]) is None
    without = [record(1, RECORDS[1].clients[0], client("mri", [], [], [0]))]
    assert layer_use.of_records(without) is None


def test_the_mean_over_runs_needs_the_same_clients_and_layers():
    found = layer_use.of_records(RECORDS)
    other = dataclasses.replace(found, own_KL=found.own_KL + 1)
    np.testing.assert_allclose(layer_use.mean([found, other]).own_KL, found.own_KL + 0.5)
    assert layer_use.mean([]) is None
    assert layer_use.mean([found, dataclasses.replace(found, clients=("ct", "us"))]) is None


@pytest.fixture
def study():
    found = layer_use.of_records(RECORDS)
    shifted = dataclasses.replace(found, trained_KL=1 - found.trained_KL)
    first, second, other, _ = make_results({"f3ocus": 0.1, "fd": 0.0}, seeds=(0, 1))
    kept = [dataclasses.replace(first, layer_use=found)]
    kept.append(dataclasses.replace(second, layer_use=shifted))
    return Study([*kept, other])


def test_the_heatmaps_show_the_reference_before_and_after(study):
    before, after, _ = layer_use_figures.ranks(study, COLUMN).axes
    found = layer_use.of_records(RECORDS)
    np.testing.assert_allclose(before.images[0].get_array(), found.own_ranks_KL)
    np.testing.assert_allclose(after.images[0].get_array(), found.refined_ranks_KL)
    assert [tick.get_text() for tick in before.get_yticklabels()] == ["ct", "mri"]
    assert [text.get_text() for text in before.texts] == ["2", "2", "2", "3", "2", "1"]


def test_the_histogram_counts_clients_in_the_mean_over_seeds(study):
    before, after = layer_use_figures.pick_histogram(study, COLUMN).axes
    assert [bar.get_height() for bar in before.patches] == [0.5, 0, 1.5]
    np.testing.assert_allclose([bar.get_height() for bar in after.patches], [1, 1, 1])
    np.testing.assert_allclose(after.lines[0].get_ydata(), 1)


def test_results_without_layer_use_have_no_such_figures():
    for results in (make_results({"f3ocus": 0.1}), make_results({"fd": 0.0})):
        assert layer_use_figures.ranks(Study(results), COLUMN) is None
        assert layer_use_figures.pick_histogram(Study(results), COLUMN) is None
