"""Trials that stop on the way: each ends as it would in a sweep of as many iterations, whatever its company."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.sweeps import Training, long_sweep
from paramact_jax.sweeps.devices import trial_mesh

ITERATIONS, EVERY = 24, 4
RATES = {"rate": [3.7, 3.9, 4.3]}


def init(key):
    start, key = jax.random.split(key)
    return {"key": key, "x": jnp.sqrt(jax.random.uniform(start, (3,)) - 0.02)}


def step(state, rate):
    """A chaotic map with noise, so that equal results mean equal arithmetic; some are NaN, some become infinite."""
    noise, key = jax.random.split(state["key"])
    return {"key": key, "x": rate * state["x"] * (1 - state["x"]) + 1e-3 * jax.random.uniform(noise)}


def observe(state, rate):
    return {"seen": state["x"], "scaled": state["x"].sum() * rate}


CHAOS = Training(
    init, step, lambda state: state, observe, lambda state: ~jnp.isfinite(state["x"]).all() | (state["x"][0] > 0.9)
)
FORMS = {
    "one kernel": {"fused": True},
    "trials last": {"fused": False},
    "a trial at a time": {"block": 1},
    "batched": {"block": 8},
}


def run(training=CHAOS, **options):
    options = {"observe_every": 3, "stop_every": EVERY, "axes": RATES, "iterations": ITERATIONS, **options}
    return long_sweep(training, range(90), **options)


def by_hand(form):
    """The same from the whole orbits, of a sweep without stops."""
    orbits = long_sweep(
        dataclasses.replace(CHAOS, observe=lambda state, rate: observe(state, rate) | {"k": state["key"]}, stop=None),
        range(90),
        axes=RATES,
        iterations=ITERATIONS,
        observe_every=1,
        **form,
    )
    marks = np.arange(EVERY, ITERATIONS, EVERY)
    x = orbits["seen"].sel(iteration=marks).values
    stops = ~np.isfinite(x).all(-1) | (x[..., 0] > 0.9)
    made = np.where(stops.any(-1), marks[stops.argmax(-1)], ITERATIONS)

    def at(name, when):
        values = orbits[name].values
        when = when.reshape(*when.shape, *(1,) * (values.ndim - 3))
        return np.take_along_axis(values, np.broadcast_to(when, (*when.shape[:3], *values.shape[3:])), 2)

    ends = {"x": at("seen", made[..., None])[:, :, 0], "key": at("k", made[..., None])[:, :, 0], "iterations": made}
    looks = np.minimum(np.array([*range(0, ITERATIONS, 3), ITERATIONS]), made[..., None])
    return ends | {name: at(name, looks) for name in ("seen", "scaled")}


def check(found, wanted):
    assert set(found.data_vars) == set(wanted)
    for name, x in wanted.items():
        np.testing.assert_array_equal(found[name].values, x, err_msg=name)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_trials_end_where_they_stop(form):
    wanted = by_hand(form)
    assert len(np.unique(wanted["iterations"])) > 4
    assert all(kind(wanted["x"]).any() for kind in (np.isnan, np.isinf, np.isfinite))
    check(run(**form), wanted)


@pytest.fixture(scope="module")
def stopped():
    return run()


@pytest.mark.parametrize(
    "options",
    [
        {"chunk": 100},
        {"iterations_per_call": 1},
        {"iterations_per_call": 5, "chunk": 200},
        *(pytest.param({"devices": n}, marks=pytest.mark.cpu_devices(n)) for n in (1, 2)),
    ],
    ids=str,
)
def test_a_stop_does_not_depend_on_the_company(options, stopped):
    devices = options.pop("devices", None)
    mesh = None if devices is None else trial_mesh(jax.devices()[:devices])
    assert run(**options, mesh=mesh).identical(stopped)


@pytest.mark.parametrize("calls", [1, 3, 6, 9, 14])
def test_a_sweep_with_stops_goes_on_where_it_was(tmp_path, calls, stopped):
    left = [calls]

    def end(progress):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    options = {"directory": tmp_path, "seconds_between_saves": 0.0, "chunk": 200}
    with pytest.raises(KeyboardInterrupt):
        run(**options, on_progress=end)
    told = []
    assert run(**options, on_progress=told.append).identical(stopped)
    assert told[0].found > 0
    assert run(**options).identical(stopped)  # read from its directory
    with pytest.raises(ValueError, match="stop_every"):
        run(**options | {"stop_every": 5})


@pytest.mark.parametrize(
    ("stop", "made"), [(lambda state: True, EVERY), (lambda state: jnp.bool_(False), ITERATIONS)], ids=["all", "none"]
)
def test_all_or_none_stop(stop, made):
    told = []
    found = run(dataclasses.replace(CHAOS, stop=stop), iterations_per_call=1, on_progress=told.append)
    assert (found["iterations"] == made).all()
    assert len(told) == made + (made < ITERATIONS)
    plain = dataclasses.replace(CHAOS, stop=None)
    wanted = run(plain, iterations=made, stop_every=None)
    np.testing.assert_array_equal(found["x"], wanted["x"])
    np.testing.assert_array_equal(found["seen"].isel(iteration=-1), wanted["seen"].isel(iteration=-1))
    assert told[-1].done == told[-1].total


def test_nothing_compiles_when_trials_stop(compiled):
    training = dataclasses.replace(CHAOS, stop=lambda state, limit: state["x"][0] > limit)
    run(training, limit=2.0)
    assert compiled() > 0
    assert len(np.unique(run(training, limit=0.6)["iterations"])) > 3
    assert compiled() == 0


def of_names():
    """A state of another tree for each kind; the trials of one kind stop first."""

    def own_init(key, kind):
        state = {"w": jax.random.normal(key, (2,))}
        return state if kind == "plain" else state | {"m": jnp.zeros(2)}

    def own_step(state, kind, rate):
        gradient = jnp.sin(9 * state["w"])
        if kind == "plain":
            return {"w": state["w"] - rate * gradient}
        return {"w": state["w"] - rate * state["m"], "m": 0.5 * state["m"] + gradient}

    def stop(state, kind):
        return abs(jnp.sin(9 * state["w"][0])) < (2.0 if kind == "plain" else 0.5)

    return Training(own_init, own_step, lambda state: {"w": state["w"]}, lambda state: {"on the way": state["w"]}, stop)


@pytest.mark.parametrize("options", [{}, {"chunk": 60}], ids=str)
def test_the_trials_of_each_name_stop_for_themselves(options):
    axes = {"kind": ["heavy", "plain"], "rate": [0.1, 0.3]}
    found = run(of_names(), axes=axes, **options)
    orbits = run(dataclasses.replace(of_names(), stop=None), axes=axes, stop_every=None, observe_every=1)["on the way"]
    assert (found["iterations"].sel(kind="plain") == EVERY).all()
    assert len(np.unique(found["iterations"].sel(kind="heavy"))) > 3
    wanted = orbits.sel(iteration=found["iterations"])
    np.testing.assert_array_equal(found["w"].values, wanted.values)
    np.testing.assert_array_equal(found["on the way"].isel(iteration=-1).values, wanted.values)


def test_without_compaction_as_on_an_accelerator(monkeypatch, stopped):
    from paramact_jax.sweeps import long

    original = long.Standing
    monkeypatch.setattr(long, "Standing", lambda *args: original(*args[:-1], None))
    assert run().identical(stopped)


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({}, {"stop_every": None}, "stop_every: expected a number of iterations with a training that has `stop`"),
        ({}, {"stop_every": 0}, "stop_every: expected an integer >= 1, got 0"),
        ({"stop": None}, {}, "stop_every: .* and none without, got 4; give both or neither"),
        ({"stop": lambda state: state["x"] > 0}, {}, r"stop: expected one boolean for a trial, got bool\[3\]"),
        ({"stop": lambda state: state["x"][0]}, {}, r"stop: expected one boolean for a trial, got float32\[\]"),
        ({"stop": lambda state: state}, {}, "stop: expected one boolean for a trial, got 2 values"),
        ({"stop": 3}, {}, "stop: expected a function, got 3"),
        ({"summarise": lambda state: {"iterations": 1}}, {}, "results: expected names other than 'iterations'"),
    ],
)
def test_what_cannot_stop_is_refused(changes, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        run(dataclasses.replace(CHAOS, **changes), **options)
    assert "\n" not in str(caught.value)
