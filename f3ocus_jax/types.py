"""Types that the stages share: axis letters, batches, states of server and clients, records.

Numerical arrays carry their axes in their names, as in `scores_KL` or `logits_BC`:

    K clients      L layers        B batch          T tokens       C answer classes
    P population   D dimensions    N probe examples M objectives   S local steps
    H image height W image width   R rows of the stack that a client trains
    F findings
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
from flax import struct

Array: TypeAlias = jax.Array | np.ndarray
"""A jax.Array or np.ndarray: batches and states are on the host or on a device."""

Params: TypeAlias = Any
"""A pytree of float arrays."""

Rows: TypeAlias = Any
"""A pytree whose leaves share a leading layer axis, L (the whole stack) or R (chosen rows)."""


@struct.dataclass
class Batch:
    """Examples of one client, padded to a fixed shape.

    Attributes:
      images_BHWC: uint8 in [0, 255], or float already normalised as the model expects.
      input_ids_BT: int32 token ids of the question.
      attention_mask_BT: int32, 1 for a token and 0 for padding.
      labels_B: int32 index into the answer vocabulary; -1 for an answer outside it, which no
        prediction can match and which has no loss.
      example_mask_B: float32, 1 for an example and 0 for padding.
      targets_BF: int8, 1 for a finding that is present, 0 for one that is absent, -1 for one that
        the example is not labelled with; None in a federation without findings.
      answer_ids_BA: int32 tokens of the answer and its end token, for models that write answers;
        None otherwise.
      answer_mask_BA: int32, 1 for a token and 0 for padding; None without `answer_ids_BA`.
      image_size_B2: int32, height and width in pixels of each image, which lies in the top left
        corner of its array; the rest is padding. None where images fill their arrays.
    """

    images_BHWC: Array
    input_ids_BT: Array
    attention_mask_BT: Array
    labels_B: Array
    example_mask_B: Array
    targets_BF: Array | None = None
    answer_ids_BA: Array | None = None
    answer_mask_BA: Array | None = None
    image_size_B2: Array | None = None


@struct.dataclass
class Controls:
    """Control variates of SCAFFOLD, estimates of a mean gradient.

    Attributes:
      rows: Pytree of the layers, with leading axis L, or R for chosen ones.
      head: Pytree of the head.
    """

    rows: Rows
    head: Params


@struct.dataclass
class ServerState:
    """Everything the server keeps from round to round.

    Attributes:
      rows_L: Selectable layers, a pytree with leading axis L.
      head: Answer head, trained by every client.
      round: int32 [], rounds finished so far.
      front_mask_PKL: bool, layer choices of the last Pareto front, which seed the next search;
        unused rows are all False.
      optimizer: State of the server's optimizer, for every layer and for the head.
      controls: The server's `Controls`; None without `training.controls`.
    """

    rows_L: Rows
    head: Params
    round: Array
    front_mask_PKL: Array
    optimizer: Any = ()
    controls: Controls | None = None


@struct.dataclass
class ClientMemory:
    """Everything one client keeps from round to round; it never leaves the client.

    The simulator holds the memories of all clients together: every array then has a leading axis K.

    Attributes:
      vectors_LNC: float32, top eigenvector of every layer's kernel, where the next round's search
        starts; 0 where none is known yet. None if no search starts warm.
      personal_L: The client's own layers, a pytree with leading axis L; None without
        `training.dual_adapters`.
      importance_L: The client's last `Importance`, None if it is taken in every round.
      scored_in: int32 [], round in which that was taken, 0 for none; None likewise.
      optimizer: State of the client's optimizer for every layer and for the head, see
        `clients.layer_optimizer`; None unless `training.optimizer_state` is "kept".
      head: The client's own answer head; None unless `training.head` is "personal".
      controls: The client's `Controls` of all layers; None without `training.controls`.
    """

    vectors_LNC: Array | None = None
    personal_L: Rows = None
    importance_L: Any = None
    scored_in: Array | None = None
    optimizer: Any = None
    head: Params = None
    controls: Controls | None = None

    @property
    def of_training(self) -> "ClientMemory":
        """What local training reads and changes, without the rest."""
        names = ("personal_L", "optimizer", "head", "controls")
        return ClientMemory(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True)
class UpdateNorms:
    """Norms of the clients' updates in one round, and what follows from them.

    Attributes:
      norms_K: float64, Euclidean norm of the change, layers and head together, before any clipping;
        NaN without a finite update.
      ratios_K: float64, norm divided by the round's median norm.
      outlying_K: bool, True for outliers: ratios above `aggregation.outlier_ratio`.
      accepted_K: bool, True for updates that are used.
      limit: Largest norm that is no outlier.
    """

    norms_K: np.ndarray
    ratios_K: np.ndarray
    outlying_K: np.ndarray
    accepted_K: np.ndarray
    limit: float

    def of_all(self, indices: np.ndarray, clients: int) -> "UpdateNorms":
        """Returns the same for all K clients, of whom these are only `indices`."""

        def spread(some: np.ndarray, empty: float) -> np.ndarray:
            everyone = np.full(clients, empty, some.dtype)
            everyone[indices] = some
            return everyone

        return UpdateNorms(
            spread(self.norms_K, np.nan),
            spread(self.ratios_K, np.nan),
            spread(self.outlying_K, False),
            spread(self.accepted_K, False),
            self.limit,
        )


@dataclasses.dataclass(frozen=True)
class TrainingOutcome:
    """Result of one round's local training, client by client.

    Attributes:
      left_out: Reason why the client's update was not used; None if it was used or if the client
        took no part in training.
      losses_KS: float32, loss of every local step; 0 where none was taken.
      steps_K: int32, local steps taken; 0 for a client that did not train.
      straggled_K: bool, True if the client took fewer steps than planned.
      norms: Norms of the clients' updates; None if no client trained.
    """

    left_out: list[str | None]
    losses_KS: np.ndarray
    steps_K: np.ndarray
    straggled_K: np.ndarray
    norms: UpdateNorms | None = None


@dataclasses.dataclass(frozen=True)
class ClientRecord:
    """Result of one client in one round, as written to the records.

    Attributes:
      client: Name of the client.
      train_examples: Size of its training split.
      budget: Number of layers that it may train.
      left_out: Reason why it took no part in the round, such as "absent", or why its update was not
        used, such as "dropped out" or "step 2: the training loss is nan"; None if its update was
        used. A client that is left out has no scores, layers or loss.
      values: Raw score of every layer, length L (λ_1 of its NTK for "lntk"); empty where no scores
        were taken.
      residuals: Relative Lanczos residual of every eigenvalue, length L; empty for other scores
        than "lntk".
      scores: Importance of every layer, length L, summing to 1.
      own_layers: Layers that the client would choose by itself, ascending.
      layers: Layers that it trained after the server's refinement, ascending.
      train_loss: Mean loss over its local steps; None in round 0.
      test: Metric name to value on its test split, see `client_metrics.ClientMetrics.test`; empty
        in a round that was not evaluated, and in a run that leaves the test splits out.
      ranks: Refined ranking of the server, see `selection.Selection.ranks_KL`: rank of every layer,
        length L, 0 for the layer that the client needs most; empty where none was made.
      thresholds: Probability from which each finding counts as present, length F; empty for a
        client that answers questions.
      unconverged: Layers whose eigenvalue did not converge to the tolerance of the search,
        ascending.
      steps: Local steps that it took.
      straggled: True if it took fewer steps than planned.
      update_norm: Euclidean norm of its change, layers and head together, before any clipping; None
        without a finite update.
      norm_ratio: That norm, divided by the median over the clients of the round.
      validation: Metric name to value on its validation split; empty without one.
      correct: Correctness of every test answer, one bit each, see `evaluation.correctness`; "" if
        none is kept.
      kept_scores: True if values, residuals and scores are those of an earlier round, see
        `importance.every`.
      epsilon: Epsilon of its data after the round, with the round's `delta`; None in a run without
        differential privacy.
    """

    client: str
    train_examples: int
    budget: int
    left_out: str | None
    values: list[float]
    residuals: list[float]
    scores: list[float]
    own_layers: list[int]
    layers: list[int]
    train_loss: float | None
    test: Mapping[str, float]
    ranks: list[int] = dataclasses.field(default_factory=list)
    thresholds: list[float] = dataclasses.field(default_factory=list)
    unconverged: list[int] = dataclasses.field(default_factory=list)
    steps: int = 0
    straggled: bool = False
    update_norm: float | None = None
    norm_ratio: float | None = None
    validation: Mapping[str, float] = dataclasses.field(default_factory=dict)
    correct: str = ""
    kept_scores: bool = False
    epsilon: float | None = None


@dataclasses.dataclass(frozen=True)
class SelectionRecord:
    """Result of the server's selection in one round.

    Attributes:
      score: Name of the score that the clients took.
      algorithm: Name of the selector.
      front: (importance, variance) of every point on the front, importance ascending.
      pick: Index into `front`.
      own_point: (importance, variance) of the clients' own choices.
      hypervolume: Hypervolume of the front inside the box of its seeds [least importance, largest
        variance].
    """

    score: str
    algorithm: str
    front: list[tuple[float, float]]
    pick: int
    own_point: tuple[float, float]
    hypervolume: float


COMPILING = "compiling "
"""Begins the key under which the seconds of a round hold what a stage compiled."""


@dataclasses.dataclass(frozen=True)
class RoundRecord:
    """One line of records.jsonl, the only source of tables, figures and the report.

    Attributes:
      round: Round number; 0 is the starting model, evaluated before any training.
      accuracy: Mean of the clients' main test metric: accuracy, or micro F1 for a client that
        finds diseases. None in a round that was not evaluated, see `evaluation.every`, and in a
        run that leaves the test splits out.
      loss: Mean of the clients' test losses; None likewise.
      clients: One record per client, in the federation's order.
      selection: Result of the server's selection; None in round 0.
      seconds: Wall time by stage ("importance", "selection", "training", "evaluation") without
        compiling, and what each stage compiled ("compiling importance"), which add up to the time
        of all stages. In records from before it was measured the stages include it.
      validation: Mean of the main metric on validation, over the clients that have such examples;
        None if none has.
      epsilon: Largest epsilon of any client after the round; None in a run without differential
        privacy.
      delta: Probability with which it need not hold; None likewise.
    """

    round: int
    accuracy: float | None
    loss: float | None
    clients: list[ClientRecord]
    selection: SelectionRecord | None
    seconds: Mapping[str, float]
    validation: float | None = None
    epsilon: float | None = None
    delta: float | None = None

    @property
    def compiling_seconds(self) -> float:
        """Time spent on compiling; 0 in records from before it was measured."""
        return sum(value for key, value in self.seconds.items() if key.startswith(COMPILING))

    @property
    def steady_seconds(self) -> float:
        """Time of all stages without compiling, which a later round takes again."""
        return sum(value for key, value in self.seconds.items() if not key.startswith(COMPILING))

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain lists and dicts, which are not to be changed."""
        chosen = self.selection
        return {
            **vars(self),
            "clients": [dict(vars(client)) for client in self.clients],
            "selection": None if chosen is None else dict(vars(chosen)),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RoundRecord":
        """Rebuilds a record from `to_json`'s output after a trip through JSON text."""
        selection = value["selection"]
        if selection is not None:
            selection = SelectionRecord(
                **{
                    **selection,
                    "front": [tuple(point) for point in selection["front"]],
                    "own_point": tuple(selection["own_point"]),
                }
            )
        clients = [ClientRecord(**client) for client in value["clients"]]
        return cls(**{**value, "clients": clients, "selection": selection})
