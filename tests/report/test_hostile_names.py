"""Names of clients and answers change neither the layout of what is shown, nor the terminal."""

import contextlib
import dataclasses
import io
import logging
import re

import pytest
from rich.console import Console

from f3ocus_jax import _command_line
from f3ocus_jax.cost.traffic import ClientCost
from f3ocus_jax.data.summary import ClientSummary, Summary
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation.answer_formats import describe
from f3ocus_jax.evaluation.answering import Answer
from f3ocus_jax.report import figures, progress, record_files, scalars, style, table
from tests.helpers.hostile import NAMES, is_harmless
from tfds_medvqa.common.printable import printable


def renamed(records, names):
    """Records whose first clients have these names; a kind of question has the first one."""
    changed = []
    for record in records:
        clients = [
            dataclasses.replace(client, client=name, test={**client.test, f"type/{names[0]}": 0.5})
            for client, name in zip(record.clients, names, strict=True)
        ]
        changed.append(dataclasses.replace(record, clients=clients))
    return changed


@pytest.fixture(params=NAMES.values(), ids=NAMES.keys())
def records(request, make_records):
    return renamed(make_records(clients=2, rounds=2), [request.param, "other"])


def summary_of(records):
    costs = [
        ClientCost(client.client, 9.54, 28.6, 298_176.0, 10_000, 80.6, 38.8, 250.0, 9e3)
        for client in records[0].clients
    ]
    return table.summarise_run(records, costs, {})


def printed(show, width):
    output = io.StringIO()
    show(Console(file=output, width=width))
    return output.getvalue()


def test_the_written_table_keeps_its_rows_and_columns(records, tmp_path):
    markdown, data = table.write_table(summary_of(records), tmp_path)
    rows = [line for line in markdown.read_text().split("\n") if line.startswith("| ")]
    assert len(rows) == 1 + 1 + 2 + 1
    assert len({len(re.findall(r"(?<!\\)\|", row.replace(r"\\", ""))) for row in rows}) == 1
    assert is_harmless(markdown.read_text())
    assert not re.search(r"(?<!\\)[<`$]", markdown.read_text().replace(r"\\", ""))
    data.read_text().encode()


@pytest.mark.parametrize("width", [300, 60, 20])
def test_the_terminal_gets_no_control_characters_and_no_markup(records, width):
    summary = summary_of(records)
    reports = {client.client: client.test for client in records[-1].clients}
    shown = [
        printed(lambda console: table.print_table(summary, console), width),
        printed(lambda console: table.print_accuracies(reports, console), width),
    ]
    assert all(is_harmless(text) for text in shown)
    if "bold red" in records[0].clients[0].client and width == 300:
        assert "[bold red]x[/bold red][/]" in shown[0]


def test_progress_lines_stay_one_line(records):
    output = io.StringIO()
    with progress.show_progress(2, console=Console(file=output)) as display:
        display.finish(records[-1])
    assert output.getvalue().count("\n") == 1
    assert is_harmless(output.getvalue())


def test_scalars_keep_one_tag_per_client(records):
    tags = scalars.record_scalars(records[-1])
    assert sum(tag.startswith("loss/") for tag in tags) == 1 + 2
    assert all(len(tag) < 300 and is_harmless(tag) and "\n" not in tag for tag in tags)
    plain = scalars.record_scalars(renamed([records[-1]], ["a$", "a|"])[0])
    cleaned = {re.sub(r"[^-/\w.]", "_", tag) for tag in plain}  # as the writer does
    assert len(cleaned) == len(plain)


def test_a_client_named_mean_does_not_replace_the_mean_over_clients(make_records):
    (record,) = renamed([make_records(clients=2, rounds=1)[-1]], ["mean", "other"])
    tags = scalars.record_scalars(record)
    assert tags["accuracy/mean"] == record.accuracy
    assert tags["accuracy/client mean"] == record.clients[0].test["accuracy"]


def test_records_of_hostile_names_are_read_back_as_they_were(records, tmp_path):
    record_files.rewrite_records(tmp_path / "records.jsonl", records[:1])
    for record in records[1:]:
        record_files.append_record(tmp_path / "records.jsonl", record)
    found = record_files.read_records(tmp_path / "records.jsonl")
    assert [record.to_json() for record in found] == [record.to_json() for record in records]


@pytest.mark.extended
def test_every_figure_is_drawn_and_names_all_clients(make_records, tmp_path, caplog):
    names = list(NAMES.values())
    for chunk in (names[:7], names[7:]):
        records = renamed(make_records(clients=len(chunk), rounds=2), chunk)
        written = figures.write_all(records, tmp_path)
        assert {path.stem for path in written} == set(figures.FIGURES)
        legend = [text.get_text() for text in figures.accuracy(records).legends[0].get_texts()]
        assert legend == ["mean", *map(style.label, chunk)]
        assert not any(text.startswith("_") or len(text) > 40 for text in legend)
    assert not caplog.records


def test_a_label_is_shown_literally():
    text = style.new_figure(1, 1).text(0, 0, style.label(r"a $x^$ \$b"))
    assert text._preprocess_math(text.get_text()) == (r"a $x^$ \$b", False)


def test_a_failing_figure_is_one_warning_that_names_it(make_records, tmp_path, monkeypatch, caplog):
    def fail(records):
        raise RuntimeError("first line\nsecond \x1b[31m")

    monkeypatch.setitem(figures.FIGURES, "loss", (fail, list))
    written = figures.write_all(make_records(), tmp_path)
    assert {path.stem for path in written} == set(figures.FIGURES) - {"loss"}
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert "loss.png" in warning.getMessage()
    assert is_harmless(warning.getMessage())
    assert "\n" not in warning.getMessage()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_the_lines_of_the_data_and_of_answers_stay_lines(name):
    counts = ({"train": 1}, {"train": 1}, {name: 1}, 1, {}, {})
    doubts = (0.5, {"train": 1}, {"test": 2}, 1)
    client = ClientSummary(name, "question answering", [name], *counts, *doubts)
    answer = Answer(name, {name: 0.5}, {name: 0.5}, (name,))
    lines = [*Summary("hash", [client], {}, []).lines(), *describe(answer, "greedy")]
    assert len(lines) == 2 + 3 + 3
    assert all(is_harmless(line) and "\n" not in line for line in lines)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_an_error_stays_one_line(name, capsys):
    with contextlib.suppress(SystemExit):
        _command_line.stop(str(RoundError(f"round 1, client {name}, the loss is nan")))
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert is_harmless(line)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_printable_is_one_line_of_the_wanted_length(name):
    assert is_harmless(printable(name))
    assert "\n" not in printable(name)
    assert len(printable(name, 12)) <= 12
    assert printable(printable(name)) == printable(name)


def test_printable_leaves_every_script_as_it_is():
    for text in ("Zürich é", "大学病院", "\u05de\u05d7\u05dc\u05e7\u05d4", "a\u200cb", "µ ½ – “x”"):
        assert printable(text) == text
