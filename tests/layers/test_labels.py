"""Optimisers that treat a and b apart from the weights."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import paramact_jax as pa
from paramact_jax.activations import ppns
from paramact_jax.layers import ACTIVATION, WEIGHTS, parameter_labels, weight_decay_mask
from paramact_jax.networks import MLP, forward, params_of

ROW = np.ones(3)
LINEAR = {"bias": WEIGHTS, "kernel": WEIGHTS}
EXPECTED = {
    "hidden": {i: {"activation": {"a": ACTIVATION, "b": ACTIVATION}, "linear": LINEAR} for i in range(2)},
    "out": LINEAR,
}


def model(seed=0):
    return MLP(2, [3, 2], 1, "ppns", rngs=nnx.Rngs(jax.random.key(seed)))


def stacked():
    return jax.vmap(lambda seed: params_of(model(seed)))(jnp.arange(4))


@pytest.mark.parametrize("params", [lambda: params_of(model()), stacked], ids=["one trial", "trials"])
def test_labels_of_plain_params(params):
    assert parameter_labels(params()) == EXPECTED


def test_labels_of_an_nnx_state():
    labels = parameter_labels(nnx.state(model(), nnx.Param))
    assert isinstance(labels, nnx.State)
    assert nnx.to_pure_dict(labels) == EXPECTED


def test_names_that_merely_contain_a_or_b_are_weights():
    assert parameter_labels({"a": {"kernel": 0}, "beta": 0, "ab": [0, 0]}) == {
        "a": {"kernel": WEIGHTS},
        "beta": WEIGHTS,
        "ab": [WEIGHTS, WEIGHTS],
    }


@pytest.mark.parametrize(
    ("of_activation", "rate"), [(optax.sgd(0.5), 0.5), (optax.set_to_zero(), 0.0)], ids=["own rate", "frozen"]
)
def test_partition_moves_activation_params_and_weights_at_their_own_rates(of_activation, rate):
    params, x = params_of(model()), jnp.array([[0.3, 1.0], [1.0, -2.0]])
    gradient = jax.grad(lambda params: (forward(params, x, ppns) ** 2).mean())(params)
    optimiser = optax.partition({ACTIVATION: of_activation, WEIGHTS: optax.sgd(0.1)}, parameter_labels)
    updates, _ = optimiser.update(gradient, optimiser.init(params), params)
    rates = {ACTIVATION: rate, WEIGHTS: 0.1}
    expected = jax.tree.map(lambda label, g: -rates[label] * g, EXPECTED, gradient)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)


def test_nnx_optimizer_takes_the_labels():
    network = model()
    before = params_of(network)
    optimiser = nnx.Optimizer(
        network,
        optax.partition({ACTIVATION: optax.set_to_zero(), WEIGHTS: optax.sgd(0.1)}, parameter_labels),
        wrt=nnx.Param,
    )
    optimiser.update(network, nnx.grad(lambda network: (network(jnp.ones((4, 2))) ** 2).mean())(network))
    moved = jax.tree.map(lambda old, new: bool((old != new).any()), before, params_of(network))
    assert moved == jax.tree.map(lambda label: label == WEIGHTS, EXPECTED)


class OwnShift(nnx.Module):
    """A user's own layer, whose b is no activation's."""

    def __init__(self, features):
        self.b = nnx.Param(jnp.ones(features))

    def __call__(self, x):
        return x + self.b[...].reshape((1,) * (x.ndim - 1) + (-1,))


def mixed(seed=0):
    """Activations of all kinds in one nnx model, beside weights and a user's own b."""
    rngs = nnx.Rngs(jax.random.key(seed) if isinstance(seed, int) else seed)
    return nnx.Sequential(
        nnx.Conv(1, 2, (2, 2), rngs=rngs),
        pa.nnx.Parametric("sigmoid", (4, 4, 2), sharing="element"),
        lambda x: x.reshape(x.shape[0], 32),
        pa.nnx.Maxout(32, 3, rngs=rngs),
        pa.nnx.Parametric("tanh", 3, trainable=("a",)),
        OwnShift(3),
        nnx.LayerNorm(3, rngs=rngs),
        pa.nnx.Parametric("ppns", sharing="layer"),
        nnx.PReLU(),
    )


WEIGHT = {"kernel": "weights", "bias": "weights"}
NORM = {"scale": "weights", "bias": "weights"}
OF_MIXED = {
    "layers": {
        0: WEIGHT,
        1: {"a": "a", "b": "b"},
        3: WEIGHT,
        4: {"a": "a"},
        5: {"b": "weights"},
        6: NORM,
        7: {"a": "a", "b": "b"},
        8: {"negative_slope": "shape"},
    }
}


def image_batch():
    return jax.random.normal(jax.random.key(5), (3, 4, 4, 1))


def stacked_state():
    return jax.vmap(lambda key: nnx.state(mixed(key), nnx.Param))(jax.random.split(jax.random.key(0), 4))


@pytest.mark.parametrize(
    "params", [mixed, lambda: nnx.state(mixed(), nnx.Param), stacked_state], ids=["model", "state", "stacked"]
)
def test_nnx_leaves_are_told_by_type(params):
    assert nnx.to_pure_dict(parameter_labels(params(), separate=True)) == OF_MIXED
    together = jax.tree.map(lambda label: label if label == "weights" else "activation", OF_MIXED)
    assert nnx.to_pure_dict(parameter_labels(params())) == together
    assert nnx.to_pure_dict(weight_decay_mask(params())) == jax.tree.map(lambda label: label == "weights", OF_MIXED)
    without_biases = nnx.to_pure_dict(weight_decay_mask(params(), biases=False))["layers"]
    assert without_biases[0] == without_biases[3] == {"kernel": True, "bias": False}
    assert without_biases[6] == {"scale": True, "bias": False}
    assert without_biases[5] == {"b": True}
    assert not any(jax.tree.leaves([without_biases[i] for i in (1, 4, 7, 8)]))


def test_frozen_parameters_have_a_label_of_their_own():
    labels = nnx.to_pure_dict(parameter_labels(nnx.state(mixed()), separate=True))
    assert labels["layers"][4] == {"a": "a", "b": "frozen"}
    assert nnx.to_pure_dict(weight_decay_mask(nnx.state(mixed())))["layers"][4] == {"a": False, "b": False}
    variables = {"params": {"Parametric_0": {"a": 1.0}}, "frozen": {"layer": {"b": 0.0}}}
    assert parameter_labels(variables) == {
        "params": {"Parametric_0": {"a": "activation"}},
        "frozen": {"layer": {"b": "frozen"}},
    }


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"Parametric_3": {"slope_of_mine": 0}}, True),
        ({"Parametric": {"a": 0, "b": 0}}, True),
        ({"activation": {"a": 0, "b": 0, "mine": 0}}, True),
        ({"activation_12": {"b": 0}}, True),
        ({"activations": {"relu_0": {"a": ROW, "b": ROW}, "tanh_0": {"a": ROW}}}, True),
        ({"model": {"activations": {"relu_0": {"a": ROW, "b": ROW}}}}, True),
        ({"act": {"negative_slope": 0}}, True),
        ({"act": {"b": 0}}, False),
        ({"dense": {"alpha": 0, "beta": 0}}, False),
        ({"lora": {"a": np.ones((8, 2)), "b": np.ones((2, 8))}}, False),
        ({"activation": {"a": np.ones((8, 2)), "b": np.ones((2, 8))}}, False),
        ({"activations": {"relu_0": {"a": ROW, "b": np.ones(4)}}}, False),
        ({"activations": {"kernel_0": {"kernel": ROW}}}, False),
        ({"norm": {"alpha": ROW, "b": ROW}}, False),
        ({"own": {"a": 0, "kernel": 0}}, False),
        ({"own": {"a": 0, "w": 0}}, False),
        ({"activation": {"kernel": 0, "bias": 0}}, False),
        ({"own": {"a": 0, "b": 0, "inner": {"kernel": 0}}}, False),
        ({"Parametric_x": {"mine": 0}}, False),
        ({"Activation_0": {"mine": 0}}, False),
        ({"activation_": {"mine": 0}}, False),
    ],
    ids=str,
)
def test_leaves_without_types_are_told_by_the_dict_that_holds_them(params, expected):
    label = ACTIVATION if expected else WEIGHTS
    assert parameter_labels(params) == jax.tree.map(lambda _: label, params)
    assert weight_decay_mask(params) == jax.tree.map(lambda _: not expected, params)


def test_where_decides_for_leaves_without_types():
    params = {"activation": {"a": 0, "b": 0}, "f": {"mine": 0, "a": ROW, "kernel": 0, "g": {"b": 0}}}
    expected = {
        "activation": {"a": "weights", "b": "weights"},
        "f": {"mine": "shape", "a": "a", "kernel": "shape", "g": {"b": "weights"}},
    }
    assert parameter_labels(params, separate=True, where=lambda path: path[-1] == "f") == expected
    assert parameter_labels({"a": 0, "b": 0}, separate=True, where=lambda path: path == ()) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("params", [{"act": {"a": ROW, "b": ROW, "alpha": ROW}}, {"a": 0, "b": 0}], ids=str)
@pytest.mark.parametrize("of", [parameter_labels, weight_decay_mask])
def test_what_may_be_an_activation_is_a_weight_with_a_warning(params, of):
    with pytest.warns(UserWarning, match=r"a and b at (act|the root) are labelled as weights.* pass where=") as caught:
        told = of(params)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert set(jax.tree.leaves(told)) == {WEIGHTS if of is parameter_labels else True}
    assert of(params, where=lambda path: False) == told  # no warning


class LinenModel(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = pa.linen.Parametric("sigmoid", (4, 4, 2), sharing="element")(nn.Conv(2, (2, 2))(x))
        x = pa.linen.Maxout(3)(x.reshape(x.shape[0], -1))
        x = pa.linen.Parametric("tanh", 3, trainable=("a",), name="activation")(x)
        return nn.Dense(2)(x)


def test_linen_params_are_told_by_path():
    variables = LinenModel().init(jax.random.key(0), image_batch())
    expected = {
        "Conv_0": WEIGHT,
        "Parametric_0": {"a": "a", "b": "b"},
        "Maxout_0": WEIGHT,
        "activation": {"a": "a"},
        "Dense_0": WEIGHT,
    }
    assert parameter_labels(variables["params"], separate=True) == expected
    whole = parameter_labels(variables, separate=True)
    assert whole == {"params": expected, "frozen": {"activation": {"b": "frozen"}}}
    boxed = {"Parametric_0": {"a": nn.Partitioned(jnp.ones(3), ("model",))}}
    assert parameter_labels(boxed)["Parametric_0"]["a"].value == "activation"


class Block(nn.Module):
    """Layers in an attribute and in a call, one of them with a name of its own."""

    act: nn.Module

    @nn.compact
    def __call__(self, x):
        x = pa.linen.Parametric("ppns", 3)(self.act(nn.Dense(3)(x)))
        return pa.linen.Parametric("relu", 3, name="last")(x)


def to_nnx():
    block = Block(pa.linen.Parametric("tanh", 3, trainable=("a",)))
    inner = nnx.bridge.ToNNX(nn.Sequential([nn.Dense(3), block]), rngs=nnx.Rngs(0)).lazy_init(jnp.ones((2, 3)))
    alone = nnx.bridge.ToNNX(pa.linen.Parametric("swish", sharing="layer"), rngs=nnx.Rngs(0))
    return nnx.List([inner, alone.lazy_init(jnp.ones((2, 2)))])


def test_layers_that_nnx_wraps_are_told_by_their_class():
    with pytest.warns(UserWarning, match="at 0/layers_1/last are labelled as weights"):
        labels = nnx.to_pure_dict(parameter_labels(to_nnx(), separate=True))
    of_block = {
        "Dense_0": WEIGHT,
        "act": {"a": "a"},
        "Parametric_0": {"a": "a", "b": "b"},
        "last": {"a": "weights", "b": "weights"},
    }
    assert labels == {0: {"layers_0": WEIGHT, "layers_1": of_block}, 1: {"beta": "shape"}}
    named = parameter_labels(to_nnx(), separate=True, where=lambda path: path[-1] == "last")
    of_block |= {"last": {"a": "a", "b": "b"}, "Parametric_0": {"a": "weights", "b": "weights"}}
    assert nnx.to_pure_dict(named)[0]["layers_1"] == of_block
    frozen = nnx.to_pure_dict(parameter_labels(nnx.state(to_nnx())[0], separate=True))["layers_1"]
    assert frozen["act"]["b"] == "frozen"
    assert frozen["Parametric_0"] == {"a": "a", "b": "b"}


def test_layers_that_linen_wraps_are_told_by_their_collections():
    layer = nnx.bridge.to_linen(pa.nnx.Parametric, "tanh", 3, trainable=("a",), name="anything")
    model = nn.Sequential([nn.Dense(3), layer])
    variables = model.init(jax.random.key(0), jnp.ones((2, 3)))
    labels = parameter_labels(variables)
    assert set(jax.tree.leaves(labels["ActivationParam"])) == {"activation"}
    assert set(jax.tree.leaves(labels["FrozenParam"])) == {"frozen"}
    assert set(jax.tree.leaves(labels["params"])) == {"weights"}
    mask = weight_decay_mask(variables)
    assert {c: any(jax.tree.leaves(mask[c])) for c in mask} == {
        "params": True,
        "ActivationParam": False,
        "FrozenParam": False,
    }


def seeds(init):
    """Params of four seeds, stacked."""
    return jax.vmap(init)(jax.random.split(jax.random.key(0), 4))


def arrays(tree):
    """The same tree with arrays in place of nnx variables, as an optimiser is updated with."""
    is_variable = lambda x: isinstance(x, nnx.Variable)  # noqa: E731
    return jax.tree.map(lambda x: x[...] if is_variable(x) else x, tree, is_leaf=is_variable)


def linen_params(key):
    return LinenModel().init(key, image_batch())["params"]


def nnx_params(key):
    return nnx.state(mixed(key), nnx.Param)


@pytest.mark.parametrize("init", [linen_params, nnx_params])
@pytest.mark.parametrize("stack", [False, True], ids=["one", "stacked"])
@pytest.mark.parametrize("biases", [True, False])
def test_adamw_decays_weights_only(init, stack, biases):
    params = arrays(seeds(init) if stack else init(jax.random.key(0)))
    mask = weight_decay_mask(seeds(init) if stack else init(jax.random.key(0)), biases=biases)
    optimiser = optax.adamw(0.1, weight_decay=0.5, mask=mask)
    params = jax.tree.map(lambda p: p + 1.0, params)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimiser.update(zero, optimiser.init(params), params)
    expected = jax.tree.map(lambda decayed, p: -0.05 * p if decayed else 0 * p, mask, params)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)
    assert {True, False} == set(jax.tree.leaves(mask))


@pytest.mark.parametrize("init", [linen_params, nnx_params])
@pytest.mark.parametrize("stack", [False, True], ids=["one", "stacked"])
def test_own_rates_for_a_and_b(init, stack):
    typed = seeds(init) if stack else init(jax.random.key(0))
    params, labels = arrays(typed), parameter_labels(typed, separate=True)
    rates = {"a": 0.5, "b": 0.0, "shape": 0.25, "weights": 0.1}
    transforms = {label: optax.sgd(rate) if rate else optax.set_to_zero() for label, rate in rates.items()}
    optimiser = optax.partition(transforms, labels)
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimiser.update(gradient, optimiser.init(params), params)
    expected = jax.tree.map(lambda label, p: jnp.full_like(p, -rates[label]), labels, params)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)


@pytest.mark.parametrize("make_once", [True, False])
def test_nnx_optimizer_with_adamw_leaves_activations_undecayed(make_once):
    network = mixed()
    before = params_of(network)
    own_names = functools.partial(weight_decay_mask, where=lambda path: path[-1] in "1478")
    mask = weight_decay_mask(network) if make_once else own_names
    optimiser = nnx.Optimizer(network, optax.adamw(0.0, weight_decay=1.0, mask=mask), wrt=nnx.Param)
    gradient = nnx.grad(lambda network: (network(image_batch()) ** 2).sum())(network)
    optimiser.update(network, gradient)
    chex.assert_trees_all_equal(params_of(network), before)  # rate 0: nothing moves, the tree fits

    optimiser = nnx.Optimizer(network, optax.add_decayed_weights(-0.5, mask=mask), wrt=nnx.Param)
    optimiser.update(network, jax.tree.map(jnp.zeros_like, gradient))
    after = params_of(network)["layers"]
    chex.assert_trees_all_close(after[0]["kernel"], 0.5 * before["layers"][0]["kernel"])
    for layer in (1, 4, 7, 8):
        chex.assert_trees_all_equal(after[layer], before["layers"][layer])
    chex.assert_trees_all_close(after[5], {"b": 0.5 * before["layers"][5]["b"]})


def test_activation_params_alone_can_be_trained():
    network = mixed()
    before = params_of(network)
    optimiser = nnx.Optimizer(network, optax.sgd(0.1), wrt=pa.nnx.ActivationParam)
    of_activations = nnx.DiffState(0, pa.nnx.ActivationParam)
    gradient = nnx.grad(lambda network: (network(image_batch()) ** 2).sum(), argnums=of_activations)(network)
    optimiser.update(network, gradient)
    moved = jax.tree.map(lambda old, new: bool((old != new).any()), before, params_of(network))
    of_prelu = {"layers": {8: {"negative_slope": False}}}
    expected = jax.tree.map(lambda label: label in ("a", "b"), OF_MIXED)
    expected["layers"] |= of_prelu["layers"]
    assert moved == expected
