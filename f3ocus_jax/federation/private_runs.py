"""Settings that differential privacy rules out, each with its reason."""

from collections.abc import Iterator
from typing import Any

from f3ocus_jax.aggregation import MEAN
from f3ocus_jax.aggregation.low_rank import FACTORS
from f3ocus_jax.aggregation.outliers import REPORT
from f3ocus_jax.aggregation.weights import EQUAL
from f3ocus_jax.importance.lntk import LOSS
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.privacy.settings import CLIENT, EXAMPLE, PrivacyConfig

Condition = tuple[bool, str, str]
"""(True if a setting is possible, its name, its possible values), as `Section.require` takes."""

WITHOUT_DATA = ("random", "last", "magnitude", "synflow")
"""Scores that need no examples."""


def conditions(config: Any) -> Iterator[Condition]:
    """Yields the conditions that differential privacy puts on the other settings of a run.

    Args:
      config: An `ExperimentConfig`.
    """
    if config.privacy.unit in (EXAMPLE, CLIENT):
        allowed = f"False with config.privacy.unit = {config.privacy.unit!r}: no noise covers them"
        yield not config.training.controls, "training.controls", allowed
    if config.privacy.unit == EXAMPLE:
        yield from _of_examples(config)
    if config.privacy.unit == CLIENT:
        allowed = f"False with config.privacy.unit = {CLIENT!r}: the server must clip every update"
        yield not config.secure_aggregation.enabled, "secure_aggregation.enabled", allowed
        yield from _of_sums(config.aggregation)
        yield from _of_choice(config)


def has_private_scores(privacy: PrivacyConfig, importance: ImportanceConfig) -> bool:
    """Returns True if clients add noise to their scores, which are then those of examples."""
    return privacy.unit == EXAMPLE and importance.score not in WITHOUT_DATA


def _of_examples(config: Any) -> Iterator[Condition]:
    """Training and scores of one client: every example must be clipped by itself."""
    why = f"with config.privacy.unit = {EXAMPLE!r}"
    score, training = config.importance.score, config.training
    allowed = f"'float32' {why}: a norm must not exceed the limit by rounding"
    yield training.precision == "float32", "training.precision", allowed
    allowed = f"False {why}: the gradients of two branches are not clipped together"
    yield not training.dual_adapters, "training.dual_adapters", allowed
    names = ", ".join(WITHOUT_DATA)
    allowed = f"'lntk' or one that needs no data ({names}) {why}: no bound is known for another"
    yield score == "lntk" or score in WITHOUT_DATA, "importance.score", allowed
    if score != "lntk":
        return
    allowed = f"{LOSS!r} {why}: clipping bounds an example's loss, not all of its outputs"
    yield config.importance.lntk.kernel == LOSS, "importance.lntk.kernel", allowed
    allowed = f"False {why}: noised scores keep no eigenvectors"
    yield not config.importance.lntk.warm_start, "importance.lntk.warm_start", allowed


def _of_sums(settings: Any) -> Iterator[Condition]:
    """The server's sum: one client must change it by no more than the clipped norm."""
    why = f"with config.privacy.unit = {CLIENT!r}"
    allowed = f"{MEAN!r} {why}: the noise is that of a sum, not of a median or a trimmed mean"
    yield settings.rule == MEAN, "aggregation.rule", allowed
    allowed = f"{EQUAL!r} {why}: a weight by examples would scale what one client adds"
    yield settings.weights == EQUAL, "aggregation.weights", allowed
    allowed = f"{REPORT!r} {why}: a limit from the median of all norms depends on every client"
    yield settings.outliers == REPORT, "aggregation.outliers", allowed
    allowed = f"{FACTORS!r} {why}: the noise is that of a sum, not of a product"
    yield settings.low_rank == FACTORS, "aggregation.low_rank", allowed
    allowed = f"1 {why}: every client counts once"
    yield settings.max_weight_share == 1, "aggregation.max_weight_share", allowed
    allowed = f"0 {why}: config.privacy.clip is the limit"
    yield settings.clip_norm == 0, "aggregation.clip_norm", allowed


def _of_choice(config: Any) -> Iterator[Condition]:
    """The choice of layers: no client's data may change what another client trains."""
    if config.importance.score in WITHOUT_DATA:
        return
    score, limits = config.importance.score, config.limits
    why = (
        f"with config.privacy.unit = {CLIENT!r} and config.importance.score = {score!r}: the data "
        "of one client would change the layers of the others, which no noise covers"
    )
    yield config.selection.algorithm == "own", "selection.algorithm", f"'own' {why}"
    yield limits.minimum_coverage == 0, "limits.minimum_coverage", f"0 {why}"
    yield limits.maximum_coverage == 0, "limits.maximum_coverage", f"0 {why}"
    yield not config.importance.relative, "importance.relative", f"False {why}"
