"""Outcomes against learning rates are drawn as they are given."""

import matplotlib.colors
import numpy as np
import pytest

from paramact_jax.figures import BandCurve, curves_over_rates

RATES = np.array([0.01, 0.1, 1.0])


def curve(label, middle=(0.2, 0.8, np.inf)):
    middle = np.array(middle)
    return BandCurve(label, middle, middle - 0.1, middle + 0.1)


def test_a_curve_is_drawn_where_it_is_finite_and_has_one_colour_in_all_panels():
    figure = curves_over_rates(
        RATES, {"relu": [curve("sgd"), curve("adam")], "ppns": [curve("adam")]}, ylabel="share", title="all"
    )
    relu, ppns = figure.axes
    assert [axes.get_title() for axes in (relu, ppns)] == ["relu", "ppns"]
    assert relu.get_xscale() == "log"
    assert relu.get_ylabel() == "share"
    sgd, adam = relu.get_lines()
    np.testing.assert_array_equal(sgd.get_xdata(), RATES)
    np.testing.assert_array_equal(sgd.get_ydata(), [0.2, 0.8, np.nan])
    (again,) = ppns.get_lines()
    assert matplotlib.colors.same_color(again.get_color(), adam.get_color())
    assert not matplotlib.colors.same_color(sgd.get_color(), adam.get_color())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sgd", "adam"]


def test_losses_are_drawn_on_a_logarithmic_scale_whose_limits_follow_the_curves():
    wide = BandCurve(
        "sgd", np.array([0.2, 80.0, np.nan]), np.array([-5.0, 60.0, np.nan]), np.array([5.0, 100.0, np.nan])
    )
    (axes,) = curves_over_rates(RATES, {"relu": [wide]}, ylabel="test loss", log=True).axes
    assert axes.get_yscale() == "log"
    np.testing.assert_allclose(axes.get_ylim(), (0.16, 96))
    (empty,) = curves_over_rates(RATES, {"relu": [curve("sgd", (np.nan,) * 3)]}, ylabel="test loss", log=True).axes
    assert empty.get_yscale() == "linear"


@pytest.mark.parametrize("panels", [{}, {"relu": []}])
def test_nothing_to_draw_is_refused(panels):
    with pytest.raises(ValueError, match="at least one panel, each of at least one curve"):
        curves_over_rates(RATES, panels, ylabel="y")


def test_a_curve_of_another_length_is_refused():
    with pytest.raises(ValueError, match="sgd: expected 3 values in curve and band"):
        curves_over_rates(RATES, {"relu": [curve("sgd", (1.0, 2.0))]}, ylabel="y")
