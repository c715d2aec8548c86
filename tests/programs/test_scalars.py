"""Programs of one trial on vectors of trials, one vector for each number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.programs import scalars, trace
from paramact_jax.programs.scalars import Lanes, NoRuleError

TRIALS = 11


def on_vectors(fn, *arrays):
    """What the function makes of each trial; the arrays have a last axis of trials."""
    program = trace(fn, *(jax.ShapeDtypeStruct(x.shape[:-1], x.dtype) for x in arrays))
    assert scalars.problem(program) is None

    @jax.jit
    def run(*arrays):
        given = [scalars.shaped([x[i] for i in np.ndindex(x.shape[:-1])], x.shape[:-1]) for x in arrays]
        made = scalars.carry_out(program, given, Lanes((TRIALS,)))
        return [
            jnp.stack([scalars.as_vector(number, Lanes((TRIALS,))) for number in x.flat]).reshape(*x.shape, TRIALS)
            for x in made
        ]

    return run(*arrays)


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=(*shape, TRIALS)).astype(np.float32))


def matrices(w, x):
    slope = jax.grad(lambda w: jnp.mean((jnp.tanh(x @ w) @ w.T) ** 2))(w)
    return slope, jnp.einsum("ij,ik->jk", x, x), x[:, None] * x[None]


def reductions(w, x):
    return (
        w.max(0),
        w.min(),
        w.prod(1),
        (w > 0).any(0),
        (w > 0).all(),
        jnp.argmax(x, 1),
        jnp.argmin(x),
        jnp.cumsum(x, 1),
    )


def moves(w, x):
    return (
        *(jnp.pad(w, ((1, 2), (0, 1))), w[jnp.array([2, 0])], w.at[1].set(3.0), jnp.tile(w, (2, 1)), jnp.roll(w, 1)),
        *(*jnp.split(w, 3), w.T.ravel(), jnp.stack([w, w], 1), w[::-1], jnp.concatenate([w, w], 1), w[1:, :2]),
        *(jnp.arange(3.0)[:, None] * w, jnp.broadcast_to(w[0], (2, 3)), jnp.where(jnp.eye(3) > 0, w, 0.0)),
    )


def branches(w, x):
    which = jnp.int32(2 * w[0, 0])
    chosen = lax.switch(which, [lambda: x, lambda: -x, lambda: x**3])
    return lax.cond(w[0, 0] > 0, lambda: w * 2, lambda: w - 1), chosen, jnp.select([w > 1, w > 0], [w, -w], 7.0)


def loops(w, x):
    summed = lax.fori_loop(0, 5, lambda i, s: s + w[i % 3] * i, w[0])
    last, kept = lax.scan(lambda c, row: (c * 0.5 + row, c), w[0], w)
    back, _ = lax.scan(lambda c, row: (c * 0.5 + row, None), w[0], w, reverse=True)
    told = lax.fori_loop(0, 3, lambda i, c: (c[0] | (c[1] > i), c[1] + 1), (w[0, 0] > 0, w[0, 1]))
    return summed, last, kept, back, told


def indices(w, x):
    at = jnp.int32(3 * jnp.abs(w[0, 0]))
    row = lax.dynamic_index_in_dim(w, at, keepdims=False)
    return row, lax.dynamic_update_slice(w, row[None] + 1, (at - 2, 0)), w[at]


def functions(w, x):
    y = 4 * w
    return (
        *(jnp.expm1(5 * y), jnp.log1p(jnp.abs(y) * 1e-5), jnp.floor(y), jnp.ceil(y), lax.erfc(y), jnp.arctan(9 * y)),
        *(jax.nn.gelu(y, approximate=False), jax.nn.softplus(y), y**-3, y**5, jnp.abs(y) ** 2.5, y**3.0, jnp.tan(w)),
        *(jnp.isfinite(1 / (y - y)), (y > 0).astype(jnp.float32), jnp.float32(0.9) ** jnp.int32(30 * y), jnp.sign(y)),
        *(jax.nn.softmax(y), jax.nn.logsumexp(y), jax.nn.log_softmax(y), jnp.square(y), jnp.clip(y, -1, 1)),
    )


@pytest.mark.parametrize("fn", [matrices, reductions, moves, branches, loops, indices, functions])
def test_it_computes_what_vmap_computes(fn):
    arrays = drawn(3, 3), drawn(4, 3)
    with jax.numpy_rank_promotion("allow"):
        found = on_vectors(fn, *arrays)
        wanted = jax.tree.leaves(jax.jit(jax.vmap(fn, in_axes=-1, out_axes=-1))(*arrays))
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=5e-6, atol=2e-6)


def test_float64_keeps_its_digits(x64):
    arrays = drawn(3, 3).astype(jnp.float64), drawn(4, 3).astype(jnp.float64)
    found = on_vectors(matrices, *arrays)
    wanted = jax.vmap(matrices, in_axes=-1, out_axes=-1)(*arrays)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("function", "exact", "numbers"),
    [
        (scalars._expm1, np.expm1, [-90, -1, -1e-30, 0, 1e-7, 0.3, 80, -np.inf, np.inf, np.nan]),
        (scalars._log1p, np.log1p, [-1, -0.9, -1e-30, 0, 1e-7, 0.3, 1e30, np.inf, np.nan, -2]),
        (scalars._atan, np.arctan, [-1e30, -2.5, -0.4, 0, 1e-30, 0.4, 0.5, 3, np.inf, -np.inf, np.nan]),
        (scalars._floor, np.floor, [-2.5, -2, -0.5, 0, 0.5, 1e20, -1e20, np.inf, -np.inf, np.nan]),
    ],
)
def test_what_is_written_here_keeps_its_digits_and_limits(function, exact, numbers):
    numbers = np.array([*numbers, *np.linspace(-0.99, 5, 999)], np.float32)
    with np.errstate(all="ignore"):
        wanted = exact(numbers.astype(np.float64))
    np.testing.assert_allclose(function(jnp.asarray(numbers)), wanted, rtol=4e-7)


def test_erfc_has_digits_in_the_tail():
    x = jnp.linspace(-5, 9, 500)
    np.testing.assert_allclose(scalars._erfc(x), lax.erfc(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: c + 1, x), "while with an end of its own"),
        (lambda x: lax.fori_loop(0, jnp.int32(x[0]), lambda i, c: c + 1, x), "while with an end of its own"),
        (lambda x: lax.scan(lambda c, _: (c * 2, None), x, length=65)[0], "scan of 65 steps within a loop"),
        (lambda x: jnp.ones(50)[jnp.int32(x[0])], "among more than 32 places"),
        (lambda x: x[jnp.int32(x)], "gather with an index that is not known before"),
        (jnp.sort, "sort"),
    ],
)
def test_what_has_no_rule_is_named(fn, says):
    program = trace(fn, jnp.ones(3))
    given = [scalars.shaped([jnp.ones(4)] * 3, (3,))]
    with pytest.raises(NoRuleError, match=says):
        jax.eval_shape(
            lambda: scalars.as_vector(scalars.carry_out(program, given, Lanes((4,)))[0].flat[0], Lanes((4,)))
        )


@pytest.mark.parametrize(
    ("fn", "count"),
    [
        (lambda x: x + 1, 6),
        (lambda x: x @ x.T, 24),
        (lambda x: lax.fori_loop(0, 9, lambda i, c: c * 2, x), 9 * 6),
        (lambda x: x.T.reshape(6), 0),
    ],
)
def test_operations_are_counted_by_numbers(fn, count):
    assert count <= scalars.operations(trace(fn, jnp.ones((2, 3)))) <= count + 12
