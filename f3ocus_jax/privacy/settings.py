"""Settings of differential privacy: `config.privacy`."""

import dataclasses

from f3ocus_jax.config import Section, setting

NONE, EXAMPLE, CLIENT = "none", "example", "client"


@dataclasses.dataclass(frozen=True)
class PrivacyConfig(Section):
    """Differential privacy of training (docs/privacy.md)."""

    unit: str = setting(
        NONE,
        'What epsilon protects: "none" (no noise), "example" (one training example, by its client, '
        'against everybody else), or "client" (all training examples of one client, by the server, '
        "against whoever sees the models).",
        choices=(NONE, EXAMPLE, CLIENT),
    )
    clip: float = setting(
        1.0,
        "Largest Euclidean norm, layers and head together, of what one unit adds to a sum: of an "
        "example's gradient, or of a client's change.",
        above=0,
        at_most=1e9,
    )
    noise_multiplier: float = setting(
        1.0,
        "Standard deviation of the noise in a sum, divided by `clip`.",
        above=0,
        at_most=1e6,
    )
    score_clip: float = setting(
        1.0,
        "With unit = \"example\" and LNTK's scores: largest norm of an example's gradient in all "
        "layers together.",
        above=0,
        at_most=1e9,
    )
    score_noise_multiplier: float = setting(
        2.0,
        "Standard deviation of the noise of such a score, divided by the square of `score_clip`.",
        above=0,
        at_most=1e6,
    )
    epsilon: float = setting(
        0.0,
        "Budget of every client: the run ends before the round with which epsilon would exceed "
        "it; 0 for none.",
        at_least=0,
        at_most=1e6,
    )
    delta: float = setting(
        1e-5,
        "Probability with which epsilon need not hold; well below 1 / number of units.",
        above=0,
        below=1,
    )
    secret_seed: str = setting(
        "",
        'Secret that all noise is drawn from; "" for one of the operating system, new in every '
        "process. A secret that is written here is for runs that must be repeated, such as tests: "
        "whoever reads the settings can compute the noise.",
    )


NOT_PRIVATE = PrivacyConfig()
