"""Normalisation of answers, and their type: closed or open."""

import re
import types
import unicodedata
from collections.abc import Collection, Mapping

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

CLOSED_ANSWERS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "ar": ("نعم", "لا"),
        "bg": ("да", "не"),
        "cs": ("ano", "ne"),
        "da": ("ja", "nej"),
        "de": ("ja", "nein"),
        "el": ("ναι", "όχι"),  # noqa: RUF001
        "en": ("yes", "no"),
        "es": ("sí", "si", "no"),
        "fi": ("kyllä", "ei"),
        "fr": ("oui", "non"),
        "he": ("כן", "לא"),
        "hi": ("हाँ", "हां", "नहीं"),
        "hu": ("igen", "nem"),
        "id": ("ya", "tidak"),
        "it": ("sì", "si", "no"),
        "ja": ("はい", "いいえ"),
        "ko": ("예", "네", "아니요", "아니오"),
        "nl": ("ja", "nee"),
        "no": ("ja", "nei"),
        "pl": ("tak", "nie"),
        "pt": ("sim", "não"),
        "ro": ("da", "nu"),
        "ru": ("да", "нет"),
        "sv": ("ja", "nej"),
        "th": ("ใช่", "ไม่ใช่"),
        "tr": ("evet", "hayır", "hayir"),  # noqa: RUF001
        "sk": ("áno", "nie"),
        "uk": ("так", "ні"),
        "vi": ("có", "không"),
        "zh": ("是", "是的", "否", "不是", "有", "没有", "对", "不对"),
    }
)
"""Language (ISO 639-1) to the answers of its closed questions, normalised."""

EVERY_CLOSED = frozenset(word for words in CLOSED_ANSWERS.values() for word in words)
"""Answers of closed questions in any of these languages."""


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


def answer_type(answer: str, language: str = "en", further: Collection[str] = ()) -> str:
    """Returns "closed" for a yes or no and "open" for any other answer.

    Args:
      answer: Normalised answer.
      language: Language of the question, as in "en", "de-CH" or "pt_BR"; one that is not in
        `CLOSED_ANSWERS` has the answers of all languages there.
      further: Further answers of closed questions, normalised.

    >>> answer_type("nein", "de-CH"), answer_type("nein", "en"), answer_type("nein", "unknown")
    ('closed', 'open', 'closed')
    """
    known = CLOSED_ANSWERS.get(re.split("[-_]", language.lower(), maxsplit=1)[0], EVERY_CLOSED)
    return "closed" if answer in known or answer in further else "open"
