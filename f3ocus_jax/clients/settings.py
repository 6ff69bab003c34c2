"""Settings of a client's local training: `config.training`."""

import dataclasses
from typing import Any

from f3ocus_jax.config import Section, setting
from f3ocus_jax.models import units

PRECISIONS = ("float32", "bfloat16")
DECAY_ALL, DECAY_MATRICES = "all", "matrices"
EVERY_ROUND, FIRST_ROUNDS, FROZEN = "every_round", "first_rounds", "frozen"
PERSONAL = "personal"
RESET, KEPT = "reset", "kept"
ADAMW, SGD = "adamw", "sgd"


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Section):
    """One client's local training."""

    unit: str = setting(
        "adapter",
        'Part of a layer that is trained: "adapter" (the one in its block), "block", "norm" or '
        '"bias" (those of the block), or "lora" (low-rank changes of its queries and values). With '
        '"prompt" there is one layer, the learned tokens in front of the stack.',
        choices=units.TRAINED_UNITS,
    )
    optimizer: str = setting(
        ADAMW,
        'Optimizer of layers and head: "adamw", or "sgd" without momentum and weight decay, which '
        "needs a much larger learning rate.",
        choices=(ADAMW, SGD),
    )
    learning_rate: float = setting(
        1e-3, "Learning rate of the optimizer, for layers and head.", above=0, at_most=100
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", at_least=0, at_most=1000)
    decay: str = setting(
        DECAY_ALL,
        'Parameters that decay: "all", or "matrices", which leaves out biases and the scales of '
        "norms.",
        choices=(DECAY_ALL, DECAY_MATRICES),
    )
    head: str = setting(
        EVERY_ROUND,
        'Rounds in which clients train the answer head: "every_round", "first_rounds" (as many as '
        '`head_rounds`, then it is frozen) or "frozen" (none). With "personal" they train it in '
        "every round, and each keeps its own, which is never sent.",
        choices=(EVERY_ROUND, FIRST_ROUNDS, FROZEN, PERSONAL),
    )
    head_rounds: int = setting(
        1, 'Rounds in which the head is trained where `head` is "first_rounds".', at_least=1
    )
    optimizer_state: str = setting(
        RESET,
        'Moments of AdamW at the start of a round: "reset", or "kept" by the client since it last '
        "trained the layer; twice the size of the layers for every client.",
        choices=(RESET, KEPT),
    )
    batch_size: int = setting(32, "Examples of one step.", at_least=1)
    local_epochs: float = setting(
        1.0,
        "Passes over the client's training split in a round; may be below 1.",
        above=0,
        at_most=10_000,
    )
    max_local_steps: int = setting(
        50, "Most steps of a client in a round.", at_least=1, at_most=1_000_000
    )
    precision: str = setting(
        "float32",
        '"float32", or "bfloat16" for blocks that compute with parameters of that precision; '
        "trained parameters have float32 masters.",
        choices=PRECISIONS,
    )
    rematerialise: bool = setting(
        False,
        "If True, the backward pass runs every block again instead of keeping what the forward "
        "pass found; less memory, more time.",
    )
    accumulate: int = setting(
        1,
        "Parts a batch is run in, one after the other; less memory, the same gradient. Divides "
        "`batch_size`.",
    )
    proximal: float = setting(
        0.0,
        "FedProx mu, which pulls clients back to where they started; 0 disables it.",
        at_least=0,
        at_most=1e6,
    )
    controls: bool = setting(
        False,
        "If True, server and clients keep control variates, which take the clients' drift out of "
        'their steps, as in SCAFFOLD. Needs optimizer = "sgd"; not for deployments.',
    )
    dual_adapters: bool = setting(
        False,
        "If True, every client has adapters of its own beside the shared ones, and both teach each "
        "other, as in FedDAT.",
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        divides = self.accumulate >= 1 and self.batch_size % self.accumulate == 0
        allowed = f"a divisor of config.training.batch_size = {self.batch_size}"
        self.require(divides, "accumulate", allowed)
        fits = self.optimizer == ADAMW or self.optimizer_state == RESET
        allowed = f"{RESET!r} where optimizer = {self.optimizer!r}, which has no moments"
        self.require(fits, "optimizer_state", allowed)
        exact = {"optimizer": SGD, "proximal": 0, "dual_adapters": False}
        for name, needed in exact.items() if self.controls else ():
            self.require(getattr(self, name) == needed, name, f"{needed!r} with training.controls")
        allowed = "that of all clients with training.controls"
        self.require(not self.controls or self.head != PERSONAL, "head", allowed)
        plain: dict[str, Any] = {"unit": "adapter", "precision": "float32", "accumulate": 1}
        plain |= {"proximal": 0, "optimizer_state": RESET}
        for name, needed in plain.items() if self.dual_adapters else ():
            allowed = f"{needed!r} with training.dual_adapters"
            self.require(getattr(self, name) == needed, name, allowed)

    def trains_head(self, number: int) -> bool:
        """Returns True if clients train the head in a round, by its number from 1."""
        return self.head in (EVERY_ROUND, PERSONAL) or (
            self.head == FIRST_ROUNDS and number <= self.head_rounds
        )

    def sends_head(self, number: int) -> bool:
        """Returns True if clients also send the head that they train in a round."""
        return self.head != PERSONAL and self.trains_head(number)
