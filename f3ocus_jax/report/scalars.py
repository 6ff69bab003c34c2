"""Which curves does TensorBoard show of a run, and how do they survive a resume?"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from tensorboardX import SummaryWriter

from f3ocus_jax.types import ClientRecord, RoundRecord

OF_CLIENT = ("accuracy", "exact_match", "f1_macro", "f1_micro", "loss")
"""Metrics with a tag of their own; the others are accuracies of kinds of question."""


@contextlib.contextmanager
def scalar_writer(
    directory: str | os.PathLike[str], records: Sequence[RoundRecord] = ()
) -> Iterator[Callable[[RoundRecord], None]]:
    """Opens TensorBoard event files for a run that starts or resumes.

    Everything an earlier process wrote there is purged, and the records that the resumed run keeps
    are written again: what the killed process had not yet flushed, or wrote of rounds that are now
    repeated, can then leave neither gaps nor duplicates.

    Args:
      directory: where the event files go; made if absent.
      records: the records so far, the only source of the curves.

    Yields:
      A function that writes one further record.
    """
    writer = SummaryWriter(str(directory), purge_step=0)

    def write(record: RoundRecord) -> None:
        for tag, value in scalars(record).items():
            writer.add_scalar(tag, value, record.round)
        writer.flush()

    try:
        for record in records:
            write(record)
        yield write
    finally:
        writer.close()


def scalars(record: RoundRecord) -> dict[str, float]:
    """Flattens a record to TensorBoard's tags.

    Args:
      record: of one round.

    Returns:
      Tag to value: `accuracy/mean`, `loss/mean`, `<metric of OF_CLIENT>/<client>`,
      `train_loss/<client>`, `question_types/<client>/<kind>`, `selection/...`, `seconds/<stage>`.
    """
    tags = {"accuracy/mean": record.accuracy, "loss/mean": record.loss}
    for client in record.clients:
        tags |= _client_scalars(client)
    if record.selection is not None:
        importance, variance = record.selection.front[record.selection.pick]
        own_importance, own_variance = record.selection.own_point
        tags |= {
            "selection/importance": importance,
            "selection/variance": variance,
            "selection/own_importance": own_importance,
            "selection/own_variance": own_variance,
            "selection/hypervolume": record.selection.hypervolume,
        }
    return tags | {f"seconds/{stage}": value for stage, value in record.seconds.items()}


def _client_scalars(client: ClientRecord) -> dict[str, float]:
    """Flattens what one client did."""
    tags = {}
    if client.train_loss is not None:
        tags[f"train_loss/{client.client}"] = client.train_loss
    for metric, value in client.test.items():
        if metric in OF_CLIENT:
            tags[f"{metric}/{client.client}"] = value
        elif metric != "examples":
            tags[f"question_types/{client.client}/{metric.removeprefix('type/')}"] = value
    return tags
