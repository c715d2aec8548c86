"""`crossing` trains what its ways say, and chooses learning rates on other seeds than it measures on."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.problems.xor10.train import initial_params, settings_of
from experiments.studies import gain
from experiments.studies.crossing import BEST, HELPED, OTHERWISE, Crossing, network, others, rescues, scaled, training
from experiments.study import report, run_directory
from experiments.study.options import check_options
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.sweeps import trial_key

SMALL = Crossing(depth=2, sgd_rates=(0.02, 0.05), adam_rates=(0.001, 0.01))
INPUTS, TARGETS = xor()
CRITICAL = 4.0  # of PPNS


@functools.cache
def compiled(way):
    """Compiles the start, the step and the results of a training."""
    own = training("ppns", way, study=SMALL)
    return jax.jit(own.init), jax.jit(own.step), jax.jit(own.summarise)


def trained(way, steps=40, seed=3, start=0.75, multiple=1.0, rate=1):
    """States at the start and the end, and the results."""
    init, step, summarise = compiled(way)
    last = first = init(trial_key(seed), start)
    for _ in range(steps):
        last = step(last, multiple, rate)
    return first, last, summarise(last)


def scales(state):
    return np.stack([np.asarray(layer["activation"]["a"]) for layer in state["params"]["hidden"].values()])


def test_a_of_each_node_under_gradient_descent_is_the_training_of_the_phase_diagram():
    own = gain.training("ppns", depth=2)
    state = jax.jit(own.init)(trial_key(3), jnp.asarray(0.75), jnp.asarray(1.0))
    settings = settings_of(gain.Gain().protocol())
    step = jax.jit(lambda state: own.step(state, jnp.asarray(0.75), False, True, settings))
    for _ in range(40):
        state = step(state)
    _, last, results = trained("node a sgd")
    for ours, theirs in zip(jax.tree.leaves(last["params"]), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(results["end"], np.sqrt((scales(last) ** 2).mean()) / CRITICAL, rtol=1e-6)


QUICK = ("node a sgd", "layer a sgd", "network a sgd", "node log-a sgd", "node a adam", "network log-a adam")
"""Ways that together have every kind of sharing, of what is learned and of optimiser."""


@pytest.mark.parametrize("way", [pytest.param(w, marks=() if w in QUICK else pytest.mark.slow) for w in HELPED])
def test_multiple_0_keeps_a_at_its_start(way):
    first, last, results = trained(way, multiple=0.0, steps=3)
    np.testing.assert_array_equal(scales(first), scales(last))
    np.testing.assert_allclose(results["end"], 0.75, rtol=1e-6)
    np.testing.assert_allclose(scales(first), math.log(3.0) if "log-a" in way else 3.0, rtol=1e-6)


@jax.jit
def gradient_of_nodes(params):
    """Returns the gradient where every node has a scale of its own."""
    return jax.grad(
        lambda p: 0.5 * jnp.mean((network(p, INPUTS, catalogue.get("ppns"), "node", False) - TARGETS) ** 2)
    )(params)


@pytest.mark.parametrize(("who", "axis"), [("node", None), ("layer", 1), ("network", (0, 1))])
def test_a_shared_a_moves_by_the_gradient_of_all_who_share_it(who, axis):
    first, last, _ = trained(f"{who} a sgd", steps=1, multiple=10.0)
    of_nodes = scales({"params": gradient_of_nodes(first["params"])})
    wanted = of_nodes if axis is None else np.broadcast_to(of_nodes.sum(axis=axis, keepdims=True), of_nodes.shape)
    moved = scales(first) - scales(last)
    shared = moved if axis is None else np.broadcast_to(moved.mean(axis=axis, keepdims=True), moved.shape)
    np.testing.assert_allclose(shared, 10 * 0.05 * wanted, rtol=1e-3)


def test_the_logarithm_moves_by_a_times_the_gradient():
    (first, last, _), (plain, moved, _) = (trained(f"node {what} sgd", steps=1) for what in ("log-a", "a"))
    by_logarithm, by_a = scales(first) - scales(last), scales(plain) - scales(moved)
    np.testing.assert_allclose(by_logarithm, 3.0 * by_a, rtol=1e-3)


def test_the_first_step_of_adam_is_the_learning_rate():
    first, last, _ = trained("node a adam", steps=1, multiple=10.0, rate=0)
    np.testing.assert_allclose(abs(scales(first) - scales(last)), 10 * 0.001, rtol=0.02)
    kernel, then = (x["params"]["hidden"][1]["linear"]["kernel"] for x in (first, last))
    np.testing.assert_allclose(abs(kernel - then), 0.001, rtol=0.02)


@functools.partial(jax.jit, static_argnames="who")
def drawn(seed, who=None):
    """Initial params of four layers, scaled as `who` says."""
    ppns, own = catalogue.get("ppns"), {"a": jnp.asarray(1.0), "b": jnp.asarray(0.0)}
    std = {"weight": jnp.asarray(1.0), "bias": jnp.asarray(0.0)}
    params = initial_params(ppns, trial_key(seed), std, own, depth=4)
    return params if who is None else scaled(params, ppns, who, CRITICAL)


def test_orthogonal_weights_of_the_critical_scale():
    determinants = []
    for seed in range(8):
        for layer in drawn(seed, "orthogonal")["hidden"].values():
            kernel = np.asarray(layer["linear"]["kernel"]) / CRITICAL
            np.testing.assert_allclose(kernel @ kernel.T, np.eye(2), atol=1e-6)
            determinants.append(round(float(np.linalg.det(kernel))))
    assert set(determinants) == {-1, 1}


def test_lsuv_gives_every_layer_a_variance_of_1():
    params, z = drawn(1, "lsuv"), INPUTS
    for layer in params["hidden"].values():
        y = z @ np.asarray(layer["linear"]["kernel"])
        assert y.var() == pytest.approx(1, rel=0.02)
        z = 1 / (1 + np.exp(-y)) - 0.5


@pytest.mark.parametrize("who", ["norm", "residual"])
def test_networks_that_are_built_otherwise(who):
    params, z = drawn(2), INPUTS
    for layer in params["hidden"].values():
        y = z @ np.asarray(layer["linear"]["kernel"])
        if who == "norm":
            y = (y - y.mean(axis=0)) / np.sqrt(y.var(axis=0) + 1e-5)
        f = 1 / (1 + np.exp(-y)) - 0.5
        z = z + f if who == "residual" else f
    wanted = z @ np.asarray(params["out"]["kernel"])
    found = jax.jit(lambda params: network(params, INPUTS, catalogue.get("ppns"), who, False))(params)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def run_of(shares, other=0.25, seeds=40):
    """A run in which, in each half of the seeds, the first trials converge, as many as `shares` says."""
    coords = {
        "activation": ["ppns"],
        "way": list(HELPED),
        "start": [0.5, 1.0],
        "multiple": [0.0, 1.0, 10.0],
        "rate": [0, 1],
        "seed": np.arange(seeds),
    }
    grid = xr.Dataset(coords=coords)
    rank = xr.DataArray(
        (np.arange(seeds) % (seeds // 2) + 0.5) / (seeds // 2), dims="seed", coords={"seed": np.arange(seeds)}
    )
    wanted = xr.zeros_like(
        xr.broadcast(*(grid[name] for name in coords if name not in ("activation", "way")))[0], float
    )
    wanted = wanted.expand_dims(activation=coords["activation"], way=coords["way"]).copy()
    for where, share in shares:
        wanted.loc[where] = share
    records = xr.Dataset(
        {
            "final_loss": xr.where(rank < wanted, 0.0, 1.0),
            "end": xr.full_like(wanted, 1.25),
            "other_final_loss": xr.where(rank < other, 0.0, 1.0).expand_dims(
                activation=["ppns"], other=list(OTHERWISE), rate=[0, 1]
            ),
            "sgd_rate": ("rate", [0.015, 0.05]),
            "adam_rate": ("rate", [0.0005, 0.005]),
        },
        attrs={"threshold": 1e-3},
    )
    return Run(None, records, {"experiment": "crossing", "config": {"depth": 10, "steps": 10_000}})


def test_the_best_rates_and_way_are_found_and_measured():
    best = {"way": "layer a adam", "start": 0.5, "multiple": 10.0, "rate": 1}
    run = run_of([({"multiple": 0.0}, 0.1), ({"way": "node a sgd", "multiple": 1.0, "start": 0.5}, 0.3), (best, 0.8)])
    found = {(one.way, one.start): one for one in rescues(run)}
    assert len(found) == 2 * (len(HELPED) + 1)
    chosen = found["layer a adam", 0.5]
    assert (chosen.frozen, chosen.learned, chosen.end) == (0.1, 0.8, 1.25)
    assert chosen.chosen == "rate 0.005, of a 10 times"
    assert found[BEST, 0.5].chosen == "a of each layer, Adam, rate 0.005, of a 10 times"
    assert found[BEST, 0.5].learned == 0.8
    assert found["node a sgd", 0.5].learned == 0.3
    assert found[BEST, 1.0].learned == 0
    assert math.isnan(found[BEST, 1.0].end)


def test_what_is_best_by_chance_on_the_first_half_does_not_count_on_the_second():
    run = run_of([])
    lucky = {"way": "node a sgd", "start": 0.5, "multiple": 1.0, "rate": 0, "seed": slice(0, 19)}
    run.records["final_loss"].loc[lucky] = 0.0
    assert {one.learned for one in rescues(run)} == {0.0}


def test_without_frozen_trials_there_is_no_share_of_them():
    run = run_of([({"multiple": 0.0}, 0.5)])
    without = Run(None, run.records.sel(multiple=[1.0, 10.0]), run.manifest)
    assert all(math.isnan(one.frozen) for one in rescues(without))
    alone = Run(None, run.records.sel(multiple=[0.0]), run.manifest)
    assert rescues(alone) == []


def test_report(tmp_path):
    shares = [({"way": "layer a adam", "start": 0.5, "multiple": 10.0}, 1.0)]
    run = run_of(shares)
    assert {one.share for one in others(run)} == {0.25}
    run = run_directory.write(
        tmp_path / "run", run.records, experiment="crossing", config=run.manifest["config"], seconds={}
    )
    report.make(Crossing, [run])
    text = (run.directory / "report.md").read_text()
    assert (
        "PPNS: with the best help of learning, more than half of the trials converge from 0.5 of the critical" in text
    )
    (line,) = [line for line in text.splitlines() if line.startswith("| ours")]
    assert "| true |" in line
    assert "batch normalisation, Adam" in text
    assert (run.directory / "multiples.png").stat().st_size > 10_000


def test_rates_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="--adam-rates: expected 2 rates, as many as --sgd-rates"):
        Crossing(adam_rates=(0.1,)).check(None)
    with pytest.raises(ValueError, match="--activations: expected activations with a parameter a, got relu"):
        check_options(Crossing(activations=("relu",)))
