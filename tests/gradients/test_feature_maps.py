"""The closed forms of [A, eq. 9-24], as corrected, equal automatic differentiation; as printed they do not."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.activations import catalogue, parametric_relu, parametric_sigmoid, tanh
from paramact_jax.gradients import feature_map_gradients
from paramact_jax.layers import Sharing
from paramact_jax.layers.nnx import Parametric

MAP = (5, 4, 3)
SHARINGS = {
    "element": Sharing("element", MAP),
    "channel": Sharing("channel", MAP),
    "layer": Sharing("layer", MAP),
    "dense": Sharing("node", 3),
}
pytestmark = pytest.mark.usefixtures("unoptimised")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def layer_of(sharing, dtype):
    """Random M, dL/dA and parameters; no two parameters are alike."""
    random = np.random.default_rng(1)
    shape = (7, 3) if sharing.kind == "node" else (7, *MAP)
    a = 6 + random.normal(0, 1, sharing.shape)
    b = random.normal(0, 0.5, sharing.shape)
    return (
        *(random.normal(0, 2, shape).astype(dtype) for _ in range(2)),
        {"a": a.astype(dtype), "b": b.astype(dtype)},
    )


def of_autodiff(record, maps, cotangents, params, sharing):
    """A and the gradients of <A, dL/dA> by the Flax layer's own parameters."""
    features = maps.shape[-1] if sharing.kind == "node" else sharing.features
    layer = Parametric(record, features, sharing=sharing.kind)

    def activated(maps, params):
        return layer.elementwise(maps, params)

    values, pull_back = jax.vjp(activated, maps, params)
    d_maps, d_params = pull_back(cotangents)
    return values, d_maps, d_params


def both(record, maps, cotangents, params, sharing):
    """Computes the closed forms, and what autodiff makes of the Flax layer, in one compiled call."""

    @jax.jit
    def run(maps, cotangents, params):
        found = feature_map_gradients(record, maps, cotangents, params, sharing)
        return found, of_autodiff(record, maps, cotangents, params, sharing)

    found, expected = run(maps, cotangents, params)
    return (found.values, found.maps, found.params), expected


QUICK = {
    *((parametric_sigmoid, kind, "float64") for kind in SHARINGS),
    *((parametric_relu, kind, "float32") for kind in ("element", "dense")),
}


@pytest.mark.parametrize(
    ("record", "kind", "dtype"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow], id=f"{case[0].name}-{case[1]}-{case[2]}")
        for case in itertools.product((parametric_sigmoid, parametric_relu), SHARINGS, TOLERANCE)
    ],
)
def test_closed_forms_equal_autodiff(record, kind, dtype, x64):
    sharing = SHARINGS[kind]
    actual, expected = both(record, *layer_of(sharing, dtype), sharing)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(actual, expected, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])
    chex.assert_shape(actual[2]["a"], sharing.shape)


@pytest.mark.parametrize("name", [name for name in catalogue.names() if catalogue.get(name).params])
def test_every_record_with_parameters_has_its_closed_forms(name, x64):
    record, sharing = catalogue.get(name), SHARINGS["element"]
    maps, cotangents, _ = layer_of(sharing, "float64")
    params = {p: np.full(MAP, start, float) for p, start in record.params.items()}
    found, expected = both(record, maps, cotangents, params, sharing)
    chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["element", "dense"])
def test_the_formulas_of_the_paper_hold_as_corrected_and_fail_as_printed(kind, x64):
    sharing = SHARINGS[kind]
    m, d_a, params = layer_of(sharing, "float64")
    a, b = params["a"][None], params["b"][None]
    _, (values, d_m, d_params) = jax.tree.map(np.asarray, both(parametric_sigmoid, m, d_a, params, sharing))
    s = 1 / (1 + np.exp(-(m - b)))
    z = a * s
    corrected = {
        "eq. 9, 17": (z, values),
        "eq. 10, 18": (z * (1 - z / a) * d_a, d_m),
        "eq. 11, 13, 15, 19, 21, 23": ((s * d_a).sum(0), d_params["a"]),
        "eq. 12, 14": ((-z * (1 - z / a) * d_a).sum(0), d_params["b"]),
        "eq. 16, 20, 22, 24": ((z * (z - a) / a * d_a).sum(0), d_params["b"]),
    }
    for formula, (by_hand, autodiff) in corrected.items():
        chex.assert_trees_all_close(by_hand, autodiff, rtol=1e-11, atol=1e-11, custom_message=formula)
    printed = {
        "eq. 10, 18": (m * (1 - m / a) * d_a, d_m),
        "eq. 12, 14": ((z * (1 - z / a) * d_a).sum(0), d_params["b"]),
        "eq. 15": ((z * (z - 1) / a * d_a).sum(0), d_params["a"]),
        "eq. 16, 22, 24": ((z * (z - 1) / a * d_a).sum(0), d_params["b"]),
        "eq. 20": ((-z * (z - 1) / a * d_a).sum(0), d_params["b"]),
    }
    for formula, (by_hand, autodiff) in printed.items():
        relative = np.linalg.norm(by_hand - autodiff) / np.linalg.norm(autodiff)
        assert relative > 0.1, f"{formula} holds as printed"


def test_the_slope_of_agile_relu_at_its_kink_is_a():
    params = {"a": jnp.array(1.5), "b": jnp.array(0.5)}
    at_kink = jnp.full((1, *MAP), 0.5)
    found = feature_map_gradients(parametric_relu, at_kink, jnp.ones_like(at_kink), params, SHARINGS["layer"])
    chex.assert_trees_all_equal(found.slopes, jnp.full_like(at_kink, 1.5))
    assert float(found.params["b"]) == pytest.approx(-1.5 * 60)
    assert float(found.params["a"]) == 0


def test_a_step_of_descent_along_them_lowers_the_loss(x64):
    sharing = SHARINGS["element"]
    maps, target, params = layer_of(sharing, "float64")

    def loss(params):
        a, b = params["a"][None], params["b"][None]
        return ((parametric_sigmoid(maps, a=a, b=b) - target) ** 2).sum()

    values = parametric_sigmoid(maps, **{p: value[None] for p, value in params.items()})
    found = feature_map_gradients(parametric_sigmoid, maps, 2 * (values - target), params, sharing)
    stepped = jax.tree.map(lambda p, d: p - 1e-4 * d, params, found.params)
    predicted = 1e-4 * sum(float((d**2).sum()) for d in found.params.values())
    assert loss(params) - loss(stepped) == pytest.approx(predicted, rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cotangents": jnp.ones((7, 3))}, r"expected cotangents of the maps' shape \(7, 5, 4, 3\), got \(7, 3\)"),
        ({"params": {"a": jnp.ones(MAP)}}, r"expected parameters \['a', 'b'\], got \['a'\]"),
        ({"activation": tanh}, r"tanh: expected parameters \[\], got \['a', 'b'\]"),
        ({"params": {"a": jnp.ones(MAP), "b": jnp.ones(3)}}, r"expected b of shape \(5, 4, 3\) for sharing 'element'"),
        ({"sharing": Sharing("element", (4, 4, 3))}, "expected an input with last axes of sizes 4, 4, 3"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_does_not_fit_is_refused(change, message):
    maps, cotangents, params = layer_of(SHARINGS["element"], "float32")
    fitting = {
        "activation": parametric_sigmoid,
        "maps": maps,
        "cotangents": cotangents,
        "params": params,
        "sharing": SHARINGS["element"],
    }
    feature_map_gradients(**fitting)
    with pytest.raises(ValueError, match=message):
        feature_map_gradients(**fitting | change)
