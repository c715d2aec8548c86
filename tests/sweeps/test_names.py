"""Axes of names: each a program of its own, all in one compiled call."""

import enum
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax import lax

from paramact_jax.sweeps import Training, long_sweep, sweep

FUNCTIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sine": jnp.sin}


def train_one(key, activation, rate=0.1, optimiser="plain"):
    """Descent of two numbers; momentum is a result that plain descent has not."""
    w = jax.random.normal(key, (2,))
    slope = jax.grad(lambda w: jnp.sum((FUNCTIONS[activation](w) - 0.3) ** 2))
    if optimiser == "plain":
        w = lax.fori_loop(0, 20, lambda _, w: w - rate * slope(w), w)
        return {"w": w, "steps": jnp.int32(20)}

    def step(_, state):
        w, m = state
        m = 0.9 * m + slope(w)
        return w - rate * m, m

    w, m = lax.fori_loop(0, 20, step, (w, jnp.zeros(2)))
    return {"w": w, "momentum": m, "steps": jnp.int32(20)}


AXES = {"rate": [0.1, 0.2], "activation": ["tanh", "relu"], "optimiser": ["plain", "momentum"]}


@pytest.fixture(scope="module")
def results():
    return sweep(train_one, range(5), axes=AXES)


def test_each_name_gives_what_a_sweep_of_it_alone_gives(results):
    assert results["w"].dims == ("activation", "optimiser", "rate", "seed", "w_dim_0")
    for activation in AXES["activation"]:
        for optimiser in AXES["optimiser"]:
            alone = functools.partial(train_one, activation=activation, optimiser=optimiser)
            wanted = sweep(alone, range(5), axes={"rate": [0.1, 0.2]})
            found = results.sel(activation=activation, optimiser=optimiser)
            for name, x in wanted.items():
                np.testing.assert_array_equal(found[name], x)


def test_what_some_names_lack_is_nan_there(results):
    assert np.isnan(results["momentum"].sel(optimiser="plain")).all()
    assert np.isfinite(results["momentum"].sel(optimiser="momentum")).all()
    assert results["steps"].dtype == np.int32


@pytest.mark.parametrize("chunk", [3, 7, 39])
def test_chunks_do_not_cross_names_and_change_nothing(chunk, results):
    plans = []
    found = sweep(train_one, range(5), axes=AXES, chunk=chunk, on_plan=plans.append)
    assert found.identical(results.assign_attrs(found.attrs))
    assert plans[0].trials_per_call == min(chunk, 10)
    assert plans[0].calls == 4 * -(-10 // chunk)


def test_one_call_holds_them_all():
    plans = []
    sweep(train_one, range(5), axes=AXES, on_plan=plans.append)
    assert (plans[0].calls, plans[0].trials_per_call) == (1, 40)


def test_a_stored_sweep_goes_on_and_refuses_other_names(tmp_path, results):
    def stop(progress):
        if progress.done >= 20:
            raise KeyboardInterrupt

    options = {"axes": AXES, "chunk": 5, "directory": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        sweep(train_one, range(5), on_progress=stop, **options)
    plans = []
    found = sweep(train_one, range(5), on_plan=plans.append, **options)
    assert plans[0].remaining == 20
    assert found.identical(results.assign_attrs(found.attrs))
    with pytest.raises(ValueError, match=r"axes.activation|activation"):
        sweep(train_one, range(5), **options | {"axes": AXES | {"activation": ["tanh", "sine"]}})


def of_shape(key, which):
    return {"x": jnp.zeros(2 if which == "short" else 3)}


def of_kind(key, which):
    return {"x": jnp.zeros(2), **({} if which == "short" else {"count": jnp.int32(1)})}


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (of_shape, r"results: x: expected one shape and dtype at all values of static settings, got float32\[2\] and"),
        (of_kind, "results: count: expected floating-point numbers, as NaN fills the gaps"),
    ],
)
def test_results_that_do_not_fit_together_are_refused(fn, says):
    with pytest.raises(ValueError, match=says) as caught:
        sweep(fn, range(2), axes={"which": ["short", "long"]})
    assert "\n" not in str(caught.value)


class Function(str, enum.Enum):  # noqa: UP042  # its `str` is not the string
    TANH = "tanh"
    RELU = "relu"


@pytest.mark.parametrize(
    "names", [list(Function), np.array(["tanh", "relu"]), pd.Series(["tanh", "relu"])], ids=["enum", "array", "series"]
)
def test_strings_of_all_kinds(names, results):
    found = sweep(train_one, range(5), axes=AXES | {"activation": names})
    assert found["activation"].values.tolist() == ["tanh", "relu"]
    assert found.identical(results)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("relu", "axes: activation: expected a list of strings, got 'relu'; put it in a list"),
        ([], "axes: activation: expected at least one value, got none"),
        (np.array([], dtype=str), "axes: activation: expected at least one value, got none"),
        (["relu", "relu"], "axes: activation: expected each value once, got relu"),
        (["relu\0", "tanh"], "axes: activation: expected strings without a zero at the end"),
        (["relu", None], "axes: activation: expected a list of real numbers, or one of strings"),
    ],
    ids=["bare", "empty", "empty array", "twice", "zero", "mixed"],
)
def test_names_that_are_none_are_refused(names, says):
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        sweep(train_one, range(5), axes={"activation": names})
    assert "\n" not in str(caught.value)


def training(observed=True):
    """A state of another tree for each optimiser; only one of them has something more to observe."""

    def init(key, optimiser):
        w = jax.random.normal(key, (2,))
        return {"w": w} if optimiser == "plain" else {"w": w, "m": jnp.zeros(2)}

    def step(state, optimiser, rate):
        gradient = 2 * (state["w"] - 1)
        if optimiser == "plain":
            return {"w": state["w"] - rate * gradient}
        m = 0.9 * state["m"] + gradient
        return {"w": state["w"] - rate * m, "m": m}

    def observe(state):
        return {f"{name} on the way": x for name, x in state.items()}

    return Training(init, step, lambda state: {"w": state["w"]}, observe if observed else None)


def test_long_sweeps_have_states_of_their_own_for_each_name():
    options = {"axes": {"optimiser": ["plain", "momentum"]}, "iterations": 40, "rate": 0.1}
    found = long_sweep(training(), range(4), observe_every=10, **options)
    moments = found["m on the way"]
    assert moments.dims[:3] == ("optimiser", "seed", "iteration")
    assert np.isnan(moments.sel(optimiser="plain")).all()
    assert np.isfinite(moments.sel(optimiser="momentum")).all()
    np.testing.assert_array_equal(found["w on the way"].sel(iteration=40), found["w"])


def test_a_long_sweep_of_names_goes_on_where_it_was(tmp_path):
    options = {"axes": {"optimiser": ["plain", "momentum"]}, "iterations": 40, "iterations_per_call": 10, "rate": 0.1}
    wanted = long_sweep(training(observed=False), range(4), **options)

    def stop(progress):
        if progress.done >= 20 * 8:
            raise KeyboardInterrupt

    kept = {"directory": tmp_path / "kept", "seconds_between_saves": 0}
    with pytest.raises(KeyboardInterrupt):
        long_sweep(training(observed=False), range(4), on_progress=stop, **options, **kept)
    told = []
    found = long_sweep(training(observed=False), range(4), on_progress=told.append, **options, **kept)
    assert told[0].found == 20 * 8
    assert found.identical(wanted)
