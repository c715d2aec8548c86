"""What each operation is to a gradient, told by what it computes, however it is written."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from paramact_jax.gradients import Kind, attribute
from paramact_jax.layers import parametrise
from tests.zoo.case import normal, weight

pytestmark = pytest.mark.usefixtures("unoptimised")

X = normal(0, 6, 8)
ONES = jnp.ones(8)
W, V = weight(1, 8, 8), weight(2, 8, 8)


def loss(output):
    return jnp.sum(output * jnp.cos(jnp.arange(output.size)).reshape(output.shape))


def kinds(function, params=(W, V)):
    """Sums of shares by kind; those of 0 are left out."""
    return kinds_of_all([function], params)[0]


def kinds_of_all(functions, params=(W, V)):
    """Does the same for several functions, in one compiled call."""
    run = jax.jit(lambda params, x: [attribute(f, params, x, loss=loss).by_kind() for f in functions])
    return [
        {kind.value: float(share) for kind, share in found.items() if abs(share) > 1e-6} for found in run(params, X)
    ]


def assert_alike(first, *others):
    for other in others:
        assert set(first) == set(other)
        np.testing.assert_allclose(list(first.values()), [other[kind] for kind in first], atol=2e-5)


def test_a_constant_factor_is_never_an_activations_doing():
    linear, scaled, inside, between, divided, siren = kinds_of_all(
        [
            lambda p, x: x @ p[0] @ p[1],
            lambda p, x: 1e-3 * (x @ p[0]) @ p[1],
            lambda p, x: x @ (1e-3 * p[0]) @ p[1],
            lambda p, x: jnp.tanh(1e-2 * jnp.tanh(x @ p[0])) @ p[1],
            lambda p, x: jnp.tanh(x @ p[0] / 100) @ p[1],
            lambda p, x: jnp.sin(30 * (x @ p[0] / 30)) @ p[1],
        ]
    )
    assert set(linear) == {"linear"}
    assert set(scaled) == {"linear", "scale"}
    assert scaled["scale"] == pytest.approx(np.log(1e-3), rel=1e-5)
    assert set(inside) == {"linear"}
    assert inside["linear"] == pytest.approx(linear["linear"] + np.log(1e-3), rel=1e-5)
    assert between["scale"] == pytest.approx(np.log(1e-2), rel=1e-5)
    assert divided["scale"] == pytest.approx(-np.log(100), rel=1e-5)
    assert abs(siren.get("scale", 0)) < 1e-5
    assert siren["activation"] < 0


def test_a_norms_variance_is_never_an_activations_doing():
    norm = nnx.BatchNorm(8, use_running_average=True, rngs=nnx.Rngs(0))
    norm.var[...] = jnp.full(8, 1e6)
    inside = kinds(lambda p, x: norm(x @ p[0]) @ p[1])
    assert set(inside) == {"linear", "normalisation"}
    assert inside["normalisation"] == pytest.approx(np.log(1e-3), rel=1e-3)
    stored = (W, V, jnp.full((1, 8), 1e6), jnp.ones((1, 8)), jnp.zeros((1, 8)))
    written = kinds(lambda p, x: ((x @ p[0] - p[4]) / jnp.sqrt(p[2] + 1e-5) * p[3] + p[4]) @ p[1], params=stored)
    assert_alike(inside, written)


@pytest.mark.parametrize(
    "again",
    [
        lambda p, x: (p[1].T @ jnp.tanh(p[0].T @ x.T)).T,
        lambda p, x: jnp.einsum("ij,nj->ni", p[1].T, jnp.tanh(jnp.einsum("nj,ji->ni", x, p[0]))),
        lambda p, x: jax.jit(lambda z: z @ p[1])(jax.jit(lambda x: jnp.tanh(x @ p[0]))(x)),
        lambda p, x: jax.vmap(lambda row: jnp.tanh(row @ p[0]) @ p[1])(x),
        jax.checkpoint(lambda p, x: jnp.tanh(x @ p[0]) @ p[1]),
        lambda p, x: linen.Dense(8, use_bias=False).apply(
            {"params": {"kernel": p[1]}},
            linen.tanh(linen.Dense(8, use_bias=False).apply({"params": {"kernel": p[0]}}, x)),
        ),
    ],
    ids=["W @ x", "einsum", "jit", "vmap", "remat", "linen"],
)
def test_one_function_has_one_split_however_it_is_written(again):
    assert_alike(as_usual(), kinds(again))


@functools.cache
def as_usual():
    return kinds(lambda p, x: jnp.tanh(x @ p[0]) @ p[1])


def layer_norm(x):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-6)


def rms_norm(x):
    return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def soft(x):
    e = jnp.exp(x - jax.lax.stop_gradient(x.max(-1, keepdims=True)))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        (
            "normalisation",
            [
                layer_norm,
                nnx.LayerNorm(8, use_scale=False, use_bias=False, rngs=nnx.Rngs(0)),
                lambda x: linen.LayerNorm().apply({"params": {"scale": ONES, "bias": 0 * ONES}}, x),
                lambda x: (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6),
            ],
        ),
        ("normalisation", [rms_norm, nnx.RMSNorm(8, use_scale=False, rngs=nnx.Rngs(0))]),
        ("normalisation", [lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)]),
        ("softmax", [soft, jax.nn.softmax, lambda x: jax.nn.softmax(x, where=jnp.ones(x.shape, bool))]),
        (
            "softmax",
            [
                jax.nn.log_softmax,
                lambda x: (s := x - jax.lax.stop_gradient(x.max())) - jnp.log(jnp.exp(s).sum(-1, keepdims=True)),
            ],
        ),
        ("softmax", [lambda x: jax.nn.logsumexp(x, -1, keepdims=True) + 0 * x[:, :1]]),
        ("scale", [lambda x: x / 8**0.5, lambda x: x / jnp.sqrt(8.0)]),
        ("pooling", [lambda x: x.mean(0, keepdims=True), lambda x: x.sum(0, keepdims=True) / 6]),
        ("gate", [lambda x: (x @ W) * (x @ V), lambda x: (x @ V) * (x @ W)]),
        ("gate", [lambda x: (x @ W) / (9 + x @ V)]),
        ("masking", [lambda x: jnp.where(jnp.arange(8) % 3 == 0, 0, x)]),
        ("attention product", [lambda x: (x @ W) @ (x @ V).T]),
        ("elementwise", [lambda x: jnp.exp(0.1 * x)]),
        ("activation", [lambda x: 1 / (1 + jnp.exp(-x)), jax.nn.sigmoid]),
        ("other", [lambda x: jnp.fft.rfft(x).real]),
    ],
    ids=["layer norm", "RMS norm", "unit norm", "softmax", "log softmax", "log-sum-exp", *(
        "scale", "mean", "gate", "quotient", "mask", "product", "exp", "sigmoid", "FFT"
    )],
)  # fmt: skip
def test_operations_are_told_by_what_they_compute(kind, ways):
    found = kinds_of_all([lambda p, x, way=way: way(x @ p[0]) for way in ways])
    assert kind in found[0]
    assert set(found[0]) <= {kind, "linear", "residual sum", "reshaping", "scale", "elementwise"} - (
        {"elementwise"} if kind in ("normalisation", "softmax") else set()
    )
    assert_alike(*found)


def test_an_exponential_that_others_use_too_stays_apart_from_the_softmax():
    def both(params, x):
        e = jnp.exp(x @ params[0])
        return (e / e.sum(-1, keepdims=True)) @ params[1] + 1e-3 * e

    found = kinds(both)  # refuses shares that do not add up
    assert {"softmax", "elementwise"} <= set(found)


def test_a_and_b_belong_to_the_activation():
    a, b = jnp.full(8, 3.0), jnp.full(8, 0.5)
    written = kinds(lambda p, x: (p[2][None] * jnp.tanh(x @ p[0] - p[3][None])) @ p[1], params=(W, V, a, b))
    assert set(written) == {"linear", "activation"}
    retrofit = parametrise(lambda p, x: jnp.tanh(x @ p[0]) @ p[1], (W, V), X)
    (name,) = retrofit.variables["activations"]
    variables = {**retrofit.variables, "activations": {name: {"a": a, "b": b}}}
    found = jax.jit(lambda variables: attribute(retrofit.apply, variables, X, loss=loss))(variables)
    of_kinds = jax.jit(lambda found: found.by_kind())(found)
    assert_alike(written, {kind.value: float(share) for kind, share in of_kinds.items()})
    assert [activation.function for activation in found.activations] == ["parametric_tanh"]
    own = functools.partial(jnp.einsum, "ni,ij->nj")
    assert_alike(
        written, kinds(lambda p, x: own(jnp.tanh(own(x, p[0]) - p[3][None]) * p[2][None], p[1]), params=(W, V, a, b))
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda h: 30 * h * jax.nn.sigmoid(h),
        lambda h: jax.nn.gelu(30 * h),
        lambda h: jnp.where(h > 0, 30 * h, 0),
        lambda h: 30 * h / (1 + jnp.abs(h)),
    ],
    ids=["silu", "gelu", "relu", "soft sign"],
)
def test_a_factor_within_an_activation_is_a_scale(f):
    found = kinds(lambda p, x: f(x @ p[0]))
    assert found["scale"] == pytest.approx(np.log(30), rel=1e-4)
    assert found.get("activation", 0) <= 0.2


def test_every_kind_is_explained():
    import inspect

    source = inspect.getsource(Kind)
    assert source.count('"""') == 2 * (len(Kind) + 1)
