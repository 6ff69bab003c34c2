"""Invents the records of a run, of any size, that look like those of a real one."""

from collections.abc import Callable

import numpy as np
import pytest

from f3ocus_jax.types import ClientRecord, RoundRecord, SelectionRecord

CLIENTS = (
    "chest_xray",
    "oct",
    "colon_pathology",
    "dermatoscope",
    "fundus",
    "breast_ultrasound",
    "blood_microscope",
    "kidney_cortex_microscope",
    "abdominal_ct",
)


def invent_records(
    clients: int = 3, layers: int = 6, rounds: int = 4, budget: int = 2
) -> list[RoundRecord]:
    """Returns the starting record and `rounds` more, deterministic in its arguments."""
    generator = np.random.default_rng(clients * 100 + layers)
    tilt_KL = generator.normal(size=(clients, layers)) + np.linspace(0, 2, layers)
    start_K = generator.uniform(0.2, 0.4, clients)
    records = []
    for number in range(rounds + 1):
        values_KL = np.exp(2 * tilt_KL + 0.3 * generator.normal(size=(clients, layers)))
        records.append(_invent_round(number, rounds, values_KL, start_K, budget, generator))
    return records


def _invent_round(
    number: int,
    rounds: int,
    values_KL: np.ndarray,
    start_K: np.ndarray,
    budget: int,
    generator: np.random.Generator,
) -> RoundRecord:
    accuracy_K = start_K + 0.45 * (1 - np.exp(-3 * number / max(rounds, 1)))
    accuracy_K = accuracy_K + (0.02 * generator.normal(size=len(start_K)) if number else 0)
    clients = [
        _invent_client(name, number, values_L, float(accuracy), budget, generator)
        for name, values_L, accuracy in zip(CLIENTS, values_KL, accuracy_K, strict=False)
    ]
    return RoundRecord(
        round=number,
        accuracy=float(np.mean([client.test["accuracy"] for client in clients])),
        loss=float(np.mean([client.test["loss"] for client in clients])),
        clients=clients,
        selection=_invent_selection(number, len(clients), budget, generator) if number else None,
        seconds={"importance": 1.5, "selection": 0.25, "training": 8.0, "evaluation": 1.0}
        if number
        else {"evaluation": 1.0},
    )


def _invent_client(
    name: str,
    number: int,
    values_L: np.ndarray,
    accuracy: float,
    budget: int,
    generator: np.random.Generator,
) -> ClientRecord:
    layers = len(values_L)
    scores_L = values_L / values_L.sum()
    own = sorted(np.argsort(-scores_L)[:budget].tolist())
    refined = sorted(
        generator.choice(
            layers, budget, replace=False, p=scores_L**0.3 / (scores_L**0.3).sum()
        ).tolist()
    )
    loss = 2.5 * (1 - accuracy) + 0.1
    return ClientRecord(
        client=name,
        train_examples=100 + 10 * len(name),
        budget=budget,
        left_out=None,
        values=values_L.tolist() if number else [],
        residuals=[1e-5] * layers if number else [],
        scores=scores_L.tolist() if number else [],
        own_layers=own if number else [],
        layers=refined if number else [],
        train_loss=loss * 0.85 if number else None,
        test={
            "examples": 50.0,
            "accuracy": accuracy,
            "loss": loss,
            "closed": min(1.0, accuracy + 0.1),
            "open": accuracy - 0.1,
            "type/anatomy": accuracy,
        },
    )


def _invent_selection(
    number: int, clients: int, budget: int, generator: np.random.Generator
) -> SelectionRecord:
    points = 12
    variance = np.sort(generator.uniform(0.1, clients / 3, points))
    importance = clients * (0.3 + 0.05 * number / 10 + 0.4 * np.sqrt(variance / variance.max()))
    front = [(float(s), float(v)) for s, v in zip(importance, variance, strict=True)]
    return SelectionRecord(
        score="lntk",
        algorithm="nsga2",
        front=front,
        pick=points // 3,
        own_point=(front[-1][0] * 1.01, front[-1][1] * 1.2),
        hypervolume=0.6,
    )


@pytest.fixture
def make_records() -> Callable[..., list[RoundRecord]]:
    """Gives the tests `invent_records`."""
    return invent_records
