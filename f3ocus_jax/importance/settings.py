"""Settings of the layers' scores: `config.importance` (F³OCUS, section 3.2)."""

import dataclasses

from f3ocus_jax.config import Section, setting
from f3ocus_jax.importance import SCORES
from f3ocus_jax.importance.methods import METHODS
from f3ocus_jax.importance.spectrum import AUTO

REDUCTIONS = ("sum", "mean")
KERNELS = ("outputs", "loss")


@dataclasses.dataclass(frozen=True)
class ImportanceConfig(Section):
    """Score of every layer to a client, and the examples it is taken on."""

    score: str = setting("lntk", "Score of a layer.", choices=SCORES)
    reduction: str = setting(
        "sum",
        'Reduction over a layer\'s elements, for scores of single parameters: "sum" or "mean"; of '
        "no effect where all layers have as many.",
        choices=REDUCTIONS,
    )
    probe_examples: int = setting(
        16,
        "Training examples the score is taken on, drawn anew every round unless `warm_start` keeps "
        "them.",
        at_least=1,
    )
    probe_batches: int = setting(
        4,
        "Batches they are dealt to, for scores that are means over batches; at most "
        "`probe_examples`.",
    )
    kernel: str = setting(
        "outputs",
        'Kernel of "lntk": "outputs" for that of all answers of all examples, [n·k, n·k], "loss" '
        "for that of the examples' losses, [n, n].",
        choices=KERNELS,
    )
    method: str = setting(
        AUTO,
        'Way in which "lntk" finds eigenvalues (docs/importance.md); "auto" counts which is '
        "cheapest.",
        choices=(AUTO, *METHODS),
    )
    memory_limit: int = setting(
        2**32,
        'Memory of "lntk" beside the parameters that "auto" keeps to where it can.',
        at_least=0,
        unit="bytes",
    )
    tolerance: float = setting(
        1e-4,
        'Relative Lanczos residual at which "lntk" accepts an eigenvalue.',
        above=0,
        below=1,
    )
    max_iterations: int = setting(
        64,
        'Lanczos iterations after which "lntk" reports an eigenvalue as not converged.',
        at_least=1,
    )
    warm_start: bool = setting(
        False,
        'If True, with "lntk", every client keeps its probe examples for the whole run, and each '
        "search for their eigenvectors starts from the last round's.",
    )
    spt_share: float = setting(
        0.01,
        'Share of all selectable parameters that "spt" counts as sensitive.',
        above=0,
        at_most=1,
    )
    fedselect_steps: int = setting(
        8, 'Steps of local training on the probe examples, of "fedselect".', at_least=1
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        most = self.probe_examples
        allowed = f"between 1 and {most}, the probe examples"
        self.require(1 <= self.probe_batches <= most, "probe_batches", allowed)
        allowed = 'False, or True with config.importance.score = "lntk"'
        self.require(not self.warm_start or self.score == "lntk", "warm_start", allowed)
