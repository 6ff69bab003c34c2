"""A run that leaves the test splits out reads no test example, and is otherwise the same run."""

import dataclasses

import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import assembly, experiment, runs
from tests.helpers.configs import read_config, without_times
from tests.helpers.unread_tests import watch_test_examples


def untested(data_dir, **settings):
    return read_config("tiny", data_dir, evaluation__test=False, **settings)


@pytest.mark.extended
def test_nothing_of_a_test_example_is_read_and_validation_is_the_same(
    tmp_path, data_dir, monkeypatch, capsys
):
    looks = watch_test_examples(monkeypatch)
    workdir = tmp_path / "untested"
    left_out = without_times(experiment.run(untested(data_dir), workdir))
    assert looks == []
    assert "test splits are left out (config.evaluation.test)" in capsys.readouterr().out
    whole = without_times(experiment.run(read_config("tiny", data_dir), tmp_path / "whole"))
    assert looks
    for record in whole:
        assert record["validation"] is not None
        record |= {"accuracy": None, "loss": None}
        record["clients"] = [{**client, "test": {}, "correct": ""} for client in record["clients"]]
    assert left_out == whole
    assert (workdir / "model" / "config.json").is_file()
    assert not (workdir / "table.json").exists()
    assert not (workdir / "figures").exists()
    with pytest.raises(ConfigError, match="leaves the test splits out"):
        runs.load(workdir).evaluate()


def test_a_run_measures_something(data_dir, monkeypatch):
    with pytest.raises(ConfigError, match=r"config.data.validation_share = 0.0, must be > 0"):
        untested(data_dir, data__validation_share=0.0)
    read = assembly.read_federation

    def without_validation(*arguments, **options):
        federation = read(*arguments, **options)
        clients = [dataclasses.replace(client, validation=None) for client in federation.clients]
        return dataclasses.replace(federation, clients=clients)

    monkeypatch.setattr(assembly, "read_federation", without_validation)
    with pytest.raises(
        ConfigError, match=r"config.evaluation.test = False, must be True for these"
    ):
        assembly.assemble(untested(data_dir))
