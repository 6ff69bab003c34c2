"""Settings of the server's aggregation: `config.aggregation` (F³OCUS, section 3.1)."""

import dataclasses

from f3ocus_jax.aggregation import MEAN, RULES
from f3ocus_jax.aggregation.optimizers import OPTIMIZERS
from f3ocus_jax.config import Section, setting


@dataclasses.dataclass(frozen=True)
class AggregationConfig(Section):
    """Rule that combines the clients' updates, and the server's step from their change."""

    rule: str = setting(
        MEAN,
        'Rule: "mean" is weighted by training examples, and added up as clients come in. The '
        "others are for clients that are not trusted: every client counts once, and all updates of "
        "a round are held in memory.",
        choices=RULES,
    )
    clip_norm: float = setting(
        0.0,
        "Largest Euclidean norm of a client's change, layers and head together; longer ones are "
        "scaled down; 0 for any.",
        at_least=0,
        at_most=1e9,
    )
    optimizer: str = setting(
        "fedavg",
        "Optimizer of the server, which takes the change for a negative gradient.",
        choices=OPTIMIZERS,
    )
