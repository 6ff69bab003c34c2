"""Evaluation of a model on the clients' validation and test splits, by each client's task."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples, concatenate_examples
from f3ocus_jax.evaluation import accuracy, correctness, findings_f1, text_overlap
from f3ocus_jax.evaluation.inference import Outputs, Predict
from f3ocus_jax.types import Params
from tfds_medvqa.common.features import CLASSIFICATION


@dataclasses.dataclass(frozen=True)
class ClientMetrics:
    """Metrics of one client.

    Attributes:
      test: Metric name to value on its test split, from `accuracy.accuracy_report` or
        `findings_f1.f1_report`, with `loss`, the mean over examples with a known label; for written
        answers also from `text_overlap.report`; empty where test examples are left out.
      thresholds: F probabilities from which on each finding counts as present, chosen on validation
        examples; empty for a client that answers questions.
      validation: The same metrics on its validation split; empty if they were not measured.
      correct: Correctness of every test answer, from `correctness.pack`; "" for a client that finds
        diseases.
    """

    test: dict[str, float]
    thresholds: list[float]
    validation: dict[str, float] = dataclasses.field(default_factory=dict)
    correct: str = ""


def evaluate_clients(
    predict: Predict,
    params: Params,
    clients: Sequence[ClientData],
    *,
    heads: Mapping[str, Params] | None = None,
    validates: bool = True,
) -> list[ClientMetrics]:
    """Evaluates one model on all clients.

    Args:
      predict: Inference function from `inference.make_predict`.
      params: Parameters of the model.
      clients: K clients; those that find diseases need validation examples. One without test
        examples is measured on validation alone.
      heads: Client to the head that it has instead of that in `params`; None if none has.
      validates: False to measure test splits alone; thresholds come from validation in any case.

    Returns:
      K metrics; `loss` may be NaN where the model's outputs are.
    """
    if heads is not None:
        return [
            evaluate_clients(
                predict, params | {"head": heads[client.name]}, [client], validates=validates
            )[0]
            for client in clients
        ]
    tested = {client.name: client.test for client in clients if client.test is not None}
    validated = {
        client.name: _validation(client)
        for client in clients
        if client.task == CLASSIFICATION or (validates and client.validation is not None)
    }
    outputs = _outputs(predict, params, [*tested.values(), *validated.values()])
    tests = dict(zip(tested, outputs, strict=False))
    validations = dict(zip(validated, outputs[len(tested) :], strict=True))
    measured = [
        _findings_metrics(client, validations[client.name], tests.get(client.name))
        if client.task == CLASSIFICATION
        else _answer_metrics(client, validations.get(client.name), tests.get(client.name))
        for client in clients
    ]
    if validates:
        return measured
    return [dataclasses.replace(metrics, validation={}) for metrics in measured]


def majority_baselines(client: ClientData) -> dict[str, float]:
    """Computes the metrics on a client's test split of predictions from training labels alone.

    Args:
      client: Client of any task.

    Returns:
      "majority_answer", in the client's main metric; for a client that answers questions also
      "majority_per_question".
    """
    train, test = client.train, client.test
    if test is None:
        raise ValueError(f"the test examples of client {client.name} are left out")
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


def _answer_metrics(
    client: ClientData, validation: Outputs | None, test: Outputs | None
) -> ClientMetrics:
    validated = {} if validation is None else _answer_report(_validation(client), validation)
    if test is None or client.test is None:
        return ClientMetrics({}, [], validated)
    correct_N = accuracy.correct(np.asarray(test.answers_N), client.test.labels_N)
    packed = correctness.pack(correct_N)
    return ClientMetrics(_answer_report(client.test, test), [], validated, packed)


def _answer_report(split: Examples, outputs: Outputs) -> dict[str, float]:
    report = accuracy.accuracy_report(
        np.asarray(outputs.answers_N),
        split.labels_N,
        split.answer_types,
        split.question_types,
        np.asarray(outputs.losses_N),
    )
    if outputs.texts_N is not None:
        report |= text_overlap.report(outputs.texts_N.tolist(), split.answers)
    return report


def _findings_metrics(
    client: ClientData, validation: Outputs, test: Outputs | None
) -> ClientMetrics:
    validated = _validation(client)
    thresholds_F = findings_f1.best_thresholds(
        np.asarray(validation.findings_NF), _targets(validated)
    )
    on_validation = _findings_report(validated, validation, thresholds_F)
    if test is None or client.test is None:
        return ClientMetrics({}, thresholds_F.tolist(), on_validation)
    on_test = _findings_report(client.test, test, thresholds_F)
    return ClientMetrics(on_test, thresholds_F.tolist(), on_validation)


def _findings_report(
    split: Examples, outputs: Outputs, thresholds_F: np.ndarray
) -> dict[str, float]:
    targets_NF = _targets(split)
    report = findings_f1.f1_report(
        np.asarray(outputs.findings_NF) >= thresholds_F[None], targets_NF
    )
    labelled_N = (targets_NF >= 0).any(axis=1)
    loss = float(np.asarray(outputs.losses_N, np.float64)[labelled_N].mean())
    return {**report, "loss": loss}
