"""The figures about gradients: what is drawn is what the records say."""

import numpy as np
import pytest

from paramact_jax.figures import (
    DepthCurve,
    FactorHistory,
    Moves,
    factor_panels,
    gradient_against_depth,
    layer_histograms,
    moves_per_layer,
    moves_together,
    trajectories,
)

ITERATIONS = np.arange(0, 100, 10)


def network(label, layers=10, nodes=2):
    random = np.random.default_rng(len(label))
    slopes = [random.random((10, 4, nodes)) for _ in range(layers)]
    linear = [random.random((10, nodes, nodes)) for _ in range(layers - 1)] + [random.random((10, 1, nodes))]
    return FactorHistory(label, slopes, linear)


def test_twenty_panels_in_the_order_of_the_chain_rule():
    sigmoid, ppns = network("Sigmoid"), network("PPNS!")
    figure = factor_panels(ITERATIONS, [sigmoid, ppns], until=50)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == 20
    assert titles[0] == r"(a) $\partial z^{(2)}/\partial y^{(1)}$"
    assert titles[-1] == r"(t) $\partial y^{(out)}/\partial z^{(out)}$"
    slopes, zeros = figure.axes[2].lines[:8], figure.axes[2].lines[8]
    drawn = np.stack([line.get_ydata() for line in slopes], axis=1)
    np.testing.assert_array_equal(drawn, sigmoid.slopes[1][:6].reshape(6, 8))
    assert not np.any(zeros.get_ydata())
    of_ppns = figure.axes[-1].lines[2:4]
    np.testing.assert_array_equal(np.stack([line.get_ydata() for line in of_ppns], 1), ppns.linear[-1][:6, 0])
    assert slopes[0].get_color() != of_ppns[0].get_color()


@pytest.mark.parametrize("networks", [[], [network("a", 3), network("b", 4)]])
def test_factors_of_unequal_networks_are_refused(networks):
    with pytest.raises(ValueError, match="expected networks with one number of hidden layers, got"):
        factor_panels(ITERATIONS, networks)


def test_trajectories_draw_every_curve_up_to_the_end():
    values = np.linspace(1, 0, 10)
    figure = trajectories(ITERATIONS, {"loss": {"A": values, "B": 2 * values}, "slope": {"A": -values}}, until=30)
    loss, slope = figure.axes
    assert loss.get_xlim() == (0, 30)
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), 2 * values[:4])
    assert slope.get_ylabel() == "slope"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B"]
    with pytest.raises(ValueError, match="expected 10 values of loss, got 9"):
        trajectories(ITERATIONS, {"loss": {"A": values[1:]}})
    with pytest.raises(ValueError, match="at least one panel"):
        trajectories(ITERATIONS, {})


def moves(layer, way):
    before = np.array([[6.0, 0.0], [6.0, 0.0]])
    return Moves(layer, before, before + np.array([[way, 0.0], [0.0, -way / 2]]))


def test_moves_per_layer_say_how_far():
    layers = [moves(f"layer {i}", i / 10) for i in range(1, 8)]
    assert layers[3].longest == pytest.approx(0.4)
    figure = moves_per_layer({"Sigmoid": layers, "PPNS": layers[:1]}, names=("a", "b"))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [*(f"layer {i}: {i / 10:.2g}" for i in range(1, 8)), "layer 1: 0.1"]
    before, after = figure.axes[0].lines[-2:]
    np.testing.assert_allclose(after.get_xdata(), [6.1, 6.0])
    np.testing.assert_array_equal(before.get_xdata(), [6.0, 6.0])


def test_moves_together_name_the_farthest():
    figure = moves_together([moves("layer 1", 0.1), moves("layer 2", 0.3)], names=("a", "b"), published=(6.046, -0.155))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["layer 2, node 1: (6.300, 0.000)"]
    assert "[P]: (6.046, -0.155)" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    "draw", [lambda: moves_per_layer({}, names=("a", "b")), lambda: moves_together([], names=("a", "b"))]
)
def test_nothing_to_move_is_refused(draw):
    with pytest.raises(ValueError, match="got none"):
        draw()


def test_depth_curves_with_prediction():
    depths = np.arange(1, 4)
    curve = DepthCurve("tanh", -depths * 1.0, -depths - 0.1, -depths + 0.1, -depths * 1.05)
    figure = gradient_against_depth(depths, {"gain 1": [curve], "gain 2": [curve, curve]})
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("gain 1", "gain 2")
    np.testing.assert_array_equal(first.lines[0].get_ydata(), curve.measured)
    np.testing.assert_array_equal(first.lines[1].get_ydata(), curve.predicted)
    assert len(second.collections) == 2
    with pytest.raises(ValueError, match="at least one panel with a curve"):
        gradient_against_depth(depths, {"gain 1": []})


def test_histograms_say_what_lies_outside():
    counts = np.zeros((3, 6))
    counts[:, 1:4], counts[1, 0], counts[2, 5] = [[1, 2, 1], [1, 1, 1], [4, 0, 0]], 1, 1
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    figure = layer_histograms(edges, {"before": counts, "after": counts})
    assert len(figure.axes) == 6
    np.testing.assert_allclose(figure.axes[0].patches[0].get_data().values, [0.25, 0.5, 0.25])
    assert [axes.get_title(loc="right") for axes in figure.axes[:3]] == ["", "0.25 outside", "0.2 outside"]
    for networks in ({}, {"a": counts, "b": counts[:2]}, {"a": counts[:, 1:]}):
        with pytest.raises(ValueError, match=r"counts of shape \(layers, 6\)"):
            layer_histograms(edges, networks)
