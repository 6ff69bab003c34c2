"""Federations over NVFlare: its simulator, and its own processes with mutual TLS on loopback."""

import json

import pytest

pytest.importorskip("nvflare")

from f3ocus_jax.deployment.nvflare import job
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
from tests.helpers.flower_network import until
from tests.helpers.nvflare_network import SERVER, members, provision, simulate, submit

SITES = HOSPITALS[:2]
REFUSED, REGISTERED = "CERTIFICATE_VERIFY_FAILED", "Successfully registered client"


@pytest.fixture
def root(tmp_path):
    """Hospitals with their files, and a config of each."""
    write_hospitals(tmp_path, SITES)
    for name in SITES:
        write_config(tmp_path / f"{name}.py", of_site(tmp_path, name))
    return tmp_path


def write_job(root, **settings):
    config = of_server(root, SITES, federated__min_clients=len(SITES), **settings)
    job.write_job(config, root / "job", workdir=str(root / "run"))
    return root / "job"


@pytest.mark.extended
def test_the_simulator_of_nvflare_runs_a_federation(root):
    simulate(root, write_job(root, federated__rounds=1), SITES)
    records = rounds_of(root / "run")
    assert [record["round"] for record in records] == [0, 1]
    assert [client["client"] for client in records[-1]["clients"]] == list(SITES)
    assert all(client["layers"] for client in records[-1]["clients"])


@pytest.mark.slow
def test_hospitals_with_certificates_run_what_the_simulator_runs(root):
    kits, foreign = provision(root, "hospitals", SITES), provision(root, "others", SITES)
    give_address(foreign / SITES[0], kits / SITES[0])
    with members(root) as started:
        started.start(kits / SERVER, "server")
        until((kits / SERVER / "log.txt").is_file, "the server")
        started.start(foreign / SITES[0], "stranger")
        until(lambda: REFUSED in started.said("stranger"), "a refusal of a foreign certificate")
        for name in SITES:
            started.start(kits / name, name)
            until(lambda name=name: REGISTERED in started.said(name), f"{name} at the server")
        assert submit(root, kits, write_job(root)) == "FINISHED:COMPLETED"
        assert REGISTERED not in started.said("stranger")
    found = rounds_of(root / "run")
    experiment.run(of_simulator(root, SITES), root / "simulator", with_figures=False)
    assert found == rounds_of(root / "simulator")


def give_address(kit, other):
    """Lets the member of a kit connect to the server of another project."""
    path = kit / "startup" / "fed_client.json"
    own = json.loads(path.read_text())
    given = json.loads((other / "startup" / path.name).read_text())
    path.write_text(json.dumps({**own, "servers": given["servers"]}))
