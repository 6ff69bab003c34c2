"""Messages of failed rounds: hostile clients are named, and honest ones are not accused."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation import outliers
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.federation.participation import check_enough
from f3ocus_jax.federation.stages.evaluate import make_evaluate_stage
from f3ocus_jax.models import units
from f3ocus_jax.report import records
from f3ocus_jax.types import ServerState, TrainingOutcome
from tests.helpers import training_stage
from tests.helpers.oracles import toy_model

CLIENTS = training_stage.CLIENTS


def outcome(norms):
    norms_K = np.array(norms, np.float64)
    finite_K = np.isfinite(norms_K)
    judged = outliers.judge(norms_K, finite_K, ratio=5.0, treatment=outliers.REPORT)
    return TrainingOutcome(
        [None] * len(norms), np.zeros((len(norms), 1)), np.ones(len(norms)), ~finite_K, judged
    )


@pytest.fixture
def evaluate(monkeypatch):
    """The evaluate stage of the toy clients, all of whose test losses are NaN."""
    metrics = [ClientMetrics({"accuracy": 0.0, "loss": np.nan}, []) for _ in range(CLIENTS)]
    monkeypatch.setattr(client_metrics, "evaluate_clients", lambda *given, **options: metrics)
    frozen, rows_L, head = units.split(toy_model(layers=2).init(jax.random.key(0)), "block")
    state = ServerState(rows_L, head, jnp.int32(4), np.zeros((1, CLIENTS, 2), bool))
    stage = make_evaluate_stage(None, frozen, training_stage.clients(), unit="block")
    return lambda training=None: stage(state, training)


def test_the_client_with_the_largest_norm_is_named_first_and_the_learning_rate_is_not(evaluate):
    with pytest.raises(RoundError) as error:
        evaluate(outcome([1.0, 1.1, 30.0, 0.9, 1.0, 1e30, 1.0]))
    message = str(error.value)
    assert message.startswith("round 4, client clinic 0, clinic 1, clinic 2 and 4 more, the test")
    assert "the likely cause is client clinic 5, the norm of its update is 1e+30 times" in message
    assert "; client clinic 2, the norm of its update is 30 times" in message
    assert 'config.aggregation.outliers = "drop"' in message
    assert "learning_rate" not in message
    assert "\n" not in message


@pytest.mark.parametrize("norms", [None, [1.0, 1.2, 1.1, 4.9, 1.0, 1.0, np.nan]])
def test_without_an_outlier_the_learning_rate_is_the_remedy(evaluate, norms):
    with pytest.raises(RoundError, match=r"lower config.training.learning_rate") as error:
        evaluate(None if norms is None else outcome(norms))
    assert "likely cause" not in str(error.value)


@pytest.mark.parametrize(
    ("reason", "blamed"),
    [
        ("step 1: the training loss is nan", True),
        ("its layers are not finite after the last step", True),
        ("the norm of its update is 40 times the median of the round", False),
        ("dropped out", False),
    ],
)
def test_too_few_clients_blame_the_learning_rate_only_for_what_is_not_finite(reason, blamed):
    with pytest.raises(RoundError, match="client infirmary") as error:
        check_enough(2, ["clinic", "infirmary"], 2, [None, reason], 2)
    assert ("learning_rate" in str(error.value)) == blamed


def test_a_record_holds_the_norm_of_a_finite_update_alone():
    training = outcome([2.0, 8.0, np.nan, 1.0])
    bystander = types.SimpleNamespace(name="clinic", train=[1])
    empty = records._bystander_record(bystander, 1, None, ClientMetrics({"accuracy": 0.0}, []))
    found = [records._with_norm(empty, training, index) for index in range(4)]
    assert [one.update_norm for one in found] == [2.0, 8.0, None, 1.0]
    assert [one.norm_ratio for one in found] == [1.0, 4.0, None, 0.5]
