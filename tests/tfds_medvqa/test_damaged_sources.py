"""Source files with random damage end a build in one line, or leave something that builds."""

import gzip
import random
import re
import shutil

import pytest

from tests.tfds_medvqa.attacks import CONFIGS
from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.rows import ReadOptions

INSERTED = (
    *(b"null", b"NaN", b"\xed\xa0\xbd", b"\0", b"../", b"[[[[", b'"', b"|", b",", b"1e999"),
    *(b"\xe2\x80\xa8", b"-", b"&x;", b"\xff\xfe"),
)
VALUES = (
    *(b"null", b"5", b"true", b"[]", b"{}", b'""', b'"../x"', b'"\\ud83d"', b"1e999", b"NaN"),
    *(b'"nan"', b'"/etc/passwd"', b'"\\u0000"'),
)
"""Values that take the place of a text or a number."""


def damaged(content, draw):
    """The content with another byte or value, cut, with more or fewer bytes, or a line twice."""
    place = draw.randrange(len(content) + 1)
    kind = draw.choice(["flip", "cut", "insert", "delete", "line", "value"])
    if kind == "flip":
        return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    if kind == "insert":
        return content[:place] + draw.choice(INSERTED) + content[place:]
    if kind == "delete":
        return content[:place] + content[place + draw.randint(1, 20) :]
    if kind == "line":
        lines = content.split(b"\n")
        return b"\n".join([*lines, draw.choice(lines)])
    found = [match.span() for match in re.finditer(rb'"[^"]*"|\d+', content)] or [(0, 0)]
    start, end = draw.choice(found)
    return content[:start] + draw.choice(VALUES) + content[end:]


def damage(folder, draw):
    """Damages a file of rows, or one time in ten any file, mostly inside of its compression."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = [path for path in files if path.suffix not in (".png", ".jpg")]
    path = draw.choice(files if draw.random() < 0.1 else rows)
    content = path.read_bytes()
    if path.suffix == ".gz" and draw.random() < 0.8:
        path.write_bytes(gzip.compress(damaged(gzip.decompress(content), draw)))
    else:
        path.write_bytes(damaged(content, draw))


def check(dataset, seed, folder):
    draw = random.Random(f"{dataset} {seed}")
    manual = shutil.copytree(dummy_folder(dataset), folder / "manual")
    damage(manual, draw)
    for choice in ("error", "skip"):
        try:
            name = f"{dataset}/{CONFIGS[dataset]}"
            build_dummy(name, folder / choice, manual, ReadOptions(invalid_rows=choice))
        except BuildError as error:
            message = str(error)
            assert message.count("\n") == 0, message
            assert "tensorflow" not in message.lower(), message
    shutil.rmtree(manual)


@pytest.mark.parametrize("dataset", CONFIGS)
def test_a_damaged_source_ends_in_one_line_or_builds(dataset, tmp_path):
    for seed in range(2):
        check(dataset, seed, tmp_path / str(seed))


@pytest.mark.extended
@pytest.mark.parametrize("dataset", CONFIGS)
def test_many_damaged_sources_end_in_one_line_or_build(dataset, tmp_path):
    for seed in range(2, 40):
        check(dataset, seed, tmp_path / str(seed))
