"""A profile of one round: where it is written, and that it names the stages."""

import gzip
import json

import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import experiment, observing
from tests.helpers.configs import read_config, without_times

STAGES = tuple(observing.STAGE_NAMES)


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """Runs two rounds, of which some are profiled; returns the workdir and the records."""

    def run(*rounds):
        workdir = tmp_path_factory.mktemp("run")
        config = read_config("tiny_snip", data_dir, federated__rounds=2, profile__rounds=rounds)
        return workdir, without_times(experiment.run(config, workdir, with_figures=False))

    return run


@pytest.mark.extended
def test_the_trace_of_a_round_names_its_stages_on_the_host_and_in_the_programs(run):
    workdir, records = run(2)
    assert [path.name for path in (workdir / "profile").iterdir()] == ["round_2"]
    (trace,) = workdir.glob("profile/round_2/plugins/profile/*/*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    names = [event.get("name") for event in events]
    assert {stage: names.count(stage) for stage in STAGES} == dict.fromkeys(STAGES, 1)
    assert names.count("round") == 1
    (xplane,) = workdir.glob("profile/round_2/plugins/profile/*/*.xplane.pb")
    content = xplane.read_bytes()
    assert [stage for stage in STAGES if f"/{stage}/".encode() not in content] == []
    plain, unprofiled = run()
    assert not (plain / "profile").exists()
    assert unprofiled == records


@pytest.mark.parametrize("rounds", [(3,), (1, 4), (0,), (-1,)])
def test_a_round_that_the_run_does_not_have_is_refused(rounds):
    with pytest.raises(ConfigError, match=r"config\.profile\.rounds"):
        read_config("tiny", federated__rounds=2, profile__rounds=rounds)


def test_every_round_of_the_run_is_allowed():
    config = read_config("tiny", federated__rounds=2, profile__rounds=(1, 2))
    assert config.profile.rounds == (1, 2)
