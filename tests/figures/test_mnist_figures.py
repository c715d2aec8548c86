"""Curves with bands, ranges and counts: what is drawn is what was given."""

import numpy as np
import pytest

from paramact_jax.figures import (
    BandCurve,
    CountBar,
    RangeHistory,
    count_bars,
    curves_with_bands,
    range_panels,
)

STEPS = np.arange(0, 1001, 100)


def curve(label, published=None, factor=1.0):
    middle = factor * np.exp(-STEPS / 500)
    return BandCurve(label, middle, 0.9 * middle, 1.1 * middle, published)


def history(label, runs=3):
    rise = np.linspace(0, 1, len(STEPS)) * (1 + np.arange(runs))[:, None]
    return RangeHistory(label, -rise, 2 * rise)


def band(axes, i):
    """Lower and upper end of the i-th filled area, by x."""
    x, y = axes.collections[i].get_paths()[0].vertices.T
    return {float(at): (float(y[x == at].min()), float(y[x == at].max())) for at in np.unique(x)}


def test_curves_are_drawn_whole_and_close_up():
    curves = [curve("A", published=0.1), curve("B", factor=2.0)]
    figure = curves_with_bands(STEPS, curves, closeup=500, ylabel="test loss", title="T")
    whole, close = figure.axes
    np.testing.assert_array_equal(whole.lines[1].get_ydata(), curves[1].middle)
    np.testing.assert_array_equal(close.lines[1].get_xdata(), STEPS[:6])
    np.testing.assert_array_equal(close.lines[1].get_ydata(), curves[1].middle[:6])
    assert (whole.get_yscale(), close.get_yscale()) == ("log", "log")
    assert (whole.get_xlim(), close.get_xlim()) == ((0, 1000), (0, 500))
    assert whole.get_ylabel() == "test loss"
    assert figure.get_suptitle() == "T"
    assert band(whole, 0)[300] == pytest.approx((0.9 * np.exp(-0.6), 1.1 * np.exp(-0.6)))
    marks = [line for line in whole.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert [mark.get_xydata().tolist() for mark in marks] == [[[1.02, 0.1]]]
    assert marks[0].get_color() == whole.lines[0].get_color() != whole.lines[1].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B", "published, at the end"]


def test_eight_curves_have_eight_colours():
    figure = curves_with_bands(STEPS, [curve(str(i)) for i in range(8)])
    (axes,) = figure.axes
    assert len({line.get_color() for line in axes.lines}) == 8
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(i) for i in range(8)]


def test_curves_that_are_not_finite_end():
    middle = np.where(STEPS > 500, np.inf, 1.0)
    none = np.full(len(STEPS), np.nan)
    figure = curves_with_bands(STEPS, [BandCurve("A", middle, none, none), curve("B")], closeup=700)
    figure.canvas.draw()
    drawn = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(np.isfinite(drawn), STEPS <= 500)
    bands = figure.axes[0].collections
    assert [sum(len(path) for path in area.get_paths()) > 0 for area in bands] == [False, True]


def test_the_axis_follows_the_curves_and_not_a_band_without_end():
    middle = np.linspace(2, 1, len(STEPS))
    (axes,) = curves_with_bands(STEPS, [BandCurve("A", middle, -middle, 1e3 * middle, published=0.5)]).axes
    assert axes.get_ylim() == pytest.approx((0.7 * 0.5, 1.3 * 2))
    none = np.full(len(STEPS), np.nan)
    figure = curves_with_bands(STEPS, [BandCurve("A", none, none, none)], closeup=500)
    figure.canvas.draw()
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear"]


def test_ranges_have_the_first_run_as_lines_and_all_as_a_band():
    figure = range_panels(STEPS, [history("A"), history("B", runs=1)], until=500, ylabel="gradient", title="T")
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a) A", "(b) B"]
    smallest, largest = first.lines
    np.testing.assert_allclose(smallest.get_ydata(), -STEPS[:6] / 1000)
    np.testing.assert_allclose(largest.get_ydata(), 2 * STEPS[:6] / 1000)
    assert band(first, 0)[500] == pytest.approx((-1.5, 3.0))
    assert band(second, 0)[500] == pytest.approx((-0.5, 1.0))
    assert first.get_xlim() == second.get_xlim() == (0, 500)
    assert first.get_ylim() == second.get_ylim()
    assert (figure.get_supylabel(), figure.get_suptitle()) == ("gradient", "T")
    assert range_panels(STEPS, [history("A")], reach=0.4).axes[0].get_ylim() == (-0.4, 0.4)


def test_ranges_pass_over_what_is_not_finite():
    own = history("A", runs=2)
    own.largest[1, 3:] = np.nan
    own.largest[:, 5:] = np.inf
    figure = range_panels(STEPS, [own])
    figure.canvas.draw()
    assert band(figure.axes[0], 0)[400] == pytest.approx((-0.8, 0.8))
    np.testing.assert_array_equal(np.isfinite(figure.axes[0].lines[1].get_ydata()), STEPS < 500)


def test_eight_histories_have_a_panel_each_and_five_leave_three_empty():
    assert len([axes for axes in range_panels(STEPS, [history("A")] * 8).axes if axes.axison]) == 8
    figure = range_panels(STEPS, [history("A")] * 5)
    assert [axes.axison for axes in figure.axes] == [True] * 5 + [False] * 3
    figure.canvas.draw()
    numbered = [any(label.get_visible() and label.get_text() for label in a.get_xticklabels()) for a in figure.axes]
    assert numbered[:5] == [False, True, True, True, True]


def test_a_single_step_can_be_drawn():
    one = np.ones(1)
    for figure in (
        curves_with_bands(np.zeros(1), [BandCurve("A", one, one, one)]),
        range_panels(np.zeros(1), [RangeHistory("A", -one[None], one[None])]),
    ):
        figure.canvas.draw()
        assert len(figure.axes[0].lines[0].get_xdata()) == 1


def test_bars_with_spread_and_mark():
    figure = count_bars(
        [
            CountBar("Parametric ReLU", 33_000.4, 700.0, 34_030),
            CountBar("Tanh", 0.0, 0.0, 0),
            CountBar("X", 5e4, np.nan),
        ],
        ylabel="slopes",
        title="T",
    )
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [33_000.4, 0, 5e4]
    marks = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert marks == [[[0.22, 34_030]], [[1.22, 0]]]
    (low, high) = axes.collections[0].get_segments()[0][:, 1]
    assert (low, high) == (32_300.4, 33_700.4)
    assert [text.get_text() for text in axes.texts] == ["33,000", "0", "50,000"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Parametric\nReLU", "Tanh", "X"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["published", "one standard deviation"]
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: curves_with_bands(STEPS, []), "at least one curve, got none"),
        (lambda: curves_with_bands(STEPS[1:], [curve("A")]), "A: expected 10 values .* got 11, 11, 11"),
        (lambda: range_panels(STEPS, []), "at least one history, got none"),
        (lambda: range_panels(STEPS[1:], [history("A")]), r"A: expected values \(runs, 10\), got shape \(3, 11\)"),
        (lambda: range_panels(STEPS, [history("A", runs=0)]), r"A: expected values \(runs, 11\), got shape \(0, 11\)"),
        (lambda: count_bars([], ylabel="n"), "at least one bar, got none"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
