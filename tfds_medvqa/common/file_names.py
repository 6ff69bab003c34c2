"""Names of files as texts, and as the system's calls take them, whatever the locale.

Where the locale is ASCII, Python hands out the bytes of other characters as halves of surrogate
pairs, and refuses the characters themselves.
"""

import os


def on_disk(name: str) -> str:
    """Returns the name that the system's calls take for a file that a text names.

    >>> on_disk("a.png")
    'a.png'
    """
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return os.fsdecode(name.encode("utf-8", "surrogatepass"))
    return name


def as_text(name: str) -> str:
    """Returns the text of a name that the system gave, if its bytes are UTF-8.

    >>> as_text("a.png")
    'a.png'
    """
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name
