"""Hosts that differ, and hosts of which one fails, end in one line before round 1."""

import dataclasses
import types

import pytest

from f3ocus_jax import hosts as distributed
from f3ocus_jax.data.examples import ClientData, RemoteExamples
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError, DataError, HostError
from f3ocus_jax.federation import agreement, checkpoint
from tests.helpers import hosts
from tests.helpers.configs import read_config
from tfds_medvqa.common.features import QUESTION_ANSWERING


def test_what_differs_is_named_with_its_values_and_hosts():
    one, other = {"config.seed": 0, "rest": "a"}, {"config.seed": 3, "rest": "a"}
    assert agreement.differences([one, one]) == []
    assert agreement.differences([one, other, one]) == [
        "config.seed = 0 on hosts 0, 2 and 3 on host 1"
    ]
    (absent,) = agreement.differences([one, {"rest": "a"}])
    assert absent == "config.seed = 0 on host 0 and nothing on host 1"
    many = [{str(name): host for name in range(7)} for host in (0, 1)]
    with pytest.raises(ConfigError, match=r"the hosts differ: 0 = .*; and 2 more"):
        agreement.compare(many)
    (long,) = agreement.differences([{"a": "x" * 500}, {"a": 1}])
    assert len(long) < 120


def test_a_host_has_its_own_index_and_places_and_shares_all_other_settings():
    def facts(**settings):
        return agreement.setting_facts(read_config("tiny", **settings))

    own = {"data__data_dir": "/mnt/a", "checkpoint__directory": "/mnt/b"}
    assert facts(**own) == facts()
    (found,) = agreement.differences([facts(), facts(training__batch_size=3)])
    assert found == "config.training.batch_size = 8 on host 0 and 3 on host 1"
    assert agreement.differences([facts(), facts(data__datasets=("vqa_rad/released",))])


def parts(partition="p", examples=8, prompt="{question}", **settings):
    """What a host has read, as far as hosts compare it."""
    split = RemoteExamples(examples, QUESTION_ANSWERING)
    names = dict.fromkeys((*checkpoint.NAMES, "weights fingerprint"), "w")
    tokenizer = dataclasses.replace(load_tokenizer(), prompt=prompt)
    return types.SimpleNamespace(
        settings={**names, **settings},
        foundation=types.SimpleNamespace(tokenizer=tokenizer),
        federation=types.SimpleNamespace(
            clients=[ClientData("eye", split, split)],
            summary=types.SimpleNamespace(partition_hash=partition),
        ),
    )


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"partition": "q"}, "partition"),
        ({"examples": 9}, "numbers of examples"),
        ({"prompt": "Q: {question}"}, "tokenizer"),
        ({"weights fingerprint": "v"}, "weights"),
        ({"names of answers": "v"}, "names of answers"),
    ],
)
def test_other_data_weights_and_tokenizers_are_noticed(changed, name):
    facts = agreement.part_facts(parts())
    assert agreement.differences([facts, agreement.part_facts(parts())]) == []
    (found,) = agreement.differences([facts, agreement.part_facts(parts(**changed))])
    assert found.startswith(f"hash of the {name} = ")


def test_an_error_on_one_host_reaches_the_others_without_its_message(monkeypatch):
    sent = []

    def exchange(message):
        sent.append(message)
        return [message, {"value": None}]

    monkeypatch.setattr(distributed, "_exchange", exchange)
    with pytest.raises(DataError, match="of a patient"), distributed.ending_together():
        raise DataError("a word of a patient")
    assert sent == [{"problem": "DataError"}]

    stopped = [{"value": 1}, {"problem": "DataError"}]
    monkeypatch.setattr(distributed, "_exchange", lambda message: stopped)
    with pytest.raises(HostError, match=r"host 1 of 2 stopped \(DataError\)"):
        distributed.all_gather(1)
    with pytest.raises(HostError, match="host 1 of 2"), distributed.ending_together():
        pass


def ends_of(tmp_path, *changes):
    """Last lines of the hosts of a run, each with settings of its own; none may succeed."""

    def command(host, address):
        arguments = {
            "config": "configs/phantom.py:tiny",
            "workdir": tmp_path / "run",
            "config.data.data_dir": tmp_path / "data",
            "config.distributed.coordinator": address,
            "config.distributed.hosts": len(changes),
            "config.distributed.host": host,
        } | changes[host]
        return ["-m", "f3ocus_jax.train", *(f"--{k}={v}" for k, v in arguments.items())]

    outcomes = hosts.run_to_end(command, hosts=len(changes), devices=2, timeout=300)
    assert all(status == 1 and "Traceback" not in output for status, output in outcomes), outcomes
    assert not (tmp_path / "run" / "records.jsonl").exists()
    return [output.splitlines()[-1] for _, output in outcomes]


@pytest.mark.extended
def test_two_hosts_with_other_settings_say_so(tmp_path):
    lines = ends_of(tmp_path, {}, {"config.seed": 3})
    assert lines == ["error: the hosts differ: config.seed = 0 on host 0 and 3 on host 1"] * 2


@pytest.mark.extended
def test_a_host_without_its_data_ends_the_other(tmp_path):
    (tmp_path / "file").touch()
    lines = ends_of(tmp_path, {}, {"config.data.data_dir": tmp_path / "file"})
    assert lines[0].startswith("error: host 1 of 2 stopped (")
    assert str(tmp_path / "file") in lines[1]
    assert str(tmp_path / "file") not in lines[0]
