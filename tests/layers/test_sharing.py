"""The shape of a parameter, and how it lies against the input."""

import jax.numpy as jnp
import pytest

from paramact_jax.layers import Sharing


@pytest.mark.parametrize(
    ("sharing", "shape", "aligned"),
    [
        (Sharing("node", 3), (3,), (1, 1, 1, 3)),
        (Sharing("node", (3,)), (3,), (1, 1, 1, 3)),
        (Sharing("layer", None), (), (1, 1, 1, 1)),
        (Sharing("layer", (5, 4, 3)), (), (1, 1, 1, 1)),
        (Sharing("channel", 3), (3,), (1, 1, 1, 3)),
        (Sharing("channel", (5, 4, 3)), (3,), (1, 1, 1, 3)),
        (Sharing("channel", 5, -3), (5,), (1, 5, 1, 1)),
        (Sharing("channel", (5, 4, 3), -3), (5,), (1, 5, 1, 1)),
        (Sharing("element", (5, 4, 3)), (5, 4, 3), (1, 5, 4, 3)),
        (Sharing("element", 3), (3,), (1, 1, 1, 3)),
    ],
    ids=str,
)
def test_shapes(sharing, shape, aligned):
    assert sharing.shape == shape
    assert sharing.align(jnp.ones(shape), 4).shape == aligned
    sharing.check_input((2, 5, 4, 3), "test")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Sharing("filter", 3), ValueError, "one of node, layer, channel, element, got 'filter'"),
        (lambda: Sharing("node", None), ValueError, "got none"),
        (lambda: Sharing("node", (4, 3)), ValueError, r"one size, .* got \(4, 3\); .* sharing='element'"),
        (lambda: Sharing("node", 0), ValueError, "1 or more, got 0"),
        (lambda: Sharing("element", ()), ValueError, r"1 or more, got \(\)"),
        (lambda: Sharing("element", (4, 3.0)), TypeError, r"whole number .*got \(4, 3.0\)"),
        (lambda: Sharing("node", True), TypeError, "got True"),
        (lambda: Sharing("channel", (4, 3), -3), ValueError, "from -2 to -1, got -3"),
        (lambda: Sharing("channel", 3, 1), ValueError, "counted from the end, .* got 1"),
        (lambda: Sharing("element", (4, 3), -2), ValueError, "no channel_axis, got -2"),
    ],
)
def test_features_that_do_not_suit_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("sharing", "shape", "message"),
    [
        (
            Sharing("element", (5, 4, 3)),
            (2, 4, 5, 3),
            r"sizes 5, 4, 3, got shape \(2, 4, 5, 3\).* features=\(4, 5, 3\)",
        ),
        (Sharing("element", (5, 4, 3)), (4, 3), r"sizes 5, 4, 3, got shape \(4, 3\); give it these axes"),
        (Sharing("channel", 5, -3), (2, 4, 4, 5), r"axis -3 of size 5, got shape \(2, 4, 4, 5\); .*features=4"),
        (Sharing("channel", 5, -3), (4, 5), r"axis -3 of size 5, got shape \(4, 5\)$"),
        (Sharing("channel", (5, 4, 3)), (2, 1, 1, 3), r"sizes 5, 4, 3, got shape \(2, 1, 1, 3\)"),
        (Sharing("node", 3), (2, 1), r"size 3, got shape \(2, 1\).* features=1"),
    ],
)
def test_inputs_that_would_broadcast_are_refused(sharing, shape, message):
    with pytest.raises(ValueError, match=message):
        sharing.check_input(shape, "test")
