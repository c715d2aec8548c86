"""Maxout: the largest of several affine maps, nnx and linen."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as flax_linen
from flax import nnx as flax_nnx

from paramact_jax.layers import linen, maxout, nnx


def drawn(*shapes, dtype="float64"):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize("lead", [(), (7,), (2, 7)], ids=str)
@pytest.mark.parametrize("use_bias", [True, False])
def test_both_equal_numpy(lead, use_bias, x64):
    x, kernel, bias = drawn((*lead, 4), (4, 5, 3), (5, 3))
    of_nnx = nnx.Maxout(4, 3, 5, use_bias=use_bias, param_dtype="float64", rngs=flax_nnx.Rngs(0))
    params = {"kernel": kernel} | ({"bias": bias} if use_bias else {})
    for name, value in params.items():
        getattr(of_nnx, name)[...] = value
    of_linen = linen.Maxout(3, 5, use_bias=use_bias, param_dtype="float64")
    chex.assert_trees_all_equal_shapes(of_linen.init(jax.random.key(0), x)["params"], params)
    maps = [np.asarray(x) @ np.asarray(kernel[:, k]) + use_bias * np.asarray(bias[k]) for k in range(5)]
    expected = np.max(maps, axis=0)
    for actual in (of_nnx(x), of_linen.apply({"params": params}, x)):
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    of_params, of_x = jax.grad(lambda p, x: of_linen.apply({"params": p}, x).sum(), argnums=(0, 1))(params, x)
    gradient = flax_nnx.to_pure_dict(flax_nnx.grad(lambda layer: layer(x).sum())(of_nnx))
    chex.assert_trees_all_close(gradient, of_params, rtol=1e-12)
    chex.assert_trees_all_close(jax.grad(lambda x: of_nnx(x).sum())(x), of_x, rtol=1e-12)


def test_the_gradient_goes_to_the_winning_piece(x64):
    x, kernel, bias = drawn((6, 4), (4, 5, 3), (5, 3))
    of_kernel, of_bias, of_x = jax.grad(lambda k, b, x: maxout(x, k, b).sum(), argnums=(0, 1, 2))(kernel, bias, x)
    pieces = np.einsum("ni,ikj->nkj", x, kernel) + np.asarray(bias)[None]
    winner = pieces.argmax(axis=1)
    wins = np.arange(5)[None, :, None] == winner[:, None, :]
    np.testing.assert_allclose(of_bias, wins.sum(0))
    np.testing.assert_allclose(of_kernel, np.einsum("ni,nkj->ikj", x, wins), rtol=1e-12)
    np.testing.assert_allclose(of_x, np.einsum("ikj,nkj->ni", kernel, wins), rtol=1e-12)


def test_pieces_that_tie_share_the_gradient():
    of_bias = jax.grad(lambda bias: maxout(jnp.ones((1, 2)), jnp.zeros((2, 4, 1)), bias).sum())(jnp.zeros((4, 1)))
    assert of_bias.ravel().tolist() == [0.25] * 4


def test_each_piece_is_drawn_like_an_affine_map():
    kernel = nnx.Maxout(100, 200, pieces=4, rngs=flax_nnx.Rngs(0)).kernel[...]
    assert float(kernel.std()) == pytest.approx(0.1, rel=0.02)
    variables = linen.Maxout(200, pieces=4).init(jax.random.key(0), jnp.ones((1, 100)))
    assert float(variables["params"]["kernel"].std()) == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_that_comes_out_is_the_one_that_went_in_or_was_asked_for(dtype):
    x = jnp.ones((2, 4), dtype)
    assert nnx.Maxout(4, 3, rngs=flax_nnx.Rngs(0))(x).dtype == dtype
    assert nnx.Maxout(4, 3, dtype=dtype, rngs=flax_nnx.Rngs(0))(jnp.ones((2, 4))).dtype == dtype
    assert linen.Maxout(3).init_with_output(jax.random.key(0), x)[0].dtype == dtype


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nnx.Maxout(4, 3, 0, rngs=flax_nnx.Rngs(0)), ValueError, "pieces of 1 or more, got 0"),
        (lambda: linen.Maxout(0).init(jax.random.key(0), jnp.ones(4)), ValueError, "features of 1 or more, got 0"),
        (lambda: maxout(jnp.ones((2, 3)), jnp.ones((4, 2, 1))), ValueError, r"size 4, got shape \(2, 3\)"),
        (lambda: maxout(jnp.ones((2, 4), int), jnp.ones((4, 2, 1))), TypeError, "float dtype, got int"),
    ],
)
def test_errors_say_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("names", "of_kernel"), [((None, None, "model"), (None, None, "model")), ((None, "model"), (None, None, "model"))]
)
def test_kernels_may_name_axes_of_a_mesh(names, of_kernel):
    plain = jax.nn.initializers.lecun_normal()
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("model",))
    of_axes = flax_nnx.with_partitioning(plain, names, mesh=mesh)
    layer = nnx.Maxout(4, 3, kernel_init=of_axes, rngs=flax_nnx.Rngs(0))
    same = nnx.Maxout(4, 3, kernel_init=plain, rngs=flax_nnx.Rngs(0))
    np.testing.assert_array_equal(layer.kernel[...], same.kernel[...])
    assert of_kernel in layer.kernel.get_metadata().values()
    bias_init = flax_linen.with_partitioning(jax.nn.initializers.zeros, (None, "model"))
    of_linen = linen.Maxout(3, kernel_init=flax_linen.with_partitioning(plain, names), bias_init=bias_init)
    variables = of_linen.init(jax.random.key(0), jnp.ones((2, 4)))
    kernel = variables["params"]["kernel"]
    assert (kernel.names, kernel.value.shape) == (of_kernel, (4, 2, 3))
    assert of_linen.apply(variables, jnp.ones((2, 4))).shape == (2, 3)
