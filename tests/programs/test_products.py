"""Products as multiply-and-sum: no axis is moved that need not be, and sums are unrolled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.programs import trace, trials_last, walk
from paramact_jax.programs.products import LARGEST, TINY, UNROLLED, product, sum_over
from tests.programs.agreement import TRIALS, normal


def names_in(letters, shared=False):
    """Names of the operations of many products."""
    sizes = dict(zip("bijk", (2, 3, 4, 5), strict=True))
    left, right = (jnp.ones([sizes[x] for x in part]) for part in letters.split("->")[0].split(","))
    many = trials_last(trace(lambda x, y: jnp.einsum(letters, x, y), left, right), [True, not shared])
    shapes = [jnp.ones((*left.shape, TRIALS)), right if shared else jnp.ones((*right.shape, TRIALS))]
    return [operation.name for operation in walk(trace(many, *shapes))]


PRODUCTS = ["ij,jk->ik", "bij,bjk->bik", "ij,kj->ik", "ji,jk->ik", "bij,bkj->bik", "i,i->", "ij,j->i"]


@pytest.mark.parametrize("letters", PRODUCTS)
@pytest.mark.parametrize("shared", [True, False])
def test_products_need_no_transposition(letters, shared):
    names = names_in(letters, shared)
    assert "transpose" not in names
    assert "dot_general" not in names
    assert names.count("mul") == 1


def test_orders_that_contradict_each_other_need_one():
    assert names_in("ij,ji->").count("transpose") == 1
    assert names_in("ij,jk->ki").count("transpose") <= 1


def test_a_layer_and_its_gradient_need_no_transposition():
    """Products of one trial as JAX writes them, with their transpositions, which go into the order of the axes."""
    program = trace(jax.grad(lambda w, x: (jnp.tanh(x @ w) @ w.T).sum()), jnp.ones((3, 4)), jnp.ones((5, 3)))
    many = trials_last(program, [True, False])
    ours = [operation.name for operation in walk(trace(many, jnp.ones((3, 4, TRIALS)), jnp.ones((5, 3))))]
    of_one = [operation.name for operation in walk(program)]
    assert ours.count("transpose") <= of_one.count("transpose")


@pytest.mark.parametrize("size", [0, 1, UNROLLED, UNROLLED + 1, 3 * UNROLLED, UNROLLED**2 + 3])
def test_sums_are_unrolled(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, size, 3)), "float32")
    np.testing.assert_allclose(sum_over(x, (1,)), x.sum(1), 1e-5, 1e-5)
    np.testing.assert_allclose(sum_over(x, (0, 1)), x.sum((0, 1)), 1e-5, 1e-5)
    operations = walk(trace(lambda x: sum_over(x, (1,)), x))
    sums = [operation.equation for operation in operations if operation.name == "reduce_sum"]
    terms = [[equation.invars[0].aval.shape[axis] for axis in equation.params["axes"]] for equation in sums]
    assert max(np.prod(axes) for axes in terms) <= UNROLLED


@pytest.mark.parametrize(("rows", "taken"), [(LARGEST // 16, True), (LARGEST // 16 + 1, False)])
def test_large_products_are_left_to_matrix_multiplication(rows, taken):
    numbers = (((1,), (0,)), ((), ()))
    assert (product(jnp.ones((rows, 4, 2)), jnp.ones((4, 4, 1)), numbers, None) is not None) == taken
    many = trials_last(trace(jnp.matmul, jnp.ones((rows, 4)), jnp.ones((4, 4))), [True, False])
    names = {operation.name for operation in walk(trace(many, jnp.ones((rows, 4, 2)), jnp.ones((4, 4))))}
    assert ("dot_general" in names) != taken


@pytest.mark.parametrize(("rows", "apart"), [(TINY // 16, False), (TINY // 16 + 1, True)])
@pytest.mark.parametrize("shared", [True, False])
def test_products_apart_are_not_computed_with_their_factors(rows, apart, shared):
    program = trace(lambda x, w: jnp.tanh(x) @ w, jnp.ones((rows, 4)), jnp.ones((4, 4)))
    x, w = normal(rows, 4, TRIALS), normal(4, 4, seed=1) if shared else normal(4, 4, TRIALS, seed=1)
    together, several = (jax.jit(trials_last(program, [True, not shared], products_apart=own)) for own in (False, True))
    np.testing.assert_allclose(several(x, w), together(x, w), rtol=1e-5, atol=1e-6)
    assert ('inlineable = "false"' in several.lower(x, w).as_text()) == apart
    assert 'inlineable = "false"' not in together.lower(x, w).as_text()


@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_other_numbers_are_left_to_matrix_multiplication(dtype):
    x = jnp.ones((2, 2, 1), dtype)
    assert product(x, x, (((1,), (0,)), ((), ())), None) is None


def test_half_precision_is_summed_in_single_precision():
    x = jnp.full((1, 512, 1), 1.0, "bfloat16")
    numbers = (((1,), (1,)), ((0,), (0,)))
    assert product(x, x, numbers, None).tolist() == [[512.0]]
    assert product(x, x, numbers, None).dtype == "bfloat16"
    assert product(x, x, numbers, "float32").dtype == "float32"


def test_a_setting_of_promotion_is_no_concern_of_products():
    numbers = (((0,), (0,)), ((), ()))
    with jax.numpy_dtype_promotion("strict"):
        assert product(jnp.ones((3, 1), "bfloat16"), jnp.ones((3, 1), "bfloat16"), numbers, None).dtype == "bfloat16"
        assert product(jnp.ones((3, 1), "bfloat16"), jnp.ones((3, 1)), numbers, None).dtype == "float32"
