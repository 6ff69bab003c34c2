"""What is found wrong before any compute, and what a run with other settings gives."""

import chex
import jax
import numpy as np
import pytest

from f3ocus_jax.errors import ConfigError, DataError
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.checkpoint import Checkpoints
from f3ocus_jax.federation.stages.train import layers_of
from f3ocus_jax.models import units
from f3ocus_jax.types import RoundRecord
from tests.helpers.configs import read_config, without_times
from tests.helpers.marking import marked
from tfds_medvqa.build import BuildError, prepare
from tfds_medvqa.phantom_medvqa.phantom_config import CLIENTS, PhantomConfig
from tfds_medvqa.phantom_medvqa.phantom_medvqa_dataset_builder import Builder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"federated__budgets": (1, 2)}, "must be 1 number or 9, one per client"),
        ({"selection__algorithm": "nsga3"}, "is unknown; choose .*nsga2"),
        ({"importance__score": "snipp"}, "is unknown; choose .*snip"),
        ({"importance__lntk__kernel": "logits"}, "must be one of .*loss"),
        ({"importance__lntk__method": "fast"}, "must be one of .*auto"),
        ({"importance__lntk__memory_limit": -1}, "must be >= 0, in bytes"),
        (
            {"importance__lntk__warm_start": True, "importance__score": "snip"},
            "must be False, or True",
        ),
        ({"selection__pick": "best"}, "is unknown; choose .*knee"),
        ({"model__family": "clip"}, "is unknown; choose .*vilt"),
        ({"model__loss": "hinge"}, "is unknown; choose binary_cross_entropy, cross_entropy"),
        ({"data__partition": "ward"}, "must be dataset, shards, dirichlet or one of .*client"),
        ({"data__question_length": 41}, "must be at most 40, the tokens this model takes"),
        ({"data__minimum_answer_count": 10**6}, "minimum_answer_count"),
        ({"model__architecture": {"hidden": 3}}, "architecture.hidden is unknown; did you mean"),
        ({"model__architecture": {"hidden_size": 33}}, "must be a multiple of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_do_not_fit_are_refused_before_any_compute(data_dir, settings, message):
    with pytest.raises(ConfigError, match=message):
        experiment.assemble(read_config("tiny", data_dir, **settings))


def test_weights_that_are_absent_are_refused(data_dir, tmp_path):
    settings = {"model__weights": str(tmp_path / "absent"), "model__architecture": {}}
    with pytest.raises(ConfigError, match="absent' is no folder, and nothing is downloaded"):
        experiment.assemble(read_config("tiny", data_dir, **settings))


def test_an_unknown_dataset_lists_the_known_ones(data_dir):
    with pytest.raises(BuildError, match="choose one of clients, public, tiny"):
        experiment.assemble(read_config("tiny", data_dir, data__datasets=("phantom_medvqa/none",)))


def test_a_client_without_examples_in_a_split_is_named(tmp_path, monkeypatch):
    """The partition makes one client per image, and a test image has no training image."""
    small = PhantomConfig(name="small", images_per_client={"fundus": 5})
    monkeypatch.setitem(Builder.builder_configs, "small", small)
    prepare(Builder(config=small, data_dir=tmp_path, file_format="array_record"))
    monkeypatch.setattr(Builder, "BUILDER_CONFIGS", [*Builder.BUILDER_CONFIGS, small])
    settings = {"data__datasets": ("phantom_medvqa/small",), "data__partition": "image_id"}
    with pytest.raises(DataError, match=r"client fundus-.* has no (train|test) example"):
        experiment.assemble(read_config("tiny", tmp_path, **settings))


def test_clients_are_ordered_by_name_and_hold_their_own_modality(data_dir):
    parts = experiment.assemble(read_config("tiny", data_dir))
    names = [client.name for client in parts.federation.clients]
    assert names == sorted(names)
    assert len(names) == 9
    for client in parts.federation.clients:
        assert len(client.train) == 29
        assert len(client.validation) == 3
        assert len(client.test) == 8
        assert all(image_id.startswith(client.name) for image_id in client.train.image_ids)
        assert client.train.labels_N.min() >= 0


def test_the_answer_vocabulary_never_sees_test_answers(data_dir):
    parts = experiment.assemble(read_config("tiny", data_dir))
    trained = {answer for client in parts.federation.clients for answer in client.train.answers}
    assert set(parts.federation.vocabulary.answers) == trained


def test_layers_of_a_mask_are_ascending_and_padded_with_l():
    mask_KL = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    np.testing.assert_array_equal(layers_of(mask_KL, 3), [[1, 3, 4], [4, 4, 4], [0, 1, 2]])


@pytest.mark.parametrize("unit", ["adapter", pytest.param("block", marks=pytest.mark.slow)])
def test_a_round_changes_the_chosen_layers_and_the_head_and_nothing_else(data_dir, unit):
    config = read_config(
        "tiny",
        data_dir,
        training__unit=unit,
        federated__budgets=(1,),
        limits__forbidden=dict.fromkeys(CLIENTS, (2,)),
    )
    parts = experiment.assemble(config)
    state, _, record = experiment.next_round(parts, parts.start, parts.memory)
    chosen = {layer for client in record.clients for layer in client.layers}
    assert RoundRecord.from_json(record.to_json()) == record
    assert chosen
    assert 2 not in chosen
    pairs = list(zip(*(jax.tree.leaves(s.rows_L) for s in (parts.start, state)), strict=True))
    for layer in range(4):
        moved = [not np.array_equal(before[layer], after[layer]) for before, after in pairs]
        assert any(moved) == (layer in chosen)
    frozen, *_ = units.split(parts.params(parts.start), unit)
    frozen_after, *_ = units.split(parts.params(state), unit)
    chex.assert_trees_all_equal(frozen_after, frozen)
    heads = (jax.tree.leaves(s.head) for s in (parts.start, state))
    assert any(not np.array_equal(*pair) for pair in zip(*heads, strict=True))


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_warm_start_survives_a_stop_and_what_has_not_converged_is_recorded(data_dir, tmp_path):
    warm = {"importance__lntk__warm_start": True, "importance__lntk__method": "lanczos"}
    absent = {"federated__absent": {"oct": (2,)}, "importance__lntk__max_iterations": 2}
    parts = experiment.assemble(read_config("tiny", data_dir, **warm, **absent))
    first, memory, record = experiment.next_round(parts, parts.start, parts.memory)
    for client in record.clients:
        far = [layer for layer, residual in enumerate(client.residuals) if residual > 1e-4]
        assert client.unconverged == far
    assert any(client.unconverged for client in record.clients)
    with Checkpoints(tmp_path, parts.config.checkpoint, parts.settings) as checkpoints:
        checkpoints.save(first, memory, [record])
        checkpoints.wait()
        restored = checkpoints.restore(parts.start, parts.memory)[:2]
    (*straight, expected), (*resumed, found) = (
        experiment.next_round(parts, *states) for states in ((first, memory), restored)
    )
    for leaf, other in zip(jax.tree.leaves(straight), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert [client.values for client in found.clients] == [c.values for c in expected.clients]
    again = np.array([[c.residuals for c in r.clients if c.residuals] for r in (record,)])
    later = np.array([c.residuals for c in expected.clients if c.residuals])
    assert np.median(later) < np.median(again)
    away = next(index for index, c in enumerate(expected.clients) if c.left_out == "absent")
    np.testing.assert_array_equal(straight[1].vectors_LNC[away], memory.vectors_LNC[away])
    assert np.any(memory.vectors_LNC[away] != 0)


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_with_other_choices_than_the_paper_s_resumes_bit_for_bit(data_dir, tmp_path):
    settings = {
        "training__head": "first_rounds",
        "training__decay": "matrices",
        "aggregation__weights": "steps",
        "selection__budgets": "at_most",
        "selection__algorithm": "exact",
    }
    parts = experiment.assemble(read_config("tiny", data_dir, **settings))
    first, memory, record = experiment.next_round(parts, parts.start, parts.memory)
    with Checkpoints(tmp_path, parts.config.checkpoint, parts.settings) as checkpoints:
        checkpoints.save(first, memory, [record])
        checkpoints.wait()
        restored = checkpoints.restore(parts.start, parts.memory)[:2]
    (straight, _, expected), (resumed, _, found) = (
        experiment.next_round(parts, *states) for states in ((first, memory), restored)
    )
    chex.assert_trees_all_equal(resumed, straight)
    assert without_times([found]) == without_times([expected])
    chex.assert_trees_all_equal(straight.head, first.head)
    heads = (jax.tree.leaves(state.head) for state in (parts.start, first))
    assert any(not np.array_equal(*pair) for pair in zip(*heads, strict=True))


@pytest.mark.parametrize("score", marked(["lntk", "grasp", "random"], extended=("lntk", "grasp")))
def test_own_choice_trains_every_client_s_own_layers(data_dir, score):
    settings = {"selection__algorithm": "own", "importance__score": score}
    parts = experiment.assemble(read_config("tiny", data_dir, **settings))
    _, _, record = experiment.next_round(parts, parts.start, parts.memory)
    assert (record.selection.score, record.selection.algorithm) == (score, "own")
    assert len({tuple(client.values) for client in record.clients}) == len(record.clients)
    for client in record.clients:
        assert bool(client.residuals) == (score == "lntk")
        assert np.argsort(client.values).tolist() == np.argsort(client.scores).tolist()
        best = np.argsort(client.scores)[-client.budget :]
        assert client.layers == client.own_layers == sorted(best.tolist())


@pytest.mark.extended
def test_limits_hold_in_a_round_with_an_absent_client(data_dir):
    """Nine clients, four layers: the last round's front must not bring the absent one back."""
    settings = {
        "federated__absent": {"fundus": (2,)},
        "limits__forbidden": {"oct": (3,)},
        "limits__minimum_coverage": 2,
        "limits__maximum_coverage": 5,
    }
    parts = experiment.assemble(read_config("tiny", data_dir, **settings))
    state, memory = parts.start, parts.memory
    for number in (1, 2):
        state, memory, record = experiment.next_round(parts, state, memory)
        clients = {client.client: client for client in record.clients}
        assert 3 not in clients["oct"].layers
        picks_L = np.bincount([layer for c in record.clients for layer in c.layers], minlength=4)
        assert picks_L.min() >= 2
        assert picks_L.max() <= 5
        absent = [name for name, client in clients.items() if client.left_out]
        assert absent == ([], ["fundus"])[number - 1]
        for name, client in clients.items():
            assert (
                len(client.layers) == len(client.own_layers) == client.budget * (name not in absent)
            )
    fundus = clients["fundus"]
    assert (fundus.left_out, fundus.scores, fundus.train_loss) == ("absent", [], None)
    assert fundus.test["examples"] == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"federated__absent": {"fundas": (1,)}}, "federated.absent names .*fundas.*mean fundus"),
        ({"limits__forbidden": {"oct": (4,)}}, r"forbidden.oct = \(4,\), must be layers 0 to 3"),
        ({"limits__forbidden": {"oct": (0, 1, 2, 3)}}, "oct may train 0 layers, but its budget"),
        ({"limits__minimum_coverage": 8}, "config.limits, round 1: .*at least 8 for layer"),
        (
            {"limits__minimum_coverage": 1, "selection__algorithm": "own"},
            "keeps no config.limits.minimum_coverage",
        ),
        ({"limits__minimum_sharers": 10}, "round 1: at least 10 clients must share a layer"),
        (
            {"federated__budgets": (10,), "federated__budget_unit": "bytes"},
            "must be at least [0-9]+ bytes, the cheapest layer",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_limits_that_clash_are_refused_before_any_compute(data_dir, settings, message):
    with pytest.raises(ConfigError, match=message):
        experiment.assemble(read_config("tiny", data_dir, **settings))
