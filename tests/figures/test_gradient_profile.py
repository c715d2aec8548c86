"""The profile of a gradient: the bars add up to the curve, and nothing is left out in silence."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import pytest
from flax import nnx

from paramact_jax.figures import gradient_profile
from paramact_jax.figures.profile import KIND_COLOURS
from paramact_jax.gradients import Kind, attribute

X = jax.random.normal(jax.random.key(0), (4, 3))


def net(params, x, activation=jnp.tanh):
    for kernel in params:
        x = x + activation(x @ kernel)
    return x


def kernels(key, count=3):
    return list(jax.random.normal(key, (count, 3, 3)))


def found_for(key, activation=jnp.tanh, count=3):
    return attribute(lambda params, x: net(params, x, activation), kernels(key, count), X, loss=jnp.sum)


@pytest.fixture(scope="module")
def single():
    return found_for(jax.random.key(1))


@pytest.fixture(scope="module")
def batch():
    return jax.vmap(found_for)(jax.random.split(jax.random.key(2), 5))


@pytest.fixture(scope="module")
def many_points():
    def deep(params, x):
        return jax.lax.scan(lambda x, kernel: (net([kernel], x), None), x, params)[0]

    return attribute(deep, jnp.stack(kernels(jax.random.key(3), 40)), X, loss=jnp.sum)


@pytest.fixture(scope="module")
def recurrent():
    def cell(params, xs):
        step = lambda h, x: (jnp.tanh(h @ params["w"] + x), h)  # noqa: E731
        return jax.lax.scan(step, jnp.zeros((4, 3)), xs)[0]

    return attribute(cell, {"w": 0.3 * jnp.eye(3)}, jnp.stack(6 * [X]), loss=jnp.sum)


def heights(axes):
    """Sum of the bars in each gap between neighbouring points."""
    found = {}
    for bar in axes.patches:
        gap = round(bar.get_x() + bar.get_width() / 2 - 0.5)
        found[gap] = found.get(gap, 0.0) + bar.get_height()
    return np.array([found[gap] for gap in sorted(found)])


def texts(figure):
    return [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]


def crosses(axes):
    return [int(2 * x) for line in axes.lines if line.get_marker() == "X" for x in line.get_xdata()]


def test_bars_add_up_to_the_curve(single):
    curves, bars = gradient_profile(single).axes
    log_norm = np.asarray(single.log_norm) / np.log(10)
    np.testing.assert_allclose(curves.lines[0].get_ydata(), log_norm, rtol=1e-6)
    np.testing.assert_allclose(heights(bars), log_norm[:-1] - log_norm[1:], atol=1e-5)
    total = f"{log_norm[0] - log_norm[-1]:+.1f} decades"
    assert bars.get_title(loc="left").replace("\N{MINUS SIGN}", "-").startswith(total)


def test_each_kind_has_its_colour_and_its_own_change(single):
    figure = gradient_profile(single)
    expected = {str(kind): float(share) / np.log(10) for kind, share in single.by_kind().items()}
    assert expected.keys() == set(texts(figure)) - {"all together"}
    for container in figure.axes[1].containers:
        kind = Kind(container.get_label())
        assert sum(bar.get_height() for bar in container) == pytest.approx(expected[kind], abs=1e-5)
        assert matplotlib.colors.to_hex(container[0].get_facecolor()) == KIND_COLOURS[kind]


def test_every_kind_has_a_colour_of_its_own():
    assert set(KIND_COLOURS) == set(Kind)
    assert len(set(KIND_COLOURS.values())) == len(Kind)


def test_points_are_named_by_modules():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, x):
            return jnp.tanh(nnx.relu(self.linear(x)))

    model = nnx.Sequential(*(Block(nnx.Rngs(i)) for i in range(2)))
    figure = gradient_profile(attribute(model, X, loss=jnp.sum))
    labels = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    blocks = [[f"layers.{i}.linear", f"layers.{i}", "tanh"] for i in range(2)]
    assert labels == ["inputs", *itertools.chain(*blocks)]


def test_of_many_points_some_are_named_the_ends_among_them(many_points):
    axes = gradient_profile(many_points).axes[-1]
    at = axes.get_xticks()
    assert 20 <= len(at) <= 31
    assert min(np.diff(at)) >= 2
    assert (at[0], at[-1]) == (0, len(many_points.points) - 1)
    assert axes.get_xticklabels()[1].get_text() == f"step {at[1] - 1}"


def test_zeros_are_marked_with_what_makes_them():
    params = kernels(jax.random.key(4))
    dead = lambda params, x: jax.nn.relu(net(params, x) @ params[0] - 100.0) @ params[1]  # noqa: E731
    found = attribute(dead, params, X, loss=jnp.sum)
    zero = np.flatnonzero(np.isneginf(found.log_norm))
    assert 0 < len(zero) < len(found.points)
    figure = gradient_profile(found)
    curves, bars = figure.axes
    assert crosses(curves) == [2 * i for i in zero]
    assert crosses(bars) == [2 * zero[-1] + 1]
    (mark,) = [line for line in bars.lines if line.get_marker() == "X"]
    assert mark.get_color() == KIND_COLOURS[Kind.ACTIVATION]
    assert {"exactly 0", "makes it exactly 0"} <= set(texts(figure))
    assert bars.get_title(loc="left") == "exactly 0 at the inputs"


def test_what_is_not_finite_is_marked(single):
    broken = dataclasses.replace(single, log_norm=single.log_norm.at[:2].set(jnp.array([jnp.nan, jnp.inf])))
    figure = gradient_profile(broken)
    (mark,) = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    np.testing.assert_array_equal(mark.get_xdata(), [0, 1])
    assert "not finite" in texts(figure)
    figure.draw_without_rendering()


def test_of_many_networks_median_quartiles_and_mean_changes(batch):
    curves, bars = gradient_profile(batch).axes
    log_norm = np.asarray(batch.log_norm) / np.log(10)
    low, middle, high = np.quantile(log_norm, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose(curves.lines[0].get_ydata(), middle, rtol=1e-6)
    corners = curves.collections[0].get_paths()[0].vertices
    for i in range(len(middle)):
        at = corners[corners[:, 0] == i, 1]
        np.testing.assert_allclose([at.min(), at.max()], [low[i], high[i]], rtol=1e-6)
    np.testing.assert_allclose(heights(bars), (log_norm[:, :-1] - log_norm[:, 1:]).mean(axis=0), atol=1e-5)
    assert bars.get_title(loc="left").endswith("median of 5 networks")


def test_quartiles_between_zero_and_a_number_are_zero(batch):
    some = dataclasses.replace(batch, log_norm=batch.log_norm.at[:2, 0].set(-jnp.inf).at[:4, 1].set(-jnp.inf))
    curves = gradient_profile(some).axes[0]
    middle = curves.lines[0].get_ydata()
    assert np.isfinite(middle).tolist() == [True, False, True, True]
    assert crosses(curves) == [0, 2]


def test_states_of_a_scan_have_a_line_of_their_own(recurrent):
    figure = gradient_profile(recurrent)
    on_all = np.array([point.on_all_paths for point in recurrent.points])
    log_norm = np.asarray(recurrent.log_norm) / np.log(10)
    path, states = figure.axes[0].lines[:2]
    np.testing.assert_array_equal(path.get_xdata(), np.flatnonzero(on_all))
    np.testing.assert_array_equal(states.get_xdata(), np.flatnonzero(~on_all))
    np.testing.assert_allclose(states.get_ydata(), log_norm[~on_all], rtol=1e-6)
    assert states.get_linewidth() < path.get_linewidth()
    ends = np.flatnonzero(on_all)
    between = [heights(figure.axes[1])[i:j].sum() for i, j in itertools.pairwise(ends)]
    np.testing.assert_allclose(between, log_norm[ends][:-1] - log_norm[ends][1:], atol=1e-5)
    last = [f for f in recurrent.operations if f.step == (5,) and f.kind is Kind.ACTIVATION]
    assert len(last) == 1
    share = float(recurrent.share[recurrent.operations.index(last[0])]) / np.log(10)
    activation = next(c for c in figure.axes[1].containers if c.get_label() == "activation")
    assert activation[int(np.flatnonzero(~on_all)[-1])].get_height() == pytest.approx(share, abs=1e-6)
    assert "states of a scan" in texts(figure)


def test_several_have_a_curve_and_bars_each_on_equal_scales(single):
    other = found_for(jax.random.key(1), jax.nn.sigmoid)
    figure = gradient_profile({"tanh": single, "sigmoid": other}, title="three blocks")
    curves, first, second = figure.axes
    assert [line.get_label() for line in curves.lines] == ["tanh", "sigmoid"]
    np.testing.assert_allclose(curves.lines[1].get_ydata(), np.asarray(other.log_norm) / np.log(10), rtol=1e-6)
    np.testing.assert_allclose(heights(second).sum(), float(other.total) / np.log(10), atol=1e-5)
    assert first.get_title(loc="left").startswith("tanh: ")
    assert first.get_ylim() == second.get_ylim()
    assert len(gradient_profile({"tanh": single, "sigmoid": other}, bars=False).axes) == 1
    assert figure.get_suptitle() == "three blocks"


def test_names_do_not_overlap_and_lie_within_the_figure(many_points):
    figure = gradient_profile(many_points)
    figure.draw_without_rendering()
    boxes = [tick.get_window_extent() for tick in figure.axes[-1].get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))
    legends = [axes.get_legend().get_window_extent() for axes in figure.axes if axes.get_legend()]
    assert all(min(box.x0, box.y0) >= 0 and box.x1 <= figure.bbox.x1 for box in boxes + legends)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda found: {}, ValueError, "expected at least one attribution, got none"),
        (lambda found: found.log_norm, TypeError, "expected a result of paramact_jax.gradients.attribute, got Array"),
        (lambda found: {"a": found, "b": 1}, TypeError, "attribute for 'b', got int"),
        (
            lambda found: {"a": found, "b": found_for(jax.random.key(1), count=2)},
            ValueError,
            "with the same points, got 4 for 'a', 3 for 'b'",
        ),
        (lambda found: jax.tree.map(lambda x: x[None][:0], found), ValueError, r"numbers of shape \(0, 4\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(single, make, error, message):
    with pytest.raises(error, match=message) as raised:
        gradient_profile(make(single))
    assert "\n" not in str(raised.value)


def test_traced_numbers_are_refused(single):
    with pytest.raises(TypeError, match="got values that JAX is tracing"):
        jax.jit(lambda found: gradient_profile(found) and 0)(single)
