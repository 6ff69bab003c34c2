"""The final table agrees with the records and the costs, at any width."""

import dataclasses
import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from f3ocus_jax.cost.traffic import ClientCost
from f3ocus_jax.evaluation import round_choice
from f3ocus_jax.report import table, text_table
from f3ocus_jax.types import RoundRecord

MakeRecords = Callable[..., list[RoundRecord]]


def costs_of(records):
    return [
        ClientCost(
            *(client.client, 9.54, 28.6, 298_176.0, 10_000, 80.6 * (1 + k), 38.8, 250.0, 9000.0 + k)
        )
        for k, client in enumerate(records[0].clients)
    ]


def test_summary_takes_start_final_chosen_and_oracle_from_the_records(make_records):
    records = make_records(clients=2, rounds=3)
    means = [0.1, 0.6, 0.2, 0.3]
    records = [
        dataclasses.replace(record, validation=mean)
        for record, mean in zip(records, means, strict=True)
    ]
    summarised = table.summarise_run(
        records, costs_of(records), {"majority_answer": {"chest_xray": 0.3, "oct": 0.5}}
    )
    history = [record.clients[1].test["accuracy"] for record in records]
    row = summarised["clients"][1]
    assert row["client"] == "oct"
    assert (row["accuracy_start"], row["accuracy_final"]) == (history[0], history[-1])
    assert row["accuracy_oracle"] == max(history) == history[row["oracle_round"]]
    assert row["accuracy_chosen"] == history[1] != max(history)
    assert (summarised["chosen_round"], summarised["choice"]) == (1, round_choice.ON_VALIDATION)
    assert "oracle_round" not in summarised["mean"]
    assert row["majority_answer"] == 0.5
    assert row["megabits_head"] == pytest.approx(0.32)
    assert summarised["mean"]["majority_answer"] == pytest.approx(0.4)
    assert summarised["seconds"]["training"] == 24.0


def test_the_table_says_which_round_was_chosen_and_why(tmp_path, make_records):
    records = make_records(clients=2, rounds=3)
    markdown, _ = table.write_table(table.summarise_run(records, costs_of(records), {}), tmp_path)
    text = markdown.read_text()
    assert "round 3 is chosen, the last one, since no validation examples choose" in text
    assert all(name in text for name in ("| Chosen % |", "| Oracle best % |"))
    assert "| Best % |" not in text
    measured = [dataclasses.replace(records[0], validation=0.5), *records[1:]]
    table.write_table(table.summarise_run(measured, costs_of(records), {}), tmp_path)
    assert "round 0 is chosen, the best on validation examples" in markdown.read_text()


def test_a_client_that_was_not_measured_in_a_round_has_the_columns_of_the_others(make_records):
    records = make_records(clients=2, rounds=2)
    for number, record in enumerate(records):
        record.clients[1].test["accuracy"] = 0.1 * (number + 1)
    for number in (1, 2):
        lost = dataclasses.replace(records[number].clients[1], test={})
        records[number].clients[1] = lost
    rows = table.summarise_run(records, costs_of(records), {})["clients"]
    assert rows[0].keys() - rows[1].keys() >= {"accuracy_final", "accuracy_chosen"}
    assert (rows[1]["accuracy_start"], rows[1]["accuracy_oracle"]) == (0.1, 0.1)
    assert rows[1]["oracle_round"] == 0


def test_the_final_accuracy_is_the_last_and_not_the_best(make_records):
    start, middle, last = make_records(clients=2, rounds=2)
    for record, accuracies in ((start, (0.2, 0.6)), (middle, (0.9, 0.5)), (last, (0.4, 0.1))):
        for client, accuracy in zip(record.clients, accuracies, strict=True):
            client.test["accuracy"] = accuracy
    rows = table.summarise_run([start, middle, last], costs_of([start]), {})["clients"]
    names = ("accuracy_start", "accuracy_final", "accuracy_oracle", "oracle_round")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (0.2, 0.4, 0.9, 1),
        (0.6, 0.1, 0.6, 0),
    ]


def test_every_column_shows_what_its_heading_names(make_records, tmp_path):
    records = make_records(clients=1)
    tests = {"closed": 0.91, "open": 0.12, "f1_micro": 0.23, "f1_macro": 0.34, "exact_match": 0.45}
    records[-1].clients[0].test.update(tests)
    cost = ClientCost("chest_xray", 1.25, 2.5, 3e6, 4_000_000, 5.5, 6.5, 7.5, 8.5)
    baselines = {"majority_answer": {"chest_xray": 0.56}}
    baselines["majority_per_question"] = {"chest_xray": 0.67}
    markdown, _ = table.write_table(table.summarise_run(records, [cost], baselines), tmp_path)
    headings, _, row = [line.split(" | ") for line in markdown.read_text().splitlines()[:3]]
    shown = dict(zip([text.strip("| ") for text in headings], row, strict=True))
    expected = {
        "Majority %": "56.0",
        "Majority per question %": "67.0",
        "Closed %": "91.0",
        "Open %": "12.0",
        "F1 micro %": "23.0",
        "F1 macro %": "34.0",
        "Exact match %": "45.0",
        "MBit up": "1.25",
        "MBit down": "2.50",
        "MBit head": "128.00",
        "Trained (M)": "3.0000",
        "Head (M)": "4.0000",
        "GFLOP / example": "5.5",
        "MBit total": "6.50",
        "GFLOP scoring": "7.5",
        "GFLOP total": "8.5",
        "s training": "8.0",
        "s scoring": "1.5",
        "s total": "9.5 |",
    }
    assert {heading: shown[heading] for heading in expected} == expected


def test_the_time_of_a_round_is_the_mean_without_compiling_which_stands_apart(
    make_records, tmp_path
):
    start, first, second = make_records(rounds=2)
    first.seconds.update({"compiling training": 90.0, "compiling selection": 10.0, "training": 9.0})
    second.seconds.update({"compiling training": 0.0, "training": 10.0})
    summarised = table.summarise_run([start, first, second], costs_of([start]), {})
    assert summarised["seconds_per_round"] == pytest.approx(2.75 + 9.5)
    assert sum(row["seconds"] for row in summarised["clients"]) == pytest.approx(9.5)
    markdown, _ = table.write_table(summarised, tmp_path)
    assert (
        "2 rounds, 125.5 s in all: evaluation 3.0, importance 3.0, selection 0.5, training 19.0, "
        "compiling 100.0; 12.2 s / round without compiling; round 2 is chosen"
    ) in markdown.read_text()


def test_summary_shares_the_training_seconds_by_work(make_records):
    records = make_records(clients=3)
    rows = table.summarise_run(records, costs_of(records), {})["clients"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(8.0)
    work = [c.train_examples * (1 + k) for k, c in enumerate(records[0].clients)]
    assert rows[2]["seconds"] / rows[0]["seconds"] == pytest.approx(work[2] / work[0])


def test_totals_hold_what_the_other_columns_leave_out(make_records):
    records = make_records(clients=3)
    summarised = table.summarise_run(records, costs_of(records), {})
    for k, row in enumerate(summarised["clients"]):
        assert row["megabits_total"] == 38.8
        assert (row["gigaflops_scoring"], row["gigaflops_total"]) == (250.0, 9000.0 + k)
        assert row["seconds_scoring"] == pytest.approx(1.5 / 3)  # the stage's, shared equally
        assert row["seconds_total"] == row["seconds"] + row["seconds_scoring"]


def test_a_cost_that_cannot_be_counted_has_no_column(tmp_path, make_records):
    records = make_records(clients=2)
    costs = [
        dataclasses.replace(cost, gigaflops_scoring=None, gigaflops_total=None)
        for cost in costs_of(records)
    ]
    summarised = table.summarise_run(records, costs, {})
    assert "gigaflops_total" not in summarised["mean"]
    markdown, _ = table.write_table(summarised, tmp_path)
    heading = markdown.read_text().splitlines()[0]
    assert "MBit total" in heading
    assert "GFLOP total" not in heading


def test_every_client_counts_once_in_the_mean(make_records):
    """Sizes differ, and the mean is the plain one, as PromptFL's row of the paper is."""
    records = make_records(clients=3)
    assert len({client.train_examples for client in records[0].clients}) == 3
    summarised = table.summarise_run(records, costs_of(records), {})
    final = [row["accuracy_final"] for row in summarised["clients"]]
    assert summarised["mean"]["accuracy_final"] == pytest.approx(sum(final) / 3, rel=1e-12)


def test_summary_of_the_start_alone(make_records):
    records = make_records(rounds=0)
    summarised = table.summarise_run(records, costs_of(records), {})
    assert summarised["rounds"] == 0
    assert [row["seconds"] for row in summarised["clients"]] == [0.0] * 3
    assert "majority_answer" not in summarised["mean"]
    assert "seconds_per_round" not in summarised


def test_summary_refuses_no_records_and_a_client_without_a_cost(make_records):
    records = make_records(clients=2)
    with pytest.raises(ValueError, match="0 records"):
        table.summarise_run([], [], {})
    with pytest.raises(ValueError, match="'oct'"):
        table.summarise_run(records, costs_of(records)[:1], {})


def test_write_table_gives_markdown_and_json_of_the_same_numbers(tmp_path, make_records):
    records = make_records(clients=2)
    summarised = table.summarise_run(records, costs_of(records), {})
    markdown, data = table.write_table(summarised, tmp_path / "report")
    assert json.loads(data.read_text()) == summarised
    lines = markdown.read_text().splitlines()
    assert len({line.count("|") for line in lines[:5]}) == 1
    final = summarised["clients"][0]["accuracy_final"]
    assert lines[2].startswith("| chest_xray |")
    assert f"| {100 * final:.1f} |" in lines[2]


@pytest.mark.parametrize("width", [1, 10, 60, 80, 120, 240])
def test_every_number_is_printed_whole_at_any_width(make_records, width):
    records = make_records(clients=9)
    summarised = table.summarise_run(records, costs_of(records), {})
    output = io.StringIO()
    table.print_table(summarised, Console(file=output, width=width))
    printed = output.getvalue() if width >= 60 else output.getvalue().replace("\n", "")
    assert printed.count("0.2982") == 10
    for row in summarised["clients"]:
        assert f"{100 * row['accuracy_final']:.1f}" in printed
    assert ("┃" in output.getvalue()) == (width >= 80)


def test_every_column_fits_eighty_characters_with_one_line_per_client(make_records):
    records = make_records(clients=9)
    shares = {client.client: 0.5 for client in records[0].clients}
    baselines = {"majority_answer": shares, "majority_per_question": shares}
    summarised = table.summarise_run(records, costs_of(records), baselines)
    for row in [*summarised["clients"], summarised["mean"]]:
        row.update(f1_micro=0.5, f1_macro=0.5, exact_match=0.5)
    output = io.StringIO()
    table.print_table(summarised, Console(file=output, width=80))
    rows = [line for line in output.getvalue().splitlines() if line.startswith("│")]
    assert len(rows) % 10 == 0
    assert max(map(len, output.getvalue().splitlines())) <= 80
    names = [row.split("│")[1].strip() for row in rows[:10]]
    assert names[0] == "chest_xray"
    assert names[7] == "kidney_c…roscope"
    assert names[9] == "mean"
    printed = sum(row.count("│") - 2 for row in rows[::10])
    assert printed == len(table.COLUMNS) - 1  # without differential privacy


def test_names_that_would_look_alike_are_not_shortened(make_records):
    names = ["ward_0123456789_a_b_c_d", "ward_0123456780_a_b_c_d"]
    cells = [["Client", "Accuracy"], *([name, "50.0"] for name in names)]
    output = io.StringIO()
    text_table.print_cells(cells, Console(file=output, width=35))
    assert all(f"Client: {name}" in output.getvalue() for name in names)


@pytest.mark.parametrize("width", [30, 120])
def test_print_accuracies_shows_every_kind_of_question_and_the_mean(width):
    output = io.StringIO()
    table.print_accuracies(
        {
            "oct": {"examples": 8.0, "accuracy": 0.5, "loss": 1.25, "type/anatomy": 0.25},
            "ct": {"examples": 4.0, "accuracy": 1.0, "loss": 0.75, "closed": 1.0},
        },
        Console(file=output, width=width),
    )
    printed = output.getvalue()
    assert ("┃" in printed) == (width == 120)
    for expected in ("25.0", "50.0", "75.0", "100.0", "1.250", "1.000", "Anatomy", "Closed"):
        assert expected in printed


def test_rounds_that_were_not_evaluated_have_no_part_in_accuracies(make_records):
    records = make_records(clients=2, rounds=3)
    bare = [dataclasses.replace(client, test={}, validation={}) for client in records[2].clients]
    records[2] = dataclasses.replace(
        records[2], accuracy=None, loss=None, validation=None, clients=bare
    )
    summarised = table.summarise_run(records, costs_of(records), {})
    history = [records[number].clients[1].test["accuracy"] for number in (0, 1, 3)]
    row = summarised["clients"][1]
    assert row["accuracy_final"] == history[-1]
    assert row["accuracy_oracle"] == max(history)
    assert row["oracle_round"] == (0, 1, 3)[history.index(max(history))]
    assert summarised["chosen_round"] == 3
