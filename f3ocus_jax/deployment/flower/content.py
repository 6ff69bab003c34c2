"""Our bytes in Flower's messages, as an array of uint8, which Flower sends in pieces of 5 MiB.

In a value of a ConfigRecord the same bytes are one piece, and 200 MB take three to four times as
long.
"""

from flwr.app import Array, ArrayRecord, Message, RecordDict

KEY = "message"
"""Name of the record, and of the array in it."""

RAW = "f3ocus_jax.bytes"
"""Flower's name of how the bytes stand for an array: they are it."""


def pack(data: bytes) -> RecordDict:
    """Returns the content of a message.

    Args:
      data: Any bytes.
    """
    array = Array("uint8", (len(data),), RAW, data)
    return RecordDict({KEY: ArrayRecord({KEY: array})})


def unpack(message: Message) -> bytes:
    """Returns the bytes that a message holds.

    Raises:
      ValueError: If it holds anything else.
    """
    records = message.content.array_records
    if set(records) != {KEY} or set(records[KEY]) != {KEY} or len(message.content) != 1:
        raise ValueError("the message is none of this package")
    return records[KEY][KEY].data
