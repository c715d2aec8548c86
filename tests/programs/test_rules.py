"""Every operation with the trials on the last axis, against jax.vmap."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.sparse import BCOO
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from paramact_jax.programs import rules, trace, trials_last, walk
from tests.programs.agreement import TRIALS, check, keys, normal

pytestmark = pytest.mark.usefixtures("unoptimised")

FLOAT = [
    *(lax.abs, lax.neg, lax.sign, lax.floor, lax.ceil, lax.round, lax.is_finite, lax.sin, lax.cos, lax.tan, lax.tanh),
    *(lax.sinh, lax.cosh, lax.exp, lax.exp2, lax.expm1, lax.logistic, lax.cbrt, lax.square, lax.erf, lax.erfc),
    *(lax.atan, lax.asinh, lax.bessel_i0e, lax.bessel_i1e, jnp.copy, jnp.conj, lambda x: x**3, lambda x: x**-2),
    lambda x: x.astype("bfloat16"),
    lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
]
BETWEEN_0_AND_1 = [
    *(lax.sqrt, lax.rsqrt, lax.log, lax.log1p, lax.asin, lax.acos, lax.atanh, lax.erf_inv, lax.lgamma, lax.digamma),
    lambda x: lax.acosh(1 + x),
    jnp.log2,
]
BINARY = [
    *(lax.add, lax.sub, lax.mul, lax.div, lax.rem, lax.max, lax.min, lax.atan2, lax.nextafter, lax.pow),
    *(lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge, lax.complex, lax.igamma, lax.igammac),
    *(lax.random_gamma_grad, lax.igamma_grad_a, lambda x, y: lax.zeta(1.5 + x, y)),
    *(lambda x, y: lax.betainc(x, y, 0.3 * x / x), lambda x, y: lax.polygamma(1.0 + 0 * x, y)),
]
INTEGER = [
    *(lax.add, lax.mul, lax.max, lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor, lax.shift_left, lax.rem, lax.eq),
    *(lax.shift_right_logical, lax.shift_right_arithmetic),
    lambda x, y: (lax.bitwise_not(x), lax.clz(y), lax.population_count(x), x**2, x // y, x > y, -x),
]
COMPLEX = [lax.real, lax.imag, lax.conj, lax.exp, lax.abs, lambda x: x * (1 + 2j), lambda x: x.sum(0)]
OWN = [[True, True], [True, False], [False, True]]
each_own = pytest.mark.parametrize("own", OWN)


def all_of(functions):
    return lambda *values: [function(*values) for function in functions]


def of_shape(is_own, *shape, positive=False):
    values = normal(*shape, *([TRIALS] if is_own else []), seed=len(shape) + is_own)
    return jnp.abs(values) + 0.1 if positive else values


def test_functions_of_one_number():
    check(all_of(FLOAT), normal(3, 2, TRIALS))
    check(all_of(BETWEEN_0_AND_1), jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, (2, TRIALS)), "float32"))
    check(all_of(COMPLEX), normal(3, TRIALS).astype("complex64") * (1 - 1j))
    check(lambda x: (jnp.logical_not(x), x.any(), x.all(), x.astype(int).sum()), normal(3, TRIALS) > 0)


@each_own
def test_functions_of_two_numbers(own):
    check(all_of(BINARY), *(of_shape(o, 3, 2, positive=True) for o in own), own=own)
    check(all_of(INTEGER), *(jnp.round(9 * of_shape(o, 4, positive=True)).astype(int) for o in own), own=own)


def test_every_elementwise_primitive_of_jax_is_tried():
    """The list names only what these tests carry out, and primitives that other versions of JAX have."""
    x = jnp.ones(3)
    programs = [trace(all_of(FLOAT + BETWEEN_0_AND_1), x), trace(all_of(BINARY), x, x), trace(all_of(COMPLEX), x + 1j)]
    programs.append(trace(all_of(INTEGER), jnp.arange(3), jnp.arange(3)))
    programs.append(trace(jax.grad(lambda x: (x * x + jnp.sin(x)).sum()), x))
    programs.append(trace(lambda x: checkpoint_name(x, "kept"), x))
    tried = {operation.name for program in programs for operation in walk(program)}
    assert rules.ELEMENTWISE - tried <= {"copy", "copy_p", "add_any", "one_minus_square", "log2", "not"}


@each_own
def test_arrays_that_are_stacked_tiled_and_named(own):
    def function(x, y):
        return jnp.stack([x, y], 1), jnp.tile(x, (2, 1, 3)), jnp.unstack(y, axis=1), checkpoint_name(x, "kept") + y

    check(function, *(of_shape(o, 3, 2) for o in own), own=own, exact=True)


@each_own
@pytest.mark.parametrize(
    "shapes", [((), ()), ((3, 2), ()), ((), (3, 2)), ((3, 1), (1, 2)), ((1,), (3, 2)), ((0,), (0,))]
)
def test_operands_that_are_broadcast(own, shapes):
    def function(x, y):
        with jax.numpy_rank_promotion("allow"):
            return x + y, jnp.where(x > 0, x, y), jnp.where(y > 0, 1.0, y), jnp.clip(x, -1, y), 2 * x, x - jnp.pi

    check(function, *(of_shape(o, *shape) for o, shape in zip(own, shapes, strict=True)), own=own, exact=True)


def test_a_number_and_an_array_in_one_operation():
    """As JAX writes numbers that a program holds, and derivatives."""
    check(lambda x, y: jax.grad(lambda x: (x * y.sum() + x * x + y).sum())(x), normal(3, TRIALS), normal(3), own=[1, 0])
    check(lambda x, y: jax.grad(lambda y: (x * y + jnp.sin(y)).sum())(y), normal(3), normal(3, TRIALS), own=[0, 1])
    check(lambda x: lax.mul_p.bind(x, 2 * x[0, 0]), normal(3, 2, TRIALS))


@each_own
def test_choices_with_one_predicate_for_all(own):
    x, y = (of_shape(o, 3, 2) for o in own)
    check(lambda x, y: (lax.select(x.sum() > 0, x, y), lax.select_n(y > 0, x, y)), x, y, own=own, exact=True)
    check(lambda x, y: lax.select_n(jnp.int32(2) * (y[0, 0] > 0), x, y, -x), x, y, own=own, exact=True)
    check(lambda x, y: (lax.clamp(x[0, 0], y, 1.0), lax.clamp(-y * y, x, y * y)), x, y, own=own, exact=True)


LETTERS = [
    *("ij,jk->ik", "ij,kj->ik", "ji,jk->ik", "ij,jk->ki", "bij,bjk->bik", "ijb,kjb->kib", "bij,kbj->bki", "ij,ij->"),
    *("ijk,jkl->il", "ijk,kjl->li", "i,i->", "i,j->ij", "i,j->ji", "abij,jbka->kbia", "i,ij->j", "ij,->ji", "bi,b->bi"),
]


@each_own
@pytest.mark.parametrize("letters", LETTERS)
def test_products(own, letters):
    sizes = dict(zip("abijkl", (2, 3, 4, 9, 2, 3), strict=True))
    shapes = [[sizes[letter] for letter in part] for part in letters.split("->")[0].split(",")]
    operands = [of_shape(o, *shape) for o, shape in zip(own, shapes, strict=True)]
    whole = [jnp.round(9 * x).astype(int) for x in operands]
    both = [list(pair) for pair in zip(operands, whole, strict=True)]
    check(lambda x, y: [jnp.einsum(letters, x[i], y[i]) for i in range(2)], *both, own=own)


@pytest.mark.parametrize(
    ("numbers", "right"),
    [
        ((((1, 2), (2, 0)), ((0,), (1,))), (4, 2, 3)),
        ((((2, 1), (0, 2)), ((0,), (1,))), (4, 2, 3)),
        ((((0,), (1,)), ((2, 1), (0, 2))), (4, 2, 3)),
        ((((), ()), ((2, 0, 1), (0, 1, 2))), (4, 2, 3)),
        ((((2, 0, 1), (0, 1, 2)), ((), ())), (4, 2, 3)),
    ],
)
@each_own
def test_products_by_dimension_numbers(own, numbers, right):
    operands = [of_shape(o, *shape) for o, shape in zip(own, [(2, 3, 4), right], strict=True)]
    check(lambda x, y: lax.dot_general(x, y, numbers), *operands, own=own)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "int8"])
def test_products_of_other_numbers(dtype):
    x, y = (3 * normal(4, 12, TRIALS)).astype(dtype), normal(12, 2, TRIALS, seed=1).astype(dtype)
    check(lambda x, y: (x @ y, jnp.matmul(x, y, preferred_element_type="float32")), x, y, tolerance=3e-2)


def test_products_too_large_to_be_summed_one_by_one():
    check(lambda x, y: x @ y, normal(20, 30, TRIALS), normal(30, 10), own=[True, False], tolerance=1e-4)


def test_float64(x64):
    x, y = normal(3, 12, TRIALS, dtype="float64"), normal(12, 2, dtype="float64")
    check(lambda x, y: (x @ y, x.mean(), 2 * x, x.astype("float32") * 2), x, y, own=[True, False], tolerance=1e-14)
    body = lambda c: (c[0] + 1, c[1] * 2, 0.0, 0)  # noqa: E731
    check(lambda x: lax.while_loop(lambda c: c[0] < 3, body, (jnp.int32(0), x, x[0, 0], 1)), x)


SHAPES = [
    *(lambda x: x.sum(), lambda x: x.sum((0, 2)), lambda x: x.max(1), lambda x: x.prod(0), lambda x: x.argmax(2)),
    *(
        lambda x: x.argmin(),
        lambda x: x.reshape(6, 20),
        lambda x: x.ravel(),
        lambda x: x.transpose(2, 0, 1),
        lambda x: x.T,
    ),
    *(
        lambda x: x[:, None],
        lambda x: x[:1].squeeze(0),
        lambda x: x[::-1, ::2],
        lambda x: x[1, 2:, -1],
        jnp.flip,
    ),
    *(lambda x: jnp.pad(x, ((1, 0), (0, 2), (0, 0))), lambda x: lax.pad(x, x[0, 0, 0], ((1, -1, 1),) * 3)),
    *(lambda x: jnp.split(x, [1, 3], 1), lambda x: jnp.concatenate([x, jnp.ones((2, 1, 12)), x], 1)),
    *(
        lambda x: jnp.stack([x, x], 1),
        lambda x: jnp.tile(x, 2),
        lambda x: jnp.repeat(x, 2, 0),
        lambda x: jnp.roll(x, 1, 1),
    ),
    *(lambda x: lax.cumsum(x, 2), lambda x: lax.cummax(x, 1, reverse=True), lambda x: lax.cumlogsumexp(x, 0)),
    *(lambda x: lax.cumprod(x, 1), lax.cummin, lambda x: lax.reduce_precision(x, 5, 5)),
    *(lambda x: jnp.sort(x, 1), lambda x: jnp.argsort(x, 0), lambda x: lax.sort((x, jnp.ones_like(x)), dimension=1)),
    *(lambda x: lax.top_k(x, 2), lambda x: jnp.median(x, 0), jnp.std, jnp.linalg.norm),
    *(lambda x: lax.sort((jnp.ones((2, 5, 12)), x), dimension=1, num_keys=2), lambda x: jax.nn.softmax(x, 1)),
    *(
        lambda x: lax.reduce(x, -jnp.inf, lax.max, (1,)),
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2), (1, 1, 1), "VALID"),
    ),
    *(lambda x: lax.optimization_barrier((x, jnp.ones(2))), lambda x: (1.0, jnp.zeros(2), x, True, jnp.arange(3))),
    *(lambda x: jnp.histogram(x, 3)[0], lambda x: jnp.cumsum(x > 0), lambda x: jax.nn.one_hot(x.argmax(1), 3)),
    *(lambda x: jnp.fft.fft(x[0]), lambda x: lax.reduce_or(x > 1, (1,)), lambda x: lax.reduce_and(x > -1, (0,))),
    *(lambda x: lax.reduce_xor((x * 9).astype(int), (0, 1)), lambda x: jnp.unique(x.astype(int), size=4)),
    *(lambda x: jnp.searchsorted(x[0, 0], x[1, 0]), lambda x: jnp.interp(x[0], jnp.arange(12.0), x[1, 0])),
]


def test_shapes_reductions_and_orders():
    check(all_of(SHAPES), normal(2, 5, 12, TRIALS))


@pytest.mark.parametrize("own", [[True, True], [True, False], [False, True]])
def test_places(own):
    x = of_shape(own[0], 4, 3)
    i = jnp.asarray([1, -2, 3, 0, 7])[: TRIALS if own[1] else 1].reshape((TRIALS,) if own[1] else ())

    def function(x, i):
        rows = jnp.stack([i, 0 * i + 1])
        yield x[i], x[:, i % 3], x[rows], x[rows, rows % 3], jnp.take(x, rows, 0, mode="clip"), x[jnp.array([2, 0])]
        yield x.at[i].set(1.0), x.at[:, rows % 3].add(2.0), x.at[rows, 1].max(0.0), x.at[jnp.array([0, 2])].set(x[:2])
        yield x.at[rows].mul(x[:2]), x.at[rows].min(x[0, 0]), jax.ops.segment_sum(x, rows[jnp.array([0, 1, 1, 0])], 5)
        yield lax.dynamic_slice(x, (i, 0 * i), (2, 2)), lax.dynamic_update_slice(x, x[:2, :1], (i, 0 * i + 1))
        yield lax.dynamic_index_in_dim(x, i, 0), lax.dynamic_update_index_in_dim(x, x[0], i, 0)
        yield jnp.take_along_axis(x, jnp.argsort(x, 0), 0), jax.vmap(lambda row: row[i % 3])(x)
        yield jax.grad(lambda x: (x[rows] ** 2).sum())(x), jnp.ones((4, 3)).at[i].add(x[0])

    check(lambda x, i: list(function(x, i)), x, i, own=own)


@pytest.mark.parametrize("start", [-9, -5, -1, 0, 3, 9])
def test_slices_from_outside_an_array(start):
    """JAX counts a negative start from the end once, before its primitive, which takes what is negative then for 0."""
    check(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2), normal(4, TRIALS), jnp.int32(start), own=[True, False])
    update = lambda x, i: lax.dynamic_update_slice_in_dim(x, x[:2], i, 0)  # noqa: E731
    check(update, normal(4, TRIALS), jnp.int32(start), own=[True, False])


def draw(key):
    first, second = jax.random.split(key)
    parts = jax.random.split(key, 3)
    yield first, parts, jax.random.fold_in(second, 3), jax.random.key_data(key), jnp.stack([first, second])
    yield jax.random.normal(key, (3, 2)), jax.random.bits(key, (4,)), jax.random.uniform(key), jax.random.clone(key)
    yield jax.random.permutation(key, 7), jax.random.randint(key, (2,), 0, 9), jax.random.bernoulli(key, 0.3, (5,))
    yield jax.vmap(lambda key: jax.random.normal(key, 2))(parts), jax.random.choice(key, 9, (3,), replace=False)
    yield lax.select(jax.random.bernoulli(key), first, second), parts[1:], parts.reshape(3, 1)
    yield lax.scan(lambda key, _: (jax.random.split(key)[0], jax.random.normal(key)), key, None, 3)
    yield lax.fori_loop(0, 2, lambda i, key: jax.random.fold_in(key, i), key)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_random_numbers_have_the_same_bits(implementation):
    check(lambda key: list(draw(key)), keys(implementation), exact=True)


def test_random_numbers_of_a_shared_key_and_by_rejection():
    check(lambda key, x: [*list(draw(key))[:6], x], jax.random.key(3), normal(2, TRIALS), own=[False, True], exact=True)
    check(lambda key: (jax.random.gamma(key, 2.0), jax.random.poisson(key, 3.0), jax.random.beta(key, 2, 2)), keys())
    raw = jax.vmap(jax.random.key_data, in_axes=-1, out_axes=-1)(keys())
    check(lambda key: (jax.random.normal(key, 3), jax.random.split(key)), raw, exact=True)


def test_linear_algebra_and_convolutions():
    def function(a, b):
        positive = a @ a.T + 3 * jnp.eye(3)
        yield jnp.linalg.inv(positive), jnp.linalg.eigvalsh(positive), jnp.linalg.det(a), jnp.linalg.cholesky(positive)
        yield jnp.linalg.solve(positive, b), jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(positive), b)
        yield jnp.linalg.svd(a, compute_uv=False), jnp.abs(jnp.linalg.qr(a)[1]), jax.scipy.linalg.expm(a)
        yield jax.scipy.sparse.linalg.cg(positive, b)[0], jnp.linalg.slogdet(a), jnp.linalg.matrix_power(a, 3)

    for own in OWN:
        a, b = of_shape(own[0], 3, 3), of_shape(own[1], 3)
        check(lambda a, b: list(function(a, b)), a, b, own=own, tolerance=1e-3)
        image, kernel = of_shape(own[0], 2, 1, 4, 4), of_shape(own[1], 2, 1, 3, 3)
        check(lambda a, b: lax.conv_general_dilated(a, b, (1, 1), "SAME"), image, kernel, own=own)


def test_a_primitive_that_is_not_known_is_left_to_its_own_batching_rule():
    half = Primitive("half_of_both")
    half.multiple_results = True
    made = lambda x, y: [x / 2, (x.sum() + y.sum())[None]]  # noqa: E731
    half.def_impl(made)
    half.def_abstract_eval(lambda x, y: [x, x.update(shape=(1,))])
    mlir.register_lowering(half, mlir.lower_fun(made, multiple_results=True))

    def batched(values, axes):
        x, y = (
            jnp.broadcast_to(v, (TRIALS, *v.shape)) if a is None else jnp.moveaxis(v, a, 0)
            for v, a in zip(values, axes, strict=True)
        )
        return [x / 2, (x.sum(1) + y.sum(1))[:, None]], [0, 0]

    batching.primitive_batchers[half] = batched
    for own in OWN:
        check(half.bind, *(of_shape(o, 4) for o in own), own=own)


def check_one_by_one(function, *values, own=(True,)):
    """Compares with a call for each trial, where `jax.vmap` refuses a last axis of trials."""
    of_trial = lambda i: [x[..., i] if is_own else x for x, is_own in zip(values, own, strict=True)]  # noqa: E731
    got = trials_last(trace(function, *of_trial(0)), own)(*values)
    np.testing.assert_allclose(got, jnp.stack([function(*of_trial(i)) for i in range(TRIALS)], -1), rtol=1e-5)


@pytest.mark.parametrize("own", [[True, True, True], [True, False, False], [False, True, False]])
def test_a_rule_for_the_first_axis_and_for_every_input(own):
    sizes = jnp.stack([jnp.array([1, 5])] * TRIALS, -1)
    values = normal(6, 4, TRIALS), normal(2, 4, 3, TRIALS, seed=1), sizes
    values = [x if is_own else x[..., 0] for x, is_own in zip(values, own, strict=True)]
    check_one_by_one(lax.ragged_dot, *values, own=own)


def test_rules_for_the_first_axis_and_for_shared_inputs():
    """Of bytes that become words, and of sparse arrays."""
    data = jnp.arange(3 * 4 * TRIALS, dtype=jnp.uint8).reshape(3, 4, TRIALS)
    check_one_by_one(lambda x: lax.bitcast_convert_type(x, jnp.uint32), data)
    product = lambda x, y: BCOO.fromdense(x, nse=6) @ y  # noqa: E731
    check_one_by_one(product, normal(3, 2, TRIALS), normal(2), own=[True, False])


def test_what_no_rule_can_do_raises_what_its_rule_says_first():
    refuses = Primitive("refuses")
    refuses.def_abstract_eval(lambda x: x)
    batching.primitive_batchers[refuses] = lambda values, axes: {}[axes[0]]
    with pytest.raises(KeyError, match="2"):
        check(refuses.bind, normal(3, 4, TRIALS))


def test_callbacks(capfd):
    def function(x, y):
        jax.debug.print("y {}", y)
        there = jax.pure_callback(lambda x: np.sort(x)[::-1], x, x, vmap_method="sequential")
        return there, jax.pure_callback(lambda y: y + 1, y, y, vmap_method="broadcast_all")

    check(function, normal(3, TRIALS), jnp.float32(2.0), own=[True, False], exact=True)
    jax.effects_barrier()
    assert capfd.readouterr().out.count("y 2.0") == 2  # with the trials last, and by vmap


def test_rules_of_other_people():
    doubled = jax.custom_batching.custom_vmap(lambda x, y: 2 * x + y)

    @doubled.def_vmap
    def rule(size, batched, x, y):
        return 3 * x + jnp.expand_dims(y, tuple(range(1 - batched[1]))), True

    check(doubled, normal(3, TRIALS), normal(3), own=[True, False])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_orders_of_axes(order):
    check(lambda x: (x.transpose(order), x.transpose(order).reshape(-1), x.sum(order[:2])), normal(2, 3, 4, TRIALS))
