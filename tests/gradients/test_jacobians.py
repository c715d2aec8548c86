"""The factors of the chain rule and their products, against autodiff and against the paper's own formulas."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

import paramact_jax as pa
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.gradients import chain, layer_jacobians, parameter_gradients
from paramact_jax.networks import MLP, params_of, with_params

both_precisions = pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])


def shaken(model, scale=0.3):
    """The model with another value in every param, so that no bias, a or b is at a special one."""
    random = np.random.default_rng(1)
    params = params_of(model)
    return with_params(
        model, jax.tree.map(lambda p: p + jnp.asarray(random.normal(0, scale, p.shape), p.dtype), params)
    )


def inputs(samples, features, dtype="float32"):
    return jnp.asarray(np.random.default_rng(2).normal(size=(samples, features)), dtype)


def autodiff(model, x):
    """d output / d input of every sample, in reverse mode, on the batch as it is."""

    def run(x):
        return (nnx.clone(model) if isinstance(model, nnx.Module) else model)(x)

    full = jax.jit(jax.jacrev(run))(x)
    return jnp.stack([full[i, :, i] for i in range(len(x))])


def assert_close(actual, expected, tolerance):
    """To `tolerance`, relative to the largest entry."""
    chex.assert_trees_all_close(actual, expected, rtol=0, atol=tolerance * float(jnp.abs(expected).max()))


@both_precisions
@pytest.mark.parametrize("depth", [1, 50])
@pytest.mark.parametrize("name", ["sigmoid", "ppns", "tanh", "relu", "parametric_relu", "hexpo"])
def test_product_equals_autodiff_at_any_depth(name, depth, dtype, tolerance, x64):
    model = shaken(MLP(3, [16 + i % 3 for i in range(depth)], 2, name, param_dtype=dtype, rngs=nnx.Rngs(0)), 0.1)
    x = inputs(5, 3, dtype)
    jacobians = jax.jit(lambda x: layer_jacobians(model, x))(x)
    assert len(jacobians.linear) == depth + 1
    assert len(jacobians.slopes) == depth
    product, expected = chain(jacobians).to_z[0], autodiff(model, x)
    exact = exact_product(jacobians, catalogue.get(name), params_of(model))
    scale = np.abs(exact).max()
    assert scale > 0
    np.testing.assert_allclose(product, exact, rtol=0, atol=tolerance * scale)
    # Autodiff loses digits where a function saturates, 1 - tanh^2: it may be off by its own error.
    error = np.abs(expected - exact).max()
    np.testing.assert_allclose(product, expected, rtol=0, atol=tolerance * scale + error)
    assert error <= 100 * tolerance * scale


def exact_product(jacobians, record, params):
    """The product of the factors at the values y that the network computed, in float64."""
    product = np.eye(jacobians.output.shape[1])[None]
    for i in reversed(range(len(jacobians.linear))):
        if i < len(jacobians.slopes):
            own = {p: np.float64(v)[None] for p, v in params["hidden"][i].get("activation", {}).items()}
            product = product * np.asarray(record.derivative(np.float64(jacobians.y[i]), **own))[:, None]
        product = product @ np.float64(jacobians.linear[i])
    return product


@pytest.mark.parametrize("name", catalogue.names())
def test_every_activation(name, x64):
    model = shaken(MLP(2, [3, 2], 2, name, param_dtype="float64", rngs=nnx.Rngs(0)))
    x = inputs(7, 2, "float64")
    expected = autodiff(model, x)
    found = jax.jit(lambda x: chain(layer_jacobians(model, x)).to_z[0])(x)
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-12)


SLOPE_IN_Z = {
    "sigmoid": lambda z: z * (1 - z),  # [P, eq. 14]
    # [P, eq. 15] corrected: the paper prints z (1 - z/a), which holds for z + a/2 only.
    "ppns": lambda z, a, b: a / 4 - z**2 / a,
    "parametric_tanh": lambda z, a, b: a - z**2 / a,
}


@both_precisions
@pytest.mark.parametrize("name", SLOPE_IN_Z)
def test_factors_as_the_paper_writes_them(name, dtype, tolerance, x64):
    model = shaken(MLP(2, [2] * 10, 1, name, param_dtype=dtype, rngs=nnx.Rngs(0)))
    x = jnp.asarray(xor()[0], dtype)
    jacobians, params = layer_jacobians(model, x), params_of(model)
    for layer in range(10):
        held = params["hidden"][layer]
        own = {p: value[None] for p, value in held.get("activation", {}).items()}
        expected = SLOPE_IN_Z[name](jacobians.z[layer + 1], **own)
        chex.assert_trees_all_close(jacobians.slopes[layer], expected, rtol=10 * tolerance, atol=10 * tolerance)
        chex.assert_trees_all_equal(jacobians.linear[layer], held["linear"]["kernel"].T)  # eq. 16
    chex.assert_trees_all_equal(jacobians.linear[10], params["out"]["kernel"].T)


@pytest.mark.parametrize("name", ["parametric_relu", "ppns", "hexpo"])
def test_a_record_is_recognised_with_64_bit_numbers_and_without(name):
    """In this order in one process: what was traced under one setting is no answer under the other."""
    model, x = shaken(MLP(3, [5], 2, name, rngs=nnx.Rngs(0))), inputs(6, 3)
    for x64 in (False, True, False):
        with jax.enable_x64(x64):
            (partials,) = layer_jacobians(model, x).partials
        assert set(partials) == set(catalogue.get(name).params)


@both_precisions
@pytest.mark.parametrize("name", ["sigmoid", "ppns", "parametric_relu", "parametric_hexpo"])
@pytest.mark.parametrize("hidden", [[2] * 10, [5, 3, 4]])
def test_parameter_gradients_equal_autodiff(name, hidden, dtype, tolerance, x64):
    model = shaken(MLP(2, hidden, 2, name, param_dtype=dtype, rngs=nnx.Rngs(0)))
    x, targets = inputs(4, 2, dtype), inputs(4, 2, dtype)[::-1]

    def loss(outputs):
        return ((outputs - targets) ** 2).mean()

    @jax.jit
    def both(params):
        jacobians = layer_jacobians(with_params(model, params), x)
        of_chain = parameter_gradients(jacobians, jax.grad(loss)(jacobians.output))
        return of_chain, jax.grad(lambda params: loss(with_params(model, params)(x)))(params)

    found, expected = both(params_of(model))
    *of_hidden, of_out = found
    for i, layer in enumerate(of_hidden):
        linear = expected["hidden"][i]["linear"]
        assert_close(layer.kernel.sum(0), linear["kernel"], tolerance)
        assert_close(layer.bias.sum(0), linear["bias"], tolerance)
        assert set(layer.activation) == set(expected["hidden"][i].get("activation", {}))
        for p, gradient in layer.activation.items():
            assert_close(gradient.sum(0), expected["hidden"][i]["activation"][p], tolerance)
    assert_close(of_out.kernel.sum(0), expected["out"]["kernel"], tolerance)
    assert_close(of_out.bias.sum(0), expected["out"]["bias"], tolerance)


class Written(nnx.Module):
    """A model whose activations stand in `__call__` and whose layers come in several ways."""

    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.others = nnx.List([nnx.Linear(4, 4, use_bias=False, rngs=rngs) for _ in range(2)])
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.norm.scale[...] = jnp.array([2.0, 0.5, -1.0, 1.0])

    def __call__(self, x):
        z = nnx.silu(self.first(x)) * 2 + 1
        for layer in self.others:
            z = jnp.where(z > 0, z, 0.3 * z)
            z = self.norm(jax.nn.gelu(layer(z)))
        return jax.nn.sigmoid(self.others[0](z))  # the same module a second time: one more layer


class Twin(linen.Module):
    @linen.compact
    def __call__(self, x):
        z = linen.tanh(linen.Dense(4)(x))
        z = pa.linen.Parametric("sigmoid", 3, trainable=("a",), initial={"b": 0.5})(linen.Dense(3)(z))
        z = pa.linen.Parametric("tanh", sharing="layer")(linen.Dense(5, use_bias=False)(z))
        return linen.Dense(2)(z)


def sequential(rngs):
    return nnx.Sequential(
        nnx.Linear(3, 4, rngs=rngs),
        nnx.relu,
        nnx.Linear(4, 5, rngs=rngs),
        jnp.tanh,
        pa.activations.sigmoid,
        nnx.Dropout(0.5, deterministic=True),
        nnx.Linear(5, 4, rngs=rngs),
        pa.nnx.Parametric("ppns", 4),
        nnx.Linear(4, 2, rngs=rngs),
    )


def bound_twin(rngs):
    return Twin().bind(Twin().init(jax.random.key(0), jnp.ones((1, 3))))


@pytest.mark.parametrize(
    ("f", "name", "y"), [(jax.nn.elu, "elu", -30.0), (jax.nn.selu, "selu", -30.0), (jax.nn.gelu, "gelu_tanh", -9.0)]
)
def test_functions_of_jax_nn_have_their_closed_forms(f, name, y):
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), f)
    model.layers[0].bias[...] = jnp.full(4, y)
    x = jnp.zeros((2, 3))
    (slopes,) = layer_jacobians(model, x).slopes
    np.testing.assert_array_equal(slopes, pa.activations.get(name).derivative(model.layers[0](x)))
    assert slopes.all()


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


@pytest.mark.parametrize(
    "kind",
    [
        *("stopped", "reversed", "reversed at the end", "scaled", "by its type", "by identity", "by keyword"),
        *("with an argument", "general", "own product", "other product", "in a list", "changed kernel"),
        *("transposed kernel", "jitted", "rematerialised", "mapped", "counted"),
    ],
)
@pytest.mark.parametrize("jitted", [False, True])
def test_however_a_chain_is_written(kind, jitted):
    model, x = Odd(kind, nnx.Rngs(0)), inputs(4, 3)
    take = jax.jit(lambda x: layer_jacobians(model, x)) if jitted else lambda x: layer_jacobians(model, x)
    jacobians = take(x)
    assert len(jacobians.linear) == 2
    expected = autodiff(model, x)
    chex.assert_trees_all_close(jacobians.output, model(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        chain(jacobians).to_z[0], expected, rtol=0, atol=1e-5 * float(jnp.abs(expected).max()) + 1e-12
    )


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
    jacobians = layer_jacobians(model, x)
    assert len(jacobians.linear) == layers
    assert_close(chain(jacobians).to_z[0], autodiff(model, x), 1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["tanh", "ppns", "relu"])
def test_sixteen_bit_models(name, dtype):
    model = MLP(3, [4, 5], 2, name, param_dtype=dtype, rngs=nnx.Rngs(0))
    jacobians = layer_jacobians(model, inputs(6, 3, dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(jacobians)} == {jnp.dtype(dtype)}
    wide = jax.tree.map(lambda p: p.astype("float32"), params_of(model))
    like = MLP(3, [4, 5], 2, name, rngs=nnx.Rngs(0))
    expected = layer_jacobians(with_params(like, wide), inputs(6, 3, dtype).astype("float32"))
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf.astype("float32"), jacobians), expected, rtol=0.1, atol=0.1
    )


def test_an_input_that_is_scaled_first():
    class Scaled(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, x):
            return self.a(x / 255)

    model, x = Scaled(nnx.Rngs(0)), inputs(4, 3)
    jacobians = layer_jacobians(model, x)
    chex.assert_trees_all_close(jacobians.z[0], x / 255)
    assert_close(chain(jacobians).to_z[0] / 255, autodiff(model, x), 1e-5)


@pytest.mark.parametrize("samples", [1, 4])
def test_one_sample_and_one_node(samples):
    model, x = MLP(1, [1, 1], 1, "ppns", rngs=nnx.Rngs(0)), inputs(samples, 1)
    jacobians = layer_jacobians(model, x)
    assert [set(own) for own in jacobians.partials] == [{"a", "b"}] * 2
    assert_close(chain(jacobians).to_z[0], autodiff(model, x), 1e-5)


def test_records_that_a_model_holds_are_recognised():
    own = pa.parametric(jnp.arctan, name="own")
    model, x = MLP(3, [4], 2, own, rngs=nnx.Rngs(0)), inputs(5, 3)
    assert set(layer_jacobians(model, x).partials[0]) == {"a", "b"}
    held = nnx.Sequential(
        nnx.Linear(3, 4, rngs=nnx.Rngs(0)), pa.nnx.Parametric(own, 4), nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    )
    found = parameter_gradients(layer_jacobians(held, x), jnp.ones((5, 2)))
    expected = nnx.to_pure_dict(nnx.grad(lambda model: model(x).sum())(held))["layers"][1]
    for name in ("a", "b"):
        assert_close(found[0].activation[name].sum(0), expected[name], 1e-5)


def test_jacobians_of_the_outputs_by_the_parameters():
    model, x = shaken(MLP(3, [4], 2, "ppns", rngs=nnx.Rngs(0))), inputs(5, 3)
    found = parameter_gradients(layer_jacobians(model, x))
    chex.assert_shape(found[0].kernel, (5, 2, 3, 4))
    chex.assert_shape(found[0].activation["a"], (5, 2, 4))
    expected = jax.jacrev(lambda p: with_params(model, p)(x))(params_of(model))
    layer = expected["hidden"][0]
    assert_close(found[0].kernel, layer["linear"]["kernel"], 1e-5)
    assert_close(found[0].activation["b"], layer["activation"]["b"], 1e-5)
    assert_close(found[1].kernel, expected["out"]["kernel"], 1e-5)
    assert_close(found[1].bias, expected["out"]["bias"], 1e-5)


@pytest.mark.parametrize(
    ("build", "slopes", "partials"),
    [
        (Written, 4, [set()] * 4),
        (sequential, 3, [set(), set(), {"a", "b"}]),
        (bound_twin, 3, [set(), {"a", "b"}, {"a", "b"}]),
        (lambda rngs: nnx.Linear(3, 2, rngs=rngs), 0, []),
    ],
)
def test_models_of_any_making(build, slopes, partials):
    model, x = build(nnx.Rngs(0)), inputs(5, 3)
    jacobians = layer_jacobians(model, x)
    assert len(jacobians.slopes) == slopes
    assert [set(of) for of in jacobians.partials] == partials
    assert_close(chain(jacobians).to_z[0], autodiff(model, x), 1e-5)
    chex.assert_trees_all_close(jacobians.output, model(x))


def test_linen_parametric_gradients_equal_autodiff():
    x = inputs(6, 3)
    variables = Twin().init(jax.random.key(0), x)
    jacobians = layer_jacobians(Twin().bind(variables), x)
    found = parameter_gradients(jacobians, jnp.ones_like(jacobians.output))
    expected = jax.grad(lambda p: Twin().apply(variables | {"params": p}, x).sum())(variables["params"])
    per_node, shared = (expected[f"Parametric_{i}"] for i in range(2))
    assert_close(found[1].activation["a"].sum(0), per_node["a"], 1e-5)
    for name in ("a", "b"):
        assert_close(found[2].activation[name].sum(), shared[name], 1e-5)


def test_closed_form_where_autodiff_has_underflowed():
    model = nnx.Sequential(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), nnx.sigmoid, nnx.Linear(1, 1, rngs=nnx.Rngs(0)))
    model.layers[0].kernel[...] = jnp.array([[30.0]])
    x = jnp.ones((1, 1))
    assert float(layer_jacobians(model, x).slopes[0][0, 0]) == pytest.approx(np.exp(-30.0), rel=1e-5)

    def unknown(y):
        return 1.0 * jax.nn.sigmoid(y)

    written = nnx.Sequential(model.layers[0], unknown, model.layers[2])
    assert float(layer_jacobians(written, x).slopes[0][0, 0]) == 0


def test_the_model_is_left_as_it_was():
    model = sequential(nnx.Rngs(0))
    before = nnx.split(model)
    layer_jacobians(model, inputs(5, 3))
    chex.assert_trees_all_equal(before[1], nnx.split(model)[1])
    assert before[0] == nnx.split(model)[0]


def test_many_trials_in_one_jitted_call():
    model, x = MLP(3, [4, 5], 2, "ppns", rngs=nnx.Rngs(0)), inputs(6, 3)
    params = [jax.tree.map(lambda p, s=scale: p * s, params_of(model)) for scale in (0.5, 1.0, 2.0)]
    together = jax.jit(jax.vmap(lambda p: layer_jacobians(with_params(model, p), x)))(
        jax.tree.map(lambda *p: jnp.stack(p), *params)
    )
    for i, p in enumerate(params):
        alone = layer_jacobians(with_params(model, p), x)
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], together), alone, rtol=1e-5, atol=1e-6)


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
        ("no input", "found no such product"),
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
@pytest.mark.parametrize("jitted", [False, True])
def test_an_elementwise_operation_that_nobody_knows(function, slope, jitted):
    model, x = between_two_layers(function), inputs(5, 3)
    jacobians = (jax.jit(layer_jacobians, static_argnums=0) if jitted else layer_jacobians)(model, x)
    np.testing.assert_allclose(jacobians.slopes[0], slope(jacobians.y[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(chain(jacobians).to_z[0], autodiff(model, x), rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (lambda x: x, jnp.ones((2, 3)), TypeError, "flax.nnx module or a bound linen module, got function"),
        (Twin(), jnp.ones((2, 3)), TypeError, "model.bind"),
        (nnx.LayerNorm(3, rngs=nnx.Rngs(0)), jnp.ones((2, 3)), ValueError, "found no such product"),
        (nnx.Linear(3, 1, rngs=nnx.Rngs(0)), jnp.ones((2, 3), int), TypeError, "float dtype, got int32"),
        (nnx.Linear(3, 1, rngs=nnx.Rngs(0)), jnp.ones(3), ValueError, r"\(samples, in_features\), got \(3,\)"),
    ],
)
def test_bad_input_is_refused_in_one_line(model, x, error, message):
    with pytest.raises(error, match=message) as caught:
        layer_jacobians(model, x)
    assert "\n" not in str(caught.value)


def test_a_gradient_of_another_shape_is_refused():
    jacobians = layer_jacobians(MLP(2, [2], 1, "tanh", rngs=nnx.Rngs(0)), inputs(4, 2))
    with pytest.raises(ValueError, match=r"shape \(4, 1\), got \(4,\)"):
        chain(jacobians, jnp.ones(4))
