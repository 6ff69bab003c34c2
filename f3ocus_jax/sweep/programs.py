"""Compiled programs of a worker, which it keeps for alike runs, but not without end.

Each takes some dozens of memory mappings, of which Linux allows a process 65 530 by default. With
none left, the compiler ends the process without an exception: after about sixty runs of different
methods and learning rates.
"""

import gc
import pathlib

import jax

MAPPINGS = pathlib.Path("/proc/self/maps")
"""Memory mappings of this process, one in a line; only Linux has it."""

LIMIT = pathlib.Path("/proc/sys/vm/max_map_count")
"""Most mappings of a process."""

SHARE = 0.5
"""Share of the limit from which on programs are forgotten: a run adds a few thousand mappings."""


def forget_if_many() -> bool:
    """Forgets the programs that are compiled if they take half of the mappings that Linux allows.

    The next run reads its programs from the folder of compiled programs, or compiles them.

    Returns:
      True if they were forgotten.
    """
    try:
        limit = int(LIMIT.read_text(encoding="ascii"))
        with MAPPINGS.open("rb") as lines:
            count = sum(1 for _ in lines)
    except OSError:
        return False
    if count < SHARE * limit:
        return False
    jax.clear_caches()
    gc.collect()
    return True
