"""Paths in the plane show what they are given."""

import matplotlib.colors
import numpy as np
import pytest

from paramact_jax.figures import BandCurve, PathPanel, curves_in_panels, paths_in_the_plane

WAY = np.array([[0.0, 0.0], [0.5, -0.1], [1.0, -1.0]])


def test_every_way_and_the_goal_are_drawn():
    panels = [PathPanel("one", {"x": WAY, "y": -WAY}), PathPanel("two", {"y": 2 * WAY})]
    figure = paths_in_the_plane(panels, np.array([1.0, -1.0]))
    one, two = figure.axes
    assert [axes.get_title("left") for axes in (one, two)] == ["(a) one", "(b) two"]
    np.testing.assert_array_equal(one.get_lines()[0].get_xydata(), WAY)
    np.testing.assert_array_equal(two.get_lines()[0].get_xydata(), 2 * WAY)
    same = [matplotlib.colors.to_hex(line.get_color()) for line in (one.get_lines()[1], two.get_lines()[0])]
    assert same[0] == same[1]
    np.testing.assert_array_equal(two.get_lines()[-1].get_xydata(), [[1.0, -1.0]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y", "goal"]


@pytest.mark.parametrize("panels", [[], [PathPanel("one", {})], [PathPanel("one", {"x": WAY[:, 0]})]])
def test_what_cannot_be_drawn_is_refused(panels):
    with pytest.raises(ValueError, match="expected"):
        paths_in_the_plane(panels, np.zeros(2))


@pytest.mark.parametrize(("level", "top"), [(0.4, 0.42), (0.0, 1.05)])
def test_shares_are_drawn_from_0_on_a_linear_scale(level, top):
    values = np.full(3, level)
    figure = curves_in_panels(np.arange(3), {"one": [BandCurve("x", values, values, values)]}, shares=True)
    (axes,) = figure.axes
    assert axes.get_yscale() == "linear"
    bottom, highest = axes.get_ylim()
    assert -0.03 < bottom < 0
    assert highest == pytest.approx(top)
    figure.canvas.draw()
    assert all(label.get_text().endswith("%") for label in axes.get_yticklabels())
