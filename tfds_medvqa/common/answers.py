"""When are two answers the same answer, and which kind of answer is one?"""

import re
import unicodedata

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        (
            *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
            *("seventeen", "eighteen", "nineteen", "twenty"),
        )
    )
}
"""Number words that become digits where they stand alone as a word."""

SYMBOLS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
    | {"\u2212": "-"}
)
"""Typographic signs and the plain ones they stand for."""

CLOSED_ANSWERS = ("yes", "no")


def normalise(answer: object) -> str:
    """Takes away what makes no difference between answers.

    In this order: compatibility characters and typographic quotes and dashes become plain; lower
    case; number words from zero to twenty become digits; runs of white space become one space, and
    none stays before a comma, full stop, colon, semicolon, question or exclamation mark, or inside
    a bracket; quotes around the whole, and punctuation behind it, go. Articles, hyphens, units and
    word order stay: they can tell answers apart.

    Args:
      answer: as released; some datasets hold numbers.

    Returns:
      The normalised answer, which `normalise` leaves as it is.

    >>> normalise("  Left  Lung , and TWO nodules. ")
    'left lung, and 2 nodules'
    """
    text = unicodedata.normalize("NFKC", str(answer)).translate(SYMBOLS).lower()
    text = re.sub(r"(?<![\w-])[a-z]+(?![\w-])", _digits, text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" (?=[,.:;?!)\]])|(?<=[(\[]) ", "", text)
    return _without_frame(text)


def _digits(word: re.Match[str]) -> str:
    return NUMBER_WORDS.get(word[0], word[0])


def _without_frame(text: str) -> str:
    """Strips spaces, quotes around and punctuation behind, until nothing changes."""
    while True:
        bare = re.sub(r"[\s.,;:!?]+$", "", text.strip())
        if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
            bare = bare[1:-1]
        if bare == text:
            return text
        text = bare


def answer_type(answer: str) -> str:
    """Returns "closed" for a normalised yes or no and "open" for any other answer."""
    return "closed" if answer in CLOSED_ANSWERS else "open"
