"""Loops, branches, calls and derivatives with the trials on the last axis, against jax.vmap."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from paramact_jax.programs import trace, trials_last
from tests.programs.agreement import TRIALS, check, keys, normal

pytestmark = pytest.mark.usefixtures("unoptimised")
X, W, N = normal(3, TRIALS), normal(3, 3, seed=1), jnp.arange(TRIALS)
each_count = pytest.mark.parametrize(("n", "own"), [(jnp.int32(4), False), (N, True)])


@pytest.mark.parametrize(("n", "own"), [(jnp.int32(4), [True, False]), (N, [True, True]), (N, [False, True])])
def test_while_with_carries_of_several_ranks(n, own):
    def function(x, n):
        def body(carry):
            i, x, y, key, kept = carry
            return i + 1, jnp.tanh(x + i), y + jnp.outer(x, x), jax.random.fold_in(key, i), kept

        carry = 0, x, jnp.zeros((3, 3)), jax.random.key(0), x.sum()
        return lax.while_loop(lambda carry: (carry[0] < n) & (carry[4] < 9), body, carry)

    check(function, X if own[0] else X[:, 0], n, own=own)


def test_a_trial_that_has_ended_stays_what_it_was_where_a_further_step_gave_nan():
    def function(x, n):
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, jnp.sqrt(c[1] - 1)), (0, x + n))[1]

    check(function, jnp.zeros((2, TRIALS)), jnp.minimum(N, 1))


def test_trials_that_end_by_their_own_values():
    check(lambda x: lax.while_loop(lambda x: x.sum() < 20, lambda x: 1.5 * x + 1, x), jnp.abs(X))
    check(lambda x: lax.while_loop(lambda c: c[0] < x[0], lambda c: (c[0] + 0.4, c[1] + 1), (-1.0, jnp.zeros(2))), X)


def test_what_is_carried_becomes_a_trials_own_steps_later():
    def rotate(carry, x):
        a, b, c, i = carry
        return (b, c, c if x is None else x, i + 1), (a, i)

    check(lambda x: lax.scan(rotate, (jnp.zeros(3), jnp.ones(3), x, 0), None, 5), X)
    check(lambda x: lax.scan(rotate, (jnp.zeros(3), jnp.ones(3), jnp.ones(3), 0), jnp.stack([x] * 4)), X)
    body = lambda c: (c[1], c[2], c[3], c[3], c[4] + 1)  # noqa: E731
    zero = jnp.zeros(3)
    check(lambda x: lax.while_loop(lambda c: c[4] < 2, body, (zero, zero, zero, x, 0)), X)
    body = lambda c: (c[1], c[2], c[2], c[3] + c[0].sum())  # noqa: E731 - its end becomes a trial's own, and then all
    check(lambda x: lax.while_loop(lambda c: c[3] < 9.0, body, (zero, zero, jnp.abs(x), 1.0)), X + 1)


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"unroll": 2}])
@pytest.mark.parametrize("own", [[True, False], [False, True], [True, True]])
def test_scan(options, own):
    def function(x, w):
        def step(carry, x):
            carry = jnp.tanh(w[:, 0] + carry * x.sum())
            return carry, (carry.sum(), x, 1.0)

        return lax.scan(step, jnp.zeros(3), x, **options)

    x, w = normal(5, 2, TRIALS), normal(3, 2, TRIALS, seed=1)
    check(function, *(a if o else a[..., 0] for a, o in zip((x, w), own, strict=True)), own=own)


@pytest.mark.parametrize("own", [[True, False], [False, True], [True, True]])
def test_a_solver_and_its_derivative(own):
    def function(a, b):
        def solved(b):
            solve = lambda v: jnp.diag(jnp.abs(a) + 1) @ v  # noqa: E731
            return jax.scipy.sparse.linalg.cg(solve, b, maxiter=3)[0]

        return solved(b), jax.grad(lambda b: jnp.tanh(solved(b)).sum())(b)

    a, b = X, normal(3, TRIALS, seed=1)
    check(function, *(x if o else x[:, 0] for x, o in zip((a, b), own, strict=True)), own=own)


def test_nested_loops():
    def function(x, n):
        def inner(i, x):
            return lax.while_loop(lambda x: jnp.abs(x).sum() > 1, lambda x: 0.5 * x * (i + 1) / (i + 2), x)

        def outer(carry, y):
            carry = lax.fori_loop(0, n, inner, carry + y)
            return carry, lax.scan(lambda c, z: (c + z, c * y), y, carry)[0]

        return lax.scan(outer, x, jnp.arange(6.0).reshape(2, 3)), lax.map(lambda y: y * x, x)

    check(function, X, jnp.int32(2), own=[True, False])
    check(function, X, N)
    check(lambda x: lax.associative_scan(jnp.add, x), X)


@each_count
def test_branches(n, own):
    def function(x, n):
        yield lax.cond(n > 2, jnp.sin, lambda x: 0 * x, x)
        yield lax.switch(n, [lambda x: (x, 1.0), lambda x: (jnp.ones(3), x.sum()), lambda x: (x * x, x[0])], x)
        yield lax.switch(n, [lambda: jnp.zeros(2), lambda: jnp.ones(2)])
        yield lax.cond(x.sum() > 0, lambda x: lax.fori_loop(0, n, lambda i, x: x + i, x), lambda x: x, x)
        yield lax.cond(n > 0, lambda key: key, lambda key: jax.random.fold_in(key, n), jax.random.key(0))
        yield lax.switch(0 * n, [lambda x: 2 * x], x)

    check(lambda x, n: list(function(x, n)), X, n, own=[True, own])
    check(lambda x, n: list(function(x, n)), X[:, 0], n, own=[False, own]) if own else None


@jax.custom_jvp
def straight(x):
    return jnp.round(x)


straight.defjvp(lambda primals, tangents: (straight(*primals), tangents[0] * jnp.sign(primals[0])))


@jax.custom_vjp
def clipped(x):
    return x * 2


clipped.defvjp(lambda x: (clipped(x), x), lambda x, g: (jnp.clip(g, -0.1, 0.1) * x,))


def losses(w, x):
    def loss(w, f):
        h = f(x @ w)
        return ((h + x @ w) ** 2).mean() + (h * w[:1]).sum()

    for f in (straight, clipped, jax.nn.relu, jax.nn.gelu, jax.checkpoint(jnp.tanh), jax.jit(jax.nn.softplus)):
        yield jax.value_and_grad(lambda w, f=f: loss(w, f))(w)
    policy = jax.checkpoint_policies.dots_saveable
    yield jax.grad(jax.checkpoint(lambda w: loss(w, jnp.sin), policy=policy))(w)
    yield jax.grad(lambda w: lax.scan(lambda c, _: (jnp.tanh(w @ c), None), x.T, None, 3)[0].sum())(w)
    yield jax.jvp(lambda w: loss(w, jnp.tanh), (w,), (w,)), jax.hessian(lambda v: jnp.tanh(v @ w).sum())(w[0])
    yield jax.vmap(jax.grad(lambda x, w: jnp.logaddexp(*x[:2]) * w.sum()), (0, None))(x, w), jax.jacrev(jnp.sin)(w[0])


@pytest.mark.parametrize("own", [[True, False], [False, True], [True, True]])
def test_derivatives(own):
    w, x = normal(3, 3, TRIALS), normal(4, 3, TRIALS, seed=1)
    arguments = [a if o else a[..., 0] for a, o in zip((w, x), own, strict=True)]
    check(lambda w, x: list(losses(w, x)), *arguments, own=own, tolerance=1e-4)


def test_functions_that_end_where_they_begin():
    check(lambda x, y: (y, x, {"a": 2}, jnp.ones(2)), X, W, own=[True, False], exact=True)
    check(lambda key, x: {"key": key, "x": x[::-1]}, keys(), (X, jnp.float32(1)), own=[True, False])
    check(lambda x: x, {"a": X, "b": (jnp.zeros((0, TRIALS)), X.astype(bool))}, exact=True)


@pytest.mark.parametrize("own", [[False, False], [True, True]])
def test_arguments_without_trials_or_with_other_numbers_of_them(own):
    many = trials_last(trace(lambda x, y: x + y, jnp.zeros(3), jnp.zeros(3)), own)
    with pytest.raises(ValueError, match="expected trials on the last axis"):
        many(jnp.zeros((3, 4)), jnp.zeros((3, 5)))


def test_arguments_of_another_structure():
    many = trials_last(trace(lambda x: x, jnp.zeros(3)), [True])
    with pytest.raises(ValueError, match="expected arguments like"):
        many({"x": jnp.zeros((3, 4))})


def test_one_trial_and_many():
    program = trace(lambda x: lax.scan(lambda c, x: (c + x, c), 0.0, x), jnp.zeros(3))
    many = trials_last(program, [True])
    x = normal(3, 1)
    assert jnp.array_equal(many(jnp.repeat(x, 1000, 1))[1], jnp.repeat(many(x)[1], 1000, 1))
