"""Looking at the gradients of all trials while they train."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.problems.xor10 import records
from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.problems.xor10.train import model, train
from experiments.studies import xor10
from experiments.study.run_directory import read
from paramact_jax.datasets import xor
from paramact_jax.gradients import Cause, attribute
from paramact_jax.networks import with_params
from paramact_jax.sweeps.memory import in_words

SHORT = dataclasses.replace(PROTOCOLS["recovered"], seeds=70, steps=50, depth=4, activations=("ppns", "relu"))


@pytest.fixture(scope="module")
def looked():
    trained = train(SHORT, gradients_every=20)
    return trained, records.to_dataset(SHORT, trained)


def test_looking_changes_no_bit(looked):
    for name, blind in train(SHORT).items():
        seen = looked[0][name]
        assert not blind.gradients
        assert blind.found.equals(seen.found[list(blind.found)])


@functools.cache
def attribution(activation):
    """Compiles the attribution of a Flax model with these params."""
    x, t = (jnp.asarray(array, jnp.float32) for array in xor())
    template = model(activation, 0, depth=SHORT.depth)

    def loss(y):
        return 0.5 * jnp.mean((y - t) ** 2)

    return jax.jit(lambda params: attribute(with_params(template, params), x, loss=loss, singular_values=True))


@pytest.mark.parametrize("activation", ["ppns", "relu"])
@pytest.mark.parametrize(("when", "look"), [("initial", 0), ("learned", 50)])
def test_what_was_seen_is_the_attribution_of_the_model(looked, activation, when, look):
    dataset = looked[1]
    assert dataset["look"].values.tolist() == [0, 20, 40, 50]
    for seed in (0, 42, 69):
        found = attribution(activation)(records.params_of_trial(dataset, activation, seed, when=when))
        decay, units, spectra = found.decay, found.units, found.spectra
        seen = dataset.sel(activation=activation, seed=seed, look=look)
        np.testing.assert_allclose(seen["gradient_log_norm"], decay.log_norm, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(seen["gradient_linear"], decay.linear, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(seen["gradient_dead"], units.dead)
        np.testing.assert_array_equal(seen["gradient_non_finite"], decay.non_finite)
        largest = [float(values[0]) for values in spectra.linear]
        np.testing.assert_allclose(seen["gradient_largest_singular_value"], largest, rtol=1e-4)
        np.testing.assert_allclose(seen["gradient_log_end_to_end"], spectra.log_end_to_end[:, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_trials_that_blow_up_are_reported_by_layer_and_trial(tmp_path, capsys):
    out = tmp_path / "run"
    wild = ["--protocol", "literal", "--learning-rate", "0.5", "--activations", "parametric_relu", "--trials", "80"]
    assert main(["xor10", *wild, "--iterations", "60", "--gradients-every", "30", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "gradients: 3 looks at 80 networks" in printed.err
    dataset = read(out).records
    bad = (dataset["gradient_non_finite"] > 0).sel(activation="parametric_relu")
    blown_up = int(bad.isel(look=-1).any("affine_map").sum())
    assert 0 < blown_up < 80
    assert not bad.isel(look=0).any()
    row = next(
        line for line in printed.out.splitlines() if line.startswith("Parametric ReLU") and f"{60:,}" in line.split()
    )
    assert row.split()[-1] == str(blown_up)
    undefined = (dataset["gradient_total_cause"].isel(look=-1) == Cause.UNDEFINED).sum()
    assert int(undefined) >= blown_up
    assert {"gradients.csv", "gradients.tex", "gradients.png", "values.png"} <= {file.name for file in out.iterdir()}
    histogram = dataset["histogram"].sel(activation="parametric_relu")
    assert (histogram.sum("bin") == 80 * 4 * 2).all()  # trials, points, nodes: nothing is lost
    assert int(histogram.isel(look=-1, bin=-1).sum()) > 0  # NaN
    assert "Why the gradient vanishes" in (out / "report.md").read_text()


def test_memory_is_said_before(looked):
    trained, _ = looked
    kept = sum(x.nbytes for one in trained.values() for x in one.found.values() if "iteration" in x.dims)
    assert xor10.memory(SHORT, 20) == f"gradients: 4 looks at 140 networks, {in_words(kept)}"


def test_medians_are_of_the_trials_that_have_a_gradient(looked):
    dataset = looked[1].sel(activation=["ppns"]).copy(deep=True)
    for name, value in {"log_norm": -np.inf, "linear": np.nan, "activation": np.nan}.items():
        dataset[f"gradient_{name}"][:, :30] = value
    table = xor10.gradients_table(dataset)
    rest = xor10.gradients_table(dataset.isel(seed=slice(30, None)))
    for changed, expected in zip(table.rows, rest.rows, strict=True):
        assert (changed[2], expected[2]) == (30, 0)
        assert changed[3:7] == expected[3:7]
