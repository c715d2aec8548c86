"""Axes and points whose values make programs of their own, of any kind."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax import lax

from paramact_jax.sweeps import Training, long_sweep, sweep


def train_one(key, rate, width=4, act=jnp.tanh, momentum=0.0, optimiser="plain"):
    w = jax.random.normal(key, (width,))
    x = jnp.linspace(-1.0, 1.0, 5)

    def loss(w):
        return jnp.mean((act(x[:, None] * w[None]).sum(1) - x) ** 2)

    def step(_, state):
        w, m = state
        m = momentum * m + jax.grad(loss)(w)
        return w - rate * m, m

    w, _ = lax.fori_loop(0, 20, step, (w, jnp.zeros_like(w)))
    return {"loss": loss(w)} | ({"extra": loss(w) + 1} if optimiser == "adam" else {})


def alone(rate, **settings):
    return sweep(functools.partial(train_one, **settings), range(3), rate=rate)["loss"].values


def test_each_value_gives_what_a_sweep_of_it_alone_gives():
    plans = []
    axes = {"width": [2, 6], "act": [jnp.tanh, jax.nn.relu]}
    found = sweep(train_one, range(3), static_axes=axes, axes={"rate": [0.1, 0.2]}, on_plan=plans.append)
    assert found["loss"].dims == ("width", "act", "rate", "seed")
    assert found["width"].values.tolist() == [2, 6]
    assert found["act"].values.tolist() == ["tanh", "relu"]
    assert plans[0].programs == 4
    assert "of 4 programs" in str(plans[0])
    for width in (2, 6):
        for act in (jnp.tanh, jax.nn.relu):
            np.testing.assert_array_equal(
                found["loss"].sel(width=width, act=act.__name__, rate=0.2), alone(0.2, width=width, act=act)
            )


def test_a_value_is_carried_out_in_its_own_form_whatever_stands_beside_it():
    found = sweep(train_one, range(3), static_axes={"width": {"small": 2, "large": 40_000}}, rate=1e-5)
    small = sweep(train_one, range(3), width=2, static_argnames=["width"], rate=1e-5)
    np.testing.assert_array_equal(found["loss"].sel(width="small"), small["loss"])


POINTS = [
    {"rate": 0.1, "optimiser": "adam"},
    {"rate": 0.05, "optimiser": "plain"},
    {"rate": 0.2, "optimiser": "adam"},
    {"rate": 0.1, "optimiser": "plain", "momentum": 0.9},
]


@pytest.mark.parametrize("chunk", [None, 2, 5])
def test_points_may_lack_settings_and_stand_in_the_order_given(chunk):
    plans = []
    found = sweep(train_one, range(3), points=POINTS, chunk=chunk, on_plan=plans.append)
    assert found["loss"].dims == ("point", "seed")
    np.testing.assert_array_equal(found["rate"], [0.1, 0.05, 0.2, 0.1])
    np.testing.assert_array_equal(found["momentum"], [np.nan, np.nan, np.nan, 0.9])
    assert found["optimiser"].values.tolist() == ["adam", "plain", "adam", "plain"]
    assert plans[0].programs == 3
    for i, point in enumerate(POINTS):
        np.testing.assert_array_equal(found["loss"].isel(point=i), alone(**point))
    assert np.isfinite(found["extra"].isel(point=[0, 2])).all()
    assert np.isnan(found["extra"].isel(point=[1, 3])).all()


def test_what_a_frame_lacks_is_a_default():
    wanted = pd.DataFrame([{"rate": 0.1}, {"rate": 0.2, "momentum": 0.9}])
    missing = wanted.assign(momentum=pd.array([None, 0.9], dtype="Float64"), optimiser=[pd.NA, None])
    for frame in (wanted, missing):
        found = sweep(train_one, range(3), points=frame)
        np.testing.assert_array_equal(found["loss"].isel(point=0), alone(0.1))


@pytest.mark.parametrize("of", [dict, pd.DataFrame], ids=["dict", "frame"])
def test_points_by_lists_meet_axes(of):
    points = of({"rate": [0.1, 0.2, 0.3], "width": [8, 4, 8]})
    axes = {"axes": {"momentum": [0.0, 0.5]}, "static_axes": {"act": [jnp.sin]}}
    found = sweep(train_one, range(3), points=points, static_argnames="width", **axes)
    assert found["loss"].dims == ("act", "point", "momentum", "seed")
    np.testing.assert_array_equal(found["width"], [8, 4, 8])
    wanted = alone(0.2, width=4, act=jnp.sin, momentum=0.5)
    np.testing.assert_array_equal(found["loss"].isel(act=0, point=1, momentum=1), wanted)


def test_a_point_may_have_arrays():
    def train_one(key, rates, start):
        return lax.fori_loop(0, 5, lambda _, w: w - rates * w, start + jax.random.normal(key, (3,)))

    rates = np.array([[0.1, 0.2, 0.3], [0.5, 0.0, 0.25]])
    found = sweep(train_one, range(4), points={"rates": rates, "start": [1.0, 2.0]})
    np.testing.assert_array_equal(found["rates"], rates)
    for i in range(2):
        alone = sweep(train_one, range(4), rates=rates[i].astype(np.float32), start=i + 1.0)["result"]
        np.testing.assert_array_equal(found["result"].isel(point=i), alone)


def test_long_sweeps_have_them_too():
    def init(key, size):
        return jax.random.normal(key, (size,))

    def step(state, rate, power=2):
        return state - rate * jax.grad(lambda w: jnp.sum(w**power))(state)

    training = Training(init, step, lambda state: {"norm": jnp.sum(state**2)})
    points = [{"size": 3, "rate": 0.1}, {"size": 2, "rate": 0.2, "power": 4}, {"size": 3, "rate": 0.3}]
    static = ("size", "power")
    found = long_sweep(training, range(4), iterations=10, points=points, static_argnames=static, chunk=3)
    for i, point in enumerate(points):
        rate = point.pop("rate")
        wanted = long_sweep(training, range(4), iterations=10, rate=rate, static_argnames=list(point), **point)
        np.testing.assert_array_equal(found["norm"].isel(point=i), wanted["norm"])


def descent(power, size=2):
    def step(state, rate):
        return state - rate * jax.grad(lambda w: jnp.sum(w**power))(state)

    def momentum(state, rate, decay):
        return step(state, rate) * decay

    own = step if power == 2 else momentum
    return Training(lambda key: jax.random.normal(key, (size,)), own, lambda state: {"norm": jnp.sum(state**2)})


def test_a_function_of_static_settings_makes_the_training():
    options = {"iterations": 5, "rate": 0.1}
    found = long_sweep(descent, range(3), static_axes={"power": [2, 4]}, decay=0.9, **options)
    plain = long_sweep(descent(2), range(3), **options)
    other = long_sweep(descent(4), range(3), decay=0.9, **options)
    np.testing.assert_array_equal(found["norm"].sel(power=2), plain["norm"])
    np.testing.assert_array_equal(found["norm"].sel(power=4), other["norm"])
    sized = long_sweep(descent, range(3), power=2, size=5, static_argnames=("power", "size"), **options)
    np.testing.assert_array_equal(sized["norm"], long_sweep(descent(2, 5), range(3), **options)["norm"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"power": 2},
            "training: expected a static setting for its parameter 'power', got none; pass it in static_axes",
        ),
        ({"static_axes": {"power": [4]}}, "step: expected a value for its parameter 'decay', got none"),
        ({"static_axes": {"power": [2]}, "dekay": 0.9}, "expected axes and settings among the parameters"),
        ({"static_axes": {"power": [2]}, "stop_every": 3}, "stop_every: expected a number of iterations with a"),
    ],
    ids=["traced", "missing", "unknown", "stop"],
)
def test_a_function_that_makes_no_training_is_refused(options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        long_sweep(descent, range(3), iterations=5, rate=0.1, **options)


def test_a_stored_sweep_goes_on_and_refuses_other_points(tmp_path):
    def stop(progress):
        if progress.done >= 6:
            raise KeyboardInterrupt

    wanted = sweep(train_one, range(3), points=POINTS)
    kept = {"directory": tmp_path / "kept", "chunk": 3}
    with pytest.raises(KeyboardInterrupt):
        sweep(train_one, range(3), points=POINTS, on_progress=stop, **kept)
    told = []
    assert sweep(train_one, range(3), points=POINTS, on_progress=told.append, **kept).identical(wanted)
    assert told[0].found == 6
    with pytest.raises(ValueError, match=r"differs in points.momentum"):
        sweep(train_one, range(3), points=[*POINTS[:3], {**POINTS[3], "momentum": 0.8}], **kept)


class Named:
    def __repr__(self):
        return "a\nb"


REFUSED = {
    "twice": ({"static_axes": {"act": [jnp.tanh, jnp.tanh]}}, "static_axes: act: expected each value once, got tanh"),
    "no name": ({"static_axes": {"act": [Named()]}}, "static_axes: act: expected values that have a short name"),
    "lambda": ({"static_axes": {"act": [lambda x: x]}}, "give a dict from a name to each value"),
    "none": ({"static_axes": {"act": []}}, "static_axes: act: expected at least one value, got none"),
    "no list": ({"static_axes": {"width": 8}}, "static_axes: width: expected a list of values, got 8"),
    "no dict": ({"static_axes": [8]}, "static_axes: expected a dict from a parameter's name to its values"),
    "both": (
        {"axes": {"width": [1]}, "static_axes": {"width": [1]}},
        "width: expected an axis in axes or in",
    ),
    "objects": ({"axes": {"act": [jnp.tanh]}}, "pass other things as static_axes"),
    "lengths": ({"points": {"width": [1, 2], "momentum": [0.1]}}, "points: expected lists of equal length"),
    "no points": ({"points": []}, "points: expected at least one point"),
    "empty point": ({"points": [{}]}, "points: expected a dict of settings for each point, got {}"),
    "bare": ({"points": 3}, "points: expected lists by name"),
    "dim": ({"points": {"seed": [1]}}, "points: expected settings of other names than 'seed'"),
    "one name": (
        {"points": [{"act": jnp.sin}, {"act": functools.wraps(jnp.sin)(lambda x: 2 * x)}]},
        "points: act: expected values with different names, got two with the name 'sin'",
    ),
    "lambda of a point": ({"points": [{"act": lambda x: x}]}, "; give functions a __name__ of their own, or pass"),
    "dict of a point": (
        {"points": {"act": {"a": jnp.sin}}},
        "points: act: expected a list of values, got a dict; pass it",
    ),
    "dict of an axis": ({"axes": {"act": {"a": jnp.sin}}}, "axes: act: expected a list of values, got a dict; pass"),
    "number": ({"axes": {1: [1.0]}}, "axes: expected names of parameters, got 1; write the name as a string"),
    "static number": ({"static_axes": {1: [1.0]}}, "static_axes: expected names of parameters, got 1"),
    "table": ({"axes": {"width": np.ones((2, 2))}}, "got array([[1., 1.], [1., 1.]]); pass other things as"),
    "table of points": ({"points": [np.ones((2, 2))]}, "for each point, got array([[1., 1.], [1., 1.]])"),
    "a result": ({"points": {"loss": [1.0]}}, "got 'loss'"),
    "axis and point": (
        {"points": {"act": ["a"]}, "axes": {"act": ["a"]}},
        "act: expected an axis or a",
    ),
    "missing": ({"points": [{"rate": 1.0}, {"width": 2}], "static_argnames": "width"}, "got none at some points"),
    "unknown": ({"points": [{"wodth": 2}]}, "did you mean 'width'?"),
    "static": ({"static_argnames": "widht"}, "static_argnames: expected names of axes"),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_setting_is_refused(options, says):
    given = {} if "missing" in says or "some points" in says else {"rate": 0.1}
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        sweep(train_one, range(3), **given, **options)
    assert "\n" not in str(caught.value)
