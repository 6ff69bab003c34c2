"""Starting runs and using finished ones: the functions behind `f3ocus_jax.run` and `load`."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from f3ocus_jax import hosts
from f3ocus_jax.config import parsing, paths, shipped
from f3ocus_jax.data import questions as questions_lib
from f3ocus_jax.data.questions import Picture
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import answering, findings_f1, round_choice
from f3ocus_jax.evaluation.answering import Answer, Ask
from f3ocus_jax.evaluation.written_answers import make_answer_decoder
from f3ocus_jax.federation import assembly, checkpoint, experiment, own_evaluation, run_folder
from f3ocus_jax.federation.run_folder import SavedModel
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.types import RoundRecord


def run(
    config: ExperimentConfig | ConfigDict | str | os.PathLike[str],
    workdir: str | os.PathLike[str],
) -> list[RoundRecord]:
    """Simulates a federation to its last round; the same call again resumes a stopped run.

    Args:
      config: Settings, or a config file: its path or the name of a shipped one, with or without a
        variant, as in "phantom:tiny".
      workdir: Folder of the run, made if absent. It gets records.jsonl, checkpoints/, figures/,
        tensorboard/, the final table and the final model.

    Returns:
      One record per round; the first is round 0, the model before any training.

    Raises:
      ConfigError: If there is no such config, or a setting is impossible.
      DataError: If data cannot be used.
      WeightsError: If weights cannot be used.
      RoundError: If a round fails numerically; the checkpoints of earlier rounds stay.
      CompilerError: If the compiler gives wrong gradients.
    """
    if isinstance(config, str | os.PathLike):
        config = shipped.read(config)
    if not isinstance(config, ExperimentConfig):
        config = parsing.parse(ExperimentConfig, config)
    hosts.start(config.distributed)
    folder = paths.local_folder(workdir, "workdir")
    folder.mkdir(parents=True, exist_ok=True)
    return experiment.run(config, folder)


def load(workdir: str | os.PathLike[str], round: int | None = None) -> "FinishedRun":
    """Opens a run at one of its checkpoints.

    Args:
      workdir: Folder of the run.
      round: Round of the checkpoint; if None, the one on disk that is the most accurate on
        validation examples, or the last one of a run without any.

    Returns:
      The run; its weights are read when they are first used.

    Raises:
      DamagedError: If run.json or the checkpoint is damaged; without a round, the best
        checkpoint that is whole is taken, and a line says so.
      FileNotFoundError: If the folder holds no run, or no checkpoint of that round.
    """
    folder = paths.local_folder(workdir, "workdir")
    if not run_folder.run_files(folder):
        raise FileNotFoundError(
            f"{workdir} holds no run (no {run_folder.RUN_FILE}); start one with f3ocus train"
        )
    config = run_folder.read_run(folder).config
    checkpoints = run_folder.checkpoints_of(config, folder)
    chosen = checkpoint.best_whole(checkpoints, round)
    if round is not None:
        return FinishedRun(folder, config, chosen)
    choice = round_choice.reason(checkpoint.validation_of(checkpoints, chosen))
    return FinishedRun(folder, config, chosen, choice)


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run at one of its checkpoints.

    Attributes:
      workdir: Folder of the run.
      config: Settings of the run.
      round: Round of the checkpoint.
      choice: Reason for this round, such as "the best on validation examples"; "" if it was given.
    """

    workdir: pathlib.Path
    config: ExperimentConfig
    round: int
    choice: str = ""

    @property
    def round_text(self) -> str:
        """The round with the reason for it, as in "round 3, the best on validation examples"."""
        return f"round {self.round}, {self.choice}" if self.choice else f"round {self.round}"

    def answer(
        self,
        images: Picture | Sequence[Picture],
        questions: str | Sequence[str],
        *,
        client: str = "",
        top: int = 5,
    ) -> list[Answer]:
        """Asks the model questions about images; a single image or question goes with all others.

        Args:
          images: One or more images: paths of image files, PIL images, or uint8 arrays
            [height, width] or [height, width, 3]; or one uint8 array [B, height, width, 3].
          questions: One or more questions, or the reports that go with the images.
          client: Client whose thresholds decide which findings are present, "" for the mean over
            the clients that saw the finding; and whose head answers where every client has its own.
          top: Number of answers to give with their probabilities; 0 spares a model that writes
            its answers from ranking the vocabulary.

        Returns:
          One answer per pair of image and question. An answer head gives the likeliest answers of
          the vocabulary, a model that writes also the text that it wrote, and a model that finds
          diseases each finding with its probability and the findings that are present.

        Raises:
          ConfigError: If that client has no thresholds, or every client has a head of its own and
            none of them is named.
          DataError: If an image cannot be used, or images and questions differ in number.
          FileNotFoundError: If an image file does not exist.
          WeightsError: If the weights that the run started from are gone.
        """
        saved, ask = self._model
        foundation, params = saved.foundation, saved.of(client)
        thresholds_F = self.thresholds(client) if foundation.findings else np.zeros(0)
        pairs = questions_lib.pair(images, questions)
        at_once = min(len(pairs), self.config.evaluation.batch_size)
        answers: list[Answer] = []
        for start in range(0, len(pairs), max(at_once, 1)):
            chunk = pairs[start : start + at_once]
            padding = [chunk[-1]] * (at_once - len(chunk))  # one shape compiles once
            batch = questions_lib.make_batch(
                [*chunk, *padding],
                canvas=foundation.canvas(self.config.data),
                tokenizer=foundation.tokenizer,
                question_length=self.config.data.question_length,
                findings=len(foundation.findings),
                decoding=self.config.data.read_options.decoding,
            )
            outputs = ask(params, batch, top)
            described = answering.describe(outputs, foundation, thresholds_F, top)
            answers.extend(described[: len(chunk)])
        return answers

    def evaluate(
        self,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        manual_dir: str | os.PathLike[str] | None = None,
    ) -> dict[str, Mapping[str, float]]:
        """Measures the model on the test split of each client of the run.

        Of a run whose hosts have data of their own, the clients of the hosts whose settings are in
        the workdir and whose data can be read here.

        Args:
          data_dir: Folder of the built datasets; the run's own if None.
          manual_dir: Folder of the datasets' source files; the run's own if None.

        Returns:
          Client to metrics: "accuracy" (or "f1_micro" and "f1_macro" of findings), "examples",
          "loss" in nats, and accuracies by kind of question; fractions in [0, 1].

        Raises:
          BuildError: If built data are absent or damaged, and cannot be built.
          ConfigError: If the data or weights are others than those the run was made with, or it
            leaves the test splits out.
          DataError: If data cannot be used.
          WeightsError: If the weights that the run started from are gone.
        """
        if not self.config.evaluation.test:
            raise ConfigError(
                f"{self.workdir} leaves the test splits out (config.evaluation.test = False), as "
                "runs that choose settings do: evaluate a run of the winner"
            )
        given = {"data_dir": data_dir, "manual_dir": manual_dir}
        folders: dict[str, Any] = {
            name: os.fspath(path) for name, path in given.items() if path is not None
        }
        if self.config.distributed.own_data:
            return own_evaluation.evaluate(self.workdir, self.round, folders)
        data = dataclasses.replace(self.config.data, **folders)
        parts = assembly.assemble(dataclasses.replace(self.config, data=data))
        state, memory = run_folder.load_state(
            self.workdir, parts.start, parts.memory, parts.settings, self.round
        )
        metrics = parts.stages.evaluate(state, None, memory.head)
        clients = parts.federation.clients
        return {client.name: each.test for client, each in zip(clients, metrics, strict=True)}

    def is_on_disk(self) -> bool:
        """Returns False once a run that goes on has deleted the checkpoint."""
        folder = run_folder.checkpoints_of(self.config, self.workdir)
        return (folder / str(self.round)).exists()

    def thresholds(self, client: str = "") -> np.ndarray:
        """Returns the probability from which on each finding counts as present.

        Args:
          client: Client that chose them; "" for the mean over the clients that saw the finding.

        Returns:
          thresholds_F; `findings_f1.NEVER`, above any probability, for a finding nobody saw.

        Raises:
          ConfigError: If that client has no thresholds, or the round was not evaluated.
        """
        folder = run_folder.checkpoints_of(self.config, self.workdir)
        record = checkpoint.read_record(folder, self.round)
        chosen = {each.client: each.thresholds for each in record.clients if each.thresholds}
        if not chosen:
            raise ConfigError(
                f"round {self.round} has no thresholds, since it was not evaluated "
                f"(config.evaluation.every = {self.config.evaluation.every}): choose another round"
            )
        if client:
            if client not in chosen:
                raise ConfigError(
                    f"client {client!r} has no thresholds; choose {', '.join(chosen)}"
                )
            return np.array(chosen[client])
        values_KF = np.array(list(chosen.values()))
        saw_KF = values_KF < findings_f1.NEVER
        total_F = np.where(saw_KF, values_KF, 0.0).sum(axis=0)
        mean_F = total_F / np.maximum(saw_KF.sum(axis=0), 1)
        return np.where(saw_KF.any(axis=0), mean_F, findings_f1.NEVER)

    @functools.cached_property
    def decoding(self) -> str:
        """How the model writes its answers, such as "greedy"; "" for one with an answer head."""
        is_writer = self._model[0].foundation.model.generator is not None
        return self.config.evaluation.decoding if is_writer else ""

    @functools.cached_property
    def _model(self) -> tuple[SavedModel, Ask]:
        """The model with the parameters of this round, and how to ask it."""
        saved = run_folder.load_model(self.workdir, self.round)
        settings, length = self.config.evaluation, self.config.data.answer_length
        decoding = make_answer_decoder(saved.foundation, settings, length)
        saved = dataclasses.replace(saved, params=jax.device_put(saved.params))
        return saved, answering.make_ask(saved.foundation, decoding)
