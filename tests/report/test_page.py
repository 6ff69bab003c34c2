"""The page of a run: what it says, and that nothing in it acts but its own script."""

import base64
import dataclasses
import html.parser
import io
import math

import numpy as np
import pytest
from PIL import Image

from f3ocus_jax.evaluation import correctness
from f3ocus_jax.report.page import (
    charts,
    curves,
    explorer,
    heatmaps,
    left_layers,
    rendering,
    verdict,
)
from f3ocus_jax.report.page.answers import answers
from f3ocus_jax.report.page.costs import costs
from f3ocus_jax.report.page.source import RunSource
from tests.helpers.hostile import NAMES, is_harmless

HOSTILE = {
    **NAMES,
    "closing script": "</script><script>alert(1)</script>",
    "template": "{{ 7 * 7 }}{% raw %}",
}


class Tags(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of style and script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.text.append(data)


def source_of(records, **changed):
    rows = [
        {"client": client.client, "majority_answer": 0.2, "majority_per_question": 0.5}
        for client in records[-1].clients
    ]
    summary = {"rounds": records[-1].round, "clients": rows}
    given = {"name": "demo", "records": records, "summary": summary, "rounds": records[-1].round}
    return RunSource(**{**given, **changed})


def change_clients(record, **changed):
    clients = [dataclasses.replace(client, **changed) for client in record.clients]
    return dataclasses.replace(record, clients=clients)


def test_the_page_loads_nothing_and_runs_its_own_script_alone(make_records):
    page = rendering.render(source_of(make_records()))
    tags = Tags(page).tags
    addresses = [
        attributes[name]
        for _, attributes in tags
        for name in ("src", "href", "action", "data")
        if name in attributes
    ]
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    assert [tag for tag, _ in tags].count("script") == 1
    (policy,) = [a["content"] for _, a in tags if "http-equiv" in a]
    assert f"script-src 'sha256-{rendering.script_hash()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "url(" not in page
    assert "Research use, not a medical device" in page


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_are_text(make_records, name):
    records = [
        dataclasses.replace(
            record,
            clients=[
                dataclasses.replace(record.clients[0], client=name, left_out=name),
                dataclasses.replace(
                    record.clients[1], test={**record.clients[1].test, f"type/{name}": 0.5}
                ),
            ],
        )
        for record in make_records(clients=2, rounds=2)
    ]
    named = {"changed": [(name, name, name)], "provenance": [("seed", name)]}
    page = rendering.render(source_of(records, name=name, federated=[("data", name)], **named))
    plain = rendering.render(source_of(make_records(clients=2, rounds=2)))
    assert is_harmless(page)
    assert {tag for tag, _ in Tags(page).tags} <= {tag for tag, _ in Tags(plain).tags}
    attributes = {key for _, found in Tags(page).tags for key in found}
    assert not {key for key in attributes if key.startswith("on")}
    assert len(page) < 100_000
    if name == HOSTILE["attribute"]:
        assert name in "".join(Tags(page).text)
    if name == HOSTILE["template"]:
        assert "49" not in {text.strip() for text in Tags(page).text}


def test_a_long_run_of_many_clients_stays_below_three_megabytes(make_records):
    records = make_records(clients=9, layers=24, rounds=6)
    (last,) = records[-1:]
    clients = [
        dataclasses.replace(last.clients[k % 9], client=f"{'w' * 200} {k}") for k in range(400)
    ]
    front = [(float(x), float(x) ** 2) for x in np.linspace(1, 2, 5000)]
    selection = dataclasses.replace(last.selection, front=front, pick=7)
    many = [
        dataclasses.replace(last, round=number, clients=clients, selection=selection)
        for number in range(40)
    ]
    page = rendering.render(source_of(many))
    assert len(page.encode()) < 3_000_000
    assert "The first 200 of 400 clients" in page
    assert "20 of 40 rounds: one in 2" in page


def test_every_round_is_a_panel_and_the_last_is_shown(make_records):
    tags = Tags(rendering.render(source_of(make_records(rounds=3)))).tags
    panels = [found for _, found in tags if found.get("class") == "round-panel"]
    assert [panel["data-round"] for panel in panels] == ["1", "2", "3"]
    assert ["hidden" in panel for panel in panels] == [True, True, False]
    (slider,) = [found for tag, found in tags if tag == "input"]
    assert (slider["min"], slider["max"]) == ("0", "2")
    assert "round-slider" in [found.get("for") for tag, found in tags if tag == "label"]


def test_a_run_of_the_start_alone_has_a_page(make_records):
    (start,) = make_records(rounds=0)
    page = rendering.render(source_of([start], summary={}, rounds=4))
    assert "0 of 4 rounds so far" in page
    assert "Round explorer" not in page


def test_a_run_without_scores_front_or_test_has_a_page(make_records):
    records = [
        dataclasses.replace(
            change_clients(
                record,
                test={},
                scores=[],
                values=[],
                residuals=[],
                own_layers=[],
                validation={"accuracy": 0.25, "examples": 8.0},
            ),
            accuracy=None,
            loss=None,
            selection=None,
            validation=0.25,
        )
        for record in make_records()
    ]
    page = rendering.render(source_of(records, summary={}))
    assert "The test splits were left out" in page
    assert "25.0 %" in page
    assert "Front and pick" not in page
    assert "Convergence" not in page


def test_an_absent_client_has_its_reason_and_no_scores(make_records):
    records = make_records(clients=2, rounds=2)
    absent = dataclasses.replace(
        records[-1].clients[0], left_out="absent", scores=[], own_layers=[], layers=[], values=[]
    )
    last = dataclasses.replace(records[-1], clients=[absent, records[-1].clients[1]])
    page = rendering.render(source_of([*records[:-1], last]))
    assert "left out: absent" in page


def test_findings_have_one_constant_baseline_without_a_margin(make_records):
    test = {"f1_micro": 0.45, "examples": 50.0}
    records = [change_clients(record, test=test) for record in make_records(rounds=1)]
    rows = [{"client": c.client, "majority_answer": 0.46} for c in records[-1].clients]
    found = verdict.outcomes(source_of(records, summary={"rounds": 1, "clients": rows}))
    assert {outcome.word for outcome in found} == {"below the best constant prediction"}


MAJORITY, QUESTION = ("the most common answer", 0.3), ("the question's most common answer", 0.6)


@pytest.mark.parametrize(
    ("reached", "word", "tone"),
    [
        (0.1, "below the most common answer", "bad"),
        (0.45, "below the question's most common answer", "bad"),
        (0.55, "below the question's most common answer, within chance", "even"),
        (0.6, "equal to the question's most common answer", "even"),
        (0.65, "above the question's most common answer, within chance", "even"),
        (0.8, "above both baselines", "good"),
    ],
)
def test_an_outcome_is_named_by_the_baseline_that_it_fails(reached, word, tone):
    judged = verdict.judge(0.2, reached, [QUESTION, MAJORITY], lambda baseline: 0.1)
    assert judged == (word, tone)


def test_without_baselines_the_start_is_the_measure():
    assert verdict.judge(0.2, 0.3, [], float) == ("better than at the start", "even")
    assert verdict.judge(0.3, 0.3, [], float) == ("no better than at the start", "even")
    assert verdict.judge(None, 0.3, [], float) == ("no baseline is known", "even")


def test_the_margin_is_that_of_two_proportions():
    assert verdict.margin_of(0.5, 0.5, 100) == pytest.approx(1.96 * math.sqrt(2 * 0.25 / 100))
    assert verdict.margin_of(1.0, 0.0, 100) == 0.0
    assert verdict.margin_of(0.5, 0.5, None) == 0.0


def test_a_left_layer_costs_the_variance_that_keeping_it_adds(make_records):
    record = make_records(clients=3, layers=4, rounds=1)[-1]
    chosen = [([0], [0]), ([0], [0]), ([0], [2])]
    clients = [
        dataclasses.replace(client, scores=[0.4, 0.3, 0.2, 0.1], own_layers=own, layers=layers)
        for client, (own, layers) in zip(record.clients, chosen, strict=True)
    ]
    (left,) = left_layers.left_layers(dataclasses.replace(record, clients=clients))
    assert (left.layer, left.rank, left.instead, left.others) == (0, 1, 2, 2)
    assert left.cost == pytest.approx(np.var([3, 0, 0, 0]) - np.var([2, 0, 1, 0]))
    assert left.score - left.instead_score == pytest.approx(0.2)


def test_a_layer_that_nothing_replaced_is_added_alone(make_records):
    record = make_records(clients=1, layers=4, rounds=1)[-1]
    client = dataclasses.replace(
        record.clients[0], scores=[0.4, 0.3, 0.2, 0.1], own_layers=[0, 1], layers=[0]
    )
    (left,) = left_layers.left_layers(dataclasses.replace(record, clients=[client]))
    assert (left.layer, left.instead, left.instead_score) == (1, None, 0.0)
    assert left.cost == pytest.approx(np.var([1, 1, 0, 0]) - np.var([1, 0, 0, 0]))


def test_answers_are_mended_and_spoilt_by_the_bits_of_both_rounds(make_records):
    records = make_records(clients=1, rounds=1)
    bits = [[True, True, False, False, False], [True, False, True, True, False]]
    records = [
        change_clients(record, correct=correctness.pack(np.array(row)))
        for record, row in zip(records, bits, strict=True)
    ]
    (found,) = answers(source_of(records))
    assert (found.mended, found.spoilt, found.total) == (2, 1, 5)
    assert [kind.name for kind in found.kinds] == ["closed", "open", "anatomy"]
    (unknown,) = answers(source_of([records[0], change_clients(records[1], correct="")]))
    assert unknown.mended is None


def test_costs_are_those_of_all_clients_and_rounds(make_records):
    records = make_records(clients=2, rounds=3)
    rows = [
        {"client": "a", "megabits_total": 2.0, "gigaflops_total": 5.0},
        {"client": "b", "megabits_total": 4.0},
    ]
    found = costs(source_of(records, summary={"rounds": 3, "clients": rows}))
    assert found.megabits == 18.0
    assert found.gigaflops is None
    assert found.seconds == pytest.approx(1.0 + 3 * 10.75)
    assert found.stages["training"] == pytest.approx(24.0)


def test_a_line_breaks_where_a_value_is_missing():
    points = [(0, 0.0), (1, 1.0), (2, math.nan), (3, 0.5)]
    form = charts.Form("round", width=150.0, height=150.0)
    (shape,) = charts.draw([charts.Series("test", points)], form, "", y_range=(0, 1)).shapes
    assert shape.path == "M40 120h0L73.3 20M140 70h0"


def test_the_curves_show_both_baselines_at_their_height(make_records):
    source = source_of(make_records(clients=1, rounds=2))
    (_, chart), _ = reversed(curves.accuracy_charts(source, verdict.outcomes(source)))
    by_style = {shape.style: shape for shape in chart.shapes}
    ticks = {label: place for place, label in chart.y_ticks}
    assert by_style["majority"].path.startswith(f"M40 {ticks['20']:g}h0")
    assert by_style["pick"].kind == charts.STAR


def test_ranks_become_pixels_with_the_first_layer_at_the_bottom():
    address = heatmaps.picture(np.array([[1.0, np.nan], [2.0, 1.0]]), 2)
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert pixels.shape == (2, 2, 4)
    assert pixels[1, 0].tolist() == [254, 232, 56, 255]
    assert pixels[0, 0].tolist() == [0, 34, 78, 255]
    assert pixels[1, 1, 3] == 0


def test_the_explorer_keeps_the_last_round_when_it_leaves_rounds_out(make_records, monkeypatch):
    monkeypatch.setattr(explorer, "MOST_CELLS", 3 * 3 * 6)
    found = explorer.explore(source_of(make_records(clients=3, layers=6, rounds=8)))
    assert [each.number for each in found.rounds] == [2, 5, 8]
    assert (found.every, found.all_rounds) == (3, 8)
