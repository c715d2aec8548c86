"""The study of the sigmoid's faults measures what it says, and its report says what the records say."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from experiments.__main__ import main
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10_PROTOCOLS
from experiments.studies import sigmoid_faults
from experiments.studies.sigmoid_faults import ACTIVATIONS, ARRIVED, SigmoidFaults, random_network, two_weights
from experiments.study import report, run_directory
from experiments.study.progress import SweepProgress
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue

pytestmark = pytest.mark.usefixtures("unoptimised")

SIZES = {"activation": 6, "gain": 2, "seed": 6, "layer": 3, "trial": 5, "look": 2, "xor_layer": 3, "inputs": 6}
SIZES |= {"descent": 2, "start": 7, "point": 9, "weight": 2, "function": 2, "size": 2, "pass": 2, "race": 3}
SIZES |= {"network": 2, "round": 4}
CONFIG = {"width": 8, "samples": 4, "xor_steps": 5, "first_seed": 0}
MACHINE = {"processor": "one", "devices": {"count": 1}, "packages": {"jax": "1"}}


def hand_made():
    """Records of the right form, all of positive numbers below 1."""
    random = np.random.default_rng(0)
    layered = ("activation", "gain", "seed", "layer")
    kinds = {
        **dict.fromkeys(("saturated", "flat", "one_sign", "one_sign_of_sample", "log_linear"), layered),
        "log_activation": layered,
        **dict.fromkeys(
            ("xor_saturated", "xor_one_sign", "xor_one_sign_of_sample"), ("activation", "trial", "look", "xor_layer")
        ),
        **dict.fromkeys(("way_length", "way_steps", "way_reversals", "way_together"), ("inputs", "descent", "start")),
        "way_path": ("inputs", "descent", "point", "weight"),
        "way_goal": ("weight",),
        "nanoseconds": ("function", "size", "pass", "race"),
        "step_seconds": ("network", "round"),
    }
    data = {name: (dims, 0.1 + 0.8 * random.random([SIZES[dim] for dim in dims])) for name, dims in kinds.items()}
    labels = {
        "activation": list(ACTIVATIONS),
        "gain": [1.0, 8.0],
        "look": ["before", "after"],
        "inputs": list(ACTIVATIONS),
        "descent": ["point by point", "full batch"],
        "function": ["relu", "sigmoid"],
        "size": ["64 x 128", "2 x 2"],
        "pass": ["forward", "forward + backward"],
        "network": ["relu", "sigmoid"],
    }
    labels |= {name: range(SIZES[name]) for name in ("seed", "trial", "start", "layer", "xor_layer")}
    return xr.Dataset(data, coords=labels)


def test_a_run(tmp_path, monkeypatch, capsys):
    small_network = dataclasses.replace(XOR10_PROTOCOLS["recovered"], depth=2)
    monkeypatch.setitem(XOR10_PROTOCOLS, "recovered", small_network)
    monkeypatch.setattr(sigmoid_faults, "SIZES", ((8, 16),))
    monkeypatch.setattr("experiments.bench.activations._ELEMENTS_A_RUN", 2**10)
    small = ["--gain", "1", "8", "--width", "16", "--depth", "2", "--samples", "8", "--seeds", "6", "--starts", "12"]
    rounds = ["--rounds", "2", "--steps", "2", "--small"]
    per_element, order = sigmoid_faults.per_element, []
    leave = SweepProgress.__exit__
    monkeypatch.setattr(SweepProgress, "__exit__", lambda *given: order.append("progress ends") or leave(*given))
    monkeypatch.setattr(
        sigmoid_faults, "per_element", lambda *given, **options: order.append("costs") or per_element(*given, **options)
    )
    out = tmp_path / "run"
    assert main(["sigmoid-faults", *small, "--trials", "4", "--iterations", "5", *rounds, "--out", str(out)]) == 0
    assert "zig-zag" in capsys.readouterr().out
    assert order == ["progress ends", "progress ends", "costs"]
    run = run_directory.read(out)
    assert list(run.manifest["seconds"]) == ["total", "random networks", "XOR(10)", "ways of two weights", "costs"]
    records = run.records
    sizes = {name: records.sizes[name] for name in ("activation", "gain", "seed", "layer", "trial", "look", "start")}
    assert sizes == {"activation": 6, "gain": 2, "seed": 6, "layer": 2, "trial": 4, "look": 2, "start": 12}
    assert records["nanoseconds"].dims == ("function", "size", "pass", "race")
    assert records["step_seconds"].shape == (2, 6)
    signs = records["xor_one_sign_of_sample"].isel(xor_layer=1)
    np.testing.assert_array_equal(signs.sel(activation="sigmoid"), 1)
    saturated = records["saturated"]
    assert (saturated.sel(gain=8).mean() > saturated.sel(gain=1).mean()).all()


def test_what_must_be_so_of_every_network(x64):
    key, found = jax.random.key(1), {}
    for name in ("sigmoid", "relu"):
        network = jax.jit(functools.partial(random_network, activation=name, width=12, depth=2, samples=6))
        found[name] = [network(key, gain) for gain in (1.0, 8.0)]
    for at_one, at_eight in found.values():
        assert (at_eight["saturated"] >= at_one["saturated"]).all()
        assert (at_one["flat"] <= at_one["saturated"]).all()
    assert found["sigmoid"][1]["saturated"][0] > 0.2
    np.testing.assert_array_equal(found["sigmoid"][0]["one_sign_of_sample"], [0, 1])
    slopes_at_all = 1 - found["relu"][0]["saturated"][1]
    np.testing.assert_allclose(found["relu"][0]["one_sign_of_sample"][1], slopes_at_all, atol=1e-6)
    # weights of equal shape, scaled: the linear factor of a positively homogeneous network grows by the scale
    np.testing.assert_allclose(found["relu"][1]["log_linear"] - found["relu"][0]["log_linear"], np.log(8), atol=1)


def test_tables_say_what_the_records_say():
    records = hand_made()
    tables = report.Report(SigmoidFaults, Run(None, records, {"config": CONFIG, "environment": MACHINE})).tables
    found = tables["saturation"]
    row = dict(zip([getattr(column, "heading", column) for column in found.columns], found.rows[1], strict=True))
    at = records["saturated"].sel(activation="sigmoid", gain=8)
    assert row["saturated"] == pytest.approx(float(at.mean()))
    assert row["last layer"] == pytest.approx(float(at.isel(layer=-1).mean()))
    lost = records["log_activation"].sel(activation="sigmoid", gain=8).mean() / np.log(10)
    assert row["by the activation"] == pytest.approx(-float(lost))
    seconds = records["step_seconds"].sel(network="sigmoid").values * 1e3
    spread = (seconds.min(), seconds.max())
    assert tables["step"].rows[1][1:3] == [pytest.approx(np.median(seconds)), pytest.approx(spread)]


def verdict(records, start):
    (found,) = [one for one in SigmoidFaults.statements(Run(None, records, {})) if one.text.startswith(start)]
    return found.verdict


@pytest.mark.parametrize(
    ("gains", "saturated", "decades", "verdicts"),
    [
        ([1.0, 8.0], [0.0, 0.4], [0.63, 0.9], ["true", "true"]),
        ([1.0, 8.0], [0.0, 0.05], [0.63, 0.9], ["true", "false"]),
        ([1.0, 8.0], [0.2, 0.4], [0.63, 0.5], ["false", "false"]),  # less than a slope of 1/4 alone takes
        ([1.0, 8.0], [0.0, 0.4], [1.3, 1.5], ["false", "true"]),  # most of it is not the slope of 1/4
        ([1.0, 4.0], [0.0, 0.08], [0.63, 0.7], ["true", "undecided"]),  # no gain at which values are large
    ],
)
def test_saturation_is_judged_where_values_are_large(gains, saturated, decades, verdicts):
    records = hand_made().assign_coords(gain=gains)
    for gain, share, lost in zip(gains, saturated, decades, strict=True):
        records["saturated"].loc[{"activation": "sigmoid", "gain": gain}] = share
        records["log_activation"].loc[{"activation": "sigmoid", "gain": gain}] = -lost * np.log(10)
    starts = "Sigmoid's gradient vanishes without", "where values are large"
    assert [verdict(records, start) for start in starts] == verdicts


def test_a_usual_value_is_beyond_the_saturated_slope_at_a_large_gain(x64):
    network = functools.partial(random_network, activation="sigmoid", width=100, depth=4, samples=64)
    saturated = jax.jit(network)(jax.random.key(0), sigmoid_faults.LARGE)["saturated"]
    assert (saturated > stats.norm.sf(1) * 2).all(), "a standard deviation of y is at least 4.6"
    assert float(jax.grad(jax.nn.sigmoid)(4.6)) == pytest.approx(sigmoid_faults.SATURATED_BELOW, rel=0.02)


def test_verdicts_turn_with_the_records():
    records = hand_made()
    records["log_activation"][:] = -2.0

    def holds(start):
        return verdict(records, start) == "true"

    for value in (0.05, 0.95):
        records["saturated"].loc[{"activation": "sigmoid"}] = value
        assert holds("where values are large") == (value > 0.1)
        assert holds("fewer of ReLU's units") == (value > 0.9)
        records["one_sign"].loc[{"activation": "sigmoid"}] = value
        assert holds("they still have when added") == (value > 0.5)
    for factor in (0.5, 2.0):
        records["nanoseconds"].loc[{"function": "sigmoid"}] = factor * records["nanoseconds"].sel(function="relu")
        assert holds("an element costs more") == (factor > 1)
        records["step_seconds"].loc[{"network": "sigmoid"}] = factor * records["step_seconds"].sel(network="relu")
        assert holds("that is no big problem") == (factor < 1)
    jitter = np.linspace(0, 0.1, records.sizes["trial"])
    for change in (-0.2, 0.2):
        records["xor_saturated"].loc[{"look": "before"}] = 0.5
        records["xor_saturated"].loc[{"look": "after"}] = 0.5 + change + jitter[:, None]
        assert holds("training saturates") == (change > 0)
    for longer in (-1.0, 1.0):
        for what in ("way_length", "way_reversals"):
            other = records[what].sel(inputs="pn_sigmoid")
            records[what].loc[{"inputs": "sigmoid"}] = other + longer * (1 + 0.1 * records["start"])
        assert holds("positive inputs make descent zig-zag, point") == (longer > 0)


def test_the_way_point_by_point_is_that_of_a_plain_loop(x64):
    inputs = ("sigmoid", "tanh")
    key = jax.random.key(5)
    found = jax.jit(functools.partial(two_weights, inputs=inputs, points=8, updates=300))(key)
    input_key, _, order_key = jax.random.split(key, 3)
    u, goal = jax.random.normal(input_key, (8, 2)), np.asarray(found["goal"])
    assert np.hypot(*goal) == pytest.approx(1)
    assert goal[0] > 0 > goal[1]
    order = np.asarray(jax.random.randint(order_key, (300,), 0, 8))
    for i, name in enumerate(inputs):
        x = np.asarray(catalogue.get(name).fn(u))
        w, path = np.zeros(2), [np.zeros(2)]
        for point in order:
            w = w - x[point] * (x[point] @ (w - goal)) / (x**2).sum(axis=1).max()
            path.append(w)
        np.testing.assert_allclose(found["path"][i, 0], path, rtol=1e-9, atol=1e-12)
        path = np.array(path)
        number = int(np.argmax(np.hypot(*(path[1:] - goal).T) <= ARRIVED)) + 1
        moves = np.diff(path[: number + 1], axis=0)
        assert int(found["steps"][i, 0]) == number
        assert float(found["length"][i, 0]) == pytest.approx(np.hypot(*moves.T).sum())
        assert int(found["reversals"][i, 0]) == sum(a @ b < 0 for a, b in zip(moves[1:], moves, strict=False))
        assert float(found["together"][i, 0]) == pytest.approx((moves.prod(axis=1) > 0).mean())
        moments = x.T @ x / 8
        w = np.zeros(2)
        for _ in range(3):
            w = w - moments @ (w - goal) / np.linalg.eigvalsh(moments)[-1]
        np.testing.assert_allclose(found["path"][i, 1, 3], w, rtol=1e-9)
    assert float(found["together"][0, 0]) == 1


def test_a_descent_that_does_not_arrive_has_no_length():
    found = jax.jit(functools.partial(two_weights, inputs=("sigmoid",), points=8, updates=3))(jax.random.key(0))
    assert jnp.isnan(found["length"][0, 0])
    assert jnp.isnan(found["steps"][0, 0])
