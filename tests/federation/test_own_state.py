"""What a client keeps of its training: the moments of its optimizer, and a head of its own."""

import dataclasses

import chex
import jax
import numpy as np
import optax
import pytest

from f3ocus_jax.clients import layer_optimizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import costs, experiment, run_folder, runs
from f3ocus_jax.federation.client_side import make_local_optimizer
from f3ocus_jax.federation.stages.client_axis import repeat_for_clients
from f3ocus_jax.models import units
from f3ocus_jax.models.huggingface import directory as huggingface
from f3ocus_jax.types import ClientMemory
from tests.helpers import replay, training_stage
from tests.helpers.configs import read_config, without_times
from tests.helpers.oracles import toy_model
from tests.helpers.training_stage import BROKEN, CLIENTS, LAYERS, clients, config

KEPT, PERSONAL = {"training__optimizer_state": "kept"}, {"training__head": "personal"}


def memory_of(parsed, data):
    """Memories of toy clients before round 1."""
    model = toy_model(layers=LAYERS)
    _, rows_L, head = units.split(model.init(jax.random.key(0)), "block")
    optimizer = layer_optimizer.init_all(make_local_optimizer(parsed.training), rows_L, head)
    kept = {"optimizer": optimizer} if parsed.training.optimizer_state == "kept" else {}
    kept |= {"head": head} if parsed.training.head == "personal" else {}
    return ClientMemory(**repeat_for_clients(kept, len(data)))


def start(data, **settings):
    """(stages of toy clients, their memories before round 1)."""
    return training_stage.make_stages(data, **settings), memory_of(config(**settings), data)


def by_optax(layers_of_rounds, client):
    """One client's training by optax in float64 with one state per layer; (rows_L, head)."""
    model, settings = toy_model(layers=LAYERS), config().training
    optimizer = optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay)
    params = replay.to_float64(model.init(jax.random.key(0)))  # drawn in float32, as the stages'
    with jax.enable_x64(True):
        alone = replay.Replay(config(), model, params, [client])
        _, rows_L, head = units.split(params, "block")
        parts = [jax.tree.map(lambda leaf, at=at: leaf[at], rows_L) for at in range(LAYERS)]
        parts.append(head)
        states = [optimizer.init(part) for part in parts]
        for number, layers in enumerate(layers_of_rounds, start=1):
            for batch in alone.batches(number, client):
                stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts[:-1])
                slope = jax.grad(alone.loss)({"rows": stacked, "head": parts[-1]}, batch)
                for at in (*layers, LAYERS):
                    own = jax.tree.map(lambda leaf, at=at: leaf[at], slope["rows"])
                    own = slope["head"] if at == LAYERS else own
                    change, states[at] = optimizer.update(own, states[at], parts[at])
                    parts[at] = optax.apply_updates(parts[at], change)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts[:-1])
        return jax.device_get((stacked, parts[-1]))


@pytest.mark.parametrize(
    ("kept", "rounds"),
    [(True, ((0, 2), (0, 2))), (True, ((0, 2), (1, 2), (0, 1))), (False, ((0, 2), (0, 2)))],
    ids=["the same layers", "other layers", "reset"],
)
def test_kept_moments_continue_the_training_of_each_layer(kept, rounds):
    data = clients()[3:4]  # 12 examples: 3 steps of 4
    stages, memory = start(data, **(KEPT if kept else {}))
    state = stages.start
    for layers in rounds:
        mask_KL = np.isin(np.arange(LAYERS), layers)[None]
        state, memory, _ = training_stage.train_with_memory(stages, state, memory, mask_KL)
    expected = by_optax(rounds, data[0])
    error = max(
        float(np.abs(np.asarray(leaf) - known).max())
        for leaf, known in zip(
            jax.tree.leaves((state.rows_L, state.head)), jax.tree.leaves(expected), strict=True
        )
    )
    assert (error < 2e-5) == kept, error


def test_every_layer_counts_its_own_steps_and_waits_for_its_next_round():
    data = clients()[3:4]
    stages, memory = start(data, **KEPT)
    state, counted = stages.start, []
    for layers in ((0, 2), (1, 2)):
        mask_KL = np.isin(np.arange(LAYERS), layers)[None]
        state, memory, _ = training_stage.train_with_memory(stages, state, memory, mask_KL)
        counted.append(np.asarray(memory.optimizer["rows"][0].count)[0].tolist())
    assert counted == [[3, 0, 3, 0], [3, 3, 6, 0]]
    assert int(memory.optimizer["head"][0].count[0]) == 6


def test_moments_of_a_frozen_head_wait_too():
    data = clients()[3:4]
    stages, memory = start(data, **KEPT, training__head="first_rounds", training__head_rounds=1)
    state, mask_KL = stages.start, np.ones((1, LAYERS), bool) & (np.arange(LAYERS) < 2)
    state, first, _ = training_stage.train_with_memory(stages, state, memory, mask_KL)
    _, second, _ = training_stage.train_with_memory(stages, state, first, mask_KL)
    assert int(first.optimizer["head"][0].count[0]) == 3
    chex.assert_trees_all_equal(first.optimizer["head"], second.optimizer["head"])
    assert np.asarray(second.optimizer["rows"][0].count)[0].tolist() == [6, 6, 0, 0]


def test_personal_heads_are_those_of_clients_that_train_alone_and_the_server_s_stays():
    settings = {**PERSONAL, "federated__placement": "map"}
    stages, memory = start(clients(), **settings)
    state, after, outcome = training_stage.train_with_memory(
        stages, stages.start, memory, training_stage.MASK_KL
    )
    chex.assert_trees_all_equal(jax.device_get(state.head), jax.device_get(stages.start.head))
    assert not np.array_equal(state.rows_L["in"], stages.start.rows_L["in"])
    assert outcome.left_out == [None] * CLIENTS
    model = toy_model(layers=LAYERS)
    params = replay.to_float64(model.init(jax.random.key(0)))
    with jax.enable_x64(True):
        alone = replay.Replay(config(), model, params, clients())
        for index, client in enumerate(alone.clients):
            layers = np.flatnonzero(training_stage.MASK_KL[index])
            known = alone.train(stages.start, 1, client, layers).after["head"]
            own = jax.tree.map(lambda leaf, index=index: leaf[index], after.head)
            chex.assert_trees_all_close(own, known, atol=2e-6)


@pytest.mark.parametrize("settings", [KEPT, PERSONAL], ids=["moments", "head"])
def test_a_client_whose_training_failed_keeps_what_it_had(settings):
    stages, memory = start(clients(True), **settings)
    _, after, outcome = training_stage.train_with_memory(
        stages, stages.start, memory, training_stage.MASK_KL
    )
    assert outcome.left_out[BROKEN]
    before, later = (
        jax.tree.map(lambda leaf: np.asarray(leaf)[BROKEN], tree) for tree in (memory, after)
    )
    chex.assert_trees_all_equal(before, later)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


@pytest.fixture(scope="module")
def personal_run(data_dir, tmp_path_factory):
    """(folder, records) of a run of two rounds whose clients keep heads and moments."""
    workdir = tmp_path_factory.mktemp("personal")
    settings = {**PERSONAL, **KEPT}
    return workdir, experiment.run(read_config("tiny_fd", data_dir, **settings), workdir)


@pytest.mark.extended
def test_a_resumed_run_with_heads_and_moments_of_its_clients_equals_a_whole_one(
    personal_run, data_dir, tmp_path
):
    settings = {**PERSONAL, **KEPT}
    experiment.run(read_config("tiny_fd", data_dir, **settings, federated__rounds=1), tmp_path)
    resumed = experiment.run(read_config("tiny_fd", data_dir, **settings), tmp_path)
    assert without_times(resumed) == without_times(personal_run[1])
    saved, other = run_folder.load_model(tmp_path, 2), run_folder.load_model(personal_run[0], 2)
    chex.assert_trees_all_equal((saved.params, saved.heads), (other.params, other.heads))


@pytest.mark.extended
def test_a_finished_run_answers_and_measures_with_the_head_of_each_client(personal_run, data_dir):
    workdir, records = personal_run
    opened = runs.load(workdir, 2)
    measured = opened.evaluate(data_dir=data_dir)
    for client in records[-1].clients:
        assert measured[client.client]["accuracy"] == client.test["accuracy"]
    picture = np.zeros((32, 32, 3), np.uint8)
    first, second = (
        opened.answer(picture, "Is this normal?", client=name)[0].probabilities
        for name in list(measured)[:2]
    )
    assert first != second
    with pytest.raises(ConfigError, match=r"'' is none of them: name one of "):
        opened.answer(picture, "Is this normal?")


@pytest.mark.extended
def test_the_shared_model_has_no_head_and_no_head_is_sent(personal_run, data_dir):
    workdir, records = personal_run
    parts = experiment.assemble(read_config("tiny_fd", data_dir, **PERSONAL))
    exported = huggingface.load(workdir / "model", answers=("yes", "no"), key=jax.random.key(0))
    assert exported.answers == ("yes", "no")
    start = parts.foundation.params["head"]
    saved = run_folder.load_model(workdir, 2)
    chex.assert_trees_all_equal(jax.device_get(saved.params["head"]), jax.device_get(start))
    shared = dataclasses.replace(
        parts.config, training=dataclasses.replace(parts.config.training, head="every_round")
    )
    (own, *_), (other, *_) = (
        costs.count_client_costs(
            parts.foundation, parts.federation.clients, settings, parts.start, records
        )
        for settings in (parts.config, shared)
    )
    head = 2 * own.head_parameters * 32 / 1e6
    assert other.megabits_total - own.megabits_total == pytest.approx(head)
    assert other.gigaflops_per_example == own.gigaflops_per_example
