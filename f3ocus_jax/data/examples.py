"""What does a split of one client hold, as arrays ready for the model?"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from f3ocus_jax.data.images import StoredImages, join
from f3ocus_jax.types import Array, Batch
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING


@dataclasses.dataclass(frozen=True)
class Examples:
    """N examples on the host.

    Attributes:
      images_NHWC: uint8, on the model's canvas; an array, or images that stay in files.
      input_ids_NT: int32, tokens of the question.
      attention_mask_NT: int32, 1 for a token and 0 for padding.
      labels_N: int32, index into the answer vocabulary; -1 for an answer outside it.
      questions: text, length N.
      answers: text, length N.
      question_types: length N.
      answer_types: "closed" or "open", length N.
      image_ids: length N.
      targets_NF: int8, 1 for a finding that is there, 0 for one that is not, -1 for one that is not
        asked about; None in a federation that is asked about none.
      answer_ids_NA: int32, tokens of the answer and its end, where a model writes answers.
      answer_mask_NA: int32, 1 for a token and 0 for padding, beside them.
      image_size_N2: int32, as `Batch.image_size_B2`.
    """

    images_NHWC: np.ndarray | StoredImages
    input_ids_NT: np.ndarray
    attention_mask_NT: np.ndarray
    labels_N: np.ndarray
    questions: list[str]
    answers: list[str]
    question_types: list[str]
    answer_types: list[str]
    image_ids: list[str]
    targets_NF: Array = None
    answer_ids_NA: Array = None
    answer_mask_NA: Array = None
    image_size_N2: Array = None

    @property
    def task(self) -> str:
        """What is asked of a model: one of `tfds_medvqa.common.features.TASKS`."""
        is_asked = self.targets_NF is not None and bool((self.targets_NF >= 0).any())
        return CLASSIFICATION if is_asked else QUESTION_ANSWERING

    def __len__(self) -> int:
        return len(self.labels_N)

    def batch(self, indices: np.ndarray, mask: np.ndarray | None = None) -> Batch:
        """Gathers examples.

        Args:
          indices: int, of any shape; its axes lead those of the result.
          mask: float32 of the same shape, 0 where an example is padding; all ones unless given.

        Returns:
          A Batch whose arrays lead with the axes of `indices`.
        """
        if mask is None:
            mask = np.ones(indices.shape, np.float32)
        return Batch(
            images_BHWC=self.images_NHWC[indices],
            input_ids_BT=self.input_ids_NT[indices],
            attention_mask_BT=self.attention_mask_NT[indices],
            labels_B=self.labels_N[indices],
            example_mask_B=mask.astype(np.float32),
            targets_BF=_at(self.targets_NF, indices),
            answer_ids_BA=_at(self.answer_ids_NA, indices),
            answer_mask_BA=_at(self.answer_mask_NA, indices),
            image_size_B2=_at(self.image_size_N2, indices),
        )


def _at(array: np.ndarray | None, indices: np.ndarray) -> np.ndarray | None:
    return None if array is None else array[indices]


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A split that another host holds: its size and its task are known here, and nothing else.

    Attributes:
      count: N.
      task: as `Examples.task`.
    """

    count: int
    task: str

    def __len__(self) -> int:
        return self.count


@dataclasses.dataclass(frozen=True)
class ClientData:
    """One client.

    Attributes:
      name: of the client.
      train: what it trains on; of this and the others only sizes are here (`Elsewhere`) where
        another host holds them.
      test: what it is measured on.
      validation: what the thresholds of its findings are chosen on; None where it has no findings.
    """

    name: str
    train: Examples
    test: Examples
    validation: Examples | None = None

    @property
    def task(self) -> str:
        """What is asked of its model: one of `tfds_medvqa.common.features.TASKS`."""
        return self.train.task


def stack(batches: Sequence[Batch]) -> Batch:
    """Gives batches of the same shapes a common leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


def concatenate(parts: list[Examples]) -> Examples:
    """Puts examples of several clients behind each other."""

    def merged(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values)
        if isinstance(values[0], StoredImages):
            return join(values)
        if values[0] is None:
            return None
        return [item for value in values for item in value]

    return Examples(**{field.name: merged(field.name) for field in dataclasses.fields(Examples)})
