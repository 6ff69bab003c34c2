"""The display works on terminals of any width and in logs, and estimates the time left."""

import dataclasses
import io
import re
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from f3ocus_jax.report import progress
from f3ocus_jax.types import RoundRecord

MakeRecords = Callable[..., list[RoundRecord]]


def ticking_clock(*seconds):
    """A clock that shows the given times, one per look."""
    times: Iterator[float] = iter(seconds)
    return lambda: next(times)


def run_display(records, console, clock, finished=0):
    rounds = records[-1].round
    with progress.show_progress(rounds, finished, console=console, clock=clock) as display:
        for record in records:
            for client in range(len(record.clients)):
                display.stage(record.round, "training", client + 1, len(record.clients))
            display.finish(record)


def compiled(record, seconds):
    """The same round after it compiled something."""
    return dataclasses.replace(record, seconds={**record.seconds, "compiling training": seconds})


def test_a_log_gets_one_plain_line_per_round_with_the_time_left(make_records):
    output = io.StringIO()
    run_display(
        make_records(rounds=3), Console(file=output, width=20), ticking_clock(0, 5, 65, 135, 195)
    )
    lines = output.getvalue().splitlines()
    assert [re.match(r"round (\d)/3  accuracy [\d.]+%", line)[1] for line in lines] == list("0123")
    assert lines[0].endswith("left unknown")
    assert lines[1].endswith("left 2 min 00 s")
    assert lines[2].endswith("left 1 min 05 s")
    assert "left" not in lines[3]
    assert "train loss" in lines[1]
    assert "train loss" not in lines[0]
    assert "\x1b" not in output.getvalue()


def test_a_round_says_how_many_eigenvalues_are_not_known(make_records):
    record = make_records(rounds=1)[1]
    client = dataclasses.replace(record.clients[0], unconverged=[0, 3])
    record = dataclasses.replace(record, clients=[client, *record.clients[1:]])
    assert "2 eigenvalues not converged" in progress.describe_round(record, 1, None)


def test_a_round_shows_the_mean_on_validation_examples_where_there_are_any(make_records):
    record = make_records(rounds=1)[1]
    assert "validation" not in progress.describe_round(record, 1, None)
    record = dataclasses.replace(record, validation=0.125)
    assert "%  validation 12.5%  test loss" in progress.describe_round(record, 1, None)


def test_the_time_left_is_known_after_the_first_round_and_is_without_compiling(make_records):
    """Rounds of 2, 3 and 4 s; the first also compiles 600 s, the third something new."""
    start, *rounds, last = make_records(rounds=4)
    compiling = (600.0, 0.0, 50.0)
    records = [start, *map(compiled, rounds, compiling), last]
    output = io.StringIO()
    run_display(records, Console(file=output), ticking_clock(0, 100, 702, 705, 759, 763))
    assert re.findall(r"left (\d* \w|unknown)", output.getvalue()) == [
        *("unknown", "6 s", "5 s", "3 s")
    ]
    shown = re.findall(r"10.8 s(?:  compiled ([\d.]+) s)?", output.getvalue())
    assert shown == ["600.0", "", "50.0", ""]


def test_a_resumed_run_knows_the_time_left_after_its_first_round(make_records):
    output = io.StringIO()
    records = make_records(rounds=4)[2:]
    records[0] = compiled(records[0], 7.0)
    run_display(records, Console(file=output), ticking_clock(0, 10, 14, 20), 1)
    assert re.findall(r"left (\w+)", output.getvalue()) == ["6", "4"]


def test_a_log_says_that_a_round_compiles_once_and_as_it_begins(make_records):
    output = io.StringIO()
    record = make_records(rounds=1)[1]
    with progress.show_progress(3, console=Console(file=output)) as display:
        display.compiling(True)  # what is compiled between rounds is no round's
        display.compiling(False)
        display.stage(1, "training", 0, 3)
        assert output.getvalue() == ""
        for begins in (True, False, True, False):
            display.compiling(begins)
            assert output.getvalue() == "compiling for round 1\n"
        display.finish(record)
        display.stage(2, "training", 0, 3)
    assert output.getvalue().count("compiling") == 1


def test_a_terminal_says_compiling_while_it_does():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100, height=10)
    with progress.show_progress(3, console=console) as display:
        display.stage(2, "training", 0, 3)
        display.compiling(True)
    assert "compiling, round 2" in output.getvalue()
    with progress.show_progress(3, console=console) as display:
        display.stage(2, "training", 0, 3)
        display.compiling(True)
        display.compiling(False)
    assert output.getvalue().rstrip().count("clients, round 2") == 1


@pytest.mark.parametrize("width", [1, 3, 10, 40, 200])
def test_a_terminal_of_any_width_shows_the_run(make_records, width):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=10)
    run_display(make_records(rounds=2), console, ticking_clock(0, 1, 2, 3))
    if width == 200:
        assert "round 2/2" in output.getvalue()
        assert "clients, round 2" in output.getvalue()


def test_an_error_in_the_run_passes_through_and_restores_the_cursor():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with pytest.raises(KeyError), progress.show_progress(3, console=console):
        raise KeyError("from the run")
    assert output.getvalue().count("\x1b[?25h") == output.getvalue().count("\x1b[?25l") == 1


def test_a_round_that_was_not_evaluated_shows_no_accuracy(make_records):
    record = make_records(rounds=1)[1]
    bare = [dataclasses.replace(client, test={}) for client in record.clients]
    record = dataclasses.replace(record, accuracy=None, loss=None, clients=bare)
    assert progress.describe_round(record, 1, None).startswith("round 1/1  train loss")
