"""One line for the mistakes of users, said by the functions behind the commands."""

import errno
import json
import pathlib
import resource
import types

import numpy as np
import pytest
import safetensors
from absl import flags

import f3ocus_jax
from configs import phantom
from f3ocus_jax import _command_line, evaluate
from f3ocus_jax.data import partition, questions, summary
from f3ocus_jax.errors import ConfigError, DamagedError, DataError
from f3ocus_jax.evaluation import round_choice
from f3ocus_jax.federation import runs
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.hosts import DistributedConfig
from f3ocus_jax.models import foundation
from f3ocus_jax.models.huggingface import tensor_files
from tests.helpers.configs import read_config


def stopped(capsys, function, *arguments):
    with pytest.raises(SystemExit) as caught:
        function(*arguments)
    (line,) = capsys.readouterr().err.splitlines()
    return caught.value.code, line


def test_a_message_is_one_line_of_printable_text(capsys):
    assert stopped(capsys, _command_line.stop, "a\nb \ud800") == (1, "error: a b \\ud800")
    assert stopped(capsys, _command_line.stop, "over", 143) == (143, "error: over")


def test_memory_errors_of_python_and_of_devices_are_told_from_others():
    assert _command_line._is_out_of_memory(MemoryError("x"))
    assert _command_line._is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"))
    assert not _command_line._is_out_of_memory(RuntimeError("INTERNAL: x"))


@pytest.mark.parametrize("arguments", [["--many=\u0663"], ["--many", "\uff13"], ["-many=\u0663"]])
def test_numbers_in_digits_of_other_scripts_are_refused(arguments, monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_integer("many", 1, "A number.", flag_values=values)
    flags.DEFINE_string("name", "", "A name.", flag_values=values)
    monkeypatch.setattr(_command_line.flags, "FLAGS", values)
    values(["command", *arguments])
    with pytest.raises(ConfigError, match=r"many = .*, must be a number in the digits 0 to 9"):
        _command_line._check_digits(["command", *arguments])
    _command_line._check_digits(["command", "--name=\u0663", "--many=3"])


class Opened:
    """A run whose checkpoint is gone, or stays."""

    def __init__(self, round, gone):
        self.round, self.gone = round, gone

    def is_on_disk(self):
        return not self.gone

    def measure(self):
        if self.gone:
            raise FileNotFoundError("d/0")
        return self.round


@pytest.mark.parametrize("asked", [None, 0])
def test_a_checkpoint_that_a_run_deletes_meanwhile_is_looked_for_again(asked, monkeypatch):
    values = types.SimpleNamespace(FLAGS=types.SimpleNamespace(round=asked))
    monkeypatch.setattr(_command_line, "flags", values)
    monkeypatch.setattr(_command_line, "WORKDIR", types.SimpleNamespace(value="runs/x"))
    found = [Opened(0, True), Opened(1, True), Opened(2, False)]
    monkeypatch.setattr(f3ocus_jax, "load", lambda workdir, round: found.pop(0))
    if asked is None:
        assert _command_line.use_run(Opened.measure)[1] == 2
    else:
        with pytest.raises(FileNotFoundError):
            _command_line.use_run(Opened.measure)


def test_work_that_fails_on_a_checkpoint_that_stays_is_not_tried_again(monkeypatch):
    values = types.SimpleNamespace(FLAGS=types.SimpleNamespace(round=None))
    monkeypatch.setattr(_command_line, "flags", values)
    monkeypatch.setattr(_command_line, "WORKDIR", types.SimpleNamespace(value="runs/x"))
    found = [Opened(0, False)]
    monkeypatch.setattr(f3ocus_jax, "load", lambda workdir, round: found.pop())
    with pytest.raises(ZeroDivisionError):
        _command_line.use_run(lambda opened: 1 / 0)


@pytest.mark.parametrize(
    ("typed", "meant"), [("tinny", "tiny"), ("tiny_snipp", "tiny_snip"), ("f3ocos", "f3ocus")]
)
def test_a_mistyped_variant_names_the_nearest(typed, meant):
    with pytest.raises(ValueError, match=rf"known: .*; did you mean {meant}\?"):
        phantom.get_config(typed)


def test_weights_that_were_never_downloaded_say_how_to_download():
    config = read_config("tiny", model__weights="dandelin/vilt-b32-mlm", model__architecture={})
    with pytest.raises(ConfigError) as error:
        foundation.inputs(config.model, config.data)
    assert "nothing is downloaded" in str(error.value)
    assert "hf download dandelin/vilt-b32-mlm --local-dir vilt-b32-mlm" in str(error.value)


def test_hosts_without_a_coordinator_are_refused():
    with pytest.raises(ConfigError, match="hosts = 3, must be 1 without a"):
        DistributedConfig(hosts=3)
    with pytest.raises(ConfigError, match="port of 1 to 65535"):
        DistributedConfig(coordinator="host:\u0663", hosts=3)
    DistributedConfig(coordinator="host:8476", hosts=3, host=2)


def test_a_folder_given_as_an_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"is a folder, must be one image file"):
        questions.read_picture(tmp_path)


@pytest.mark.parametrize("content", ["", '{"partition_ha', "[]", "{}", "null"])
def test_a_cut_partition_file_is_named(tmp_path, content):
    (tmp_path / summary.PARTITION_FILE).write_text(content)
    counted = summary.Summary("0" * 16, [], {}, [])
    with pytest.raises(DamagedError, match=r"partition\.json is damaged"):
        counted.record(tmp_path)


@pytest.mark.parametrize("clients", [0, 4, 10**9])
def test_more_clients_than_images_are_refused(clients):
    with pytest.raises(ConfigError, match=r"at least 1 and at most 3, the images of toy"):
        partition._names("toy", clients, 3)


def test_a_full_disk_during_an_export_is_one_error_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="model"):
            tensor_files.write(tmp_path / "model.safetensors", {"x": np.zeros(10_000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_errors_of_safetensors_are_errors_of_the_system(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_files, "save_file", fail)
    with pytest.raises(OSError, match=r"model.safetensors cannot be written: .*No space left"):
        tensor_files.write(tmp_path / "model.safetensors", {"x": np.zeros(1, np.float32)})


class EvaluatedRun(runs.FinishedRun):
    """A run whose numbers are known."""

    def evaluate(self, **folders):
        return {"eye": {"accuracy": 0.5, "examples": 4.0}}


def test_evaluate_prints_its_numbers_where_nothing_can_be_written(tmp_path, monkeypatch, capsys):
    finished = EvaluatedRun(tmp_path, ExperimentConfig(), 2, round_choice.ON_VALIDATION)
    monkeypatch.setattr(f3ocus_jax, "load", lambda *arguments: finished, raising=False)
    options = types.SimpleNamespace(round=None)
    monkeypatch.setattr(_command_line.flags, "FLAGS", options)
    monkeypatch.setattr(_command_line, "WORKDIR", types.SimpleNamespace(value=str(tmp_path)))

    def read_only(path, *arguments, **settings):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(pathlib.Path, "write_text", read_only)
    evaluate.main()
    output = capsys.readouterr().out
    assert "eye" in output
    assert "50" in output
    line = "round 2, the best on validation examples; not written: [Errno 30] Read-only file system"
    assert line in output
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_json_of_evaluate_is_written_where_it_can_be(tmp_path, monkeypatch):
    finished = EvaluatedRun(tmp_path, ExperimentConfig(), 2, round_choice.ON_VALIDATION)
    monkeypatch.setattr(f3ocus_jax, "load", lambda *arguments: finished, raising=False)
    monkeypatch.setattr(_command_line.flags, "FLAGS", types.SimpleNamespace(round=None))
    monkeypatch.setattr(_command_line, "WORKDIR", types.SimpleNamespace(value=str(tmp_path)))
    evaluate.main()
    written = json.loads((tmp_path / "evaluation_round_2.json").read_text())
    assert (written["round"], written["choice"]) == (2, "the best on validation examples")
