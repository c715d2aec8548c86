"""A loop as one kernel of a GPU or TPU, run by the interpreter of Pallas where there is neither."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from experiments.problems.xor10.protocol import ACTIVATIONS as SEVEN
from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.problems.xor10.train import one_trial
from paramact_jax.programs import trace, walk
from paramact_jax.sweeps import engine, kernels, sweep, trials
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.forms import choose
from tests.sweeps.kernel_programs import ACTIVATIONS, KINDS, OPTIMISERS

CPU = trial_mesh(jax.local_devices(backend="cpu")[:1])
HERE = trial_mesh(jax.devices()[:1])
ON_CPU = jax.default_backend() == "cpu"
QUICK = [fn for fn in KINDS if fn.__name__ in ("branches", "history", "corners")]
CHOSEN = ACTIVATIONS[:: 4 if ON_CPU else 1]  # the interpreter takes a second or two for each


@pytest.fixture(autouse=True)
def ordinary_broadcasting():
    """As users have it; the tests' own setting is stricter."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def kerneled(monkeypatch):
    """Runs a sweep with kernels: interpreted, or on the accelerator that is there."""

    def run(*arguments, **options):
        with monkeypatch.context() as patch:
            if ON_CPU:
                patch.setattr(trials, "target_of", lambda mesh: kernels.INTERPRETED)
                patch.setattr(engine, "target_of", lambda mesh: kernels.INTERPRETED)
            trials.together.cache_clear()  # an equal program may have been compiled without kernels
            found = sweep(*arguments, mesh=HERE, **options)
        trials.together.cache_clear()
        return found

    return run


def assert_close(found, wanted, **tolerance):
    for name, x in found.items():
        np.testing.assert_allclose(x.values, wanted[name].values, err_msg=name, **tolerance)


@pytest.mark.parametrize(
    "train_one",
    [*QUICK, *(pytest.param(fn, marks=pytest.mark.slow) for fn in (*KINDS, *OPTIMISERS, *CHOSEN) if fn not in QUICK)],
    ids=lambda fn: fn.__name__,
)
def test_a_kernel_computes_what_the_program_computes(train_one, kerneled, unoptimised):
    found = kerneled(train_one, range(5), fused=True)
    assert found.attrs["form"].startswith("one kernel")
    assert_close(found, sweep(train_one, range(5), mesh=CPU, fused=False), rtol=2e-4, atol=2e-5)


def descend(key, rate=0.1):
    w = jax.random.normal(key, (2, 2))
    return lax.fori_loop(0, 20, lambda _, w: w - rate * jax.grad(lambda w: jnp.sum((w @ w - 1) ** 2))(w) * 0.01, w)


def test_a_trial_is_the_same_in_any_company(kerneled):
    alone, few, many = (kerneled(descend, range(count))["result"].values for count in (1, 3, 300))
    np.testing.assert_array_equal(many[:3], few)
    np.testing.assert_array_equal(many[:1], alone)


def test_axes_and_settings_reach_a_kernel(kerneled):
    found = kerneled(descend, range(3), axes={"rate": [0.1, 0.2]})
    assert_close(found, sweep(descend, range(3), axes={"rate": [0.1, 0.2]}, mesh=CPU), rtol=1e-5)
    assert_close(kerneled(descend, range(3), rate=0.2), found.sel(rate=0.2), rtol=0)


@pytest.mark.slow
def test_the_seven_activations_differ_by_rounding_alone(kerneled, unoptimised):
    """As much as from trials whose initial weights are off by a digit: trainings of tanh and PPNS are chaotic.

    In float64 even those of Parametric Sigmoid and Parametric ReLU, which in float32 differ by 3e-4, agree to 1e-12.
    """
    protocol = dataclasses.replace(PROTOCOLS["recovered"], steps=60)
    train_one, settings = one_trial(protocol)
    axes = {"function": SEVEN}
    found = kerneled(train_one, range(64), axes=axes, **settings)
    wanted = sweep(train_one, range(64), axes=axes, mesh=CPU, **settings)
    moved = settings | {"std": {**settings["std"], "weight": settings["std"]["weight"] * (1 + 3e-7)}}
    beside = sweep(train_one, range(64), axes=axes, mesh=CPU, **moved)
    for name in SEVEN:
        here, there, then = (x.sel(function=name) for x in (found, wanted, beside))
        assert_close(here[["initial.out.kernel"]], there[["initial.out.kernel"]], rtol=1e-6)
        by_kernel, by_a_digit = (abs(x["loss"] - there["loss"]).values for x in (here, then))
        np.testing.assert_array_less(
            np.quantile(by_kernel, [0.5, 0.9]), 10 * np.quantile(by_a_digit, [0.5, 0.9]) + 1e-6
        )
        assert (here["reached_at"] == there["reached_at"]).mean() > 0.9


def loop_of(fn, *arguments):
    program = trace(fn, *arguments)
    return next(operation for operation in walk(program) if operation.name in ("while", "scan"))


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda x: lax.fori_loop(0, 9, lambda i, x: jnp.sort(x), x), "sort"),
        (lambda x: lax.while_loop(lambda x: x.sum() < 5, lambda x: x + 1, x), "more than count its steps"),
        (lambda x: lax.fori_loop(0, 9, lambda i, x: x + jax.random.normal(jax.random.key(i), (3,)), x), "random_seed"),
        (lambda x: lax.fori_loop(0, 9, lambda i, x: x * 2, x.astype(jnp.bfloat16)), "numbers of bfloat16"),
        (lambda x: lax.fori_loop(0, 9, lambda i, x: jnp.abs(x + 1j * x), x), "complex"),
        (lambda x: lax.fori_loop(0, 9, lambda i, x: jnp.mod(x, 1.5), x), "rem of floating-point numbers"),
        (
            lambda x: lax.fori_loop(0, 9, lambda i, w: w @ w, jnp.outer(jnp.ones(40), jnp.ones(40))),
            "operations an iteration",
        ),
    ],
    ids=["sort", "tolerance", "random", "bfloat16", "complex", "rem", "large"],
)
def test_what_no_kernel_can_hold_is_said(fn, says):
    operation = loop_of(fn, jnp.ones(3))
    assert says in kernels.problem(operation)
    program = trace(lambda trial, shared: fn(trial), jnp.ones(3), ())
    assert not choose([program], "gpu", target=kernels.GPU).kernel
    with pytest.raises(ValueError, match="fused: expected loops that one kernel can hold") as caught:
        choose([program], "gpu", target=kernels.GPU, fused=True)
    assert "\n" not in str(caught.value)


def test_a_loop_that_turns_out_to_be_no_kernel_is_ordinary_with_a_warning(kerneled):
    def until(key, steps):  # every trial has a number of steps of its own
        x = jax.random.normal(key, ())
        return lax.fori_loop(0, steps, lambda i, x: 0.5 * x + 1, x)

    with pytest.warns(UserWarning, match="runs more slowly: while with an end of its own"):
        found = kerneled(until, range(3), axes={"steps": [1, 5]})
    assert_close(found, sweep(until, range(3), axes={"steps": [1, 5]}, mesh=CPU), rtol=1e-6)


def test_what_shows_only_when_it_is_traced_is_refused_too():
    def until(trial, shared):
        return lax.fori_loop(0, trial["steps"], lambda i, x: 0.5 * x + 1, trial["x"])

    program = trace(until, {"steps": jnp.int32(3), "x": jnp.float32(1)}, ())
    with pytest.raises(
        ValueError, match=r"fused: expected loops that one kernel can hold, .* 'while with an end of its"
    ):
        choose([program], "gpu", target=kernels.GPU, fused=True)
    assert choose([program], "gpu", target=kernels.GPU).kernel


def nothing(key):
    w = lax.fori_loop(0, 5, lambda i, w: w * 0.5, jax.random.normal(key, (2,)))
    x, empty = lax.fori_loop(0, 4, lambda i, s: (s[0] + s[1].sum(), s[1]), (w, jnp.zeros((0, 2))))
    return {"w": w, "x": x, "none": empty}


@pytest.mark.filterwarnings("ignore:a loop cannot be one kernel and runs more slowly. arrays without numbers")
def test_arrays_without_numbers(kerneled):
    found = kerneled(nothing, range(3))
    assert found["none"].shape == (3, 0, 2)
    assert_close(found[["w", "x"]], sweep(nothing, range(3), mesh=CPU), rtol=1e-6)


def test_kernels_are_for_small_loops_of_accelerators():
    program = trace(lambda trial, shared: descend(trial), jax.random.key(0), ())
    assert str(choose([program], "gpu", target=kernels.GPU)) == "one kernel, trials last, blocks of 128"
    assert str(choose([program], "tpu", target=kernels.TPU)) == "one kernel, trials last, blocks of 1024"
    assert not choose([program], "gpu", target=None).kernel
    assert not choose([program], "gpu", target=kernels.GPU, fused=False).kernel
    straight = trace(lambda trial, shared: trial * 2, jnp.ones(3), ())
    assert not choose([straight], "gpu", target=kernels.GPU).kernel


@dataclasses.dataclass
class Device:
    platform: str
    compute_capability: str | None = None


@pytest.mark.parametrize(
    ("device", "module", "target"),
    [
        (Device("gpu", "9.0"), "mosaic_gpu", kernels.GPU),
        (Device("gpu", "10.0"), "mosaic_gpu", kernels.GPU),
        (Device("gpu", "7.5"), "mosaic_gpu", None),
        (Device("gpu", "gfx942"), "mosaic_gpu", None),
        (Device("gpu", "9.0"), "nothing", None),
        (Device("tpu"), "tpu", kernels.TPU),
        (Device("tpu"), "nothing", None),
        (Device("cpu"), "mosaic_gpu", None),
    ],
)
def test_what_kernels_are_compiled_for(device, module, target, monkeypatch):
    monkeypatch.setattr(kernels, "_module", lambda name: name if name == module else None)
    mesh = type("Mesh", (), {"devices": np.array([device], object)})
    assert kernels.target_of(mesh) == target
    monkeypatch.setenv("PARAMACT_JAX_ONE_KERNEL", "0")
    assert kernels.target_of(mesh) is None


@pytest.mark.parametrize("name", ["mosaic_gpu", "tpu"])
def test_a_pallas_that_is_older_or_has_changed_is_not_used(name, monkeypatch):
    there = kernels._module.__wrapped__
    assert (there(name) is None) == (jax.__version_info__ < kernels.FIRST_JAX)
    monkeypatch.setitem(kernels._USED, name, ("a_name_that_is_gone",))
    assert there(name) is None


def test_a_kernel_that_pallas_refuses_is_an_ordinary_loop_with_a_warning(kerneled, monkeypatch):
    def refuses(*arguments):
        raise TypeError("kernel() got an unexpected keyword argument")

    monkeypatch.setitem(kernels._BUILDERS, "interpreted", refuses)
    monkeypatch.setitem(kernels._BUILDERS, "gpu", refuses)
    with pytest.warns(UserWarning, match=r"runs more slowly: kernel\(\) got an unexpected"):
        found = kerneled(descend, range(3))
    assert_close(found, sweep(descend, range(3), mesh=CPU), rtol=1e-5)
