"""Each task has its own metric, and thresholds do not depend on test examples."""

import dataclasses

import jax
import numpy as np
import pytest

from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.evaluation import client_metrics, correctness, findings_f1, inference
from tests.helpers.oracles import toy_batch, toy_model

ANSWERS, FINDINGS = 2, 3
MODEL = toy_model(answers=ANSWERS + FINDINGS)
PARAMS = MODEL.init(jax.random.key(0))
PREDICT = inference.make_predict(MODEL, loss="cross_entropy", batch_size=4, placement_name="map")


def split(count, seed, *, finds):
    batch = toy_batch(count, answers=ANSWERS, seed=seed)
    drawn_NF = np.random.default_rng(seed).integers(0, 2, (count, FINDINGS))
    kinds = ["closed" if place % 2 else "open" for place in range(count)]
    return Examples(
        batch.images_BHWC,
        batch.input_ids_BT,
        batch.attention_mask_BT,
        np.full(count, -1, np.int32) if finds else batch.labels_B,
        *(kinds,) * 5,
        targets_NF=(drawn_NF if finds else np.full_like(drawn_NF, -1)).astype(np.int8),
    )


def client(name, *, finds, seed):
    parts = [split(count, seed + count, finds=finds) for count in (6, 9, 7)]
    return ClientData(name, parts[0], parts[1], parts[2] if finds else None)


ASKED, FINDER = client("asks", finds=False, seed=10), client("finds", finds=True, seed=20)


def test_clients_of_both_tasks_are_measured_together_as_alone():
    clients = [FINDER, ASKED, client("other", finds=True, seed=30)]
    together = client_metrics.evaluate_clients(PREDICT, PARAMS, clients)
    alone = [client_metrics.evaluate_clients(PREDICT, PARAMS, [each])[0] for each in clients]
    assert together[0].thresholds != together[2].thresholds
    for one, other in zip(together, alone, strict=True):
        assert one.test == pytest.approx(other.test, abs=1e-6)
        assert one.thresholds == pytest.approx(other.thresholds, abs=1e-6)
    assert {"f1_micro", "f1_macro", "exact_match", "loss"} <= together[0].test.keys()
    assert {"accuracy", "closed", "open", "loss"} <= together[1].test.keys()
    assert (together[0].test["examples"], together[1].test["examples"]) == (9, 9)
    assert together[1].thresholds == []
    assert (together[0].correct, together[2].correct) == ("", "")
    bits_N = correctness.unpack(together[1].correct)
    assert (len(bits_N), bits_N.mean()) == (9, pytest.approx(together[1].test["accuracy"]))


def test_thresholds_are_the_best_of_validation_and_never_see_test_examples():
    (found,) = client_metrics.evaluate_clients(PREDICT, PARAMS, [FINDER])
    outputs = PREDICT(PARAMS, FINDER.validation)
    expected = findings_f1.best_thresholds(outputs.findings_NF, FINDER.validation.targets_NF)
    np.testing.assert_allclose(found.thresholds, expected)

    turned = dataclasses.replace(FINDER.test, targets_NF=1 - FINDER.test.targets_NF)
    (again,) = client_metrics.evaluate_clients(
        PREDICT, PARAMS, [dataclasses.replace(FINDER, test=turned)]
    )
    assert again.thresholds == found.thresholds
    assert again.test["f1_micro"] != found.test["f1_micro"]

    turned = dataclasses.replace(FINDER.validation, targets_NF=1 - FINDER.validation.targets_NF)
    (other,) = client_metrics.evaluate_clients(
        PREDICT, PARAMS, [dataclasses.replace(FINDER, validation=turned)]
    )
    assert other.thresholds != found.thresholds


def test_the_loss_is_the_mean_over_test_examples_with_a_label():
    targets_NF = FINDER.test.targets_NF.copy()
    targets_NF[[0, 4]] = -1
    test = dataclasses.replace(FINDER.test, targets_NF=targets_NF)
    (found,) = client_metrics.evaluate_clients(
        PREDICT, PARAMS, [dataclasses.replace(FINDER, test=test)]
    )
    losses_N = np.delete(PREDICT(PARAMS, test).losses_N, [0, 4])
    assert found.test["loss"] == pytest.approx(np.mean(losses_N), rel=1e-6)


def test_a_client_that_finds_diseases_needs_validation_examples():
    with pytest.raises(ValueError, match="client finds has no validation examples"):
        client_metrics.evaluate_clients(
            PREDICT, PARAMS, [dataclasses.replace(FINDER, validation=None)]
        )


def test_validation_is_measured_as_a_test_split_of_the_same_examples_is():
    asked = dataclasses.replace(ASKED, validation=split(5, 40, finds=False))
    for client in (asked, FINDER):
        swapped = dataclasses.replace(client, test=client.validation)
        (found,) = client_metrics.evaluate_clients(PREDICT, PARAMS, [client])
        (expected,) = client_metrics.evaluate_clients(PREDICT, PARAMS, [swapped])
        assert found.validation == pytest.approx(expected.test, abs=1e-6)
        assert found.validation["examples"] == len(client.validation) != found.test["examples"]
    (alone,) = client_metrics.evaluate_clients(PREDICT, PARAMS, [ASKED])
    assert alone.validation == {}


def test_clients_without_test_examples_are_measured_on_validation_alone():
    asked = dataclasses.replace(ASKED, validation=split(5, 40, finds=False))
    clients = [asked, FINDER, client("other", finds=False, seed=30)]
    untested = [dataclasses.replace(each, test=None) for each in clients]
    for one, whole in zip(
        client_metrics.evaluate_clients(PREDICT, PARAMS, untested),
        client_metrics.evaluate_clients(PREDICT, PARAMS, clients),
        strict=True,
    ):
        assert (one.test, one.correct) == ({}, "")
        assert one.validation == pytest.approx(whole.validation, abs=1e-6)
        assert one.thresholds == pytest.approx(whole.thresholds, abs=1e-6)
    with pytest.raises(ValueError, match="the test examples of client asks are left out"):
        client_metrics.majority_baselines(untested[0])


def test_without_validation_thresholds_are_still_chosen():
    (found,) = client_metrics.evaluate_clients(PREDICT, PARAMS, [FINDER], validates=False)
    (validated,) = client_metrics.evaluate_clients(PREDICT, PARAMS, [FINDER])
    assert found == dataclasses.replace(validated, validation={})
    assert validated.validation


def test_majority_baselines_use_training_labels_alone():
    labels = np.array([1, 1, 1, 0, 0, 1], np.int32), np.array([0, 0, 0, 1, 0, 1, 0, 0, 0], np.int32)
    parts = [
        dataclasses.replace(part, labels_N=each, questions=["which?"] * len(each))
        for part, each in zip((ASKED.train, ASKED.test), labels, strict=True)
    ]
    asked = dataclasses.replace(ASKED, train=parts[0], test=parts[1])
    assert client_metrics.majority_baselines(asked) == pytest.approx(
        {"majority_answer": 2 / 9, "majority_per_question": 2 / 9}
    )
    train_NF = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]], np.int8)
    train = dataclasses.replace(FINDER.train, targets_NF=train_NF)
    found = client_metrics.majority_baselines(dataclasses.replace(FINDER, train=train))
    said = np.zeros(FINDER.test.targets_NF.shape, bool)
    said[:, 0] = True  # 5 of 6 have it; one more finding would lower the micro F1 on training
    expected = findings_f1.f1_report(said, FINDER.test.targets_NF)["f1_micro"]
    assert found == {"majority_answer": expected}
