"""Federations over NVFlare: its simulator, and its own processes with mutual TLS on loopback."""

import json

import pytest

pytest.importorskip("nvflare")

from nvflare.fuel.flare_api.flare_api import new_secure_session

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
from tests.helpers.nvflare_network import ADMIN, SERVER, members, provision, simulate

SITES = HOSPITALS[:2]


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


def submit(kits, folder):
    """Submits a job, waits for its end and returns its status."""
    session = new_secure_session(ADMIN, str(kits / ADMIN))
    try:
        number = session.submit_job(str(folder))
        session.monitor_job(number, timeout=1800)
        return session.get_job_meta(number)["status"]
    finally:
        session.close()


@pytest.mark.slow
def test_hospitals_with_certificates_run_what_the_simulator_runs(root):
    kits = provision(root, "hospitals", SITES)
    foreign = provision(root, "others", SITES)
    with members(root) as started:
        started.start(kits / SERVER, "server")
        until(lambda: "Server started" in started.said("server") or _is_up(kits), "the server")
        stranger = _with_address_of(foreign / SITES[0], kits / SITES[0])
        started.start(stranger, "stranger")
        until(lambda: "CERTIFICATE_VERIFY_FAILED" in started.said("stranger"), "a refusal")
        for name in SITES:
            started.start(kits / name, name)
        assert submit(kits, write_job(root)) == "FINISHED:COMPLETED"
    found = rounds_of(root / "run")
    experiment.run(of_simulator(root, SITES), root / "simulator", with_figures=False)
    assert found == rounds_of(root / "simulator")


def _is_up(kits):
    return (kits / SERVER / "log.txt").is_file()


def _with_address_of(kit, other):
    """A kit of another project that connects to this one's server."""
    for path in (kit / "startup").glob("fed_client.json"):
        own = json.loads(path.read_text())
        given = json.loads((other / "startup" / path.name).read_text())
        own["servers"] = given["servers"]
        path.write_text(json.dumps(own))
    return kit
