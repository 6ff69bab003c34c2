"""What the stages pass to each other: axis letters, batches, the state and the record of a round.

Numerical arrays carry their axes in their names, as in `scores_KL` or `logits_BC`:

    K clients      L layers        B batch          T tokens       C answer classes
    P population   D dimensions    N probe examples M objectives   S local steps
    H image height W image width   R rows of the stack that a client trains
    F findings
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

from flax import struct

Array: TypeAlias = Any
"""A jax.Array or np.ndarray: batches and states are on the host or on a device."""

Params: TypeAlias = Any
"""A pytree of float arrays."""

Rows: TypeAlias = Any
"""A pytree whose leaves share a leading layer axis, L (the whole stack) or R (chosen rows)."""


@struct.dataclass
class Batch:
    """Examples of one client, padded to a fixed shape.

    Attributes:
      images_BHWC: uint8 in [0, 255], or float already normalised as the model wants it.
      input_ids_BT: int32 token ids of the question.
      attention_mask_BT: int32, 1 for a token and 0 for padding.
      labels_B: int32 index into the answer vocabulary; -1 for an answer outside it, which no
        prediction can match and no loss is taken from.
      example_mask_B: float32, 1 for an example and 0 for padding.
      targets_BF: int8, 1 for a finding that is there, 0 for one that is not, and -1 for one that
        the example is not asked about; None in a federation that is asked about none.
      answer_ids_BA: int32 tokens of the answer and its end, for models that write answers; else
        None.
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
class ServerState:
    """All that crosses a round on the server, and all that a resumed run needs.

    Attributes:
      rows_L: the selectable layers, a pytree with leading axis L.
      head: the answer head, trained by every client.
      round: int32 [], rounds finished so far.
      front_mask_PKL: the last Pareto front's layer choices, which seed the next search; rows that
        are not in use are all False.
      vectors_KLNC: the top eigenvector of every client's layer kernels, from which the next round's
        search for them starts; 0 where none is known yet. None without `importance.warm_start`.
      optimizer: state of the server's optimizer, of every layer and of the head.
      personal_KL: layers that are each client's own and that the server of a real federation does
        not see; None without `training.dual_adapters`.
    """

    rows_L: Rows
    head: Params
    round: Array
    front_mask_PKL: Array
    vectors_KLNC: Array | None = None
    optimizer: Any = ()
    personal_KL: Rows = None


@dataclasses.dataclass(frozen=True)
class ClientRecord:
    """What one client did in one round, as written to the records.

    Attributes:
      client: its name.
      train_examples: size of its training split.
      budget: how many layers it may train.
      left_out: why it took no part in the round, as in "absent", or why its update was not used, as
        in "dropped out" or "step 2: the training loss is nan"; None if it was. A client that is
        left out has no scores, layers or loss.
      values: the score of every layer as it was measured, length L (λ_1 of its NTK for "lntk");
        empty where no scores were taken.
      residuals: relative Lanczos residual of every eigenvalue, length L; empty for other scores
        than "lntk".
      scores: importance of every layer, length L, summing to 1.
      own_layers: the layers the client itself would choose, ascending.
      layers: the layers it trained, after the server's refinement, ascending.
      train_loss: mean loss over its local steps; None in round 0.
      test: metric name to value on its test split, as `scoring.Score.test` has them.
      ranks: the server's refined ranking, as `selection.Selection.ranks_KL` has it: place of every
        layer, length L, 0 for the layer the client needs most; empty where none was made.
      thresholds: probability from which on each finding counts as present, length F; empty for a
        client that answers questions.
      unconverged: layers whose eigenvalue was not found to `importance.tolerance`, ascending.
      steps: local steps it took.
      straggled: whether these are fewer than it should have taken.
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


@dataclasses.dataclass(frozen=True)
class SelectionRecord:
    """The server's choice of one round.

    Attributes:
      score: name of the score that the clients took.
      algorithm: name of the selector.
      front: (importance, variance) of every point on the front, importance ascending.
      pick: index into `front`.
      own_point: (importance, variance) of the clients' own choices.
      hypervolume: of the front, inside the box [least importance, largest variance] of its seeds.
    """

    score: str
    algorithm: str
    front: list[tuple[float, float]]
    pick: int
    own_point: tuple[float, float]
    hypervolume: float


@dataclasses.dataclass(frozen=True)
class RoundRecord:
    """One line of records.jsonl, the only source of tables, figures and the report.

    Attributes:
      round: 0 is the starting model, evaluated before any training.
      accuracy: mean of the clients' main test metric: accuracy, or micro F1 where a client finds
        diseases.
      loss: mean of the clients' test losses.
      clients: one record each, in the federation's order.
      selection: the server's choice; None in round 0.
      seconds: wall time by stage ("importance", "selection", "training", "evaluation").
    """

    round: int
    accuracy: float
    loss: float
    clients: list[ClientRecord]
    selection: SelectionRecord | None
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain lists and dicts."""
        return dataclasses.asdict(self)

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
