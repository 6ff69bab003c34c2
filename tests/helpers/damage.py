"""Random damage to the files of a folder, undone after each use or kept."""

import contextlib
import pathlib
import random
from collections.abc import Iterator

KINDS = ("flip", "cut", "delete", "swap", "empty", "grow")


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns all files below a folder, in a fixed order."""
    paths = pathlib.Path(folder).rglob("*")
    return sorted(path for path in paths if path.is_file())


def damage(folder: pathlib.Path, draw: random.Random) -> dict[pathlib.Path, bytes]:
    """Damages one file of a folder, or exchanges two; returns the content of both before."""
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
    elif kind == "empty" and whole:
        path.write_bytes(b"")
    elif kind == "grow":
        path.write_bytes(whole + draw.randbytes(draw.randrange(1, 9)))
    elif kind == "swap":
        path.write_bytes(before[other])
        other.write_bytes(whole)
    else:
        path.unlink()
    return before


def described(folder: pathlib.Path, before: dict[pathlib.Path, bytes]) -> dict[str, str]:
    """Returns name of each file that `damage` changed to what happened to it."""
    changed = {}
    for path, content in before.items():
        now = path.read_bytes() if path.exists() else None
        if now != content:
            size = "gone" if now is None else f"{len(now)} bytes"
            changed[str(path.relative_to(folder))] = f"{len(content)} bytes before, now {size}"
    return changed


@contextlib.contextmanager
def damaged(folder: pathlib.Path, draw: random.Random) -> Iterator[str]:
    """Damages a folder during a block, and yields a description of it."""
    before = damage(folder, draw)
    try:
        yield str(described(folder, before))
    finally:
        for each, content in before.items():
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_bytes(content)
