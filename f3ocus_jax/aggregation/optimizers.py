"""Optimizers of the server over rounds (Reddi et al., 2021, "Adaptive Federated Optimization").

Adam and Yogi correct their bias, as optax does.
"""

import dataclasses

import optax

from f3ocus_jax.config import Component, Section, setting


@dataclasses.dataclass(frozen=True)
class MomentumOptions(Section):
    """Options of FedAvgM."""

    momentum: float = setting(0.9, "Decay rate of the momentum.", at_least=0, below=1)


@dataclasses.dataclass(frozen=True)
class AdaptiveOptions(Section):
    """Options of FedAdam and of FedYogi."""

    momentum: float = setting(0.9, "Decay rate of the first moment.", at_least=0, below=1)
    second_momentum: float = setting(0.99, "Decay rate of the second moment.", at_least=0, below=1)
    epsilon: float = setting(
        1e-3,
        "Number added to the root of the second moment; the larger, the less adaptive.",
        above=0,
    )


def make_fedavg(learning_rate: float) -> optax.GradientTransformation:
    """Makes plain averaging: a step of `learning_rate` times the clients' mean change."""
    return optax.sgd(learning_rate)


def make_fedavgm(learning_rate: float, options: MomentumOptions) -> optax.GradientTransformation:
    """Makes averaging with momentum over rounds (Hsu et al., 2019)."""
    return optax.sgd(learning_rate, momentum=options.momentum)


def make_fedadam(learning_rate: float, options: AdaptiveOptions) -> optax.GradientTransformation:
    """Makes Adam over rounds."""
    return optax.adam(learning_rate, options.momentum, options.second_momentum, options.epsilon)


def make_fedyogi(learning_rate: float, options: AdaptiveOptions) -> optax.GradientTransformation:
    """Makes Yogi over rounds."""
    return optax.yogi(learning_rate, options.momentum, options.second_momentum, options.epsilon)


OPTIMIZERS = {
    "fedavg": Component(None, make_fedavg),
    "fedavgm": Component(MomentumOptions, make_fedavgm),
    "fedadam": Component(AdaptiveOptions, make_fedadam),
    "fedyogi": Component(AdaptiveOptions, make_fedyogi),
}
"""Server optimizers by name: make(learning_rate[, options]) -> optax transformation."""
