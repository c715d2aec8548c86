import math

import numpy as np
import pytest

from paramact_jax.figures import GridMap, Ranking, likelihood_search

GRID = GridMap(
    log_likelihood=np.array([[-20.5, -120.0, -21.5], [-20.5 - 4e3, -45.0, -30.0]]),
    rows=["fan-in", "normal"],
    columns=["1/8", "1/4", "1/2"],
    row_title="weights",
    column_title="gradient",
    marks={(0, 2): "recovered"},
)
RANKING = Ranking(
    cells=["first", "second"],
    counts=["Tanh", "P. ReLU"],
    converged=np.array([[600, 0], [120, 3]]),
    trials=np.array([[1000, 1000], [200, 200]]),
    published=np.array([628, 0]),
    published_trials=np.array([1000, 1000]),
)


def texts(axes):
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}


def test_the_map_shows_the_deficit_and_frames_the_marked_cell():
    left = likelihood_search(GRID, RANKING).axes[0]
    np.testing.assert_allclose(left.images[0].get_array(), [[0, 99.5, 1], [4000, 24.5, 9.5]])
    numbers = [t.get_text() for t in left.texts[:6]]
    assert numbers == ["0.0", "99.5", "1.0", "4000", "24.5", "9.5"]
    assert left.texts[6].get_text() == "recovered"
    (frame,) = left.patches
    assert frame.get_xy() == (1.5, -0.5)
    assert [label.get_text() for label in left.get_xticklabels()] == ["1/8", "1/4", "1/2"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["fan-in", "normal"]


def test_the_counts_are_per_1000_below_the_published():
    right = likelihood_search(GRID, RANKING).axes[1]
    assert texts(right) == {(0, 0): "628", (0, 1): "0", (1, 0): "600", (1, 1): "0", (2, 0): "600", (2, 1): "15"}
    assert [label.get_text() for label in right.get_yticklabels()] == ["published", "first", "second"]
    colours = np.asarray(right.images[0].get_array())
    np.testing.assert_array_equal(colours[0], 0)
    np.testing.assert_array_equal(colours[1:], RANKING.deviations())


def test_deviations_are_in_standard_errors():
    z = RANKING.deviations()
    pooled = (600 + 628) / 2000
    assert z[0, 0] == pytest.approx(-0.028 / math.sqrt(pooled * (1 - pooled) * 2 / 1000))
    assert z[0, 1] == 0
    assert z[1, 1] > 3  # 3 of 200 where none of 1,000 was published


def test_equal_cells_can_be_drawn():
    figure = likelihood_search(GridMap(np.zeros((1, 1)), ["r"], ["c"], "rows", "columns"), RANKING)
    figure.canvas.draw()
    assert figure.axes[0].texts[0].get_text() == "0.0"


@pytest.mark.parametrize(
    ("values", "rows"), [(np.zeros((2, 2)), ["a", "b"]), (np.zeros((2, 3)), ["a"]), (np.zeros((0, 3)), [])]
)
def test_what_does_not_fit_is_refused(values, rows):
    grid = GridMap(values, rows, ["1", "2", "3"], "rows", "columns")
    with pytest.raises(ValueError, match=r"expected the map of shape .*, got"):
        likelihood_search(grid, RANKING)
