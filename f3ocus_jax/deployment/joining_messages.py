"""Messages before round 1, from the server's invitation to a site that is ready.

The server invites a site (`Invite`), the site says what it is (`Join`), the server sends what all
have agreed on (`Setup`), and the site has built its model (`Ready`). A site that cannot do a task
answers `Refusal`. A site that was started again answers any task with `Join`.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from f3ocus_jax.deployment import fields as fields_lib
from f3ocus_jax.deployment.classes import ANSWERS, FINDINGS
from f3ocus_jax.deployment.fields import Field, Fields, RefusedError
from f3ocus_jax.deployment.layout import Layout, Tensors, TensorSpec
from f3ocus_jax.deployment.messages import Message
from f3ocus_jax.models import head as head_lib

NO_LAYOUT = Layout(0, {}, {}, TensorSpec((), "uint32"), has_eigenvalues=False, most_steps=0)
"""Layout of messages that hold nothing of a model."""

MOST_TEXT = 2**25
"""Largest list of classes, in bytes."""

SIZES: Mapping[str, Field] = {
    "task": fields_lib.one_of(*head_lib.OF_TASK),
    "train": fields_lib.COUNT,
    "test": fields_lib.COUNT_OR_NONE,
    "validation": fields_lib.COUNT_OR_NONE,
}
"""What a site tells of its examples."""


@dataclasses.dataclass(frozen=True, eq=False)
class ListsMessage(Message):
    """A message with lists of classes, each an array of JSON as UTF-8.

    Attributes:
      answers: Answers, each as a text or a hash.
      findings: Findings, likewise.
    """

    answers: tuple[str, ...]
    findings: tuple[str, ...]

    FIELDS: ClassVar[Mapping[str, Field]] = dict.fromkeys((ANSWERS, FINDINGS), fields_lib.COUNT)

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields; of a list, the bytes."""
        lists = {name: len(array) for name, array in self.tensors().items()}
        own = {name: getattr(self, name) for name in self.FIELDS if name not in lists}
        return {**own, **lists}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns its arrays by name."""
        return {name: _as_array(getattr(self, name)) for name in (ANSWERS, FINDINGS)}

    @classmethod
    def specs(cls, fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that a message with these fields must have."""
        for name in (ANSWERS, FINDINGS):
            if fields[name] > MOST_TEXT:
                raise RefusedError(f"{name} = {fields[name]} bytes, must be at most {MOST_TEXT}")
        return {name: TensorSpec((fields[name],), "uint8") for name in (ANSWERS, FINDINGS)}

    @classmethod
    def largest(cls, layout: Layout) -> Fields:
        """Returns the fields of a message with the largest arrays."""
        return {ANSWERS: MOST_TEXT, FINDINGS: MOST_TEXT}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "ListsMessage":
        """Makes the message from checked parts."""
        lists = {name: _as_names(name, tensors[name]) for name in (ANSWERS, FINDINGS)}
        return cls(round, site, **{**fields, **lists})


@dataclasses.dataclass(frozen=True, eq=False)
class Invite(Message):
    """The server asks a site to join.

    Attributes:
      salt: Random text that goes into every hash of a class.
      wanted: Lists of classes of which the server wants the site's hashes, sorted.
    """

    salt: str
    wanted: tuple[str, ...]

    kind = "invite"
    FIELDS: ClassVar[Mapping[str, Field]] = {"salt": fields_lib.TEXT, "wanted": fields_lib.NAMES}

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields."""
        return {"salt": self.salt, "wanted": list(self.wanted)}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "Invite":
        """Makes the message from checked parts."""
        return cls(round, site, fields["salt"], tuple(fields["wanted"]))


@dataclasses.dataclass(frozen=True, eq=False)
class Join(ListsMessage):
    """A site says what it is.

    Attributes:
      task: Task of the site.
      train: Number of training examples.
      test: Number of test examples; None without any.
      validation: Number of validation examples; None without any.
      facts: Facts that must be the same everywhere, see `facts.of_start`.
      salt: Salt of the hashes; "" in a join that answers no invitation, and has none.
      memory: Round of the memory that it has kept; `messages.NOTHING` for none.
    """

    task: str
    train: int
    test: int | None
    validation: int | None
    facts: Mapping[str, str]
    salt: str
    memory: int

    kind = "join"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **ListsMessage.FIELDS,
        **SIZES,
        "facts": fields_lib.FACTS,
        "salt": fields_lib.TEXT,
        "memory": fields_lib.SINCE,
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Setup(ListsMessage):
    """The server sends what all have agreed on. Its round is that of the model that follows.

    Attributes:
      salt: Random text with which classes are hashed.
      hashed: Lists of classes that hold hashes, sorted.
    """

    salt: str
    hashed: tuple[str, ...]

    kind = "setup"
    FIELDS: ClassVar[Mapping[str, Field]] = {
        **ListsMessage.FIELDS,
        "salt": fields_lib.TEXT,
        "hashed": fields_lib.NAMES,
    }

    def fields(self) -> dict[str, Any]:
        """Returns its header's fields; of a list, the bytes."""
        return {**super().fields(), "hashed": list(self.hashed)}

    @classmethod
    def build(cls, fields: Fields, tensors: Tensors, round: int, site: str) -> "ListsMessage":
        """Makes the message from checked parts."""
        return super().build({**fields, "hashed": tuple(fields["hashed"])}, tensors, round, site)


@dataclasses.dataclass(frozen=True, eq=False)
class Ready(Message):
    """A site has built its model.

    Attributes:
      task: Task of the site.
      train: Number of training examples whose answer is a class.
      test: Number of test examples; None without any.
      validation: Number of validation examples; None without any.
      facts: Facts that must be the same everywhere, see `facts.of_run`.
    """

    task: str
    train: int
    test: int | None
    validation: int | None
    facts: Mapping[str, str]

    kind = "ready"
    FIELDS: ClassVar[Mapping[str, Field]] = {**SIZES, "facts": fields_lib.FACTS}


@dataclasses.dataclass(frozen=True, eq=False)
class Refusal(Message):
    """A site does not do a task.

    Attributes:
      problem: Fault of the task, or of the site.
    """

    problem: str

    kind = "refusal"
    FIELDS: ClassVar[Mapping[str, Field]] = {"problem": fields_lib.TEXT}


def _as_array(names: tuple[str, ...]) -> np.ndarray:
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


def _as_names(what: str, array: np.ndarray) -> tuple[str, ...]:
    try:
        names = json.loads(array.tobytes())
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"its {what} are no JSON") from error
    if not isinstance(names, list) or not all(map(fields_lib.NAME.test, names)):
        raise RefusedError(f"its {what} must be a list, each {fields_lib.NAME.allowed}")
    if len(set(names)) != len(names):
        raise RefusedError(f"two of its {what} are the same")
    return tuple(names)
