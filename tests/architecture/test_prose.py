"""Docstrings state: no question in a first line, no argument that opens with a function word."""

import ast
import re

from tests.helpers.paths import REPOSITORY

FOLDERS = ("f3ocus_jax", "tfds_medvqa", "configs", "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):\s*$")
OPENING = re.compile(
    r"(above|after|as|at|before|behind|below|beside|between|by|for|from|in|of|on|over|to"
    r"|under|until|with|within|without|how|what|when|where|whether|which|who|whose|why)\b",
    re.IGNORECASE,
)
"""Prepositions and question words, which leave out the noun that is described."""


def docstrings(path):
    """(line, docstring) of a module, its classes and functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def described(text):
    """What the entries of Args and Attributes say, without their names."""
    section = ""
    for line in text.splitlines():
        if heading := SECTION.match(line):
            section = heading.group(1)
        elif line and not line.startswith(" "):
            section = ""
        elif section in ("Args", "Attributes"):
            entry = re.match(r"  [\w*, ]+: (.*)", line)
            if entry:
                yield entry.group(1)


def test_first_lines_of_docstrings_are_no_questions():
    questions = [
        f"{path}:{line}"
        for path in FILES
        for line, text in docstrings(path)
        if "?" in text.splitlines()[0]
    ]
    assert questions == []


def test_arguments_and_attributes_are_described_by_nouns():
    offending = [
        f"{path}:{line}: {entry}"
        for path in FILES
        for line, text in docstrings(path)
        for entry in described(text)
        if OPENING.match(entry)
    ]
    assert offending == []


def test_an_offending_docstring_is_found():
    text = "What is it?\n\nArgs:\n  config: of the run.\n  key: Random key.\n"
    assert [bool(OPENING.match(entry)) for entry in described(text)] == [True, False]
