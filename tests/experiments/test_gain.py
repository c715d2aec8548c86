"""The phase diagram trains what its arms say, and finds boundaries, collapses and effects that are known."""

import functools
import math

import jax
import numpy as np
import pytest
import xarray as xr

from experiments.problems.xor10.train import initial_params, settings_of
from experiments.studies.gain import (
    ARMS,
    GRID,
    Gain,
    boundaries,
    collapses,
    half_at,
    learnings,
    starts,
    theory_lines,
    training,
    unit_of,
)
from experiments.study import report, run_directory
from experiments.study.run_directory import Run
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.sweeps import long_sweep, trial_key

pytestmark = pytest.mark.usefixtures("unoptimised")

FUNCTIONS = {
    "ppns": (lambda y: 1 / (1 + np.exp(-y)) - 0.5, lambda y: np.exp(-y) / (1 + np.exp(-y)) ** 2),
    "parametric_tanh": (np.tanh, lambda y: 1 - np.tanh(y) ** 2),
}


@functools.cache
def drawing(activation, depth):
    """Compiles the drawing of the initial params of a trial, with weights of this deviation."""
    record = catalogue.get(activation)
    return jax.jit(
        lambda key, std: initial_params(record, key, {"weight": std, "bias": 0 * std}, record.params, depth=depth)
    )


def in_numpy(activation, seeds, gain, weight_std, compensated, learned, *, depth, steps, eta=0.05, drawn_in=np.float64):
    """Losses after so many steps of the trials of a cell: gradients by hand, float64, W, w0, a, b as in [P, eq. 7-12].

    Of all trials at once: weights (trials, from, to), all others (trials, to).
    """
    f, slope = FUNCTIONS[activation]
    start = gain * unit_of(catalogue.get(activation))
    with jax.enable_x64(drawn_in == np.float64):
        draw = drawing(activation, depth)
        drawn = [jax.device_get(draw(trial_key(seed), drawn_in(weight_std / math.sqrt(2)))) for seed in seeds]
    layers = [one["hidden"] for one in drawn]
    kernels = [np.stack([own[i]["linear"]["kernel"] for own in layers]).astype(float) for i in range(depth)]
    kernels.append(np.stack([one["out"]["kernel"] for one in drawn]).astype(float))
    biases = [np.zeros((len(seeds), 2)) for _ in range(depth)] + [np.zeros((len(seeds), 1))]
    a = [np.full((len(seeds), 2), start) for _ in range(depth)]
    b = [np.zeros((len(seeds), 2)) for _ in range(depth)]
    inputs, targets = (x.astype(np.float64) for x in xor())
    rates = [eta] + [eta / start**2 if compensated else eta] * depth
    for step in range(steps + 1):
        z, ys = [np.broadcast_to(inputs, (len(seeds), 4, 2))], []
        for i in range(depth):
            ys.append(z[-1] @ kernels[i] + biases[i][:, None] - b[i][:, None])
            z.append(a[i][:, None] * f(ys[-1]))
        error = z[-1] @ kernels[-1] + biases[-1][:, None] - targets
        if step == steps:
            return (error**2).mean(axis=(1, 2))
        delta = error / 4  # of half the mean squared error
        for i in reversed(range(depth + 1)):
            back = delta @ kernels[i].transpose(0, 2, 1)
            kernels[i] = kernels[i] - rates[i] * z[i].transpose(0, 2, 1) @ delta
            biases[i] = biases[i] - eta * delta.sum(axis=1)
            if i:
                own = back * a[i - 1][:, None] * slope(ys[i - 1])
                if learned:
                    a[i - 1] = a[i - 1] - eta * (back * f(ys[i - 1])).sum(axis=1)
                    b[i - 1] = b[i - 1] + eta * own.sum(axis=1)
                delta = own
    raise AssertionError


def swept(activation, seeds, gains, weight_stds, *, depth, steps, **options):
    return long_sweep(
        training(activation, depth=depth),
        seeds,
        iterations=steps,
        axes={"compensated": (False, True), "learned": (False, True), "gain": gains, "weight_std": weight_stds},
        settings=settings_of(Gain().protocol()),
        **options,
    )


@pytest.mark.parametrize("activation", ["ppns", pytest.param("parametric_tanh", marks=pytest.mark.slow)])
def test_every_arm_is_the_training_written_out_in_numpy(activation):
    with jax.enable_x64(True):
        found = swept(activation, range(3), GRID[9::6], (1.2,), depth=2, steps=150, stop_every=150)
    assert found["loss"].dtype == np.float64
    for arm in ARMS:
        for gain in found["gain"].values:
            own = found.sel(compensated=arm[0], learned=arm[1], gain=gain).isel(weight_std=0)
            ours = in_numpy(activation, range(3), gain, 1.2, *arm, depth=2, steps=150)
            np.testing.assert_allclose(own["loss"], ours, rtol=1e-5)  # of 150 steps that magnify roundings
            assert (own["growth"] != 1).all() == arm[1]
    assert len(np.unique(found["loss"].sel(gain=GRID[15]).values)) == 12


@pytest.mark.slow
def test_three_cells_of_the_diagram_are_those_of_the_loop_in_numpy():
    """From the same weights. Trials fork by one rounding, so that counts are compared; of 64 trials 7 may differ."""
    seeds, cells = range(64), ((0.75, 1.0), (1.0, 1.0), (1.5, 1.0))
    found = swept("ppns", seeds, [gain for gain, _ in cells], (1.0,), depth=10, steps=4_000, stop_every=500)
    for arm in ((False, False), (False, True)):
        for gain, std in cells:
            own = found.sel(compensated=arm[0], learned=arm[1], gain=gain, weight_std=std)
            theirs = in_numpy("ppns", seeds, gain, std, *arm, depth=10, steps=4_000, drawn_in=np.float32) < 1e-3
            assert abs(int((own["loss"] < 1e-3).sum()) - int(theirs.sum())) <= 7


def run_of(shares, *, seeds=200, gains=GRID, weight_stds=GRID, learned=0.0):
    """A run in which a trial converges where its rank among the seeds is below the share of its product."""
    records = xr.Dataset(
        coords={
            "activation": ["ppns"],
            "compensated": [False, True],
            "learned": [False, True],
            "gain": list(gains),
            "weight_std": list(weight_stds),
            "seed": np.arange(seeds),
        }
    )
    wanted = shares(records["gain"] * 4, records["weight_std"]) + learned * records["learned"]
    rank = xr.DataArray((np.arange(seeds) * 37 % seeds + 0.5) / seeds, dims="seed")
    grid = xr.broadcast(wanted, records["activation"], records["compensated"], records["learned"])[0]
    loss = xr.where(rank < grid, 0.0, 1.0).transpose(*records.coords)
    records = records.assign(final_loss=loss, growth=xr.ones_like(loss)).assign_attrs(threshold=1e-3)
    config = {"depth": 10, "steps": 10_000, "learning_rate": 0.05}
    return Run(None, records, {"experiment": "gain", "config": config})


def of_product(gain, std):
    """Half at a product of 5."""
    return 1 / (1 + (gain * std / 5.0) ** -6)


def test_the_boundary_is_where_half_of_the_trials_converge():
    found = boundaries(run_of(of_product))
    assert [one.theory for one in found] == pytest.approx([4.0] * 4)
    assert [one.at for one in found] == pytest.approx([5.0] * 4, rel=0.02)
    for one in found:
        assert one.interval[0] <= one.at <= one.interval[1] < 1.1 * one.interval[0]
        assert 4.8 < one.smallest <= one.largest < 5.2
        assert one.scales == 15  # the smallest needs an a0 beyond the grid


def test_no_boundary_is_found_where_there_is_none():
    for constant in (0.0, 1.0):
        (one, *_) = boundaries(run_of(lambda gain, std, constant=constant: 0 * gain * std + constant))
        assert math.isnan(one.at)
        assert one.scales == 0
    assert np.isnan(half_at(np.array([[0.7], [0.2], [0.9]]), np.array([1.0, 2.0, 4.0]))).all()


def test_only_a_share_that_depends_on_the_product_alone_collapses():
    (one, *_) = collapses(run_of(of_product))
    assert one.deviation < 1e-6 < one.chance < 0.03 < 0.3 < one.spread
    (other, *_) = collapses(run_of(lambda gain, std: 1 / (1 + (gain / 5.0) ** -6) + 0 * std))
    assert other.excess > 0.2
    (alone, *_) = collapses(run_of(of_product, weight_stds=(1.0,)))
    assert math.isnan(alone.deviation)


def test_the_effect_of_learning_is_a_difference_on_equal_seeds():
    found = {(one.compensated, one.where): one for one in learnings(run_of(of_product, learned=0.2))}
    ordered = found[False, "ordered"]
    assert ordered.cells == np.sum(4 * np.outer(GRID, GRID) < 4)
    assert ordered.difference == pytest.approx(0.2, abs=0.006)
    assert ordered.interval[0] < 0.2 < ordered.interval[1]
    assert ordered.rescued == 0  # its cells reach 30 %
    assert 0 < found[True, "chaotic"].rescued < 1
    assert found[False, "best cell"].difference < 0.02  # nearly all converge there as it is


def test_the_critical_start_beside_that_of_the_paper():
    first, second = starts(run_of(of_product, learned=0.1))
    assert (first.arm, second.arm) == ("a frozen, eta", "a learned, eta")
    assert first.critical == pytest.approx(1 / (1 + 0.8**-6), abs=0.006)  # at products of 4 and 6
    assert first.published == pytest.approx(1 / (1 + 1.2**-6), abs=0.006)
    assert first.interval[0] < first.difference < first.interval[1] < 0
    assert second.critical == pytest.approx(first.critical + 0.1, abs=0.006)
    assert starts(run_of(of_product, weight_stds=(0.9,))) == []
    assert starts(run_of(of_product, gains=(0.5, 0.9, 1.5))) == []


def test_lines_of_theory():
    lines = theory_lines("ppns", 10, 0.5, 40.0)
    assert lines["chi = 1"] == pytest.approx([4.0])
    ordered, chaotic = lines["depth = 6 depth scales"]
    assert ordered == pytest.approx(4 * math.exp(-0.3), rel=0.01)  # q* = 0: chi = (a0 sigma_w / 4)^2
    assert 11 < chaotic < 12  # its depth scale there is 10 / 6
    with_relu = theory_lines("parametric_relu", 10, 0.2, 10.0)["depth = 6 depth scales"]
    assert with_relu == pytest.approx([math.sqrt(2) * math.exp(-0.3), math.sqrt(2) * math.exp(0.3)], rel=0.01)


def test_report(tmp_path):
    run = run_of(of_product, learned=0.1, seeds=20)
    run = run_directory.write(
        tmp_path / "run", run.records, experiment="gain", config=run.manifest["config"], seconds={}
    )
    report.make(Gain, [run])
    text = (run.directory / "report.md").read_text()
    assert "half of the trials converge from a0 sigma_w = 5.0" in text
    assert "| Schoenholz 2017 | half of the trials of PPNS converge where chi = 1 | within a factor of 1.25 |" in text
    for name in ("phase_diagram", "phases", "collapse"):
        assert (run.directory / f"{name}.png").stat().st_size > 10_000
