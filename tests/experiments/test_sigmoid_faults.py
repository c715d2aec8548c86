"""The study of the sigmoid's faults measures what it says, and its report says what the records say."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.__main__ import main
from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.sigmoid_faults import costs, networks, report, statements, zigzag
from experiments.sigmoid_faults.command import ACTIVATIONS
from experiments.study import run_directory
from paramact_jax.activations import catalogue

pytestmark = pytest.mark.usefixtures("unoptimised")

SIZES = {"activation": 6, "gain": 2, "seed": 6, "layer": 3, "trial": 5, "look": 2, "xor_layer": 3, "inputs": 6}
SIZES |= {"descent": 2, "start": 7, "point": 9, "weight": 2, "function": 2, "size": 2, "pass": 2, "race": 3}
SIZES |= {"network": 2, "round": 4}
CONFIG = {"width": 8, "samples": 4, "iterations": 5, "first_seed": 0}


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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "faults"
    made = run_directory.write(out, hand_made(), experiment="sigmoid-faults", config=CONFIG, seconds={})
    report.write(made)
    return run_directory.read(out)


def test_the_command_writes_a_run_that_can_be_reported_again(tmp_path, monkeypatch, capsys):
    small_network = dataclasses.replace(PROTOCOLS["recovered"], depth=2)
    monkeypatch.setitem(PROTOCOLS, "recovered", small_network)
    monkeypatch.setattr(costs, "SIZES", ((8, 16),))
    monkeypatch.setattr(costs, "BASES", ("sigmoid",))
    monkeypatch.setattr(costs, "NETWORKS", ("relu", "sigmoid"))
    monkeypatch.setattr("experiments.bench.activations._ELEMENTS_A_RUN", 2**10)
    small = ["--gain", "1", "8", "--width", "16", "--depth", "2", "--samples", "8", "--seeds", "6", "--starts", "12"]
    rounds = ["--rounds", "2", "--steps", "2"]
    out = tmp_path / "run"
    assert main(["sigmoid-faults", *small, "--trials", "4", "--iterations", "5", *rounds, "--out", str(out)]) == 0
    assert main(["report", str(out)]) == 0
    shown = capsys.readouterr()
    assert "zig-zag" in shown.out
    assert " s (4 of 4)\n" in shown.err
    records = run_directory.read(out).records
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
        network = jax.jit(networks.random_network(catalogue.get(name), width=12, depth=2, samples=6))
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


def test_files_and_report(run, capsys):
    assert {file.name for file in run.directory.iterdir()} >= {
        *("records.nc", "run.json", "summary.json", "report.md", "statements.csv", "cost.tex"),
        *("saturation.png", "one_sign.png", "zigzag.png"),
    }
    before = {file.name: file.read_bytes() for file in run.directory.iterdir()}
    assert main(["report", str(run.directory)]) == 0
    assert "Neurons whose weight gradients have one sign" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in run.directory.iterdir()} == before
    found = json.loads((run.directory / "summary.json").read_text())["statements"]
    assert [entry["holds"] for entry in found] == [s.holds for s in statements.check(run.records)]


def test_tables_say_what_the_records_say(run):
    tables = {table.title.split(" ")[0]: table for table in report.tables(run)}
    row = dict(zip(tables["Saturated"].columns, tables["Saturated"].rows[1], strict=True))
    at = run.records["saturated"].sel(activation="sigmoid", gain=8)
    assert row["saturated"] == f"{float(at.mean()):.1%}"
    assert row["last layer"] == f"{float(at.isel(layer=-1).mean()):.1%}"
    lost = run.records["log_activation"].sel(activation="sigmoid", gain=8).mean() / np.log(10)
    assert float(row["by the activation"]) == pytest.approx(-float(lost), abs=0.006)


def judged(records, start):
    (found,) = [s for s in statements.check(records) if s.text.startswith(start)]
    return found


def test_verdicts_turn_with_the_records(run):
    records = run.records.copy(deep=True)
    for value in (0.05, 0.95):
        records["saturated"].loc[{"activation": "sigmoid"}] = value
        vanishes = judged(records, "Sigmoid's gradient vanishes by")
        assert vanishes.holds == (value > 0.1)
        assert vanishes.measured.endswith("the steepest, alone takes 0.602"), "the logarithm of 4"
        assert judged(records, "fewer of ReLU's units").holds == (value > 0.9)
        records["one_sign"].loc[{"activation": "sigmoid"}] = value
        assert judged(records, "they still have when added").holds == (value > 0.5)
    for factor in (0.5, 2.0):
        records["nanoseconds"].loc[{"function": "sigmoid"}] = factor * records["nanoseconds"].sel(function="relu")
        assert judged(records, "an element costs more").holds == (factor > 1)
        records["step_seconds"].loc[{"network": "sigmoid"}] = factor * records["step_seconds"].sel(network="relu")
        assert judged(records, "that is no big problem").holds == (factor < 1)
    jitter = np.linspace(0, 0.1, records.sizes["trial"])
    for change in (-0.2, 0.2):
        records["xor_saturated"].loc[{"look": "before"}] = 0.5
        records["xor_saturated"].loc[{"look": "after"}] = 0.5 + change + jitter[:, None]
        assert judged(records, "training saturates").holds == (change > 0)
    for longer in (-1.0, 1.0):
        for what in ("way_length", "way_reversals"):
            other = records[what].sel(inputs="pn_sigmoid")
            records[what].loc[{"inputs": "sigmoid"}] = other + longer * (1 + 0.1 * records["start"])
        assert judged(records, "positive inputs make descent zig-zag, point").holds == (longer > 0)


def test_the_way_point_by_point_is_that_of_a_plain_loop(x64):
    inputs = [catalogue.get(name) for name in ("sigmoid", "tanh")]
    key = jax.random.key(5)
    found = jax.jit(zigzag.two_weights(inputs, points=8, steps=300))(key)
    input_key, _, order_key = jax.random.split(key, 3)
    u, goal = jax.random.normal(input_key, (8, 2)), np.asarray(found["goal"])
    assert np.hypot(*goal) == pytest.approx(1)
    assert goal[0] > 0 > goal[1]
    order = np.asarray(jax.random.randint(order_key, (300,), 0, 8))
    for i, activation in enumerate(inputs):
        x = np.asarray(activation.fn(u))
        w, path = np.zeros(2), [np.zeros(2)]
        for point in order:
            w = w - x[point] * (x[point] @ (w - goal)) / (x**2).sum(axis=1).max()
            path.append(w)
        np.testing.assert_allclose(found["path"][i, 0], path, rtol=1e-9, atol=1e-12)
        path = np.array(path)
        number = int(np.argmax(np.hypot(*(path[1:] - goal).T) <= zigzag.ARRIVED)) + 1
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
    found = jax.jit(zigzag.two_weights([catalogue.get("sigmoid")], points=8, steps=3))(jax.random.key(0))
    assert jnp.isnan(found["length"][0, 0])
    assert jnp.isnan(found["steps"][0, 0])
