"""The figure of differences: its rows, its numbers, its sentence, and what it leaves out."""

import numpy as np
import pytest

from f3ocus_jax.report import style
from f3ocus_jax.sweep import difference_figure
from f3ocus_jax.sweep.intervals import t_interval
from f3ocus_jax.sweep.study import Study
from tests.helpers.sweep_results import make_results

COLUMN = ("task1", "vilt")


def shown(axes):
    """Names of the rows from the top, and the numbers on the right."""
    right = axes.child_axes[0]
    return [[tick.get_text() for tick in each.get_yticklabels()] for each in (axes, right)]


def test_rows_are_sorted_by_their_mean_and_carry_the_numbers_of_the_seeds():
    study = Study(make_results())
    figure = difference_figure.draw(study, COLUMN, "a title")
    (axes,) = figure.axes
    names, numbers = shown(axes)
    assert names == ["Full", "LNTK", "SNIP", "LoRA", "FD"]
    assert figure.get_suptitle() == "a title"
    runs = {m: [r for r in make_results() if r.method == m] for m in ("f3ocus", "snip")}
    pairs = zip(runs["snip"], runs["f3ocus"], strict=True)
    seeds = [100 * (one.accuracy - other.accuracy) for one, other in pairs]
    found = t_interval(seeds)
    assert numbers[2] == f"{found.mean:+.1f} ± {found.half_width:.1f}".replace("-", "−")
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 5]
    np.testing.assert_allclose(drawn[2], seeds)
    ends = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.6]
    np.testing.assert_allclose(ends[2], [found.low, found.high])


def test_the_words_name_what_is_better_worse_and_not_told_apart():
    text = difference_figure.summarise(Study(make_results()), COLUMN)
    assert text == (
        "With 5 seeds per method, better than F³OCUS: none; worse than F³OCUS: SNIP, LoRA, FD; "
        "not told apart from F³OCUS: Full, LNTK."
    )
    described = difference_figure.describe(Study(make_results()), COLUMN).splitlines()
    assert len(described) == 5
    assert described[4].startswith("FD: −")
    assert described[4].endswith("), told apart")
    assert described[1].endswith("), not told apart")


def test_one_seed_has_a_point_and_no_interval():
    runs = make_results({"f3ocus": 0.1, "fd": 0.0}, seeds=(0,))
    study = Study(runs)
    assert "1 seed (" in difference_figure.describe(study, COLUMN)
    assert "±" not in difference_figure.describe(study, COLUMN)
    (axes,) = difference_figure.draw(study, COLUMN, "").axes
    low, high = axes.get_xlim()
    assert np.isfinite([low, high]).all()
    assert low < 0 < high


def test_seeds_without_the_reference_are_counted_and_shown_nowhere():
    runs = make_results({"f3ocus": 0.1}, seeds=(0, 1)) + make_results({"fd": 0.0, "snip": 0.1})
    assert "With 2 seeds per" in difference_figure.summarise(Study(runs), COLUMN)
    apart = make_results({"f3ocus": 0.1}, seeds=(7,)) + make_results({"fd": 0.0})
    assert difference_figure.draw(Study(apart), COLUMN, "") is None
    without = Study(make_results({"fd": 0.0}))
    assert difference_figure.draw(without, COLUMN, "") is None
    assert difference_figure.describe(without, COLUMN) == ""
    assert difference_figure.summarise(without, COLUMN) == ""


def test_an_interval_of_two_seeds_does_not_squeeze_the_others():
    few = make_results({"fd": 0.0}, seeds=(0, 1))
    study = Study(make_results({"f3ocus": 0.1, "snip": 0.05}) + few)
    (axes,) = difference_figure.draw(study, COLUMN, "").axes
    farthest = max(abs(v) for c in study.compare(COLUMN) for v in c.by_seed.values())
    assert max(map(abs, axes.get_xlim())) < 2.5 * 100 * farthest


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_picture_carries_its_numbers_and_no_date(tmp_path, ending):
    study = Study(make_results({"f3ocus": 0.1, "fd": 0.0}, seeds=(0, 1)))
    described = difference_figure.describe(study, COLUMN)
    paths = [
        style.save(difference_figure.draw(study, COLUMN, ""), tmp_path / (n + ending), described)
        for n in "ab"
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    if ending == ".png":
        assert style.description_of(paths[0]) == described
    else:
        assert described in paths[0].read_text(encoding="utf-8")
    bare = style.save(difference_figure.draw(study, COLUMN, ""), tmp_path / "c.png")
    assert style.description_of(bare) == ""
