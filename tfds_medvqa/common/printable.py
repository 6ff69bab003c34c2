"""Text from data and from clients, made safe to show in one line of a terminal, file or figure."""

import io
import sys
import unicodedata

JOINERS = "\u200c\u200d"
"""Invisible characters that Persian, Indic scripts and emoji are spelled with."""

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of control, format, surrogate, unassigned and line separating characters."""


def printable(text: str, longest: int | None = None) -> str:
    r"""Escapes what moves the cursor, breaks a line, reverses the direction or cannot be encoded.

    Args:
      text: Any text, such as a client's name, an answer or an error message.
      longest: Number of characters above which the middle is left out; None for any number.

    Returns:
      One line that holds no control characters; letters of every script stay as they are.

    >>> print(printable("a\x1b[31m\nb"), printable("0123456789", longest=7))
    a\x1b[31m\nb 012…789
    """
    line = "".join(_escape(character) for character in text)
    if longest is None or len(line) <= longest:
        return line
    kept = longest - 1
    return f"{line[: kept - kept // 2]}…{line[len(line) - kept // 2 :]}"


def write_every_character() -> None:
    """Lets standard output escape what the locale cannot write, instead of raising an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _escape(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode("unicode_escape").decode()
