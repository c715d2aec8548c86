"""parametrise: activations of an existing model become trainable, outputs stay."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import paramact_jax as pa
from paramact_jax.activations import ppns, tanh
from paramact_jax.layers.retrofit import Change
from paramact_jax.networks import MLP


def own(y):
    return y / (1 + jnp.abs(y))


def dense():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Linear(4, 8, rngs=rngs),
        nnx.BatchNorm(8, use_running_average=True, rngs=rngs),
        nnx.relu,
        nnx.Linear(8, 6, rngs=rngs),
        nnx.Dropout(0.5, deterministic=True),
        jnp.tanh,
        nnx.Linear(6, 3, rngs=rngs),
        functools.partial(nnx.leaky_relu, negative_slope=0.1),
        nnx.Linear(3, 2, rngs=rngs),
        tanh,
    )


class Convolutional(nnx.Module):
    def __init__(self, rngs):
        self.features = nnx.List(
            [nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.gelu, nnx.Conv(4, 2, (3, 3), strides=2, rngs=rngs), nnx.silu]
        )
        self.dense = nnx.Linear(32, 5, rngs=rngs)
        self.act = jax.nn.sigmoid
        self.never = jax.nn.relu
        self.plain = [nnx.relu]
        self.head = nnx.softmax

    def __call__(self, x):
        for layer in self.features:
            x = layer(x)
        return self.head(self.act(self.dense(x.reshape(x.shape[0], -1))))


def normal(*shape):
    return jax.random.normal(jax.random.key(1), shape)


@pytest.mark.parametrize("with_example", [False, True])
def test_sequential(with_example):
    model, x = dense(), 3 * normal(5, 4)
    retrofit = pa.parametrise(model, *([x] if with_example else []))
    assert retrofit.changed == (
        Change("layers.2", "relu", 8),
        Change("layers.5", "tanh", 6),
        Change("layers.7", "leaky_relu", 3),
        Change("layers.9", "tanh", 2),
    )
    assert retrofit.untouched == ()
    chex.assert_trees_all_equal(retrofit.model(x), model(x))
    assert model.layers[2] is nnx.relu
    gradient = nnx.grad(lambda model: (model(x) ** 2).sum(), argnums=nnx.DiffState(0, pa.nnx.ActivationParam))(
        retrofit.model
    )
    assert all(g.any() for g in jax.tree.leaves(gradient))
    assert len(jax.tree.leaves(gradient)) == 8


@pytest.mark.parametrize(
    ("sharing", "features"),
    [("node", [4, 2, 5]), ("channel", [4, 2, 5]), ("layer", [None] * 3), ("element", [(8, 8, 4), (4, 4, 2), 5])],
)
def test_convolutional_model_with_an_example(sharing, features):
    model, x = Convolutional(nnx.Rngs(0)), normal(3, 8, 8, 1)
    retrofit = pa.parametrise(model, x, sharing=sharing)
    assert {(c.path, c.function, c.features) for c in retrofit.changed} == {
        ("features.1", "gelu", features[0]),
        ("features.3", "silu", features[1]),
        ("act", "sigmoid", features[2]),
        *([("never", "relu", None)] if sharing == "layer" else []),
    }
    why = {left.path: left.why for left in retrofit.untouched}
    assert "nnx.List" in why["plain.0"]
    assert why["head"] == "not elementwise"
    assert sharing == "layer" or "not called" in why["never"]
    chex.assert_trees_all_equal(retrofit.model(x), model(x))
    chex.assert_trees_all_close(nnx.jit(lambda m, x: m(x))(retrofit.model, x), model(x), rtol=1e-5)
    assert all(path in str(retrofit) for path in ("features.1: gelu", "head: softmax left"))


def test_models_with_state_of_the_example_call_are_left_alone():
    model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, rngs=nnx.Rngs(0)), nnx.elu)
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model)))
    retrofit = pa.parametrise(model, normal(5, 4))
    chex.assert_trees_all_equal(nnx.to_pure_dict(nnx.state(model)), before)
    chex.assert_trees_all_equal(retrofit.model(normal(5, 4)), model(normal(5, 4)))


def test_multilayer_perceptron_of_this_package():
    model = MLP(4, [3, 5], 1, "tanh", rngs=nnx.Rngs(0))
    retrofit = pa.parametrise(model, normal(2, 4), trainable=("a",))
    assert [(c.path, c.features) for c in retrofit.changed] == [("hidden.0.activation", 3), ("hidden.1.activation", 5)]
    assert isinstance(retrofit.model.hidden[0].activation.b, pa.nnx.FrozenParam)
    chex.assert_trees_all_equal(retrofit.model(normal(2, 4)), model(normal(2, 4)))
    with pytest.raises(ValueError, match=r"to change: none"):
        pa.parametrise(retrofit.model)


def test_functions_of_ones_own_are_changed_when_named():
    model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), own, nnx.Linear(3, 3, rngs=nnx.Rngs(0)), nnx.relu)
    (left,) = pa.parametrise(model).untouched
    assert (left.path, left.function) == ("layers.1", "own")
    assert "also" in left.why
    retrofit = pa.parametrise(model, also=(own,))
    assert [c.function for c in retrofit.changed] == ["own", "relu"]
    chex.assert_trees_all_equal(retrofit.model(normal(2, 4)), model(normal(2, 4)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_outputs_of_other_dtypes_are_unchanged(dtype):
    model = nnx.Sequential(nnx.Linear(4, 3, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0)), nnx.silu)
    x = normal(2, 4).astype(dtype)
    output = pa.parametrise(model).model(x)
    assert output.dtype == dtype
    chex.assert_trees_all_equal(output, model(x))


class Attribute(nnx.Module):
    def __init__(self, **attributes):
        self.first, self.second = (nnx.Linear(4, n, rngs=nnx.Rngs(0)) for n in (4, 2))
        for name, value in attributes.items():
            setattr(self, name, value)

    def __call__(self, x):
        return self.act(self.second(self.act(self.first(x))))


@pytest.mark.parametrize(
    ("model", "example", "error", "message"),
    [
        (jnp.tanh, (), TypeError, "flax.nnx module, got PjitFunction"),
        (Attribute(act=own), (), ValueError, "to change: none"),
        (Attribute(act=nnx.relu), (), ValueError, r"act \(relu\): an attribute .* parametrise\(model, x\)"),
        (Attribute(act=nnx.relu), (jnp.ones((3, 4)),), ValueError, "several shapes"),
        (Attribute(act=own, other=ppns), (), ValueError, "other .ppns.: a record with parameters"),
        (nnx.Sequential(own, nnx.relu), (), ValueError, "does not tell its size"),
        (nnx.Sequential(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.softmax), (), ValueError, "not elementwise"),
    ],
    ids=range(7),
)
def test_what_cannot_be_done_is_refused(model, example, error, message):
    with pytest.raises(error, match=message):
        pa.parametrise(model, *example)


def test_stacked_modules_are_refused():
    class Stacked(nnx.Module):
        def __init__(self):
            make = nnx.vmap(lambda key: Block(nnx.Rngs(key)), in_axes=0, out_axes=0)
            self.blocks = make(jax.random.split(jax.random.key(0), 3))

        def __call__(self, x):
            return nnx.vmap(lambda block, x: block(x), in_axes=(0, None))(self.blocks, x)

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.linear, self.act = nnx.Linear(4, 2, rngs=rngs), nnx.relu

        def __call__(self, x):
            return self.act(self.linear(x))

    with pytest.raises(ValueError, match=r"stacked by nnx\.vmap"):
        pa.parametrise(Stacked(), jnp.ones((5, 4)))
