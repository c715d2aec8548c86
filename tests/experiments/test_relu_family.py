"""The study of dying units sees what happens to them, and its report says what the records say."""

import csv
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx

from experiments.__main__ import main
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10
from experiments.problems.xor10.train import model as xor10_model
from experiments.studies import relu_family
from experiments.studies.relu_family import ReluFamily, look, model
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from experiments.study.tables import Column
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.gradients import layer_jacobians
from paramact_jax.gradients.units import dead_share
from paramact_jax.networks import params_of

STUDY = ReluFamily(
    activations=("relu",),
    rates=(0.1,),
    seeds=3,
    choosing=1,
    depth=3,
    width=10,
    gain=1.4142,
    steps=4,
    batch=4,
    look_every=2,
    test_every=4,
    probes=5,
)
TINY = ["--depth", "2", "--width", "8", "--steps", "6", "--look-every", "4", "--test-every", "3", "--probes", "20"]
SEEDS = ["--seeds", "3", "--choosing", "1"]
COMMAND = ["relu-family", "--data", "synthetic", *TINY, *SEEDS, "--rates", "0.1", "1.0"]


@pytest.mark.parametrize("name", ["relu", "relu6", "prelu"])
def test_a_look_sees_what_the_flax_network_has(name):
    record = catalogue.get(name)
    network = model(record, STUDY, jax.random.key(0), in_features=6)
    network.hidden[0].linear.bias[...] = jnp.array([-100.0, 100.0, *[0.0] * 8])
    x = jax.random.normal(jax.random.key(1), (5, 6))
    seen = look(record, params_of(network), x)
    slopes = layer_jacobians(network, x).slopes
    for layer in range(3):
        np.testing.assert_allclose(seen["steepest"][layer], abs(slopes[layer]).max(axis=0), rtol=1e-6)
        if name != "prelu":
            assert float((seen["steepest"][layer] == 0).mean()) == float(dead_share(slopes[layer]))
    low, high = {"relu": (0, 1), "relu6": (0, 0), "prelu": (0.25, 1)}[name]
    assert [float(x) for x in seen["steepest"][0, :2]] == [low, high]
    assert seen["high"][0, :2].tolist() == [False, True]


def test_units_that_are_no_numbers_have_no_slope():
    record = catalogue.get("relu")
    network = model(record, STUDY, jax.random.key(0), in_features=6)
    network.hidden[1].linear.bias[...] = jnp.array([np.nan, np.inf, *[0.0] * 8])
    seen = look(record, params_of(network), jnp.ones((5, 6)))
    assert np.isnan(seen["steepest"][1]).tolist() == [True, True, *[False] * 8]


def said_of(records):
    return list(ReluFamily.statements(Run(None, records, {})))


def hand_made(steepest, loss=None, high=None):
    """Records of ReLU and Leaky ReLU at one rate: slopes (activation, seed, look, node) of one layer."""
    steepest = np.asarray(steepest, np.float32)[:, None, :, :, None, :]
    seeds, looks = steepest.shape[2:4]
    loss = np.ones((len(steepest), 1, seeds, 2)) if loss is None else np.asarray(loss)[:, None, :, None] * [1, 1]
    trial = ("activation", "learning_rate", "seed")
    return xr.Dataset(
        {
            "steepest": ((*trial, "look", "layer", "node"), steepest),
            "high": ((*trial, "look", "layer", "node"), np.zeros(steepest.shape) if high is None else high),
            "test_loss": ((*trial, "test_step"), loss),
            "test_accuracy": ((*trial, "test_step"), 0 * loss),
            "held_out_loss": (trial, loss[..., -1]),
        },
        coords={
            "activation": ["relu", "leaky_relu_tenth"][: len(steepest)],
            "learning_rate": [0.1],
            "seed": range(seeds),
            "test_step": [0, 10],
            "look": np.linspace(0, 10, looks).astype(int),
            "layer": [1],
            "node": np.arange(1, steepest.shape[-1] + 1),
        },
        attrs={"source": "by hand", "synthetic": 0, "choosing": 1},
    )


def test_shares_and_units_that_come_back():
    one = [[[1, 1, 1, 1], [0, 0, 1, 0.005], [0, 1, 0, 1]], [[1, 1, 1, 1], [np.nan] * 4, [1, 1, 1, 1]]]
    records = hand_made([one])
    np.testing.assert_array_equal(relu_family.dead(records).squeeze(), [[0, 0.5, 0.5], [0, np.nan, 0]])
    np.testing.assert_array_equal(relu_family.faint(records).squeeze(), [[0, 0.75, 0.5], [0, np.nan, 0]])
    ever, back = (found.squeeze().values for found in relu_family.came_back(records))
    np.testing.assert_array_equal(ever, [3, np.nan])
    np.testing.assert_array_equal(back, [1, np.nan])


def test_units_that_die_were_alive_before_training():
    one = [[[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]], [[1, 1, 1, 1], [0] * 4, [np.nan, 1, 1, 1]]]
    alive, died = (found.squeeze().values for found in relu_family.died(hand_made([one])))
    np.testing.assert_array_equal(alive, [3, np.nan])
    np.testing.assert_array_equal(died, [2, np.nan])


def test_a_training_is_finite_if_all_its_layers_and_its_loss_are():
    one = np.zeros((2, 3, 4))
    records = hand_made([one], loss=[[1, np.nan]])
    np.testing.assert_array_equal(relu_family.dead(records).squeeze(), [[1, 1, 1], [1, 1, np.nan]])
    np.testing.assert_array_equal(relu_family.came_back(records)[0].squeeze(), [4, np.nan])
    two_layers = xr.concat([records.isel(layer=0), records.isel(layer=0)], "layer", data_vars="minimal")
    two_layers = two_layers.transpose(..., "layer", "node")
    two_layers["steepest"][0, 0, 0, 1, 1, 2] = np.nan
    assert np.isnan(relu_family.dead(two_layers).sel(seed=0).isel(look=1)).all()


def test_test_images_choose_no_rate():
    records = hand_made([np.ones((3, 2, 8))] * 2, loss=[[1, 1, 1.1], [2, 2, 2]])
    other = records.assign_coords(learning_rate=[1.0]).copy(deep=True)
    other["test_loss"][:] = [[[[0.1]]], [[[3]]]]
    both = xr.concat([records, other], "learning_rate")
    for held_out, chosen in ((0, "ReLU 0.1 at 1;"), (9, "ReLU 1.05 at 0.1;")):
        both["held_out_loss"].loc[{"activation": "relu", "learning_rate": 1.0, "seed": 0}] = held_out
        (found,) = [one for one in said_of(both) if "test loss" in one.text]
        assert chosen in found.measured


def test_units_stuck_above_0_are_dead_ones():
    high = np.array([[1, 1, 0]]).reshape(1, 1, 1, 1, 1, 3)
    records = hand_made([[[[0, 1, 0]]]], high=high, loss=[[1]])
    assert relu_family.stuck_high(records).item() == pytest.approx(1 / 3)


def heading(column):
    return Column(column) if isinstance(column, str) else column


def verdicts(records):
    return {found.text: found.verdict for found in said_of(records)}


def test_verdicts_turn_with_the_records():
    alive, dying = np.ones((3, 2, 8)), np.ones((3, 2, 8))
    for seed in range(3):
        dying[seed, 1, : 4 + seed] = 0
    found = verdicts(hand_made([dying, alive], loss=[[3, 3.1, 3.3], [1, 1, 1]]))
    assert found["units of ReLU die in training"] == "true"
    assert found["nothing changes in a dead unit of layer 1 any more"] == "true"
    assert found["no unit of Leaky ReLU dies"] == "true"
    assert found["fewer units of Leaky ReLU than of ReLU are as good as dead at the end"] == "true"
    assert found["Leaky ReLU ends at a lower test loss than ReLU"] == "true"
    found = verdicts(hand_made([dying[:, ::-1], dying], loss=[[1, 1, 1], [3, 3.1, 3.3]]))
    assert found["units of ReLU die in training"] == "false"
    assert found["nothing changes in a dead unit of layer 1 any more"] == "false"
    assert found["no unit of Leaky ReLU dies"] == "false"
    assert found["fewer units of Leaky ReLU than of ReLU are as good as dead at the end"] == "false"
    assert found["Leaky ReLU ends at a lower test loss than ReLU"] == "false"
    nothing = np.full((3, 2, 8), np.nan)
    assert set(verdicts(hand_made([nothing, nothing], loss=np.full((2, 3), np.nan))).values()) == {"undecided"}
    assert verdicts(hand_made([alive, alive]))["nothing changes in a dead unit of layer 1 any more"] == "undecided"


def at_speed(relu, tanh, arrives=(0, 0, 0.5)):
    """Records of ReLU and Tanh: test losses after 100 and 200 steps, 1 before, of 4 seeds."""
    of_both = [hand_made(np.ones((1, 4, 1, 2))).isel(test_step=[0, 1, 1]).assign_coords(activation=[n]) for n in "rt"]
    records = xr.concat(of_both, "activation").assign_coords(activation=["relu", "tanh"], test_step=[0, 100, 200])
    records["test_loss"][:, :, :, 1:] = np.array([relu, tanh])[:, None, None]
    return records.assign(xor_arrives=("xor_seed", np.array(arrives, float)))


@pytest.mark.parametrize(
    ("tanh", "ratio", "verdict"), [((0.9, 0.29), 7.5, "true"), ((0.29, 0.1), 4, "false"), ((0.5, 0.27), 6, "undecided")]
)
def test_six_times_as_fast_as_tanh(tanh, ratio, verdict):
    records = at_speed((0.01, 0.01), tanh)
    if verdict == "undecided":
        records["test_loss"].loc[{"activation": "tanh", "seed": 3, "test_step": 100}] = 0.29
    (found,) = [one for one in said_of(records) if "as fast as Tanh" in one.text]
    assert found.verdict == verdict
    assert found.effect == pytest.approx(ratio, rel=0.2)


@pytest.mark.parametrize(("vanished", "verdict"), [(924, "false"), (30, "true")])
def test_a_gradient_that_does_not_arrive_refutes_that_none_vanishes(vanished, verdict):
    records = at_speed((0.1, 0.1), (0.1, 0.1), np.where(np.arange(1_000) < vanished, 0.009, 0.5))
    (found,) = [one for one in said_of(records) if one.text.startswith("no gradient vanishes")]
    assert (found.verdict, found.effect) == (verdict, vanished / 1_000)
    assert f"less in {vanished} of 1,000, exactly 0 in 0" in found.measured


def test_nothing_arrives_where_autodiff_has_a_gradient_of_0():
    inputs, targets = map(jnp.asarray, xor())

    @jax.jit
    def both(key):
        network = xor10_model("relu", key, weight_std=XOR10["recovered"].weight_std)
        gradient = nnx.grad(lambda network: jnp.mean((network(inputs) - targets) ** 2))(network)
        return relu_family.arriving(key)["arrives"], jnp.abs(gradient.hidden[0].linear.kernel[...]).max()

    arrives, gradient = np.array([both(jax.random.key(seed)) for seed in range(60)]).T
    np.testing.assert_array_equal(arrives == 0, gradient == 0)
    assert 0.8 < (arrives == 0).mean() < 1


def test_layer_1_and_the_later_ones_are_judged_apart():
    stays, returns = np.ones((2, 3, 8)), np.ones((2, 3, 8))
    stays[:, 1:, :3] = returns[:, 1, :3] = 0
    layers = [hand_made([x, x]).assign_coords(layer=[i]) for i, x in enumerate((stays, returns), 1)]
    found = verdicts(xr.concat(layers, "layer", data_vars="minimal"))
    assert found["nothing changes in a dead unit of layer 1 any more"] == "true"
    assert found["nothing changes in a dead unit of a later layer any more"] == "false"


def test_tables_of_records_with_trainings_that_diverged(tmp_path):
    diverged = np.ones((3, 2, 8))
    diverged[0, 1] = np.nan
    records = hand_made([np.ones((3, 2, 8)), diverged], loss=[[1, 1.1, 1.3], [np.nan, 0.5, 0.6]])
    own = Run(tmp_path, records, {"experiment": "relu-family", "config": dataclasses.asdict(STUDY)})
    tables = report.Report(ReluFamily, own).tables
    assert [row[-1] for row in tables["units"].rows] == [0, 1]
    loss = tables["test_loss"]
    of_leaky = [column.text(x) for column, x in zip(map(heading, loss.columns), loss.rows[1], strict=True)]
    assert of_leaky[2:6] == ["0.5500", "-0.0853 to 1.1853", "0.00%", "-0.6500"]
    assert of_leaky[-1] == "1"
    assert len(list(ReluFamily.figures(own))) == 3
    assert relu_family.highest_rate(records, ("relu",)) == 0.1
    assert relu_family.highest_rate(records, ("relu", "leaky_relu_tenth")) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "family"
    assert main([*COMMAND, "--activations", "parametric_relu", "--out", str(out)]) == 0
    return run_directory.read(out)


def test_records_of_a_run(run):
    records = run.records
    sizes = {"activation": 1, "learning_rate": 2, "seed": 3, "look": 3, "layer": 2, "node": 8, "test_step": 3}
    sizes["xor_seed"] = 1_000
    assert dict(records.sizes) == sizes
    assert records["look"].values.tolist() == [0, 4, 6]
    first = records["steepest"].isel(look=0)
    np.testing.assert_array_equal(first.sel(learning_rate=0.1), first.sel(learning_rate=1.0))
    assert set(np.unique(first)) <= {0, 1.5}
    assert len(np.unique(records["steepest"].isel(look=-1))) > 4, "a is learned"
    assert np.isfinite(records["test_loss"]).all()
    assert (records["test_loss"].isel(test_step=0) != records["test_loss"].isel(test_step=-1)).all()


def test_the_report_says_what_the_records_say(run):
    found = {file.name for file in run.directory.iterdir()}
    figures = {f"{name}.{suffix}" for name in ("dead", "faint", "test_loss") for suffix in report.FORMATS}
    assert found >= figures | {"report.md", "summary.json", "units.csv", "layers.tex"}
    text = (run.directory / "report.md").read_text()
    assert "# The family of ReLU - SYNTHETIC IMAGES, NOT MNIST" in text
    with (run.directory / "units.csv").open() as file:
        row = list(csv.DictReader(file))[1]
    assert (row["activation"], row["rate"]) == ("Parametric ReLU", "1")
    share = (run.records["steepest"].sel(learning_rate=1.0).isel(look=-1) == 0).mean()
    assert float(row["dead"]) == pytest.approx(float(share))
    said = json.loads((run.directory / "summary.json").read_text())["statements"]
    assert [one["verdict"] for one in said] == [one.verdict for one in ReluFamily.statements(run)]
