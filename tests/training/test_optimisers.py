"""Optimisers by name against optax's own, and rates that are each parameter's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from paramact_jax.layers.nnx import Parametric
from paramact_jax.networks import MLP, params_of
from paramact_jax.training import optimiser
from paramact_jax.training.optimisers import MAKERS


def as_printed(rho):
    """[R]: h <- h + g^2 (AdaGrad) or rho h + (1 - rho) g^2 (RMSProp), g / sqrt(h); 1e-7 keeps it from dividing by 0."""

    def update(gradient, h, params=None):
        kept, new = (1.0, 1.0) if rho is None else (rho, 1 - rho)
        h = jax.tree.map(lambda h, g: kept * h + new * g**2, h, gradient)
        return jax.tree.map(lambda g, h: g / (h**0.5 + 1e-7), gradient, h), h

    return optax.GradientTransformation(lambda params: jax.tree.map(lambda x: 0 * x, params), update)


OPTAX = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
    "nadam": optax.nadam,
    "adagrad-printed": lambda rate: optax.chain(as_printed(None), optax.scale(-rate)),
    "rmsprop-printed": lambda rate: optax.chain(as_printed(0.9), optax.scale(-rate)),
}
NAMES = sorted(OPTAX)
TREE = {
    "linear": {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.1, -0.1])},
    "activation": {"a": jnp.array([6.0, 5.0]), "b": jnp.array([0.0, 0.2])},
    "activation_1": {"positive_height": jnp.array([1.5, 2.0]), "b": jnp.array([0.3, 0.4])},
}
MODELS = {
    "tree": TREE,
    "mlp": params_of(MLP(3, [2, 4], 2, ["ppns", "parametric_hexpo"], rngs=nnx.Rngs(0))),
    "mlp without": params_of(MLP(3, [2], 2, "tanh", rngs=nnx.Rngs(0))),
    "mlp frozen": params_of(MLP(3, [2], 2, "ppns", trainable=("a",), rngs=nnx.Rngs(0))),
}


def loss(params):
    """Something that has another gradient at every leaf and every point."""
    leaves = jax.tree.leaves(params)
    return sum(jnp.sum(jnp.sin((i + 1) * x) + 0.5 * x**2) for i, x in enumerate(leaves))


def after(update, params, steps=5):
    """Params after some steps, all in one compiled call."""

    def step(_, before):
        params, kept = before
        changes, kept = update.update(jax.grad(loss)(params), kept, params)
        return optax.apply_updates(params, changes), kept

    return jax.jit(lambda params: jax.lax.fori_loop(0, steps, step, (params, update.init(params)))[0])(params)


def by_path(tree):
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def test_all_names_are_tried_here():
    assert set(MAKERS) == set(OPTAX)


@functools.cache
def by_optax(name, model):
    return by_path(after(OPTAX[name](0.05), MODELS[model]))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param(model, name, marks=[] if model == "tree" or name == "nadam" else [pytest.mark.slow])
        for model in MODELS
        for name in NAMES
    ],
)
def test_with_equal_rates_it_is_the_optimiser_of_optax(name, model):
    params = MODELS[model]
    ours, plain = by_path(after(optimiser(name, params, 0.05), params)), by_optax(name, model)
    for path, value in plain.items():
        np.testing.assert_allclose(ours[path], value, rtol=1e-6, atol=1e-7, err_msg=path)
        assert not np.array_equal(value, by_path(params)[path]), "this leaf moves"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in ("sgd", "adagrad", "adam") else [pytest.mark.slow]) for n in NAMES]
)
@pytest.mark.parametrize(
    ("rates", "held"),
    [({"a": 0.0}, ("['a']", "['positive_height']")), ({"b": 0.0}, ("['b']",))],
)
def test_a_rate_of_0_holds_exactly_those_fixed(name, rates, held):
    ours, plain = by_path(after(optimiser(name, TREE, 0.05, **rates), TREE)), by_optax(name, "tree")
    for path, start in by_path(TREE).items():
        if path.endswith(held):
            np.testing.assert_array_equal(ours[path], start, err_msg=path)
        else:
            np.testing.assert_allclose(ours[path], plain[path], rtol=1e-6, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("model", ["tree", "mlp"])
def test_each_kind_moves_at_its_own_rate(model):
    """One step of plain gradient descent, written out."""
    params = MODELS[model]
    rate_of = {"['a']": 0.02, "['b']": 0.003}
    shape = ("height']", "width']")
    gradient = by_path(jax.jit(jax.grad(loss))(params))
    changed = by_path(after(optimiser("sgd", params, 0.5, a=0.02, b=0.003), params, steps=1))
    kinds = set()
    for path, start in by_path(params).items():
        weights = "linear" in path or "out" in path
        rate = 0.5 if weights else 0.02 if path.endswith(shape) else rate_of[path[-5:]]
        kinds.add(rate)
        np.testing.assert_allclose(changed[path], start - rate * gradient[path], rtol=1e-5, atol=1e-6, err_msg=path)
    assert kinds == {0.5, 0.02, 0.003}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_rate_of_the_weights_does_not_touch_a_and_b(name):
    slow, fast = (by_path(after(optimiser(name, TREE, rate, a=0.02, b=0.01), TREE)) for rate in (0.001, 0.1))
    for path in slow:
        same = np.array_equal(slow[path], fast[path])
        assert same == ("linear" not in path), path


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in ("sgd", "adagrad", "nadam") else [pytest.mark.slow]) for n in NAMES]
)
def test_traced_rates_do_not_compile_again(name):
    traces = []

    @jax.jit
    def step(params, rate, a, b):
        traces.append(1)
        kept = optimiser(name, params, 0.0).init(params)
        changes, _ = optimiser(name, params, rate, a, b).update(jax.grad(loss)(params), kept, params)
        return optax.apply_updates(params, changes)

    for rate, a, b in ((0.1, 0.1, 0.1), (0.02, 0.0, 0.3)):
        ours = by_path(step(TREE, rate, a, b))
        for path, value in by_path(after(optimiser(name, TREE, rate, a, b), TREE, steps=1)).items():
            np.testing.assert_allclose(ours[path], value, rtol=1e-6, atol=1e-7, err_msg=path)
    assert len(traces) == 1


@pytest.mark.parametrize("held", ["linen", "nnx"])
def test_parameters_that_are_held_fixed_stay_where_the_tree_has_them(held):
    """Linen keeps them in a collection of their own, nnx in variables of another type."""
    if held == "linen":
        params = {"params": TREE, "frozen": {"activation": {"b": jnp.ones(2)}}}
    else:
        params = nnx.state(Parametric("ppns", 2, trainable=("a",)))
    update = optimiser("adam", params, 0.1)
    gradient = jax.tree.map(jnp.ones_like, params)
    changes, _ = update.update(gradient, update.init(params), params)
    for path, change in by_path(changes).items():
        frozen = "frozen" in path or ("['b']" in path and held == "nnx")
        assert np.array_equal(change, np.zeros_like(change)) == frozen, path


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^expected an optimiser among sgd, .*, nadam, .*, got 'lion'$"):
        optimiser("lion", TREE, 0.1)
