"""The convolutional network is the one that Flax's own layers make, with its gradients, and its params are its own."""

import itertools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from paramact_jax.layers.nnx import ActivationParam
from paramact_jax.networks import CNN, params_of
from paramact_jax.networks.feature_maps import convolve, pool

SMALL = {"image_shape": (11, 9, 2), "filters": (3, 4), "dense_features": 5, "out_features": 3}


def cnn(conv="parametric_relu", dense="parametric_sigmoid", seed=0, **options):
    return CNN(**SMALL | options, conv_activation=conv, dense_activation=dense, rngs=nnx.Rngs(seed))


def scattered(model, seed=0):
    """The model's params, all of them moved, so that no two of a and b are alike."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda p: np.asarray(p) + random.normal(0, 0.3, p.shape).astype(p.dtype), params_of(model))


def by_flax(model, images):
    """The same network out of Flax's own convolution and pooling."""
    z = images
    for layer in model.convolutional:
        windows = (layer.pool_size, layer.pool_size)
        of_kind = nnx.max_pool if layer.pooling == "max" else nnx.avg_pool
        z = of_kind(layer.activation(layer.conv(z)), windows, strides=windows)
    return model.out(model.dense(z.reshape(z.shape[0], -1)))


@pytest.fixture
def images(x64):
    return jnp.asarray(np.random.default_rng(2).normal(size=(6, 11, 9, 2)))


@pytest.mark.parametrize(
    ("conv", "options"),
    [
        ("parametric_relu", {}),
        pytest.param("sigmoid", {"kernel_size": 4}, marks=pytest.mark.slow),
        ("parametric_sigmoid", {"sharing": "channel", "pooling": "average", "padding": "valid", "kernel_size": 2}),
        ("ppns", {"sharing": "layer", "pool_size": 3, "filters": (3,), "kernel_size": 2, "padding": "valid"}),
        ("relu", {"pool_size": 1, "kernel_size": 5}),
        ("parametric_tanh", {"pooling": "average", "pool_size": 3, "kernel_size": 1}),
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_flax_layers(conv, options, images):
    model = cnn(conv, param_dtype=jnp.float64, **options)
    params = scattered(model)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(6, 3)))

    def with_gradients(outputs, params, images):
        values, pull_back = jax.vjp(outputs, params, images)
        return pull_back(weights), values

    @jax.jit
    def both(params, images):
        graph, state = nnx.split(model)

        def outputs(params, images):
            own = jax.tree.map(lambda p: p, state)
            nnx.replace_by_pure_dict(own, params)
            return by_flax(nnx.merge(graph, own), images)

        return [with_gradients(f, params, images) for f in (model.apply, outputs)]

    actual, expected = both(params, images)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    chex.assert_trees_all_close(actual, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("size", "padding"),
    [
        *((1, "same"), (2, "same"), (3, "same"), (2, "valid")),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((5, "same"), *((n, "valid") for n in (1, 3, 5)))),
    ],
)
def test_convolution_is_the_sum_of_the_paper(size, padding, x64):
    """[A, eq. 3] written out, and its derivatives by finite differences."""
    random = np.random.default_rng(size)
    maps, kernel = random.normal(size=(2, 6, 7, 3)), random.normal(size=(size, size, 2, 4))
    before = (size - 1) // 2 if padding == "same" else 0
    after = size - 1 - before if padding == "same" else 0
    padded = np.pad(maps, ((0, 0), (before, after), (before, after), (0, 0)))
    height, width = padded.shape[1] - size + 1, padded.shape[2] - size + 1
    expected = np.zeros((4, height, width, 3))
    for i, j in itertools.product(range(height), range(width)):
        expected[:, i, j] = np.einsum("cuvn,uvck->kn", padded[:, i : i + size, j : j + size], kernel)
    chex.assert_trees_all_close(convolve(jnp.asarray(maps), jnp.asarray(kernel), padding), expected, atol=1e-12)
    jax.test_util.check_grads(
        lambda maps, kernel: convolve(maps, kernel, padding), (maps, kernel), order=1, modes=["rev"], rtol=1e-6
    )


def test_pixels_that_tie_share_the_gradient_and_dropped_ones_get_none():
    maps = jnp.array([[2.0, 2.0, 9.0], [1.0, 2.0, 9.0], [9.0, 9.0, 9.0]]).reshape(1, 3, 3, 1)
    (gradient,) = jax.vjp(lambda maps: pool(maps, 2, "max"), maps)[1](jnp.full((1, 1, 1, 1), 6.0))
    assert gradient[0, :, :, 0].tolist() == [[2, 2, 0], [0, 2, 0], [0, 0, 0]]
    (gradient,) = jax.vjp(lambda maps: pool(maps, 2, "average"), maps)[1](jnp.full((1, 1, 1, 1), 6.0))
    assert gradient[0, :, :, 0].tolist() == [[1.5, 1.5, 0], [1.5, 1.5, 0], [0, 0, 0]]


def test_pooling_does_not_lose_what_is_not_finite():
    maps = jnp.array([[jnp.nan, 1.0], [0.0, jnp.inf]]).reshape(1, 2, 2, 1)
    value, pull_back = jax.vjp(lambda maps: pool(maps, 2, "max"), maps)
    assert jnp.isnan(value).all()
    (gradient,) = pull_back(jnp.ones_like(value))
    assert float(gradient.sum()) == 1


def test_the_network_of_the_paper():
    model = CNN(conv_activation="parametric_sigmoid", dense_activation="parametric_relu", rngs=nnx.Rngs(0))
    params = params_of(model)
    layers = [params["convolutional"][i] for i in range(3)]
    assert [layer["conv"]["kernel"].shape for layer in layers] == [(3, 3, 1, 16), (3, 3, 16, 8), (3, 3, 8, 4)]
    assert [layer["activation"]["a"].shape for layer in layers] == [(28, 28, 16), (14, 14, 8), (7, 7, 4)]
    assert params["dense"]["linear"]["kernel"].shape == (3 * 3 * 4, 30)
    assert params["dense"]["activation"]["b"].shape == (30,)
    assert params["out"]["kernel"].shape == (30, 10)
    assert {float(x) for layer in layers for x in layer["activation"]["a"].ravel()} == {6.0}
    assert set(params["dense"]["activation"]["a"].tolist()) == {1.5}


def test_every_element_has_its_own_gradient(images):
    model = cnn("parametric_sigmoid", pooling="average", param_dtype=jnp.float64)
    gradient = jax.jit(jax.grad(lambda params: (model.apply(params, images) ** 2).sum()))(scattered(model))
    for i, shape in enumerate([(11, 9, 3), (5, 4, 4)]):
        of_a = gradient["convolutional"][i]["activation"]["a"]
        assert of_a.shape == shape
        assert len(np.unique(np.asarray(of_a[: shape[0] // 2 * 2, : shape[1] // 2 * 2]))) == np.prod(
            [shape[0] // 2 * 2, shape[1] // 2 * 2, shape[2]]
        )


def test_a_trial_among_many_has_the_numbers_of_the_model_alone(images):
    def of_key(key):
        return CNN(**SMALL, conv_activation="parametric_relu", dense_activation="ppns", rngs=nnx.Rngs(key))

    keys = jax.random.split(jax.random.key(0), 3)
    template = cnn("parametric_relu", "ppns")
    images = images.astype("float32")

    @jax.jit
    def many(keys):
        trials = jax.vmap(lambda key: params_of(of_key(key)))(keys)
        together = jax.vmap(template.apply, in_axes=(0, None))(trials, images)
        return together, jax.lax.map(lambda params: template.apply(params, images), trials)

    alone = jax.jit(lambda key: of_key(key)(images))
    for key, *own in zip(keys, *many(keys), strict=True):
        for actual in own:
            chex.assert_trees_all_close(actual, alone(key), rtol=1e-5, atol=1e-5)


def test_apply_leaves_the_model_as_it_is():
    model = cnn(filters=(3,))
    before = params_of(model)
    images = jnp.ones((2, 11, 9, 2))
    of_model = np.asarray(model(images))
    chex.assert_trees_all_equal(model.apply(before, images), of_model)
    other = scattered(model)
    assert not np.allclose(model.apply(other, images), of_model)
    np.testing.assert_array_equal(model(images), of_model)
    chex.assert_trees_all_equal(params_of(model), before)
    chex.assert_shape(model(jnp.ones((4, 2, 11, 9, 2))), (4, 2, 3))


def weights_of(params):
    return {
        "convolutional": {i: layer["conv"] for i, layer in params["convolutional"].items()},
        "dense": params["dense"]["linear"],
        "out": params["out"],
    }


@pytest.mark.parametrize("sharing", ["element", "channel", "layer"])
def test_weights_drawn_depend_on_the_seed_alone(sharing):
    plain = weights_of(params_of(cnn("relu", "sigmoid", seed=3)))
    chex.assert_trees_all_equal(weights_of(params_of(cnn("ppns", "parametric_relu", seed=3, sharing=sharing))), plain)
    kernels = weights_of(params_of(cnn("relu", "sigmoid", seed=4)))
    assert not jnp.allclose(kernels["dense"]["kernel"], plain["dense"]["kernel"])


def test_default_initial_weights_are_normal_over_the_root_of_fan_in():
    model = cnn("relu", "relu", filters=(40, 50), kernel_size=5)
    conv = model.convolutional[1].conv
    assert float(conv.kernel[...].std()) == pytest.approx(1 / np.sqrt(25 * 40), rel=0.02)
    assert not conv.bias[...].any()


def test_start_values_and_param_dtype():
    model = cnn(conv_initial={"a": 1.0}, dense_initial={"b": jnp.arange(5.0)}, param_dtype=jnp.float16)
    assert {p.dtype for p in jax.tree.leaves(params_of(model))} == {jnp.dtype("float16")}
    assert set(np.unique(model.convolutional[1].activation.a[...])) == {1.0}
    assert model.dense.activation.b[...].tolist() == [0, 1, 2, 3, 4]
    assert model(jnp.ones((2, 11, 9, 2), jnp.float16)).dtype == jnp.float16


def test_plain_activations_have_no_parameters():
    assert not jax.tree.leaves(nnx.state(cnn("relu", "sigmoid"), ActivationParam))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": "agile_relu"}, "unknown activation 'agile_relu'"),
        ({"padding": "full"}, "CNN: expected padding to be one of same, valid, got 'full'"),
        ({"pooling": "min"}, "CNN: expected pooling to be one of max, average, got 'min'"),
        ({"sharing": "node"}, "CNN: expected sharing to be one of element, channel, layer, got 'node'"),
        ({"kernel_size": 0}, "CNN: expected kernel_size of 1 or more, got 0"),
        ({"filters": ()}, "CNN: expected filters for at least one convolutional layer, got none"),
        ({"filters": (3, 0)}, "CNN: expected filters of 1 or more, got 3, 0"),
        ({"dense_features": 0}, "CNN: expected dense_features of 1 or more, got 0"),
        ({"image_shape": (28, 28)}, "CNN: expected image_shape (height, width, channels), got (28, 28)"),
        ({"padding": "valid", "kernel_size": 5}, "at least 2 x 2 in convolutional layer 2, got 0 x 0"),
        ({"conv": "relu", "conv_initial": {"a": 1.0}}, "relu: expected start values for [], got ['a']"),
        ({"dense": "relu", "dense_initial": {"a": 1.0}}, "relu: expected start values for [], got ['a']"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        cnn(**options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("sharing", ["element", "channel", "layer"])
def test_images_of_another_size_are_refused_in_one_line(sharing):
    with pytest.raises(
        ValueError, match=r"images of shape \(\.\.\., 11, 9, 2\), got \(4, 12, 9, 2\); build"
    ) as refusal:
        cnn(sharing=sharing)(jnp.ones((4, 12, 9, 2)))
    assert "\n" not in str(refusal.value)
    with pytest.raises(TypeError, match="float dtype, got uint8"):
        cnn(sharing=sharing)(jnp.ones((4, 11, 9, 2), jnp.uint8))


def test_params_of_another_network_are_refused_by_their_path():
    with pytest.raises(ValueError, match=r"\['activation'\]\['a'\]: expected shape \(11, 9, 3\), got \(3,\)"):
        cnn().apply(params_of(cnn(sharing="channel")), jnp.ones((1, 11, 9, 2)))
