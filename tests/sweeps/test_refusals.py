"""What sweeps refuse in one line before anything compiles, and the unusual that they take."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from paramact_jax.sweeps import Training, long_sweep, sweep


def same(key, x):
    return x


SAME = Training(init=lambda key, x: x, step=lambda state: state, summarise=lambda state: state)


def long(_, seeds, **options):
    return long_sweep(SAME, seeds, iterations=1, **options)


def refused(says, call, *args, **options):
    with pytest.raises(ValueError, match=says) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)


ONE = SingleDeviceSharding(jax.devices()[0])
both = pytest.mark.parametrize("run", [sweep, long])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.int64(2**40), "x: expected integers that fit into int32, got 1099511627776; give another value, or enable"),
        (2**40, "integers that fit into int32, got 1099511627776"),
        (-(2**70), "integers that fit into int32, got -1180591620717411303424"),
        (np.array([1, 2**31]), "integers that fit into int32, got 2147483648"),
        (np.array([1, 2**64 - 1], np.uint64), "integers that fit into uint32, got 18446744073709551615"),
        (1e50, r"numbers that fit into float32, got 1e\+50"),
        (np.float64(-1e-50), "numbers that fit into float32, got -1e-50"),
        ({"deep": [1e-40]}, "numbers that fit into float32, got 1e-40"),  # XLA takes it for 0
        (np.array([0.1, 1e50]), r"numbers that fit into float32, got 1e\+50"),
        (np.array([1, 1e-50j]), r"numbers that fit into complex64, got 1e-50j"),
        (np.array(["a"]), "expected numbers or arrays"),
        (object(), "expected numbers or arrays"),
    ],
)
def test_settings_that_would_become_others_are_refused(value, says):
    refused(says, sweep, same, range(3), x=value)


@pytest.mark.parametrize(
    "value",
    [
        *(0.1, 0.0, -0.0, np.inf, -np.inf, np.nan, 3e38, 2e-38, 2**31 - 1, -(2**31), True, 0.1 + 1j),
        *(np.array([0.1, np.nan, np.inf]), np.array([3], np.uint8), np.array([1e-45, 1e-300], np.float32)),
    ],
)
def test_rounding_infinities_and_nan_are_no_loss(value):
    array = jnp.asarray(value)
    result = sweep(lambda key, x: jax.tree.map(jnp.asarray, x), [0], x=value)["result"][0]
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_64_bit_numbers_hold_them(x64):
    assert sweep(same, [0], x=np.int64(2**40))["result"] == 2**40
    assert sweep(same, [0], x=1e-50)["result"] == 1e-50
    refused("integers that fit into int64", sweep, same, [0], x=2**63)


@both
@pytest.mark.parametrize("value", [1e50, 1e-50, -1e-40, np.float32(1e-40), 2**31, np.uint64(2**63)])
def test_values_of_axes_that_would_become_others_are_refused(run, value):
    refused(
        "axes: x: expected (numbers|integers) that fit into (float32|int32), got ", run, same, [0], axes={"x": [value]}
    )


def test_infinite_values_of_axes_stay():
    np.testing.assert_array_equal(
        sweep(same, [0], axes={"x": [0.0, np.inf, -np.inf]})["result"][:, 0], [0, np.inf, -np.inf]
    )


@pytest.mark.cpu_devices(2)
@both
def test_a_mesh_of_one_axis_is_taken_by_whatever_name(run):
    devices = np.array(jax.devices()[:2])
    explicit = jax.make_mesh((2,), ("trials",), devices=list(devices), axis_types=(AxisType.Explicit,))
    plans = []
    for mesh in (Mesh(devices, ("i",)), explicit):
        assert run(same, range(3), x=1.0, mesh=mesh, on_plan=plans.append).identical(run(same, range(3), x=1.0))
    assert [plan.devices for plan in plans] == [2, 2]


@pytest.mark.parametrize("devices", [1, pytest.param(4, marks=pytest.mark.cpu_devices(4))])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@both
def test_a_sweep_has_a_mesh_of_its_own(run, kind, devices):
    wanted = run(same, range(3), x=1.0)
    with jax.set_mesh(jax.make_mesh((devices,), ("d",), axis_types=(kind,), devices=jax.devices()[:devices])):
        assert run(same, range(3), x=1.0).identical(wanted)
        assert jax.sharding.get_mesh().axis_names == ("d",)
        refused("cannot be called inside jit", jax.jit(lambda x: run(same, range(3), x=1.0)), 1.0)


@pytest.mark.cpu_devices(4)
@both
@pytest.mark.parametrize(
    ("kind", "spread", "got"),
    [
        (AxisType.Auto, jax.lax.with_sharding_constraint, "with_sharding_constraint"),
        (AxisType.Auto, lambda x, on: jax.lax.with_sharding_constraint(x, ONE), "with_sharding_constraint"),
        (AxisType.Auto, lambda x, on: jax.shard_map(jnp.sin, mesh=on.mesh, in_specs=on.spec, out_specs=on.spec)(x), ""),
        (AxisType.Auto, lambda x, on: jax.pmap(jnp.sin)(x), "shard_map or pmap"),
        (AxisType.Explicit, jax.device_put, "an array on explicit axes"),
        (AxisType.Explicit, lambda x, on: x * jax.device_put(np.ones(4, np.float32), on), "an array on explicit axes"),
    ],
)
def test_a_trial_on_several_devices_is_refused(run, kind, spread, got):
    on = NamedSharding(jax.make_mesh((4,), ("d",), axis_types=(kind,)), PartitionSpec("d"))

    def fn(key):
        return spread(jax.random.normal(key, (4,)), on)

    if run is long:
        fn = Training(init=fn, step=lambda state: state, summarise=lambda state: state)
        refused(f"init: expected a trial on one device, got {got}", long_sweep, fn, [0], iterations=1)
    else:
        refused(f"train_one: expected a trial on one device, got {got}", sweep, fn, [0])


def test_a_constant_on_a_mesh_is_refused_and_the_same_numbers_elsewhere_are_not():
    there = jax.device_put(
        jnp.ones(4), NamedSharding(jax.make_mesh((1,), ("d",), (AxisType.Explicit,)), PartitionSpec())
    )
    refused("got an array on explicit axes", sweep, lambda key: jax.random.normal(key) * there, [0])
    here = np.asarray(there)
    assert sweep(lambda key: jax.random.normal(key) * here, [0])["result"].shape == (1, 4)


@both
@pytest.mark.parametrize(
    ("mesh", "got"),
    [
        pytest.param(
            lambda: Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("trials", "model")),
            r"a mesh of \(2, 2\) devices",
            marks=pytest.mark.cpu_devices(4),
        ),
        (jax.devices, r"\[\w*Device\("),
        (lambda: "cpu", "'cpu'"),
    ],
)
def test_other_meshes_are_refused(run, mesh, got):
    refused(
        f"mesh: expected a jax.sharding.Mesh with one axis, or None .* got .*{got}", run, same, [0], x=1.0, mesh=mesh()
    )


@both
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"directory": True}, "directory: expected a path, or None to keep nothing, got True"),
        ({"directory": b"x"}, "directory: expected a path"),
        ({"on_plan": 3}, "on_plan: expected a function, or None for no calls, got 3"),
        ({"fused": "no"}, "fused: expected True, False, or None for the default, got 'no'"),
        ({"on_progress": "print"}, "on_progress: expected a function, or None .*, got 'print'"),
    ],
)
def test_options_of_other_kinds_are_refused(run, options, says):
    refused(says, run, same, [0], x=1.0, **options)


def test_what_is_no_function_is_refused():
    refused("train_one: expected a function, got None", sweep, None, [0])
    for training in (None, {"init": same}):
        refused(r"training: expected a Training, or .*, got (None|\{'init)", long_sweep, training, [0], iterations=1)
    for fn in (lambda *, key: 1.0, lambda: 1.0, lambda **settings: 1.0):
        refused("train_one: expected a first parameter .* by position, got none in ", sweep, fn, [0])
        refused("step: expected a first", long_sweep, dataclasses.replace(SAME, step=fn), [0], iterations=1)
    refused("init: expected a function, got None", long_sweep, dataclasses.replace(SAME, init=None), [0], iterations=1)
    refused("step: expected a function, got 3", long_sweep, dataclasses.replace(SAME, step=3), [0], iterations=1)
    for period in (-1, np.nan, "30", None):
        refused("seconds_between_saves: expected a number >= 0", long, None, [0], x=1.0, seconds_between_saves=period)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "init: expected a state with an array, got none"),
        ({"a": 2**40}, r"state\['a'\]: expected integers that fit into int32, got 1099511627776; give another value"),
        ({"a": "b"}, r"state\['a'\]: expected an array, got 'b'; return arrays only"),
        ({"a": np.zeros((), jax.dtypes.float0)}, r"state\['a'\]: expected an array, got a derivative by an integer"),
    ],
)
def test_a_state_without_numbers_is_refused(state, says):
    training = Training(init=lambda key: state, step=lambda state: state, summarise=lambda state: {"x": 1.0})
    refused(says, long_sweep, training, [0], iterations=1)


@both
def test_no_callback_is_none(run):
    assert run(same, range(3), x=1.0, on_plan=None, on_progress=None)["result"].sum() == 3


@dataclasses.dataclass
class Scale:
    factors: list

    def __call__(self, key):
        return self.factors[0] + self.factors[1] * jax.random.uniform(key)


def test_a_callable_that_cannot_be_hashed_is_a_function():
    """A dataclass that compares by value has no hash."""
    with pytest.raises(TypeError):
        hash(Scale([1.0, 2.0]))
    results = sweep(Scale([1.0, 2.0]), range(3))["result"]
    assert results.identical(sweep(lambda key: 1.0 + 2.0 * jax.random.uniform(key), range(3))["result"])
    training = Training(init=lambda key: key, step=lambda state: state, summarise=Scale([1.0, 2.0]))
    assert long_sweep(training, range(3), iterations=0)["result"].identical(results)


@both
@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
@pytest.mark.parametrize("part", ["settings", "axes", "seeds", "none"])
def test_within_another_program_it_says_so(run, transform, part):
    def call(x):
        if part == "settings":
            return run(same, range(3), x={"deep": x})
        if part == "axes":
            return run(same, range(3), axes={"x": [x, 2 * x]})
        if part == "seeds":
            return run(same, [x], x=1.0)
        return jnp.sum(run(same, range(3), x=1.0)["result"].values) + x

    if part == "none" and transform is not jax.jit:  # nothing of it is of the other program
        assert transform(call)(jnp.ones(3) if transform is jax.vmap else 1.0).sum() in (1, 12)
        return
    says = "got a tracer; a sweep compiles a program of its own and cannot be called inside jit, vmap or grad"
    refused(says, transform(call), jnp.ones(3) if transform is jax.vmap else 1.0)


def test_trials_that_fill_up_a_block_run_too():
    """As the docstring of `sweep` says."""
    calls = []

    def train_one(key):
        value = jax.random.normal(key)
        jax.debug.callback(calls.append, value)
        return value

    sweep(train_one, range(3), mesh=Mesh(np.array(jax.devices()[:1]), ("trials",)))
    jax.effects_barrier()
    assert len(calls) == 64
