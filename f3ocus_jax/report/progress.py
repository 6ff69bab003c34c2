"""Progress of a run: a live display on a terminal, otherwise one plain line per round."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from f3ocus_jax.evaluation import accuracy
from f3ocus_jax.types import RoundRecord

SHOWN_SECONDS = 0.05
"""Time of compiling in a round from which on its line shows it."""


@dataclasses.dataclass(frozen=True)
class Display:
    """Callbacks of the round loop for the progress display.

    Attributes:
      stage: (round, stage, finished clients, all clients) -> None; called after every progress,
        such as `stage(3, "training", 2, 9)`.
      finish: (record) -> None; called once per finished round.
      compiling: (True or False) -> None; called when compiling starts and when it has ended.
    """

    stage: Callable[[int, str, int, int], None]
    finish: Callable[[RoundRecord], None]
    compiling: Callable[[bool], None]


@contextlib.contextmanager
def show_progress(
    rounds: int,
    finished: int = 0,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Display]:
    """Shows rounds, clients, loss, accuracy and the time left.

    Args:
      rounds: Number of rounds of the run, without round 0.
      finished: Number of rounds finished before this process started.
      console: Console to write to; standard output by default.
      clock: Monotonic clock, in seconds.

    Yields:
      The display, whose callbacks report progress.
    """
    console = console or Console()
    time_left = _time_left(rounds, clock)
    if console.is_terminal:
        with _live_display(rounds, finished, console, time_left) as display:
            yield display
    else:
        yield _plain_display(rounds, console, time_left)


def describe_round(record: RoundRecord, rounds: int, time_left: float | None) -> str:
    """Describes a round in one line.

    Args:
      record: Record of the round.
      rounds: Number of rounds of the run, without round 0.
      time_left: Estimated time left, in seconds; None if unknown.

    Returns:
      Round, accuracy on test and validation examples if evaluated, losses, seconds taken, those of
      compiling if it took any, and the time left.
    """
    losses = [client.train_loss for client in record.clients if client.train_loss is not None]
    metric = accuracy.main_metric_name(client.test for client in record.clients)
    parts = [
        f"round {record.round}/{rounds}",
        *([] if record.accuracy is None else [f"{metric} {record.accuracy:.1%}"]),
        *([] if record.validation is None else [f"validation {record.validation:.1%}"]),
        *([] if record.loss is None else [f"test loss {record.loss:.3f}"]),
        *([] if record.epsilon is None else [f"epsilon {record.epsilon:.3g}"]),
    ]
    if losses:
        parts.append(f"train loss {sum(losses) / len(losses):.3f}")
    unconverged = sum(len(client.unconverged) for client in record.clients)
    if unconverged:
        parts.append(f"{unconverged} eigenvalues not converged")
    parts.append(f"{record.steady_seconds:.1f} s")
    if record.compiling_seconds >= SHOWN_SECONDS:
        parts.append(f"compiled {record.compiling_seconds:.1f} s")
    if record.round < rounds:
        parts.append(f"left {format_duration(time_left)}")
    return "  ".join(parts)


def format_duration(seconds: float | None) -> str:
    """Formats a duration for people.

    >>> [format_duration(s) for s in (None, 4.2, 75, 3723, 200000)]
    ['unknown', '4 s', '1 min 15 s', '1 h 02 min', '2 d 07 h']
    """
    if seconds is None:
        return "unknown"
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02d} h"
    if hours:
        return f"{hours} h {minute:02d} min"
    return f"{minutes} min {second:02d} s" if minutes else f"{second} s"


def _time_left(rounds: int, clock: Callable[[], float]) -> Callable[[RoundRecord], float | None]:
    """Makes an estimator of the time left, to be called once per finished round.

    The estimate is the mean over the rounds of this process, each with its checkpoint and without
    what it compiled; None until there is one. Round 0 is none: it trains nothing.
    """
    times = [clock()]
    measured: list[float] = []

    def estimate(record: RoundRecord) -> float | None:
        times.append(clock())
        if record.round > 0:
            measured.append(max(0.0, times[-1] - times[-2] - record.compiling_seconds))
        if record.round >= rounds:
            return 0.0
        return statistics.fmean(measured) * (rounds - record.round) if measured else None

    return estimate


def _plain_display(
    rounds: int, console: Console, time_left: Callable[[RoundRecord], float | None]
) -> Display:
    """Makes a display for logs and pipes: a line per round, and one before it if it compiles."""
    running: int | None = None
    said: set[int] = set()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def stage(number: int, *_: str | int) -> None:
        nonlocal running
        running = number

    def compiling(begins: bool) -> None:
        if begins and running is not None and running not in said:
            said.add(running)
            say(f"compiling for round {running}")

    def finish(record: RoundRecord) -> None:
        nonlocal running
        running = None
        say(describe_round(record, rounds, time_left(record)))

    return Display(stage, finish, compiling)


@contextlib.contextmanager
def _live_display(
    rounds: int,
    finished: int,
    console: Console,
    time_left: Callable[[RoundRecord], float | None],
) -> Iterator[Display]:
    """Makes a display for a terminal: two bars that stay below the lines of finished rounds."""
    bars = Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=20, table_column=Column(min_width=4)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=console,
    )
    rounds_bar = bars.add_task("rounds", total=rounds, completed=finished, note="left unknown")
    stage_bar = bars.add_task("starting", total=None, note="")
    running = finished

    def stage(number: int, name: str, clients_finished: int, clients: int) -> None:
        nonlocal running
        running = number
        bars.update(
            stage_bar,
            description=name,
            completed=clients_finished,
            total=clients,
            note=f"clients, round {number}",
        )

    def compiling(begins: bool) -> None:
        bars.update(stage_bar, note=f"{'compiling' if begins else 'clients'}, round {running}")

    def finish(record: RoundRecord) -> None:
        left = time_left(record)
        console.print(describe_round(record, rounds, left), markup=False, highlight=False)
        bars.update(rounds_bar, completed=record.round, note=f"left {format_duration(left)}")

    with Live(bars, console=console, refresh_per_second=4, transient=True):
        yield Display(stage, finish, compiling)
