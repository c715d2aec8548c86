"""Which form a program is given, and what one kernel can hold."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from experiments.bench.trainings import TRAININGS
from paramact_jax.programs import trace
from paramact_jax.sweeps import OverTrials, Training, long_sweep, sweep, trial_key
from paramact_jax.sweeps.forms import FORMS, Form, choose

CHOSEN = {
    "deep narrow network": "one kernel",
    "logistic regression": "one kernel",
    "MLP of 32 nodes with Adam": "batched",
    "shuffled minibatches": "one kernel",
    "small CNN": "a trial at a time",
    "recurrent network": "one kernel",
    "PINN": "one kernel",
    "episode with while and cond": "one kernel",
}


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Users add a bias to a matrix without naming its axes."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("name", TRAININGS)
def test_the_form_that_measured_fastest_is_chosen(name):
    training = TRAININGS[name]
    program = trace(lambda seed: training.make(2)(trial_key(seed), **training.settings), np.uint32(0))
    assert choose([program], "cpu") == FORMS[CHOSEN[name]]


def descent(points, nodes):
    """A loop around products of (points, nodes) and (nodes, nodes), and one much larger outside of it."""

    def fn(w):
        x = jnp.ones((points, nodes))
        w = w + jnp.ones((nodes, 500)) @ jnp.ones((500, nodes))
        return lax.fori_loop(0, 3, lambda _, w: w - 0.1 * jax.grad(lambda w: (x @ w).sum() ** 2)(w), w)

    return trace(fn, jnp.zeros((nodes, nodes)))


@pytest.mark.parametrize(
    ("points", "nodes", "on_cpu", "elsewhere"),
    [
        (4, 2, "one kernel", "trials last"),
        (4, 32, "one kernel", "trials last"),
        (4, 33, "one kernel", "batched"),
        (16, 32, "one kernel", "batched"),
        (17, 32, "batched", "batched"),
        (128, 32, "batched", "batched"),
        (129, 32, "a trial at a time", "batched"),
    ],
)
def test_products_in_loops_decide(points, nodes, on_cpu, elsewhere):
    program = descent(points, nodes)
    assert choose([program], "cpu") == FORMS[on_cpu]
    assert choose([program], "gpu") == FORMS[elsewhere]


def test_all_of_a_step_counts_in_a_long_sweep():
    """Its product lies outside of the step's own loop, but the step is repeated."""

    def step(w):
        w = w - 0.1 * jnp.tanh(w @ w @ jnp.ones((60, 60)) / 60)
        return lax.fori_loop(0, 2, lambda _, w: 0.5 * w, w)

    training = Training(lambda key: jax.random.normal(key, (60, 60)), step, lambda w: w.sum())
    assert long_sweep(training, range(3), iterations=2).attrs["form"] == "a trial at a time"


def test_what_is_asked_for_is_done():
    small, large = descent(4, 2), descent(64, 64)  # 262,144 multiplications
    assert choose([small], "cpu", fused=False) == FORMS["trials last"]
    assert choose([large], "cpu", fused=True) == FORMS["one kernel"]
    assert choose([small], "cpu", block=16) == Form("last", 16, kernel=True)
    assert choose([large], "cpu", block=16) == Form("first", 16)
    assert choose([small], "cpu", block=1) == FORMS["a trial at a time"]
    assert choose([small], "cpu", block=1, fused=True) == Form("last", 1, kernel=True)


def test_a_slow_operation_keeps_a_loop_out_of_a_kernel():
    program = trace(lambda x: lax.fori_loop(0, 3, lambda _, x: jnp.arctan(x), x), jnp.zeros(3))
    assert choose([program], "cpu") == FORMS["trials last"]


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        ("sort", jnp.sort),
        ("scatter-add", lambda x: x.at[jnp.argmax(x)].add(1.0)),
        ("fft", lambda x: jnp.fft.fft(x).real),
        ("cholesky", lambda x: jnp.linalg.cholesky(jnp.diag(1 + x**2))[0]),
        ("pure_callback", lambda x: jax.pure_callback(np.sin, x, x, vmap_method="expand_dims")),
    ],
)
def test_one_kernel_asked_for_by_hand_names_what_it_cannot_hold(operation, step):
    def train_one(key):
        return lax.fori_loop(0, 3, lambda _, x: step(x), jax.random.normal(key, (4,)))

    with pytest.raises(ValueError, match=f"^fused: expected loops .* got one with the operation '{operation}'; leave"):
        sweep(train_one, range(3), fused=True)
    assert sweep(train_one, range(3))["result"].shape == (3, 4)


def test_the_form_is_recorded_with_plan_and_results():
    plans = []
    results = sweep(jax.random.normal, range(3), on_plan=plans.append)
    assert results.attrs["form"] == plans[0].form == "one kernel, trials last, blocks of 64"
    assert "one kernel, trials last, blocks of 64; " in str(plans[0])


@pytest.mark.skipif(not hasattr(jax, "new_ref"), reason="this JAX has no arrays that are changed in place")
def test_a_program_that_changes_arrays_in_place_is_carried_out_for_a_trial_at_a_time():
    def train_one(key):
        kept = jax.new_ref(jnp.zeros(3))

        def step(i, carry):
            kept[...] += jax.random.normal(jax.random.fold_in(key, i), (3,))
            return carry

        lax.fori_loop(0, 4, step, 0)
        return kept[...]

    results = sweep(train_one, range(5))
    assert results.attrs["form"] == "a trial at a time"
    draw = lambda i: jax.random.normal(jax.random.fold_in(trial_key(3), i), (3,))  # noqa: E731
    np.testing.assert_allclose(results["result"].sel(seed=3), sum(draw(i) for i in range(4)), rtol=1e-5)


IN_KERNELS = {
    "random": lambda x: x * 0.5 + jax.random.uniform(jax.random.fold_in(jax.random.key(0), x.sum().astype(int)), (4,)),
    "gather": lambda x: x[jnp.argsort(jnp.arange(4) * -1)] + x[jnp.argmax(x)],
    "dynamic_slice": lambda x: x + lax.dynamic_slice_in_dim(x, jnp.argmax(x), 2).sum(),
    "while": lambda x: lax.while_loop(lambda x: x.sum() < 3, lambda x: x + 0.3, x),
    "cond": lambda x: lax.cond(x[0] > 0.5, jnp.tanh, lambda x: x + 0.1, x),
    "scan": lambda x: lax.scan(lambda c, x: (c + x, c * 0.1), 0.0, x)[1],
    "cumsum": lambda x: jnp.cumsum(x) * 0.3,
    "window": lambda x: x * 0.5 + lax.reduce_window(x, -jnp.inf, lax.max, (2,), (1,), "SAME") * 0.1,
    "solve": lambda x: lax.custom_linear_solve(lambda v: 2 * v, x, solve=lambda f, b: b / 2) + 0.1,
    "bfloat16": lambda x: jnp.tanh(x.astype(jnp.bfloat16)).astype(jnp.float32),
    "stack": lambda x: jnp.tanh(jnp.stack([x, x[::-1]]).sum(0) + jnp.tile(x[:2], 2)),
    "product": lambda x: jnp.tanh(x @ jnp.arange(16.0).reshape(4, 4) * 0.01 + 0.1),
    "gamma": lambda x: jnp.tanh(jax.random.gamma(jax.random.key(1), 1.0 + jnp.abs(x))),
}


@pytest.mark.parametrize("name", IN_KERNELS)
def test_one_kernel_holds_what_it_is_said_to(name):
    def fn(x, _):
        return lax.fori_loop(0, 4, lambda _, x: IN_KERNELS[name](x), x)

    x = np.random.default_rng(0).random((70, 4), dtype=np.float32)
    assert choose([trace(fn, x[0], None)], "cpu") == FORMS["one kernel"]
    results = [
        over.collect(over(over.place(x), None), 70)
        for over in (OverTrials(fn, form=FORMS[form]) for form in ("one kernel", "batched"))
    ]
    np.testing.assert_allclose(*results, rtol=2e-5 if name != "bfloat16" else 1e-2, atol=1e-6)


@pytest.mark.parametrize("form", ["one kernel", "trials last"])
@pytest.mark.parametrize("in_loop", [True, False])
def test_products_are_compiled_apart(form, in_loop, monkeypatch):
    def fn(x, _):
        w = jnp.outer(x, x)
        step = lambda _, w: jnp.tanh(w @ w)  # noqa: E731
        return lax.fori_loop(0, 2, step, w) if in_loop else step(1, step(0, w))

    def calls():
        over = OverTrials(fn, form=FORMS[form])
        compiled = over._program.lower(over.place(np.ones((70, 4), np.float32)), None, np.int32(70)).compile()
        return compiled.as_text().count(" call(")

    apart = calls()
    monkeypatch.setattr(sys.modules["paramact_jax.programs.trials_last"], "TINY", 64)
    assert apart - calls() == (1 if in_loop else 2)


def test_loops_within_a_loop_that_is_no_kernel_are_kernels(monkeypatch):
    def fn(x, _):
        def epoch(_, x):
            return lax.fori_loop(0, 5, lambda _, x: jnp.tanh(x) + 0.1, jnp.sort(x))

        return lax.fori_loop(0, 3, epoch, x)

    x = np.random.default_rng(0).random((70, 4), dtype=np.float32)

    def carried_out():
        over = OverTrials(fn, form=FORMS["one kernel"])
        blocks = over.place(x)
        text = over._program.lower(blocks, None, np.int32(70)).as_text()
        return over.collect(over(blocks, None), 70), "xla_cpu_small_call" in text

    in_kernels, asked = carried_out()
    assert asked
    monkeypatch.setenv("PARAMACT_JAX_ONE_KERNEL", "0")
    without, asked = carried_out()
    assert not asked
    np.testing.assert_allclose(in_kernels, without, rtol=1e-6)


@pytest.mark.parametrize("own", [True, False], ids=["of each trial", "shared"])
def test_loops_of_a_solver(own):
    """JAX keeps the loop of a solver in an operation of its own, around which no program is built anew."""

    def train_one(key):
        b = jax.random.normal(key, (4,))
        a = jnp.outer(b, b) if own else jnp.diag(jnp.arange(4.0))
        x, _ = jax.scipy.sparse.linalg.cg(lambda v: a @ v + v, b if own else jnp.ones(4), maxiter=4)
        return {"x": x, "b": b}

    results = sweep(train_one, range(5))
    assert results.attrs["form"] == str(FORMS["one kernel"])
    b = results["b"].values
    expected = b / (1 + (b**2).sum(1, keepdims=True)) if own else 1 / (1 + np.arange(4.0)) + 0 * b
    np.testing.assert_allclose(results["x"], expected, rtol=1e-4)
