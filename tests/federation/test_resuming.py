"""Where a run starts again: never so that records are lost."""

import copy
import dataclasses
import functools
import json
import types

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.federation import checkpoint, resuming, run_folder, sealed_steps
from f3ocus_jax.federation.checkpoint import Checkpoints
from f3ocus_jax.federation.settings import CheckpointConfig
from f3ocus_jax.types import ClientMemory, ClientRecord, RoundRecord, ServerState
from tests.helpers.configs import read_config

CONFIG = CheckpointConfig(directory="", keep_last=9, keep_best=1)


def state(number):
    return ServerState({"w": jnp.ones((2, 2)) * number}, {}, jnp.int32(number), np.zeros(1, bool))


PARTS = types.SimpleNamespace(start=state(0), memory=ClientMemory(), settings={"seed": 0})


def records(number):
    """Records whose first round is the best one on validation examples."""
    client = ClientRecord("eye", 8, 1, None, [], [], [1.0], [0], [0], 0.1, {"accuracy": 0.5})
    return [
        RoundRecord(each, 0.5, 0.5, [client], None, {}, validation=1 / (each + 1))
        for each in range(number + 1)
    ]


def make_run(workdir, newest, recorded):
    """A folder of checkpoints up to a round, beside records of so many lines."""
    folder = epath.Path(workdir / "checkpoints")
    with Checkpoints(folder, CONFIG, PARTS.settings) as checkpoints:
        for number in range(newest + 1):
            checkpoints.save(state(number), ClientMemory(), records(number))
    lines = [json.dumps({"round": number}) + "\n" for number in range(recorded)]
    (workdir / "records.jsonl").write_text("".join(lines))
    return folder


def test_a_new_run_starts_before_the_first_round(tmp_path):
    *states, kept = resuming.resume(PARTS, epath.Path(tmp_path / "checkpoints"), tmp_path)
    assert states == [PARTS.start, PARTS.memory]
    assert kept == []


@pytest.mark.parametrize("recorded", [0, 2, 3, 4])
def test_a_run_continues_after_its_newest_checkpoint(tmp_path, recorded):
    folder = make_run(tmp_path, 2, recorded)
    found, _, kept = resuming.resume(PARTS, folder, tmp_path)
    assert int(found.round) == 2
    assert kept == records(2)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "records.jsonl"}


@pytest.mark.parametrize(("recorded", "refused"), [(7, False), (8, True)])
def test_records_may_be_ahead_by_the_rounds_between_two_checkpoints(tmp_path, recorded, refused):
    folder = epath.Path(tmp_path / "checkpoints")
    with Checkpoints(folder, CONFIG, PARTS.settings | {"checkpoint.every": 3}) as checkpoints:
        for number in (0, 3):
            checkpoints.save(state(number), ClientMemory(), records(number))
    lines = [json.dumps({"round": number}) + "\n" for number in range(recorded)]
    (tmp_path / "records.jsonl").write_text("".join(lines))
    if refused:  # Round 6, which is being saved, has one; round 7 would come after it.
        with pytest.raises(ConfigError, match="holds none after round 3"):
            resuming.resume(PARTS, folder, tmp_path)
    else:
        found, _, kept = resuming.resume(PARTS, folder, tmp_path)
        assert int(found.round) == 3
        assert kept == records(3)


def test_records_without_any_checkpoint_are_not_overwritten(tmp_path):
    make_run(tmp_path, 0, 3)
    text = (tmp_path / "records.jsonl").read_text()
    with pytest.raises(ConfigError, match=r"rounds up to 2, .*mistyped holds no checkpoint"):
        resuming.resume(PARTS, epath.Path(tmp_path / "mistyped"), tmp_path)
    assert (tmp_path / "records.jsonl").read_text() == text
    assert not (tmp_path / "mistyped").exists()


def test_records_far_ahead_of_all_checkpoints_are_not_overwritten(tmp_path):
    folder = make_run(tmp_path, 1, 5)
    with pytest.raises(ConfigError, match=r"rounds up to 4, .* holds none after round 1"):
        resuming.resume(PARTS, folder, tmp_path)


def test_records_of_damaged_checkpoints_are_kept_beside_the_new_ones(tmp_path):
    folder = make_run(tmp_path, 3, 4)
    text = (tmp_path / "records.jsonl").read_text()
    for number in (2, 3):
        (folder / str(number) / "f3ocus_manifest.json").unlink()
    found, _, kept = resuming.resume(PARTS, folder, tmp_path)
    assert int(found.round) == 1
    assert kept == records(1)
    assert (tmp_path / "records_before_round_2_again.jsonl").read_text() == text
    assert {path.name for path in folder.iterdir()} == {"0", "1", "2.damaged", "3.damaged"}


def test_nothing_is_renamed_where_another_run_is_refused(tmp_path):
    folder = make_run(tmp_path, 2, 3)
    (folder / "2" / "f3ocus_manifest.json").unlink()
    other = types.SimpleNamespace(**{**vars(PARTS), "settings": {"seed": 1}})
    with pytest.raises(ConfigError, match="seed was 0, is 1"):
        resuming.resume(other, folder, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"0", "1", "2"}


def test_a_round_that_a_run_deletes_while_it_is_looked_at_is_not_called_damaged(tmp_path, caplog):
    folder = make_run(tmp_path, 1, 2)
    caplog.clear()
    assert sealed_steps.first_whole(folder, [7, 1]) == (1, [])
    assert caplog.messages == []


def test_a_run_without_a_checkpoint_yet_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoints holds no checkpoint yet"):
        checkpoint.best_whole(epath.Path(tmp_path / "checkpoints"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"config": {}}', '{"config": 3}', "\udce9"]
)
def test_a_damaged_run_file_is_named_in_one_line(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises((ConfigError, DamagedError), match=r"run\.json") as caught:
        run_folder.read_run(tmp_path)
    assert "\n" not in str(caught.value)


def without(settings, *names):
    """Nested settings as a version wrote them that did not know some of them."""
    older = copy.deepcopy(settings)
    for name in names:
        *sections, last = name.split(".")
        del functools.reduce(dict.__getitem__, sections, older)[last]
    return older


NEWER = ("training.proximal", "aggregation.outliers", "evaluation.beam", "limits")


def test_settings_that_are_newer_than_a_run_have_their_defaults(tmp_path):
    config = read_config("tiny", training__learning_rate=0.5)
    content = {"clients": [], "answers": [], "findings": []}
    content["config"] = without(dataclasses.asdict(config), *NEWER)
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert run_folder.read_run(tmp_path).config == config


def test_a_run_from_before_validation_is_read_as_it_was_trained(tmp_path):
    """It held nothing out, whatever the default is today."""
    config = read_config("tiny", data__validation_share=0.0)
    assert read_config("tiny").data.validation_share > 0
    content = {"clients": [], "answers": [], "findings": []}
    content["config"] = without(dataclasses.asdict(config), "data.validation_share")
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert run_folder.read_run(tmp_path).config == config
    older = parsing.flatten(config)
    del older["data.validation_share"]
    checkpoint.check_settings(older, parsing.flatten(config))
    with pytest.raises(ConfigError, match=r"data\.validation_share was 0\.0, is 0\.1"):
        checkpoint.check_settings(older, parsing.flatten(read_config("tiny")))


def test_a_setting_that_is_newer_than_a_checkpoint_had_its_default_there():
    settings = parsing.flatten(read_config("tiny"))
    older = {name: value for name, value in settings.items() if not name.startswith(NEWER)}
    assert len(older) < len(settings) - len(NEWER)
    checkpoint.check_settings(older, settings)
    with pytest.raises(ConfigError, match=r"training.proximal was 0.0, is 1.0"):
        checkpoint.check_settings(older, settings | {"training.proximal": 1.0})
