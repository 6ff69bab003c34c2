"""Clients that find diseases go through a federation, alone and beside clients that answer."""

import itertools
import json

import chex
import jax
import numpy as np
import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import answer_formats, answering, findings_f1
from f3ocus_jax.evaluation.answering import Answer
from f3ocus_jax.federation import experiment, run_folder, runs
from f3ocus_jax.models import base
from f3ocus_jax.models.huggingface import directory as huggingface
from tests.helpers.configs import read_config, without_times
from tests.tfds_medvqa import medmnist_files
from tfds_medvqa.common.findings import FINDINGS
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import Builder, MedVQAConfig

FINDERS = ["open_i/reports 1 of 2", "open_i/reports 2 of 2"]


@pytest.fixture(scope="module")
def mixed(data_dir, tmp_path_factory):
    """Task 6: three clients that answer questions and two that find diseases, two rounds."""
    workdir = tmp_path_factory.mktemp("mixed")
    return workdir, experiment.run(read_config("tiny", data_dir, task="task6"), workdir)


@pytest.mark.extended
def test_a_mixed_federation_measures_each_client_by_its_own_task(mixed):
    _, records = mixed
    for record in records:
        for client in record.clients:
            finds = client.client in FINDERS
            assert ("f1_micro" in client.test) == ("f1_macro" in client.test) == finds
            assert ("accuracy" in client.test) != finds
            assert len(client.thresholds) == (len(FINDINGS) if finds else 0)
    mains = [c.test.get("accuracy", c.test.get("f1_micro")) for c in records[-1].clients]
    assert records[-1].accuracy == pytest.approx(np.mean(mains))
    for client in records[-1].clients:
        np.testing.assert_allclose(sum(client.scores), 1.0, rtol=1e-5)
        assert max(client.residuals) < 1e-3
        assert len(client.layers) == client.budget
        assert np.isfinite(client.train_loss)


@pytest.mark.slow
def test_a_mixed_run_resumed_after_the_first_round_is_the_whole_run(mixed, data_dir, tmp_path):
    _, whole = mixed
    experiment.run(read_config("tiny", data_dir, task="task6", federated__rounds=1), tmp_path)
    assert without_times(
        experiment.run(read_config("tiny", data_dir, task="task6"), tmp_path)
    ) == without_times(whole)


@pytest.mark.extended
def test_the_table_and_the_partition_name_both_tasks(mixed):
    workdir, _ = mixed
    heading = (workdir / "table.md").read_text().splitlines()[0]
    assert all(name in heading for name in ("F1 micro %", "F1 macro %", "Closed %", "Final %"))
    table = json.loads((workdir / "table.json").read_text())
    heads = {client["client"]: client["head_parameters"] for client in table["clients"]}
    assert len(set(heads.values())) == 2
    assert {name for name in heads if heads[name] == heads[FINDERS[0]]} == set(FINDERS)
    partition = json.loads((workdir / "partition.json").read_text())
    splits = {client["name"]: list(client["examples"]) for client in partition["clients"]}
    assert splits[FINDERS[0]] == ["train", "test", "validation"]
    assert splits["slake/english"] == ["train", "test", "validation"]


@pytest.mark.extended
def test_the_model_of_a_mixed_run_is_written_with_both_heads(mixed):
    workdir, _ = mixed
    saved = run_folder.load_model(workdir, 2)
    foundation, params = saved.foundation, saved.params
    exported = huggingface.load(workdir / "model", key=jax.random.key(0))
    chex.assert_trees_all_equal(exported.params, params)
    assert (exported.answers, exported.findings) == (foundation.answers, FINDINGS)
    assert exported.params["head"].keys() == {"answers", "findings"}
    turned = tuple(reversed(FINDINGS))
    other = huggingface.load(workdir / "model", key=jax.random.key(0), findings=turned)
    kernels = [w.params["head"]["findings"]["answers"]["kernel"] for w in (exported, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1][:, ::-1])


def probabilities(foundation, params, split):
    """Probability of every finding, float64 [examples, F], from the model's own outputs."""
    logits_NC = base.apply(foundation.model, params, split.batch(np.arange(len(split))))
    return 1 / (1 + np.exp(-np.asarray(logits_NC, np.float64)[:, -len(FINDINGS) :]))


def f1(present, targets):
    """F1 by counting, where -1 is a target that nobody labelled."""
    labelled = targets >= 0
    hits = np.sum(present & (targets == 1))
    return 2 * hits / max(np.sum(present & labelled) + np.sum(targets == 1), 1)


def best_threshold(values, targets):
    """The highest of the best ones among all that lie between two probabilities."""
    values, targets = values[targets >= 0], targets[targets >= 0]
    if not (targets == 1).any():
        return findings_f1.NEVER
    ends = [*np.unique(values)[::-1], 0.0]
    tried = [(first + second) / 2 for first, second in itertools.pairwise(ends)]
    reached = [f1(values >= cut, targets) for cut in tried]
    return tried[int(np.argmax(reached))]


@pytest.mark.extended
def test_recorded_thresholds_follow_from_the_checkpoint_and_the_validation_examples(
    mixed, data_dir
):
    workdir, records = mixed
    saved = run_folder.load_model(workdir, 2)
    foundation, params = saved.foundation, saved.params
    clients = experiment.assemble(read_config("tiny", data_dir, task="task6")).federation.clients
    chosen = 0
    for client, recorded in zip(clients, records[-1].clients, strict=True):
        assert client.name == recorded.client
        if client.name not in FINDERS:
            assert recorded.thresholds == []
            continue
        values_NF = probabilities(foundation, params, client.validation)
        targets_NF = client.validation.targets_NF
        pairs = zip(values_NF.T, targets_NF.T, strict=True)
        thresholds_F = np.array([best_threshold(*pair) for pair in pairs])
        np.testing.assert_allclose(recorded.thresholds, thresholds_F, rtol=1e-5)
        chosen += np.sum(thresholds_F < findings_f1.NEVER)
        for split, measured in (
            (client.test, recorded.test),
            (client.validation, recorded.validation),
        ):
            present_NF = probabilities(foundation, params, split) >= thresholds_F
            assert measured["f1_micro"] == pytest.approx(f1(present_NF, split.targets_NF))
    assert chosen > 0


@pytest.mark.extended
def test_prediction_says_what_is_present_by_a_client_s_thresholds(mixed):
    workdir, records = mixed
    finished = runs.load(workdir, 2)
    first = finished.thresholds(FINDERS[0])
    assert first.tolist() == records[-1].clients[3].thresholds
    both = np.array([client.thresholds for client in records[-1].clients[3:]])
    mean = finished.thresholds()
    for finding, values in enumerate(both.T):
        known = values[values < findings_f1.NEVER]
        expected = known.mean() if len(known) else findings_f1.NEVER
        np.testing.assert_allclose(mean[finding], expected)
    with pytest.raises(ConfigError, match="has no thresholds; choose open_i/reports 1 of 2"):
        finished.thresholds("slake/english")
    pixels_HWC = np.full((40, 30, 3), 128, np.uint8)
    for answer in finished.answer(pixels_HWC, ["the lungs are clear", "?"], client=FINDERS[0]):
        assert set(answer.findings) == set(FINDINGS)
        assert list(answer.findings.values()) == sorted(answer.findings.values(), reverse=True)
        names = run_folder.read_run(workdir).findings
        limits = dict(zip(names, first, strict=True))
        assert answer.present == tuple(f for f, p in answer.findings.items() if p >= limits[f])
        assert next(iter(answer.probabilities)) == answer.text
    probabilities_F = jax.nn.sigmoid(np.array([0.0, 2.0, -2.0]))
    found = answering.find(np.asarray(probabilities_F), "abc", np.array([0.5, 0.9, 0.1]))
    lines = list(answer_formats.describe(Answer("", {}, *found), decoding=""))
    assert [line.split() for line in lines] == [
        ["88.1%", "absent", "b"],
        ["50.0%", "present", "a"],
        ["11.9%", "present", "c"],
    ]


@pytest.mark.extended
def test_a_head_is_trained_by_the_clients_of_its_task_alone(data_dir):
    absent = dict.fromkeys(FINDERS, (1,))
    parts = experiment.assemble(
        read_config("tiny", data_dir, task="task6", federated__absent=absent)
    )
    state, _, _ = experiment.next_round(parts, parts.start, parts.memory)
    changed = {
        name: not all(
            np.array_equal(*pair)
            for pair in zip(
                *(jax.tree.leaves(each.head[name]) for each in (parts.start, state)), strict=True
            )
        )
        for name in ("answers", "findings")
    }
    assert changed == {"answers": True, "findings": False}


@pytest.fixture
def chestmnist(tmp_path, monkeypatch):
    """A federation of made-up files in the layout of ChestMNIST: its config and their record."""
    _, record = medmnist_files.write(tmp_path / "files", "chestmnist")
    known = {"sources": ("chestmnist",), "records": {"chestmnist": record}}
    made = MedVQAConfig(name="made_up", findings=True, **known)
    monkeypatch.setitem(Builder.builder_configs, "made_up", made)
    monkeypatch.setattr(Builder, "BUILDER_CONFIGS", [*Builder.BUILDER_CONFIGS, made])
    settings = {
        "data__datasets": ("medvqa_fl/made_up",),
        "data__manual_dir": str(tmp_path / "files"),
        "federated__rounds": 1,
    }
    return read_config("tiny", tmp_path / "data", task="task4", **settings), record


def test_chestmnist_s_layout_becomes_clients_that_find_diseases(chestmnist):
    config, record = chestmnist
    parts = experiment.assemble(config)
    assert list(parts.foundation.findings) == list(record.labels)
    assert parts.federation.clients
    for client in parts.federation.clients:
        assert client.train.batch(np.arange(1)).targets_BF.shape == (1, len(record.labels))


@pytest.mark.extended
def test_chestmnist_s_layout_trains_end_to_end(chestmnist, tmp_path):
    config, record = chestmnist
    records = experiment.run(config, tmp_path / "run")
    assert len(records) == 2
    for client in records[1].clients:
        assert len(client.thresholds) == len(record.labels) == 14
        assert 0 <= client.test["f1_macro"] <= 1
    assert run_folder.read_run(tmp_path / "run").findings == list(record.labels)


RUNS = {
    ("task1", "tiny_llava_snip"): pytest.mark.slow,
    ("task2", "tiny_albef_fd"): pytest.mark.slow,
    ("task4", "tiny"): pytest.mark.extended,
    ("task4", "tiny_blip_lntk"): pytest.mark.slow,
    ("task5", "tiny_albef_last_k"): pytest.mark.slow,
    ("task5", "tiny_llava_fishmask"): pytest.mark.slow,
    ("task6", "tiny_blip_spt"): pytest.mark.slow,
    ("task6", "tiny_llava"): pytest.mark.slow,
}
"""Some of all combinations of task, family and method; `test_tasks.py` reads every config."""


@pytest.mark.parametrize(
    ("task", "variant"), [pytest.param(*run, marks=marks) for run, marks in RUNS.items()]
)
def test_a_tiny_variant_trains_end_to_end(task, variant, data_dir, tmp_path):
    records = experiment.run(
        read_config(variant, data_dir, task=task, federated__rounds=1), tmp_path
    )
    assert [record.round for record in records] == [0, 1]
    assert all(np.isfinite(client.train_loss) for client in records[1].clients)
    saved = run_folder.load_model(tmp_path, 1)
    foundation, params = saved.foundation, saved.params
    exported = huggingface.load(tmp_path / "model", key=jax.random.key(0))
    chex.assert_trees_all_equal(exported.params, params)
    assert exported.findings == foundation.findings
    if task in ("task4", "task5"):
        assert exported.params["head"].keys() == {"findings"}
        assert all("f1_micro" in client.test for client in records[1].clients)
