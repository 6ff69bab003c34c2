"""Names of clients and answers that break files, terminals and figures."""

import unicodedata

NAMES = {
    "mathtext": "ward $x^$ and $",
    "escaped mathtext": r"ward \$\frac{",
    "html": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "very long": "w" * 10_000,
    "right to left": "\u202eevil\u202c",
    "hebrew": "\u05de\u05d7\u05dc\u05e7\u05d4",
    "newline": "first\nsecond\r\nthird\u2028fourth",
    "escape sequence": "\x1b[2J\x1b]0;title\x07red\x9b31m",
    "bar": "a|b||c",
    "rich markup": "[bold red]x[/bold red][/]",
    "markdown": "**x** `y` [link](http://x)",
    "hidden": "_hidden",
    "surrogate": "lone \udc80",
    "slash": "../../etc/passwd",
}


def is_harmless(text: str) -> bool:
    """Whether a text has no control characters but newlines, and can be encoded."""
    text.encode()
    return not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202a\u202b\u202d\u202e"
        for c in text.replace("\n", "")
    )
