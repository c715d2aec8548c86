"""The trainings of the convolutional networks do what their conditions say."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments.problems.cnn.networks import (
    convolutional,
    counts,
    dense_only,
    for_training,
    ranges,
    started,
)
from experiments.problems.cnn.protocol import LAYERS, Protocol
from experiments.problems.cnn.train import classifier, conditions, dense_classifier
from experiments.problems.digits import images_of
from experiments.problems.timing import seconds_per_step
from experiments.studies.cnn import DENSE_ONLY, LOOKED_AT, Cnn
from experiments.study.study import Work
from paramact_jax.datasets import synthetic_mnist
from paramact_jax.networks import params_of
from paramact_jax.programs.program import trace, walk
from paramact_jax.sweeps import long_sweep, trial_key
from paramact_jax.training import Minibatches, cross_entropy

pytestmark = pytest.mark.usefixtures("unoptimised")

PAIR = "parametric_relu/parametric_sigmoid"
SMALL = Cnn(
    training_images=60,
    batch=20,
    steps=4,
    test_every=2,
    seeds=2,
    learning_rate=0.05,
    activation_learning_rate=0.02,
    weight_scale=1.25,
    initial_a=1.1,
    combinations=(PAIR,),
)


@pytest.fixture(scope="module")
def digits():
    return synthetic_mnist(120, 30, flatten=False)


@pytest.fixture(scope="module")
def used(digits):
    return for_training(digits, SMALL.training_images, SMALL.subset_seed)


@pytest.fixture(scope="module")
def records(used, tmp_path_factory):
    place = tmp_path_factory.mktemp("cnn")
    return SMALL.train(used, Work(place, writes=False))


@functools.cache
def drawer(combination=PAIR):
    """Compiles the drawing of the initial params."""
    return jax.jit(lambda key: params_of(convolutional(combination, SMALL, key)))


@functools.cache
def outputs_of_flax():
    """Returns the Flax model's own call, of params and images."""
    model = nnx.eval_shape(lambda: convolutional(PAIR, SMALL, jax.random.key(0)))
    return lambda params, images: model.apply(params, images[..., None])


def test_the_training_images_are_the_same_number_of_each_digit(digits):
    chosen = for_training(digits, 60, seed=3)
    assert np.bincount(chosen.train_labels).tolist() == [6] * 10
    assert chosen.train_images.shape == (60, 28, 28)
    np.testing.assert_array_equal(chosen.test_labels, digits.test_labels)
    assert len({image.tobytes() for image in chosen.train_images}) == 60
    other = for_training(digits, 60, seed=4)
    assert (chosen.train_images != other.train_images).any()


def test_too_few_images_are_refused_in_one_line(digits):
    with pytest.raises(ValueError, match=r"^--training-images: expected 13 examples of each class, got 12") as refusal:
        for_training(digits, 130, seed=0)
    assert "\n" not in str(refusal.value)


def test_initial_scale_and_a_change_nothing_else():
    params, start = drawer()(jax.random.key(0)), jax.jit(started)
    changed = start(params, 2.0, 1.0)
    for before, after in (
        (params["dense"], changed["dense"]),
        (params["convolutional"][1], changed["convolutional"][1]),
    ):
        layer = "linear" if "linear" in before else "conv"
        np.testing.assert_allclose(after[layer]["kernel"], 2 * before[layer]["kernel"])
        np.testing.assert_array_equal(after[layer]["bias"], before[layer]["bias"])
        np.testing.assert_array_equal(after["activation"]["a"], jnp.ones_like(before["activation"]["a"]))
        np.testing.assert_array_equal(after["activation"]["b"], before["activation"]["b"])
    jax.tree.map(np.testing.assert_array_equal, start(params, 1.0, jnp.nan), params)
    dense = start(params_of(dense_only("parametric_sigmoid", jax.random.key(0))), 1.0, 3.0)
    assert float(dense["hidden"][0]["activation"]["a"].min()) == 3.0


def test_ranges_are_of_each_layer_and_nan_where_there_is_no_parameter():
    params = drawer()(jax.random.key(0))
    params["convolutional"][1]["activation"]["a"] = params["convolutional"][1]["activation"]["a"].at[0, 1, 2].set(-4.0)
    params["dense"]["activation"]["b"] = jnp.linspace(-1.0, 2.0, 30)
    found = jax.jit(ranges)(params)
    assert found["a_smallest"].tolist() == [1.5, -4.0, 1.5, 6.0]
    assert found["a_largest"].tolist() == [1.5, 1.5, 1.5, 6.0]
    assert found["b_smallest"].tolist() == [0, 0, 0, -1]
    assert found["b_largest"].tolist() == [0, 0, 0, 2]
    plain = jax.jit(ranges)(drawer("relu/parametric_relu")(jax.random.key(0)))
    np.testing.assert_array_equal(plain["a_largest"], np.float32([np.nan, np.nan, np.nan, 1.5]))
    assert len(LAYERS) == 4


@pytest.mark.parametrize(("sharing", "expected"), [("element", 28_676), ("channel", 116), ("layer", 66)])
def test_numbers_of_parameters(sharing, expected):
    protocol = Protocol(sharing=sharing)
    assert counts(PAIR, protocol) == {"activations": expected, "weights": 3_032}
    assert counts("relu/sigmoid", protocol) == {"activations": 0, "weights": 3_032}


def plain_loop(protocol, used, key):
    """Gradient descent on the Flax model's own call, one trial, written out: losses at every test step."""
    network = outputs_of_flax()
    weights, order_key = jax.random.split(key)
    params = jax.jit(started)(drawer()(weights), protocol.weight_scale, protocol.initial_a)
    batches = Minibatches(protocol.training_images, protocol.batch)
    order, draw = batches.start(order_key), jax.jit(batches.draw)

    @jax.jit
    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(network(params, x), y).mean()

    @jax.jit
    def update(params, x, y):
        def updated(path, p, g):
            of_activation = any(entry.key == "activation" for entry in path if hasattr(entry, "key"))
            return p - (protocol.activation_learning_rate if of_activation else protocol.learning_rate) * g

        return jax.tree_util.tree_map_with_path(updated, params, jax.grad(loss)(params, x, y))

    losses, largest_a = [], []
    for step in range(protocol.steps + 1):
        if step % protocol.test_every == 0:
            losses.append(float(loss(params, used.test_images, used.test_labels)))
        largest_a.append(np.max(params["convolutional"][2]["activation"]["a"]))
        order, chosen = draw(order, step)
        params = update(params, used.train_images[chosen], used.train_labels[chosen])
    return losses, largest_a[:-1]


def test_a_trial_is_plain_gradient_descent_with_two_rates(records, used):
    losses, largest_a = plain_loop(SMALL, used, trial_key(1))
    found = records.sel(seed=1, combination=PAIR)
    np.testing.assert_allclose(found["test_loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(found["a_largest"].sel(layer="convolutional 3"), largest_a, rtol=1e-5)
    assert largest_a[-1] > 1.1


@pytest.mark.parametrize(
    "functions",
    [classifier(PAIR, SMALL), pytest.param(dense_classifier("sigmoid", SMALL), marks=pytest.mark.slow)],
    ids=["cnn", "dense"],
)
def test_every_image_is_scored_whatever_the_number_at_once(functions, used):
    """10,000 test images are scored 1,000 at once, and none are left over."""
    params = jax.jit(functions.initial)(jax.random.key(0), 1.0, jnp.nan)
    tested, labels = np.tile(used.test_images, (8, 1, 1)), np.tile(used.test_labels, 8)
    scores = [
        jax.jit(functions.score, static_argnames="at_once")(params, tested, labels, at_once=at_once)
        for at_once in (10, 7, 1_000)
    ]
    for score in scores[1:]:
        np.testing.assert_allclose(score.loss, scores[0].loss, rtol=1e-5)
        assert score.accuracy == pytest.approx(float(scores[0].accuracy))


@pytest.mark.parametrize(("platform", "loops"), [("cpu", 1), ("gpu", 0)])
def test_a_batch_is_split_on_a_cpu(platform, loops, used, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    functions, given = classifier(PAIR, SMALL), conditions(SMALL)
    params = jax.jit(functions.initial)(jax.random.key(0), given["weight_scale"], given["initial_a"])
    gradient = trace(functions.gradient, params, used.train_images[:40], used.train_labels[:40])
    assert [operation.name for operation in walk(gradient)].count("scan") == loops


def test_records_of_a_run(records):
    assert records["test_step"].values.tolist() == [0, 2, 4]
    assert records["a_largest"].dims == ("combination", "seed", "step", "layer")
    assert records["a_largest"].shape == (1, 2, 4, 4)
    assert records["combination"].values.tolist() == [PAIR]
    assert records["parameters_of_activations"].item() == 28_676
    np.testing.assert_array_equal(records["best_loss"], records["test_loss"].min("test_step"))
    assert records["dense_only_test_loss"].shape == (2, 2, 3)
    assert np.isfinite(records["dense_only_test_loss"]).all()
    assert float(records["test_accuracy"].max()) <= 1
    assert records.attrs["synthetic"] == 1


def test_what_changes_the_gradient_is_told_before_and_after(records, used):
    assert records["gradient_share"].dims == ("combination", "seed", "when", "kind")
    assert records["gradient_dead"].sizes["layer"] == len(LAYERS)
    network = outputs_of_flax()

    @jax.jit
    def norms(params, images, labels):
        """Of the gradient by the images, and of that by the outputs."""
        by_image = jax.grad(lambda x: cross_entropy(network(params, x), labels))(images)
        by_output = jax.grad(lambda y: cross_entropy(y, labels))(network(params, images))
        return jnp.linalg.norm(by_image), jnp.linalg.norm(by_output)

    params = drawer()(jax.random.split(trial_key(1))[0])
    params = jax.jit(started)(params, SMALL.weight_scale, SMALL.initial_a)
    by_image, by_output = norms(params, used.train_images[:LOOKED_AT], used.train_labels[:LOOKED_AT])
    expected = np.log(by_image / by_output)
    share = records["gradient_share"].sel(seed=1, when="before").squeeze()
    assert float(share.sum()) == pytest.approx(float(expected), abs=1e-4)
    assert {str(kind) for kind in share["kind"].values[abs(share) > 1e-3]} == {"linear", "activation", "pooling"}
    assert (abs(records["gradient_share"].diff("when")).max("kind") > 1e-4).all()


def test_the_dense_network_is_trained_with_both_rates_too(used):
    frozen = dataclasses.replace(SMALL, activation_learning_rate=0.0, initial_a=1.0, learning_rate=0.5)

    def train(name, protocol):
        functions, given = dense_classifier(name, protocol), conditions(protocol)
        return long_sweep(functions, range(2), iterations=protocol.steps, block=1, data=images_of(used), **given)

    kept, plain = (train(name, frozen) for name in reversed(DENSE_ONLY))
    np.testing.assert_allclose(kept["test.loss"], plain["test.loss"], rtol=1e-5)
    learned = dataclasses.replace(frozen, activation_learning_rate=0.5)
    moved = train("parametric_sigmoid", learned)
    assert (abs(moved["test.loss"] - plain["test.loss"]).isel({moved["test.loss"].dims[1]: -1}) > 1e-4).all()


def test_the_time_of_a_step_is_measured_for_every_network(used):
    settings = {"data": images_of(used), **conditions(SMALL)}
    networks = [dense_classifier(name, SMALL) for name in DENSE_ONLY]
    seconds = seconds_per_step(networks, SMALL.first_seed, settings, rounds=3, steps=2)
    assert seconds.shape == (2, 3)
    assert (seconds > 0).all()
    assert (seconds < 1).all()
