"""Folder of a run: run.json, checkpoints, and the model that they hold."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from f3ocus_jax import hosts
from f3ocus_jax.clients.settings import PERSONAL
from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.federation import assembly, checkpoint, environment
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.client_axis import by_client
from f3ocus_jax.models import foundation as foundation_lib, units
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.types import ClientMemory, Params, ServerState
from tfds_medvqa.common import whole_file

RUN_FILE = "run.json"
RUN_FILE_OF_HOST = "run_of_host_{}.json"


@dataclasses.dataclass(frozen=True)
class RunFile:
    """Content of run.json, with which a run's model can be used without its data.

    Attributes:
      config: Settings with which the run was last started.
      clients: Names of the clients.
      answers: Answer vocabulary; empty if no client answers questions.
      findings: Names of the findings; empty if no client finds diseases.
      has_memories: True if checkpoints hold the memories of clients, if these have any; False for a
        run of a server whose sites keep theirs.
      environment: Versions and hardware of the process that last started the run, see
        `environment.describe`; empty in files from before it was kept.
    """

    config: ExperimentConfig
    clients: list[str]
    answers: list[str]
    findings: list[str]
    has_memories: bool = True
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read_run(workdir: pathlib.Path, file: pathlib.Path | None = None) -> RunFile:
    """Reads run.json of a workdir; settings newer than the file have their defaults or `earlier`.

    Args:
      workdir: Folder of the run.
      file: Another of its `run_files` instead.

    Raises:
      ConfigError: If its settings are impossible.
      DamagedError: If it is cut, or does not hold what a run writes there.
    """
    path = file or next(iter(run_files(workdir)), workdir / RUN_FILE)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = parsing.complete(ExperimentConfig(), content["config"])
        config = parsing.parse(ExperimentConfig, settings)
        lists = [content[name] for name in ("clients", "answers", "findings")]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({error}): restore it, or resume the run") from error
    if not all(isinstance(each, list) for each in lists) or not all(
        isinstance(name, str) for each in lists for name in each
    ):
        raise DamagedError(
            f"{path} is damaged: clients, answers and findings must be lists of text"
        )
    clients, answers, findings = lists
    has_memories = bool(content.get("has_memories", True))
    kept = content.get("environment", {})
    made_with = {str(name): str(text) for name, text in kept.items()} if kept else {}
    return RunFile(config, clients, answers, findings, has_memories, made_with)


def checkpoints_of(config: ExperimentConfig, workdir: pathlib.Path) -> epath.Path:
    """Returns the folder of a run's checkpoints."""
    return checkpoint.directory(config.checkpoint, workdir)


def run_files(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Returns run.json and the files of further hosts with data of their own, those that exist."""
    others = sorted(workdir.glob(RUN_FILE_OF_HOST.format("*")))
    return [path for path in (workdir / RUN_FILE, *others) if path.is_file()]


def write_run(parts: Parts, workdir: pathlib.Path) -> None:
    """Writes run.json in one step: a reader finds the old file or the new one.

    A further host that has data of its own writes a file of its own, since no other host knows
    where its data are.
    """
    name = RUN_FILE if hosts.is_first() else RUN_FILE_OF_HOST.format(jax.process_index())
    content = {
        "config": dataclasses.asdict(parts.config),
        "clients": [client.name for client in parts.federation.clients],
        "answers": list(parts.federation.vocabulary.answers),
        "findings": list(parts.federation.findings),
        "has_memories": bool(jax.tree.leaves(parts.memory)),
        "environment": environment.describe(),
    }
    whole_file.write(workdir / name, json.dumps(content, indent=2) + "\n")


def load_state(
    workdir: pathlib.Path,
    state: ServerState,
    memory: ClientMemory,
    settings: Mapping[str, Any],
    round: int | None,
) -> tuple[ServerState, ClientMemory]:
    """Reads the state of the server and the memories of the clients from a checkpoint of a run.

    Args:
      workdir: Folder of the run.
      state: A state of the same shapes.
      memory: Memories of the same shapes.
      settings: Settings that the checkpoint must have been written under.
      round: Round number; the best on validation examples if None, the last one without any.

    Raises:
      DamagedError: if a file of it is absent or changed, or no round is whole.
      FileNotFoundError: if that round is not on disk.
      ConfigError: if it was written under other settings or weights.
    """
    folder = checkpoints_of(read_run(workdir).config, workdir)
    round = checkpoint.best_whole(folder) if round is None else round
    state, memory, _ = checkpoint.restore(folder, round, state, memory, settings)
    return state, memory


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """Model of a run after one of its rounds.

    Attributes:
      foundation: The model, its tokenizer and its answers.
      params: All parameters; their head is no client's own where the run has personal heads.
      round: The round.
      heads: Client to its own head; None where all have the shared one, {} where each is at its
        site.
    """

    foundation: Foundation
    params: Params
    round: int
    heads: Mapping[str, Params] | None = None

    def of(self, client: str) -> Params:
        """Returns the parameters with which a client answers; any client's with a shared head.

        Raises:
          ConfigError: If every client has a head of its own, and this names none of them.
        """
        if self.heads is None:
            return self.params
        if not self.heads:
            raise ConfigError(
                'every site has a head of its own (config.training.head = "personal"), which never '
                "leaves it: no site answers with the server's model"
            )
        if client not in self.heads:
            raise ConfigError(
                f'every client has a head of its own (config.training.head = "personal"), and '
                f"{client!r} is none of them: name one of {', '.join(self.heads)}"
            )
        return self.params | {"head": self.heads[client]}


def load_model(workdir: pathlib.Path, round: int | None) -> SavedModel:
    """Loads a run's model without its data.

    Args:
      workdir: Folder of the run.
      round: Round number; the best on validation examples if None, the last one without any.

    Returns:
      The model after that round.

    Raises:
      DamagedError: if a file of it is absent or changed, or no round is whole.
      FileNotFoundError: if that round is not on disk.
      ConfigError, WeightsError: if the weights that the run started from have changed or are gone.
    """
    made = read_run(workdir)
    unit = made.config.training.unit
    key = jax.random.key(made.config.seed)
    foundation = foundation_lib.load(made.config.model, made.answers, key, made.findings)
    frozen, state, memory = assembly.make_start(made.config, foundation, len(made.clients))
    memory = memory if made.has_memories else ClientMemory()
    settings = assembly.bound_settings(made.config, foundation, made.clients)
    state, memory = load_state(workdir, state, memory, settings, round)
    params = units.join(frozen, state.rows_L, state.head, unit)
    heads = by_client(memory.head, made.clients)
    if made.config.training.head == PERSONAL and not made.has_memories:
        heads = {}
    return SavedModel(foundation, params, int(state.round), heads)
