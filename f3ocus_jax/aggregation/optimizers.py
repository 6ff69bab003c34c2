"""Optimizers of the server over rounds (Reddi et al., 2021, "Adaptive Federated Optimization").

Adam and Yogi correct their bias, as optax does.
"""

import dataclasses

import optax

from f3ocus_jax.config import Component, Section, setting

AVERAGING_RATE = 1.0
"""The clients' mean change itself is the step (McMahan et al., 2017)."""

ADAPTIVE_RATE = 0.01
"""About the length of a step of every parameter in the first rounds, whatever the change's size.

Reddi et al. (2021) divide by the root of the second moment, as Adam does, so that a rate of 1 would
move every parameter by about 1 in the first round. They tune the rate for each task, below 1.
"""


@dataclasses.dataclass(frozen=True)
class AveragingOptions(Section):
    """Options of FedAvg."""

    learning_rate: float = setting(
        AVERAGING_RATE, "Factor of the clients' combined change.", above=0, at_most=100
    )


@dataclasses.dataclass(frozen=True)
class MomentumOptions(AveragingOptions):
    """Options of FedAvgM."""

    momentum: float = setting(0.9, "Decay rate of the momentum.", at_least=0, below=1)


@dataclasses.dataclass(frozen=True)
class AdaptiveOptions(Section):
    """Options of FedAdam and of FedYogi."""

    learning_rate: float = setting(
        ADAPTIVE_RATE,
        "Learning rate: about the step of every parameter in the first rounds.",
        above=0,
        at_most=100,
    )
    momentum: float = setting(0.9, "Decay rate of the first moment.", at_least=0, below=1)
    second_momentum: float = setting(0.99, "Decay rate of the second moment.", at_least=0, below=1)
    epsilon: float = setting(
        1e-3,
        "Number added to the root of the second moment; the larger, the less adaptive.",
        above=0,
        at_most=1e6,
    )


def make_fedavg(options: AveragingOptions) -> optax.GradientTransformation:
    """Makes plain averaging: a step of the learning rate times the clients' combined change."""
    return optax.sgd(options.learning_rate)


def make_fedavgm(options: MomentumOptions) -> optax.GradientTransformation:
    """Makes averaging with momentum over rounds (Hsu et al., 2019)."""
    return optax.sgd(options.learning_rate, momentum=options.momentum)


def make_fedadam(options: AdaptiveOptions) -> optax.GradientTransformation:
    """Makes Adam over rounds."""
    rates = (options.learning_rate, options.momentum, options.second_momentum)
    return optax.adam(*rates, options.epsilon)


def make_fedyogi(options: AdaptiveOptions) -> optax.GradientTransformation:
    """Makes Yogi over rounds."""
    rates = (options.learning_rate, options.momentum, options.second_momentum)
    return optax.yogi(*rates, options.epsilon)


OPTIMIZERS = {
    "fedavg": Component(AveragingOptions, make_fedavg),
    "fedavgm": Component(MomentumOptions, make_fedavgm),
    "fedadam": Component(AdaptiveOptions, make_fedadam),
    "fedyogi": Component(AdaptiveOptions, make_fedyogi),
}
"""Server optimizers by name: make(options) -> optax transformation."""
