"""A server and three hospitals with signed keys learn sums alone, whatever fails on the way."""

import contextlib

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import server_run, site_run
from f3ocus_jax.deployment.threads import Threads
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.run_folder import load_model
from tests.helpers.configs import without_times
from tests.helpers.deployments import (
    HOSPITALS,
    SHARED_LAYERS,
    of_server,
    of_simulator,
    of_site,
    with_identity,
    with_masks,
    write_hospitals,
    write_identities,
)
from tests.helpers.protocol_runs import opened

pytestmark = pytest.mark.extended
VICTIM, LATE = "Bern", 1e4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder)
    write_identities(folder)
    return folder


def secure(root):
    return {**SHARED_LAYERS, **with_masks(root)}


def open_site(root, name, folder, key=None):
    own = with_identity(root, key or name)
    return site_run.open_site(of_site(root, name, **secure(root), **own), folder)


@pytest.fixture(scope="module")
def kept(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(open_site(root, name, folder / name)) for name in HOSPITALS
        }


def answers(sites):
    return {name: site.answer for name, site in sites.items()}


def serve(root, workdir, transport):
    config = of_server(root, **secure(root))
    return server_run.run(config, workdir, transport, clock=transport.clock, with_figures=False)


def parameters(workdir):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(load_model(workdir, None).params)]


def same(found, expected):
    return all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.fixture(scope="module")
def undisturbed(root, kept, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    with Threads(answers(kept)) as transport:
        records = serve(root, workdir, transport)
    return without_times(records), parameters(workdir)


def test_the_run_is_the_simulator_s_up_to_rounding(root, undisturbed, tmp_path):
    expected = experiment.run(of_simulator(root, **SHARED_LAYERS), tmp_path, with_figures=False)
    for one, other in zip(undisturbed[1], parameters(tmp_path), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    for found, plain in zip(undisturbed[0], expected, strict=True):
        assert [each["layers"] for each in found["clients"]] == [
            each.layers for each in plain.clients
        ]


def kind_of(data):
    header = opened(data)[0]
    return header["kind"], header["round"]


def of_victim(record):
    return next(client for client in record.clients if client.client == VICTIM)


def test_a_late_update_is_left_out_and_its_site_goes_on_in_the_next_round(root, kept, tmp_path):
    def late(site, task, answer):
        is_meant = (site, kind_of(task)) == (VICTIM, ("masked_task", 1))
        return [(LATE if is_meant else 0.0, answer)]

    with Threads(answers(kept), late) as transport:
        records = serve(root, tmp_path, transport)
    assert of_victim(records[1]).left_out == "dropped out"
    assert of_victim(records[2]).left_out is None
    assert all(one.left_out is None for one in records[1].clients if one.client != VICTIM)


def test_a_site_that_is_started_again_is_left_out_of_the_rest_of_the_round(root, kept, tmp_path):
    with contextlib.ExitStack() as stack:
        sites = [stack.enter_context(open_site(root, VICTIM, tmp_path / "0"))]

        def answer(task):
            if kind_of(task) == ("shares_task", 1) and len(sites) == 1:
                sites[0].close()
                sites.append(stack.enter_context(open_site(root, VICTIM, tmp_path / "0")))
            return sites[-1].answer(task)

        with Threads({**answers(kept), VICTIM: answer}) as transport:
            records = serve(root, tmp_path / "server", transport)
    assert of_victim(records[1]).left_out == "dropped out"
    assert of_victim(records[2]).left_out is None


class KilledError(Exception):
    """Stands for a server process that is killed."""


def test_a_server_that_is_killed_goes_on_and_the_sums_are_the_same_bit_for_bit(
    root, kept, tmp_path, undisturbed
):
    class Fatal(Threads):
        def receive(self, seconds):
            received = super().receive(seconds)
            if received is not None and kind_of(received[1]) == ("masked_update", 2):
                raise KilledError
            return received

    with Fatal(answers(kept)) as transport, pytest.raises(KilledError):
        serve(root, tmp_path, transport)
    with Threads(answers(kept)) as transport:
        records = serve(root, tmp_path, transport)
    assert without_times(records) == undisturbed[0]
    assert same(parameters(tmp_path), undisturbed[1])


def test_a_site_with_another_site_s_key_is_not_taken_for_it(root, kept, tmp_path, caplog):
    with (
        open_site(root, VICTIM, tmp_path / "site", key="Oslo") as wrong,
        Threads({**answers(kept), VICTIM: wrong.answer}) as transport,
    ):
        records = serve(root, tmp_path / "server", transport)
    assert of_victim(records[1]).left_out == "dropped out"
    assert "keys of round 1: the keys of site Bern are not signed by it" in caplog.text
