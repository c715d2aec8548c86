"""Which start value a0 does an activation need, and is the rest of its effect learning? A phase diagram on XOR(10).

A network whose a is held at a0 is the network of f itself, with the weights of layers 2 to the output a0 times as large
and their learning rates a0^2 times as large. So three things change with a0: the scale of the network, its learning
rates, and whether a and b are learned. This study separates them. Networks are trained from 16 start values and 16
scales of the weights, with a and b frozen or learned, and with learning rates as they are or compensated, divided by
a0^2 in the layers that a0 scales. Mean-field theory says where the gradient neither vanishes nor explodes: where chi,
the factor of its mean square in a layer, is 1 (`activations.critical_gain`).

Result: half of the trials of PPNS converge where a0 sigma_w is 3.59 (theory: 4), of Parametric Tanh where it is 0.92
(theory: 1). At compensated rates the product a0 sigma_w alone decides. Learning a and b instead of keeping them changes
the share of trials that converge by 1 to 3 points.

References:
  Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli, Exponential expressivity in deep neural networks through transient
  chaos, 2016. Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, Deep information propagation, 2017.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.problems.xor10.protocol import DONE, HIDDEN_LAYERS, PROTOCOLS, STOP_EVERY, WIDTH, Protocol, label_of
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import Count, Out, Positives, Rate, ScaledActivations, SeveralSeeds, Steps
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table, with_interval

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

    from experiments.problems.xor10.train import initial_params, settings_of
    from experiments.study.run_directory import Run
    from paramact_jax.activations import Activation, catalogue, critical_gain
    from paramact_jax.activations.parametric import INITIAL_STEEPEST_SLOPE
    from paramact_jax.datasets import xor
    from paramact_jax.figures.colours import COLOURS
    from paramact_jax.networks import Params, forward
    from paramact_jax.sweeps import Training
    from paramact_jax.training import Settings, State, final, gradient_descent, start

RATIO = 1.5 ** (1 / 3)
GRID = tuple(round(RATIO**i, 6) for i in range(-7, 9))
"""From 0.39 to 2.95, with 1, and with 1.5 as in [P]. Neighbours have equal ratios, so that products repeat."""
AT_ONCE = 8_192
HALF = 0.5
RESAMPLES = 1_000
TRAINABLE = 6
"""A network is trainable up to about this number of depth scales [Schoenholz 2017, Fig. 5]."""
NEAR = 1.25
"""Theory is called right where half of the trials converge within this factor of it."""
WITHIN = f"within a factor of {NEAR:g}"
COLLAPSED = 0.05
"""Cells of equal a0 sigma_w are alike if the root mean square deviation of their shares beyond chance is less."""
ARMS = tuple(itertools.product((False, True), (False, True)))
"""The arms of the study: whether rates are compensated, and whether a and b are learned."""


def arm_of(compensated: bool, learned: bool) -> str:
    """Names an arm.

    Examples:
      >>> arm_of(True, False)
      'a frozen, eta/a0^2'
    """
    return f"a {'learned' if learned else 'frozen'}, {'eta/a0^2' if compensated else 'eta'}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain(Study):
    """Which start value a0 does an activation need, and is the rest learning? A phase diagram of a0 and the weights.

    Trains networks on XOR(10) from 16 start values of a and 16 scales of the weights, a and b frozen or learned,
    learning rates as they are or divided by a0^2 where a0 scales the weights. About 8 minutes on 2 cores. Writes
    runs/gain-DATE-TIME/: records, summary, report, tables, figures.
    Example: python -m experiments gain --activations ppns --seeds 64
    """

    name: ClassVar[str] = "gain"
    heading: ClassVar[str] = "Which gain? A phase diagram"

    activations: ScaledActivations = ("ppns", "parametric_tanh", "parametric_sigmoid", "parametric_relu")
    """Names of activations with a scale a."""
    gains: Positives = GRID
    """Start values a0, in units of 1 / steepest slope of f; [P] has 1.5."""
    weight_stds: Positives = GRID
    """Standard deviations of the weights, sigma_w, in units of 1 / sqrt(fan_in)."""
    seeds: SeveralSeeds = 256
    """Trials of each cell under each arm, on the same seeds."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    depth: Count = HIDDEN_LAYERS
    """Hidden layers."""
    steps: Steps = 10_000
    """Full-batch updates."""
    learning_rate: Rate = PROTOCOLS["recovered"].learning_rate
    """eta, of all parameters."""
    out: Out = None

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all cells under all arms in one sweep, with a program for each activation."""
        found = work.sweep(
            self,
            functools.partial(training, depth=self.depth),
            self.activations,
            directory="cells",
            static_axes={"activation": self.activations},
            axes={
                "compensated": (False, True),
                "learned": (False, True),
                "gain": self.gains,
                "weight_std": self.weight_stds,
            },
            settings=settings_of(self.protocol()),
            chunk=AT_ONCE,
            stop_every=min(STOP_EVERY, self.steps),
        )
        variables = {
            "final_loss": Variable("loss", "mean squared error over the 4 points after the last update"),
            "reached_at": Variable("reached_at", "updates made when first below the threshold; -1: never"),
            "growth": Variable("growth", "root mean square of all learned a, divided by a0"),
        }
        return described(found, variables, {}, {"problem": "xor10", "threshold": PROTOCOLS["recovered"].threshold})

    def protocol(self) -> Protocol:
        """Returns the conditions of `xor10` that all cells share."""
        eta = self.learning_rate
        return dataclasses.replace(PROTOCOLS["recovered"], learning_rate=eta, activation_learning_rate=eta)

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says where half of the trials converge, and where the boundary lies in theory."""
        found = [one for one in boundaries(run) if one.arm == arm_of(*ARMS[0])]
        return " ".join(
            f"{label_of(one.activation)}, a frozen: half of the trials converge from a0 sigma_w = {one.at:.2f}; "
            f"chi = 1 at {one.theory:.2f}."
            for one in found
            if math.isfinite(one.at)
        )

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the boundary, whether the product alone decides, and the effect of learning."""
        yield "boundary", boundary_table(run)
        yield "collapse", collapse_table(run)
        yield "learning", learning_table(run)
        if compared := starts(run):
            yield "starts", starts_table(run, compared)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the phase diagrams, and the shares against the product."""
        yield "phase_diagram", _phases(run, ARMS[:1])
        yield "phases", _phases(run, ARMS)
        yield "collapse", _collapse(run)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what theory says, and what learning adds."""
        for line in boundaries(run):
            if line.arm != arm_of(*ARMS[0]):
                continue
            text, criterion = f"half of the trials of {label_of(line.activation)} converge where chi = 1", WITHIN
            if not line.scales:
                yield Statement("Schoenholz 2017", text, criterion, judged(None), "half of them converge nowhere")
                continue
            low, high = (end / line.theory for end in line.interval)
            measured = f"a0 sigma_w = {line.at:.3g}, theory {line.theory:.3g}"
            near = judged(low >= 1 / NEAR and high <= NEAR)
            yield Statement("Schoenholz 2017", text, criterion, near, measured, line.at / line.theory, (low, high))
        for one in collapses(run):
            if one.arm == arm_of(*ARMS[2]):
                text = f"at rates eta/a0^2 only a0 sigma_w matters to {label_of(one.activation)}"
                criterion = f"shares deviate by less than {COLLAPSED:g} where it is equal, and by more over all cells"
                measured = f"{one.deviation:.3f}, of it by chance {one.chance:.3f}; over all cells {one.spread:.3f}"
                alike = one.excess < COLLAPSED if one.spread > COLLAPSED else None
                yield Statement("ours", text, criterion, judged(alike), measured, one.excess)
        for found in learnings(run):
            if found.where == "best cell" and not found.compensated:
                told = (
                    f"at its best a0 and sigma_w {label_of(found.activation)} gains by learning",
                    "the interval is above 0",
                )
                measured = f"{found.frozen:.1%} frozen, {found.learned:.1%} learned"
                holds = None if found.frozen == found.learned == 0 else found.interval[0] > 0
                yield Statement("ours", *told, judged(holds), measured, found.difference, found.interval)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the numbers of the tables."""
        return {
            "boundaries": boundaries(run),
            "collapses": collapses(run),
            "learning": learnings(run),
            "starts": starts(run),
        }


# -- what is trained ---------------------------------------------------------------------------------------------------


def unit_of(record: Activation) -> float:
    """Returns the start value at which the steepest slope of a f(y - b) is 1."""
    return record.params["a"] / INITIAL_STEEPEST_SLOPE


def training(activation: str, *, depth: int = HIDDEN_LAYERS) -> Training:
    """Returns the training of one trial, at settings `gain`, `weight_std`, `compensated`, `learned` and `settings`.

    Its results are the final `loss`, `reached_at`, and the `growth` of a.
    """
    record = catalogue.get(activation)

    def network(params: Params, inputs: jax.Array) -> jax.Array:
        return forward(params, inputs, record)

    def advance(state: State, gain: jax.Array, compensated: jax.Array, learned: jax.Array, settings: Settings) -> State:
        def rates(params: Params, settings: Settings) -> Params:
            eta, own = jnp.asarray(settings.learning_rate), settings.activation_learning_rate * learned
            scaled = jnp.where(compensated, (gain * unit_of(record)) ** -2, 1.0) * eta

            def rate(path: tuple[Any, ...], _: jax.Array) -> Any:
                *layer, part, name = (key.key for key in path)
                if part == "activation":
                    return own
                return scaled if name == "kernel" and layer[:2] != ["hidden", 0] else eta

            return jax.tree_util.tree_map_with_path(rate, params)

        return gradient_descent(network, *xor(), rates=rates)(state, settings, 1)

    def init(key: jax.Array, gain: jax.Array, weight_std: jax.Array) -> State:
        std = {"weight": weight_std / math.sqrt(WIDTH), "bias": 0.0}
        starts = {name: jnp.asarray(value, float) for name, value in record.params.items()}
        params = initial_params(record, key, std, starts | {"a": gain * unit_of(record)}, depth=depth)
        return start(params)

    def summarise(state: State, gain: Any, compensated: Any, learned: Any, settings: Any) -> dict[str, Any]:
        end = final(state, advance(state, gain, compensated, learned, settings))
        a = jnp.stack([layer["activation"]["a"] for layer in state.params["hidden"].values()])
        growth = jnp.sqrt(jnp.mean((a / (gain * unit_of(record))) ** 2))
        return {"loss": end.loss, "reached_at": end.reached_at, "growth": growth}

    return Training(init, advance, summarise, stop=lambda state: state.loss < DONE)


# -- what the records say ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Boundary:
    """Where half of the trials of an activation converge under an arm.

    Attributes:
      activation: its name.
      arm: see `arm_of`.
      at: a0 sigma_w there, the median over the scales of the weights; NaN where it is nowhere.
      interval: 95 %, bootstrap over the seeds.
      smallest, largest: over the scales of the weights.
      scales: number of scales of the weights that have such a place.
      theory: a0 sigma_w where chi = 1.
    """

    activation: str
    arm: str
    at: float
    interval: tuple[float, float]
    smallest: float
    largest: float
    scales: int
    theory: float


@dataclasses.dataclass(frozen=True)
class Collapse:
    """Whether cells of an equal a0 sigma_w are alike.

    Attributes:
      activation: its name.
      arm: see `arm_of`.
      spread: of the shares of all cells from their mean, root mean square.
      deviation: of the shares from the mean of the cells with the same product, root mean square.
      chance: the same if every cell had other seeds, and nothing else differed.
    """

    activation: str
    arm: str
    spread: float
    deviation: float
    chance: float

    @property
    def excess(self) -> float:
        """The deviation without that by chance."""
        return math.sqrt(max(self.deviation**2 - self.chance**2, 0.0))


@dataclasses.dataclass(frozen=True)
class Learning:
    """What learning a and b adds to the share of trials that converge.

    Attributes:
      activation: its name.
      compensated: the arm's learning rates.
      where: "ordered" (chi < 1), "chaotic" (chi > 1), or "best cell": each arm in its own best cell, found on the
        first half of the seeds and measured on the second.
      cells: number of cells.
      frozen, learned: mean share.
      interval: of the difference, 95 %, bootstrap over the seeds.
      rescued: share of the cells in which fewer than half of the trials converge with a frozen, and half or more with
        a learned.
    """

    activation: str
    compensated: bool
    where: str
    cells: int
    frozen: float
    learned: float
    interval: tuple[float, float]
    rescued: float | None

    @property
    def difference(self) -> float:
        """Learned minus frozen."""
        return self.learned - self.frozen


def converged(records: xr.Dataset) -> xr.DataArray:
    """Tells for each trial whether its final loss is below the threshold."""
    return records["final_loss"] < records.attrs["threshold"]


def products(records: xr.Dataset, activation: str) -> xr.DataArray:
    """Returns a0 sigma_w of every cell."""
    return records["gain"] * unit_of(catalogue.get(activation)) * records["weight_std"]


def half_at(shares: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Returns the smallest gain at which half of the trials converge, along each column; NaN where there is none.

    Interpolated between neighbours, the gain on a logarithmic scale.

    Args:
      shares: of trials that converge, (..., gains, columns).
      gains: ascending.

    Examples:
      >>> half_at(np.array([[0.0, 0.6], [0.25, 0.7], [0.75, 0.8]]), np.array([1.0, 2.0, 8.0]))
      array([ 4., nan])
    """
    logs, above = np.log(gains)[:, None], shares >= HALF
    crossing = above[..., 1:, :] & ~above[..., :-1, :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # between shares that are nearly equal
        part = (HALF - shares[..., :-1, :]) / (shares[..., 1:, :] - shares[..., :-1, :])
        at = np.exp(logs[:-1] + part * (logs[1:] - logs[:-1]))
    first = crossing.argmax(axis=-2)[..., None, :]
    found = np.take_along_axis(at, first, axis=-2)[..., 0, :]
    return np.where(crossing.any(axis=-2) & ~above[..., 0, :], found, np.nan)


def _of_arm(values: xr.DataArray, activation: str, arm: tuple[bool, bool]) -> xr.DataArray:
    own = values.sel(activation=activation, compensated=arm[0], learned=arm[1], drop=True)
    return own.transpose("gain", "weight_std", ...).sortby("gain")


def _resampled(of_seeds: np.ndarray) -> np.ndarray:
    """Returns means over seeds drawn with replacement from the last axis; the draws are the first axis."""
    seeds = of_seeds.shape[-1]
    drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    return np.moveaxis(of_seeds.astype(np.float64) @ drawn.T / seeds, -1, 0)


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    known = resampled[np.isfinite(resampled)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def _arms(run: Run) -> Iterator[tuple[str, str, xr.DataArray]]:
    """Yields the name of every activation and arm, and which of their trials converge (gain, weight_std, seed)."""
    trials = converged(run.records)
    for name, arm in itertools.product(trials["activation"].values.tolist(), ARMS):
        yield name, arm_of(*arm), _of_arm(trials, name, arm)


@once
def boundaries(run: Run) -> list[Boundary]:
    """Finds the boundary of every activation and arm."""
    found = []
    for name, arm, own in _arms(run):
        gains, stds = unit_of(catalogue.get(name)) * own["gain"].values, own["weight_std"].values
        at = half_at(own.values.mean(axis=-1), gains) * stds
        known = at[np.isfinite(at)]
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of columns without a place
            middle = np.nanmedian(half_at(_resampled(own.values), gains) * stds, axis=-1)
        ends = (known.min(), np.median(known), known.max()) if len(known) else [math.nan] * 3
        smallest, median, largest = map(float, ends)
        theory = critical_gain(name).gain
        found.append(Boundary(name, arm, median, _interval(middle), smallest, largest, len(known), theory))
    return found


@once
def collapses(run: Run) -> list[Collapse]:
    """Compares the cells of an equal product, of every activation and arm; NaN where no two cells have the same."""
    found = []
    for name, arm, own in _arms(run):
        shares, seeds = own.values.mean(axis=-1).ravel(), own.sizes["seed"]
        product = (own["gain"] * own["weight_std"]).values.ravel()
        _, kind, cells = np.unique(np.round(np.log(product), 3), return_inverse=True, return_counts=True)
        several = cells[kind] > 1
        mean = np.bincount(kind, shares) / cells
        free = (cells[kind] - 1) / cells[kind]  # of a deviation from a mean that holds the share itself
        squares = (shares - mean[kind])[several] ** 2
        chance = (mean * (1 - mean))[kind][several] / seeds * free[several]
        of_squares = [float(np.mean(x)) if several.any() else math.nan for x in (squares, chance)]
        found.append(Collapse(name, arm, float(shares.std()), *map(math.sqrt, of_squares)))
    return found


@once
def learnings(run: Run) -> list[Learning]:
    """Measures what learning adds, in the ordered phase, the chaotic one and the best cells, at both kinds of rates."""
    found = []
    trials = converged(run.records)
    half = trials.sizes["seed"] // 2
    for name, compensated in itertools.product(trials["activation"].values.tolist(), (False, True)):
        frozen, learned = (
            _of_arm(trials, name, (compensated, learns)).values.astype(np.float64) for learns in (False, True)
        )
        product, theory = products(run.records, name), critical_gain(name).gain
        ordered = product.sortby("gain").transpose("gain", "weight_std").values < theory
        for where, cells in (("ordered", ordered), ("chaotic", ~ordered)):
            if not cells.any():
                continue
            first, second = frozen[cells], learned[cells]
            interval = _interval(_resampled((second - first).mean(axis=0)))
            stuck = first.mean(axis=-1) < HALF
            saved = float((second[stuck].mean(axis=-1) >= HALF).mean()) if stuck.any() else None
            means = float(first.mean()), float(second.mean())
            found.append(Learning(name, compensated, where, int(cells.sum()), *means, interval, saved))
        best = []
        for values in (frozen, learned):
            of_cells = values.reshape(-1, values.shape[-1])
            best.append(of_cells[of_cells[:, :half].mean(axis=-1).argmax(), half:])
        interval, means = _interval(_resampled(best[1] - best[0])), (float(best[0].mean()), float(best[1].mean()))
        found.append(Learning(name, compensated, "best cell", 1, *means, interval, None))
    return found


@dataclasses.dataclass(frozen=True)
class Start:
    """The critical start compared with that of [P], at weights of deviation 1/sqrt(fan_in).

    Attributes:
      activation: its name.
      arm: see `arm_of`.
      critical: share of the trials that converge from the cell nearest the critical gain.
      published: the same from a0 = 1.5 / steepest slope.
      interval: of the first minus the second on equal seeds, 95 %, bootstrap.
    """

    activation: str
    arm: str
    critical: float
    published: float
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """Critical minus published."""
        return self.critical - self.published


@once
def starts(run: Run) -> list[Start]:
    """Compares both starts under every arm with rates eta; none where the grid lacks one of them, or they are equal."""
    found = []
    gains, stds = run.records["gain"].values, run.records["weight_std"].values
    for name in run.records["activation"].values.tolist() if 1 in stds else []:
        wanted = np.array([critical_gain(name).gain / unit_of(catalogue.get(name)), INITIAL_STEEPEST_SLOPE])
        off = abs(np.log(gains[:, None] / wanted))
        critical, published = off.argmin(axis=0)
        if critical == published or (off.min(axis=0) > math.log(RATIO) / 2).any():
            continue
        for arm in ARMS[:2]:
            own = _of_arm(converged(run.records), name, arm).sel(weight_std=1.0)
            first, second = (own.sel(gain=gains[i]).values.astype(np.float64) for i in (critical, published))
            means = float(first.mean()), float(second.mean())
            found.append(Start(name, arm_of(*arm), *means, _interval(_resampled(first - second))))
    return found


# -- tables and figures ------------------------------------------------------------------------------------------------


def boundary_table(run: Run) -> Table:
    """Returns where half of the trials converge."""
    rows: list[list[Any]] = [
        [label_of(one.activation), one.arm, one.at, one.interval, (one.smallest, one.largest), one.scales, one.theory]
        for one in boundaries(run)
    ]
    return Table(
        "The boundary: a0 sigma_w at which half of the trials converge",
        [
            *("activation", Column("arm", left=True)),
            *with_interval("a0 sigma_w", ".2f", "at"),
            *(Column("over sigma_w", ".2f", key="range"), "scales", Column("chi = 1", ".2f", key="theory")),
        ],
        rows,
        f"{_conditions(run)} a0 sigma_w: median over the scales sigma_w that have such an a0, whose number is given; "
        "over sigma_w: smallest to largest. Interval: bootstrap over the seeds. chi = 1: where mean-field theory has "
        "a gradient that neither vanishes nor explodes.",
    )


def collapse_table(run: Run) -> Table:
    """Returns whether the product alone decides."""
    rows: list[list[Any]] = [
        [label_of(one.activation), one.arm, one.spread, one.deviation, one.chance, one.excess] for one in collapses(run)
    ]
    columns = [Column(name, ".3f") for name in ("spread", "deviation", "by chance", "beyond chance")]
    return Table(
        "Does a0 sigma_w alone decide?",
        ["activation", Column("arm", left=True), *columns],
        rows,
        f"{_conditions(run)} spread: root mean square of the cells' shares from their mean; deviation: "
        "from the mean of all cells with the same "
        "a0 sigma_w. by chance: what it would be with other seeds in each cell and no other difference; the cells have "
        "the same seeds, so that it may be less.",
        beside=["beyond chance"],
    )


def learning_table(run: Run) -> Table:
    """Returns what learning a and b adds."""
    rows: list[list[Any]] = []
    for one in learnings(run):
        rate = "eta/a0^2" if one.compensated else "eta"
        shares = one.frozen, one.learned, one.difference, one.interval, one.rescued
        rows.append([label_of(one.activation), rate, one.where, one.cells, *shares])
    return Table(
        "What learning a and b adds to the share of trials that converge",
        [
            *("activation", Column("rates", left=True), Column("where", left=True), "cells"),
            *(Column("frozen", ".1%"), Column("learned", ".1%"), *with_interval("difference", "+.1%")),
            Column("rescued", ".0%"),
        ],
        rows,
        f"{_conditions(run)} ordered: chi < 1, the gradient vanishes with depth; chaotic: chi >= 1. best cell: each "
        "arm in its best cell by the first half of the seeds, measured on the others. rescued: of the cells in which "
        "fewer than half of the trials converge with a frozen, those in which half or more do with a learned. "
        "Interval: bootstrap over the seeds.",
        beside=["difference"],
    )


def starts_table(run: Run, compared: Sequence[Start]) -> Table:
    """Returns how the critical start compares with that of [P]."""
    rows: list[list[Any]] = [
        [label_of(one.activation), one.arm, one.critical, one.published, one.difference, one.interval]
        for one in compared
    ]
    return Table(
        "The critical start and that of [P]: trials that converge",
        [
            *("activation", Column("arm", left=True), Column("critical", ".1%"), Column("1.5 / steepest slope", ".1%")),
            *with_interval("difference", "+.1%"),
        ],
        rows,
        f"{_conditions(run)} At weights of deviation 1/sqrt(fan_in), from the a0 of the grid nearest the critical gain "
        "and nearest [P]'s. Interval: bootstrap over the seeds.",
        beside=["difference"],
    )


@functools.lru_cache(maxsize=64)
def theory_lines(activation: str, depth: int, low: float, high: float) -> dict[str, list[float]]:
    """Returns a0 sigma_w where chi = 1, and where the depth is six depth scales, between two values."""
    critical = critical_gain(activation).gain
    grid = np.geomspace(low, high, 25)
    scales = np.array([critical_gain(activation, weight_std=float(product)).depth_scale for product in grid])
    log_chi = np.where(grid < critical, -1, 1) / np.maximum(scales, 0.01)
    lines = [x for x in (-TRAINABLE / depth, TRAINABLE / depth) if log_chi[0] < x < log_chi[-1]]
    at = np.exp(np.interp(lines, log_chi, np.log(grid))).tolist()
    return {"chi = 1": [critical], f"depth = {TRAINABLE} depth scales": at}


def edges(values: np.ndarray) -> np.ndarray:
    """Returns the edges of cells on a logarithmic axis, from their middles."""
    logs = np.log(values)
    step = np.diff(logs) if len(logs) > 1 else np.array([math.log(RATIO)])
    inner = logs[:-1] + step[: len(logs) - 1] / 2
    return np.exp(np.concatenate([[logs[0] - step[0] / 2], inner, [logs[-1] + step[-1] / 2]]))


def _phases(run: Run, arms: Sequence[tuple[bool, bool]]) -> Figure:
    """Draws the share of trials that converge: a row an activation, a column an arm; of one arm all in one row."""
    names, shares = run.records["activation"].values.tolist(), converged(run.records).mean("seed")
    panels = [(name, arm) for name in names for arm in arms]
    rows, columns = (1, len(names)) if len(arms) == 1 else (len(names), len(arms))
    figure = Figure(figsize=(2.6 * columns + 1.0, 2.6 * rows + 0.5), dpi=130, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one, (name, arm) in zip(axes.flat, panels, strict=True):
        image = _map(one, run, name, _of_arm(shares, name, arm).sortby("weight_std"))
        one.set_title(_title(name, arm), fontsize=8)
    for one in axes[-1]:
        one.set_xlabel(r"$\sigma_w$", fontsize=8)
    for one in axes[:, 0]:
        one.set_ylabel(r"$a_0$", fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7, label="trials that converge", format=PercentFormatter(1, 0))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    wrapped = min(len(labels), columns) if columns < 4 else len(labels)
    figure.legend(handles, labels, loc="outside lower center", ncols=wrapped, fontsize=8, facecolor="0.6")
    return figure


def _title(activation: str, arm: tuple[bool, bool]) -> str:
    """Returns the title of a panel, with symbols in mathematical type."""
    return f"{label_of(activation)}\na {'learned' if arm[1] else 'frozen'}, rates " + (
        r"$\eta/a_0^2$" if arm[0] else r"$\eta$"
    )


def phase_map(axes: Axes, shares: np.ndarray, x: np.ndarray, y: np.ndarray, ticks: int) -> Any:
    """Draws shares (y, x) as cells on logarithmic axes, with about `ticks` of their values as ticks.

    Returns:
      The image, for a colour bar.
    """
    x_ends, y_ends = edges(x), edges(y)
    image = axes.pcolormesh(x_ends, y_ends, shares, vmin=0, vmax=1, cmap="cividis", rasterized=True)
    axes.set(xscale="log", yscale="log", xlim=(x_ends[0], x_ends[-1]), ylim=(y_ends[0], y_ends[-1]))
    for axis, values in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_locator(FixedLocator(values[:: max(1, len(values) // ticks)].tolist()))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
        axis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=7)
    return image


def _map(axes: Axes, run: Run, activation: str, shares: xr.DataArray) -> Any:
    """Draws the phase diagram of one activation and arm, with the lines of theory and the start of [P]."""
    unit = unit_of(catalogue.get(activation))
    stds, gains = shares["weight_std"].values, unit * shares["gain"].values
    image = phase_map(axes, shares.values, stds, gains, ticks=5)
    x, y = edges(stds), edges(gains)
    lines = theory_lines(activation, run.manifest["config"]["depth"], x[0] * y[0], x[-1] * y[-1])
    for (label, at), width, dashes in zip(lines.items(), (2.0, 1.0), ("-", "--"), strict=True):
        for i, product in enumerate(at):
            axes.plot(x, product / x, color="w", linewidth=width, linestyle=dashes, label=None if i else label)
    half = half_at(shares.values, gains)
    axes.plot(stds, half, color=COLOURS[1], linewidth=1.5, label="half of the trials converge")
    published = INITIAL_STEEPEST_SLOPE * unit
    if x[0] < 1 < x[-1] and y[0] < published < y[-1]:
        axes.plot(1, published, "*", color=COLOURS[1], markeredgecolor="w", markersize=10, label="start of [P]")
    axes.set_facecolor("0.8")
    return image


def _collapse(run: Run) -> Figure:
    """Draws the share of trials that converge against a0 sigma_w / critical, with a point for each cell."""
    names, shares = run.records["activation"].values.tolist(), converged(run.records).mean("seed")
    figure = Figure(figsize=(2.4 * len(ARMS) + 0.6, 2.2 * len(names) + 0.5), dpi=130, layout="constrained")
    panels = figure.subplots(len(names), len(ARMS), squeeze=False, sharex=True, sharey=True)
    for row, name in enumerate(names):
        theory = critical_gain(name).gain
        product = products(run.records, name).sortby("gain").transpose("gain", "weight_std") / theory
        stds = np.broadcast_to(np.log(product["weight_std"].values), product.shape)
        for axes, arm in zip(panels[row], ARMS, strict=True):
            axes.scatter(product, _of_arm(shares, name, arm), c=stds, s=5, cmap="cividis", linewidths=0)
            axes.axvline(1, color=COLOURS[1], linewidth=1)
            axes.set_title(_title(name, arm), fontsize=8)
            axes.set(xscale="log", ylim=(-0.03, 1.03))
            axes.tick_params(labelsize=7)
            axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    figure.supxlabel(
        r"$a_0\,\sigma_w$ / its value where $\chi = 1$; a cell a point, bright: large $\sigma_w$", fontsize=9
    )
    figure.supylabel("trials that converge", fontsize=9)
    return figure


def _conditions(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"XOR(10) with {config['depth']} hidden layers, {config['steps']:,} steps, eta = {config['learning_rate']:g}, "
        f"{run.seeds_and_images()}."
    )
