"""Training the networks of [P, section 4.2]: what they start from, what every step notes, and the same bits again."""

import dataclasses
import functools
import math
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.problems.mnist import train as module
from experiments.problems.mnist.protocol import PROTOCOLS, Protocol
from experiments.problems.mnist.train import classifier, model, seconds_per_step, steep_slopes, train
from paramact_jax.datasets import Digits, load_mnist, mnist_files, synthetic_mnist
from paramact_jax.networks import params_of, with_params
from paramact_jax.papers import ko2021
from paramact_jax.sweeps import trial_key
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.training import Minibatches, cross_entropy

REAL = Path(os.environ.get("PARAMACT_DATA", Path(__file__).parents[3] / "shared" / "data" / "mnist"))
DIGITS = synthetic_mnist(40, 30)
TINY = dataclasses.replace(
    PROTOCOLS["recovered"], steps=6, batch=16, seeds=3, test_every=2, train_every=4, learning_rate_a=0.02
)
SHALLOW = dataclasses.replace(TINY, depth=3)
"""Of fewer layers, for what is said of every depth: its programs are smaller."""
START_VALUES = {
    "relu": {},
    "parametric_relu": {"a": 1.5, "b": 0.0},
    "tanh": {},
    "parametric_tanh": {"a": 1.5, "b": 0.0},
    "ppns": {"a": 6.0, "b": 0.0},
}


@pytest.fixture(scope="module")
def trained():
    """PPNS, three seeds over four devices."""
    return train("ppns", SHALLOW, DIGITS)


def keys(seed):
    """Of the weights and of the images."""
    return jax.random.split(trial_key(seed))


def loss_from(network, y):
    """Outputs of a Flax model from y^(1) on."""
    z = network.hidden[0].activation(y)
    for layer in network.hidden[1:]:
        z = layer(z)
    return network.out(z)


@jax.jit
def by_first_layer(network, images, labels):
    """Of dL/dy^(1): the smallest and the largest entry; through the layers of the Flax model."""
    gradient = jax.grad(lambda y: cross_entropy(loss_from(network, y), labels))(network.hidden[0].linear(images))
    return gradient.min(), gradient.max()


@pytest.fixture(scope="module")
def ordinary():
    """The same training of seed 1 as a plain loop over a Flax model: what it notes and scores, and the model."""
    weights, order_key = keys(1)
    network = model("ppns", SHALLOW, weights)
    batches = Minibatches(len(DIGITS.train_labels), SHALLOW.batch)
    draw, order = jax.jit(batches.draw), batches.start(order_key)

    @nnx.jit
    def update(network, images, labels):
        gradient = nnx.grad(lambda network: cross_entropy(network(images), labels))(network)

        def changed(path, x, slope):
            return x - {"a": SHALLOW.learning_rate_a}.get(path[-1].key, SHALLOW.learning_rate) * slope

        nnx_params, slopes = params_of(network), nnx.to_pure_dict(gradient)
        return jax.tree_util.tree_map_with_path(changed, nnx_params, slopes)

    noted, losses = [], []
    for step in range(SHALLOW.steps):
        order, chosen = draw(order, step)
        images, labels = DIGITS.train_images[chosen], DIGITS.train_labels[chosen]
        noted.append(by_first_layer(network, images, labels))
        losses.append(float(cross_entropy(network(DIGITS.test_images), DIGITS.test_labels)))
        network = with_params(network, update(network, images, labels))
    losses.append(float(cross_entropy(network(DIGITS.test_images), DIGITS.test_labels)))
    return np.array(noted), losses, network


def test_noted_gradients_are_those_of_the_flax_model(trained, ordinary):
    own = trained.sel(seed=1)
    np.testing.assert_allclose(own["notes.smallest"], ordinary[0][:, 0], rtol=2e-3)
    np.testing.assert_allclose(own["notes.largest"], ordinary[0][:, 1], rtol=2e-3)
    assert (own["notes.smallest"] < 0).all()
    assert (own["notes.largest"] > 0).all()


def test_scores_and_learned_parameters_are_those_of_the_flax_model(trained, ordinary):
    own = trained.sel(seed=1)
    np.testing.assert_allclose(own["test.loss"], [ordinary[1][i] for i in (0, 2, 4, 6)], rtol=1e-4)
    network = ordinary[2]
    for name in ("a", "b"):
        expected = np.stack([getattr(layer.activation, name)[...] for layer in network.hidden])
        start = START_VALUES["ppns"][name]
        np.testing.assert_allclose(own[f"learned.{name}"] - start, expected - start, rtol=2e-2, atol=2e-6)
        assert abs(own[f"learned.{name}"] - start).max() > 1e-4
    share = (np.asarray(network(DIGITS.train_images)).argmax(1) == DIGITS.train_labels).mean()
    assert float(own["train.accuracy"][-1]) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("name", ["relu", "reltanh", "hexpo", "parametric_hexpo"])
def test_notes_of_one_step_under_other_activations(name):
    """And every parameter that is learned has a gradient in every layer, but for ReLTanh's thresholds.

    tanh''(0) = 0, so that of lambda+ is 0 while lambda+ is; that of lambda- is 0 unless some y < -1.5.
    """
    network = model(name, TINY, keys(5)[0])
    images, labels = DIGITS.train_images[:16], DIGITS.train_labels[:16]
    functions = classifier(name, TINY, len(DIGITS.train_labels))
    gradient, noted = jax.jit(functions.gradient)(params_of(network), images, labels)
    smallest, largest = by_first_layer(network, images, labels)
    assert float(noted["smallest"]) == pytest.approx(float(smallest), rel=1e-4)
    assert float(noted["largest"]) == pytest.approx(float(largest), rel=1e-4)
    assert set(functions.report(gradient)) == set(functions.report(params_of(network)))
    for parameter, slopes in functions.report(gradient).items():
        assert slopes.shape == (Protocol.depth, Protocol.width)
        if name != "reltanh":
            assert (abs(slopes).max(axis=1) > 0).all(), parameter
        if parameter == "lambda_plus":
            assert (slopes == 0).all()


@pytest.mark.parametrize("name", ["relu", "parametric_relu", "tanh", "parametric_tanh", "ppns"])
def test_start_values_of_table_7(name):
    learned = classifier(name, TINY, 40).report(params_of(model(name, TINY, keys(0)[0])))
    assert set(learned) == set(START_VALUES[name])
    for parameter, start in START_VALUES[name].items():
        np.testing.assert_array_equal(learned[parameter], np.full((Protocol.depth, Protocol.width), start, np.float32))


def test_start_values_of_reltanh_and_the_hexpos():
    """[P, Table 7]: a = c = i/2 + 1, b = d = i/8 + 1 in layer i; Hexpo's are held fixed, Parametric Hexpo's learned.

    i is counted from 0 under the recovered conditions, from 1 as printed.
    """
    reports = {
        name: classifier(name, TINY, 40).report(params_of(model(name, TINY, keys(0)[0])))
        for name in ("reltanh", "hexpo", "parametric_hexpo")
    }
    assert sorted(float(x[0, 0]) for x in reports["reltanh"].values()) == [-1.5, 0.0]
    assert reports["hexpo"] == {}
    i = np.arange(8)
    for side in ("positive", "negative"):
        np.testing.assert_array_equal(reports["parametric_hexpo"][f"{side}_height"][:, 0], i / 2 + 1)
        np.testing.assert_array_equal(reports["parametric_hexpo"][f"{side}_width"][:, 127], i / 8 + 1)
        for protocol in PROTOCOLS.values():
            j = i + protocol.hexpo_first
            assert [r.params[f"{side}_height"] for r in protocol.layers_of("hexpo")[0]] == (j / 2 + 1).tolist()
            assert [r.params[f"{side}_width"] for r in protocol.layers_of("hexpo")[0]] == (j / 8 + 1).tolist()
    assert [PROTOCOLS[name].hexpo_first for name in ("recovered", "literal")] == [0, 1]
    np.testing.assert_array_equal(reports["parametric_hexpo"]["b"], np.zeros((8, 128)))


def test_one_seed_alone_has_the_bits_it_has_among_three(trained):
    alone = train("ppns", dataclasses.replace(SHALLOW, seeds=1, first_seed=1), DIGITS)
    assert alone["seed"].values.tolist() == [1]
    assert alone.identical(trained.sel(seed=[1]))
    assert not np.array_equal(trained["test.loss"].sel(seed=0), trained["test.loss"].sel(seed=1))


@pytest.mark.cpu_devices(4)
def test_one_device_gives_the_bits_of_four(trained, monkeypatch):
    mesh = trial_mesh(jax.devices()[:1])
    monkeypatch.setattr(module, "long_sweep", functools.partial(module.long_sweep, mesh=mesh))
    assert train("ppns", SHALLOW, DIGITS).identical(trained)


def test_an_interrupted_training_goes_on_and_ends_with_the_same_bits(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "long_sweep", functools.partial(module.long_sweep, seconds_between_saves=0.0))

    class PullThePlugError(Exception):
        pass

    def stop(progress):
        if progress.done >= 3 * 3:
            raise PullThePlugError

    with pytest.raises(PullThePlugError):
        train("ppns", SHALLOW, DIGITS, directory=tmp_path / "kept", on_progress=stop)
    seen = []
    resumed = train("ppns", SHALLOW, DIGITS, directory=tmp_path / "kept", on_progress=seen.append)
    assert resumed.identical(trained)
    assert seen[0].found == 3 * 3
    assert [p.done for p in seen] == [12, 15, 18]
    seen.clear()
    assert train("ppns", SHALLOW, DIGITS, directory=tmp_path / "kept", on_progress=seen.append).identical(trained)
    assert seen == [], "finished: nothing is trained again"


SAVED = dataclasses.replace(TINY, steps=1, seeds=1, test_every=1, train_every=1, depth=2, width=8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The directory of a training that was kept."""
    kept = tmp_path_factory.mktemp("saved") / "kept"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "long_sweep", functools.partial(module.long_sweep, seconds_between_saves=0.0))
        train("relu", SAVED, DIGITS, directory=kept)
    return kept


@pytest.mark.parametrize("change", [{"learning_rate": 0.02}, {"batches": "independent"}, {"initial": "glorot-he"}])
def test_what_was_saved_under_other_conditions_is_refused(change, saved):
    with pytest.raises(ValueError, match="holds a sweep that differs in"):
        train("relu", dataclasses.replace(SAVED, **change), DIGITS, directory=saved)


def test_a_rate_of_0_leaves_a_where_it_started(trained):
    held = train("ppns", dataclasses.replace(SHALLOW, learning_rate_a=0.0), DIGITS)
    assert (held["learned.a"] == 6).all()
    assert (trained["learned.a"] != 6).any()
    assert (abs(held["learned.b"]).max("seed") > 0).any()


@pytest.mark.parametrize("fan_in", [784, 128])
def test_scale_of_the_initial_weights(fan_in):
    """Within 4 standard errors of the standard deviation, sd / sqrt(2 n), in 128 columns; and the formulas."""
    he, glorot, fan = math.sqrt(2 / fan_in), math.sqrt(2 / (fan_in + 128)), 1 / math.sqrt(fan_in)
    for name in Protocol.activations:
        for initial, expected in (("fan-in", fan), ("glorot-he", he if name.endswith("relu") else glorot)):
            protocol = dataclasses.replace(TINY, initial=initial)
            assert protocol.weight_std(name, fan_in, 128) == pytest.approx(expected, rel=1e-12)
            if name not in ("relu", "ppns"):
                continue
            layer = params_of(model(name, protocol, keys(0)[0]))["hidden"][0 if fan_in == 784 else 3]["linear"]
            assert layer["kernel"].shape == (fan_in, 128)
            deviation = float(np.std(np.asarray(layer["kernel"], np.float64)))
            assert deviation == pytest.approx(expected, rel=4 / math.sqrt(2 * fan_in * 128))
            assert (layer["bias"] == 0).all()


def test_initial_weights_do_not_depend_on_the_activation():
    def weights(name):
        params = params_of(model(name, TINY, keys(2)[0]))
        layers = [params["hidden"][i]["linear"] for i in range(Protocol.depth)]
        return [layer["kernel"] for layer in [*layers, params["out"]]]

    first = weights("relu")
    assert [w.shape for w in first] == [(784, 128)] + [(128, 128)] * 7 + [(128, 10)]
    for name in Protocol.activations[1:]:
        for own, expected in zip(weights(name), first, strict=True):
            np.testing.assert_array_equal(own, expected)
    assert not np.array_equal(first[1], first[2])


@pytest.mark.parametrize("name", ["relu", "ppns"])
def test_steep_slopes_against_a_count_in_float64(name):
    """A slope that float32 cannot tell from 1 may be counted either way: there are few of them."""
    protocol = dataclasses.replace(TINY, seeds=2, first_seed=3, batch=32)
    counts = steep_slopes(name, protocol, DIGITS)
    assert counts.shape == (2, Protocol.depth)
    for seed, own in zip((3, 4), counts, strict=True):
        weights, order_key = keys(seed)
        params = params_of(model(name, protocol, weights))
        batches = Minibatches(40, 32)
        z = DIGITS.train_images[np.asarray(batches.draw(batches.start(order_key), 0)[1])].astype(np.float64)
        for layer in range(Protocol.depth):
            y = z @ np.asarray(params["hidden"][layer]["linear"]["kernel"], np.float64)
            if name == "relu":
                z, near, slope = np.maximum(y, 0), abs(y) < 1e-5, (y > 0).astype(float)
            else:
                s = 1 / (1 + np.exp(-y))
                z, slope = 6 * (s - 0.5), 6 * s * (1 - s)
                near = abs(slope - 1) < 1e-5
            assert near.sum() < 10
            assert abs(int(own[layer]) - int((slope >= 1).sum())) <= near.sum()
        assert 0 < own.sum() < Protocol.depth * 32 * Protocol.width


def test_seconds_of_a_step():
    seconds = seconds_per_step(["relu"], SHALLOW, DIGITS, rounds=2, steps=3)
    assert seconds.shape == (1, 2)
    assert (seconds > 0).all()


def test_networks_of_another_size_on_other_images():
    protocol = dataclasses.replace(TINY, depth=2, width=5, seeds=1, steps=2)
    rng = np.random.default_rng(0)
    images, labels = rng.random((20, 12), np.float32), np.arange(20, dtype=np.int32) % 3
    own = Digits(images, labels, images, labels, "by hand", synthetic=False, mnist=False)
    trained = train("parametric_hexpo", protocol, own)
    assert trained["learned.b"].shape == (1, 2, 5)
    assert float(trained["test.loss"][0, 0]) == pytest.approx(math.log(3), abs=0.7)
    assert steep_slopes("parametric_hexpo", protocol, own).max() <= 5 * 16
    network = model("tanh", protocol, keys(0)[0], in_features=12, classes=3)
    assert [layer.linear.kernel.shape for layer in network.hidden] == [(12, 5), (5, 5)]
    assert network.out.kernel.shape == (5, 3)


@pytest.fixture(scope="module")
def real():
    try:
        mnist_files.locate(REAL)
    except FileNotFoundError as error:
        pytest.skip(f"the original files of MNIST are not at hand ({error})")
    return load_mnist(REAL, source="idx")


def total_counts(name, real, **changes):
    protocol = dataclasses.replace(PROTOCOLS["recovered"], seeds=10, **changes)
    return steep_slopes(name, protocol, real).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("row", ko2021.FIG_14, ids=lambda row: row.activation)
def test_published_counts_lie_among_ours(row, real):
    """[P, Fig. 14] within mean +- 3 s.d. of 10 seeds, with initial weights of 1/sqrt(fan_in)."""
    counts = total_counts(row.activation, real)
    assert abs(row.count - counts.mean()) <= 3 * counts.std(ddof=1)
    assert counts.std() > 0 or row.activation == "tanh"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parametric_tanh", "hexpo", "ppns"])
def test_published_counts_do_not_lie_among_those_of_glorot(name, real):
    (published,) = (row.count for row in ko2021.FIG_14 if row.activation == name)
    counts = total_counts(name, real, initial="glorot-he")
    assert abs(published - counts.mean()) > 3 * counts.std(ddof=1)
