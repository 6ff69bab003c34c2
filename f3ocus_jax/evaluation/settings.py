"""Settings of the evaluation on validation and test splits: `config.evaluation`."""

import dataclasses

from f3ocus_jax.config import Section, setting
from f3ocus_jax.evaluation.decodings import DECODINGS


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Section):
    """Batches of the evaluated splits, and the way answers are written."""

    batch_size: int = setting(64, "Examples per device and step.", at_least=1)
    decoding: str = setting(
        "greedy",
        'Way to write answers: "greedy", "beam", or "rank", which takes the likeliest of the '
        "answer vocabulary.",
        choices=DECODINGS,
    )
