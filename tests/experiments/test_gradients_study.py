"""The depth study: its networks are ordinary ones, and its report says what the records say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx
from scipy import stats

from experiments.__main__ import main
from experiments.studies.gradients import Gradients, curves, depths_of, random_network, table
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue
from paramact_jax.gradients import attribute, mean_field
from paramact_jax.networks import MLP


@pytest.mark.parametrize("name", [pytest.param("sigmoid", marks=pytest.mark.slow), "ppns", "relu"])
def test_every_depth_is_the_flax_network_with_these_weights(name, x64):
    width, depth, gain = 6, 3, 1.3
    record = catalogue.get(name)

    @jax.jit
    def reference(key):
        """Returns, for every depth, three logarithms of the network of that depth; and the variance at the end."""
        input_key, out_key, layer_key = jax.random.split(key, 3)
        scale = gain / width**0.5
        x = jax.random.normal(input_key, (width,))[None]
        kernels = scale * jax.random.normal(layer_key, (depth, width, width))
        outs = scale * jax.random.normal(out_key, (depth, width))
        logarithms = []
        for k in range(1, depth + 1):
            options = {"param_dtype": "float64", "kernel_init": jax.nn.initializers.zeros, "rngs": nnx.Rngs(0)}
            model = MLP(width, [width] * k, 1, name, **options)
            for layer, kernel in zip(model.hidden, kernels[:k], strict=True):
                layer.linear.kernel[...] = kernel
            model.out.kernel[...] = outs[k - 1][:, None]
            decay = attribute(model, x, loss=jnp.sum).decay
            logarithms.append([decay.log_norm[0], decay.linear.sum(), decay.activation.sum()])
        y = x
        for kernel in kernels[:-1]:
            y = record.fn(y @ kernel, **record.params)
        return jnp.array(logarithms), jnp.mean((y @ kernels[-1]) ** 2)

    key = jax.random.key(3)
    found = jax.jit(functools.partial(random_network, activation=name, width=width, depth=depth))(key, gain)
    logarithms, variance = reference(key)
    for i, what in enumerate(("log_gradient", "log_linear", "log_activation")):
        np.testing.assert_allclose(found[what], logarithms[:, i], rtol=1e-9)
    np.testing.assert_allclose(found["variance"][-1], variance, rtol=1e-9)


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


def row_of(run):
    found = table(run)
    return dict(zip([getattr(one, "heading", one) for one in found.columns], found.rows[0], strict=True))


def test_the_table_says_what_the_records_say(run):
    row = row_of(run)
    values = run.records["log_gradient"].sel(activation="sigmoid", gain=1, depth=5).values.astype(float)
    assert row["root mean square"] == pytest.approx(0.5 * np.log10(np.exp(2 * values).mean()))
    interval = stats.t.interval(0.95, 39, values.mean(), stats.sem(values)) / np.log(10)
    assert row["95 % interval"] == pytest.approx(interval)
    assert row["linear"] + row["activation"] == pytest.approx(row["mean"])
    assert row["type"] == "2"
    assert row["a layer"] == pytest.approx(10 ** (row["mean"] / 5))


def test_the_summary_has_a_row_for_each_activation_and_gain(run):
    rows = report.Report(Gradients, run).summary()["rows"]
    assert [(row["activation"], row["gain"]) for row in rows[:2]] == [("sigmoid", 1.0), ("sigmoid", 1.4142)]
    assert rows[0]["depths"] == [2, 3, 4, 5]
    assert {len(row["measured"]) for row in rows} == {4}


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
    found = curves(fabricated([-1.0, -1.0, -np.inf, np.nan, np.inf, -3.0])).squeeze()
    assert (int(found["vanished"]), int(found["non_finite"])) == (1, 2)
    # The zero counts in the root mean square of the four that are numbers, and has no logarithm.
    expected = 0.5 * np.log10((2 * np.exp(-2) + np.exp(-6)) / 4)
    assert float(found["root_mean_square"]) == pytest.approx(expected)
    assert float(found["measured"]) == pytest.approx(-5 / 3 / np.log(10))
    assert float(found["linear"]) == pytest.approx(0.3 * -5 / 3 / np.log(10))


def test_nothing_finite_has_no_value():
    found = curves(fabricated([np.nan, np.nan, -np.inf])).squeeze()
    assert np.isnan([float(found[name]) for name in ("measured", "low", "high", "root_mean_square")]).all()


def test_the_type_is_none_unless_the_gradient_decays_for_certain():
    config = {"config": {"first_seed": 0, "seeds": 4, "width": 8}}
    found = [row_of(Run(None, fabricated(x), config)) for x in ([-1.0, 1.2, -1.1, 0.7], [-1.0, -1.2, -1.1, -0.7])]
    assert [row["type"] for row in found] == ["none", "3"]


@pytest.mark.parametrize("text", ["", "0..3", "5..2", "a", "1..", "1,,2", "-3", "1.5"])
def test_depths_that_are_none_are_refused(text, capsys):
    assert min(depths_of(text), default=0) == 0
    assert main(["gradients", f"--depth={text}"]) == 2
    assert "--depth: expected a range like 1..50 or a list like 1,2,5 of depths >= 1, got" in capsys.readouterr().err
