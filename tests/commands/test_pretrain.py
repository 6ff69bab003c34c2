"""Pre-trainings that are stopped and started again."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

from configs import pretrain as pretrain_config
from f3ocus_jax import pretrain
from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.federation.settings import PretrainConfig, StepCheckpointConfig
from f3ocus_jax.federation.step_checkpoint import StepCheckpoints
from tests.helpers.paths import REPOSITORY

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    raw = pretrain_config.get_config("tiny")
    raw.data.data_dir = str(tmp_path_factory.mktemp("data"))
    config = parsing.parse(PretrainConfig, raw)
    return dataclasses.replace(config, checkpoint=StepCheckpointConfig(every=2, keep_last=2))


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    pretrain.pretrain(config, workdir)
    return (workdir / WEIGHTS).read_bytes()


class StoppedError(Exception):
    pass


def stop_after(monkeypatch, number):
    """Ends a training once the checkpoint of a step is on disk."""
    save = StepCheckpoints.save

    def save_and_stop(self, step, params, state):
        save(self, step, params, state)
        if step == number:
            raise StoppedError

    monkeypatch.setattr(StepCheckpoints, "save", save_and_stop)


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("number", [2, 4, 5])
def test_a_stopped_training_ends_bit_identical(
    config, uninterrupted, number, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        stop_after(patch, number)
        with pytest.raises(StoppedError):
            pretrain.pretrain(config, tmp_path)
    assert not (tmp_path / WEIGHTS).exists()
    pretrain.pretrain(config, tmp_path)
    assert f"resuming after step {number}" in capsys.readouterr().out
    assert (tmp_path / WEIGHTS).read_bytes() == uninterrupted


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_falls_back_to_an_older_whole_step(config, uninterrupted, tmp_path, capsys):
    pretrain.pretrain(config, tmp_path)
    (tmp_path / "checkpoints" / "5" / "state" / "_METADATA").unlink()
    (tmp_path / WEIGHTS).unlink()
    pretrain.pretrain(config, tmp_path)
    assert "resuming after step 4" in capsys.readouterr().out
    assert (tmp_path / WEIGHTS).read_bytes() == uninterrupted
    for number in (4, 5):
        (tmp_path / "checkpoints" / str(number) / "state" / "_METADATA").unlink()
    with pytest.raises(DamagedError, match="no whole checkpoint"):
        pretrain.pretrain(config, tmp_path)


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_steps_of_another_config_are_refused(config, tmp_path):
    pretrain.pretrain(config, tmp_path)
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(ConfigError, match="seed was 0, is 1"):
        pretrain.pretrain(other, tmp_path)


@pytest.mark.slow
def test_a_killed_training_ends_bit_identical(config, uninterrupted, tmp_path):
    options = [f"--workdir={tmp_path}", f"--config.data.data_dir={config.data.data_dir}"]
    command = [sys.executable, "-m", "f3ocus_jax.pretrain", "--config=configs/pretrain.py:tiny"]
    command += [*options, "--config.checkpoint.every=2"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    limit = time.monotonic() + 300
    while not (tmp_path / "checkpoints" / "2").exists():
        assert killed.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < limit, "no checkpoint was written"
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, timeout=300)
    assert (tmp_path / WEIGHTS).read_bytes() == uninterrupted
