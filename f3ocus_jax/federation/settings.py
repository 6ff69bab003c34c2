"""Settings of a whole run, and of its rounds, choice of layers, limits and checkpoints."""

import dataclasses
from collections.abc import Mapping

from f3ocus_jax.aggregation import MEAN
from f3ocus_jax.aggregation.low_rank import FACTORS, PRODUCT
from f3ocus_jax.aggregation.outliers import REPORT
from f3ocus_jax.aggregation.settings import AggregationConfig, SecureAggregationConfig
from f3ocus_jax.clients.backends import BACKENDS
from f3ocus_jax.clients.settings import EVERY_ROUND, RESET, TrainingConfig
from f3ocus_jax.config import SEED, Component, Periodic, Section, paths, section, setting
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.federation import private_runs
from f3ocus_jax.federation.layer_costs import BUDGET_UNITS
from f3ocus_jax.hosts import DistributedConfig
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.models.settings import ModelConfig
from f3ocus_jax.models.spec import CLASSIFY, GENERATE
from f3ocus_jax.privacy.settings import PrivacyConfig
from f3ocus_jax.report.settings import ReportConfig
from f3ocus_jax.selection import PICKS, PUBLISHED, SELECTORS, SHAPES, VARIANTS


@dataclasses.dataclass(frozen=True)
class ImportancePickOptions(Section):
    """Options of the pick of the most important point."""

    largest_variance: float = setting(
        0.0, "Largest variance of the point.", at_least=0, at_most=1e12
    )


@dataclasses.dataclass(frozen=True)
class IndexPickOptions(Section):
    """Options of the pick by index."""

    position: int = setting(
        0,
        "Index on the front, 0 for the least important point; beyond the end, the end.",
        at_least=0,
    )


PICK_VALUES = dict.fromkeys(PICKS, Component(None, lambda: 0.0)) | {
    "importance": Component(ImportancePickOptions, lambda options: options.largest_variance),
    "index": Component(IndexPickOptions, lambda options: float(options.position)),
}
"""Picks of `selection.PICKS` that take a value: make([options]) -> value."""


EXACT, AT_MOST = "exact", "at_most"
OPEN_ENDED = ("exact", "own")
"""Algorithms that take budgets that need not be spent."""


@dataclasses.dataclass(frozen=True)
class SelectionConfig(Section):
    """The server's choice of who trains which layer (F³OCUS, section 3.3)."""

    algorithm: str = setting("nsga2", "Algorithm of the choice.", choices=SELECTORS)
    variant: str = setting(
        "memetic",
        'Variant of the five metaheuristics: "memetic" with a shared local search, or "published" '
        "as their own publications describe them, from a random population.",
        choices=VARIANTS,
    )
    budgets: str = setting(
        EXACT,
        'Layers that a client trains: "exact", as many as its budget allows, or "at_most", one or '
        'more up to that number, as the paper states it; for the algorithms "exact" and "own".',
        choices=(EXACT, AT_MOST),
    )
    population: int = setting(
        100, "Size of the population and of the front.", at_least=2, at_most=100_000
    )
    generations: int = setting(
        100,
        "Renewals of the population in a round.",
        at_least=1,
        at_most=1_000_000,
        because="every round waits for all of them",
    )
    disagreement_cost: float = setting(
        0.01,
        'Cost of a layer that one of two clients trains and the other does not, for "regularised" '
        "(Sun et al., 2024); all layers of a client have an importance of 1 together.",
        at_least=0,
        at_most=1e6,
    )
    shape: str = setting(
        "triangle",
        'Shape in which clients train layers together, for "allocated" (Fed-HeLLo): "triangle", '
        'mostly those of the input, "inverted_triangle", mostly those of the output, "bottleneck", '
        'mostly those of both ends, "uniform", or "fisher", drawn by the clients\' scores.',
        choices=SHAPES,
    )
    randomised: bool = setting(
        False,
        'Whether "allocated" draws the layers of every client in every round, by weights of that '
        'shape; "fisher" always does.',
    )
    pick: str = setting("knee", "Rule that picks one point of the front.", choices=PICK_VALUES)

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        published = self.variant == "published"
        allowed = f"'memetic' with the algorithm {self.algorithm!r}"
        self.require(not published or self.algorithm in PUBLISHED, "variant", allowed)
        open_ended = self.budgets == AT_MOST
        allowed = f"{EXACT!r} where algorithm = {self.algorithm!r}, which never drops a layer"
        self.require(not open_ended or self.algorithm in OPEN_ENDED, "budgets", allowed)


@dataclasses.dataclass(frozen=True)
class LimitsConfig(Section):
    """Limits on the choice of layers beyond the paper's budgets."""

    forbidden: Mapping[str, tuple[int, ...]] = setting(
        {}, "Layers that a client may not train, by its name."
    )
    minimum_coverage: int = setting(
        0, "Clients that must at least train each layer in every round.", at_least=0
    )
    maximum_coverage: int = setting(0, "Clients that may at most; 0 for any number.", at_least=0)
    minimum_sharers: int = setting(
        1,
        "Clients that must at least share a layer that anybody trains in a round, so that the sum "
        "of its updates is not one client's own; 1 for no limit.",
        at_least=1,
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        least, most = self.minimum_coverage, self.maximum_coverage
        allowed = f"0, or at least config.limits.minimum_coverage = {least}"
        self.require(most == 0 or most >= least, "maximum_coverage", allowed)
        allowed = f"0, or at least config.limits.minimum_sharers = {self.minimum_sharers}"
        self.require(most == 0 or most >= self.minimum_sharers, "maximum_coverage", allowed)


@dataclasses.dataclass(frozen=True)
class FederatedConfig(Section):
    """The rounds, the clients that take part, and their layout on this machine."""

    rounds: int = setting(
        30,
        "Rounds of the run.",
        at_least=0,
        at_most=100_000,
        because="every checkpoint holds the records of all rounds",
    )
    budgets: tuple[int, ...] = setting(
        (4,),
        "Budget of each client per round, one number for all or one per client; empty for all "
        "layers.",
        at_least=1,
        bits=64,
    )
    budget_unit: str = setting(
        "layers",
        'Unit of `budgets`: "layers", "bytes" (of the layers sent) or "flops" (of their weight '
        "gradients, per example).",
        choices=tuple(BUDGET_UNITS),
    )
    absent: Mapping[str, tuple[int, ...]] = setting({}, "Rounds that a client misses, by its name.")
    participation: float = setting(
        1.0,
        "Fraction of the present clients that is drawn anew for every round, at least one client.",
        above=0,
        at_most=1,
    )
    participants: int = setting(
        0, "Clients drawn for every round, instead of a fraction; 0 for the fraction.", at_least=0
    )
    min_clients: int = setting(1, "Updates that a round must have; fewer end the run.", at_least=1)
    dropout: float = setting(
        0.0,
        "Simulated probability that a client is lost between the choice and its update.",
        at_least=0,
        below=1,
    )
    stragglers: float = setting(
        0.0,
        "Simulated probability that a client manages only a part of its local steps.",
        at_least=0,
        below=1,
    )
    straggler_steps: float = setting(
        0.5, "That part, rounded down, at least one step.", above=0, at_most=1
    )
    placement: str = setting(
        "pmap",
        'Placement of clients: "pmap" over all devices, "map" on one, "sharded" with the '
        'parameters cut over all devices (for a model that outgrows one), "loop" in Python (for '
        "debugging).",
        choices=tuple(BACKENDS),
    )
    clients_at_once: int = setting(
        1,
        "Clients that one device trains side by side; 1 skips the work of frozen layers, larger "
        "values vectorise, which pays for small models.",
        at_least=1,
        at_most=4096,
    )
    clients_in_memory: int = setting(
        8,
        "Clients of one device whose examples are held together; more pass through in groups, so "
        "that memory does not grow with the federation. 0 for all.",
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        at_once, in_memory = self.clients_at_once, self.clients_in_memory
        allowed = f"0, or at least config.federated.clients_at_once = {at_once}"
        fits = in_memory == 0 or in_memory >= at_once
        self.require(fits, "clients_in_memory", allowed)
        alone = not (self.participants and self.participation < 1)
        self.require(alone, "participants", f"0 where participation = {self.participation}")


@dataclasses.dataclass(frozen=True)
class CheckpointConfig(Periodic, Section):
    """Rounds that are saved, and those that stay on disk."""

    directory: str = setting(
        "",
        'Folder, any path that Orbax takes, as in gs://bucket/run; "" for checkpoints/ in the '
        "workdir. Several hosts must all see it.",
        path=paths.Kind.ANY_OR_NONE,
    )
    every: int = setting(
        1,
        "Rounds from one checkpoint to the next; the start and the last round have one. A run that "
        "was stopped does the rounds since the last one again.",
        at_least=1,
    )
    keep_last: int = setting(3, "Newest rounds that are kept.", at_least=1)
    keep_best: int = setting(
        1,
        "Rounds that are kept because they are the most accurate on the validation examples.",
        at_least=0,
    )


@dataclasses.dataclass(frozen=True)
class ProfileConfig(Section):
    """Rounds whose time is looked at in detail."""

    rounds: tuple[int, ...] = setting(
        (),
        "Rounds of which a trace is written to profile/ of the workdir, for XProf and Perfetto; "
        "round 1 is mostly compiling. Empty for none.",
        at_least=1,
        bits=64,
    )


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(Section):
    """One federated run: everything `f3ocus_jax.train` needs to know."""

    seed: int = setting(0, "Seed of everything that is drawn.", at_least=0, **SEED)
    data: DataConfig = section(DataConfig)
    model: ModelConfig = section(ModelConfig)
    importance: ImportanceConfig = section(ImportanceConfig)
    selection: SelectionConfig = section(SelectionConfig)
    limits: LimitsConfig = section(LimitsConfig)
    training: TrainingConfig = section(TrainingConfig)
    federated: FederatedConfig = section(FederatedConfig)
    aggregation: AggregationConfig = section(AggregationConfig)
    privacy: PrivacyConfig = section(PrivacyConfig)
    secure_aggregation: SecureAggregationConfig = section(SecureAggregationConfig)
    distributed: DistributedConfig = section(DistributedConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    checkpoint: CheckpointConfig = section(CheckpointConfig)
    profile: ProfileConfig = section(ProfileConfig)
    report: ReportConfig = section(ReportConfig)

    def __post_init__(self) -> None:
        """Checks conditions on several sections."""
        super().__post_init__()
        alone = not self.distributed.coordinator or self.federated.placement == "pmap"
        self.require(alone, "federated.placement", '"pmap" with several hosts')
        compared = self.data.duplicates != "near" or not self.distributed.own_data
        allowed = '"exact" or "keep" with config.distributed.own_data: thumbnails are not exchanged'
        self.require(compared, "data.duplicates", allowed)
        measured = self.evaluation.test or self.data.validation_share > 0
        allowed = "> 0 where config.evaluation.test = False, as in tuning: nothing else is measured"
        self.require(measured, "data.validation_share", allowed)
        has_head = self.training.head == EVERY_ROUND or self.model.answering != GENERATE
        allowed = f"{EVERY_ROUND!r} where config.model.answering = {GENERATE!r}, without a head"
        self.require(has_head, "training.head", allowed)
        has_adapter = self.training.unit != "adapter" or self.model.adapter_size > 0
        allowed = '> 0 where config.training.unit = "adapter"'
        self.require(has_adapter, "model.adapter_size", allowed)
        kept, answering = self.evaluation.features, self.model.answering
        allowed = f"0 where config.model.answering = {answering!r}"
        self.require(not kept or answering == CLASSIFY, "evaluation.features", allowed)
        allowed = "0 with config.distributed.own_data: features of examples stay on their host"
        shared = not self.distributed.own_data
        self.require(not kept or shared, "evaluation.features", allowed)
        last = self.federated.rounds
        allowed = f"rounds from 1 to config.federated.rounds = {last}"
        self.require(max(self.profile.rounds, default=0) <= last, "profile.rounds", allowed)
        for unit, name in (("lora", "lora_rank"), ("prompt", "prompt_length")):
            size, is_trained = getattr(self.model, name), self.training.unit == unit
            allowed = f'> 0 where config.training.unit = "{unit}", and 0 elsewhere'
            self.require(is_trained == (size > 0), f"model.{name}", allowed)
        if self.aggregation.low_rank == PRODUCT:
            self._check_product()
        for condition in private_runs.conditions(self):
            self.require(*condition)
        if self.secure_aggregation.enabled:
            self._check_secure_aggregation()

    def _check_product(self) -> None:
        """Refuses the mean of products where there are none, and moments of maps that it turns."""
        given = f"with config.aggregation.low_rank = {PRODUCT!r}"
        self.require(self.training.unit == "lora", "training.unit", f"'lora' {given}")
        fresh = self.training.optimizer_state == RESET
        self.require(fresh, "training.optimizer_state", f"{RESET!r} {given}, which turns the maps")

    def _check_secure_aggregation(self) -> None:
        """Refuses what needs single updates, and sums over one site."""
        given = "with config.secure_aggregation.enabled"
        allowed = f"{MEAN!r} {given}, since other rules compare single updates"
        self.require(self.aggregation.rule == MEAN, "aggregation.rule", allowed)
        allowed = f"{FACTORS!r} {given}, since the mean of products needs single updates"
        self.require(self.aggregation.low_rank == FACTORS, "aggregation.low_rank", allowed)
        allowed = f"{REPORT!r} {given}, since others compare single updates; none is reported"
        self.require(self.aggregation.outliers == REPORT, "aggregation.outliers", allowed)
        allowed = f"1 {given}, since a site cannot check a weight that depends on the others'"
        unlimited = self.aggregation.max_weight_share >= 1
        self.require(unlimited, "aggregation.max_weight_share", allowed)
        shared = self.limits.minimum_sharers > 1 or self.secure_aggregation.single_sharers
        allowed = (
            f"at least 2 {given}, since the sum over one site is its own update; "
            "config.secure_aggregation.single_sharers = True allows it"
        )
        self.require(shared, "limits.minimum_sharers", allowed)


@dataclasses.dataclass(frozen=True)
class OptimizationConfig(Section):
    """Training of all weights on pooled data."""

    steps: int = setting(400, "Steps of the training.", at_least=1, at_most=10_000_000)
    batch_size: int = setting(32, "Examples of one step.", at_least=1)
    learning_rate: float = setting(
        5e-4,
        "Peak of a cosine schedule with a linear warm-up over a tenth of the steps.",
        above=0,
        at_most=100,
    )
    weight_decay: float = setting(0.05, "Weight decay of AdamW.", at_least=0, at_most=1000)


@dataclasses.dataclass(frozen=True)
class StepCheckpointConfig(Periodic, Section):
    """Steps of a pre-training that stay on disk, in checkpoints/ of the workdir."""

    every: int = setting(100, "Steps between two checkpoints; the last step has one.", at_least=1)
    keep_last: int = setting(2, "Newest checkpoints that are kept.", at_least=1)


@dataclasses.dataclass(frozen=True)
class PretrainConfig(Section):
    """One foundation model trained on pooled data: what `f3ocus_jax.pretrain` needs to know."""

    seed: int = setting(0, "Seed of everything that is drawn.", at_least=0, **SEED)
    data: DataConfig = section(
        DataConfig, datasets=("phantom_medvqa/public",), validation_share=0.0
    )
    model: ModelConfig = section(ModelConfig, adapter_size=0)
    optimization: OptimizationConfig = section(OptimizationConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    checkpoint: StepCheckpointConfig = section(StepCheckpointConfig)

    def __post_init__(self) -> None:
        """Checks conditions on several sections."""
        super().__post_init__()
        classifies = self.model.answering == CLASSIFY
        self.require(classifies, "model.answering", f"{CLASSIFY!r} to pre-train")
        self.require(self.evaluation.test, "evaluation.test", "True to pre-train")
        without = self.model.adapter_size == 0
        self.require(without, "model.adapter_size", "0: a foundation model has no adapters")
        for name in ("lora_rank", "prompt_length"):
            size = getattr(self.model, name)
            self.require(size == 0, f"model.{name}", "0: all weights are trained")
