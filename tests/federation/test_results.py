"""Results of a run: the model and the table do not depend on figures, and all can read them."""

import os
import stat

import numpy as np
import pytest

from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.federation import results
from f3ocus_jax.models.huggingface import tensor_files
from f3ocus_jax.report import figures


@pytest.fixture
def umask():
    """Sets a umask that is neither the strictest nor the laxest."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_written_tensors_and_json_have_the_mode_that_the_umask_leaves(tmp_path, umask):
    tensor_files.write(tmp_path / "model.safetensors", {"a": np.zeros(3, np.float32)})
    tensor_files.write_json(tmp_path / "config.json", {})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("model.safetensors", "config.json"), 0o666 & ~umask)


def test_a_file_that_was_private_is_readable_once_it_is_written_again(tmp_path, umask):
    path = tmp_path / "model.safetensors"
    path.touch(0o600)
    tensor_files.write(path, {"a": np.zeros(3, np.float32)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_model_and_table_are_written_before_any_figure(tmp_path, monkeypatch):
    done = []

    class Foundation:
        def save(self, folder, params):
            done.append("model")

    class Parts:
        foundation = Foundation()

        class federation:  # noqa: N801
            clients = ()

        class config:  # noqa: N801
            training = TrainingConfig()
            evaluation = EvaluationConfig()

        def params(self, state):
            return {}

    monkeypatch.setattr(results.costs, "count_client_costs", lambda *_: [])
    monkeypatch.setattr(results.table, "summarise_run", lambda *_: {})
    monkeypatch.setattr(results.table, "write_table", lambda *_: done.append("table"))
    monkeypatch.setattr(results.table, "print_table", lambda *_: done.append("print"))
    monkeypatch.setattr(figures, "write_all", lambda *_: done.append("figures") or [])
    results.write_results(Parts(), None, [], tmp_path)
    assert done == ["model", "table", "print", "figures"]
