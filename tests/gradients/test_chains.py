"""Which programs are chains of affine maps and elementwise functions, however they are written, and which are not."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from paramact_jax.gradients import chain, layer_jacobians
from tests.gradients.agreement import assert_close, full_jacobian, inputs, of_each_sample

pytestmark = pytest.mark.usefixtures("unoptimised")


@jax.custom_vjp
def reversed_gradient(y):
    return y


reversed_gradient.defvjp(lambda y: (y, None), lambda _, gradient: (-gradient,))


@jax.custom_jvp
def a_tenth_of_the_gradient(y):
    return y


a_tenth_of_the_gradient.defjvp(lambda primals, tangents: (primals[0], 0.1 * tangents[0]))


class Odd(nnx.Module):
    """Two affine maps and tanh, written in ways that have fooled somebody."""

    def __init__(self, kind, rngs):
        self.kind, self.act = kind, jnp.tanh
        self.a, self.b = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)
        self.general = nnx.LinearGeneral(3, 4, rngs=rngs)
        twice = nnx.Linear(3, 4, rngs=rngs, dot_general=lambda *a, **k: 2 * jax.lax.dot_general(*a, **k))
        self.twice, self.kept = twice, nnx.data([nnx.Linear(3, 4, rngs=rngs)])
        self.leaky = jax.nn.leaky_relu

    def __call__(self, x):
        y = self.a(x)
        return {
            "stopped": lambda: self.b(jax.lax.stop_gradient(self.act(y))),
            "reversed": lambda: self.b(reversed_gradient(self.act(y))),
            "reversed at the end": lambda: reversed_gradient(self.b(self.act(y))),
            "scaled": lambda: self.b(a_tenth_of_the_gradient(self.act(y))),
            "by its type": lambda: self.b(self.act(y) if isinstance(self.a, nnx.Linear) else y),
            "by identity": lambda: self.b(2 * self.act(y) if self.act is jnp.tanh else y),
            "by keyword": lambda: self.b(inputs=self.act(self.a(inputs=x))),
            "with an argument": lambda: self.b(self.leaky(y, 0.3)),
            "general": lambda: self.b(self.act(self.general(x))),
            "own product": lambda: self.b(self.act(x @ self.a.kernel[...] + self.a.bias[None])),
            "other product": lambda: self.b(self.act(self.twice(x))),
            "in a list": lambda: self.b(self.act(self.kept[0](x))),
            "changed kernel": lambda: self.b(self.act(x @ (self.a.kernel[...] / jnp.linalg.norm(self.a.kernel[...])))),
            "transposed kernel": lambda: jax.lax.dot_general(
                self.act(y), self.b.kernel[...].T, (((1,), (1,)), ((), ()))
            ),
            "jitted": lambda: self.b(jax.jit(lambda y: self.act(y) ** 2)(y)),
            "rematerialised": lambda: self.b(jax.checkpoint(lambda y: self.act(jnp.sin(y)))(y)),
            "mapped": lambda: jax.vmap(self.b)(self.act(y)),
            "counted": lambda: self.b(self.act(self.count(y))),
        }[self.kind]()

    def count(self, y):
        self.calls = nnx.Variable(jnp.zeros(()))
        self.calls[...] += 1
        return y


ODD = (
    *("stopped", "reversed", "reversed at the end", "scaled", "by its type", "by identity", "by keyword"),
    *("with an argument", "general", "own product", "other product", "in a list", "changed kernel"),
    *("transposed kernel", "jitted", "rematerialised", "mapped", "counted"),
)
EAGER = ("reversed", "own product", "rematerialised")
"""Those of which the quick suite also runs a call that is not compiled as a whole."""


@pytest.mark.parametrize(
    ("kind", "jitted"),
    [
        pytest.param(kind, jitted, marks=[] if jitted or kind in EAGER else [pytest.mark.slow])
        for jitted in (False, True)
        for kind in ODD
    ],
)
def test_however_a_chain_is_written(kind, jitted):
    model, x = Odd(kind, nnx.Rngs(0)), inputs(4, 3)

    def run(x):
        jacobians = layer_jacobians(model, x)
        return jacobians, chain(jacobians).to_z[0], nnx.clone(model)(x), full_jacobian(model)(x)

    jacobians, product, output, full = (jax.jit(run) if jitted else run)(x)
    assert len(jacobians.linear) == 2
    expected = of_each_sample(full)
    chex.assert_trees_all_close(jacobians.output, output, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(product, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()) + 1e-12)


class OddLinen(linen.Module):
    kind: str

    @linen.compact
    def __call__(self, x):
        twice = {"dot_general": lambda *a, **k: 2 * jax.lax.dot_general(*a, **k)} if self.kind == "product" else {}
        y = linen.Dense(4, **twice)(inputs=x)
        if self.kind == "general":
            y = linen.DenseGeneral(4)(linen.tanh(y))
        dense = linen.remat(linen.Dense) if self.kind == "remat" else linen.Dense
        return dense(2, param_dtype=jnp.float32, dtype=jnp.float32)(linen.silu(y))


@pytest.mark.parametrize(("kind", "layers"), [("product", 2), ("general", 3), ("remat", 2)])
def test_however_a_linen_chain_is_written(kind, layers):
    x = inputs(4, 3)
    model = OddLinen(kind).bind(OddLinen(kind).init(jax.random.key(0), x))

    @jax.jit
    def run(x):
        jacobians = layer_jacobians(model, x)
        return jacobians, chain(jacobians).to_z[0], full_jacobian(model)(x)

    jacobians, product, full = run(x)
    assert len(jacobians.linear) == layers
    assert_close(product, of_each_sample(full), 1e-5)


class Branching(nnx.Module):
    """Two affine maps, and something between them that is no elementwise function of the first one's output."""

    def __init__(self, kind, rngs):
        self.a, self.b = (nnx.Linear(3, 3, rngs=rngs) for _ in range(2))
        self.layer_norm, self.kind = nnx.LayerNorm(3, rngs=rngs), kind
        self.conv = nnx.Conv(1, 1, (3,), rngs=rngs)

    def __call__(self, x):
        y = self.a(x)
        return {
            "skip from the input": lambda: self.b(jax.nn.relu(y) + x),
            "skip to the output": lambda: self.b(y) + y,
            "two towers": lambda: self.b(x) * y,
            "normalisation": lambda: self.b(self.layer_norm(y)),
            "softmax": lambda: jax.nn.softmax(self.b(y)),
            "convolution": lambda: self.b(self.conv(y[..., None])[..., 0]),
            "reversed": lambda: self.b(y[:, ::-1]),
            "cumulated": lambda: self.b(jnp.cumsum(y, axis=1)),
            "gated": lambda: self.b(y * y[:, :1]),
            "transposed": lambda: self.b(jax.lax.reshape(y, y.shape, dimensions=(1, 0))),
            "loop": lambda: self.b(jax.lax.fori_loop(0, 2, lambda i, y: jnp.tanh(y), y)),
            "squeezed": lambda: self.b(y)[:, 0],
            "attention": lambda: jax.lax.dot_general(y, y, (((1,), (1,)), ((), ()))),
            "convolution first": lambda: self.b(self.a(self.conv(x[..., None])[..., 0])),
            "no input": lambda: self.b(jnp.ones_like(x)),
            "own derivative": lambda: self.b(cumulated_derivative(y)),
        }[self.kind]()


@jax.custom_jvp
def cumulated_derivative(y):
    return jnp.tanh(y)


cumulated_derivative.defjvp(lambda primals, tangents: (jnp.tanh(*primals), jnp.cumsum(*tangents, axis=1)))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "skip from the input",
            r"input of affine map 2 depends on the output of affine map 1 \(3 to 3\) alone, got .* the"
            r" model's input and the output of affine map 1",
        ),
        ("skip to the output", r"model's output depends on the output of affine map 2 \(3 to 3\) alone, got .* map 1"),
        ("two towers", "input of affine map 2 depends on .* alone, got one where it depends on the model's input;"),
        ("attention", "output of affine map 1 .* to the model's output, got one .* operation dot_general"),
        ("convolution first", "from the model's input to the input of affine map 1, got one .* operation"),
        ("no input", "got one without such a product"),
        *(
            (kind, f"from the output of affine map 1 .* to the input of affine map 2, got one .* operation {operation}")
            for kind, operation in {
                "normalisation": "reduce_sum",
                "convolution": "",
                "reversed": "rev",
                "cumulated": "cumsum",
                "gated": "",
                "transposed": "reshape",
                "loop": "scan",
            }.items()
        ),
        ("softmax", "from the output of affine map 2 .* to the model's output, got one .* operation reduce_max"),
        ("squeezed", "from the output of affine map 2 .* to the model's output, got one .* operation"),
        ("own derivative", "an elementwise derivative .* operation cumsum"),
    ],
)
def test_what_is_no_chain_is_refused_and_named(kind, message):
    with pytest.raises(ValueError, match=message):
        layer_jacobians(Branching(kind, nnx.Rngs(0)), inputs(3, 3))


def primitive(name, function, tangent=None):
    """An operation that nobody knows; its derivative is JAX's, or `tangent`'s of x and t."""
    new = Primitive(name)
    new.def_abstract_eval(lambda x: x)
    new.def_impl(jax.jit(function))
    mlir.register_lowering(new, mlir.lower_fun(function, multiple_results=False))
    batching.primitive_batchers[new] = lambda args, axes: (jax.vmap(function, axes)(*args), 0)
    if tangent is not False:

        def jvp(primals, tangents):
            of = tangent or (lambda x, t: jax.jvp(function, (x,), (t,))[1])
            return new.bind(*primals), of(*primals, *tangents)

        ad.primitive_jvps[new] = jvp
    return new.bind


new_linear = Primitive("new_linear")
new_linear.def_abstract_eval(lambda x: x)
new_linear.def_impl(lambda x: 2 * x)
mlir.register_lowering(new_linear, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))
ad.deflinear2(new_linear, lambda cotangent, _: [new_linear.bind(cotangent)])
batching.defvectorized(new_linear)


def with_new_derivative(new):
    """tanh, with a rule of its own for its gradient, in which a new operation stands."""
    tanh = jax.custom_vjp(jnp.tanh)
    tanh.defvjp(lambda y: (jnp.tanh(y), jnp.tanh(y)), lambda z, gradient: (gradient * new(z),))
    return tanh


def between_two_layers(function):
    return nnx.Sequential(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), function, nnx.Linear(3, 3, rngs=nnx.Rngs(1)))


def rank(y):
    return (y[:, :, None] > y[:, None, :]).sum(-1).astype(y.dtype)


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (primitive("new_square", jnp.square), lambda y: 2 * y),
        (primitive("new_log_of_more_than_1", lambda y: jnp.log(y - 1)), lambda y: 1 / (y - 1)),
        (primitive("new_step", lambda y: (y > 0).astype(y.dtype)), jnp.zeros_like),
        (new_linear.bind, lambda y: 2 * jnp.ones_like(y)),
        (primitive("new_sine", jnp.sin, lambda x, t: new_linear.bind(t * jnp.cos(x) / 2)), jnp.cos),
        (with_new_derivative(primitive("new_slope", lambda z: 1 - z**2)), lambda y: 1 - jnp.tanh(y) ** 2),
        (lambda y: jax.lax.optimization_barrier(jnp.tanh(y)), lambda y: 1 - jnp.tanh(y) ** 2),
    ],
)
@pytest.mark.parametrize("jitted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_elementwise_operation_that_nobody_knows(function, slope, jitted):
    model, x = between_two_layers(function), inputs(5, 3)

    def run(x):
        jacobians = layer_jacobians(model, x)
        return jacobians, slope(jacobians.y[0]), chain(jacobians).to_z[0], full_jacobian(model)(x)

    jacobians, slopes, product, full = (jax.jit(run) if jitted else run)(x)
    np.testing.assert_allclose(jacobians.slopes[0], slopes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(product, of_each_sample(full), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (primitive("new_cumulated", lambda y: jnp.cumsum(y, 1)), "new_cumulated"),
        (primitive("new_neighbour", lambda y: y * jnp.roll(y, 1, 0)), "new_neighbour"),
        (primitive("new_sort", lambda y: jnp.sort(y, 1)), "new_sort"),
        (primitive("new_rank", rank, lambda x, t: jnp.zeros_like(t)), "new_rank"),
        (primitive("new_sum_with_rank", lambda y: y + rank(y), lambda x, t: t), "new_sum_with_rank"),
        (primitive("new_far_away", lambda y: y + jnp.where(y > 1e9, y, 0).sum()), "new_far_away"),
        (primitive("new_wrong_slope", jnp.tanh, lambda x, t: jnp.cumsum(t, 1)), "new_wrong_slope"),
        (primitive("new_without_slope", jnp.tanh, False), "new_without_slope"),
        (primitive("new_in_no_place", lambda y: jnp.full_like(y, jnp.nan)), "new_in_no_place"),
        (with_new_derivative(primitive("new_mixed_slope", lambda z: z[::-1])), "new_mixed_slope"),
    ],
)
def test_an_unknown_operation_that_is_not_elementwise_is_refused_by_its_name(function, message):
    with pytest.raises(ValueError, match=f"operation {message}$"):
        layer_jacobians(between_two_layers(function), inputs(5, 3))
