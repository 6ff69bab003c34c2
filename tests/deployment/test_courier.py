"""Deadlines, refusals and lines of an errand, with made-up sites and a made-up clock."""

import logging

import pytest

from f3ocus_jax.config import parsing, reference
from f3ocus_jax.deployment.courier import Courier, Errand
from f3ocus_jax.deployment.settings import DeployedConfig, DeploymentConfig
from f3ocus_jax.errors import ConfigError, ProtocolError, RoundError
from f3ocus_jax.federation.settings import ExperimentConfig
from tests.helpers.deployments import deployed
from tests.helpers.paths import REPOSITORY


class Scripted:
    """A transport on which messages come at given times, and nothing else happens."""

    def __init__(self, *arrivals):
        self.now, self.sent, self.waits = 0.0, [], []
        self._arrivals = sorted(arrivals)

    def send(self, site, task):
        self.sent.append((self.now, site, task))

    def receive(self, seconds):
        self.waits.append(seconds)
        if self._arrivals and self._arrivals[0][0] <= self.now + seconds:
            at, site, data = self._arrivals.pop(0)
            self.now = max(self.now, at)
            return site, data
        self.now += seconds
        return None


def run(transport, enough=3, **settings):
    """An errand to three sites that takes everything but b"bad"; returns (answers, courier)."""
    answers = {}
    courier = Courier(transport, DeploymentConfig(**settings), lambda: transport.now)

    def take(site, data):
        if data == b"no":
            courier.give_up(site)
        if data in (b"bad", b"no"):
            raise ProtocolError(f"site {site}, a message: it is {data.decode()}")
        answers[site] = data

    tasks = dict.fromkeys("abc", b"task")

    def missing():
        return [name for name in tasks if name not in answers]

    courier.run(Errand("round 1, train", tasks, 100.0, enough, missing, take))
    return answers


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_an_errand_ends_when_all_have_answered():
    transport = Scripted((1, "b", b"1"), (2, "a", b"2"), (40, "c", b"3"))
    assert run(transport) == {"a": b"2", "b": b"1", "c": b"3"}
    assert transport.now == 40
    assert transport.sent == [(0.0, name, b"task") for name in "abc"]


def test_no_time_passes_without_a_line_that_names_the_missing(caplog):
    run(Scripted((1, "a", b"1")), enough=1, report_seconds=30.0)
    assert said(caplog) == [
        f"round 1, train: waits for b, c ({left} s are left)" for left in (70, 40, 10)
    ] + ["round 1, train: goes on without b, c (no answer within 100 s)"]


def test_it_never_waits_longer_than_to_the_next_line_or_the_deadline():
    transport = Scripted((1, "a", b"1"), (95, "b", b"1"))
    run(transport, enough=2, report_seconds=30.0)
    assert max(transport.waits) <= 30
    assert transport.now == 100


def test_a_message_that_is_refused_is_one_line_and_the_right_one_is_taken_afterwards(caplog):
    transport = Scripted((1, "a", b"bad"), (2, "a", b"1"), (3, "b", b"1"), (4, "c", b"1"))
    assert run(transport)["a"] == b"1"
    assert said(caplog) == ["round 1, train: refused: site a, a message: it is bad"]


def test_a_site_that_refuses_is_not_waited_for():
    transport = Scripted((1, "a", b"no"), (2, "b", b"1"), (3, "c", b"1"))
    assert run(transport, enough=2).keys() == {"b", "c"}
    assert transport.now == 3


def test_too_few_end_the_run_in_one_line_or_are_asked_again(caplog):
    arrivals = [(1, "a", b"1"), (2, "b", b"1"), (170, "c", b"1")]
    with pytest.raises(RoundError, match=r"^round 1, train: 2 sites .* at least 3: .* from c;"):
        run(Scripted(*arrivals))
    transport = Scripted(*arrivals)
    assert run(transport, too_few="wait").keys() == set("abc")
    assert transport.sent[3:] == [(100.0, "c", b"task")]
    assert "round 1, train: asks again c (no answer within 100 s)" in said(caplog)


def test_a_site_that_refuses_where_it_is_needed_is_asked_again_once_the_time_has_passed():
    transport = Scripted((1, "a", b"no"), (2, "b", b"1"), (3, "c", b"1"), (101, "a", b"1"))
    assert run(transport, too_few="wait").keys() == set("abc")
    assert transport.sent[3:] == [(100.0, "a", b"task")]


def test_the_page_has_the_settings_of_a_deployment():
    page = (REPOSITORY / "docs" / "deployment.md").read_text()
    assert reference.markdown(DeployedConfig, known=ExperimentConfig) in page


def test_a_run_folder_gets_the_settings_of_a_federated_run():
    config = deployed()
    assert type(config.experiment) is ExperimentConfig
    settings = parsing.flatten(config.experiment)
    assert settings == {
        name: value
        for name, value in parsing.flatten(config).items()
        if not name.startswith("deployment.")
    }


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"deployment__sites": ()}, r"deployment\.sites = \(\), must be"),
        ({"deployment__sites": ("a", "a")}, r"deployment\.sites = .*, each once"),
        (
            {"training__optimizer": "sgd", "training__controls": True},
            r"training\.controls = True, must be False: messages",
        ),
        (
            {"distributed__own_data": False, "evaluation__features": 3},
            r"evaluation\.features = 3, must be 0",
        ),
        (
            {"model__answering": "generate", "model__family": "blip"},
            r"deployment\.answers = '', must be a file",
        ),
    ],
)
def test_settings_that_no_server_can_have_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=rf"^config\.{problem}"):
        deployed(**settings).check_server()
