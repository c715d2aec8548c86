"""The factors of the chain rule and their products, against autodiff and against the paper's own formulas."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import paramact_jax as pa
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.gradients import chain, layer_jacobians, parameter_gradients
from paramact_jax.networks import MLP, params_of, with_params
from tests.gradients.agreement import assert_close, full_jacobian, inputs, of_each_sample

pytestmark = pytest.mark.usefixtures("unoptimised")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
both_precisions = pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])


def shaken(model, scale=0.3):
    """The model with another value in every param, so that no bias, a or b is at a special one."""
    random = np.random.default_rng(1)
    params = params_of(model)
    return with_params(
        model, jax.tree.map(lambda p: np.asarray(p) + random.normal(0, scale, p.shape).astype(p.dtype), params)
    )


def both(model, x):
    """Computes the factors, their product, and the Jacobian by autodiff, in one compiled call."""

    @jax.jit
    def run(x):
        jacobians = layer_jacobians(model, x)
        return jacobians, chain(jacobians).to_z[0], full_jacobian(model)(x)

    jacobians, product, full = run(x)
    return jacobians, product, of_each_sample(full)


QUICK = {
    *(("ppns", 1, "float32"), ("relu", 1, "float64"), ("sigmoid", 20, "float32"), ("ppns", 20, "float64")),
    *(("hexpo", 10, "float64"), ("tanh", 10, "float32")),
}
DEPTHS = [
    *((name, 1) for name in ("sigmoid", "ppns", "tanh", "relu", "parametric_relu", "hexpo")),
    *((name, 10) for name in ("tanh", "relu", "parametric_relu", "hexpo")),
    *((name, depth) for name in ("sigmoid", "ppns") for depth in (20, 50)),  # the smallest slopes, the largest
]


@pytest.mark.parametrize(
    ("name", "depth", "dtype"),
    [
        pytest.param(*depth, dtype, marks=[] if (*depth, dtype) in QUICK else [pytest.mark.slow])
        for depth in DEPTHS
        for dtype in TOLERANCE
    ],
)
def test_product_equals_autodiff_at_any_depth(name, depth, dtype, x64):
    tolerance = TOLERANCE[dtype]
    model = shaken(MLP(3, [16 + i % 3 for i in range(depth)], 2, name, param_dtype=dtype, rngs=nnx.Rngs(0)), 0.1)
    jacobians, product, expected = both(model, inputs(5, 3, dtype))
    assert len(jacobians.linear) == depth + 1
    assert len(jacobians.slopes) == depth
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
    model = shaken(MLP(2, [3], 2, name, param_dtype="float64", rngs=nnx.Rngs(0)))
    _, found, expected = both(model, inputs(7, 2, "float64"))
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
    model = shaken(MLP(2, [2] * 4, 1, name, param_dtype=dtype, rngs=nnx.Rngs(0)))
    x = jnp.asarray(xor()[0], dtype)
    jacobians, params = jax.jit(lambda x: layer_jacobians(model, x))(x), params_of(model)
    for layer in range(4):
        held = params["hidden"][layer]
        own = {p: np.asarray(value)[None] for p, value in held.get("activation", {}).items()}
        expected = SLOPE_IN_Z[name](np.asarray(jacobians.z[layer + 1]), **own)
        chex.assert_trees_all_close(jacobians.slopes[layer], expected, rtol=10 * tolerance, atol=10 * tolerance)
        chex.assert_trees_all_equal(jacobians.linear[layer], held["linear"]["kernel"].T)  # eq. 16
    chex.assert_trees_all_equal(jacobians.linear[4], params["out"]["kernel"].T)


@pytest.mark.parametrize("name", [pytest.param("parametric_relu", marks=pytest.mark.slow), "ppns", "hexpo"])
def test_a_record_is_recognised_with_64_bit_numbers_and_without(name):
    """In this order in one process: what was traced under one setting is no answer under the other."""
    model, x = shaken(MLP(3, [5], 2, name, rngs=nnx.Rngs(0))), inputs(6, 3)
    for x64 in (False, True, False):
        with jax.enable_x64(x64):
            (partials,) = layer_jacobians(model, x).partials
        assert set(partials) == set(catalogue.get(name).params)


@pytest.mark.parametrize(
    ("name", "hidden", "dtype"),
    [
        *(("ppns", [5, 3, 4], "float64"), ("parametric_hexpo", [5, 3], "float64"), ("sigmoid", [5, 3], "float32")),
        ("parametric_relu", [5, 3], "float32"),
        *(
            pytest.param(name, hidden, dtype, marks=pytest.mark.slow)
            for name in ("sigmoid", "ppns", "parametric_relu", "parametric_hexpo")
            for hidden in ([2] * 10, [5, 3, 4])
            for dtype in TOLERANCE
            if (name, hidden, dtype) != ("ppns", [5, 3, 4], "float64")
        ),
    ],
)
def test_parameter_gradients_equal_autodiff(name, hidden, dtype, x64):
    tolerance = TOLERANCE[dtype]
    model = shaken(MLP(2, hidden, 2, name, param_dtype=dtype, rngs=nnx.Rngs(0)))
    x, targets = inputs(4, 2, dtype), inputs(4, 2, dtype)[::-1]

    def loss(outputs):
        return ((outputs - targets) ** 2).mean()

    @jax.jit
    def run(params):
        jacobians = layer_jacobians(with_params(model, params), x)
        of_chain = parameter_gradients(jacobians, jax.grad(loss)(jacobians.output))
        return of_chain, jax.grad(lambda params: loss(with_params(model, params)(x)))(params)

    found, expected = jax.tree.map(np.asarray, run(params_of(model)))
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


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(("tanh", "bfloat16"), ("ppns", "float16")),
        *(pytest.param(name, "bfloat16", marks=pytest.mark.slow) for name in ("ppns", "relu")),
        *(pytest.param(name, "float16", marks=pytest.mark.slow) for name in ("tanh", "relu")),
    ],
)
def test_sixteen_bit_models(name, dtype):
    model = MLP(3, [4, 5], 2, name, param_dtype=dtype, rngs=nnx.Rngs(0))
    x = inputs(6, 3, dtype)
    jacobians = jax.jit(lambda x: layer_jacobians(model, x))(x)
    assert {leaf.dtype for leaf in jax.tree.leaves(jacobians)} == {jnp.dtype(dtype)}
    wide = jax.tree.map(lambda p: np.asarray(p, "float32"), params_of(model))
    like = MLP(3, [4, 5], 2, name, rngs=nnx.Rngs(0))
    like = with_params(like, wide)
    expected = jax.jit(lambda x: layer_jacobians(like, x))(x.astype("float32"))
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: np.asarray(leaf, "float32"), jacobians), expected, rtol=0.1, atol=0.1
    )


def test_an_input_that_is_scaled_first():
    class Scaled(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, x):
            return self.a(x / 255)

    model, x = Scaled(nnx.Rngs(0)), inputs(4, 3)
    jacobians, product, expected = both(model, x)
    chex.assert_trees_all_close(jacobians.z[0], x / 255)
    assert_close(product / 255, expected, 1e-5)


@pytest.mark.parametrize("samples", [1, 4])
def test_one_sample_and_one_node(samples):
    model, x = MLP(1, [1, 1], 1, "ppns", rngs=nnx.Rngs(0)), inputs(samples, 1)
    jacobians, product, expected = both(model, x)
    assert [set(own) for own in jacobians.partials] == [{"a", "b"}] * 2
    assert_close(product, expected, 1e-5)


def test_records_that_a_model_holds_are_recognised():
    own = pa.parametric(jnp.arctan, name="own")
    model, x = MLP(3, [4], 2, own, rngs=nnx.Rngs(0)), inputs(5, 3)
    assert set(layer_jacobians(model, x).partials[0]) == {"a", "b"}
    held = nnx.Sequential(
        nnx.Linear(3, 4, rngs=nnx.Rngs(0)), pa.nnx.Parametric(own, 4), nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    )
    found = jax.jit(lambda x: parameter_gradients(layer_jacobians(held, x), jnp.ones((5, 2))))(x)
    expected = nnx.to_pure_dict(nnx.jit(nnx.grad(lambda model: model(x).sum()))(held))["layers"][1]
    for name in ("a", "b"):
        assert_close(found[0].activation[name].sum(0), expected[name], 1e-5)


def test_jacobians_of_the_outputs_by_the_parameters():
    model, x = shaken(MLP(3, [4], 2, "ppns", rngs=nnx.Rngs(0))), inputs(5, 3)
    found = jax.jit(lambda x: parameter_gradients(layer_jacobians(model, x)))(x)
    chex.assert_shape(found[0].kernel, (5, 2, 3, 4))
    chex.assert_shape(found[0].activation["a"], (5, 2, 4))
    expected = jax.jit(jax.jacrev(lambda p: with_params(model, p)(x)))(params_of(model))
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
    jacobians, product, expected = both(model, x)
    assert len(jacobians.slopes) == slopes
    assert [set(of) for of in jacobians.partials] == partials
    assert_close(product, expected, 1e-5)
    chex.assert_trees_all_close(jacobians.output, model(x))


def test_linen_parametric_gradients_equal_autodiff():
    x = inputs(6, 3)
    variables = Twin().init(jax.random.key(0), x)

    @jax.jit
    def run(x):
        jacobians = layer_jacobians(Twin().bind(variables), x)
        of_autodiff = jax.grad(lambda p: Twin().apply(variables | {"params": p}, x).sum())(variables["params"])
        return parameter_gradients(jacobians, jnp.ones_like(jacobians.output)), of_autodiff

    found, expected = run(x)
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
    params = [
        jax.tree.map(lambda p, s=scale: np.asarray(p) * np.float32(s), params_of(model)) for scale in (0.5, 1.0, 2.0)
    ]

    def one(p):
        return layer_jacobians(with_params(model, p), x)

    together = jax.jit(jax.vmap(one))(jax.tree.map(lambda *p: np.stack(p), *params))
    together, one = jax.tree.map(np.asarray, together), jax.jit(one)
    for i, p in enumerate(params):
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], together), one(p), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (lambda x: x, jnp.ones((2, 3)), TypeError, "flax.nnx module or a bound linen module, got function"),
        (Twin(), jnp.ones((2, 3)), TypeError, "model.bind"),
        (nnx.LayerNorm(3, rngs=nnx.Rngs(0)), jnp.ones((2, 3)), ValueError, "got one without such a product"),
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
