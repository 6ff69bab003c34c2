"""What every figure draws is what the records hold: each curve, bar, cell, mark and label."""

import math

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.collections import PatchCollection

from f3ocus_jax.report import figures, style
from tests.helpers.unequal_records import ABSENT, BUDGETS, LAYERS, NAMES, ROUNDS, unequal_records

TRAINED = ROUNDS[1:]


def client(records, name, number):
    """The record of a client in a round, found by name and number."""
    (record,) = [record for record in records if record.round == number]
    (found,) = [client for client in record.clients if client.client == name]
    return found


def curves(axes):
    """Label to (xs, ys, colour) of every line."""
    return {
        line.get_label(): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata(), float),
            matplotlib.colors.to_hex(line.get_color()),
        )
        for line in axes.lines
    }


def legend(figure):
    """Text to colour of every entry of the legend, in order."""
    (found,) = figure.legends
    colours = [
        handle.get_facecolor() if hasattr(handle, "get_facecolor") else handle.get_color()
        for handle in found.legend_handles
    ]
    texts = [text.get_text() for text in found.get_texts()]
    return dict(zip(texts, map(matplotlib.colors.to_hex, colours), strict=True))


def check_curves(axes, records, value_of, mean_of, others=()):
    """Every client's curve and the mean, over the rounds' own numbers."""
    drawn = curves(axes)
    assert list(drawn) == [*NAMES, "mean", *others]
    for name in NAMES:
        xs, ys, _ = drawn[name]
        assert xs == list(ROUNDS)
        expected = [value_of(client(records, name, number)) for number in ROUNDS]
        np.testing.assert_array_equal(ys, expected)
    xs, ys, _ = drawn["mean"]
    assert xs == list(ROUNDS)
    np.testing.assert_allclose(ys, [mean_of(record) for record in records], rtol=1e-12)
    assert axes.get_xlabel() == "round"
    assert not axes.xaxis_inverted()
    assert not axes.yaxis_inverted()
    assert axes.get_xlim()[0] <= 0 < ROUNDS[-1] <= axes.get_xlim()[1]


def check_legend_of_curves(figure, axes, others=()):
    """The means come first, and every name has the colour of its curve."""
    shown = legend(figure)
    assert list(shown) == ["mean", *others, *NAMES]
    assert shown == {label: colour for label, (_, _, colour) in curves(axes).items()}
    assert len(set(shown.values())) == len(shown)


def check_accuracy(figure, records):
    def main_metric(found):
        return found.test["f1_micro" if found.client == "east" else "accuracy"]

    (axes,) = figure.axes
    others = ("mean, validation", "chosen on validation")
    check_curves(axes, records, main_metric, lambda record: record.accuracy, others)
    check_legend_of_curves(figure, axes, others)
    xs, ys, _ = curves(axes)["mean, validation"]
    assert (xs, ys.tolist()) == (list(ROUNDS), [record.validation for record in records])
    best = max(records, key=lambda record: record.validation)
    assert best.accuracy != max(record.accuracy for record in records)
    xs, ys, _ = curves(axes)["chosen on validation"]
    assert (xs, ys.tolist()) == ([best.round], [best.accuracy])
    assert axes.get_ylabel() == "test accuracy or micro F1 (%)"
    assert axes.yaxis.get_major_formatter().format_pct(0.25, 1) == "25"


def check_loss(figure, records):
    def trained(found):
        return math.nan if found.train_loss is None else found.train_loss

    def mean_of_trained(record):
        losses = [c.train_loss for c in record.clients if c.train_loss is not None]
        return sum(losses) / len(losses) if losses else math.nan

    training, test = figure.axes
    assert training.get_title(loc="left").startswith("training")
    assert test.get_title(loc="left") == "test"
    check_curves(training, records, trained, mean_of_trained)
    check_curves(test, records, lambda found: found.test["loss"], lambda record: record.loss)
    check_legend_of_curves(figure, test)
    assert {label: entry[2] for label, entry in curves(training).items()} == legend(figure)
    assert training.get_ylim() == test.get_ylim()
    assert training.get_ylabel() == "loss (nats)"


def ranking(scores, first=()):
    """Ranks from 1, by sorting pairs: the layers in `first`, then the more important."""
    order = sorted(range(len(scores)), key=lambda layer: (layer not in first, -scores[layer]))
    return [order.index(layer) + 1 for layer in range(len(scores))]


def expected_ranks(found, refined):
    """One column of a heat map; NaN for a client that was absent."""
    if not found.scores:
        return [math.nan] * LAYERS
    if not refined:
        return ranking(found.scores)
    if found.ranks:
        return [rank + 1 for rank in found.ranks]
    return ranking(found.scores, found.layers)


def check_layer_ranks(figure, records):
    page, bar = figure.subfigs
    panels = {panel.get_suptitle(): panel for panel in page.subfigs}
    assert list(panels) == list(NAMES)
    for name, panel in panels.items():
        found = [client(records, name, number) for number in TRAINED]
        for axes, refined in zip(panel.axes, (False, True), strict=True):
            assert axes.get_title(loc="left") == ("after" if refined else "before")
            check_heat_map(axes, [expected_ranks(c, refined) for c in found])
            check_marks(axes, [c.layers if refined else c.own_layers for c in found])
            assert [text.get_text() for text in axes.get_xticklabels()] == list(map(str, TRAINED))
            assert axes.get_xticks().tolist() == [0, 1, 2, 3]
            assert axes.get_yticks().tolist() == list(range(LAYERS))
    (scale,) = bar.axes
    assert scale.yaxis_inverted()
    assert sorted(scale.get_ylim()) == [1, LAYERS]
    assert scale.get_ylabel() == "rank (1 = most important)"
    assert scale.get_title() == "■ chosen"
    assert (page.get_supxlabel(), page.get_supylabel()) == ("round", "layer (0 = first block)")


def check_heat_map(axes, columns):
    """Rounds from left to right, layers from below, one scale of colours for all."""
    (image,) = axes.get_images()
    np.testing.assert_array_equal(np.asarray(image.get_array(), float).T, columns)
    assert tuple(image.get_extent()) == (-0.5, len(columns) - 0.5, -0.5, LAYERS - 0.5)
    assert image.origin == "lower"
    assert (image.norm.vmin, image.norm.vmax, image.cmap.name) == (1, LAYERS, "cividis_r")
    assert axes.get_ylim() == (-0.5, LAYERS - 0.5)
    assert axes.get_xlim()[0] < axes.get_xlim()[1]


def check_marks(axes, layers_R):
    """A mark in the middle of each chosen (round, layer)."""
    (marks,) = [found for found in axes.collections if isinstance(found, PatchCollection)]
    boxes = [path.get_extents() for path in marks.get_paths()]
    middles = {((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes}
    expected = {(column, layer) for column, layers in enumerate(layers_R) for layer in layers}
    assert {(round(x, 9), round(y, 9)) for x, y in middles} == expected


def check_layer_picks(figure, records):
    before, after = figure.axes
    for axes, start, field, colour in (
        (before, "Before", "own_layers", style.CLIENT_COLOURS[0]),
        (after, "After", "layers", style.CHOSEN),
    ):
        counts_RL = [
            [
                sum(layer in getattr(client(records, name, number), field) for name in NAMES)
                for layer in range(LAYERS)
            ]
            for number in TRAINED
        ]
        heights_L = [sum(column) / len(TRAINED) for column in zip(*counts_RL, strict=True)]
        check_bars(axes, heights_L, [colour] * LAYERS)
        spreads = [sum((n - sum(c) / LAYERS) ** 2 for n in c) / LAYERS for c in counts_RL]
        variance = sum(spreads) / len(TRAINED)
        assert axes.get_title(loc="left").startswith(start)
        assert axes.get_title(loc="left").endswith(f"(variance {variance:.2f})")
        (mean,) = axes.lines
        np.testing.assert_allclose(mean.get_ydata(), sum(heights_L) / LAYERS)
    # The absent client's picks are missing from one round of four.
    sent = len(TRAINED) * sum(BUDGETS.values()) - BUDGETS[ABSENT[1]]
    assert sum(bar.get_height() for bar in after.patches) == pytest.approx(sent / len(TRAINED))
    assert before.get_ylim() == after.get_ylim()
    assert after.get_xlabel() == "layer (0 = first block)"
    assert figure.get_supylabel() == "clients per round (mean of 4 rounds)"


def check_bars(axes, heights, colours):
    """One bar per layer, in its middle, from 0 up, with its colour."""
    bars = axes.patches
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], range(LAYERS))
    np.testing.assert_allclose([bar.get_height() for bar in bars], heights)
    assert {bar.get_y() for bar in bars} == {0}
    assert [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in bars] == colours


def check_layer_values(figure, records):
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == list(NAMES)
    last = records[-1]
    for name, axes in panels.items():
        found = client(records, name, last.round)
        colours = [style.CHOSEN if i in found.layers else style.OTHER for i in range(LAYERS)]
        if found.values:
            check_bars(axes, found.values, colours)
        else:
            assert not axes.patches
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        assert axes.get_xticks().tolist() == list(range(LAYERS))
    assert legend(figure) == {"trained": style.CHOSEN.lower(), "frozen": style.OTHER.lower()}
    assert figure.get_suptitle() == f"Score per layer, round {last.round}"
    assert figure.get_supylabel() == "eigenvalue λ₁ of the layer's NTK"


def check_pareto_front(figure, records):
    (axes,) = figure.axes
    *earlier, front, own, pick = axes.lines
    searched = [record.selection for record in records if record.selection]
    assert len(earlier) == len(searched) - 1
    for line, selection in zip([*earlier, front], searched, strict=True):
        points = sorted((variance, importance) for importance, variance in selection.front)
        np.testing.assert_array_equal(np.transpose(line.get_data()), points)
    fading = [line.get_alpha() for line in earlier]
    assert fading == sorted(set(fading))
    last = searched[-1]
    picked = last.front[last.pick]
    assert np.transpose(pick.get_data()).tolist() == [[picked[1], picked[0]]]
    assert np.transpose(own.get_data()).tolist() == [[last.own_point[1], last.own_point[0]]]
    assert list(legend(figure)) == [
        "fronts of earlier rounds",
        f"front of round {ROUNDS[-1]}",
        "clients' own choices (lntk)",
        "the pick",
    ]
    shown = [line.get_label() for line in (earlier[0], front, own, pick)]
    assert shown == list(legend(figure))
    reached = max(importance for importance, _ in last.front) / last.own_point[0]
    title = f"nsga2, hypervolume {last.hypervolume:.3f}, up to {reached:.1%} of own importance"
    assert axes.get_title(loc="left") == title
    assert axes.get_xlabel().startswith("variance")
    assert axes.get_ylabel().startswith("importance")
    assert not axes.xaxis_inverted()
    assert not axes.yaxis_inverted()


CHECKS = {
    "accuracy": check_accuracy,
    "loss": check_loss,
    "layer_ranks": check_layer_ranks,
    "layer_picks": check_layer_picks,
    "layer_values": check_layer_values,
    "pareto_front": check_pareto_front,
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """File name to figure of everything that `write_all` saves, and the records."""
    saved = {}

    def keep(figure, path):
        saved[path.name] = figure
        return path

    records = unequal_records()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", keep)
        figures.write_all(records, tmp_path_factory.mktemp("figures"))
    return saved, records


def test_every_figure_has_its_check_and_is_written(drawn):
    saved, _ = drawn
    assert set(saved) == {f"{name}.png" for name in figures.FIGURES}
    assert set(CHECKS) == set(figures.FIGURES)


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_drawn_is_what_the_records_hold(drawn, name):
    saved, records = drawn
    CHECKS[name](saved[f"{name}.png"], records)


def test_a_client_absent_from_the_last_round_has_an_empty_panel():
    records = [record for record in unequal_records() if record.round <= ABSENT[0]]
    draw, _ = figures.FIGURES["layer_values"]
    check_layer_values(draw(records), records)
