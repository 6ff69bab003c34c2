"""Settings of the server's aggregation (F³OCUS, section 3.1), and of sums that hide their terms."""

import dataclasses
import re
from collections.abc import Mapping

from f3ocus_jax.aggregation import MEAN, RULES
from f3ocus_jax.aggregation.low_rank import FACTORS, LOW_RANK, PRODUCT
from f3ocus_jax.aggregation.optimizers import OPTIMIZERS
from f3ocus_jax.aggregation.outliers import OUTLIERS, REPORT
from f3ocus_jax.aggregation.weights import EQUAL, EXAMPLES, STEPS, WEIGHTS
from f3ocus_jax.config import Section, paths, setting


@dataclasses.dataclass(frozen=True)
class AggregationConfig(Section):
    """Rule that combines the clients' updates, and the server's step from their change."""

    rule: str = setting(
        MEAN,
        'Rule: "mean" is weighted as `weights` says, and added up as clients come in. The '
        "others are for clients that are not trusted: every client counts once, and all updates of "
        "a round are held in memory.",
        choices=RULES,
    )
    weights: str = setting(
        EXAMPLES,
        'Weight of a client in the mean of a layer: "examples" (training examples), "equal", or '
        '"steps" (examples, with changes divided by the local steps, as in FedNova).',
        choices=WEIGHTS,
    )
    low_rank: str = setting(
        FACTORS,
        'Mean of low-rank changes, for `training.unit` = "lora": "factors" (each map by itself, '
        'which is not the mean change) or "product" (the mean change, by singular values; all '
        "updates of a round are held in memory).",
        choices=LOW_RANK,
    )
    clip_norm: float = setting(
        0.0,
        "Largest Euclidean norm of a client's change, layers and head together; longer ones are "
        "scaled down; 0 for any.",
        at_least=0,
        at_most=1e9,
    )
    outliers: str = setting(
        REPORT,
        "Treatment, before the rule, of updates whose norm is above `outlier_ratio` times the "
        'round\'s median norm: "report" (in the records, and where a round fails), "clip" (scaled '
        'down to it) or "drop". The last two hold all updates of a round in memory.',
        choices=OUTLIERS,
    )
    outlier_ratio: float = setting(
        5.0,
        "Multiple of the round's median norm above which the norm of an update is an outlier.",
        at_least=1,
        at_most=1e6,
    )
    max_weight_share: float = setting(
        1.0,
        "Largest share of one client in the mean of a layer, by its number of examples; 1 for any. "
        "Layers of fewer than 1 / share clients count them equally.",
        above=0,
        at_most=1,
    )
    optimizer: str = setting(
        "fedavg",
        "Optimizer of the server, which takes the change for a negative gradient.",
        choices=OPTIMIZERS,
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        fits = self.weights == EXAMPLES or self.rule == MEAN
        allowed = f"{EXAMPLES!r} where rule = {self.rule!r}, which has one vote per client"
        self.require(fits, "weights", allowed)
        if self.low_rank == PRODUCT:
            self._check_product()

    def _check_product(self) -> None:
        """Refuses what works on each map by itself."""
        given = f"with low_rank = {PRODUCT!r}"
        for name, only in (("rule", MEAN), ("optimizer", "fedavg")):
            self.require(getattr(self, name) == only, name, f"{only!r} {given}")
        self.require(self.weights != STEPS, "weights", f"{EXAMPLES!r} or {EQUAL!r} {given}")
        rate = getattr(self, self.optimizer).learning_rate
        self.require(rate == 1, "fedavg.learning_rate", f"1 {given}, whose maps are replaced")

    @property
    def streams(self) -> bool:
        """True if updates are added up as they come in, and none is kept."""
        at_once = self.low_rank == PRODUCT or self.outliers != REPORT
        return self.rule == MEAN and not at_once


@dataclasses.dataclass(frozen=True)
class SecureAggregationConfig(Section):
    """Secure aggregation over the protocol: the server learns sums over sites, and no term."""

    enabled: bool = setting(
        False,
        "Sites mask their updates, so that the server of a deployment learns the sum of every "
        "layer alone (docs/deployment.md); a simulation adds up in the open.",
    )
    bits: int = setting(
        32,
        "Size of the integers that stand for changes, and of a number in a message: 16, 32 or 64.",
        at_least=16,
        at_most=64,
    )
    largest: float = setting(
        1.0,
        "Largest absolute change of a parameter that an integer stands for, with the change "
        "multiplied by the site's weight over the largest weight; larger ones are clipped, and "
        "counted.",
        above=0,
        at_most=1e6,
    )
    threshold: float = setting(
        0.5,
        "Fraction of a round's sites, more than which must answer to take the masks off, and more "
        "than which together could take them off a single update.",
        at_least=0.5,
        below=1,
    )
    single_sharers: bool = setting(
        False,
        "Allows config.limits.minimum_sharers = 1, with which the sum of a layer that one site "
        "trains is that site's own update.",
    )
    keys: Mapping[str, str] = setting(
        {},
        "Ed25519 public key of every site, by its name, in hexadecimal; with them the server "
        "cannot play a site. Empty for sites that trust the server's list of keys.",
    )
    identity: str = setting(
        "",
        'File of this site\'s Ed25519 private key, in PEM; "" without `keys`.',
        path=paths.Kind.LOCAL_OR_NONE,
    )

    def __post_init__(self) -> None:
        """Checks the size of the integers and the form of the keys."""
        super().__post_init__()
        self.require(self.bits in (16, 32, 64), "bits", "16, 32 or 64")
        right = all(re.fullmatch("[0-9a-f]{64}", key) for key in self.keys.values())
        self.require(right, "keys", "64 hexadecimal digits each, in lower case")
