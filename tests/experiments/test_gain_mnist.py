"""Deep networks are trained as their settings say, and the phase diagram by depth finds windows that are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.problems.mnist import deep
from experiments.studies.gain_mnist import (
    COMPENSATED,
    FROZEN,
    LEARNED,
    TRAINED,
    GainMnist,
    collapses,
    learnings,
    training,
    windows,
)
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue
from paramact_jax.datasets import synthetic_mnist
from paramact_jax.networks import forward
from paramact_jax.sweeps import trial_key
from paramact_jax.training import cross_entropy

pytestmark = pytest.mark.usefixtures("unoptimised")

SIZES = 6, 5, 4, 3
"""Pixels, width, depth, classes."""
RECORD = catalogue.get("ppns")


def unstacked(params):
    """The same network as `networks.forward` takes it."""
    held, depth = params["held"], SIZES[2]
    kernels = [params["first"]["kernel"], *(params["hidden"]["kernel"] / held)]
    biases = [params["first"]["bias"], *params["hidden"]["bias"]]
    hidden = {
        i: {
            "linear": {"kernel": kernels[i], "bias": biases[i]},
            "activation": {name: x[i] for name, x in params["activation"].items()},
        }
        for i in range(depth)
    }
    return {"hidden": hidden, "out": {"kernel": params["out"]["kernel"] / held, "bias": params["out"]["bias"]}}


@pytest.mark.parametrize("compensated", [False, True])
def test_a_deep_network_is_the_perceptron_of_the_same_params(compensated):
    @jax.jit
    def both():
        params = deep.initial(RECORD, jax.random.key(0), SIZES, 5.0, 1.2, compensated)
        images = jax.random.normal(jax.random.key(1), (7, SIZES[0]))
        return params, deep.network(RECORD, params, images), forward(unstacked(params), images, RECORD)

    params, ours, theirs = both()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(params["activation"]["a"], 5.0)
    assert params["hidden"]["kernel"].std() == pytest.approx(1.2 / 5**0.5 * (5.0 if compensated else 1.0), rel=0.2)


@functools.cache
def of_four_layers():
    """Compiles start, step and gradient of a training; and its images."""
    digits = synthetic_mnist(30, 10)
    study = GainMnist(width=5, batch=30, steps=1, learning_rate=0.1, activations=("ppns",), depths=(4,))
    whole = training("ppns", 4, study=study, digits=digits)
    data = {
        f"{a}_{b}": jnp.asarray(getattr(digits, f"{a}_{b}")) for a in ("train", "test") for b in ("images", "labels")
    }

    def loss(params):
        return cross_entropy(forward(params, data["train_images"], RECORD), data["train_labels"])

    return jax.jit(whole.init), jax.jit(whole.step), jax.jit(jax.grad(loss)), data


@pytest.mark.parametrize(("compensated", "learned"), [*TRAINED, (True, True)])
def test_a_step_is_that_of_the_arm(compensated, learned):
    """W of layers 2 to the output at eta or eta / a0^2, W of layer 1 and all biases at eta, a and b at eta or kept."""
    with jax.enable_x64(True):
        init, step, gradient_of, data = of_four_layers()
        state = init(trial_key(3), data, 1.2, 0.8, compensated)
        after = step(state, 0, data, learned, 0.1)
        before, a0 = unstacked(state.params), 1.2 * 4 / 0.8
        gradient, found = gradient_of(before), unstacked(after.params)

        def expected(path, x, slope):
            *layer, part, name = (entry.key for entry in path)
            if part == "activation":
                return x - 0.1 * learned * slope
            return x - 0.1 * slope / (a0**2 if compensated and name == "kernel" and layer[:2] != ["hidden", 0] else 1)

        wanted = jax.tree_util.tree_map_with_path(expected, before, gradient)
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9), found, wanted)
    assert (np.asarray(after.params["activation"]["a"]) == a0).all() != learned


SCALES = [0.5, 0.7, 0.9, 1.1, 1.5, 2.0]


def run_of(lower, *, upper=1.7, seeds=4, weight_stds=(0.75, 1.5), of_std=0.0, of_learning=0.0):
    """A run in which networks reach 0.9 between two scales and 0.1 elsewhere, with slopes between the scales."""
    records = xr.Dataset(
        coords={
            "activation": ["ppns"],
            "depth": [8, 16, 32, 64],
            "arm": [FROZEN, LEARNED, COMPENSATED],
            "scale": SCALES,
            "weight_std": list(weight_stds),
            "seed": np.arange(seeds),
        }
    )
    scale, depth = records["scale"] * (1 + 0.002 * records["seed"]), records["depth"]
    rise = 1 / (1 + (scale / lower(depth)) ** -40)
    fall = 1 / (1 + (scale / upper) ** 40)
    accuracy = 0.1 + 0.8 * rise * fall + of_std * records["weight_std"] + of_learning * (records["arm"] == LEARNED)
    grid = accuracy + xr.zeros_like(records["weight_std"]) + 0 * (records["activation"] == "ppns")
    records = records.assign(test_accuracy=grid.transpose(*records.coords)).assign_attrs(source="made up", synthetic=0)
    config = {"width": 64, "steps": 300, "batch": 32, "learning_rate": 0.02, "scored": 2_000}
    return Run(None, records, {"experiment": "gain-mnist", "config": config})


def closing(depth):
    """Where the depth is six depth scales, if q* = 0: log chi = 2 log scale = -6 / depth."""
    return np.exp(-3 / depth)


def test_the_edges_of_the_window_are_where_the_accuracy_crosses_a_half():
    found = {(one.depth, one.side): one for one in windows(run_of(closing)) if one.arm == FROZEN}
    for depth in (8, 16, 32, 64):
        lower, upper = found[depth, "lower"], found[depth, "upper"]
        assert lower.theory == pytest.approx(closing(depth), rel=0.02)
        assert lower.at == pytest.approx(closing(depth), rel=0.1)  # between two scales of the grid
        assert lower.interval[0] < lower.at < lower.interval[1]
        assert lower.networks == upper.networks == 8
        assert upper.at == pytest.approx(1.7, rel=0.1)
        assert upper.theory > 1
    never = windows(run_of(lambda depth: 5.0 + 0 * depth))[0]
    assert np.isnan(never.at)
    assert never.networks == 0
    assert never.interval is None


def verdicts(run):
    return {one.text: one.verdict for one in GainMnist.statements(run)}


def test_statements_can_turn_out_either_way():
    right = verdicts(run_of(closing, of_learning=0.05))
    assert set(right.values()) == {"true"}
    wrong = verdicts(run_of(lambda depth: 1.0 + 0 * depth, of_std=0.2, of_learning=-0.05))
    assert wrong["the window of PPNS closes with depth"] == "false"
    assert wrong["PPNS learns from where the depth is 6 depth scales"] == "false"
    assert wrong["at rates eta/a0^2 only a0 sigma_w matters to PPNS"] == "false"
    assert wrong["learning a and b helps PPNS at 64 layers"] == "false"
    nothing = verdicts(run_of(lambda depth: 5.0 + 0 * depth))
    assert nothing["PPNS learns from where the depth is 6 depth scales"] == "undecided"


def test_collapse_and_learning_are_differences_of_means():
    run = run_of(closing, of_std=0.1, of_learning=0.03)
    for one in collapses(run):
        assert one.difference == pytest.approx(0.075)  # 0.1 times the difference of the two sigma_w
        assert one.spread > 0.3
    for one in learnings(run):
        assert one.comparison.difference == pytest.approx(0.03)
    assert collapses(run_of(closing, weight_stds=(1.0,))) == []


def test_report(tmp_path):
    run = run_of(closing)
    run = run_directory.write(
        tmp_path / "run", run.records, experiment="gain-mnist", config=run.manifest["config"], seconds={}
    )
    report.make(GainMnist, [run])
    text = (run.directory / "report.md").read_text()
    assert "PPNS, a frozen, learns from these a0 sigma_w / critical on: 0." in text
    assert "Schoenholz 2017" in text
    assert (run.directory / "phases.png").stat().st_size > 10_000
