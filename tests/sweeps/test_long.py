import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.sweeps import Training, long_sweep, sweep


def init(key):
    start, key = jax.random.split(key)
    return {"key": key, "x": jax.random.uniform(start, (3,)), "count": 0, "highest": -jnp.inf}


def step(state, rate):
    """A chaotic map with noise: one rounding apart is another orbit, so equal results mean equal arithmetic."""
    noise, key = jax.random.split(state["key"])
    x = rate * state["x"] * (1 - state["x"]) + 1e-3 * jax.random.uniform(noise)
    return {"key": key, "x": x, "count": state["count"] + 1, "highest": jnp.maximum(state["highest"], x.max())}


def summarise(state, rate):
    return {"x": state["x"], "count": state["count"], "scaled": state["highest"] * rate, "key": state["key"]}


NOISY = Training(init, step, summarise)
RATES = {"rate": [3.7, 3.9]}


def whole(key, rate, iterations):
    return summarise(jax.lax.fori_loop(0, iterations, lambda _, state: step(state, rate), init(key)), rate)


def test_a_long_sweep_is_its_steps_one_after_another():
    results = long_sweep(NOISY, range(50), iterations=40, axes=RATES)
    expected = sweep(whole, range(50), axes=RATES, iterations=40)
    assert dict(results.sizes) == {"rate": 2, "seed": 50, "x_dim_0": 3, "key_dim_0": 2}
    assert (results["count"] == 40).all()
    np.testing.assert_array_equal(results["key"], expected["key"])
    np.testing.assert_allclose(results["x"], expected["x"], atol=0.05)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("chunk", "per_call"), [(None, 7), (64, 300), (100, 100), (100, 1000)])
def test_neither_calls_nor_chunks_change_the_results(fused, chunk, per_call):
    options = {"seeds": range(100), "iterations": 300, "axes": RATES, "fused": fused}
    expected = long_sweep(NOISY, **options)
    assert len(np.unique(expected["x"])) > 500
    assert long_sweep(NOISY, **options, chunk=chunk, iterations_per_call=per_call).identical(expected)


def test_progress_counts_iterations_of_all_trials():
    seen = []
    long_sweep(NOISY, range(60), iterations=10, axes=RATES, chunk=80, iterations_per_call=4, on_progress=seen.append)
    assert [p.done for p in seen] == [320, 640, 800, 960, 1120, 1200]
    assert {p.total for p in seen} == {1200}
    assert seen[0].seconds_left > 0
    assert seen[-1].seconds_left == 0


def test_no_iterations_summarise_the_start():
    results = long_sweep(NOISY, range(3), iterations=0, rate=3.7)
    assert (results["count"] == 0).all()
    assert (results["scaled"] == -np.inf).all()


def test_other_values_and_iterations_do_not_compile_again(compiled):
    training = dataclasses.replace(NOISY, step=lambda state, rate: step(state, rate) | {"count": state["count"] + 3})
    long_sweep(training, range(10), iterations=5, rate=3.7)
    assert compiled() > 0
    assert (long_sweep(training, range(10), iterations=70, rate=3.8)["count"] == 210).all()
    assert compiled() == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"step": lambda state: state | {"x": state["x"][:2]}},
            r"got state\['x'\]: float32\[2\] instead of float32\[3\]",
        ),
        ({"step": lambda state: state | {"new": 1}}, r"got state\['new'\]: int32\[\] instead of nothing"),
        (
            {"step": lambda state: {k: x for k, x in state.items() if k != "key"}},
            r"got state\['key'\]: nothing instead of uint32\[2\]",
        ),
        ({"step": lambda state: state | {"count": 1.0}}, r"got state\['count'\]: float32\[\] instead of int32\[\]"),
        (
            {"init": lambda key: [key], "step": lambda state: (*state,), "summarise": lambda state: state[0]},
            r"got PyTreeDef\(\(.*,\)\) instead of PyTreeDef\(\[.*\]\); return the same tree",
        ),
        ({"init": lambda key: {"name": "x"}}, r"state\['name'\]: expected an array, got 'x'"),
        ({"summarise": lambda state: {"seed": 1}}, "expected names that are not dims"),
        ({"summarise": lambda state, rote: 1}, "summarise: expected a value for its parameter 'rote'"),
        ({}, "init, step, summarise: expected axes and settings among the parameters"),
    ],
)
def test_functions_that_do_not_fit_are_refused_in_one_line(changes, says):
    fitting = Training(init, lambda state: state, lambda state: state["x"])
    settings = {} if changes else {"ratio": 1.0}
    with pytest.raises(ValueError, match=says) as caught:
        long_sweep(dataclasses.replace(fitting, **changes), range(3), iterations=5, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"iterations": -1}, "iterations: expected an integer >= 0, got -1"),
        ({"iterations": 1.5}, "iterations: expected an integer >= 0, got 1.5"),
        ({"iterations": 2**31}, "iterations: expected at most"),
        ({"iterations": 5, "iterations_per_call": 0}, "iterations_per_call: expected an integer >= 1"),
        ({"iterations": 5, "chunk": 0}, "chunk: expected an integer >= 1"),
    ],
)
def test_impossible_numbers_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        long_sweep(NOISY, range(3), rate=3.7, **options)


def test_a_state_may_begin_with_constants():
    training = Training(
        init=lambda key: {"w": jax.random.normal(key), "done": jnp.array(False), "least": jnp.inf},
        step=lambda state: {
            "w": state["w"] * 0.5,
            "done": state["done"] | (abs(state["w"]) < 0.1),
            "least": jnp.minimum(state["least"], state["w"]),
        },
        summarise=dict,
    )
    results = long_sweep(training, range(3), iterations=9)
    assert results["done"].values.all()
    assert np.isfinite(results["least"]).all()
