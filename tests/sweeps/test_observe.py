"""What a long sweep notes on the way."""

import jax
import numpy as np
import pytest

from paramact_jax.sweeps import Training, long_sweep

TRAINING = Training(
    init=lambda key: {"x": jax.random.uniform(key, (3,))},
    step=lambda state, rate: {"x": rate * state["x"] * (1 - state["x"])},
    summarise=lambda state: {"end": state["x"].sum()},
    observe=lambda state: {"x": state["x"], "sum": state["x"].sum()},
)
RATES = {"rate": [3.7, 3.9]}


def run(**options):
    return long_sweep(TRAINING, range(70), iterations=10, axes=RATES, observe_every=4, **options)


def test_states_are_observed_from_the_first_to_the_last():
    results = run()
    assert results["x"].dims == ("rate", "seed", "iteration", "x_dim_0")
    assert results["iteration"].values.tolist() == [0, 4, 8, 10]
    np.testing.assert_array_equal(results["sum"].isel(iteration=-1), results["end"])
    for done in (4, 8):
        shorter = long_sweep(TRAINING, range(70), iterations=done, axes=RATES, observe_every=100)
        assert shorter["iteration"].values.tolist() == [0, done]
        np.testing.assert_array_equal(shorter["x"].sel(iteration=done), results["x"].sel(iteration=done))


@pytest.mark.parametrize("options", [{"iterations_per_call": 3}, {"chunk": 50}, {"iterations_per_call": 1}])
def test_observations_do_not_depend_on_chunks(options):
    assert run(**options).equals(run())


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("calls", [1, 3, 6, 9])
def test_an_interrupted_sweep_keeps_what_it_observed(tmp_path, calls):
    left = [calls]

    def stop(progress):
        left[0] -= 1
        if not left[0]:
            raise StoppedError

    options = {"directory": tmp_path, "seconds_between_saves": 0.0, "chunk": 80, "iterations_per_call": 3}
    with pytest.raises(StoppedError):
        run(**options, on_progress=stop)
    assert run(**options).equals(run())
    assert run(**options).equals(run())  # read from its directory


@pytest.mark.parametrize(
    ("training", "options", "says"),
    [
        (TRAINING, {}, "observe_every: expected a number of iterations"),
        (TRAINING, {"observe_every": 0}, "observe_every: expected an integer >= 1, got 0"),
        (
            Training(TRAINING.init, TRAINING.step, TRAINING.summarise),
            {"observe_every": 2},
            "observe_every: expected a number of iterations with a training that has `observe`, and none without",
        ),
        (
            Training(TRAINING.init, TRAINING.step, TRAINING.summarise, lambda state: {"end": state["x"]}),
            {"observe_every": 2},
            "observe: expected names that no result has, got 'end'",
        ),
        (
            Training(TRAINING.init, TRAINING.step, lambda state: {"iteration": 1}, TRAINING.observe),
            {"observe_every": 2},
            r"results: expected names that are not dims \(rate, seed, iteration",
        ),
    ],
)
def test_what_cannot_be_observed_is_refused(training, options, says):
    with pytest.raises(ValueError, match=says):
        long_sweep(training, range(3), iterations=4, axes=RATES, **options)
