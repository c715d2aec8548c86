"""Trials that failed: why, and how only they run again."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from paramact_jax.sweeps import Training, failed, long_sweep, merge, read, reasons, sweep


def train_one(key, rate, kind="plain"):
    w = jax.random.normal(key, ())
    w = jax.lax.fori_loop(0, 300, lambda _, w: w - rate * w * (1 + w**2), w)
    return {"w": w, "steps": jnp.int32(300), **({"extra": jnp.log(w - w)} if kind == "log" else {})}


def test_reasons_name_the_first_variable_and_what_it_is():
    found = sweep(lambda key, x: {"root": jnp.sqrt(x), "inverse": 1 / x, "n": 3}, [0, 1], axes={"x": [1.0, -1.0, 0.0]})
    assert reasons(found).isel(seed=0).values.tolist() == ["", "root is nan", "inverse is infinite"]
    assert found.failed.isel(seed=1).values.tolist() == [False, True, True]
    assert failed(found, ["root"]).isel(seed=0).values.tolist() == [False, True, False]
    assert reasons(found).dims == ("x", "seed")
    with pytest.raises(ValueError, match="of: expected names among inverse, n, root, got 'loss'"):
        failed(found, ["loss"])


def test_arrays_fail_with_one_element():
    found = sweep(lambda key, x: jnp.log(jnp.arange(2.0) + x), [0], axes={"x": [0.0, 1.0]})
    assert reasons(found).values.tolist() == [["result is infinite"], [""]]


@pytest.mark.parametrize("points", [False, True], ids=["axis", "points"])
def test_what_a_static_setting_lacks_does_not_count(points):
    if points:
        settings = {"points": [{"kind": "log"}, {"kind": "plain"}, {"kind": "other"}]}
    else:
        settings = {"static_axes": {"kind": ["log", "plain", "other"]}}
    found = sweep(train_one, range(2), rate=0.1, **settings)
    assert reasons(found).isel(seed=0).values.tolist() == ["extra is infinite", "", ""]
    chosen = found.isel({"point" if points else "kind": [2, 0]})
    assert chosen.failed.isel(seed=0).values.tolist() == [False, True]


def test_a_long_sweep_tells_when_it_began():
    training = Training(
        init=lambda key: jnp.float32(1.0),
        step=lambda state, rate: state * rate,
        summarise=lambda state: {"last": state},
        observe=lambda state: {"state": state},
    )
    found = long_sweep(training, range(2), iterations=60, observe_every=20, axes={"rate": [1.0, 10.0]})
    assert reasons(found).isel(seed=0).values.tolist() == ["", "state is infinite from iteration 40"]


def checking(key, start, kind="check"):
    def step(i, w):
        if kind == "check":
            checkify.check(w < 100, "w is {w} at {i}", w=w, i=i)
        return w * 2

    return {"w": jax.lax.fori_loop(0, 5, step, start + 0 * jax.random.normal(key, ()))}


@pytest.mark.parametrize("fused", [None, False])
def test_checks_within_a_trial_are_told_for_each_trial(fused, tmp_path):
    axes = {"axes": {"start": [1.0, 50.0, 200.0]}, "static_axes": {"kind": ["check", "none"]}}
    found = sweep(checking, range(2), fused=fused, directory=tmp_path, chunk=2, **axes)
    wanted = ["", "w is 100.0 at 1", "w is 200.0 at 0"]
    assert reasons(found).isel(seed=1).sel(kind="check").values.tolist() == wanted
    assert found["error"].isel(seed=1).sel(kind="none").values.tolist() == ["", "", ""]
    assert found["w"].isel(seed=0).values.tolist() == [[32.0, 1600.0, 6400.0]] * 2
    assert read(tmp_path).identical(found)
    assert sweep(checking, range(2), fused=fused, directory=tmp_path, on_plan=pytest.fail, **axes).identical(found)
    again = sweep(lambda key, start, kind: checking(key, 1 + 0 * start, kind), range(2), keep=found, **axes)
    assert not again.failed.any()


def test_checks_in_a_step_are_told_wherever_the_sweep_was_interrupted(tmp_path):
    def step(state, rate, iteration):
        checkify.check(state < 1000, "the state is {x} at {i}", x=state, i=iteration)
        return state * rate

    def stop(progress):
        if progress.done >= 4 * 20:
            raise KeyboardInterrupt

    training = Training(lambda key: jnp.float32(1.0), step, lambda state: {"last": state})
    options = {"axes": {"rate": [1.0, 2.0]}, "iterations": 40, "iterations_per_call": 5}
    found = long_sweep(training, range(2), **options)
    assert reasons(found).isel(seed=0).values.tolist() == ["", "the state is 1024.0 at 10"]
    assert (found["last"].sel(rate=2.0) == 2.0**40).all()
    with pytest.raises(KeyboardInterrupt):
        long_sweep(training, range(2), directory=tmp_path, seconds_between_saves=0, on_progress=stop, **options)
    assert long_sweep(training, range(2), directory=tmp_path, **options).identical(found)
    assert read(tmp_path).identical(found)

    def summarise(state):
        checkify.check(state < 1000, "too large")
        return {"last": state}

    with pytest.raises(ValueError, match=r"summarise: expected checkify.check in the step only, got one here"):
        long_sweep(Training(lambda key: jnp.float32(1.0), lambda state: state, summarise), range(2), iterations=1)


def test_an_error_says_at_which_choice_it_came():
    def one(key, width):
        return jnp.ones(3) @ jnp.ones(width)

    with pytest.raises(TypeError) as caught:
        sweep(one, range(2), static_axes={"width": [3, 4]})
    assert caught.value.__notes__[-1] == "The trial was traced at width=4."


def test_only_failed_trials_run_again(tmp_path):
    axes = {"axes": {"rate": [0.1, 1.0]}, "static_axes": {"kind": ["plain", "other"]}}
    first = sweep(train_one, range(20), **axes)
    assert 0 < first.failed.sum() < first.failed.size

    def gentler(key, rate, kind, factor):
        return train_one(key, rate * factor, kind)

    plans = []
    options = {"factor": 0.1, "keep": first, "on_plan": plans.append, **axes}
    found = sweep(gentler, range(20), directory=tmp_path / "kept", chunk=7, **options)
    wanted = sweep(gentler, range(20), factor=0.1, **axes)
    np.testing.assert_array_equal(found["w"], first["w"].where(~first.failed, wanted["w"]))
    assert found["steps"].dtype == np.int32
    assert not found.failed.any()
    assert (plans[0].trials, plans[0].remaining) == (80, int(first.failed.sum()))
    for task in range(3):
        sweep(gentler, range(20), part=(task, 3), directory=tmp_path / "tasks", **options)
    assert not merge(tmp_path / "tasks").failed.any()
    with pytest.raises(ValueError, match="differs in keep: "):
        sweep(gentler, range(20), directory=tmp_path / "kept", **(options | {"keep": first.where(first["w"] > 0)}))


REFUSED = {
    "points": (lambda first: first.assign_coords(rate=[0.2, 0.1]), "the 2 values of 'rate', got 2 other values"),
    "seeds": (lambda first: first.isel(seed=slice(2)), "the 3 values of 'seed', got 2 other values"),
    "axes": (lambda first: first.assign_coords(rate=[0.1, 0.3]), "the 2 values of 'rate', got 2 other values"),
    "results": (lambda first: first[["w"]], "keep: expected the results steps, w, got w"),
    "array": (lambda first: first["w"], "keep: expected the dataset that a sweep returned, got DataArray"),
}


@pytest.mark.parametrize(("changed", "says"), REFUSED.values(), ids=REFUSED)
def test_results_of_other_trials_are_not_kept(changed, says):
    first = sweep(train_one, range(3), axes={"rate": [0.1, 0.2]})
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        sweep(train_one, range(3), axes={"rate": [0.1, 0.2]}, keep=changed(first))
    assert "\n" not in str(caught.value)
