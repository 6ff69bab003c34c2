"""Settings of the layers' scores: `config.importance` (F³OCUS, section 3.2)."""

import dataclasses

from f3ocus_jax.config import Section, section, setting
from f3ocus_jax.importance import SCORES, LntkOptions

REDUCTIONS = ("sum", "mean")


@dataclasses.dataclass(frozen=True)
class ImportanceConfig(Section):
    """Score of every layer to a client, and the examples it is taken on."""

    score: str = setting("lntk", "Score of a layer.", choices=SCORES)
    every: int = setting(
        1,
        "Rounds from one score of a client to its next; in between, its last score counts.",
        at_least=1,
    )
    reduction: str = setting(
        "sum",
        'Reduction over a layer\'s elements, for scores of single parameters: "sum" or "mean"; no '
        "effect where all layers have equally many.",
        choices=REDUCTIONS,
    )
    probe_examples: int = setting(
        16,
        "Training examples the score is taken on, drawn anew every round unless `lntk.warm_start` "
        "keeps them.",
        at_least=1,
    )
    probe_batches: int = setting(
        4,
        "Batches that the probe examples are dealt to, for scores that are means over batches; at "
        "most `probe_examples`.",
        at_least=1,
    )
    shuffled: bool = setting(
        False,
        "Exchange the scores of the layers by one permutation of the run, the same for all clients "
        "and rounds: a control that keeps the values and forgets whose they are.",
    )
    relative: bool = setting(
        False,
        "Divide each layer's score by its mean over the clients of the round before layers are "
        "chosen: a correction for depth, which leaves what a client needs more than the others do.",
    )
    # The options of the other scores are subsections as well; these are read by other stages.
    lntk: LntkOptions = section(LntkOptions)

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        most = self.probe_examples
        allowed = f"between 1 and {most}, the probe examples"
        self.require(self.probe_batches <= most, "probe_batches", allowed)
        allowed = 'False, or True with config.importance.score = "lntk"'
        self.require(not self.lntk.warm_start or self.score == "lntk", "lntk.warm_start", allowed)
