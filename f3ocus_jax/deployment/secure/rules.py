"""What server and sites agree on about secure aggregation before a run, from its settings."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping

from f3ocus_jax.aggregation import weights
from f3ocus_jax.deployment.facts import Facts
from f3ocus_jax.deployment.secure.fixed_point import FixedPoint
from f3ocus_jax.federation.settings import ExperimentConfig


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules of a run.

    Attributes:
      run: Hash of what all members have in common.
      bits: Size of the masked integers.
      largest: Largest absolute number that a site sends.
      threshold: Fraction of the sites, more than which must help to unmask.
      minimum_sharers: Smallest number of sites whose sum is unmasked.
      keys: Public key of every site; empty if keys are not signed.
      weights: One of `weights.WEIGHTS`.
      clip_norm: Largest norm of a site's change; 0 for any.
    """

    run: str
    bits: int
    largest: float
    threshold: float
    minimum_sharers: int
    keys: Mapping[str, str]
    weights: str = weights.EXAMPLES
    clip_norm: float = 0.0

    def needed(self, sites: int) -> int:
        """Returns the number of sites of a round that must help to unmask: t of n shares."""
        return min(sites, math.floor(self.threshold * sites + 1e-9) + 1)

    def fixed_point(self, sites: int) -> FixedPoint:
        """Returns the integers of a round of some sites."""
        return FixedPoint(self.bits, self.largest, sites)

    def weight(self, examples: int) -> int:
        """Returns the weight of a site in the mean, by its number of training examples."""
        return 1 if self.weights == weights.EQUAL else examples

    def per_step(self, steps: int) -> float:
        """Returns the factor of a site's change: 1 over its local steps, as FedNova has it."""
        return 1 / steps if self.weights == weights.STEPS else 1.0


def make_rules(config: ExperimentConfig, facts: Facts) -> Rules:
    """Makes the rules of a run.

    Args:
      config: Settings of the run.
      facts: Hashes of what all members have in common, see `facts.of_run`.
    """
    secure, aggregation = config.secure_aggregation, config.aggregation
    return Rules(
        run=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        bits=secure.bits,
        largest=secure.largest,
        threshold=secure.threshold,
        minimum_sharers=config.limits.minimum_sharers,
        keys=secure.keys,
        weights=aggregation.weights,
        clip_norm=aggregation.clip_norm,
    )
