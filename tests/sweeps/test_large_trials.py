"""Trials that are large themselves: one a block, and branches that are branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.sweeps import OverTrials, Training, long_sweep, sweep, trial_key
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.forms import Form


def train_one(key, rate):
    """Products of 180,000 multiplications."""
    w = jax.random.normal(key, (60, 50))
    return {"w": jax.lax.fori_loop(0, 20, lambda _, w: w - rate * jnp.tanh(w @ w.T @ w), w), "used": rate}


@pytest.mark.parametrize("devices", [1, pytest.param(3, marks=pytest.mark.cpu_devices(3))])
def test_one_trial_a_block_gives_every_trial_its_own(devices):
    mesh = trial_mesh(jax.devices()[:devices])
    results = sweep(train_one, range(5), axes={"rate": [0.01, 0.02]}, block=1, mesh=mesh)
    for rate in (0.01, 0.02):
        np.testing.assert_array_equal(results["used"].sel(rate=rate), np.float32([rate] * 5))
        for seed in range(5):
            alone = jax.jit(train_one)(trial_key(seed), jnp.float32(rate))["w"]
            np.testing.assert_allclose(results["w"].sel(rate=rate, seed=seed), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.cpu_devices(4)
def test_few_large_trials_are_not_filled_up_to_64():
    plans = []
    sweep(train_one, range(8), rate=0.01, on_plan=plans.append)
    sweep(train_one, range(8), rate=0.01, block=64, on_plan=plans.append)
    large = Training(lambda key: jax.random.normal(key, (40, 30)), lambda w: w + 1, lambda w: w.sum())
    long_sweep(large, range(8), iterations=2, block=1, on_plan=plans.append)
    long_sweep(large, range(8), iterations=2, on_plan=plans.append)
    assert plans[0].bytes_per_device < plans[1].bytes_per_device / 20
    assert plans[2].bytes_per_device < plans[3].bytes_per_device / 20


def test_a_branch_of_one_trial_a_block_stays_a_branch():
    def fn(x, shared):
        return jax.lax.cond(x > 0, lambda: jnp.sort(jnp.full(100, x)).sum(), lambda: x)

    def text(block):
        over = OverTrials(fn, form=Form("alone" if block == 1 else "first", block))
        return over._program.lower(over.place(np.arange(4.0, dtype=np.float32)), None, np.int32(4)).as_text()

    assert text(1).count("stablehlo.case") == 1
    assert text(64).count("stablehlo.case") == 0


@pytest.mark.cpu_devices(2)
@pytest.mark.parametrize("block", [1, 2])
def test_what_only_fills_up_is_not_computed(block):
    over = OverTrials(lambda x, shared: x + shared, form=Form("first", block), mesh=trial_mesh(jax.devices()[:2]))
    blocks = over.place(np.arange(3.0, dtype=np.float32), room=8)
    computed = over(blocks, over.share(np.float32(10)), trials=3)
    whole = [10, 11, 12] + [0] * 5 if block == 1 else [10, 11, 12, 12] + [0] * 4
    assert over.collect(computed, 8).tolist() == whole
    assert over.collect(over(blocks, over.share(np.float32(10))), 8).tolist() == [10, 11, 12, 12, 12, 12, 12, 12]


@pytest.mark.parametrize("block", [0, True, 1.5])
def test_bad_blocks_are_refused(block):
    with pytest.raises(ValueError, match=r"block: expected an integer >= 1, got"):
        sweep(train_one, range(2), rate=0.01, block=block)


COUNTED = Training(
    init=lambda key: {"sum": jnp.float32(0), "seen": jnp.full(6, -1)},
    step=lambda state, iteration, rate: {
        "sum": state["sum"] + rate * iteration,
        "seen": state["seen"].at[iteration].set(iteration),
    },
    summarise=lambda state: state,
)


@pytest.mark.parametrize("block", [1, 64])
@pytest.mark.parametrize("per_call", [1, 4, 6])
def test_a_step_is_told_its_iteration(block, per_call):
    results = long_sweep(COUNTED, range(3), iterations=6, rate=2.0, block=block, iterations_per_call=per_call)
    np.testing.assert_array_equal(results["seen"], np.tile(np.arange(6), (3, 1)))
    np.testing.assert_array_equal(results["sum"], [30, 30, 30])


def test_a_resumed_step_is_told_the_same_iteration(tmp_path):
    class EnoughError(Exception):
        pass

    def stop(progress):
        if progress.done >= 9:
            raise EnoughError

    options = {"iterations": 6, "rate": 2.0, "directory": tmp_path, "seconds_between_saves": 0.0, "block": 1}
    with pytest.raises(EnoughError):
        long_sweep(COUNTED, range(3), **options, iterations_per_call=1, on_progress=stop)
    assert list(tmp_path.glob("state-*"))
    results = long_sweep(COUNTED, range(3), **options, iterations_per_call=4)
    np.testing.assert_array_equal(results["seen"], np.tile(np.arange(6), (3, 1)))


def test_the_iteration_stays_a_branch_under_vmap():
    """As on an accelerator, where all trials of a device run under one `jax.vmap`."""

    def step(state, iteration):
        return jax.lax.cond(iteration % 10 == 0, jnp.sort, lambda x: x + 1, state)

    text = jax.jit(jax.vmap(step, in_axes=(0, None))).lower(jnp.zeros((4, 100)), 3).as_text()
    assert "stablehlo.case" in text


@pytest.mark.parametrize("given", [{"axes": {"iteration": [1, 2]}}, {"iteration": 3}])
def test_the_iteration_cannot_be_given(given):
    with pytest.raises(ValueError, match="iteration: expected an axis or setting that the sweep does not set itself"):
        long_sweep(COUNTED, range(3), iterations=6, rate=2.0, **given)


def test_names_that_a_step_takes_anyhow_are_no_iteration():
    def step(state, **settings):
        assert set(settings) == {"rate"}
        return state + settings["rate"]

    training = Training(lambda key: jnp.float32(0), step, lambda state: state)
    assert long_sweep(training, range(2), iterations=3, rate=2.0)["result"].values.tolist() == [6, 6]
