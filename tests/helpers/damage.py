"""Random damage to the files of a folder, undone after each use."""

import contextlib
import pathlib
import random
from collections.abc import Iterator

KINDS = ("flip", "cut", "delete", "swap")


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns all files below a folder, in a fixed order."""
    paths = pathlib.Path(folder).rglob("*")
    return sorted(path for path in paths if path.is_file())


@contextlib.contextmanager
def damaged(folder: pathlib.Path, draw: random.Random) -> Iterator[str]:
    """Damages one file of a folder, or exchanges two, and yields a description of it."""
    every = files(folder)
    path, kind = draw.choice(every), draw.choice(KINDS)
    other = draw.choice([each for each in every if each != path])
    before = {each: each.read_bytes() for each in (path, other)}
    whole = before[path]
    if kind == "flip" and whole:
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
    elif kind == "cut" and whole:
        path.write_bytes(whole[: draw.randrange(len(whole))])
    elif kind == "swap":
        path.write_bytes(before[other])
        other.write_bytes(whole)
    else:
        path.unlink()
    try:
        yield f"{kind} of {path.relative_to(folder)} ({other.relative_to(folder)})"
    finally:
        for each, content in before.items():
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_bytes(content)
