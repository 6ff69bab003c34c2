"""What the server makes of a site's answer: its check, and the forms that the stages take."""

from typing import Any, cast

import jax
import numpy as np

from f3ocus_jax.clients import placement
from f3ocus_jax.data.examples import ClientData, Examples, RemoteExamples
from f3ocus_jax.deployment import wire
from f3ocus_jax.deployment.joining_messages import Join, Ready
from f3ocus_jax.deployment.messages import Failure, Message, TrainTask, Update
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.stages.train import TrainingPlan
from f3ocus_jax.types import ServerState


def check(task: Message, answer: Message, ready: Ready, entry: str | None) -> None:
    """Refuses an answer that is not that of its task.

    Args:
      task: The task.
      answer: The answer, of a kind that the task may have.
      ready: Sizes of the site.
      entry: Entry of the head that the site sends; None for none.

    Raises:
      ProtocolError: If it is refused.
    """
    name = f"{answer.kind} of round {answer.round}"
    if isinstance(answer, Failure) and answer.task != task.kind:
        wire.refuse(answer.site, name, f"it is not of the {task.kind} that was sent")
    if not isinstance(answer, Update) or not isinstance(task, TrainTask):
        return
    sent = answer.parameters
    facts: list[tuple[str, Any, Any]] = [
        ("layers", sent.layers_R.tolist(), task.chosen_R.tolist()),
        ("heads", sorted(sent.head), [] if entry is None else [entry]),
        ("steps", len(answer.losses_S), task.steps),
        ("examples", answer.examples, ready.train),
    ]
    for what, given, wanted in facts:
        if given != wanted:
            wire.refuse(answer.site, name, f"{what} = {given}, must be {wanted}")


def as_update(answer: Message, state: ServerState, plan: TrainingPlan, most: int) -> ClientUpdate:
    """Returns an answer as local training makes it, padded; not finite for a failure.

    Args:
      answer: `Update` or `Failure`.
      state: State of the server when it asked.
      plan: Plan of the training.
      most: S, largest number of local steps of a site.
    """
    slots = plan.layers_KR.shape[1]
    if isinstance(answer, Update):
        sent, losses_S = answer.parameters, answer.losses_S
        rows, head = sent.rows_R, {**state.head, **sent.head}
    else:
        rows, head = jax.tree.map(lambda leaf: np.asarray(leaf[:0]), state.rows_L), state.head
        losses_S = np.zeros(0, np.float32)
    rows_R = jax.tree.map(lambda leaf: placement.pad_leading_axis(leaf, slots), rows)
    losses_S = placement.pad_leading_axis(losses_S, most)
    return ClientUpdate(rows_R, head, losses_S, np.array(isinstance(answer, Update)))


def remote(ready: Join | Ready) -> ClientData:
    """Returns a site as a client of whose splits only the sizes are known."""
    sizes = {"train": ready.train, "test": ready.test, "validation": ready.validation}
    splits = {
        split: None if size is None else RemoteExamples(size, ready.task)
        for split, size in sizes.items()
    }
    return ClientData(ready.site, **cast(dict[str, Examples], splits))
