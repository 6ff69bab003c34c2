"""Federations over NVFlare: its simulator, and its own processes with mutual TLS on loopback."""

import json
import os
import signal

import jax
import numpy as np
import pytest

pytest.importorskip("nvflare")

from f3ocus_jax.deployment.nvflare import job
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.run_folder import load_model
from tests.helpers.deployments import (
    HOSPITALS,
    SHARED_LAYERS,
    of_server,
    of_simulator,
    of_site,
    rounds_of,
    with_identity,
    with_masks,
    write_config,
    write_hospitals,
    write_identities,
)
from tests.helpers.flower_network import until
from tests.helpers.nvflare_network import (
    SERVER,
    members,
    proof_of_concept,
    provision,
    simulate,
    start_simulator,
    submit,
)

SITES = HOSPITALS[:2]
REFUSED, REGISTERED = "CERTIFICATE_VERIFY_FAILED", "Successfully registered client"


@pytest.fixture
def root(tmp_path):
    """Hospitals with their files, and a config of each."""
    write_hospitals(tmp_path, SITES)
    for name in SITES:
        write_config(tmp_path / f"{name}.py", of_site(tmp_path, name))
    return tmp_path


def write_job(root, sites=SITES, **settings):
    config = of_server(root, sites, federated__min_clients=len(sites), **settings)
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


@pytest.mark.slow
def test_the_proof_of_concept_mode_runs_what_the_simulator_runs(root):
    with proof_of_concept(root, "hospitals", SITES) as kits:
        assert submit(root, kits, write_job(root)) == "FINISHED:COMPLETED"
    experiment.run(of_simulator(root, SITES), root / "simulator", with_figures=False)
    assert rounds_of(root / "run") == rounds_of(root / "simulator")


@pytest.mark.slow
def test_the_server_learns_sums_alone_over_nvflare(tmp_path):
    """Its simulator, with secure aggregation: the simulated federation up to rounding."""
    write_hospitals(tmp_path)
    write_identities(tmp_path)
    masks = {**SHARED_LAYERS, **with_masks(tmp_path)}
    for name in HOSPITALS:
        own = of_site(tmp_path, name, **masks, **with_identity(tmp_path, name))
        write_config(tmp_path / f"{name}.py", own)
    simulate(tmp_path, write_job(tmp_path, HOSPITALS, **masks), HOSPITALS)
    config = of_simulator(tmp_path, **SHARED_LAYERS)
    experiment.run(config, tmp_path / "simulator", with_figures=False)
    chosen = [layers_of(tmp_path / folder) for folder in ("run", "simulator")]
    assert chosen[0] == chosen[1]
    leaves = [parameters(tmp_path / folder) for folder in ("run", "simulator")]
    for found, expected in zip(*leaves, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    for name in HOSPITALS:
        kinds = {line["kind"] for line in departures(tmp_path, name)}
        assert "masked_update" in kinds
        assert "update" not in kinds


@pytest.mark.slow
def test_a_private_federation_over_nvflare_says_what_it_spent(tmp_path):
    private = {
        "privacy__unit": "example",
        "privacy__secret_seed": "x",
        "privacy__clip": 0.5,
        "selection__algorithm": "nsga2",
        "importance__lntk__kernel": "loss",
    }
    write_hospitals(tmp_path, SITES)
    for name in SITES:
        write_config(tmp_path / f"{name}.py", of_site(tmp_path, name, **private))
    simulate(tmp_path, write_job(tmp_path, **private), SITES)
    config = of_simulator(tmp_path, SITES, **private)
    experiment.run(config, tmp_path / "simulator", with_figures=False)
    spent, expected = (
        [[client["epsilon"] for client in record["clients"]] for record in rounds_of(folder)]
        for folder in (tmp_path / "run", tmp_path / "simulator")
    )
    assert spent == expected
    assert all(epsilon > 0 for epsilon in spent[-1])
    for index, name in enumerate(SITES):
        assert departures(tmp_path, name)[-1]["privacy"]["epsilon"] == spent[-1][index]


@pytest.mark.slow
def test_a_server_killed_by_the_system_goes_on_from_its_checkpoint(root):
    """SIGKILL reaches the server and all sites of NVFlare's simulator after the first round."""
    folder = write_job(root, federated__rounds=3)
    process = start_simulator(root, folder, SITES)
    until(lambda: len(rounds_there(root / "run")) > 1, "the first round")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = rounds_there(root / "run")
    assert len(before) < 4
    simulate(root, folder, SITES)
    found = rounds_of(root / "run")
    assert found[: len(before)] == before
    config = of_simulator(root, SITES, federated__rounds=3)
    experiment.run(config, root / "simulator", with_figures=False)
    assert found == rounds_of(root / "simulator")


def rounds_there(workdir):
    """Rounds that a run has ended so far."""
    return rounds_of(workdir) if (workdir / "records.jsonl").is_file() else []


def layers_of(workdir):
    return [[client["layers"] for client in record["clients"]] for record in rounds_of(workdir)]


def departures(folder, site):
    """What left a site of the simulator."""
    (log,) = (folder / "simulated" / site).rglob("outbound.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def parameters(workdir):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(load_model(workdir, None).params)]


def give_address(kit, other):
    """Lets the member of a kit connect to the server of another project."""
    path = kit / "startup" / "fed_client.json"
    own = json.loads(path.read_text())
    given = json.loads((other / "startup" / path.name).read_text())
    path.write_text(json.dumps({**own, "servers": given["servers"]}))
