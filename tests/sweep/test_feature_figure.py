"""The t-SNE of features: its numbers against scikit-learn's, its panels, and equal pictures."""

import dataclasses
import sys

import numpy as np
import pytest
from sklearn import metrics, neighbors

from f3ocus_jax.evaluation.features import Features, write
from f3ocus_jax.sweep import feature_figure, figures
from f3ocus_jax.sweep.plan import make_plan
from f3ocus_jax.sweep.report import write_report
from f3ocus_jax.sweep.run_config import hash_settings
from f3ocus_jax.sweep.study import Study
from tests.helpers.sweep_plans import sweep_of
from tests.helpers.sweep_results import make_results

COLUMN = ("task1", "vilt")
METHODS = {"f3ocus": 0.1, "lntk": 0.09, "fd": 0.0, "last_k": 0.01}


def drawn_features(seed=0, clients=3, examples=8, answers=3):
    draw = np.random.default_rng(seed)
    client_N = np.repeat(np.arange(clients, dtype=np.int32), examples)
    labels_N = draw.integers(0, answers, len(client_N)).astype(np.int32)
    before_ND = client_N[:, None] + draw.normal(size=(len(client_N), 6))
    after_ND = labels_N[:, None] + draw.normal(size=(len(client_N), 6))
    names = tuple(f"client {index}" for index in range(clients))
    return Features(names, client_N, labels_N, np.float32(before_ND), np.float32(after_ND))


def with_features(results, folder, **sizes):
    kept = []
    for index, run in enumerate(results):
        (folder / run.key).mkdir(exist_ok=True)
        path = write(drawn_features(index, **sizes), folder / run.key)
        kept.append(dataclasses.replace(run, features=path))
    return kept


@pytest.fixture(autouse=True)
def quick_embedding(request, monkeypatch):
    """The first two features in place of t-SNE, which takes most of the time."""
    if "real_embedding" not in request.fixturenames:
        monkeypatch.setattr(feature_figure, "embed", lambda features_ND: features_ND[:, :2])


@pytest.fixture
def real_embedding():
    """Leaves t-SNE in its place."""


def test_equal_features_give_equal_points_and_constant_ones_none(real_embedding):
    features_ND = drawn_features().after_ND
    points_N2 = feature_figure.embed(features_ND)
    assert points_N2.shape == (24, 2)
    assert np.isfinite(points_N2).all()
    np.testing.assert_array_equal(points_N2, feature_figure.embed(features_ND.copy()))
    np.testing.assert_array_equal(feature_figure.embed(np.ones((9, 4))), np.zeros((9, 2)))
    apart = np.repeat(np.eye(3) * 100, 10, axis=0) + np.random.default_rng(0).normal(size=(30, 3))
    clients = np.repeat(np.arange(3), 10)
    assert feature_figure.silhouette(feature_figure.embed(apart), clients) > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_silhouette_is_that_of_scikit_learn(seed):
    found = drawn_features(seed)
    for features_ND in (found.before_ND, found.after_ND):
        expected = metrics.silhouette_score(np.float64(features_ND), found.client_N)
        assert feature_figure.silhouette(features_ND, found.client_N) == pytest.approx(expected)
    sizes = np.array([0] * 23 + [5])  # a client with one example
    expected = metrics.silhouette_score(np.float64(found.after_ND), sizes)
    assert feature_figure.silhouette(found.after_ND, sizes) == pytest.approx(expected)
    assert feature_figure.silhouette(found.after_ND, np.zeros(24)) is None
    assert feature_figure.silhouette(found.after_ND, np.arange(24)) == 0
    # Neighbours at 1, the others at 9 to 11: (19/21 + 17/19 + 17/19 + 19/21) / 4.
    four_ND = np.float32([[0], [1], [10], [11]])
    found_of_four = feature_figure.silhouette(four_ND, np.array([0, 0, 1, 1]))
    assert found_of_four == pytest.approx((19 / 21 + 17 / 19) / 2)
    assert feature_figure.silhouette(np.ones((4, 2)), np.array([0, 0, 1, 1])) == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_accuracy_of_neighbours_is_that_of_scikit_learn(seed):
    found = drawn_features(seed)
    right = []
    for index in range(24):
        others = np.arange(24) != index
        nearest = neighbors.KNeighborsClassifier(5, algorithm="brute")
        nearest.fit(np.float64(found.after_ND[others]), found.labels_N[others])
        voted = nearest.predict(np.float64(found.after_ND[[index]]))
        right.append(voted[0] == found.labels_N[index])
    assert feature_figure.neighbour_accuracy(found.after_ND, found.labels_N) == np.mean(right)


def test_examples_without_an_answer_are_no_neighbours():
    features_ND = np.float32([[0], [1], [2], [3], [4], [5], [0.1]])
    labels_N = np.array([1, 1, 1, 1, 1, 1, -1])
    assert feature_figure.neighbour_accuracy(features_ND, labels_N) == 1.0
    assert feature_figure.neighbour_accuracy(features_ND, np.full(7, -1)) is None
    assert feature_figure.neighbour_accuracy(features_ND[:5], labels_N[:5]) is None


def test_a_panel_for_the_start_and_each_of_the_papers_methods(tmp_path):
    runs = with_features(make_results(METHODS, seeds=(0, 1)), tmp_path)
    figure = feature_figure.draw(Study(runs), COLUMN)
    titles = [axes.get_title(loc="left").split("\n") for axes in figure.axes]
    assert [title[0] for title in titles] == ["start", "F³OCUS", "FD", "Last-k"]
    reference = drawn_features([run.method for run in runs].index("f3ocus"))
    apart = feature_figure.silhouette(reference.after_ND, reference.client_N)
    answered = feature_figure.neighbour_accuracy(reference.after_ND, reference.labels_N)
    assert titles[1][1] == f"clients {apart:.2f}, answers {answered:.0%}"
    assert figure.get_suptitle() == "task1 vilt, seed 0: t-SNE of 24 test examples by client"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["client 0", "client 1", "client 2"]
    assert all(len(axes.collections) == 3 for axes in figure.axes)


def test_the_seed_is_one_that_most_methods_have(tmp_path):
    first, second = make_results({"f3ocus": 0.1, "fd": 0.0}, seeds=(0, 1)), tmp_path
    kept = [
        run if (run.method, run.seed) == ("fd", 0) else with_features([run], second)[0]
        for run in first
    ]
    assert ", seed 1:" in feature_figure.draw(Study(kept), COLUMN).get_suptitle()
    without = [dataclasses.replace(run, features=None) for run in kept]
    assert feature_figure.draw(Study(without), COLUMN) is None
    few = with_features(first, tmp_path, clients=1, examples=5)
    assert feature_figure.draw(Study(few), COLUMN) is None


def test_a_report_without_scikit_learn_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "write_all", lambda study, folder: [tmp_path / "curves_1.png"])
    runs = make_results({"f3ocus": 0.1, "fd": 0.0}, seeds=(0,))
    kept = with_features(runs, tmp_path)
    assert "t-SNE" not in write_report(kept, tmp_path / "with").read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert feature_figure.draw(Study(kept), COLUMN) is None
    text = write_report(kept, tmp_path / "without").read_text(encoding="utf-8")
    assert text.count(feature_figure.MISSING) == 1
    assert "t-SNE" not in write_report(runs, tmp_path / "none").read_text(encoding="utf-8")


@pytest.mark.extended
def test_equal_features_give_equal_bytes(tmp_path, real_embedding):
    runs = with_features(make_results(METHODS, seeds=(0,)), tmp_path)
    for name in ("first", "second"):
        write_report(runs, tmp_path / name)
    pictures = ["features_1.png", "features_1.svg"]
    for name in pictures:
        first = (tmp_path / "first" / "figures" / name).read_bytes()
        assert first == (tmp_path / "second" / "figures" / name).read_bytes()
    text = (tmp_path / "first" / "report.md").read_text(encoding="utf-8")
    assert "![features_1](figures/features_1.png)" in text


def test_keeping_features_names_no_other_run(tmp_path):
    (run,) = make_plan(sweep_of(), tmp_path)
    evaluation = dataclasses.replace(run.config.evaluation, features=50)
    assert hash_settings(dataclasses.replace(run.config, evaluation=evaluation)) == run.key
