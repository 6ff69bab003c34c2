"""Whatever happens to a site, its messages or the server, a run goes on or ends with a reason."""

import contextlib
import logging

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import server_run, site_run
from f3ocus_jax.deployment.threads import Threads
from f3ocus_jax.errors import RoundError
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.run_folder import load_model
from tests.helpers.configs import without_times
from tests.helpers.deployments import (
    HOSPITALS,
    WITH_MEMORY,
    of_server,
    of_simulator,
    of_site,
    write_hospitals,
)
from tests.helpers.protocol_runs import closed, opened
from tests.helpers.site_process import SiteProcess

pytestmark = pytest.mark.extended
VICTIM = "Bern"
LATE = 1e4
"""Seconds after which a late answer comes: later than a stage's deadline, within the second one."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder)
    return folder


@pytest.fixture(scope="module")
def kept(root, tmp_path_factory):
    """Open sites for all tests: a server that begins anew lets them begin anew, too."""
    folder = tmp_path_factory.mktemp("kept")
    with contextlib.ExitStack() as stack:
        opened_sites = {
            name: stack.enter_context(
                site_run.open_site(of_site(root, name, **WITH_MEMORY), folder / name)
            )
            for name in HOSPITALS
        }
        yield opened_sites


def serve(root, workdir, transport, **settings):
    config = of_server(root, **WITH_MEMORY, **settings)
    return server_run.run(config, workdir, transport, clock=transport.clock, with_figures=False)


def answers(sites):
    return {name: site.answer for name, site in sites.items()}


@pytest.fixture(scope="module")
def undisturbed(root, kept, tmp_path_factory):
    """(records, bytes of the parameters) of the run in which nothing happens."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    with Threads(answers(kept)) as transport:
        records = serve(root, workdir, transport)
    return without_times(records), parameters(workdir)


def parameters(workdir):
    saved = load_model(workdir, None)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(saved.params)]


def kind_of(data):
    header = opened(data)[0]
    return header["kind"], header["round"]


def on(kind, number, change):
    """A fault of the victim's answers to one task; others arrive as they are."""

    def fault(site, task, answer):
        is_meant = site == VICTIM and kind_of(task) == (kind, number)
        return change(task, answer) if is_meant else [(0.0, answer)]

    return fault


def of_victim(record):
    return next(client for client in record.clients if client.client == VICTIM)


def lines(caplog, *parts):
    """Lines of the log that hold all parts."""
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [text for text in texts if all(part in text for part in parts)]


def check_others(records, rounds=(1, 2)):
    for record in records:
        others = [client for client in record.clients if client.client != VICTIM]
        assert all(client.left_out is None for client in others)
        if record.round in rounds:
            assert all(client.train_loss > 0 for client in others)


def test_a_late_site_is_left_out_of_the_stage_and_goes_on_in_the_next_round(
    root, kept, tmp_path, caplog
):
    fault = on("train_task", 1, lambda task, answer: [(LATE, answer)])
    with Threads(answers(kept), fault) as transport:
        records = serve(root, tmp_path, transport)
        assert transport.clock() >= 3600
    assert of_victim(records[1]).left_out == "dropped out"
    assert of_victim(records[2]).left_out is None
    check_others(records)
    waits = lines(caplog, "round 1, train: waits for Bern")
    assert len(waits) == 3600 // 30 - 1
    assert lines(caplog, "round 1, train: goes on without Bern (no answer within 3600 s)")


def test_a_server_that_may_wait_asks_again_and_the_run_is_the_undisturbed_one(
    root, kept, tmp_path, caplog, undisturbed
):
    fault = on("train_task", 1, lambda task, answer: [(5000.0, answer)])
    settings = {"deployment__too_few": "wait", "federated__min_clients": 3}
    with Threads(answers(kept), fault) as transport:
        records = serve(root, tmp_path, transport, **settings)
    assert lines(caplog, "round 1, train: asks again Bern")
    assert (without_times(records), parameters(tmp_path)) == undisturbed


def test_a_site_that_is_gone_is_left_out_and_too_few_sites_end_the_run(
    root, kept, tmp_path, caplog
):
    asked = []

    def gone(task):
        kind, number = kind_of(task)
        asked.append(kind)
        return kept[VICTIM].answer(task) if number == 0 else None

    with Threads({**answers(kept), VICTIM: gone}) as transport:
        records = serve(root, tmp_path / "two", transport, federated__min_clients=2)
        assert [of_victim(record).left_out for record in records] == [None, *["dropped out"] * 2]
        check_others(records)
        with pytest.raises(RoundError, match=r"round 1, score: 2 sites .* at least 3: .* Bern;"):
            serve(root, tmp_path / "three", transport, federated__min_clients=3)
    assert "train_task" not in asked


class Restarted:
    """A site whose process is killed around one task, once, and started again."""

    def __init__(self, root, folder, kill, *, before, forgets):
        self._config, self._folder = of_site(root, VICTIM, **WITH_MEMORY), folder
        self._kill, self._before, self._forgets = kill, before, forgets
        self.site, self.restarts = site_run.open_site(self._config, folder / "0"), 0

    def answer(self, task):
        is_fatal = kind_of(task) == self._kill and not self.restarts
        if is_fatal and not self._before:
            self.site.answer(task)
        if not is_fatal:
            return self.site.answer(task)
        self.restarts += 1
        self.site.close()
        self.site = site_run.open_site(self._config, self._folder / str(int(self._forgets)))
        return self.site.join()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["score_task", "train_task", "evaluate_task"])
def test_a_site_that_is_started_again_goes_on_as_if_nothing_had_happened(
    root, kept, tmp_path, undisturbed, kind, before
):
    victim = Restarted(root, tmp_path / "site", (kind, 2), before=before, forgets=False)
    with Threads({**answers(kept), VICTIM: victim.answer}) as transport:
        records = serve(root, tmp_path / "server", transport)
    victim.site.close()
    assert victim.restarts == 1
    assert (without_times(records), parameters(tmp_path / "server")) == undisturbed


@pytest.mark.slow
def test_a_process_of_a_site_that_is_killed_goes_on_in_another_one(
    root, kept, tmp_path, undisturbed
):
    killed = []

    def answer(task):
        if kind_of(task) == ("train_task", 2) and not killed:
            victim.send(task)
            victim.restart()
            killed.append(task)
        return victim.answer(task)

    with (
        SiteProcess(root, VICTIM, tmp_path / "site") as victim,
        Threads({**answers(kept), VICTIM: answer}) as transport,
    ):
        records = serve(root, tmp_path / "server", transport)
    assert len(killed) == 1
    assert (without_times(records), parameters(tmp_path / "server")) == undisturbed


def test_a_site_that_lost_its_memory_goes_on_from_a_fresh_one(
    root, kept, tmp_path, undisturbed, capsys
):
    victim = Restarted(root, tmp_path / "site", ("score_task", 2), before=True, forgets=True)
    with Threads({**answers(kept), VICTIM: victim.answer}) as transport:
        records = serve(root, tmp_path / "server", transport)
    victim.site.close()
    joins = [line for line in capsys.readouterr().out.splitlines() if "site Bern joins" in line]
    assert len(joins) == 2
    assert all(line.endswith("no memory") for line in joins)
    assert all(client.left_out is None for record in records for client in record.clients)
    assert without_times(records)[:2] == undisturbed[0][:2]
    assert of_victim(records[2]).train_loss != undisturbed[0][2]["clients"][1]["train_loss"]


def twice(task, answer):
    return [(0.0, answer), (0.0, answer)]


def test_a_duplicate_is_refused_and_changes_nothing(root, kept, tmp_path, caplog, undisturbed):
    with Threads(answers(kept), on("score_task", 1, twice)) as transport:
        records = serve(root, tmp_path, transport)
    assert lines(caplog, "refused: site Bern, scores of round 1: ")
    assert (without_times(records), parameters(tmp_path)) == undisturbed


def test_an_answer_of_an_old_round_is_refused_and_changes_nothing(
    root, kept, tmp_path, caplog, undisturbed
):
    old = []

    def fault(site, task, answer):
        if site == VICTIM and kind_of(task) == ("train_task", 1):
            old.append(answer)
        if site == VICTIM and kind_of(task) == ("train_task", 2):
            return [(0.0, old[0]), (0.0, answer)]
        return [(0.0, answer)]

    with Threads(answers(kept), fault) as transport:
        records = serve(root, tmp_path, transport)
    assert lines(caplog, "refused: site Bern, update of round 1: expected is round 2")
    assert (without_times(records), parameters(tmp_path)) == undisturbed


def changed(name, change):
    def fault(task, answer):
        header, arrays = opened(answer)
        name_of = next(each for each in arrays if each.startswith(name))
        return [(0.0, closed(header, {**arrays, name_of: change(arrays[name_of])}))]

    return fault


def with_nan(array):
    return np.full_like(array, np.nan)


WRONG = {
    "garbage": (lambda task, answer: [(0.0, b"\x00garbage" * 9)], "a message: "),
    "NaN": (changed("rows/", with_nan), "holds NaN or infinity"),
    "wrong shape": (changed("rows/", lambda array: array[..., :1]), "has shape"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_in_one_line_and_the_round_goes_on_without(
    root, kept, tmp_path, caplog, what
):
    change, problem = WRONG[what]
    with Threads(answers(kept), on("train_task", 1, change)) as transport:
        records = serve(root, tmp_path, transport)
    (line,) = lines(caplog, "round 1, train: refused: site Bern, ", problem)
    assert "\n" not in line
    assert of_victim(records[1]).left_out == "dropped out"
    assert of_victim(records[2]).left_out is None
    check_others(records)


class KilledError(Exception):
    """Stands for a server process that is killed."""


@pytest.mark.parametrize("number", [1, 2])
def test_a_server_that_is_killed_goes_on_from_its_checkpoint_with_the_sites_that_are_up(
    root, kept, tmp_path, undisturbed, number
):
    class Fatal(Threads):
        def receive(self, seconds):
            received = super().receive(seconds)
            if received is not None and kind_of(received[1]) == ("update", number):
                raise KilledError
            return received

    with Fatal(answers(kept)) as transport, pytest.raises(KilledError):
        serve(root, tmp_path, transport)
    with Threads(answers(kept)) as transport:
        records = serve(root, tmp_path, transport)
    assert (without_times(records), parameters(tmp_path)) == undisturbed


def test_the_undisturbed_run_is_the_simulator_s(root, kept, undisturbed, tmp_path):
    expected = experiment.run(of_simulator(root, **WITH_MEMORY), tmp_path, with_figures=False)
    assert undisturbed[0] == without_times(expected)
