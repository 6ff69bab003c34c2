"""Which settings has the choice of layers: how they are scored, chosen, and limited?"""

import dataclasses
from collections.abc import Mapping

from f3ocus_jax.config.checks import require

REDUCTIONS = ("sum", "mean")
KERNELS = ("outputs", "loss")
NTK_METHODS = ("auto", "gram", "lanczos", "parameters", "sweep")


@dataclasses.dataclass(frozen=True)
class ImportanceConfig:
    """How layers are scored (F³OCUS, section 3.2).

    Attributes:
      score: a key of `f3ocus_jax.importance.SCORES`.
      reduction: "sum" or "mean" over a layer's elements, for scores of single parameters; of no
        effect where all layers have as many.
      probe_examples: n, training examples the score is taken on, drawn anew every round unless
        `warm_start` keeps them.
      probe_batches: how many batches they are dealt to, for scores that are means over batches.
      kernel: of "lntk", "outputs" for the kernel of all answers of all examples, [n·k, n·k], "loss"
        for that of the examples' losses, [n, n].
      method: of "lntk", how eigenvalues are found (docs/importance.md); "auto" counts which is
        cheapest.
      memory_limit: of "lntk", bytes beside the parameters that "auto" keeps to where it can.
      tolerance: of "lntk", relative Lanczos residual at which an eigenvalue is accepted.
      max_iterations: of "lntk", Lanczos iterations after which it is reported as not converged.
      warm_start: of "lntk", whether every client keeps its probe examples for the whole run, and
        each search for their eigenvectors starts from the last round's.
      spt_share: of "spt", the share of all selectable parameters that counts as sensitive.
      fedselect_steps: of "fedselect", steps of local training on the probe examples.
    """

    score: str
    reduction: str
    probe_examples: int
    probe_batches: int
    kernel: str
    method: str
    memory_limit: int
    tolerance: float
    max_iterations: int
    warm_start: bool
    spt_share: float
    fedselect_steps: int

    def __post_init__(self) -> None:
        require(
            self.reduction in REDUCTIONS,
            "importance.reduction",
            self.reduction,
            f"one of {REDUCTIONS}",
        )
        require(self.probe_examples >= 1, "importance.probe_examples", self.probe_examples, ">= 1")
        most = self.probe_examples
        require(
            1 <= self.probe_batches <= most,
            "importance.probe_batches",
            self.probe_batches,
            f"between 1 and {most}, the probe examples",
        )
        kernel, method, limit = self.kernel, self.method, self.memory_limit
        require(kernel in KERNELS, "importance.kernel", kernel, f"one of {KERNELS}")
        require(method in NTK_METHODS, "importance.method", method, f"one of {NTK_METHODS}")
        require(limit >= 0, "importance.memory_limit", limit, ">= 0, in bytes")
        tolerance = self.tolerance
        require(0 < tolerance < 1, "importance.tolerance", tolerance, "between 0 and 1")
        require(self.max_iterations >= 1, "importance.max_iterations", self.max_iterations, ">= 1")
        warm, allowed = self.warm_start, 'False, or True with config.importance.score = "lntk"'
        require(not warm or self.score == "lntk", "importance.warm_start", warm, allowed)
        share, steps = self.spt_share, self.fedselect_steps
        require(0 < share <= 1, "importance.spt_share", share, "above 0 and at most 1")
        require(steps >= 1, "importance.fedselect_steps", steps, ">= 1")


@dataclasses.dataclass(frozen=True)
class SelectionConfig:
    """How the server chooses who trains which layer (F³OCUS, section 3.3).

    Attributes:
      algorithm: a key of `f3ocus_jax.selection.SELECTORS`.
      population: P.
      generations: how often the population is renewed each round.
      pick: which point of the front is used; a key of `f3ocus_jax.selection.PICKS`.
      pick_value: the largest variance allowed for "importance", the place on the front for "index".
    """

    algorithm: str
    population: int
    generations: int
    pick: str
    pick_value: float

    def __post_init__(self) -> None:
        require(self.population >= 2, "selection.population", self.population, ">= 2")
        require(self.generations >= 1, "selection.generations", self.generations, ">= 1")


@dataclasses.dataclass(frozen=True)
class LimitsConfig:
    """Limits on the choice of layers beyond the paper's budgets.

    Attributes:
      forbidden: layers that a client may not train, by its name.
      minimum_coverage: how many clients must at least train each layer in every round.
      maximum_coverage: how many may at most; 0 for any number.
    """

    forbidden: Mapping[str, tuple[int, ...]]
    minimum_coverage: int
    maximum_coverage: int

    def __post_init__(self) -> None:
        least, most = self.minimum_coverage, self.maximum_coverage
        require(least >= 0, "limits.minimum_coverage", least, ">= 0")
        allowed = f"0, or at least config.limits.minimum_coverage = {least}"
        require(most == 0 or most >= least, "limits.maximum_coverage", most, allowed)
