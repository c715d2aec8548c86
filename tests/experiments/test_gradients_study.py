"""The depth study: its networks are ordinary ones, and its report says what the records say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx
from scipy import stats

from experiments.__main__ import main
from experiments.gradients import report
from experiments.gradients.command import parse_depths
from experiments.gradients.study import random_network
from experiments.study import run_directory
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue
from paramact_jax.gradients import attribute, mean_field
from paramact_jax.networks import MLP


@pytest.mark.parametrize("name", ["sigmoid", "ppns", "relu"])
def test_every_depth_is_the_flax_network_with_these_weights(name, x64):
    width, depth, gain = 6, 5, 1.3
    key = jax.random.key(3)
    found = jax.jit(random_network(catalogue.get(name), width=width, depth=depth))(key, gain)
    input_key, out_key, layer_key = jax.random.split(key, 3)
    scale = gain / width**0.5
    x = jax.random.normal(input_key, (width,))[None]
    kernels = scale * jax.random.normal(layer_key, (depth, width, width))
    outs = scale * jax.random.normal(out_key, (depth, width))
    for k in range(1, depth + 1):
        model = MLP(width, [width] * k, 1, name, param_dtype="float64", rngs=nnx.Rngs(0))
        for layer, kernel in zip(model.hidden, kernels[:k], strict=True):
            layer.linear.kernel[...] = kernel
        model.out.kernel[...] = outs[k - 1][:, None]
        decay = attribute(model, x, loss=jnp.sum).decay
        np.testing.assert_allclose(found["log_gradient"][k - 1], decay.log_norm[0], rtol=1e-9)
        np.testing.assert_allclose(found["log_linear"][k - 1], decay.linear.sum(), rtol=1e-9)
        np.testing.assert_allclose(found["log_activation"][k - 1], decay.activation.sum(), rtol=1e-9)
    y = x
    for kernel in kernels[:-1]:
        y = catalogue.get(name).fn(y @ kernel, **catalogue.get(name).params)
    np.testing.assert_allclose(found["variance"][-1], np.mean((y @ kernels[-1]) ** 2), rtol=1e-9)


TINY = ["--depth", "2..5", "--activation", "sigmoid", "tanh", "--gain", "1", "1.4142", "--width", "32", "--seeds", "40"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "gradients"
    assert main(["gradients", *TINY, "--out", str(out)]) == 0
    return run_directory.read(out)


def test_records_and_prediction(run):
    assert dict(run.records.sizes) == {"activation": 2, "gain": 2, "seed": 40, "depth": 4}
    assert run.records["depth"].values.tolist() == [2, 3, 4, 5]
    for name in ("sigmoid", "tanh"):
        at = run.records.sel(activation=name, gain=1.4142)
        expected = mean_field.predict(catalogue.get(name), 5, gain=1.4142)
        np.testing.assert_allclose(at["predicted_log_gradient"], expected.log_gradient[1:])
        rms = 0.5 * np.log(np.exp(2 * at["log_gradient"].sel(depth=5)).mean())
        assert float(rms) == pytest.approx(expected.log_gradient[-1], abs=0.3)
    parts = run.records["log_linear"] + run.records["log_activation"]
    np.testing.assert_allclose(parts, run.records["log_gradient"], rtol=1e-4)


def test_files_and_report(run, capsys):
    assert {file.name for file in run.directory.iterdir()} == {
        *("records.nc", "run.json", "summary.json", "report.md", "gradients.csv", "gradients.tex", "gradients.png")
    }
    before = {file.name: file.read_bytes() for file in run.directory.iterdir()}
    assert main(["report", str(run.directory)]) == 0
    assert "first of 5 hidden layers" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in run.directory.iterdir()} == before
    (table,) = report.tables(run)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    values = run.records["log_gradient"].sel(activation="sigmoid", gain=1, depth=5).values.astype(float)
    assert float(row["root mean square"]) == pytest.approx(0.5 * np.log10(np.exp(2 * values).mean()), abs=0.01)
    interval = stats.t.interval(0.95, 39, values.mean(), stats.sem(values)) / np.log(10)
    assert [float(end) for end in row["95 % interval"].split(" - ")] == pytest.approx(interval, abs=0.01)
    assert float(row["linear"]) + float(row["activation"]) == pytest.approx(float(row["mean"]), abs=0.011)
    assert row["type"] == "2"


def fabricated(log_gradient):
    log_gradient = np.asarray(log_gradient, float)[None, None, :, None]
    dims = ("activation", "gain", "seed", "depth")
    return xr.Dataset(
        {
            **{name: (dims, log_gradient * share) for name, share in {"log_gradient": 1, "log_linear": 0.3}.items()},
            "log_activation": (dims, log_gradient * 0.7),
            "predicted_log_gradient": (("activation", "gain", "depth"), np.full((1, 1, 1), -1.0)),
        },
        coords={"activation": ["tanh"], "gain": [1.0], "seed": range(log_gradient.shape[2]), "depth": [3]},
    )


def test_zero_and_non_finite_gradients_are_counted():
    (row,) = report.rows(fabricated([-1.0, -1.0, -np.inf, np.nan, np.inf, -3.0]))
    assert (row.vanished.tolist(), row.non_finite.tolist()) == ([1], [2])
    # The zero counts in the root mean square of the four that are numbers, and has no logarithm.
    assert float(row.root_mean_square[0]) == pytest.approx(0.5 * np.log10((2 * np.exp(-2) + np.exp(-6)) / 4))
    assert float(row.measured[0]) == pytest.approx(-5 / 3 / np.log(10))
    assert float(row.linear[0]) == pytest.approx(0.3 * -5 / 3 / np.log(10))


def test_nothing_finite_has_no_value():
    (row,) = report.rows(fabricated([np.nan, np.nan, -np.inf]))
    assert np.isnan([row.measured[0], row.low[0], row.high[0], row.root_mean_square[0]]).all()


def test_the_type_is_none_unless_the_gradient_decays_for_certain():
    run = Run(None, fabricated([-1.0, 1.2, -1.1, 0.7]), {"config": {"first_seed": 0, "seeds": 4, "width": 8}})
    sure = Run(None, fabricated([-1.0, -1.2, -1.1, -0.7]), run.manifest)
    types = [dict(zip(t.columns, t.rows[0], strict=True))["type"] for r in (run, sure) for t in report.tables(r)]
    assert types == ["none", "3"]


@pytest.mark.parametrize("text", ["", "0..3", "5..2", "a", "1..", "1,,2", "-3", "1.5"])
def test_depths_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r"--depth: expected a range like 1\.\.50"):
        parse_depths(text)
