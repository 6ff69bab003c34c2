"""A federation over Flower's own processes, on loopback, with TLS and the keys of SuperNodes."""

import pytest

from f3ocus_jax.federation import experiment
from tests.helpers.deployments import (
    HOSPITALS,
    of_server,
    of_simulator,
    of_site,
    rounds_of,
    write_config,
    write_hospitals,
)
from tests.helpers.flower_network import network, until

SITES = HOSPITALS[:2]
STRANGER = HOSPITALS[2]


def command(action, root, member, config):
    path = root / f"{member}.py"
    write_config(path, config)
    action = ("-m", "f3ocus_jax.deployment", "flower", action)
    return ("python", *action, f"--config={path}", f"--workdir={root / member}")


def start_site(net, root, name):
    given = command("site", root, name, of_site(root, name))
    net.start(f"site_{name}", *given, home=f"home_{name}")


@pytest.mark.slow
def test_two_hospitals_run_over_flower_what_the_simulator_runs(tmp_path):
    write_hospitals(tmp_path, SITES)
    server = command("app", tmp_path, "server", of_server(tmp_path, SITES))
    with network(tmp_path / "network") as net:
        net.run(*server, f"--out={tmp_path / 'app'}")
        net.start_server()
        for name in (*SITES, STRANGER):
            net.make_key(name)
        for name in SITES:
            net.register(name)
            net.start_node(name, tmp_path / name)
        first, late = SITES
        start_site(net, tmp_path, first)

        stranger = net.start_node(STRANGER, tmp_path / STRANGER)
        assert stranger.wait(1200) != 0
        assert "could not establish a connection" in net.said(f"supernode_{STRANGER}")

        net.run("flwr", "run", tmp_path / "app", "federation")
        refusals = f"no process of the site listens at {tmp_path / late}"
        until(lambda: refusals in net.said(f"supernode_{late}"), "an error of the ClientApp")
        start_site(net, tmp_path, late)
        until(lambda: net.status().startswith("finished"), "the end of the run")
        assert net.status() == "finished:completed"
    found = rounds_of(tmp_path / "server")
    experiment.run(of_simulator(tmp_path, SITES), tmp_path / "simulator", with_figures=False)
    assert found == rounds_of(tmp_path / "simulator")
    assert [client["client"] for client in found[-1]["clients"]] == list(SITES)
    assert all(client["train_loss"] > 0 for client in found[-1]["clients"])
