"""Parts of a federated run, built from its config: data, model, limits, stages, first states."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax import _xla, hosts
from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.clients import controls, layer_optimizer, placement
from f3ocus_jax.clients.settings import KEPT, PERSONAL, TrainingConfig
from f3ocus_jax.data import own_data
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import Federation, read_federation
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import inference, written_answers
from f3ocus_jax.evaluation.written_answers import AnswerDecoder, make_answer_decoder
from f3ocus_jax.federation import admission, budgets as budgets_lib, checkpoint, costs
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.client_side import ClientSide, make_client_side, make_local_optimizer
from f3ocus_jax.federation.layer_costs import layer_costs
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.privacy_plan import PrivacyPlan, make_privacy_plan
from f3ocus_jax.federation.round import Stages
from f3ocus_jax.federation.server_side import make_server_side
from f3ocus_jax.federation.settings import AT_MOST, ExperimentConfig
from f3ocus_jax.federation.stages.aggregate import make_aggregate_stage
from f3ocus_jax.federation.stages.client_axis import repeat_for_clients
from f3ocus_jax.federation.stages.evaluate import make_evaluate_stage
from f3ocus_jax.federation.stages.score import make_score_stage
from f3ocus_jax.federation.stages.select import make_select_stage
from f3ocus_jax.federation.stages.train import make_train_stage
from f3ocus_jax.importance import Importance
from f3ocus_jax.importance.lntk import LOSS
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.models import foundation as foundation_lib, head as head_lib, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.spec import GENERATE
from f3ocus_jax.types import ClientMemory, Params, Rows, ServerState


@dataclasses.dataclass(frozen=True)
class Parts:
    """Parts of a run.

    Attributes:
      config: Settings of the run.
      federation: Data of the clients.
      foundation: The model, its tokenizer and the weights that the run starts from.
      budgets: Limits of every client, and its participation.
      stages: Compiled stages of a round.
      start: State of the server before round 1.
      memory: Memories of the clients before round 1.
      settings: Settings that a checkpoint of this run is bound to.
      privacy: Plan of what is released of every client's data; None without differential privacy.
    """

    config: ExperimentConfig
    federation: Federation
    foundation: Foundation
    budgets: Budgets
    stages: Stages
    start: ServerState
    memory: ClientMemory
    settings: Mapping[str, Any]
    privacy: PrivacyPlan | None

    @property
    def last_round(self) -> int:
        """Number of the last round, which the budget of privacy may bring forward."""
        rounds = self.config.federated.rounds
        return rounds if self.privacy is None else self.privacy.last_round(rounds)

    def params(self, state: ServerState) -> Params:
        """Returns all parameters of the shared model in a state."""
        unit = self.config.training.unit
        # Not the frozen parameters of the stages, which are laid out over devices.
        frozen, _, _ = units.split(self.foundation.params, unit)
        return units.join(frozen, state.rows_L, state.head, unit)


def assemble(config: ExperimentConfig) -> Parts:
    """Builds the parts of a run; every error in its settings, data or weights is raised here.

    Args:
      config: Settings of the run.

    Returns:
      The parts.

    Raises:
      ConfigError: for settings that do not fit the data or the weights.
      DataError: for data that cannot be used.
      WeightsError: for weights that cannot be used.
      CompilerError: for a compiler that computes wrong gradients.
    """
    tokenizer, canvas = check_inputs(config)
    federation = read_federation(
        config.data,
        canvas=canvas,
        tokenizer=tokenizer,
        writes_answers=config.model.answering == GENERATE,
        gather=hosts.all_gather if config.distributed.own_data else own_data.alone,
    )
    federation, foundation, decoding = load_model(config, federation)
    clients = federation.clients
    _, rows_L, head = units.split(foundation.params, config.training.unit)
    admission.check_state(config, rows_L, head, len(clients))
    frozen, start, memory = make_start(config, foundation, len(clients))
    budgets = make_budgets(config, clients, foundation, start.rows_L)
    stages = make_stages(config, foundation.model, frozen, clients, budgets, decoding)
    settings = bound_settings(config, foundation, [client.name for client in clients])
    plan = make_privacy_plan(config, clients, budgets)
    return Parts(config, federation, foundation, budgets, stages, start, memory, settings, plan)


def check_inputs(config: ExperimentConfig) -> tuple[Tokenizer, Canvas]:
    """Checks all that can be checked before data or weights are read.

    Args:
      config: Settings of the run.

    Returns:
      (tokenizer of the questions, canvas of the images).

    Raises:
      ConfigError: for an impossible model or folder of checkpoints.
      WeightsError: for a directory that holds no model.
      CompilerError: for a compiler that computes wrong gradients.
    """
    checkpoint.directory(config.checkpoint, "")
    _xla.check()
    tokenizer, canvas = foundation_lib.inputs(config.model, config.data)
    admission.check_model(config, foundation_lib.specify(config.model, tokenizer), canvas)
    return tokenizer, canvas


def load_model(
    config: ExperimentConfig, federation: Federation
) -> tuple[Federation, Foundation, AnswerDecoder | None]:
    """Loads the model of a federation.

    Args:
      config: Settings of the run.
      federation: Data of the clients, and their classes.

    Returns:
      (the federation with the examples that the run uses and their tokens, the model, settings of
      written answers or None for a model with an answer head).

    Raises:
      ConfigError: for settings that do not fit the data or the weights.
      WeightsError: for weights that cannot be used.
    """
    if not config.evaluation.test:
        federation = _without_test(federation)
    _check_probe(config.importance.probe_examples, federation.clients)
    answers, key = federation.vocabulary.answers, jax.random.key(config.seed)
    foundation = foundation_lib.load(config.model, answers, key, federation.findings)
    decoding = make_answer_decoder(foundation, config.evaluation, config.data.answer_length)
    if decoding is not None:
        federation = decoding.add_answer_tokens(federation)
    return federation, foundation, decoding


def make_stages(
    config: ExperimentConfig,
    model: Model,
    frozen: Params,
    clients: list[ClientData],
    budgets: Budgets,
    decoding: AnswerDecoder | None = None,
) -> Stages:
    """Makes the stages of a run's rounds.

    Args:
      config: Settings of the run.
      model: The model.
      frozen: Parameters that no client trains.
      clients: All K clients.
      budgets: Limits of every client, and its participation.
      decoding: Settings of written answers; None for a model with an answer head.

    Returns:
      The stages.

    Raises:
      ConfigError: for an unknown score, selection algorithm, pick, loss or server optimizer.
    """
    federated, seed, participation = config.federated, config.seed, budgets.participation
    client_side = client_side_of(config, model)
    server_side = make_server_side(
        budgets,
        selection=config.selection,
        aggregation=config.aggregation,
        privacy=config.privacy,
    )
    frozen = placement.replicate(frozen, federated.placement)
    shared: dict[str, Any] = {"federated": federated, "seed": seed}
    private = shared | {"privacy": config.privacy}
    settings, slots = config.training, budgets.slots
    every = (frozen, clients, participation)
    predict = make_predict(config, model, clients, decoding)
    return Stages(
        score=make_score_stage(client_side, *every, importance=config.importance, **private),
        select=make_select_stage(server_side),
        train=make_train_stage(
            client_side,
            server_side,
            *every,
            training=settings,
            slots=slots,
            **private,
        ),
        aggregate=make_aggregate_stage(server_side, placement_name=federated.placement),
        evaluate=make_evaluate_stage(
            predict,
            frozen,
            clients,
            **evaluation_options(config),
        ),
    )


def client_side_of(config: ExperimentConfig, model: Model) -> ClientSide:
    """Makes the client's half of a run's rounds."""
    return make_client_side(
        model,
        importance=config.importance,
        training=config.training,
        loss=config.model.loss,
        skip_frozen=config.federated.clients_at_once == 1,
        privacy=config.privacy,
    )


def evaluation_options(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the options of `make_evaluate_stage` and `make_measure` in a run."""
    return {
        "unit": config.training.unit,
        "validates": config.data.validation_share > 0,
        "keeps_answers": not config.distributed.own_data,
    }


def make_start(
    config: ExperimentConfig, foundation: Foundation, clients: int
) -> tuple[Params, ServerState, ClientMemory]:
    """Returns (frozen parameters, state of the server, memories of the clients) before round 1."""
    frozen, rows_L, head = units.split(foundation.params, config.training.unit)
    layers = foundation.model.num_layers
    init, _ = server_optimizer.make_server_optimizer(config.aggregation)
    state = ServerState(
        rows_L=rows_L,
        head=head,
        round=jnp.int32(0),
        front_mask_PKL=np.zeros((config.selection.population, clients, layers), bool),
        optimizer=init(rows_L, head),
        controls=controls.make_controls(rows_L, head) if config.training.controls else None,
    )
    memory = ClientMemory(
        vectors_LNC=_no_vectors(config.importance, head, clients, layers),
        personal_L=repeat_for_clients(rows_L, clients) if config.training.dual_adapters else None,
        optimizer=_no_moments(config.training, rows_L, head, clients),
        head=repeat_for_clients(head, clients) if config.training.head == PERSONAL else None,
        controls=None if state.controls is None else repeat_for_clients(state.controls, clients),
        **_no_scores(config.importance, clients, layers),
    )
    return frozen, state, memory


def bound_settings(
    config: ExperimentConfig, foundation: Foundation, clients: Sequence[str]
) -> dict[str, Any]:
    """Returns the settings that a checkpoint is bound to, and hashes of what run.json lists.

    Args:
      config: Settings of the run.
      foundation: The model, its answers and findings.
      clients: Names of the clients.
    """
    lists = (foundation.answers, clients, foundation.findings)
    hashes = map(checkpoint.hash_names, lists)
    return {
        **checkpoint.shared_settings(config),
        **dict(zip(checkpoint.NAMES, hashes, strict=True)),
        "weights fingerprint": foundation.fingerprint,
    }


def make_predict(
    config: ExperimentConfig,
    model: Model,
    clients: list[ClientData],
    decoding: AnswerDecoder | None,
) -> inference.Predict:
    """Makes the function that runs the model over a split.

    Args:
      config: Settings of the run.
      model: The model.
      clients: Clients whose splits it will see.
      decoding: Settings of written answers; None for a model with an answer head.

    Returns:
      (params, examples) -> Outputs.
    """
    layout: dict[str, Any] = {
        "batch_size": config.evaluation.batch_size,
        "placement_name": config.federated.placement,
    }
    if decoding is None:
        return inference.make_predict(model, loss=config.model.loss, **layout)
    return written_answers.make_written_predict(model, decoding, clients, **layout)


def make_budgets(
    config: ExperimentConfig, clients: list[ClientData], foundation: Foundation, rows_L: Rows
) -> Budgets:
    """Makes the limits of a run.

    Args:
      config: Settings of the run.
      clients: All K clients.
      foundation: The model and its weights.
      rows_L: Selectable layers.

    Raises:
      ConfigError: for limits that contradict each other or name unknown clients or layers.
    """
    names = tuple(client.name for client in clients)
    step = costs.count_step_flops(foundation, clients, clients[0].task, config)
    return budgets_lib.make_budgets(
        layer_costs(config.federated.budget_unit, rows_L, step),
        Participation(names, config.federated, config.seed),
        limits=config.limits,
        algorithm=config.selection.algorithm,
        at_most=config.selection.budgets == AT_MOST,
    )


def _no_moments(settings: TrainingConfig, rows_L: Rows, head: Params, clients: int) -> Any:
    """Returns the states of the clients' optimizers before round 1; None in a run without any."""
    if settings.optimizer_state != KEPT:
        return None
    none = layer_optimizer.init_all(make_local_optimizer(settings), rows_L, head)
    return repeat_for_clients(none, clients)


def _no_vectors(
    settings: ImportanceConfig, heads: Params, clients: int, layers: int
) -> np.ndarray | None:
    """Returns the eigenvectors before round 1: 0, or None in a run that never starts warm."""
    if not settings.lntk.warm_start:
        return None
    on_loss = settings.lntk.kernel == LOSS
    outputs = 1 if on_loss else sum(head_lib.classes(head) for head in heads.values())
    return np.zeros((clients, layers, settings.probe_examples, outputs), np.float32)


def _no_scores(settings: ImportanceConfig, clients: int, layers: int) -> dict[str, Any]:
    """Returns the clients' last scores before round 1; none in a run that keeps none."""
    if settings.every == 1:
        return {}
    empty = Importance.empty((clients, layers), eigenvalues=settings.score == "lntk")
    return {"importance_L": empty, "scored_in": np.zeros(clients, np.int32)}


def _without_test(federation: Federation) -> Federation:
    """Leaves all test examples out of a run, which then measures validation examples alone."""
    clients = [dataclasses.replace(client, test=None) for client in federation.clients]
    if all(client.validation is None for client in clients):
        raise ConfigError(
            "config.evaluation.test = False, must be True for these data: no client has enough "
            "patients or images to hold any out for validation"
        )
    return dataclasses.replace(federation, clients=clients)


def _check_probe(wanted: int, clients: list[ClientData]) -> None:
    for client in clients:
        if wanted > len(client.train):
            raise ConfigError(
                f"config.importance.probe_examples = {wanted}, must be at most "
                f"{len(client.train)}, the training examples of client {client.name}"
            )
