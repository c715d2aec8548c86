import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.programs.program import trace
from paramact_jax.sweeps import BLOCK, OverTrials, compiler
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.forms import FORMS
from paramact_jax.sweeps.trials import together


def logistic_map(state, shared):
    """Chaotic: one rounding apart is another orbit, so equal results mean equal arithmetic."""
    rate, steps = shared
    return jax.lax.fori_loop(0, steps, lambda _, x: rate * x * (1 - x) + 1e-3 * jnp.sin(x).sum() / 3, state)


STARTS = np.random.default_rng(0).random((300, 3), dtype=np.float32)


@functools.cache
def all_on_one_device(form):
    reference = OverTrials(logistic_map, form=form, mesh=trial_mesh(jax.devices()[:1]))
    return reference.collect(reference(reference.place(STARTS), (jnp.float32(3.9), jnp.int32(500))), 300)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("devices", [1, *(pytest.param(n, marks=pytest.mark.cpu_devices(n)) for n in (2, 4))])
@pytest.mark.parametrize("trials", [1, 100, 257])
def test_a_trial_does_not_depend_on_the_others_or_the_devices(form, devices, trials):
    shared, expected = (jnp.float32(3.9), jnp.int32(500)), all_on_one_device(form)
    over = OverTrials(logistic_map, form=form, mesh=trial_mesh(jax.devices()[:devices]))
    actual = over.collect(over(over.place(STARTS[:trials]), shared), trials)
    np.testing.assert_array_equal(actual, expected[:trials])
    assert len(np.unique(expected)) > 800


@pytest.mark.cpu_devices(4)
def test_functions_that_run_together_share_the_devices_evenly():
    """Five trials on four devices: the fifth of each function lies on another device, and all come back in order."""
    programs = [trace(lambda x, _, i=i: x + i, jnp.float32(0), jnp.float32(0)) for i in range(3)]
    mesh = trial_mesh(jax.devices()[:4])
    them = together(tuple(programs), (FORMS["a trial at a time"],) * 3, mesh)
    blocks = them.place([np.arange(5, dtype=np.float32)] * 3)
    found = them(blocks, jnp.float32(0), trials=[5] * 3)
    for i, own in enumerate(them.collect(found, [5] * 3)):
        np.testing.assert_array_equal(own, np.arange(5) + i)
    fifth = [int(np.argmax([x.data[1, 0] == 4 + i for x in own.addressable_shards])) for i, own in enumerate(found)]
    assert fifth == [0, 1, 2]


def gradient(trial, _):
    """Without a loop of its own: jax 0.12 compiled the loop over blocks around it by another code generator."""

    def loss(w):
        return jnp.mean((jnp.tanh(jnp.outer(trial["y"], w) @ trial["x"]) - trial["y"]) ** 2)

    return jax.grad(loss)(trial["x"])


@pytest.mark.parametrize("form", [FORMS["one kernel"], FORMS["trials last"], FORMS["batched"]], ids=str)
def test_a_block_runs_the_same_kernels_alone_and_in_a_loop(form):
    random = np.random.default_rng(0)
    trials = {name: random.random((2 * BLOCK, 7), dtype=np.float32) for name in ("x", "y")}
    over = OverTrials(gradient, form=form, mesh=trial_mesh(jax.devices()[:1]))
    shared = over.share(np.int32(0))
    alone = over.place({name: x[:BLOCK] for name, x in trials.items()})
    both = over.place(trials)
    np.testing.assert_array_equal(
        over.collect(over(alone, shared), BLOCK), over.collect(over(both, shared), 2 * BLOCK)[:BLOCK]
    )
    program = over._program.lower(both, shared, np.int32(2 * BLOCK)).compile().as_text()
    entry = program[program.index("\nENTRY ") :]
    assert " while(" in entry, "the loop over the blocks was moved into a kernel"


@pytest.mark.cpu_devices(4)
def test_place_and_collect_are_inverse():
    over = OverTrials(lambda x, _: x)
    tree = {"seeds": np.arange(70, dtype=np.uint32), "weights": np.random.default_rng(0).normal(size=(70, 2, 3))}
    tree["nothing"] = np.zeros((70, 0), np.int32)
    with jax.enable_x64(True):
        blocks = over.place(tree)
    assert blocks["weights"].shape == (4, 2, 3, BLOCK)
    assert len(blocks["weights"].sharding.device_set) == 4
    jax.tree.map(np.testing.assert_array_equal, over.collect(blocks, 70), tree)


def test_unused_arguments_do_not_break_one_kernel():
    """XLA aborts the process where an argument of such a kernel is unused; ours never are."""

    def fn(state, shared):
        def step(_, carry):
            return carry[0] * shared[0], carry[1], carry[2]

        return {"x": jax.lax.fori_loop(0, 3, step, (state["x"], state["unused"], shared[1]))[0]}

    over = OverTrials(fn, form=FORMS["one kernel"])
    blocks = over.place({"x": np.ones((3, 2), np.float32), "unused": np.zeros((3, 5), np.int32)})
    result = over.collect(over(blocks, (jnp.float32(2), jnp.float32(3))), 3)
    np.testing.assert_array_equal(result["x"], np.full((3, 2), 8.0))


@pytest.mark.parametrize("given", [((), None), (np.zeros(0), np.zeros((4, 0)))], ids=["nothing", "empty arrays"])
def test_a_loop_without_inputs_is_one_kernel(given):
    def fn(x, shared):
        state, ones = jax.lax.scan(lambda state, _: (state, jnp.ones(3)), *given, length=4)
        return x + ones.sum() + sum(jax.tree.leaves(state), jnp.zeros(1)).sum()

    over = OverTrials(fn, form=FORMS["one kernel"])
    np.testing.assert_array_equal(over.collect(over(over.place(np.ones(3, np.float32)), ()), 3), np.full(3, 13.0))


def test_unknown_compiler_options_are_left_out(monkeypatch):
    assert compiler.understood("xla_cpu_enable_fast_math", False)
    assert not compiler.understood("xla_cpu_no_such_option", "1")
    known = set(compiler.cpu_options(small=True))
    monkeypatch.setattr(compiler, "understood", lambda name, value: "vector_width" in name)
    compiler.cpu_options.cache_clear()
    assert set(compiler.cpu_options(small=True)) == known & {"xla_cpu_prefer_vector_width"}
    compiler.cpu_options.cache_clear()


def test_changed_settings_do_not_recompile():
    traces = []

    def fn(x, shared):
        traces.append(1)
        return x * shared

    over = OverTrials(fn)
    blocks = over.place(np.ones(5, np.float32))
    for factor in (1.0, 2.0, 3.0):
        assert over.collect(over(blocks, jnp.float32(factor)), 5)[0] == factor
    assert len(traces) == 1
