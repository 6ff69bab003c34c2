"""How well does a model do what its clients ask of it, by what each task is measured with?"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples, concatenate
from f3ocus_jax.evaluation import accuracy, findings_f1, text_overlap
from f3ocus_jax.evaluation.inference import Outputs, Predict
from f3ocus_jax.types import Params
from tfds_medvqa.common.features import CLASSIFICATION


@dataclasses.dataclass(frozen=True)
class ClientMetrics:
    """One client's test split.

    Attributes:
      test: metric name to value, as `metrics.accuracy_report` or `multilabel.f1_report` gives them,
        with `loss`, the mean over what is known; of written answers also `generated.report`.
      thresholds: probability from which on each finding counts as present, chosen on validation
        examples; empty for a client that answers questions.
    """

    test: dict[str, float]
    thresholds: list[float]


def score(predict: Predict, params: Params, clients: Sequence[ClientData]) -> list[ClientMetrics]:
    """Measures one model on all clients.

    Args:
      predict: from `inference.make_predict`.
      params: of the model.
      clients: one that finds diseases has validation examples.

    Returns:
      One score each; `loss` may be NaN where the model's outputs are.
    """
    tests = _outputs(predict, params, [client.test for client in clients])
    choosing = [client for client in clients if client.task == CLASSIFICATION]
    outputs = _outputs(predict, params, [_validation(client) for client in choosing])
    validated = {client.name: each for client, each in zip(choosing, outputs, strict=True)}
    return [
        _of_findings(client, validated[client.name], test)
        if client.task == CLASSIFICATION
        else _of_answers(client, test)
        for client, test in zip(clients, tests, strict=True)
    ]


def majority_baselines(client: ClientData) -> dict[str, float]:
    """Measures what a client's training labels alone would score on its test split.

    Args:
      client: of any task.

    Returns:
      "majority_answer": in the client's main metric; "majority_per_question" where it answers
      questions.
    """
    if client.task == CLASSIFICATION:
        found = findings_f1.constant_f1(client.train.targets_NF, client.test.targets_NF)
        return {"majority_answer": found}
    labels = client.train.labels_N, client.test.labels_N
    return {
        "majority_answer": accuracy.majority_answer(*labels),
        "majority_per_question": accuracy.majority_per_question(
            client.train.questions, labels[0], client.test.questions, labels[1]
        ),
    }


def _outputs(predict: Predict, params: Params, splits: Sequence[Examples]) -> list[Outputs]:
    """Runs the model over all splits together, which fills its batches."""
    if not splits:
        return []
    together = predict(params, concatenate(list(splits)))
    ends = np.cumsum([len(split) for split in splits])
    return [
        together.part(slice(end - len(split), end)) for split, end in zip(splits, ends, strict=True)
    ]


def _validation(client: ClientData) -> Examples:
    if client.validation is None:
        raise ValueError(f"client {client.name} has no validation examples for its thresholds")
    return client.validation


def _of_answers(client: ClientData, outputs: Outputs) -> ClientMetrics:
    test = client.test
    report = accuracy.accuracy_report(
        outputs.answers_N, test.labels_N, test.answer_types, test.question_types, outputs.losses_N
    )
    if outputs.texts_N is not None:
        report |= text_overlap.report(outputs.texts_N.tolist(), test.answers)
    return ClientMetrics(report, [])


def _of_findings(client: ClientData, validation: Outputs, outputs: Outputs) -> ClientMetrics:
    targets_NF = _validation(client).targets_NF
    thresholds_F = findings_f1.best_thresholds(validation.findings_NF, targets_NF)
    present_NF = outputs.findings_NF >= thresholds_F[None]
    report = findings_f1.f1_report(present_NF, client.test.targets_NF)
    asked_N = (client.test.targets_NF >= 0).any(axis=1)
    loss = float(np.asarray(outputs.losses_N, np.float64)[asked_N].mean())
    return ClientMetrics({**report, "loss": loss}, thresholds_F.tolist())
