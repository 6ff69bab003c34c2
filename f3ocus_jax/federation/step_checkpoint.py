"""Checkpoints of a pre-training: its parameters and optimizer state after a number of steps."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from f3ocus_jax.federation import checkpoint, sealed_steps
from f3ocus_jax.federation.settings import PretrainConfig, StepCheckpointConfig
from f3ocus_jax.types import Params

FOLDER = "checkpoints"


class StepCheckpoints:
    """The kept steps of one pre-training."""

    def __init__(
        self, workdir: epath.PathLike, config: StepCheckpointConfig, settings: Mapping[str, Any]
    ) -> None:
        """Reads nothing and writes nothing yet.

        Args:
          workdir: Absolute path of the run's folder.
          config: Steps to keep.
          settings: Settings that a step is bound to.
        """
        self._directory, self._config = epath.Path(workdir) / FOLDER, config
        self._settings = dict(settings)
        self._writer: sealed_steps.StepWriter | None = None

    def __enter__(self) -> "StepCheckpoints":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def resume(self, params: Params, state: optax.OptState) -> tuple[Params, optax.OptState, int]:
        """Restores the newest whole step, and sets damaged ones aside.

        Args:
          params: Parameters before training.
          state: State of the optimizer before training.

        Returns:
          (parameters, state, steps taken); what was given and 0 if no step is kept.

        Raises:
          ConfigError: If the steps were taken under other settings.
          DamagedError: If no step is whole.
        """
        numbers, taken = sealed_steps.steps(self._directory), 0
        if numbers:
            taken, damaged = sealed_steps.first_whole(self._directory, reversed(numbers))
            params, state = self._restore(taken, params, state)
            sealed_steps.set_aside(self._directory, damaged)
            print(f"resuming after step {taken}")
        policies = [checkpoint_managers.LatestN(self._config.keep_last)]
        self._writer = sealed_steps.StepWriter(self._directory, policies)
        return params, state, taken

    def _restore(
        self, number: int, params: Params, state: optax.OptState
    ) -> tuple[Params, optax.OptState]:
        folder = self._directory / str(number)
        names = {name: ocp.args.JsonRestore() for name in ("config", "versions")}
        texts = sealed_steps.read(folder, ocp.args.Composite(**names))
        checkpoint.check_settings(texts["config"], self._settings, PretrainConfig)
        checkpoint.compare_versions(texts["versions"], number)
        arrays = jax.tree.map(
            lambda leaf: np.zeros(leaf.shape, leaf.dtype), {"params": params, "optimizer": state}
        )
        items = ocp.args.Composite(state=ocp.args.StandardRestore(arrays))
        restored = sealed_steps.read(folder, items)["state"]
        return restored["params"], restored["optimizer"]

    def save(self, number: int, params: Params, state: optax.OptState) -> None:
        """Starts to write a step, after `resume`; returns when the arrays have been copied."""
        if self._writer is None:
            raise RuntimeError("resume before saving")
        # Copies, since the next step reuses the memory of its arguments.
        arrays = jax.tree.map(np.array, {"params": params, "optimizer": state})
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays),
            config=ocp.args.JsonSave(self._settings),
            versions=ocp.args.JsonSave(checkpoint.versions()),
        )
        self._writer.save(number, items)
