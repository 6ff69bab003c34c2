"""Event files are as TensorBoard expects, and complete after a resume."""

import dataclasses
import struct
from collections.abc import Callable

import pytest
from tensorboardX.proto import event_pb2

from f3ocus_jax.report import scalars
from f3ocus_jax.types import RoundRecord
from tests.helpers.unequal_records import unequal_records

MakeRecords = Callable[..., list[RoundRecord]]


def read_events(directory):
    """Parses every event file: length, its checksum, the event, its checksum."""
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def shown_curve(directory, tag):
    """What TensorBoard shows: a session that starts at step s purges what was there from s on."""
    curve: list[tuple[int, float]] = []
    for event in read_events(directory):
        if event.session_log.status == event_pb2.SessionLog.START:
            curve = [(step, value) for step, value in curve if step < event.step]
        for value in event.summary.value:
            if value.tag == tag:
                curve.append((event.step, value.simple_value))
    return curve


def test_a_resumed_run_shows_every_round_once(tmp_path, make_records):
    records = make_records(rounds=4)
    with scalars.make_scalar_writer(tmp_path) as write:
        for record in records[:4]:
            write(record)
    with scalars.make_scalar_writer(tmp_path, records[:2]) as write:
        for record in records[2:]:
            write(record)
    curve = shown_curve(tmp_path, "accuracy/mean")
    assert curve == [(r.round, pytest.approx(r.accuracy)) for r in records]


def test_scalars_name_clients_stages_and_the_servers_choice(make_records):
    start, first = (scalars.record_scalars(record) for record in make_records(clients=1, rounds=1))
    assert "train_loss/chest_xray" not in start
    assert "selection/importance" not in start
    assert {
        "accuracy/mean",
        "loss/mean",
        "accuracy/chest_xray",
        "loss/chest_xray",
        "train_loss/chest_xray",
        "question_types/chest_xray/closed",
        "question_types/chest_xray/anatomy",
        "selection/importance",
        "selection/variance",
        "selection/hypervolume",
        "seconds/training",
    } <= set(first)


def test_every_scalar_is_the_records_number():
    """Of unequal clients, one of them absent; no number occurs twice."""
    for record in unequal_records():
        expected = {"accuracy/mean": record.accuracy, "loss/mean": record.loss}
        expected["validation/mean"] = record.validation
        for client in record.clients:
            metric = "f1_micro" if client.client == "east" else "accuracy"
            expected[f"{metric}/{client.client}"] = client.test[metric]
            expected[f"loss/{client.client}"] = client.test["loss"]
            if client.client != "north":
                expected[f"validation_{metric}/{client.client}"] = client.validation[metric]
                expected[f"validation_loss/{client.client}"] = client.validation["loss"]
            if client.train_loss is not None:
                expected[f"train_loss/{client.client}"] = client.train_loss
        if record.selection is not None:
            picked = record.selection.front[record.selection.pick]
            expected["selection/importance"], expected["selection/variance"] = picked
            own = record.selection.own_point
            expected["selection/own_importance"], expected["selection/own_variance"] = own
            expected["selection/hypervolume"] = record.selection.hypervolume
            expected["seconds/training"] = record.seconds["training"]
        assert scalars.record_scalars(record) == expected


def test_a_round_that_was_not_evaluated_has_no_means():
    record = dataclasses.replace(unequal_records()[1], accuracy=None, loss=None, validation=None)
    assert not [tag for tag in scalars.record_scalars(record) if tag.endswith("/mean")]
