"""parametrise: the activations of any model become trainable, and its outputs stay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import paramact_jax as pa
from tests.layers.changed import COMPILED, ZOO, call, equal, moved, own, retrofitted
from tests.zoo import of_functions

pytestmark = pytest.mark.usefixtures("ranks_as_users_have_them")


@pytest.mark.parametrize("name", ZOO)
def test_every_model_of_the_zoo(name):
    """Sites as counted, outputs bit for bit, other sizes, gradients in every a and b, and training."""
    case = ZOO[name]()
    retrofit = retrofitted(case)
    assert [change.function for change in retrofit.changed] == case.activations
    assert sum(left.times for left in retrofit.untouched if "gate" in left.why) == case.gates
    function, variables = call(retrofit, case.kwargs)

    def both(variables, *args):
        return function(variables, *args), case.run(*args)

    # A product by 1 is rounded anew where a program is compiled as a whole.
    both, tolerance = (jax.jit(both), 1e-6) if name in COMPILED else (both, 0.0)
    equal(*both(variables, *case.args), tolerance)
    if case.batched:
        equal(*both(variables, *(x[:3] for x in case.args)), tolerance)

    @jax.jit
    def step(variables):
        loss, gradient = jax.value_and_grad(lambda v: case.loss(function(v, *case.args)))(variables)
        rate = 0.01 / (1 + optax.tree.norm(gradient))
        return loss, gradient, jax.tree.map(lambda v, g: v - (rate * g).astype(v.dtype), variables, gradient)

    losses = []
    for _ in range(3):
        loss, gradient, variables = step(variables)
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < losses[0]
    gradients = own(gradient)
    assert len(gradients) == 2 * len(case.activations)
    for path, g in gradients.items():
        assert np.isfinite(g).all(), path
        assert g.any() or "relu6" in path, path  # in a branch that is not taken


@pytest.mark.parametrize("name", ["inline", "layers", "physics", "columns"])
def test_under_vmap_over_models(name):
    case = ZOO[name]()
    function, variables = call(retrofitted(case), case.kwargs)
    many = jax.tree.map(lambda v: jnp.stack([v, 0.9 * v + 0.1]), variables)
    got = jax.jit(jax.vmap(function, in_axes=(0, None)))(many, *case.args)
    for i in range(2):
        one = jax.jit(function)(jax.tree.map(lambda v, i=i: v[i], many), *case.args)
        np.testing.assert_allclose(got[i], one, rtol=2e-4, atol=1e-5)


def test_values_are_those_of_the_formula():
    case = of_functions.layers()
    retrofit = retrofitted(case)
    variables = moved(retrofit.variables)
    relu, tanh, p, (x,) = (*variables["activations"].values(), variables["params"], case.args)
    h = relu["a"] * jax.nn.relu(x @ p["first"] - relu["b"])
    for i in range(4):
        y = h @ p["layers"]["w"][i] + p["layers"]["b"][i]
        h = h + 0.5 * tanh["a"][i] * jnp.tanh(y - tanh["b"][i])
    np.testing.assert_allclose(retrofit.apply(variables, x), h @ p["last"], rtol=1e-5, atol=1e-6)


def test_the_axis_of_nodes_is_found_where_the_weight_stands_on_the_left():
    case = of_functions.columns()
    retrofit = retrofitted(case)
    variables = moved(retrofit.variables)
    first, second = variables["activations"].values()
    w, x = variables["params"], case.args[0].T
    h = first["a"][:, None] * jnp.sin(20 * (w[0] @ x - first["b"][:, None]))
    h = second["a"][:, None] * jnp.sin(20 * (w[1] @ h - second["b"][:, None]))
    np.testing.assert_allclose(retrofit.apply(variables, *case.args), (w[2] @ h).T, rtol=1e-4, atol=1e-5)


def test_derivatives_within_a_program_are_those_of_the_changed_function():
    case = of_functions.physics()
    retrofit = retrofitted(case)
    variables = moved(retrofit.variables)

    def network(x):
        for (w, b), act in zip(variables["params"][:-1], variables["activations"].values(), strict=True):
            x = act["a"] * jnp.tanh(w @ x + b - act["b"])
        return (variables["params"][-1][0] @ x + variables["params"][-1][1])[0]

    def residual(x):
        return jax.grad(network)(x)[0] + network(x) - 0.1 * jax.hessian(network)(x)[1, 1]

    got = jax.jit(retrofit.apply)(variables, *case.args)
    np.testing.assert_allclose(got, jax.jit(jax.vmap(residual))(*case.args), rtol=1e-4, atol=1e-5)
    by_hand = jax.jit(jax.grad(lambda x: jax.vmap(residual)(x).sum()))(*case.args)
    ours = jax.jit(jax.grad(lambda x: retrofit.apply(variables, x).sum()))(*case.args)
    np.testing.assert_allclose(ours, by_hand, rtol=1e-3, atol=1e-4)


def test_one_a_and_b_for_all_layers_of_a_scan():
    case = of_functions.layers()
    retrofit = retrofitted(case, per_layer=False)
    assert {k: v["a"].shape for k, v in retrofit.variables["activations"].items()} == {"relu": (6,), "tanh": (6,)}
    apart = retrofitted(case)
    shared = moved(retrofit.variables)
    same = shared["activations"] | {
        "tanh": jax.tree.map(lambda x: jnp.broadcast_to(x, (4, 6)), shared["activations"]["tanh"])
    }
    equal(retrofit.apply(shared, *case.args), apart.apply({**shared, "activations": same}, *case.args))


@pytest.mark.parametrize("name", ["classifier", "resnet", "layers"])
def test_labels_and_the_decay_mask_know_what_became_trainable(name):
    retrofit = retrofitted(ZOO[name]())
    tree = retrofit.model if retrofit.model is not None else retrofit.variables
    labels = pa.layers.parameter_labels(tree, separate=True)
    ours = own(nnx.to_pure_dict(labels) if retrofit.model is not None else labels)
    assert sorted(set(ours.values())) == ["a", "b"]
    assert len(ours) == 2 * len(retrofit.changed)
    mask = pa.layers.weight_decay_mask(tree)
    mask = nnx.to_pure_dict(mask) if retrofit.model is not None else mask
    assert not any(own(mask).values())
    assert sum(jax.tree.leaves(mask)) == len(jax.tree.leaves(mask)) - len(ours)
