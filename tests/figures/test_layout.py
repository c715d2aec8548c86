"""Figures can be read in print: lines that differ, whole steps, nothing that lies over something else."""

import numpy as np
import pytest

from paramact_jax.figures import BandCurve, curves_in_panels, curves_with_bands
from paramact_jax.figures.colours import style

TITLE = "mean of 3 seeds, without values that are not finite; 95 % interval shaded - SYNTHETIC IMAGES, NOT MNIST"
AT = np.arange(1, 4)


def curves(number):
    return [BandCurve(f"curve {i}", *[1.0 / AT + i] * 3, published=1.0 + i) for i in range(number)]


def test_no_two_curves_of_a_panel_look_alike():
    assert len({str(style(i)) for i in range(40)}) == 40
    assert len({str(style(i)["linestyle"]) for i in range(5)}) == 5


@pytest.mark.parametrize(
    "draw",
    [
        lambda: curves_with_bands(AT, curves(8), title=TITLE),
        lambda: curves_in_panels(AT, {"ReLU": curves(8)}, title=TITLE),
        lambda: curves_in_panels(AT, {"ReLU": curves(5)}, title=TITLE, logarithmic=True),
    ],
    ids=["bands", "panels", "rates"],
)
def test_a_long_title_over_one_panel_is_whole_and_free(draw):
    figure = draw()
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert title.x0 >= 0
    assert title.x1 <= figure.bbox.x1
    for other in (figure.legends[0], *figure.axes, figure.axes[0].yaxis.label):
        assert not title.overlaps(other.get_window_extent())
    assert not figure.legends[0].get_window_extent().overlaps(figure.axes[0].get_window_extent())


@pytest.mark.parametrize("draw", [curves_with_bands, lambda at, found: curves_in_panels(at, {"ReLU": found})])
def test_steps_are_whole_numbers(draw):
    ticks = draw(AT, curves(2)).axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))
