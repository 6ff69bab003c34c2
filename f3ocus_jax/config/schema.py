"""Which settings exist, and which values of them are possible.

A config file returns an `ml_collections.ConfigDict`; `parsing.parse` turns it, once, into the
frozen dataclasses below. Nothing further down reads the raw dict.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.config.checks import require
from f3ocus_jax.config.federated import AggregationConfig, DistributedConfig, FederatedConfig
from f3ocus_jax.config.layers import ImportanceConfig, LimitsConfig, SelectionConfig

DUPLICATES = ("keep", "exact", "near")
FITS = ("stretch", "pad")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where examples come from.

    Attributes:
      datasets: TFDS names with config, as in "phantom_medvqa/clients"; built where absent.
      partition: who gets which examples, one rule for all datasets or one each: "dataset" (one
        client), "shards" (equal random parts), "dirichlet" (label shift), or a feature whose values
        are the clients ("client", "modality", "anatomy", ...).
      clients_per_dataset: K of a dataset dealt by "shards" or "dirichlet"; 0 where none is.
      dirichlet_alpha: concentration; the smaller, the more the clients' labels differ.
      partition_seed: of "shards" and "dirichlet", apart from the run's own seed.
      duplicates: an image that several datasets have is left in the first of them only: "exact"
        goes by its pixels, "near" by its thumbnail too, "keep" leaves all.
      data_dir: where built datasets are.
      manual_dir: where files that cannot or need not be downloaded are; "" for none.
      question_length: T of the question, in tokens, with the first and last special token.
      minimum_answer_count: how often an answer must occur in training to be in the vocabulary.
      answer_length: A of answers that are written, in tokens, with their end.
      image_fit: how an image of any shape comes on a square canvas: "stretch" makes it a square,
        "pad" keeps its aspect ratio and pads it (ViLT alone).
      canvas_size: side of that square with "pad", in pixels; 0 for the model's image size.
    """

    datasets: tuple[str, ...]
    partition: tuple[str, ...]
    clients_per_dataset: int
    dirichlet_alpha: float
    partition_seed: int
    duplicates: str
    data_dir: str
    manual_dir: str
    question_length: int
    minimum_answer_count: int
    answer_length: int
    image_fit: str
    canvas_size: int

    def __post_init__(self) -> None:
        require(len(self.datasets) > 0, "data.datasets", self.datasets, "one dataset or more")
        require(self.question_length >= 3, "data.question_length", self.question_length, ">= 3")
        count = self.minimum_answer_count
        require(count >= 1, "data.minimum_answer_count", count, ">= 1")
        require(self.answer_length >= 2, "data.answer_length", self.answer_length, ">= 2")
        rules, datasets = self.partition, len(self.datasets)
        allowed = f"1 rule or {datasets}, one per dataset"
        require(len(rules) in (1, datasets), "data.partition", rules, allowed)
        clients, alpha = self.clients_per_dataset, self.dirichlet_alpha
        require(clients >= 0, "data.clients_per_dataset", clients, ">= 0")
        require(alpha > 0, "data.dirichlet_alpha", alpha, "> 0")
        require(self.partition_seed >= 0, "data.partition_seed", self.partition_seed, ">= 0")
        kinds = DUPLICATES
        require(self.duplicates in kinds, "data.duplicates", self.duplicates, f"one of {kinds}")
        fit, canvas = self.image_fit, self.canvas_size
        require(fit in FITS, "data.image_fit", fit, f"one of {FITS}")
        require(canvas >= 0, "data.canvas_size", canvas, ">= 0")
        allowed = f"0 where config.data.image_fit = {fit!r}"
        require(fit == "pad" or canvas == 0, "data.canvas_size", canvas, allowed)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which vision-language model is tuned.

    Attributes:
      family: a key of `f3ocus_jax.models.FAMILIES`.
      weights: a local Hugging Face directory; "" starts from random weights.
      architecture: sizes of a random start by their Hugging Face names; empty with `weights`,
        which bring their own.
      selectable: the stack whose blocks can be chosen, as docs/models.md names them; "" for the
        family's first.
      image_size: side of the images in pixels, to which the positions of the weights' patches are
        resized; 0 for the size that the weights or the architecture name.
      adapter_size: bottleneck of the adapter in every selectable block; 0 for none.
      lora_rank: rank of the change of every selectable block's queries and values, for
        `training.unit` = "lora"; 0 for none.
      prompt_length: learned tokens in front of the selectable stack, for `training.unit` =
        "prompt"; 0 for none.
      loss: a key of `f3ocus_jax.models.losses.LOSSES`, of the answer head.
      answering: "classify" (a head over the answer vocabulary) or "generate" (the language model or
        decoder writes the answer, and the loss is the negative log-probability of its tokens).
    """

    family: str
    weights: str
    architecture: Mapping[str, Any]
    selectable: str
    image_size: int
    adapter_size: int
    lora_rank: int
    prompt_length: int
    loss: str
    answering: str

    def __post_init__(self) -> None:
        require(self.adapter_size >= 0, "model.adapter_size", self.adapter_size, ">= 0")
        require(self.lora_rank >= 0, "model.lora_rank", self.lora_rank, ">= 0")
        require(self.prompt_length >= 0, "model.prompt_length", self.prompt_length, ">= 0")
        require(self.image_size >= 0, "model.image_size", self.image_size, ">= 0")
        require(
            not (self.weights and self.architecture),
            "model.architecture",
            dict(self.architecture),
            f"empty, since config.model.weights = {self.weights!r} brings its own",
        )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """One client's local training.

    Attributes:
      unit: what is trained of a layer: "adapter" (the one in its block), "block", "norm" or "bias"
        (those of the block), or "lora" (low-rank changes of its queries and values). With "prompt"
        there is one layer, the learned tokens in front of the stack.
      learning_rate: of AdamW, for layers and head.
      weight_decay: of AdamW.
      batch_size: B.
      local_epochs: passes over the client's training split in a round; may be below 1.
      max_local_steps: upper bound of a client's steps in a round.
      precision: "float32", or "bfloat16" for blocks that compute with parameters of that precision;
        what is trained has float32 masters.
      rematerialise: whether the backward pass runs every block again instead of keeping what the
        forward pass found; less memory, more time.
      accumulate: parts a batch is run in, one after the other; less memory, the same gradient.
      proximal: mu of FedProx, which pulls clients back to where they started; 0 for none.
      dual_adapters: whether every client has adapters of its own beside the shared ones, and both
        teach each other, as in FedDAT.
    """

    unit: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    local_epochs: float
    max_local_steps: int
    precision: str
    rematerialise: bool
    accumulate: int
    proximal: float
    dual_adapters: bool

    def __post_init__(self) -> None:
        require(self.unit in UNITS, "training.unit", self.unit, f"one of {UNITS}")
        require(self.learning_rate > 0, "training.learning_rate", self.learning_rate, "> 0")
        require(self.weight_decay >= 0, "training.weight_decay", self.weight_decay, ">= 0")
        require(self.batch_size >= 1, "training.batch_size", self.batch_size, ">= 1")
        require(self.local_epochs > 0, "training.local_epochs", self.local_epochs, "> 0")
        require(self.max_local_steps >= 1, "training.max_local_steps", self.max_local_steps, ">= 1")
        precision, parts = self.precision, self.accumulate
        allowed = f"one of {PRECISIONS}"
        require(precision in PRECISIONS, "training.precision", precision, allowed)
        divides = parts >= 1 and self.batch_size % parts == 0
        allowed = f"a divisor of config.training.batch_size = {self.batch_size}"
        require(divides, "training.accumulate", parts, allowed)
        require(self.proximal >= 0, "training.proximal", self.proximal, ">= 0")
        plain = {"unit": "adapter", "precision": "float32", "accumulate": 1, "proximal": 0}
        for name, needed in plain.items() if self.dual_adapters else ():
            given, allowed = getattr(self, name), f"{needed!r} with training.dual_adapters"
            require(given == needed, f"training.{name}", given, allowed)


PRECISIONS = ("float32", "bfloat16")
UNITS = ("adapter", "bias", "block", "lora", "norm", "prompt")
DECODINGS = ("greedy", "beam", "rank")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How the test splits are measured.

    Attributes:
      batch_size: examples per device and step.
      decoding: how answers are written: "greedy", "beam", or "rank", which takes the likeliest of
        the answer vocabulary.
      beams: how many answers "beam" keeps open.
    """

    batch_size: int
    decoding: str
    beams: int

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "evaluation.batch_size", self.batch_size, ">= 1")
        kinds = DECODINGS
        require(self.decoding in kinds, "evaluation.decoding", self.decoding, f"one of {kinds}")
        require(self.beams >= 1, "evaluation.beams", self.beams, ">= 1")


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Which rounds stay on disk.

    Attributes:
      directory: where, any path that Orbax takes, as in gs://bucket/run; "" for checkpoints/ in the
        workdir. Several hosts must all see it.
      keep_last: how many of the newest.
      keep_best: how many of the most accurate.
    """

    directory: str
    keep_last: int
    keep_best: int

    def __post_init__(self) -> None:
        require(self.keep_last >= 1, "checkpoint.keep_last", self.keep_last, ">= 1")
        require(self.keep_best >= 0, "checkpoint.keep_best", self.keep_best, ">= 0")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """One federated run: everything `f3ocus_jax.train` needs to know."""

    seed: int
    data: DataConfig
    model: ModelConfig
    importance: ImportanceConfig
    selection: SelectionConfig
    limits: LimitsConfig
    training: TrainingConfig
    federated: FederatedConfig
    aggregation: AggregationConfig
    distributed: DistributedConfig
    evaluation: EvaluationConfig
    checkpoint: CheckpointConfig

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        placement = self.federated.placement
        alone = not self.distributed.coordinator or placement == "pmap"
        require(alone, "federated.placement", placement, '"pmap" with several hosts')
        require(
            self.training.unit != "adapter" or self.model.adapter_size > 0,
            "model.adapter_size",
            self.model.adapter_size,
            '> 0 where config.training.unit = "adapter"',
        )
        for unit, name in (("lora", "lora_rank"), ("prompt", "prompt_length")):
            size, is_trained = getattr(self.model, name), self.training.unit == unit
            allowed = f'> 0 where config.training.unit = "{unit}", and 0 elsewhere'
            require(is_trained == (size > 0), f"model.{name}", size, allowed)


@dataclasses.dataclass(frozen=True)
class OptimizationConfig:
    """Training of all weights on pooled data.

    Attributes:
      steps: how many.
      batch_size: B.
      learning_rate: the peak of a cosine schedule with a linear warm-up over a tenth of the steps.
      weight_decay: of AdamW.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        require(self.steps >= 1, "optimization.steps", self.steps, ">= 1")
        require(self.batch_size >= 1, "optimization.batch_size", self.batch_size, ">= 1")
        require(self.learning_rate > 0, "optimization.learning_rate", self.learning_rate, "> 0")
        require(self.weight_decay >= 0, "optimization.weight_decay", self.weight_decay, ">= 0")


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """One foundation model trained on pooled data: what `f3ocus_jax.pretrain` needs to know."""

    seed: int
    data: DataConfig
    model: ModelConfig
    optimization: OptimizationConfig
    evaluation: EvaluationConfig

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        answering = self.model.answering
        require(answering == "classify", "model.answering", answering, "'classify' to pre-train")
        require(
            self.model.adapter_size == 0,
            "model.adapter_size",
            self.model.adapter_size,
            "0: a foundation model has no adapters",
        )
        for name in ("lora_rank", "prompt_length"):
            size = getattr(self.model, name)
            require(size == 0, f"model.{name}", size, "0: all weights are trained")
