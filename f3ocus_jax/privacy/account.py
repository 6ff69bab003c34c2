"""What a site has released of its examples, and the epsilon of it."""

import dataclasses

from f3ocus_jax.privacy import accountant, sampling
from f3ocus_jax.privacy.accountant import Mechanism, Releases
from f3ocus_jax.privacy.settings import PrivacyConfig


@dataclasses.dataclass(frozen=True)
class Spent:
    """Privacy that everything released so far has cost together.

    Attributes:
      epsilon: Upper bound of epsilon.
      delta: Probability with which it need not hold.
    """

    epsilon: float
    delta: float


@dataclasses.dataclass(frozen=True)
class Account:
    """Releases of one site with differential privacy of examples; adding to it makes a new one.

    Attributes:
      settings: The settings `config.privacy`.
      examples: N, number of training examples.
      batch_size: Expected number of examples in a batch.
      scores: Number of times that noised scores were released.
      steps: Number of local steps whose gradients were released, in updates.
    """

    settings: PrivacyConfig
    examples: int
    batch_size: int
    scores: int = 0
    steps: int = 0

    @property
    def releases(self) -> Releases:
        """Number of uses of each mechanism."""
        settings = self.settings
        rate = sampling.sampling_rate(self.examples, self.batch_size)
        of_steps = Mechanism(settings.noise_multiplier, rate)
        of_scores = Mechanism(settings.score_noise_multiplier)
        if of_steps == of_scores:
            return {of_steps: self.steps + self.scores}
        return {of_steps: self.steps, of_scores: self.scores}

    @property
    def spent(self) -> Spent:
        """What the releases have cost."""
        delta = self.settings.delta
        return Spent(accountant.epsilon(self.releases, delta), delta)

    def add(self, *, scores: int = 0, steps: int = 0) -> "Account":
        """Returns the account after further releases."""
        return dataclasses.replace(self, scores=self.scores + scores, steps=self.steps + steps)

    def allows(self, *, scores: int = 0, steps: int = 0) -> bool:
        """Returns True if further releases stay within the budget; True without a budget."""
        budget = self.settings.epsilon
        return not budget or self.add(scores=scores, steps=steps).spent.epsilon <= budget
