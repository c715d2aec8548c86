"""What the tests of parametrise share: the zoo, how a changed model is called, and what is compared."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from paramact_jax.layers import parametrise
from tests.zoo import of_functions, of_linen, of_nnx
from tests.zoo.case import normal

ZOO = {build.__name__: build for build in (*of_nnx.CASES, *of_linen.CASES, *of_functions.CASES)}


def retrofitted(case, **options):
    return parametrise(case.model, *case.example, **case.kwargs, **options)


def call(retrofit, kwargs):
    """The changed model as a function of its trained variables and arguments, and these variables."""
    kwargs = dict(kwargs)
    if retrofit.model is None:
        return (lambda variables, *args: retrofit.apply(variables, *args, **kwargs)), retrofit.variables
    graphdef, params, rest = nnx.split(retrofit.model, nnx.Param, ...)
    return lambda params, *args: nnx.merge(graphdef, params, rest, copy=True)(*args, **kwargs), params


def own(tree):
    """The a and b in variables or their gradients, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {name: x for path, x in leaves if "activations" in (name := jax.tree_util.keystr(path))}


def equal(got, expected, tolerance=0.0):
    """Asserts equal trees; the tolerance is relative to the largest number of an array."""
    tolerance = max(tolerance, ROUNDING)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for x, y in zip(map(numbers, jax.tree.leaves(got)), map(numbers, jax.tree.leaves(expected)), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max(initial=0))


def numbers(x):
    x = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return np.asarray(x, np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else np.asarray(x)


ROUNDING = 0.0 if jax.__version_info__ >= (0, 10) else 1e-6
"""JAX before 0.10 compiles means and variances as a whole, which round otherwise once they are taken apart."""

COMPILED = {"own_cell", "energy", "branches", "layers", "scanned", "stacked", "reader", "lstm", "physics"}
"""Cases whose numbers round anew: a loop or a jitted function is compiled as a whole, with a product by 1 more in it; a
derivative within the program multiplies in another order, slope by tangent."""


def moved(variables, scale=0.3):
    """The same variables with other a and b."""
    number = iter(range(1000))

    def move(path, x):
        ours = "activations" in jax.tree_util.keystr(path)
        return x + scale * normal(next(number), *x.shape).astype(x.dtype) if ours else x

    return jax.tree_util.tree_map_with_path(move, variables)
