"""Snippets of the documentation: code blocks of Markdown pages, and the commands in them."""

import dataclasses
import pathlib
import re
import shlex

from tests.helpers.paths import DATASETS, REPOSITORY

DOCUMENTS = (
    REPOSITORY / "README.md",
    REPOSITORY / "BUILD_NOTES.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
)
PAGES = (*DOCUMENTS, *sorted(DATASETS.glob("*/README.md")))
"""The documents, and the page of every dataset."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"<!-- needs: ([\w, ]+) -->\n+\Z")
"""In front of a block: modules without which it cannot run."""


@dataclasses.dataclass(frozen=True)
class Snippet:
    """One code block.

    Attributes:
      page: File of the block.
      line: Line of its first line of text, from 1.
      language: Language of the fence; "" if it names none.
      text: Content.
      needs: Modules that must be installed to run it.
    """

    page: pathlib.Path
    line: int
    language: str
    text: str
    needs: tuple[str, ...]

    @property
    def where(self) -> str:
        """Name for messages, as in "README.md:12"."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def snippets(page: pathlib.Path) -> list[Snippet]:
    """Returns the code blocks of a page, in order."""
    content = page.read_text()
    found = []
    for match in FENCE.finditer(content):
        before = content[: match.start()]
        needs = NEEDS.search(before)
        names = tuple(re.split(r", *", needs.group(1))) if needs else ()
        line = before.count("\n") + 2
        found.append(Snippet(page, line, match.group(1), match.group(2), names))
    return found


def commands(snippet: Snippet) -> list[list[str]]:
    """Splits a shell block into the words of its commands; comments and exports are left out."""
    lines = snippet.text.replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words and words[0] != "export"]
