"""Run configuration: settings, their checks, and parsing."""

from f3ocus_jax.config.checks import choose, nearest, require
from f3ocus_jax.config.federated import (
    BUDGET_UNITS,
    AggregationConfig,
    DistributedConfig,
    FederatedConfig,
)
from f3ocus_jax.config.layers import ImportanceConfig, LimitsConfig, SelectionConfig
from f3ocus_jax.config.schema import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    OptimizationConfig,
    PretrainConfig,
    TrainingConfig,
)

__all__ = [
    "BUDGET_UNITS",
    "AggregationConfig",
    "CheckpointConfig",
    "DataConfig",
    "DistributedConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "FederatedConfig",
    "ImportanceConfig",
    "LimitsConfig",
    "ModelConfig",
    "OptimizationConfig",
    "PretrainConfig",
    "SelectionConfig",
    "TrainingConfig",
    "choose",
    "nearest",
    "require",
]
