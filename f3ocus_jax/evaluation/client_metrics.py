"""Evaluation of a model on the clients' test splits, with the metrics of each client's task."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples, concatenate_examples
from f3ocus_jax.evaluation import accuracy, findings_f1, text_overlap
from f3ocus_jax.evaluation.inference import Outputs, Predict
from f3ocus_jax.types import Params
from tfds_medvqa.common.features import CLASSIFICATION


@dataclasses.dataclass(frozen=True)
class ClientMetrics:
    """Metrics of one client's test split.

    Attributes:
      test: Metric name to value, from `accuracy.accuracy_report` or `findings_f1.f1_report`, with
        `loss`, the mean over examples with a known label; for written answers also from
        `text_overlap.report`.
      thresholds: F probabilities from which on each finding counts as present, chosen on validation
        examples; empty for a client that answers questions.
    """

    test: dict[str, float]
    thresholds: list[float]


def evaluate_clients(
    predict: Predict, params: Params, clients: Sequence[ClientData]
) -> list[ClientMetrics]:
    """Evaluates one model on all clients.

    Args:
      predict: Inference function from `inference.make_predict`.
      params: Parameters of the model.
      clients: K clients; those that find diseases need validation examples.

    Returns:
      K metrics; `loss` may be NaN where the model's outputs are.
    """
    tests = _outputs(predict, params, [client.test for client in clients])
    finding = [client for client in clients if client.task == CLASSIFICATION]
    outputs = _outputs(predict, params, [_validation(client) for client in finding])
    validated = {client.name: each for client, each in zip(finding, outputs, strict=True)}
    return [
        _findings_metrics(client, validated[client.name], test)
        if client.task == CLASSIFICATION
        else _answer_metrics(client, test)
        for client, test in zip(clients, tests, strict=True)
    ]


def majority_baselines(client: ClientData) -> dict[str, float]:
    """Computes the metrics on a client's test split of predictions from training labels alone.

    Args:
      client: Client of any task.

    Returns:
      "majority_answer", in the client's main metric; for a client that answers questions also
      "majority_per_question".
    """
    train, test = client.train, client.test
    if client.task == CLASSIFICATION:
        return {"majority_answer": findings_f1.constant_f1(_targets(train), _targets(test))}
    return {
        "majority_answer": accuracy.majority_answer(train.labels_N, test.labels_N),
        "majority_per_question": accuracy.majority_per_question(
            train.questions, train.labels_N, test.questions, test.labels_N
        ),
    }


def _outputs(predict: Predict, params: Params, splits: Sequence[Examples]) -> list[Outputs]:
    """Runs the model over all splits together, which fills its batches."""
    if not splits:
        return []
    together = predict(params, concatenate_examples(list(splits)))
    ends = np.cumsum([len(split) for split in splits])
    return [
        together.select(slice(end - len(split), end))
        for split, end in zip(splits, ends, strict=True)
    ]


def _validation(client: ClientData) -> Examples:
    if client.validation is None:
        raise ValueError(f"client {client.name} has no validation examples for its thresholds")
    return client.validation


def _targets(examples: Examples) -> np.ndarray:
    if examples.targets_NF is None:
        raise ValueError("the examples have no findings")
    return examples.targets_NF


def _answer_metrics(client: ClientData, outputs: Outputs) -> ClientMetrics:
    test = client.test
    report = accuracy.accuracy_report(
        np.asarray(outputs.answers_N),
        test.labels_N,
        test.answer_types,
        test.question_types,
        np.asarray(outputs.losses_N),
    )
    if outputs.texts_N is not None:
        report |= text_overlap.report(outputs.texts_N.tolist(), test.answers)
    return ClientMetrics(report, [])


def _findings_metrics(client: ClientData, validation: Outputs, test: Outputs) -> ClientMetrics:
    targets_NF = _targets(client.test)
    thresholds_F = findings_f1.best_thresholds(
        np.asarray(validation.findings_NF), _targets(_validation(client))
    )
    report = findings_f1.f1_report(np.asarray(test.findings_NF) >= thresholds_F[None], targets_NF)
    labelled_N = (targets_NF >= 0).any(axis=1)
    loss = float(np.asarray(test.losses_N, np.float64)[labelled_N].mean())
    return ClientMetrics({**report, "loss": loss}, thresholds_F.tolist())
