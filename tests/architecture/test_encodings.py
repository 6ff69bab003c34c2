"""Every text file is read and written in an encoding that is named."""

import ast

import pytest

from tests.helpers.paths import DATASETS, PACKAGE, REPOSITORY

FILES = [
    path
    for folder in (PACKAGE, DATASETS, REPOSITORY / "scripts", REPOSITORY / "benchmarks")
    for path in sorted(folder.rglob("*.py"))
]


def unnamed(call):
    """True for a call that takes the encoding of the locale."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    keywords = {keyword.arg for keyword in call.keywords}
    if "encoding" in keywords:
        return False
    if name in ("read_text", "write_text"):
        return isinstance(call.func, ast.Attribute)
    if name == "fdopen" or (name == "open" and isinstance(call.func, ast.Name)):
        return not any("b" in mode for mode in strings(call))
    return False


def strings(call):
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("path.read_text()", True),
        ("open(path)", True),
        ("open(path, 'rb')", False),
        ("path.write_text(text, encoding='utf-8')", False),
    ],
)
def test_calls_that_take_the_encoding_of_the_locale_are_found(code, expected):
    assert unnamed(ast.parse(code).body[0].value) == expected


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale():
    found = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and unnamed(node)
    ]
    assert not found
