"""Bytes over a stream socket: eight bytes of length, most significant first, then the bytes."""

import socket
import struct

from f3ocus_jax.errors import ProtocolError

LENGTH = struct.Struct(">Q")

MOST_BYTES = 2**35
"""Longest frame, 32 GiB: the first message of a run holds the trained layers of the model."""

CHUNK_BYTES = 2**20


def send(connection: socket.socket, data: bytes) -> None:
    """Sends one frame.

    Args:
      connection: A connected stream socket.
      data: Its bytes.

    Raises:
      OSError: If the other side is gone, or takes nothing for the socket's timeout.
      ProtocolError: If the frame would be too long.
    """
    _check_size(len(data), MOST_BYTES)
    connection.sendall(LENGTH.pack(len(data)))
    view = memoryview(data)
    for start in range(0, len(view), CHUNK_BYTES):  # sendall's timeout is for all that it is given
        connection.sendall(view[start : start + CHUNK_BYTES])


def receive(connection: socket.socket, *, most: int = MOST_BYTES) -> bytes:
    """Receives one frame; memory is taken as its bytes arrive.

    Args:
      connection: A connected stream socket.
      most: Largest number of bytes to take.

    Raises:
      OSError: If nothing arrives for the socket's timeout.
      ProtocolError: If the frame is longer, or the other side ends before its end.
    """
    (size,) = LENGTH.unpack(_receive_exactly(connection, LENGTH.size))
    _check_size(size, most)
    return _receive_exactly(connection, size)


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(CHUNK_BYTES, size - len(data)))
        if not chunk:
            raise ProtocolError(f"the connection ended after {len(data)} of {size} bytes")
        data += chunk
    return bytes(data)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise ProtocolError(f"a frame has {size} bytes, may have {most}")
