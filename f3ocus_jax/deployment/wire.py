"""Bytes of a message: a frame of 8 bytes, a JSON header, and the arrays as safetensors.

Nothing in a message can name code, and everything is checked before it is used: size, version,
kind, site, round, fields, then names, shapes, types and finiteness of the arrays.
"""

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import safetensors
from safetensors.numpy import save

from f3ocus_jax.deployment import fields as fields_lib, joining_messages, messages
from f3ocus_jax.deployment.fields import RefusedError, quoted
from f3ocus_jax.deployment.layout import Layout, TensorSpec
from f3ocus_jax.deployment.messages import VERSION, Message
from f3ocus_jax.deployment.secure import messages as secure_messages
from f3ocus_jax.errors import ProtocolError
from f3ocus_jax.models.huggingface import tensor_files
from tfds_medvqa.common.printable import printable

FRAME = struct.Struct("<4sI")
"""Frame: the mark of this protocol, and the number of bytes of the header."""

MARK = b"F3FL"
MOST_HEADER = 2**20
"""Largest header, in bytes."""

ARRAY_OVERHEAD = 256
"""Bytes that an array takes at most beside its numbers, in the header of safetensors."""

HEADER = {
    "version": fields_lib.COUNT,
    "kind": fields_lib.TEXT,
    "site": fields_lib.NAME,
    "round": fields_lib.COUNT,
}

KINDS: dict[str, type[Message]] = {
    each.kind: each
    for each in (
        joining_messages.Invite,
        joining_messages.Join,
        joining_messages.Setup,
        joining_messages.Ready,
        joining_messages.Refusal,
        messages.ScoreTask,
        messages.Scores,
        messages.TrainTask,
        messages.Update,
        messages.EvaluateTask,
        messages.Metrics,
        messages.Failure,
        *secure_messages.ALL,
    )
}
"""Kind in a header to the class of the message."""

UNSIGNED = {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}
INTEGERS = {"BOOL": "bool", "I32": "int32", **UNSIGNED}
DTYPES = {**tensor_files.DTYPES, **INTEGERS}
"""Names of types in safetensors to those of NumPy."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a receiver waits for.

    Attributes:
      kinds: Classes of the messages.
      site: Name of the site that sends or receives.
      round: Round of the message; None for any.
    """

    kinds: tuple[type[Message], ...]
    site: str
    round: int | None = None


def encode(message: Message) -> bytes:
    """Returns a message as bytes."""
    header = {"version": VERSION, "kind": message.kind, "site": message.site}
    header |= {"round": message.round, "fields": message.fields()}
    text = json.dumps(header, allow_nan=False).encode()
    arrays = {name: np.asarray(array, order="C") for name, array in message.tensors().items()}
    return FRAME.pack(MARK, len(text)) + text + save(arrays)


def most_bytes(kind: type[Message], layout: Layout) -> int:
    """Returns the largest size of a message's bytes.

    Args:
      kind: Class of the message.
      layout: Arrays that messages may hold.
    """
    specs = kind.specs(kind.largest(layout), layout)
    arrays = sum(ARRAY_OVERHEAD + len(name) + spec.num_bytes for name, spec in specs.items())
    return FRAME.size + MOST_HEADER + ARRAY_OVERHEAD + arrays


def decode(data: bytes, layout: Layout, expected: Expected) -> Message:
    """Returns the message that bytes hold, after all checks.

    Args:
      data: Bytes as they were received.
      layout: Arrays that messages may hold.
      expected: Messages that the receiver waits for.

    Raises:
      ProtocolError: If anything is wrong; names the site, the message and what it is.
    """
    name = "a message"
    try:
        _check_size(data, max(most_bytes(kind, layout) for kind in expected.kinds))
        header, rest = _split(data)
        name = f"{header['kind']} of round {header['round']}"
        kind = _check_header(header, expected)
        _check_size(data, most_bytes(kind, layout))
        fields_lib.check(header["fields"], kind.FIELDS)
        arrays = _read_arrays(rest, kind.specs(header["fields"], layout))
        return kind.build(header["fields"], arrays, header["round"], header["site"])
    except RefusedError as problem:
        refuse(expected.site, name, str(problem))


def kind_of(data: bytes) -> str:
    """Returns the kind that bytes claim to be; "" if they are no message."""
    try:
        return str(_split(data)[0]["kind"])
    except RefusedError:
        return ""


def shown(name: str) -> str:
    """Returns a name as a line can have it."""
    return printable(name, fields_lib.LONGEST)


def refuse(site: str, message: str, problem: str) -> NoReturn:
    """Raises the error of a message that is refused.

    Args:
      site: Name of the site.
      message: Name of the message.
      problem: Reason of the refusal.
    """
    raise ProtocolError(f"site {shown(site)}, {shown(message)}: {problem}")


def _check_size(data: bytes, most: int) -> None:
    if len(data) > most:
        raise RefusedError(f"{len(data)} bytes, must be at most {most}")


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns (header, bytes of the arrays) of a message."""
    if len(data) < FRAME.size:
        raise RefusedError(f"{len(data)} bytes are no message")
    mark, length = FRAME.unpack_from(data)
    if mark != MARK:
        raise RefusedError("its first bytes are not those of this protocol")
    if length > min(MOST_HEADER, len(data) - FRAME.size):
        raise RefusedError(f"a header of {length} bytes, of {len(data)} bytes in all")
    end = FRAME.size + length
    try:
        header = json.loads(data[FRAME.size : end], parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError("its header is no JSON") from error
    rest = header.pop("fields", None) if isinstance(header, dict) else None
    fields_lib.check(header, HEADER)
    return {**header, "fields": rest}, data[end:]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_header(header: Mapping[str, Any], expected: Expected) -> type[Message]:
    """Returns the class of a message that its receiver waits for."""
    kinds = " or ".join(kind.kind for kind in expected.kinds)
    if header["version"] != VERSION:
        raise RefusedError(f"version {header['version']} of the protocol, must be {VERSION}")
    if KINDS.get(header["kind"]) not in expected.kinds:
        raise RefusedError(f"expected is {kinds}")
    if header["site"] != expected.site:
        raise RefusedError(f"it is of site {quoted(header['site'])}")
    if expected.round not in (None, header["round"]):
        raise RefusedError(f"expected is round {expected.round}")
    return KINDS[header["kind"]]


def _read_arrays(data: bytes, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Returns the arrays of a message, which are those of `specs`."""
    try:
        stored = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise RefusedError("its arrays are no safetensors") from error
    found = dict(stored)
    if len(found) != len(stored):
        raise RefusedError("two of its arrays have the same name")
    fields_lib.require_names("arrays", found, specs)
    return {name: _read_array(name, found[name], spec) for name, spec in specs.items()}


def _read_array(name: str, stored: Mapping[str, Any], spec: TensorSpec) -> np.ndarray:
    shape = tuple(stored["shape"])
    if DTYPES.get(stored["dtype"]) != spec.dtype:
        raise RefusedError(f"array {name} is {stored['dtype']}, must be {spec.dtype}")
    if shape != spec.shape:
        raise RefusedError(f"array {name} has shape {shape}, must be {spec.shape}")
    array = np.frombuffer(stored["data"], spec.dtype).reshape(shape)
    if spec.within and array.size:
        least, most = spec.within
        if array.min() < least or array.max() > most:
            raise RefusedError(f"array {name} must be within {least} and {most}")
    if spec.finite and not np.isfinite(array).all():
        raise RefusedError(f"array {name} holds NaN or infinity")
    return array
