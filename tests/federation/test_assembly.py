"""The parts of a run, from its settings."""

import types

import pytest

from f3ocus_jax import hosts
from f3ocus_jax.data import own_data
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import assembly
from tests.helpers.configs import read_config


class ReachedError(Exception):
    """Ends the assembly where clients are read."""


@pytest.mark.parametrize(
    ("distributed", "expected"), [({}, own_data.alone), ({"own_data": True}, hosts.all_gather)]
)
def test_hosts_exchange_facts_where_each_has_data_of_its_own(distributed, expected, monkeypatch):
    seen = {}

    def read(data, **given):
        seen.update(given)
        raise ReachedError

    monkeypatch.setattr(assembly, "read_federation", read)
    monkeypatch.setattr(assembly, "_xla", types.SimpleNamespace(check=lambda: None))
    settings = {f"distributed__{name}": value for name, value in distributed.items()}
    with pytest.raises(ReachedError):
        assembly.assemble(read_config("tiny", **settings))
    assert seen["gather"] is expected


def test_the_client_with_too_few_probe_examples_is_named():
    clients = [
        types.SimpleNamespace(name=name, train=range(size))
        for name, size in (("eye", 5), ("lung", 4))
    ]
    assembly._check_probe(4, clients)
    with pytest.raises(ConfigError, match=r"probe_examples = 5, must be at most 4, .* client lung"):
        assembly._check_probe(5, clients)
