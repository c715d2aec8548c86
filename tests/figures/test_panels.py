"""Curves in panels show what they are given."""

import dataclasses

import matplotlib.colors
import numpy as np
import pytest

from paramact_jax.figures import BandCurve, curves_in_panels

STEPS = np.array([0, 10, 20])


def curve(label, level=1.0, published=None):
    values = np.full(3, level)
    return BandCurve(label, values, 0.9 * values, 1.1 * values, published)


def shown(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata()) == 3]


def test_a_curve_has_the_same_colour_in_every_panel():
    figure = curves_in_panels(
        STEPS,
        {"one": [curve("x"), curve("y", 2.0)], "two": [curve("y", 3.0)], "three": [curve("z")]},
        xlabel="iteration",
    )
    one, two, three, empty = figure.axes
    assert [axes.get_title("left") for axes in (one, two, three)] == ["(a) one", "(b) two", "(c) three"]
    colours = [[matplotlib.colors.to_hex(line.get_color()) for line in shown(axes)] for axes in (one, two, three)]
    assert colours[0][1] == colours[1][0]
    assert len({colours[0][0], colours[0][1], colours[2][0]}) == 3
    assert not empty.axison
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y", "z"]
    np.testing.assert_array_equal(shown(two)[0].get_ydata(), [3, 3, 3])
    assert one.get_yscale() == three.get_yscale() == "log"


def test_what_is_published_is_marked_and_within_the_axes():
    figure = curves_in_panels(STEPS, {"one": [curve("x", published=0.01)]})
    (axes,) = figure.axes
    (mark,) = [line for line in axes.get_lines() if line.get_marker() == "D" and len(line.get_xdata())]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (20, 0.01)
    assert axes.get_ylim()[0] < 0.01
    assert figure.legends[0].get_texts()[-1].get_text() == "published"


def test_values_that_are_not_finite_are_not_drawn():
    broken = dataclasses.replace(curve("x"), middle=np.array([1.0, np.inf, np.nan]))
    figure = curves_in_panels(STEPS, {"one": [broken]})
    np.testing.assert_array_equal(shown(figure.axes[0])[0].get_ydata(), [1, np.nan, np.nan])
    figure.canvas.draw()


@pytest.mark.parametrize("shares", [False, True])
def test_learning_rates_have_a_logarithmic_axis_and_a_dot_each(shares):
    rates = np.array([0.01, 0.1, 1.0])
    (axes,) = curves_in_panels(rates, {"one": [curve("x", 0.5)]}, shares=shares, logarithmic=True).axes
    (line,) = shown(axes)
    np.testing.assert_array_equal(line.get_xdata(), rates)
    assert (axes.get_xscale(), axes.get_yscale(), line.get_marker()) == ("log", "linear" if shares else "log", "o")
    low, high = axes.get_xlim()
    assert low < rates[0] < rates[-1] < high


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "expected at least one panel"),
        ({"one": []}, "each with at least one curve"),
        ({"one": [dataclasses.replace(curve("x"), low=np.ones(2))]}, "x: expected 3 values .* got 3, 2, 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        curves_in_panels(STEPS, panels)
