"""Every family goes through a federation: scores, rounds, a resumed run, an exported model."""

import contextlib

import chex
import jax
import numpy as np
import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import answer_formats
from f3ocus_jax.federation import experiment, run_folder, runs
from f3ocus_jax.models import FAMILIES, TINY, base
from f3ocus_jax.models.huggingface import directory as huggingface
from f3ocus_jax.models.spec import GENERATE
from f3ocus_jax.report import figures
from tests.helpers.configs import read_config, without_times
from tests.helpers.marking import marked

VARIANTS = {name: f"tiny_{name}" for name in TINY} | {"vilt": "tiny"}
"""Family, with its language model where it has several, to its tiny config."""


def tiny(family, data_dir, **settings):
    return read_config(VARIANTS[family], data_dir, **settings)


@contextlib.contextmanager
def undrawn():
    """Leaves out the figures, a third of a run whose programs are compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "write_all", lambda records, directory: [])
        yield


@pytest.mark.extended
@pytest.mark.parametrize(
    "family",
    ["albef", "blip2_opt", "llava", "vilt"],
)
def test_a_round_trains_what_was_chosen_and_the_model_is_exported(family, data_dir, tmp_path):
    with undrawn():
        records = experiment.run(tiny(family, data_dir, federated__rounds=1), tmp_path)
    check_run(records, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(VARIANTS.keys() - {"vilt"}))
def test_two_rounds_at_once_equal_a_run_that_is_resumed_after_the_first(family, data_dir, tmp_path):
    whole = experiment.run(tiny(family, data_dir), tmp_path / "whole")
    with undrawn():
        first = experiment.run(tiny(family, data_dir, federated__rounds=1), tmp_path / "parts")
        both = experiment.run(tiny(family, data_dir), tmp_path / "parts")
    assert [record.round for record in both] == [0, 1, 2]
    assert without_times(first) == without_times(whole)[:2]
    assert without_times(both) == without_times(whole)
    check_run(whole, tmp_path / "whole")


def check_run(records, workdir):
    """What holds of the last round of a finished run and of the model that it leaves."""
    for client in records[-1].clients:
        np.testing.assert_allclose(sum(client.scores), 1.0, rtol=1e-5)
        assert max(client.residuals) < 1e-3
        assert len(client.layers) == client.budget
        assert np.isfinite(client.train_loss)

    saved = run_folder.load_model(workdir, records[-1].round)
    foundation, params = saved.foundation, saved.params
    exported = huggingface.load(workdir / "model", key=jax.random.key(0))
    chex.assert_trees_all_equal(exported.params, params)
    assert exported.spec == foundation.spec
    assert exported.answers == foundation.answers
    assert changed_rows(params, foundation.params).any()


WRITERS = (name for name, (family, _) in TINY.items() if GENERATE in FAMILIES[family].answerings)
WRITING = dict.fromkeys(WRITERS, "greedy") | {"blip2_opt": "rank", "blip2_t5": "beam"}
"""How the answers of each family are chosen here."""


@pytest.mark.parametrize(
    "family", marked(sorted(WRITING), WRITING.keys() - {"blip"}, extended={"blip"})
)
def test_a_federation_whose_model_writes_its_answers(family, data_dir, tmp_path):
    records = experiment.run(tiny(family, data_dir, **writing(family)), tmp_path)
    for client in records[-1].clients:
        assert max(client.residuals) < 1e-3
        assert max(client.values) > 0
        assert np.isfinite(client.train_loss)
        assert np.isfinite(client.test["loss"])
        assert client.test["exact_match"] <= client.test["token_f1"] <= 1
        assert client.test["exact_match"] == client.test["accuracy"]
        assert 0 <= client.test["bleu1"] <= 1
    assert records[-1].loss < records[0].loss

    saved = run_folder.load_model(tmp_path, 2)
    foundation, params = saved.foundation, saved.params
    assert params["head"] == {}
    exported = huggingface.load(tmp_path / "model", key=jax.random.key(0), answering="generate")
    chex.assert_trees_all_equal(exported.params, params)
    assert exported.answers == foundation.answers
    finished = runs.load(tmp_path, 2)
    pixels_HWC = np.full((32, 32, 3), 128, np.uint8)
    (answer,) = finished.answer(pixels_HWC, "which organ is shown?", top=2)
    assert finished.answer(pixels_HWC, "which organ is shown?", top=0)[0].text == answer.text
    lines = list(answer_formats.describe(answer, finished.decoding))
    assert len(lines) == 3
    assert lines[0].startswith(f"{WRITING[family]}: ")
    assert lines[1].split("%  ")[1] in foundation.answers


def writing(family):
    return {
        "model__answering": "generate",
        "evaluation__decoding": WRITING[family],
        "evaluation__beam__beams": 2,
    }


@pytest.mark.parametrize(
    "family", marked(sorted(WRITING), WRITING.keys() - {"blip"}, extended=("blip",))
)
def test_a_federation_whose_model_writes_its_answers_is_resumed(family, data_dir, tmp_path):
    settings = writing(family)
    with undrawn():
        first = experiment.run(tiny(family, data_dir, federated__rounds=1, **settings), tmp_path)
        both = experiment.run(tiny(family, data_dir, **settings), tmp_path)
    assert without_times(both)[:2] == without_times(first)
    assert both[-1].loss < both[0].loss


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["nsga2", "abc", "aco", "sa", "mopso"])
def test_every_search_chooses_the_layers_of_a_model_that_writes(algorithm, data_dir):
    settings = {"model__answering": "generate", "selection__algorithm": algorithm}
    parts = experiment.assemble(tiny("blip2_opt", data_dir, **settings))
    _, _, record = experiment.next_round(parts, parts.start, parts.memory)
    assert record.selection.algorithm == algorithm
    assert all(len(client.layers) == client.budget for client in record.clients)


def test_vilt_writes_no_answers(data_dir):
    with pytest.raises(ConfigError, match="answering = 'generate' is unknown; choose classify"):
        experiment.assemble(tiny("vilt", data_dir, model__answering="generate"))


def test_written_answers_have_one_loss(data_dir):
    settings = {"model__answering": "generate", "model__loss": "binary_cross_entropy"}
    with pytest.raises(ConfigError, match="must be 'cross_entropy' where"):
        experiment.assemble(tiny("blip", data_dir, **settings))


def changed_rows(params, start):
    """Which layers' adapters are no longer as they were."""
    pairs = zip(*(jax.tree.leaves(part["adapters"]) for part in (params, start)), strict=True)
    return np.any([[(a != b).any() for a, b in zip(*pair, strict=True)] for pair in pairs], axis=0)


@pytest.mark.slow
def test_the_vision_stack_of_blip_is_trained_as_blocks(data_dir):
    config = tiny(
        "blip",
        data_dir,
        model__selectable="vision",
        training__unit="block",
        model__image_size=48,
    )
    parts = experiment.assemble(config)
    assert parts.foundation.spec.config.image_size == 48
    state, _, record = experiment.next_round(parts, parts.start, parts.memory)
    chosen = {layer for client in record.clients for layer in client.layers}
    for name in ("query", "output"):
        before, after = (s.rows_L[name]["kernel"] for s in (parts.start, state))
        moved = {layer for layer in range(4) if not np.array_equal(before[layer], after[layer])}
        assert moved == chosen
    batch = parts.federation.clients[0].test.batch(np.arange(2))
    logits_BC = base.apply(parts.foundation.model, parts.params(state), batch)
    assert np.isfinite(logits_BC).all()


def test_a_stack_that_the_family_has_not_is_refused(data_dir):
    with pytest.raises(ConfigError, match="selectable = 'decoder' is unknown; choose text, vision"):
        experiment.assemble(tiny("blip", data_dir, model__selectable="decoder"))


def test_a_size_of_a_part_that_is_unknown_names_the_nearest(data_dir):
    config = {"text_config": {"hiden_size": 32}}
    with pytest.raises(ConfigError, match=r"text_config\.hiden_size is unknown; did you mean hidd"):
        experiment.assemble(tiny("blip", data_dir, model__architecture=config))
