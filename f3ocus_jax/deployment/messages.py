"""Messages between the server and one site, as frozen dataclasses; `wire` has their bytes.

The server asks (`ScoreTask`, `TrainTask`, `EvaluateTask`), a site answers (`Scores`, `Update`,
`Metrics`, or a `Failure` instead). `joining_messages` has what comes before.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from f3ocus_jax.deployment import fields as fields_lib
from f3ocus_jax.deployment.fields import Field, Fields, RefusedError
from f3ocus_jax.deployment.layout import Layout, Tensors, TensorSpec
from f3ocus_jax.deployment.parameters import (
    Parameters,
    layers_spec,
    require_ascending,
)
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.importance import Importance

VERSION = 2
"""Version of the protocol; another one is refused."""

NOTHING = -1
"""Round of the model at a site that holds none yet."""

CHOSEN = "chosen"
"""Name of the array of the layers to train."""

SUM_ERROR = 1e-3
"""Largest distance from 1 of the sum of a site's scores."""


@dataclasses.dataclass(frozen=True, eq=False)
class Message:
    """One message.

    Attributes:
      round: Round that it belongs to, 0 before the first one.
      site: Name of the site that it comes from or goes to.
    """

    round: int
    site: str

    kind: ClassVar[str]
    FIELDS: ClassVar[Mapping[str, Field]] = {}

    @property
    def num_bytes(self) -> int:
        """Bytes of its arrays; `wire.encode` adds a header and the arrays' names and shapes."""
        return sum(array.nbytes for array in self.tensors().values())

    def fields(self) -> dict[str, Any]:
        """Returns what its header holds beside kind, site and round."""
        return {name: getattr(self, name) for name in self.FIELDS}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        del fields, layout
        return {}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of a message with the largest arrays."""
        del layout
        return {}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Message":
        """Makes the message from checked parts.

        Raises:
          RefusedError: If its parts contradict each other.
        """
        del tensors
        return cls(round, site, **fields)


@dataclasses.dataclass(frozen=True, eq=False)
class ModelTask(Message):
    """A task that brings what has changed in the model.

    Attributes:
      since: Round of the model that the site must hold; the parameters are what has changed since.
        `NOTHING` where they are the whole model.
      parameters: Layers and entries that have changed.
    """

    since: int
    parameters: Parameters

    FIELDS: ClassVar[Mapping[str, Field]] = {**Parameters.FIELDS, "since": fields_lib.SINCE}

    @property
    def model_round(self) -> int:
        """Round after which the model is as the site has it with this message."""
        return self.round

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        return {**self.parameters.fields(), "since": self.since}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return self.parameters.tensors()

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        return Parameters.specs(fields, layout)

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of the whole model."""
        return Parameters.largest(layout)

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "ModelTask":
        """Makes the message from checked parts."""
        return cls(round, site, fields["since"], Parameters.build(tensors))


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreTask(ModelTask):
    """The server asks for the scores of a site's layers, with the model of the round before.

    Attributes:
      key_data: Data of the random key of the site's scores in this round.
    """

    key_data: np.ndarray

    kind = "score_task"

    @property
    def model_round(self) -> int:
        """Round after which the model is as the site has it with this message."""
        return self.round - 1

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {**super().tensors(), "key": self.key_data}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        return {**super().specs(fields, layout), "key": layout.key}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "ScoreTask":
        """Makes the message from checked parts."""
        return cls(round, site, fields["since"], Parameters.build(tensors), tensors["key"])


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluateTask(ModelTask):
    """The server asks for the metrics of the model after a round, or before the first one."""

    kind = "evaluate_task"


@dataclasses.dataclass(frozen=True, eq=False)
class TrainTask(ModelTask):
    """The server tells a site its layers. The model comes with it only to a site that lost it.

    Attributes:
      chosen_R: int32, layers to train, ascending.
      slots: Largest number of layers of any site, for which training is compiled.
      steps: Local steps to take.
    """

    chosen_R: np.ndarray
    slots: int
    steps: int

    kind = "train_task"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **ModelTask.FIELDS,
        "chosen": fields_lib.COUNT,
        "slots": fields_lib.COUNT,
        "steps": fields_lib.COUNT,
    }

    @property
    def model_round(self) -> int:
        """Round after which the model is as the site has it with this message."""
        return self.round - 1

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        own = {"chosen": len(self.chosen_R), "slots": self.slots, "steps": self.steps}
        return {**super().fields(), **own}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {**super().tensors(), CHOSEN: self.chosen_R}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        least = max(1, fields["chosen"])
        if not least <= fields["slots"] <= layout.num_layers:
            allowed = f"{least} to {layout.num_layers}"
            raise RefusedError(f"slots = {fields['slots']}, must be {allowed}")
        chosen = layers_spec(fields["chosen"], layout)
        return {**super().specs(fields, layout), CHOSEN: chosen}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of a task with all layers."""
        most = layout.num_layers
        return {**super().largest(layout), "chosen": most, "slots": most}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "TrainTask":
        """Makes the message from checked parts."""
        require_ascending(tensors[CHOSEN])
        given = (fields["since"], Parameters.build(tensors), tensors[CHOSEN])
        return cls(round, site, *given, fields["slots"], fields["steps"])


PLAIN = {"scores": TensorSpec((), "float32"), "values": TensorSpec((), "float32")}
EIGENVALUES = {
    "residuals": TensorSpec((), "float32", finite=False),
    "iterations": TensorSpec((), "int32"),
    "converged": TensorSpec((), "bool"),
}
"""Arrays of `Scores`: of every score, and of one that has eigenvalues. All have an axis L."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scores(Message):
    """A site answers the scores of its layers.

    Attributes:
      importance: Scores, values and convergence of all layers, without eigenvectors.
      kept: True if they are those of an earlier round.
    """

    importance: Importance
    kept: bool

    kind = "scores"
    FIELDS: ClassVar[Mapping[str, Field]] = {"kept": fields_lib.FLAG}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        sent = {name: getattr(self.importance, f"{name}_L") for name in PLAIN | EIGENVALUES}
        return {name: np.asarray(array) for name, array in sent.items() if array is not None}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message must have."""
        known = PLAIN | (EIGENVALUES if layout.has_eigenvalues else {})
        return {name: spec.times(layout.num_layers) for name, spec in known.items()}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Scores":
        """Makes the message from checked parts.

        Raises:
          RefusedError: If the scores are no fractions of their sum.
        """
        scores_L = tensors["scores"]
        if (scores_L < 0).any() or abs(float(scores_L.sum()) - 1) > SUM_ERROR:
            raise RefusedError("its scores must be >= 0 and sum to 1")
        importance = Importance(**{f"{name}_L": array for name, array in tensors.items()})
        return cls(round, site, importance, fields["kept"])


@dataclasses.dataclass(frozen=True, eq=False)
class Update(Message):
    """A site answers what it has trained.

    Attributes:
      parameters: Its layers after training, and the entry of the head that it trained.
      losses_S: float32, loss of each step that it took.
      examples: Number of its training examples.
    """

    parameters: Parameters
    losses_S: np.ndarray
    examples: int

    kind = "update"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **Parameters.FIELDS,
        "steps": fields_lib.COUNT,
        "examples": fields_lib.COUNT,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        own = {"steps": len(self.losses_S), "examples": self.examples}
        return {**self.parameters.fields(), **own}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {**self.parameters.tensors(), "losses": self.losses_S}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        if fields["steps"] > layout.most_steps:
            raise RefusedError(f"steps = {fields['steps']}, must be at most {layout.most_steps}")
        losses = TensorSpec((fields["steps"],), "float32")
        return {**Parameters.specs(fields, layout), "losses": losses}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of an update of all layers."""
        return {**Parameters.largest(layout), "steps": layout.most_steps}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Update":
        """Makes the message from checked parts."""
        given = (Parameters.build(tensors), tensors["losses"], fields["examples"])
        return cls(round, site, *given)


@dataclasses.dataclass(frozen=True, eq=False)
class Metrics(Message):
    """A site answers how good a model is on its examples.

    Attributes:
      metrics: The metrics. A loss that is not finite arrives as NaN.
    """

    metrics: ClientMetrics

    kind = "metrics"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        "test": fields_lib.METRICS,
        "validation": fields_lib.METRICS,
        "thresholds": fields_lib.NUMBERS,
        "correct": fields_lib.PACKED,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        told = {name: _with_null(getattr(self.metrics, name)) for name in ("test", "validation")}
        return {**told, "thresholds": self.metrics.thresholds, "correct": self.metrics.correct}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Metrics":
        """Makes the message from checked parts."""
        told = {name: _with_nan(fields[name]) for name in ("test", "validation")}
        return cls(round, site, ClientMetrics(**{**fields, **told}))


def _with_null(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _with_nan(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in metrics.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Failure(Message):
    """A site answers that its result is not finite, and leaves the result out.

    Attributes:
      task: Kind of the task that it could not do.
      reason: The value that is not finite, as the records have it.
    """

    task: str
    reason: str

    kind = "failure"
    FIELDS: ClassVar[Mapping[str, Field]] = {"task": fields_lib.TEXT, "reason": fields_lib.TEXT}
