"""Normalisation of answers, and their type: closed or open."""

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
"""Number words that become digits where they are whole words."""

SYMBOLS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
    | {"\u2212": "-"}
)
"""Maps typographic characters to plain ones."""

CLOSED_ANSWERS = ("yes", "no")


def normalise(answer: object) -> str:
    """Normalises an answer.

    In this order: compatibility characters and typographic quotes and dashes become plain; letters
    become lower case; number words from zero to twenty become digits; runs of white space become
    one space, which is removed before a comma, full stop, colon, semicolon, question or exclamation
    mark, after an opening and before a closing bracket; quotes around the whole answer and
    punctuation after it are removed. Articles, hyphens, units and word order stay, since they can
    distinguish answers.

    Args:
      answer: Answer as released; some datasets have numbers.

    Returns:
      The normalised answer, which `normalise` does not change.

    >>> normalise("  Left  Lung , and TWO nodules. ")
    'left lung, and 2 nodules'
    """
    text = unicodedata.normalize("NFKC", str(answer)).translate(SYMBOLS).lower()
    text = re.sub(r"(?<![\w-])[a-z]+(?![\w-])", _digits, text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" (?=[,.:;?!)\]])|(?<=[(\[]) ", "", text)
    return _strip_quotes_and_punctuation(text)


def _digits(word: re.Match[str]) -> str:
    return NUMBER_WORDS.get(word[0], word[0])


def _strip_quotes_and_punctuation(text: str) -> str:
    """Strips surrounding spaces and quotes and trailing punctuation until nothing changes."""
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
