"""A classifier's training against steps by hand, and its scores against NumPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from paramact_jax.sweeps import long_sweep, trial_key
from paramact_jax.training import Classifier, Minibatches, cross_entropy

TRAIN, TEST, FEATURES, CLASSES = 23, 17, 5, 4
RATES = {"learning_rate": 0.3, "learning_rate_a": 0.2, "learning_rate_b": 0.1}


def images(count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, count).astype(np.int32)


SETS = dict(
    zip(
        ("train_images", "train_labels", "test_images", "test_labels"),
        (*images(TRAIN, 0), *images(TEST, 1)),
        strict=True,
    )
)


def network(params, inputs):
    own = params["activation"]
    return own["a"][None] * jnp.tanh(affine(params, inputs) - own["b"][None])


def affine(params, inputs):
    return inputs @ params["linear"]["kernel"] + params["linear"]["bias"][None]


def initial(key):
    kernel, bias = jax.random.split(key)
    return {
        "linear": {
            "kernel": jax.random.normal(kernel, (FEATURES, CLASSES)),
            "bias": jax.random.normal(bias, (CLASSES,)),
        },
        "activation": {"a": jnp.full(CLASSES, 1.5), "b": jnp.zeros(CLASSES)},
    }


def with_notes(params, inputs, labels):
    value, gradient = jax.value_and_grad(lambda params: cross_entropy(network(params, inputs), labels))(params)
    return gradient, {"loss": value, "seen": inputs[:, 0]}


CLASSIFIER = Classifier(
    network,
    initial,
    Minibatches(TRAIN, 6),
    steps=11,
    scores={"test": 4, "train": 5},
    gradient=with_notes,
    report=lambda params: {"a": params["activation"]["a"]},
)


@pytest.fixture(scope="module")
def by_hand():
    """Params before each step and after the last, and the images of each step: theta - rate * gradient, written out."""
    key = jax.random.key(4)
    params, order = CLASSIFIER.start(key)
    draw = jax.jit(CLASSIFIER.batches.draw)
    gradient = jax.jit(jax.grad(lambda params, x, t: cross_entropy(network(params, x), t)))
    rates = {
        "linear": dict.fromkeys(("kernel", "bias"), RATES["learning_rate"]),
        "activation": {"a": RATES["learning_rate_a"], "b": RATES["learning_rate_b"]},
    }
    params = jax.tree.map(np.asarray, params)
    kept, chosen = [params], []
    for step in range(CLASSIFIER.steps):
        order, which = draw(order, step)
        slopes = gradient(params, SETS["train_images"][which], SETS["train_labels"][which])
        params = jax.tree.map(lambda x, rate, slope: x - np.float32(rate) * np.asarray(slope), params, rates, slopes)
        kept.append(params)
        chosen.append(np.asarray(which))
    return kept, chosen


@functools.cache
def one_step():
    return jax.jit(CLASSIFIER.step)


@functools.cache
def summarise():
    return jax.jit(CLASSIFIER.summarise)


@pytest.fixture(scope="module")
def states():
    """The states before each step and after the last."""
    state = jax.jit(CLASSIFIER.init)(jax.random.key(4), SETS)
    step = one_step()
    found = [state]
    for i in range(CLASSIFIER.steps):
        found.append(step(found[-1], jnp.int32(i), SETS, **RATES))
    return found


@pytest.fixture(scope="module")
def summary(states):
    return summarise()(states[-1], SETS)


@functools.cache
def compiled(function):
    return jax.jit(function)


def exact_score(params, inputs, labels, network=network):
    """Mean cross-entropy and accuracy in float64 from the outputs in float32."""
    outputs = np.asarray(compiled(network)(params, inputs), np.float64)
    losses = special.logsumexp(outputs, axis=1) - outputs[np.arange(len(labels)), labels]
    return losses.mean(), (outputs.argmax(1) == labels).mean()


def test_a_step_of_sgd_is_theta_minus_rate_times_gradient(states, by_hand):
    for state, expected in zip(states, by_hand[0], strict=True):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), state.params, expected)
    moved = jax.tree.map(lambda x, y: float(abs(x - y).min()), states[0].params, states[-1].params)
    assert min(jax.tree.leaves(moved)) > 0


def test_scores_are_those_of_the_params_before_the_step_of_that_number(summary, by_hand):
    assert CLASSIFIER.marks("test") == [0, 4, 8, 11]
    assert CLASSIFIER.marks("train") == [0, 5, 10, 11]
    for name, steps in (("test", [0, 4, 8, 11]), ("train", [0, 5, 10, 11])):
        expected = [exact_score(by_hand[0][i], SETS[f"{name}_images"], SETS[f"{name}_labels"]) for i in steps]
        np.testing.assert_allclose(summary[name]["loss"], [loss for loss, _ in expected], rtol=1e-5)
        np.testing.assert_allclose(summary[name]["accuracy"], [share for _, share in expected], rtol=1e-6)
        assert len(np.unique(summary[name]["loss"])) == 4


def test_a_score_is_not_known_before_its_step(states):
    for done, state in enumerate(states):
        known = [step < done for step in (0, 4, 8)] + [False]
        assert np.isfinite(state.scores["test"].loss).tolist() == known
        assert np.isfinite(state.scores["test"].accuracy).tolist() == known
        assert np.isfinite(state.scores["train"].loss).tolist() == [step < done for step in (0, 5, 10)] + [False]


def test_notes_of_every_step_and_the_report(summary, by_hand, states):
    params, chosen = by_hand
    for step, which in enumerate(chosen):
        loss, _ = exact_score(params[step], SETS["train_images"][which], SETS["train_labels"][which])
        assert float(summary["notes"]["loss"][step]) == pytest.approx(loss, rel=1e-5)
        np.testing.assert_array_equal(summary["notes"]["seen"][step], SETS["train_images"][which, 0])
    assert summary["notes"]["loss"].shape == (11,)
    np.testing.assert_array_equal(summary["learned"]["a"], states[-1].params["activation"]["a"])


def test_without_a_gradient_of_ones_own_the_same_training_with_no_notes(states):
    plain = dataclasses.replace(CLASSIFIER, gradient=None, report=lambda params: {})
    state = jax.jit(plain.init)(jax.random.key(4), SETS)
    assert jax.tree.leaves(state.notes) == []
    step = jax.jit(plain.step)
    for i in range(3):
        state = step(state, jnp.int32(i), SETS, **RATES)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), state.params, states[3].params)
    assert plain.summarise(state, SETS)["learned"] == {}


@pytest.mark.parametrize(
    ("count", "at_once"),
    [
        *((1, 1), (1, 7), (16, 7), (16, 16), (17, 1), (17, 7), (17, 16), (17, 17), (17, 1000)),
        *(pytest.param(count, at_once, marks=pytest.mark.slow) for count in (1, 16) for at_once in (17, 18, 1000)),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in ((1, 16), (16, 1), (17, 18))),
    ],
)
def test_all_images_are_scored_whatever_the_number_at_once(at_once, count):
    """Accuracy counts exactly; a loss that left an image out, or counted one twice, would be far off."""
    params = initial(jax.random.key(0))
    inputs, labels = SETS["test_images"][:count], SETS["test_labels"][:count]
    score = jax.jit(CLASSIFIER.score, static_argnames="at_once")(params, inputs, labels, at_once=at_once)
    loss, accuracy = exact_score(params, inputs, labels)
    assert float(score.loss) == pytest.approx(loss, rel=1e-5)
    assert round(float(score.accuracy) * count) == round(accuracy * count)
    assert score.loss.dtype == score.accuracy.dtype == jnp.float32


def test_scores_of_many_images_lose_no_digits():
    """60,000 losses summed in float32 by parts; one image in each thousand is hard, so that a lost one shows.

    Outputs are affine: a tanh would be saturated for the hard images, and which of its equal outputs is the largest
    would be a matter of rounding.
    """
    params = initial(jax.random.key(0))
    inputs, labels = images(60_001, 5)
    inputs[::1000] *= 30
    score = jax.jit(dataclasses.replace(CLASSIFIER, network=affine).score)(params, inputs, labels)
    loss, accuracy = exact_score(params, inputs, labels, affine)
    assert float(score.loss) == pytest.approx(loss, rel=2e-6)
    assert float(score.accuracy) == pytest.approx(accuracy, rel=1e-6)


def test_labels_of_one_byte_are_counted_beyond_255():
    params = initial(jax.random.key(0))
    inputs, labels = images(2_000, 6)
    score = jax.jit(CLASSIFIER.score)(params, inputs, labels.astype(np.uint8))
    assert float(score.accuracy) == pytest.approx(exact_score(params, inputs, labels)[1], rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "every", "marks"),
    [(10, 3, [0, 3, 6, 9, 10]), (10, 5, [0, 5, 10]), (10, 2**31 - 1, [0, 10]), (1, 2, [0, 1]), (3, 1, [0, 1, 2, 3])],
)
def test_marks_of_a_set(steps, every, marks):
    assert dataclasses.replace(CLASSIFIER, steps=steps, scores={"test": every}).marks("test") == marks


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_a_number_of_steps_that_never_gets_on_is_refused(value):
    with pytest.raises(ValueError, match=rf"^expected steps, an integer of 1 or more, got {value}$"):
        dataclasses.replace(CLASSIFIER, steps=value)
    with pytest.raises(ValueError, match=rf"^expected scores\['test'\], an integer of 1 or more, got {value}$"):
        dataclasses.replace(CLASSIFIER, scores={"test": value})


def test_a_set_without_a_number_is_scored_after_the_last_step_alone(states, summary):
    few = dataclasses.replace(CLASSIFIER, scores={"held_out": None, "train": None})
    held_out = SETS | {"held_out_images": SETS["test_images"], "held_out_labels": SETS["test_labels"]}
    assert few.init(jax.random.key(4), held_out).scores == {}
    summarise = jax.jit(few.summarise)
    found = summarise(states[-1]._replace(scores={}), held_out)
    assert set(found) == {"held_out", "train", "notes", "learned"}
    for one, other in (("held_out", "test"), ("train", "train")):
        np.testing.assert_allclose(found[one]["loss"], summary[other]["loss"][-1], rtol=1e-6)
    assert found["train"]["loss"].shape == ()
    early = summarise(states[-2]._replace(scores={}), held_out)
    assert np.isnan(early["held_out"]["loss"])


def test_a_set_that_is_not_in_the_data_is_refused():
    with pytest.raises(
        ValueError, match=r"expected other_images, other_labels in data for the scores, got train_images, "
    ):
        dataclasses.replace(CLASSIFIER, scores={"other": 5}).init(jax.random.key(0), SETS)


def test_initial_settings_are_traced_and_looks_see_the_params_on_the_way():
    """One program trains from every scale, and a look before each third step sees what steps by hand give."""
    scaled = dataclasses.replace(
        CLASSIFIER,
        initial=lambda key, scale: jax.tree.map(lambda x: scale * x, initial(key)),
        scores={"test": None},
        look=lambda params, unit: {"kernel": params["linear"]["kernel"] / unit},
    )
    call = {"iterations": 7, "observe_every": 3, "data": SETS, "unit": 2.0, **RATES}
    found = long_sweep(scaled, [5], axes={"scale": [0.5, 1.0]}, **call)
    assert found["iteration"].values.tolist() == [0, 3, 6, 7]
    init, step = jax.jit(scaled.init), jax.jit(scaled.step)
    for scale in (0.5, 1.0):
        state = init(found_key := trial_key(5), SETS, scale=scale)
        np.testing.assert_allclose(
            state.params["linear"]["kernel"], scale * initial(jax.random.split(found_key)[0])["linear"]["kernel"]
        )
        for i in range(8):
            if i in (0, 3, 6, 7):
                seen = found["kernel"].sel(scale=scale, seed=5, iteration=i).values
                np.testing.assert_allclose(2 * seen, state.params["linear"]["kernel"], rtol=2e-5, atol=1e-6)
            state = step(state, jnp.int32(i), SETS, **RATES)
    assert CLASSIFIER.observe is None


def test_a_misspelled_setting_of_the_initial_params_is_seen():
    scaled = dataclasses.replace(CLASSIFIER, initial=lambda key, scale: initial(key))
    with pytest.raises(ValueError, match="did you mean 'scale'"):
        long_sweep(scaled, [0], iterations=2, scalee=1.0, scale=1.0, data=SETS, learning_rate=0.1)


@pytest.mark.parametrize("done", [5, 10])
def test_what_stops_before_the_last_step_has_no_last_score(states, done):
    found = summarise()(states[done], SETS)
    assert np.isnan(found["test"]["loss"][-1])
    assert np.isnan(found["train"]["accuracy"][-1])


def test_outputs_that_are_no_numbers_have_no_accuracy(states):
    params = jax.tree.map(lambda x: np.asarray(x) * np.float32("nan"), states[0].params)
    score = jax.jit(CLASSIFIER.score)(params, SETS["test_images"], SETS["test_labels"])
    assert np.isnan(score.loss)
    assert np.isnan(score.accuracy)


@pytest.mark.parametrize(
    ("wide", "dtype", "of_scores"),
    [
        *((wide, "bfloat16", "float32") for wide in (False, True)),
        (True, None, "float32"),
        *(pytest.param(*case, "float32", marks=pytest.mark.slow) for case in ((False, "float16"), (True, "float16"))),
        pytest.param(False, None, "float32", marks=pytest.mark.slow),
    ],
)
def test_scores_of_any_precision(dtype, of_scores, wide):
    def cast(key):
        return jax.tree.map(lambda x: x.astype(dtype or "float32"), initial(key))

    narrow = dataclasses.replace(CLASSIFIER, initial=cast, gradient=None, report=lambda params: {})
    with jax.enable_x64(wide):
        sets = {name: x.astype(dtype or "float32") if "images" in name else x for name, x in SETS.items()}
        state = jax.jit(narrow.init)(jax.random.key(4), sets)
        state = jax.jit(narrow.step)(state, jnp.int32(0), sets, **RATES)
    assert state.scores["test"].loss.dtype == of_scores
    assert np.isfinite(state.scores["test"].loss[0])
    assert state.params["linear"]["kernel"].dtype == (dtype or "float32")


@pytest.mark.parametrize(
    ("images_there", "labels_there"), [(TRAIN, TRAIN - 1), (TRAIN - 1, TRAIN - 1), (TRAIN + 1, TRAIN + 1)]
)
def test_images_of_another_number_than_are_drawn_from_are_refused(images_there, labels_there):
    with pytest.raises(ValueError, match=f"expected {TRAIN} training images, .* got {images_there} images and"):
        own = {"train_images": np.zeros((images_there, FEATURES)), "train_labels": np.zeros(labels_there, np.int32)}
        CLASSIFIER.init(jax.random.key(0), SETS | own)


def test_an_unknown_optimiser_is_refused_at_once():
    with pytest.raises(ValueError, match=r"expected an optimiser among sgd, .*, got 'Adam'"):
        dataclasses.replace(CLASSIFIER, optimiser_name="Adam")


def test_rates_of_activations_are_the_learning_rate_by_default(states):
    step = one_step()
    alike = step(states[0], jnp.int32(0), SETS, **dict.fromkeys(RATES, 0.3))
    default = step(states[0], jnp.int32(0), SETS, learning_rate=0.3)
    jax.tree.map(np.testing.assert_array_equal, default.params, alike.params)


def test_a_directory_is_not_gone_on_with_by_a_network_that_has_changed(tmp_path, monkeypatch):
    """What the network reads is part of the sweep, though the functions of the sweep are the package's own."""
    call = {"seeds": range(2), "iterations": 3, "directory": tmp_path, "data": SETS, "learning_rate": 0.1}
    first = long_sweep(SCALED, **call)
    assert long_sweep(SCALED, **call).identical(first)
    monkeypatch.setitem(globals(), "GAIN", 5.0)
    with pytest.raises(ValueError, match=r"differs in step: operation .*`mul`: 1.0 stored, 5.0 now"):
        long_sweep(SCALED, **call)


GAIN = 1.0


def scaled_network(params, inputs):
    return GAIN * network(params, inputs)


SCALED = Classifier(scaled_network, initial, Minibatches(TRAIN, 6), 3, {"test": 3, "train": 3})
