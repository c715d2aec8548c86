"""Networks start where `starts` says, and are compared at rates that other seeds chose."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.problems.cnn.networks import for_training
from experiments.problems.digits import hold_out, images_of
from experiments.studies.starts import (
    PLACES,
    STARTS,
    StartsCnn,
    StartsMnist,
    StartsXor10,
    answers,
    cnn_training,
    levels,
    mnist_training,
    xor10_training,
)
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from paramact_jax.activations import critical_gain
from paramact_jax.datasets import synthetic_mnist
from paramact_jax.sweeps import trial_key

pytestmark = pytest.mark.usefixtures("unoptimised")

PPNS = dict(zip(PLACES, (1.0, 6.0, 4.0), strict=True))


@functools.cache
def on_xor10():
    """Compiles the start and the step of a training."""
    whole = xor10_training("ppns")
    return jax.jit(whole.init), jax.jit(whole.step)


@functools.cache
def on_mnist():
    """Compiles the start of a training on the images of `study`."""
    digits, held_out = hold_out(synthetic_mnist(60, 10))
    study = StartsMnist(width=3, batch=4, steps=2, depths=(3,))
    init = jax.jit(mnist_training("ppns", 3, study=study, digits=digits).init)
    return lambda place: init(trial_key(0), images_of(digits) | held_out, place)


@functools.cache
def on_cnn():
    """Compiles the start, and a step in which a and b are kept."""
    digits, held_out = hold_out(synthetic_mnist(60, 10, flatten=False))
    data = images_of(for_training(digits, 30, 0)) | held_out
    whole = cnn_training("parametric_relu/ppns", study=StartsCnn(training_images=30, batch=10, steps=2))
    init, step = jax.jit(whole.init), jax.jit(whole.step)
    return lambda place: init(trial_key(0), data, place=place), lambda state: step(state, 0, data, False, 0.1)


@pytest.mark.parametrize("place", range(3))
def test_xor10_starts_there_and_learns_only_where_it_should(place):
    init, step = on_xor10()
    state = init(trial_key(0), jnp.asarray(place))
    (start,) = {float(x) for layer in state.params["hidden"].values() for x in layer["activation"]["a"]}
    assert start == pytest.approx(PPNS[PLACES[place]])
    for learned in (False, True):
        after = step(state, jnp.asarray(place), jnp.asarray(learned), jnp.asarray(0.1))
        changed = any((layer["activation"]["b"] != 0).any() for layer in after.params["hidden"].values())
        assert changed == learned
        assert (after.params["out"]["bias"] != state.params["out"]["bias"]).all()


@pytest.mark.parametrize("place", range(3))
def test_mnist_and_the_cnn_start_there_too(place):
    state = on_mnist()(jnp.asarray(place))
    np.testing.assert_allclose(state.params["activation"]["a"], PPNS[PLACES[place]])

    init, step = on_cnn()
    state = init(jnp.asarray(place))
    of_relu = (1.0, 1.5, critical_gain("parametric_relu").gain)[place]
    for layer in state.params["convolutional"].values():
        np.testing.assert_allclose(layer["activation"]["a"], of_relu)
        assert (layer["activation"]["b"] == 0).all()
    np.testing.assert_allclose(state.params["dense"]["activation"]["a"], PPNS[PLACES[place]])
    if place == 0:
        kept = jax.tree.leaves(step(state).params["dense"]["activation"])
        assert kept[0].tolist() == jax.tree.leaves(state.params["dense"]["activation"])[0].tolist()


def run_of(loss, *, seeds=7, choosing=2):
    """A run on MNIST whose losses are a function of the start, the rate and the seed."""
    coords = {
        "activation": ["ppns"],
        "depth": [8, 64],
        "start": list(STARTS),
        "learning_rate": [0.01, 0.1, 1.0],
        "seed": np.arange(seeds),
    }
    shape = [len(values) for values in coords.values()]
    values = np.empty(shape)
    for place in np.ndindex(*shape):
        values[place] = loss(*(list(x)[i] for x, i in zip(coords.values(), place, strict=True)))
    dims = list(coords)
    records = xr.Dataset(
        {"test_loss": (dims, values), "held_out_loss": (dims, values), "test_accuracy": (dims, 1 - values / 4)},
        coords,
        {"problem": "mnist", "choosing": choosing, "source": "made up", "synthetic": 0},
    )
    config = {"steps": 500, "choosing": choosing, "rates": [0.01, 0.1, 1.0]}
    return Run(None, records, {"experiment": "starts-mnist", "config": config})


def critical_is_better_when_deep(activation, depth, start, rate, seed):
    best = 0.1 if "critical" in start else 1.0
    worse = 0.5 * ("critical" not in start) if depth == 64 else 0.1 * ("critical" in start)
    return 0.3 + worse + 0.05 * abs(np.log10(rate / best)) + 0.002 * seed + 0.0001 * (STARTS.index(start) * seed % 5)


def test_rates_are_chosen_and_starts_compared_on_other_seeds():
    run = run_of(critical_is_better_when_deep)
    for one in levels(run):
        assert (one.rate, one.at_end) == ((0.1, False) if "critical" in one.start else (1.0, True))
    deep = {one.start: one for one in levels(run) if one.name == "PPNS, 64 layers"}
    assert deep["critical, kept"].mean == pytest.approx(0.308, abs=0.001)  # of seeds 2 to 6
    assert deep["plain, kept"].accuracy == pytest.approx(1 - 0.808 / 4, abs=0.001)
    found = {(one.name, one.question): one.verdict for one in answers(run)}
    for question in ("critical or steepest, kept", "critical or steepest, learned", "critical or plain, learned"):
        assert found["PPNS, 64 layers", question] == "better"
        assert found["PPNS, 8 layers", question] == "worse"
    assert found["PPNS, 8 layers", "learning from critical"] == "not told apart"


def test_a_rate_at_which_a_choosing_seed_diverges_is_not_chosen():
    def loss(activation, depth, start, rate, seed):
        return np.nan if rate == 0.1 and seed == 1 else 1 / rate

    assert {one.rate for one in levels(run_of(loss))} == {1.0}


def test_report(tmp_path):
    run = run_of(critical_is_better_when_deep)
    config = run.manifest["config"]
    run = run_directory.write(tmp_path / "run", run.records, experiment="starts-mnist", config=config, seconds={})
    report.make(StartsMnist, [run])
    text = (run.directory / "report.md").read_text()
    assert "the critical start is better than [P]'s in 1 of 2 networks, worse in 1, not told apart in 0" in text
    assert "| ours | the critical start is better than [P]'s: PPNS, 64 layers, a and b learned |" in text


def test_two_seeds_have_to_be_left():
    with pytest.raises(ValueError, match=r"--choosing: expected an integer within 1\.\.1"):
        StartsXor10(seeds=3, choosing=2).check(None)
