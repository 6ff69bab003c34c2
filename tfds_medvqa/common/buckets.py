"""Temporary files for TFDS builds of datasets larger than memory, without TensorFlow.

TFDS collects a split's examples in memory, and beyond 1 GB in files that it opens with TensorFlow.
`without_tensorflow` replaces them by plain Python files, from a quarter of that size on.
"""

import contextlib
import os
import pathlib
import struct
from collections.abc import Iterator

from tensorflow_datasets.core import shuffle

MEMORY_BYTES = 1 << 28
"""Bytes of a split's examples that are held in memory before they are written to files."""
BUFFER_BYTES = 1 << 16
"""Bytes per bucket between two writes; a bucket's file is open only while it is written."""

HEAD = struct.Struct("=16sQ")
"""Header of every example: its key, 128 bits, and its size."""


class Bucket:
    """Examples with adjacent keys in one file, a replacement of TFDS's `shuffle._Bucket`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = pathlib.Path(path)
        self._buffer = bytearray()
        self._length = 0
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all examples, without their keys."""
        return self._size

    def __len__(self) -> int:
        return self._length

    def add(self, key: int, data: bytes) -> None:
        """Adds an example."""
        self._buffer += HEAD.pack(key.to_bytes(16, "big"), len(data))
        self._buffer += data
        self._length += 1
        self._size += len(data)
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes the examples that are still in memory."""
        if self._buffer:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(self._buffer)
            self._buffer.clear()

    def read_values(self) -> Iterator[tuple[int, bytes]]:
        """Yields (key, example) in the order they were added."""
        self.flush()
        if not self._length:
            return
        with self._path.open("rb") as file:
            for _ in range(self._length):
                key, size = HEAD.unpack(file.read(HEAD.size))
                yield int.from_bytes(key, "big"), file.read(size)

    def del_file(self) -> None:
        """Removes the file, if there is one."""
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Lets TFDS build datasets larger than memory while TensorFlow is not installed."""
    before = shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE
    shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE = Bucket, MEMORY_BYTES
    try:
        yield
    finally:
        shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE = before
