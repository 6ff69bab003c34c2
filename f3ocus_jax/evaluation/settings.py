"""Settings of the evaluation on validation and test splits: `config.evaluation`."""

import dataclasses

from f3ocus_jax.config import Periodic, Section, setting
from f3ocus_jax.evaluation.decodings import DECODINGS


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Periodic, Section):
    """Rounds that are evaluated, batches of the splits, and the way answers are written."""

    every: int = setting(
        1,
        "Rounds from one evaluation to the next; the model before round 1 and that of the last "
        "round are evaluated in any case, and a round is chosen among those that are.",
        at_least=1,
    )
    test: bool = setting(
        True,
        "False to leave the test splits out: validation examples alone are measured, and the run "
        "has neither table nor figures. For runs that choose settings.",
    )
    features: int = setting(
        0,
        "Test examples of each client whose pooled features, before training and after the last "
        "round, are kept in features.npz for the t-SNE of a sweep's report; 0 for none.",
        at_least=0,
        at_most=10_000,
        because="the file holds every number of them",
    )
    batch_size: int = setting(64, "Examples per device and step.", at_least=1)
    decoding: str = setting(
        "greedy",
        'Way to write answers: "greedy", "beam", or "rank", which takes the likeliest of the '
        "answer vocabulary.",
        choices=DECODINGS,
    )
