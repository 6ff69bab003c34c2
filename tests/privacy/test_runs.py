"""Whole runs with differential privacy of examples, simulated and over the protocol."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import in_process, protocol
from f3ocus_jax.errors import ProtocolError
from f3ocus_jax.privacy.account import Account
from tests.helpers.protocol_runs import read_parts, simulated

SETTINGS = {
    "privacy__unit": "example",
    "privacy__secret_seed": "x",
    "privacy__clip": 0.5,
    "importance__lntk__kernel": "loss",
    "importance__every": 2,
    "federated__rounds": 2,
}


def expected_accounts(parts, records):
    """Accounts of all clients after the last round, from what the records say they did."""
    accounts = []
    for index, client in enumerate(parts.federation.clients):
        own = [record.clients[index] for record in records[1:]]
        account = Account(parts.config.privacy, len(client.train), parts.config.training.batch_size)
        scores = sum(not one.kept_scores for one in own)
        accounts.append(account.add(scores=scores, steps=sum(one.steps for one in own)))
    return accounts


@pytest.mark.extended
def test_a_private_run_and_the_same_over_the_protocol(data_dir):
    parts = read_parts("tiny", data_dir, **SETTINGS)
    state, _, records = simulated(parts)
    accounts = expected_accounts(parts, records)
    assert accounts[0].scores == 1  # in the first round, and kept in the second
    spent = [account.spent.epsilon for account in accounts]
    assert [client.epsilon for client in records[-1].clients] == spent
    assert records[-1].epsilon == max(spent)
    for record in records[1:]:
        assert [client.train_loss for client in record.clients] == [None] * len(spent)

    server, sites = in_process.make_server(parts), in_process.make_sites(parts)
    exchange = in_process.connect(server, sites)
    other, over_protocol = protocol.play(protocol.without_data(parts, server, exchange))
    assert [site.account for site in sites.values()] == accounts
    for one, two in zip(records, over_protocol, strict=True):
        assert [c.layers for c in one.clients] == [c.layers for c in two.clients]
        assert one.epsilon == two.epsilon
    # Sites pad their batches by themselves, which changes the order of sums.
    for leaf, same in zip(*(jax.tree.leaves(each.rows_L) for each in (state, other)), strict=True):
        np.testing.assert_allclose(leaf, same, atol=1e-4)

    site = next(iter(sites.values()))
    limited = dataclasses.replace(parts.config.privacy, epsilon=site.account.spent.epsilon)
    site._config = dataclasses.replace(parts.config, privacy=limited)
    site.account = dataclasses.replace(site.account, settings=limited)
    task = types.SimpleNamespace(kind="train_task", round=3)
    with pytest.raises(ProtocolError, match=r"its answer would exceed config\.privacy\.epsilon"):
        site._check_budget(task, steps=1)
