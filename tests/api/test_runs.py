"""Runs from Python: started by `run`, opened by `load`, asked and evaluated."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import pytest

import f3ocus_jax
from f3ocus_jax.data import reading
from f3ocus_jax.data.released_sizes import ClientSizes
from f3ocus_jax.errors import ConfigError, DamagedError, DataError
from f3ocus_jax.evaluation import features
from f3ocus_jax.federation import sealed_steps
from f3ocus_jax.federation.planned_costs import count_run
from f3ocus_jax.federation.run_folder import load_model, read_run
from f3ocus_jax.models import base, foundation
from tests.helpers.configs import raw_config
from tests.tfds_medvqa import attacks
from tfds_medvqa.common import integrity
from tfds_medvqa.common.answers import normalise


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny run of one round, and its records."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {"federated__rounds": 1, "evaluation__features": 4}
    config = raw_config("tiny", data__data_dir=str(folder / "data"), **settings)
    return folder / "made" / "run", f3ocus_jax.run(config, folder / "made" / "run")


def test_run_returns_the_records_that_it_writes(finished):
    workdir, records = finished
    lines = (workdir / "records.jsonl").read_text().splitlines()
    assert [record.to_json() for record in records] == [
        type(records[0]).from_json(json.loads(line)).to_json() for line in lines
    ]


def test_a_run_costs_what_its_plan_says(finished):
    workdir, records = finished
    found = read_run(workdir)
    sizes = [ClientSizes(one.train_examples, 3, 8) for one in records[1].clients]

    def planned(**changes):
        config = dataclasses.replace(found.config, **changes)
        return count_run(config, sizes, answers=len(found.answers), findings=0)

    rows = json.loads((workdir / "table.json").read_text())["clients"]
    scoring = 1e9 * sum(row["gigaflops_scoring"] for row in rows)
    training = 1e9 * sum(row["gigaflops_total"] for row in rows) - scoring
    plan = planned()
    assert plan.scoring == pytest.approx(scoring)
    last = planned(
        importance=dataclasses.replace(found.config.importance, score="last"),
        selection=dataclasses.replace(found.config.selection, algorithm="own"),
    )
    every = planned(federated=dataclasses.replace(found.config.federated, budgets=()))
    assert last.training * (1 - 1e-9) <= training <= every.training * (1 + 1e-9)
    assert last.training < plan.training < every.training


def test_a_run_keeps_features_of_its_start_and_of_its_last_round(finished):
    workdir, records = finished
    found = features.read(workdir / features.FEATURES_FILE)
    assert found.clients == tuple(client.client for client in records[-1].clients)
    assert np.bincount(found.client_N).tolist() == [4] * 9
    saved = load_model(workdir, 1)
    made, params = saved.foundation, saved.params
    pool, config = jax.jit(functools.partial(base.pool, made.model)), read_run(workdir).config
    tokenizer, canvas = foundation.inputs(config.model, config.data)
    data = reading.read_federation(config.data, canvas=canvas, tokenizer=tokenizer)
    for index, client in enumerate(data.clients):
        every_ND = np.asarray(pool(params, client.test.batch(np.arange(len(client.test)))))
        kept_ND = found.after_ND[found.client_N == index]
        nearest = np.linalg.norm(every_ND[:, None] - kept_ND[None], axis=-1).argmin(axis=0)
        np.testing.assert_allclose(kept_ND, every_ND[nearest], atol=1e-5)
        assert found.labels_N[found.client_N == index].tolist() == [
            client.test.labels_N[one] for one in nearest
        ]
    assert np.abs(found.before_ND - found.after_ND).max() > 1e-3


def test_run_takes_the_name_of_a_config_and_refuses_unknown_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean phantom\?"):
        f3ocus_jax.run("phantm:tiny", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_load_chooses_the_round_that_is_best_on_validation_examples(finished):
    workdir, records = finished
    assert all(client.validation for record in records for client in record.clients)
    best = max(records, key=lambda record: (record.validation, record.round))
    loaded = f3ocus_jax.load(workdir)
    assert loaded.round == best.round
    assert loaded.round_text == f"round {best.round}, the best on validation examples"
    assert f3ocus_jax.load(workdir, 0).round_text == "round 0"


def test_the_choice_of_the_round_does_not_see_the_test_split(finished, tmp_path):
    """Test accuracies are exchanged in the checkpoints' metrics, and nothing changes."""
    workdir, _ = finished
    copy = shutil.copytree(workdir, tmp_path / "run")
    expected = f3ocus_jax.load(copy).round
    for number in (0, 1):
        folder = copy / "checkpoints" / str(number)
        metrics = json.loads((folder / "metrics" / "metrics").read_text())
        assert metrics.keys() == {"accuracy", "validation"}
        changed = metrics | {"accuracy": float(number != expected)}
        (folder / "metrics" / "metrics").write_text(json.dumps(changed))
        names = [name for name in integrity.files(folder) if name != sealed_steps.METADATA]
        integrity.write_manifest(folder, names)
    assert f3ocus_jax.load(copy).round == expected


def test_load_names_the_rounds_on_disk(finished, tmp_path):
    workdir, _ = finished
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of round 7; on disk: \[0, 1\]"):
        f3ocus_jax.load(workdir, 7)
    with pytest.raises(FileNotFoundError, match="holds no run"):
        f3ocus_jax.load(tmp_path)


def test_evaluate_gives_the_numbers_of_the_records(finished):
    workdir, records = finished
    found = f3ocus_jax.load(workdir, 1).evaluate(data_dir=workdir.parents[1] / "data")
    assert found == {client.client: client.test for client in records[1].clients}


@pytest.mark.extended
def test_evaluate_mends_damaged_data(finished, tmp_path, caplog, capsys):
    workdir, records = finished
    folder = shutil.copytree(workdir.parents[1] / "data", tmp_path / "data")
    (cache,) = folder.glob("phantom_medvqa/tiny/*/arrays_*/test/answer.npy")
    for path in (cache, cache.parents[2] / "features.json"):
        path.write_bytes(path.read_bytes()[:-1])
        found = f3ocus_jax.load(workdir, 1).evaluate(data_dir=folder)
        assert found == {client.client: client.test for client in records[1].clients}
        lines = [*caplog.messages, *capsys.readouterr().out.splitlines()]
        assert sum(f"{path} is damaged" in line for line in lines) == 1


def test_answers_to_the_test_questions_reach_the_accuracy_of_the_records(finished):
    workdir, records = finished
    loaded = f3ocus_jax.load(workdir, 1)
    tokenizer, canvas = foundation.inputs(loaded.config.model, loaded.config.data)
    data = reading.read_federation(loaded.config.data, canvas=canvas, tokenizer=tokenizer)
    for client, record in zip(data.clients, records[1].clients, strict=True):
        images_BHWC = client.test.batch(np.arange(len(client.test))).images_BHWC
        answers = loaded.answer(images_BHWC, list(client.test.questions), top=3)
        right = [
            answer.text == normalise(expected)
            for answer, expected in zip(answers, client.test.answers, strict=True)
        ]
        assert np.mean(right) == pytest.approx(record.test["accuracy"])
        assert all(len(answer.probabilities) == 3 for answer in answers)
        assert all(next(iter(answer.probabilities)) == answer.text for answer in answers)


def test_answers_do_not_depend_on_the_questions_beside_them(finished):
    workdir, _ = finished
    loaded = f3ocus_jax.load(workdir, 1)
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8))
    asked = loaded.config.evaluation.batch_size + 1
    several = loaded.answer(pictures * asked, "is there a mass?", top=100)
    assert len(several) == 3 * asked
    for index, picture in enumerate(pictures):
        (alone,) = loaded.answer(picture, "is there a mass?", top=100)
        for answer in (several[index], several[index - 3]):
            assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert several[0].findings == {}
    assert several[0].present == ()
    assert sum(several[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert loaded.answer([], []) == []


def test_a_picture_beyond_the_limit_of_the_run_is_refused(finished, tmp_path):
    workdir, _ = finished
    path = tmp_path / "bomb.png"
    path.write_bytes(attacks.png(9_000, 9_000))
    with pytest.raises(DataError, match=r"bomb\.png has 9000 x 9000 pixels.* = 64000000"):
        f3ocus_jax.load(workdir, 1).answer(path, "is there a mass?")


@pytest.mark.parametrize("name", ["answers", "clients"])
def test_another_order_of_what_run_json_lists_is_refused(finished, name):
    workdir, _ = finished
    text = (workdir / "run.json").read_text()
    content = json.loads(text)
    (workdir / "run.json").write_text(json.dumps({**content, name: content[name][::-1]}))
    try:
        with pytest.raises(ConfigError, match=f"the names of {name} or their order changed"):
            f3ocus_jax.load(workdir, 1).answer(np.zeros((8, 8), np.uint8), "is it a tumour?")
    finally:
        (workdir / "run.json").write_text(text)


def test_load_takes_an_older_round_where_the_best_is_damaged(finished, caplog):
    workdir, _ = finished
    best = f3ocus_jax.load(workdir).round
    path = workdir / "checkpoints" / str(best) / "state" / "_METADATA"
    whole = path.read_bytes()
    path.unlink()
    try:
        assert f3ocus_jax.load(workdir).round == 1 - best
        (line,) = [each for each in caplog.messages if "whole checkpoint" in each]
        assert str(path) in line
        with pytest.raises(DamagedError, match="_METADATA is missing"):
            f3ocus_jax.load(workdir, best)
    finally:
        path.write_bytes(whole)


def test_another_folder_of_checkpoints_does_not_start_a_finished_run_again(finished, tmp_path):
    workdir, _ = finished
    records = (workdir / "records.jsonl").read_bytes()
    config = raw_config(
        "tiny",
        data__data_dir=str(workdir.parents[1] / "data"),
        federated__rounds=1,
        checkpoint__directory=str(tmp_path / "mistyped"),
    )
    with pytest.raises(ConfigError, match=r"records\.jsonl holds rounds up to 1"):
        f3ocus_jax.run(config, workdir)
    assert (workdir / "records.jsonl").read_bytes() == records
