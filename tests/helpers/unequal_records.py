"""Records of a run in which every number occurs once, so that no two can be exchanged unnoticed.

Three unequal clients, one of which finds diseases; the second is absent from one round, and the
file begins at round 0 and leaves out a round, so that a round's number is not its position.
"""

import numpy as np

from f3ocus_jax.types import ClientRecord, RoundRecord, SelectionRecord

NAMES = ("west", "north", "east")
ROUNDS = (0, 1, 2, 4, 5)
ABSENT = (4, "north")
LAYERS = 5
BUDGETS = {"west": 1, "north": 2, "east": 3}
LAST_FRONT = [(0.5, 0.1), (0.9, 0.3), (1.3, 0.8), (1.4, 1.7)]


def unequal_records() -> list[RoundRecord]:
    """Returns the records."""
    draw = np.random.default_rng(8)
    return [_round(number, draw) for number in ROUNDS]


def _round(number: int, draw: np.random.Generator) -> RoundRecord:
    clients = [_client(name, number, draw) for name in NAMES]
    values = [value for c in clients for name, value in c.validation.items() if name != "loss"]
    return RoundRecord(
        round=number,
        accuracy=float(draw.uniform(0.3, 0.9)),
        loss=float(draw.uniform(1.0, 2.0)),
        clients=clients,
        selection=_selection(number, draw) if number else None,
        seconds={"training": float(draw.uniform(1, 2))} if number else {},
        validation=float(np.mean(values)),
    )


def _client(name: str, number: int, draw: np.random.Generator) -> ClientRecord:
    values_L = draw.uniform(1.0, 9.0, LAYERS)
    budget, out = BUDGETS[name], (number, name) == ABSENT
    refined = draw.permutation(LAYERS)
    active = number > 0 and not out
    metric = "f1_micro" if name == "east" else "accuracy"
    return ClientRecord(
        client=name,
        train_examples=10 * budget,
        budget=budget,
        left_out="absent" if out else None,
        values=values_L.tolist() if active else [],
        residuals=[],
        scores=(values_L / values_L.sum()).tolist() if active else [],
        own_layers=sorted(np.argsort(-values_L)[:budget].tolist()) if active else [],
        layers=sorted(refined[:budget].tolist()) if active else [],
        train_loss=float(draw.uniform(0.1, 0.9)) if active else None,
        test={metric: float(draw.uniform(0.2, 0.8)), "loss": float(draw.uniform(2.0, 3.0))},
        # Records of the first round have no ranks of the server: the figure makes them itself.
        ranks=np.argsort(refined).tolist() if active and number > 1 else [],
        # One client has no validation examples.
        validation={metric: float(draw.uniform(0.2, 0.8)), "loss": float(draw.uniform(2.0, 3.0))}
        if name != "north"
        else {},
    )


def _selection(number: int, draw: np.random.Generator) -> SelectionRecord:
    importance_P, variance_P = np.sort(draw.uniform(0.2, 1.5, (2, 4)), axis=1).tolist()
    front = list(zip(importance_P, variance_P, strict=True))
    return SelectionRecord(
        score="lntk",
        algorithm="nsga2",
        front=LAST_FRONT if number == ROUNDS[-1] else front,
        pick=2,
        own_point=(float(draw.uniform(1.5, 2)), float(draw.uniform(2, 3))),
        hypervolume=float(draw.uniform(0.3, 0.6)),
    )
