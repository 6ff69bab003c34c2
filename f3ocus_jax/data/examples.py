"""Examples of one client as arrays that a model takes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from f3ocus_jax.data.images import StoredImages, join_images
from f3ocus_jax.types import Batch
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING


@dataclasses.dataclass(frozen=True)
class Examples:
    """N examples on the host.

    Attributes:
      images_NHWC: uint8 images on the model's canvas; an array, or images that stay in files.
      input_ids_NT: int32 tokens of the question.
      attention_mask_NT: int32, 1 for a token and 0 for padding.
      labels_N: int32 index into the answer vocabulary; -1 for an answer outside it.
      questions: N texts.
      answers: N texts.
      question_types: N question types, such as "anatomy".
      answer_types: N values, "closed" or "open".
      image_ids: N identifiers.
      targets_NF: int8, 1 for a finding that is present, 0 for one that is absent, -1 for one that
        the example does not label; None in a federation without findings.
      answer_ids_NA: int32 tokens of the answer and its end; None unless the model writes answers.
      answer_mask_NA: int32, 1 for a token of `answer_ids_NA` and 0 for padding.
      image_size_N2: int32 height and width, like `Batch.image_size_B2`.
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
    targets_NF: np.ndarray | None = None
    answer_ids_NA: np.ndarray | None = None
    answer_mask_NA: np.ndarray | None = None
    image_size_N2: np.ndarray | None = None

    @property
    def task(self) -> str:
        """Task of the model: one of `tfds_medvqa.common.features.TASKS`."""
        is_asked = self.targets_NF is not None and bool((self.targets_NF >= 0).any())
        return CLASSIFICATION if is_asked else QUESTION_ANSWERING

    def __len__(self) -> int:
        return len(self.labels_N)

    def batch(self, indices: np.ndarray, mask: np.ndarray | None = None) -> Batch:
        """Gathers examples.

        Args:
          indices: int array of any shape; its axes lead those of the result.
          mask: float32 array of the same shape, 0 where an example is padding; all ones if None.

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
            targets_BF=_gather(self.targets_NF, indices),
            answer_ids_BA=_gather(self.answer_ids_NA, indices),
            answer_mask_BA=_gather(self.answer_mask_NA, indices),
            image_size_B2=_gather(self.image_size_N2, indices),
        )


def _gather(array: np.ndarray | None, indices: np.ndarray) -> np.ndarray | None:
    return None if array is None else array[indices]


@dataclasses.dataclass(frozen=True)
class RemoteExamples:
    """Split that another host holds: only its size and its task are known here.

    Attributes:
      count: N, number of examples.
      task: Task of the model, see `Examples.task`.
    """

    count: int
    task: str

    def __len__(self) -> int:
        return self.count


@dataclasses.dataclass(frozen=True)
class ClientData:
    """One client.

    Attributes:
      name: Name of the client.
      train: Training examples. Where another host holds them, this and the other splits are
        `RemoteExamples`.
      test: Test examples, for evaluation; None in a run that leaves them out.
      validation: Validation examples, on which thresholds of findings and the round are chosen;
        None for a client without any.
    """

    name: str
    train: Examples
    test: Examples | None
    validation: Examples | None = None

    @property
    def task(self) -> str:
        """Task of the client: one of `tfds_medvqa.common.features.TASKS`."""
        return self.train.task

    @property
    def is_here(self) -> bool:
        """True if this host holds the examples."""
        return not isinstance(self.train, RemoteExamples)


def local_clients(clients: Sequence[ClientData]) -> list[ClientData]:
    """Returns the clients whose examples this host holds."""
    return [client for client in clients if client.is_here]


def local_mask(clients: Sequence[ClientData]) -> np.ndarray:
    """Returns local_K, bool: True for clients whose examples this host holds."""
    return np.array([client.is_here for client in clients], bool)


def stack_batches(batches: Sequence[Batch]) -> Batch:
    """Stacks batches of the same shapes along a new leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


def concatenate_examples(parts: list[Examples]) -> Examples:
    """Concatenates the examples of several clients."""

    def merged(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], np.ndarray):
            return np.concatenate(values)
        if isinstance(values[0], StoredImages):
            return join_images(values)
        if values[0] is None:
            return None
        return [item for value in values for item in value]

    return Examples(**{field.name: merged(field.name) for field in dataclasses.fields(Examples)})
