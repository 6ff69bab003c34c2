"""Text files that are written in one step."""

import pathlib


def write(path: pathlib.Path, text: str) -> None:
    """Writes a text file as UTF-8: a reader finds what was there before, or all of the text.

    Args:
      path: Path of the file, in a folder that exists.
      text: Its content.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
