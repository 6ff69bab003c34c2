"""Classes of the common heads: the texts of a list, or hashes on which the sites agree.

A hash keeps an answer from who does not know it. It does not hide an answer that can be guessed:
whoever has the salt can hash every guess and compare.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping

from f3ocus_jax.errors import ConfigError, DamagedError
from tfds_medvqa.common import whole_file
from tfds_medvqa.common.answers import normalise

ANSWERS, FINDINGS = "answers", "findings"
"""The two lists of classes."""

PREFIX = "sha256:"
"""Begins the name of a class that is known by its hash."""

NORMALISED: Mapping[str, Callable[[str], str]] = {ANSWERS: normalise, FINDINGS: str.strip}
"""List to the form in which its texts are compared."""


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The classes of a federation.

    Attributes:
      salt: Random text in every hash.
      answers: Answers in the order of the classes.
      findings: Findings likewise.
      hashed: Names of the lists that hold hashes.
    """

    salt: str
    answers: tuple[str, ...]
    findings: tuple[str, ...]
    hashed: tuple[str, ...]

    def known(self, name: str, own: Iterable[str]) -> tuple[str, ...]:
        """Returns the classes of a list, each as its text where a site has the text.

        Args:
          name: Name of the list.
          own: Texts of the site.
        """
        agreed: tuple[str, ...] = getattr(self, name)
        if name not in self.hashed:
            return agreed
        texts = {hashed(self.salt, name, text): text for text in own}
        return tuple(texts.get(each, each) for each in agreed)

    def write(self, path: pathlib.Path) -> None:
        """Writes a file in one step."""
        whole_file.write(path, json.dumps(dataclasses.asdict(self)) + "\n")

    @classmethod
    def read(cls, path: pathlib.Path) -> "Agreement":
        """Reads what `write` has written.

        Raises:
          DamagedError: If it is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            lists = {name: tuple(content[name]) for name in (ANSWERS, FINDINGS, "hashed")}
            return cls(str(content["salt"]), **lists)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(
                f"{path} is absent or damaged ({error}): restore it, or start in a new workdir"
            ) from error


def hashed(salt: str, name: str, text: str) -> str:
    """Returns the name of a class by its hash.

    Args:
      salt: Random text of the federation.
      name: Name of the list.
      text: The class, normalised.
    """
    return PREFIX + hashlib.sha256(f"{salt}\0{name}\0{text}".encode()).hexdigest()


def hashes(salt: str, name: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Returns the hashes of some classes, sorted, so that their order tells nothing."""
    return tuple(sorted({hashed(salt, name, text) for text in texts}))


def union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Returns the classes that any site has, sorted: a function of the set alone."""
    return tuple(sorted({each for one in lists for each in one}))


def read_list(path: str, name: str) -> tuple[str, ...]:
    """Reads a file with one class per line; empty lines are left out.

    Args:
      path: Path of the file, in UTF-8.
      name: Name of the list, which is that of its setting.

    Raises:
      ConfigError: If the file is absent, holds no class, or one twice.
    """
    setting = f"config.deployment.{name} = {path!r}"
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{setting} cannot be read: {error}") from error
    classes = tuple(NORMALISED[name](line) for line in lines if line.strip())
    twice = [each for each, count in collections.Counter(classes).items() if count > 1]
    if twice or not classes:
        problem = f"holds {twice[0]!r} twice" if twice else "holds no line"
        raise ConfigError(f"{setting} {problem}, must have every class once")
    return classes
