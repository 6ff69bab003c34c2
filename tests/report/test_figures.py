"""Every figure shows the records' numbers, legibly, reproducibly and without side effects."""

import dataclasses
import itertools
from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.text import Text
from PIL import Image

from f3ocus_jax.report import figures, layer_data, layer_figures, style
from f3ocus_jax.types import RoundRecord
from tests.helpers.marking import marked

MakeRecords = Callable[..., list[RoundRecord]]

SIZES = {
    "one of everything": {"clients": 1, "layers": 1, "rounds": 1, "budget": 1},
    "three clients": {"clients": 3, "layers": 6, "rounds": 4, "budget": 2},
    "the paper's": {"clients": 9, "layers": 12, "rounds": 30, "budget": 4},
    "deep": {"clients": 9, "layers": 48, "rounds": 30, "budget": 8},
}


def visible_texts(figure):
    """All texts on the page, without the labels of ticks that lie outside their axis."""
    figure.draw_without_rendering()
    of_ticks, shown = set(), set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            of_ticks |= {tick.label1, tick.label2}
            if low <= tick.get_loc() <= high:
                shown |= {tick.label1, tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible()
        and text.get_text().strip()
        and (text not in of_ticks or text in shown)
        and all(axes.get_visible() for axes in [text.axes] if axes is not None)
    ]


@pytest.mark.parametrize("size", marked(SIZES, extended=("deep",)))
@pytest.mark.parametrize("name", figures.FIGURES)
def test_no_text_overlaps_another_or_leaves_the_page(make_records, size, name):
    draw, _ = figures.FIGURES[name]
    with style.common_style():
        figure = draw(make_records(**SIZES[size]))
        texts = visible_texts(figure)
        boxes = [text.get_window_extent().padded(-1) for text in texts]
    page = figure.bbox.padded(1)
    for text, box in zip(texts, boxes, strict=True):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
    for (text, box), (other, other_box) in itertools.combinations(
        zip(texts, boxes, strict=True), 2
    ):
        assert not box.overlaps(other_box), (text, other)


def test_write_all_gives_a_png_per_figure_with_the_same_bytes_each_time(tmp_path, make_records):
    first = figures.write_all(make_records(), tmp_path / "first")
    second = figures.write_all(make_records(), tmp_path / "second")
    assert [path.stem for path in first] == list(figures.FIGURES)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(list((tmp_path / "first").iterdir())) == len(first)
    for path in first:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert "Software" not in image.info
            assert np.asarray(image.convert("L")).std() > 1


@pytest.mark.extended
def test_write_all_leaves_the_users_style_alone_and_does_not_depend_on_it(tmp_path, make_records):
    plain = figures.write_all(make_records(), tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        styled = figures.write_all(make_records(), tmp_path / "styled")
        assert matplotlib.rcParams["font.size"] == 20
    assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in styled]


def test_write_all_leaves_out_what_the_records_do_not_hold(tmp_path, make_records):
    def stems(records):
        return {path.stem for path in figures.write_all(records, tmp_path)}

    records = make_records()
    blind = [
        dataclasses.replace(
            record,
            selection=None,
            clients=[
                dataclasses.replace(client, values=[], residuals=[], scores=[])
                for client in record.clients
            ],
        )
        for record in records
    ]
    assert stems([]) == set()
    assert stems(records[:1]) == {"accuracy", "loss"}
    assert stems(blind) == {"accuracy", "loss", "layer_picks"}


def test_curves_of_many_clients_are_drawn_without_their_names(make_records):
    records = [
        dataclasses.replace(record, clients=record.clients * 20) for record in make_records()
    ]
    (legend,) = figures.accuracy(records).legends
    assert [text.get_text() for text in legend.get_texts()] == ["mean", "60 clients"]


def test_a_client_without_a_test_loss_leaves_a_gap(make_records):
    record = make_records()[0]
    client = dataclasses.replace(record.clients[0], test={"accuracy": 0.5})
    figure = figures.loss([dataclasses.replace(record, clients=[client])])
    assert np.isnan(figure.axes[1].lines[0].get_ydata()).all()


def test_a_client_that_was_not_measured_leaves_a_gap(make_records):
    records = make_records(clients=3, layers=4, rounds=2, budget=1)
    lost = dataclasses.replace(records[1].clients[0], test={})
    records[1].clients[0] = lost
    curve = figures.accuracy(records).axes[0].lines[0].get_ydata()
    assert np.isnan(curve).tolist() == [False, True, False]


def test_ranks_put_the_chosen_layers_first_and_order_by_score():
    scores_L = [0.1, 0.4, 0.2, 0.3]
    assert layer_data.ranks(scores_L).tolist() == [4, 1, 3, 2]
    assert layer_data.ranks(scores_L, chosen=[0, 2]).tolist() == [2, 3, 1, 4]
    assert layer_data.ranks([0.5, 0.5]).tolist() == [1, 2]


def test_layer_ranks_after_refinement_are_the_servers(make_records):
    records = make_records(clients=2, layers=5, rounds=1, budget=2)
    ranks_L = [3, 0, 4, 1, 2]
    client = dataclasses.replace(records[-1].clients[0], ranks=ranks_L, layers=[1, 3])
    records[-1] = dataclasses.replace(records[-1], clients=[client, records[-1].clients[1]])
    figure = layer_figures.layer_ranks(records)
    after = [image.get_array() for axes in figure.axes for image in axes.get_images()][1]
    assert np.asarray(after)[:, -1].tolist() == [rank + 1 for rank in ranks_L]


def test_layer_picks_shows_the_papers_variance(make_records):
    (_, record) = make_records(clients=2, layers=3, rounds=1, budget=1)
    clients = [
        dataclasses.replace(client, own_layers=[0], layers=[k])
        for k, client in enumerate(record.clients)
    ]
    figure = layer_figures.layer_picks([dataclasses.replace(record, clients=clients)])
    before, after = figure.axes
    assert "variance 0.89" in before.get_title(loc="left")  # n = 2, 0, 0: (16 + 4 + 4) / 9 / 3
    assert "variance 0.22" in after.get_title(loc="left")  # n = 1, 1, 0: (1 + 1 + 4) / 9 / 3
    assert [bar.get_height() for bar in after.patches] == [1, 1, 0]


@pytest.mark.parametrize(("largest", "scale"), [(2.0, "linear"), (1e4, "log")])
def test_values_take_a_log_scale_when_bars_would_vanish(make_records, largest, scale):
    record = make_records(clients=1, layers=3, rounds=1, budget=1)[1]
    client = dataclasses.replace(record.clients[0], values=[0.0, 1.0, largest])
    figure = layer_figures.layer_values([dataclasses.replace(record, clients=[client])])
    assert figure.axes[0].get_yscale() == scale


def test_pareto_front_marks_the_pick_and_the_clients_own_point(make_records):
    records = make_records()
    selection = records[-1].selection
    *_, front, own, pick = figures.pareto_front(records).axes[0].lines
    assert len(front.get_xdata()) == len(selection.front)
    importance, variance = selection.front[selection.pick]
    assert (pick.get_xdata()[0], pick.get_ydata()[0]) == (variance, importance)
    assert (own.get_ydata()[0], own.get_xdata()[0]) == selection.own_point


def test_pareto_front_says_what_limits_cost_in_importance(make_records):
    records = make_records()
    limited = dataclasses.replace(
        records[-1].selection, front=[(1.5, 1.0), (1.2, 0.5)], pick=1, own_point=(2.0, 3.0)
    )
    records[-1] = dataclasses.replace(records[-1], selection=limited)
    title = figures.pareto_front(records).axes[0].get_title(loc="left")
    assert title.endswith("up to 75.0% of own importance")


def test_a_client_that_missed_a_round_has_no_ranks_there(make_records):
    """The client is absent from the last of four rounds, the others are not."""
    records = make_records(clients=3, layers=6, rounds=4, budget=2)
    gone = dataclasses.replace(
        records[-1].clients[1],
        left_out="absent",
        values=[],
        residuals=[],
        scores=[],
        own_layers=[],
        layers=[],
        train_loss=None,
        ranks=[],
    )
    clients = [records[-1].clients[0], gone, records[-1].clients[2]]
    records[-1] = dataclasses.replace(records[-1], clients=clients)
    for draw, _ in figures.FIGURES.values():
        draw(records).draw_without_rendering()
    figure = layer_figures.layer_ranks(records)
    images = [image.get_array() for axes in figure.axes for image in axes.get_images()]
    missing = [np.isnan(np.asarray(image, float)).all(axis=0).tolist() for image in images]
    never, last = [False] * 4, [False] * 3 + [True]
    assert missing[:6] == [never, never, last, last, never, never]


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_curves_go_past_rounds_that_were_not_evaluated(make_records, name):
    records = make_records(clients=2, rounds=4)
    for number in (1, 3):
        bare = [dataclasses.replace(c, test={}) for c in records[number].clients]
        changed = {"accuracy": None, "loss": None, "validation": None, "clients": bare}
        records[number] = dataclasses.replace(records[number], **changed)
    draw, _ = figures.FIGURES[name]
    (means,) = [
        line.get_xdata() for line in draw(records).axes[-1].lines if line.get_label() == "mean"
    ]
    assert list(means) == [0, 2, 4]
