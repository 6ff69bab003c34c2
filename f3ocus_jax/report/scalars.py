"""TensorBoard event files of a run, which stay complete when the run resumes."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence

from tensorboardX import SummaryWriter

from f3ocus_jax.types import ClientRecord, RoundRecord
from tfds_medvqa.common.printable import printable

LONGEST_NAME = 100
"""Characters of a name in a tag; the middle of a longer one is left out."""

CLIENT_METRICS = ("accuracy", "exact_match", "f1_macro", "f1_micro", "loss")
"""Metrics with their own tag; the others are accuracies by kind of question."""


@contextlib.contextmanager
def make_scalar_writer(
    directory: str | os.PathLike[str], records: Sequence[RoundRecord] = ()
) -> Iterator[Callable[[RoundRecord], None]]:
    """Opens TensorBoard event files for a run that starts or resumes.

    Everything that an earlier process wrote is purged, and the records that the resumed run keeps
    are written again. Unflushed values of a killed process then leave no gaps, and repeated rounds
    no duplicates.

    Args:
      directory: Folder of the event files; created if absent.
      records: Records so far, the only source of the curves.

    Yields:
      A function that writes one more record.
    """
    writer = SummaryWriter(str(directory), purge_step=0)

    def write(record: RoundRecord) -> None:
        for tag, value in record_scalars(record).items():
            writer.add_scalar(tag, value, record.round)
        writer.flush()

    try:
        for record in records:
            write(record)
        yield write
    finally:
        writer.close()


def record_scalars(record: RoundRecord) -> dict[str, float]:
    """Flattens a record to TensorBoard's tags.

    Args:
      record: Record of one round.

    Returns:
      Tag to value: `accuracy/mean`, `loss/mean`, `<metric of CLIENT_METRICS>/<client>`,
      `validation/mean`, `validation_<metric>/<client>`,
      `train_loss/<client>`, `question_types/<client>/<kind>`, `selection/...`, `seconds/<stage>`.
    """
    means = {
        "accuracy/mean": record.accuracy,
        "loss/mean": record.loss,
        "validation/mean": record.validation,
    }
    tags = {tag: value for tag, value in means.items() if value is not None}
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
    """Flattens the record of one client."""
    tags = {}
    name = _tag_part(client.client)
    if client.train_loss is not None:
        tags[f"train_loss/{name}"] = client.train_loss
    for metric in set(CLIENT_METRICS) & client.validation.keys():
        tags[f"validation_{metric}/{name}"] = client.validation[metric]
    for metric, value in client.test.items():
        if metric in CLIENT_METRICS:
            tags[f"{metric}/{name}"] = value
        elif metric != "examples":
            kind = _tag_part(metric.removeprefix("type/"))
            tags[f"question_types/{name}/{kind}"] = value
    return tags


def _tag_part(name: str) -> str:
    """Escapes what the writer would make "_" of, so that different names have different tags."""
    shown = printable(name, LONGEST_NAME)
    if shown == "mean":
        shown = "client mean"  # apart from the mean over clients
    return re.sub(r"[^-/\w. ]", lambda match: f"_x{ord(match[0]):x}_", shown)
