"""Answer vocabulary of a federation: the classes of the answer head."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.answers import normalise


def count_answers(clients: Sequence[Iterable[str]]) -> collections.Counter[str]:
    """Counts the normalised answers of some clients."""
    return collections.Counter(normalise(answer) for client in clients for answer in client)


@dataclasses.dataclass(frozen=True)
class AnswerVocabulary:
    """The classes of the answer head.

    Attributes:
      answers: Normalised answers, each once; the position of an answer is its class.
    """

    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = collections.Counter(self.answers)
        twice = sorted(answer for answer, count in counts.items() if count > 1)
        if twice:
            raise ConfigError(f"the answer {twice[0]!r} occurs twice among the answers")

    @classmethod
    def from_answers(
        cls, clients: Sequence[Iterable[str]], minimum_count: int = 1
    ) -> "AnswerVocabulary":
        """Makes the vocabulary of a federation.

        Args:
          clients: Training answers of every client; never test answers, which would leak into
            the model.
          minimum_count: Least number of occurrences of an answer over all clients.

        Returns:
          The vocabulary, sorted, so that the order of clients and examples does not matter.

        Raises:
          ConfigError: if no answer is that frequent.
        """
        return cls.from_counts(count_answers(clients), minimum_count)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], minimum_count: int = 1) -> "AnswerVocabulary":
        """Makes the vocabulary from `count_answers` of all clients; see `from_answers`."""
        frequent = sorted(answer for answer, count in counts.items() if count >= minimum_count)
        if not frequent:
            highest = max(counts.values(), default=0)
            raise ConfigError(
                f"config.data.minimum_answer_count = {minimum_count}, must be at most {highest}: "
                "no training answer occurs more often"
            )
        return cls(tuple(frequent))

    @functools.cached_property
    def _classes(self) -> dict[str, int]:
        return {answer: index for index, answer in enumerate(self.answers)}

    def __len__(self) -> int:
        return len(self.answers)

    def index(self, answer: str) -> int:
        """Returns the class of an answer, which is normalised first; -1 if it is unknown."""
        return self._classes.get(normalise(answer), -1)
