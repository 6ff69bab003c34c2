"""Two rounds of a federation of unequal clients equal their replay in NumPy, SciPy and optax."""

import jax
import numpy as np
import pytest
from etils import epath

from f3ocus_jax import selection
from f3ocus_jax.evaluation import round_choice
from f3ocus_jax.federation import checkpoint, experiment
from f3ocus_jax.federation.checkpoint import Checkpoints
from f3ocus_jax.models import units
from f3ocus_jax.types import ClientMemory, RoundRecord
from tests.helpers import replay
from tests.helpers.configs import read_config
from tests.selection import brute_force
from tfds_medvqa.build import prepare
from tfds_medvqa.phantom_medvqa.phantom_config import PhantomConfig
from tfds_medvqa.phantom_medvqa.phantom_medvqa_dataset_builder import Builder

UNEQUAL = PhantomConfig(
    name="unequal",
    images_per_client={"abdominal_ct": 26, "chest_xray": 40, "fundus": 10, "oct": 16},
    image_size=32,
)
COMMON = {
    "seed": 5,
    "data__datasets": ("phantom_medvqa/unequal",),
    "federated__budgets": (4, 1, 3, 2),
    "federated__placement": "map",
    "model__architecture__num_hidden_layers": 7,
    "aggregation__fedavg__learning_rate": replay.AVERAGING_RATE,
    "selection__population": 8,
    "selection__generations": 2,
    "training__batch_size": 4,
    "training__local_epochs": 2.0,
    "training__max_local_steps": 3,
    "training__weight_decay": 0.2,
    "importance__probe_examples": 2,
    "importance__probe_batches": 1,
}
"""Three steps: two passes over the smallest client's examples, and a part of one of the others'."""
ADAM = {
    "aggregation__optimizer": "fedadam",
    "aggregation__fedadam__learning_rate": replay.ADAM_RATE,
    "aggregation__fedadam__momentum": replay.MOMENTUM,
    "aggregation__fedadam__second_momentum": replay.SECOND_MOMENTUM,
    "aggregation__fedadam__epsilon": replay.EPSILON,
    "training__proximal": 0.5,
}
UNCAPPED = {"training__max_local_steps": 50, "training__local_epochs": 1.5}
ABSENT = {"federated__absent": {"chest_xray": (2,)}}
CASES = {
    "adapters, capped steps, an absent client": ("tiny", ABSENT),
    "adapters, all steps": ("tiny", UNCAPPED),
    "FedAdam with FedProx, an absent client": ("tiny", {**ADAM, **ABSENT}),
    "clients that count the same": ("tiny", {**UNCAPPED, "aggregation__weights": "equal"}),
    "a head that is trained in round 1 alone, FedAdam with FedProx": (
        "tiny",
        {**ADAM, "training__head": "first_rounds", "training__head_rounds": 1},
    ),
    "changes normalised by steps": ("tiny", {**UNCAPPED, "aggregation__weights": "steps"}),
    "budgets that need not be spent": (
        "tiny",
        {
            "selection__budgets": "at_most",
            "selection__algorithm": "exact",
            "selection__pick": "index",
            **ABSENT,
        },
    ),
    "blocks": ("tiny", {"training__unit": "block"}),
    "adapters whose matrices alone decay": ("tiny", {"training__decay": "matrices"}),
    "LoRA": (
        "tiny",
        {"training__unit": "lora", "model__lora_rank": 3, "model__adapter_size": 0},
    ),
}
QUICK = next(iter(CASES))


@pytest.fixture(scope="module")
def unequal_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unequal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Builder.builder_configs, "unequal", UNEQUAL)
        patch.setattr(Builder, "BUILDER_CONFIGS", [*Builder.BUILDER_CONFIGS, UNEQUAL])
        prepare(Builder(config=UNEQUAL, data_dir=folder, file_format="array_record"))
        yield folder


def run_two_rounds(parts, folder):
    """States and records of rounds 0 to 2, as they come back from checkpoints and JSON."""
    state, memory, records = parts.start, parts.memory, [experiment.evaluate_start(parts)]
    with Checkpoints(folder, parts.config.checkpoint, parts.settings) as checkpoints:
        checkpoints.save(state, memory, records)
        for _ in range(2):
            state, memory, record = experiment.next_round(parts, state, memory)
            records.append(RoundRecord.from_json(record.to_json()))
            checkpoints.save(state, memory, records)
        checkpoints.wait()
        states = [checkpoints.restore(parts.start, ClientMemory(), n)[0] for n in range(3)]
    return states, records


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=() if c == QUICK else pytest.mark.extended) for c in CASES]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_rounds_equal_their_replay(case, unequal_dir, tmp_path):
    variant, settings = CASES[case]
    config = read_config(variant, unequal_dir, **{**COMMON, **settings})
    parts = experiment.assemble(config)
    states, records = run_two_rounds(parts, tmp_path)
    with jax.enable_x64(True):
        params = replay.to_float64(parts.foundation.params)
        again = replay.Replay(config, parts.foundation.model, params, parts.federation.clients)
        check_start(again, records[0], states[0])
        for number in (1, 2):
            before, after, record = *states[number - 1 : number + 1], records[number]
            check_probe_and_shares(again, before, record)
            check_training(again, before, after, record)
            check_metrics(again, after, record)
    check_round_choice(records, tmp_path)
    select = make_select(config)
    for number in (1, 2):
        check_choice(config, select, states, records[number])


def check_start(again, record, state):
    _, rows_L, head = units.split(again.params, again.config.training.unit)
    assert_close((state.rows_L, state.head), (rows_L, head), 0)
    check_metrics(again, state, record)
    sizes = [len(client.train) for client in again.clients]
    assert len(set(sizes)) == len(sizes)


def present(record):
    return [index for index, client in enumerate(record.clients) if not client.left_out]


def check_probe_and_shares(again, state, record):
    absent = dict(again.config.federated.absent)
    for client, mine in zip(again.clients, record.clients, strict=True):
        away = record.round in absent.get(client.name, ())
        assert mine.left_out == ("absent" if away else None)
        if away:
            continue
        values_L = again.eigenvalues(state, record.round, client)
        np.testing.assert_allclose(mine.values, values_L, rtol=3e-5)
        np.testing.assert_allclose(mine.scores, values_L / values_L.sum(), rtol=5e-5)
        best = np.sort(np.argsort(values_L)[-mine.budget :])
        assert mine.own_layers == best.tolist()
        if again.config.selection.budgets == "exact":
            assert len(mine.layers) == mine.budget
        assert 1 <= len(mine.layers) <= mine.budget


def check_training(again, before, after, record):
    trained = {}
    for index in present(record):
        client, mine = again.clients[index], record.clients[index]
        made = again.train(before, record.round, client, mine.layers)
        assert mine.train_loss == pytest.approx(np.mean(made.losses), rel=1e-5)
        assert (mine.steps, mine.straggled) == (len(made.losses), False)
        trained[index] = made
    change, known, trained_L = again.mean_change(before, trained, record.clients)
    assert np.mean([leaf.mean() for leaf in jax.tree.leaves(known)]) > 0.9
    expected, moments = again.step(before, change, trained_L)
    found = {"rows": after.rows_L, "head": after.head}
    # Half a hundredth of a step of AdamW, and of the server's Adam.
    step = replay.ADAM_RATE if moments else again.config.training.learning_rate
    assert_close(found, expected, 5e-3 * step, known)
    for name, tree in moments.items():
        assert_close(replay.moments(after)[name], tree, 2e-6, known if name != "count" else None)
    assert int(after.round) == record.round


def check_metrics(again, state, record):
    measured = [again.metrics(state, client.test) for client in again.clients]
    for mine, expected in zip(record.clients, measured, strict=True):
        assert mine.test == pytest.approx(expected, rel=1e-5)
    validated = [again.metrics(state, client.validation) for client in again.clients]
    for mine, expected in zip(record.clients, validated, strict=True):
        assert mine.validation == pytest.approx(expected, rel=1e-5)
    mean = np.mean([each["accuracy"] for each in validated])
    assert record.validation == pytest.approx(mean, rel=1e-6)
    for name in ("accuracy", "loss"):
        mean = np.mean([each[name] for each in measured])
        assert getattr(record, name) == pytest.approx(mean, rel=1e-5)


def check_round_choice(records, folder):
    """The chosen round is the first in a ranking of the clients' own validation accuracies."""
    ranking = [
        (np.mean([client.validation["accuracy"] for client in record.clients]), record.round)
        for record in records
    ]
    expected = max(ranking)[1]
    assert checkpoint.best_whole(epath.Path(folder)) == expected
    assert round_choice.chosen_round(records).round == expected


def make_select(config):
    settings = config.selection
    size = {"population": settings.population, "generations": settings.generations}
    return selection.make_selector(settings.algorithm, pick=settings.pick, **size)


def check_choice(config, select, states, record):
    """The choice follows from the recorded shares, the round's own key, and the last front."""
    number, layers = record.round, len(record.clients[present(record)[0]].scores)
    names = [client.client for client in record.clients]
    present_K = np.isin(np.arange(len(names)), present(record))
    scores_KL = np.array(
        [client.scores or [1 / layers] * layers for client in record.clients], np.float32
    )
    budgets_K = np.array([client.budget for client in record.clients], np.int32)
    limits = None
    if not present_K.all() or config.federated.absent:
        wanted = selection.Requirements(present_K=present_K)
        if config.selection.budgets == "at_most":
            costs = {"costs_L": np.ones(layers), "capacity_K": budgets_K}
            wanted = selection.Requirements(present_K=present_K, **costs)
        limits = selection.limits.make_limits(wanted, scores_KL, budgets_K, names)

    def choose(front_mask_PKL, of_round):
        key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), of_round))[1]
        return select(key, scores_KL, budgets_K, front_mask_PKL, limits)

    last = np.asarray(states[number - 1].front_mask_PKL)
    chosen = choose(last, number)
    mask_KL = np.zeros((len(names), layers), bool)
    for index, client in enumerate(record.clients):
        mask_KL[index, client.layers] = True
    np.testing.assert_array_equal(mask_KL, chosen.mask_KL)
    np.testing.assert_array_equal(states[number].front_mask_PKL, chosen.front_mask_PKL)
    front = [mask for mask in np.asarray(states[number].front_mask_PKL) if mask.any()]
    points = [brute_force.worth(mask, scores_KL) for mask in front]
    expected = [(-importance, variance) for importance, variance in points]
    assert [pytest.approx(point, rel=1e-5) for point in sorted(expected)] == [
        (abs(point[0]), point[1]) for point in record.selection.front
    ]
    assert any(client.layers != client.own_layers for client in record.clients)
    spent = [len(client.layers) == client.budget for client in record.clients if client.layers]
    assert all(spent) == (config.selection.budgets == "exact")
    if config.selection.algorithm == "exact":
        return
    for other in ((last, number + 1), (np.zeros_like(last), number))[:number]:
        fronts = [np.asarray(made.front_mask_PKL) for made in (choose(*other), chosen)]
        assert not np.array_equal(*fronts), "the case would not notice another key or front"


def assert_close(found, expected, atol, known=None):
    for leaf, other, where in zip(
        jax.tree.leaves(found),
        jax.tree.leaves(expected),
        jax.tree.leaves(known) if known else [True] * len(jax.tree.leaves(found)),
        strict=True,
    ):
        apart = np.where(where, np.asarray(leaf, np.float64) - other, 0)
        np.testing.assert_allclose(apart, 0, atol=atol)
