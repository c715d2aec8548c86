"""Which training conditions give the counts of [P, Table 5]? A declared grid, with nothing tuned for a row.

Result: weights of 1/sqrt(fan_in), biases of 0 or 0.01 and the gradient of half the mean squared error, one update for
all points, give all seven counts. The printed conditions do not.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from experiments.problems.xor10.protocol import ACTIVATIONS, LOSS_SCALE, PROTOCOLS, WIDTH
from experiments.study.imports import at_once
from experiments.study.options import (
    DISTINCT,
    MAX_SEED,
    MOST,
    NOT_NEGATIVE,
    Count,
    Out,
    Positives,
    Seeds,
    Steps,
    also,
    expect_within,
    one_of,
    positive_or,
)
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Work
from experiments.study.tables import Cell as Shown
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    from pathlib import Path

    import jax
    import numpy as np
    import xarray as xr
    from jax.typing import ArrayLike
    from matplotlib.colors import SymLogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from scipy import stats

    from experiments.problems.xor10.train import CHUNK, initial_params, settings_of
    from experiments.study.comparing import SIGNIFICANCE
    from experiments.study.run_directory import Run
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import xor
    from paramact_jax.networks import forward
    from paramact_jax.papers import ConvergenceRow, ko2021
    from paramact_jax.statistics import holm, two_proportion_p_value
    from paramact_jax.sweeps import Progress, Training, long_sweep
    from paramact_jax.training import Settings, State, final, gradient_descent, start

Batch = Literal["full", "point"]

POINTS = 4
RULES: Mapping[str, Callable[[int, int], float]] = {
    "fan-in": lambda fan_in, fan_out: 1 / math.sqrt(fan_in),
    "normal": lambda fan_in, fan_out: 1.0,
    "glorot": lambda fan_in, fan_out: 1 / math.sqrt((fan_in + fan_out) / 2),
    "he": lambda fan_in, fan_out: 1 / math.sqrt(fan_in / 2),
}
"""Standard deviations of initial weights."""
RELU_AT_KINK = {0: "relu", 1: "relu_from_right"}
"""The record of plain ReLU, by its slope at y = 0."""
MOST_ROUNDS = 5
"""Without a limit the search would try all cells where they are alike, as each falls behind with more trials."""
MOST_AT_ONCE = 1_024
"""Trials in one call on a CPU: calls of one shape share a compilation, and a short last call wastes little."""
LEARNING_RATE, THRESHOLD = PROTOCOLS["recovered"].learning_rate, PROTOCOLS["recovered"].threshold
SHOWN = 10
NOT_TOLD_APART = math.log(20)
"""The published counts do not tell two cells apart if their likelihoods differ by less than a factor of 20."""
AXES = ("scale", "bias_std", "gradient_scale", "batch", "kink")
TITLES = dict(zip(AXES, ("weights", "biases, s.d.", "c", "update after", "ReLU'(0)"), strict=True))
BATCH = {"full": "all points", "point": "each point"}
OUTCOMES = {
    "converged": "trials that reached loss 0",
    "trials": "trials trained",
    "non_finite": "trials whose final loss is not",
}
"""What is counted in the trials of one kind, in this order."""
TRIALS = list(OUTCOMES).index("trials")


class Trained(NamedTuple):
    """The kind of a trial, which is also a point of the sweep.

    Attributes:
      activation: name of the record trained.
      batch: one update a step on all points, or one after each point of a pass.
      weight_std: standard deviation of the initial weights of the hidden layers, WIDTH -> WIDTH.
      output_weight_std: of the output layer's, WIDTH -> 1.
      bias_std: of the initial biases.
      loss_scale: of `training.Settings`.
    """

    activation: str
    batch: Batch
    weight_std: float
    output_weight_std: float
    bias_std: float
    loss_scale: float


@dataclasses.dataclass(frozen=True)
class Cell:
    """The conditions of training, which decide the seven counts.

    Attributes:
      scale: rule for the initial weights; rules that agree on this network are one, with all their names.
      weight_std, output_weight_std, bias_std, batch: see `Trained`.
      gradient_scale: c in dL/dy_out = c (y_out - t) for every point.
      kink: slope of plain ReLU at 0.
    """

    scale: str
    weight_std: float
    output_weight_std: float
    bias_std: float
    gradient_scale: float
    batch: Batch
    kink: int

    def trained(self, activation: str) -> Trained:
        """Returns the kind of trial for an activation of [P, Table 5]."""
        # the mean squared error of n points has dL/dy_out = (2/n) (y_out - t)
        record = RELU_AT_KINK[self.kink] if activation == "relu" else activation
        loss_scale = self.gradient_scale * (POINTS if self.batch == "full" else 1) / 2
        return Trained(record, self.batch, self.weight_std, self.output_weight_std, self.bias_std, loss_scale)

    @property
    def protocol(self) -> str:
        """The name of the protocol of `xor10` with these conditions, empty if there is none."""
        for name, known in PROTOCOLS.items():
            std = known.weight_std
            if self.trained("relu") == ("relu", "full", std, std, known.bias_std, LOSS_SCALE[known.loss]):
                return name
        return ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Xor10Protocol(Study):
    """Search the training conditions that give the counts of [P, Table 5]: a declared grid, nothing tuned per row.

    Every cell of the grid trains all seven activations; the best cells get more trials until the best of them are all
    known well. Cells are ranked by the likelihood of the published counts. About 5 minutes on 2 cores. Writes
    runs/xor10-protocol-DATE-TIME/: records, summary, report, tables, ranking.png.
    Example: python -m experiments xor10-protocol --scales fan-in 0.6 0.8 --batches full
    """

    name: ClassVar[str] = "xor10-protocol"
    heading: ClassVar[str] = "XOR(10): which conditions?"
    renamed: ClassVar[Mapping[str, str]] = {"trials": "seeds", "final_trials": "final_seeds", "iterations": "steps"}

    seeds: Seeds = 200
    """Trials of each activation in every cell."""
    finalists: Count = 8
    """Number of best cells that get more trials."""
    final_seeds: Annotated[Count, also("--final-trials")] = 4_000
    """Trials of each activation in those."""
    scales: Annotated[tuple[str, ...], positive_or(*RULES), DISTINCT] = tuple(RULES)
    """Initial weights: fan-in (1/sqrt(fan_in)), normal (1), glorot, he, or a number. Equal ones are one."""
    bias_stds: Annotated[tuple[float, ...], NOT_NEGATIVE, DISTINCT] = (0.0, 0.01, 1.0)
    """Standard deviations of the initial biases."""
    gradient_scales: Positives = (1 / 8, 1 / 4, 1 / 2, 1.0)
    """c in dL/dy_out = c (y_out - t): for all 4 points 1/4 is half their mean squared error, 1/2 the mean."""
    batches: Annotated[tuple[Batch, ...], DISTINCT] = ("full", "point")
    """One update a step on all points, or a pass over the points with an update after each."""
    kinks: Annotated[tuple[int, ...], one_of(*RELU_AT_KINK), DISTINCT] = tuple(RELU_AT_KINK)
    """Slopes of plain ReLU at 0."""
    steps: Steps = 10_000
    """Updates on all points, or passes over the points."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    out: Out = None

    def check(self, data: Any) -> None:
        """Refuses numbers of trials and seeds that do not fit each other."""
        expect_within(self, "final_seeds", self.seeds, MOST, "at least --seeds")
        expect_within(self, "first_seed", 0, MAX_SEED - self.final_seeds + 1)

    def config(self, data: Any) -> dict[str, Any]:
        """Adds the conditions that all cells share."""
        return super().config(data) | {"learning_rate": LEARNING_RATE, "threshold": THRESHOLD}

    def distinct_scales(self) -> list[tuple[str, float, float]]:
        """Returns scale, weight_std and output_weight_std of `Cell`, for each rule that differs."""
        names: dict[tuple[float, float], list[str]] = {}
        for name in self.scales:
            rule = RULES.get(name, lambda fan_in, fan_out, name=name: float(name))
            names.setdefault((rule(WIDTH, WIDTH), rule(WIDTH, 1)), []).append(name)
        return [(" = ".join(rules), *stds) for stds, rules in names.items()]

    def axes(self) -> list[Sequence[Any]]:
        """Returns the values along `AXES`."""
        return [self.distinct_scales(), self.bias_stds, self.gradient_scales, self.batches, self.kinks]

    def cells(self) -> list[Cell]:
        """Returns all cells, in the order of the axes."""
        return [Cell(*scale, *others) for scale, *others in itertools.product(*self.axes())]

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Searches round by round."""
        rounds = itertools.count(1)

        def count(wanted: Sequence[Trained], seeds: range) -> np.ndarray:
            name = f"round {next(rounds)}"
            work.say(f"{name}: {len(wanted) * len(seeds):,} trials of {self.steps:,} steps")
            found = losses(
                wanted,
                seeds,
                steps=self.steps,
                directory=work.directory / name.replace(" ", "-"),
                on_progress=functools.partial(work.progress([name], self.steps).advanced, name),
            )
            return counts_of(found)

        return to_dataset(self, search(self, count))

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the best cells, and the posterior of each value of each axis."""
        yield "ranking", _ranking_table(run)
        yield "margins", _margins_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the likelihood of all conditions."""
        yield "ranking", _figure(run)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges whether the protocols of `xor10` give the published counts."""
        ranked = ranking(run.records)
        best = float(ranked["total_log_likelihood"][0])
        for one in _each(ranked.isel(cell=(ranked["protocol"] != "").values)):
            name, below = one["protocol"].item(), best - float(one["total_log_likelihood"])
            yield Statement(
                "P, Table 3" if name == "literal" else "ours",
                f"the conditions of protocol {name} give the published counts",
                "not told apart from the best cell: likelihood within a factor of 20",
                judged(below < NOT_TOLD_APART),
                f"rank {one['cell'].item()} of {ranked.sizes['cell']}; log likelihood {below:.1f} below the best; "
                f"{one['rows_matched'].item()} rows matched",
                below,
            )

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the whole ranking as plain data."""
        own = [*AXES, "weight_std", "output_weight_std", "protocol", "log_likelihood", "table_4_log_likelihood"]
        own += ["posterior", "rows_matched", "trials"]
        ranked = ranking(run.records).drop_vars("log_likelihood").rename(total_log_likelihood="log_likelihood")
        ranked["trials"] = ranked["trials"].min("activation")
        return {
            "ranking": [
                {"rank": one["cell"].item()}
                | {name: None if (value := one[name].item()) == "" else value for name in own}
                | {"converged": dict(zip(ACTIVATIONS, one["converged"].values.tolist(), strict=True))}
                for one in _each(ranked)
            ]
        }


# -- what is trained ---------------------------------------------------------------------------------------------------


def init(
    key: jax.Array, activation: str, weight_std: jax.Array, output_weight_std: jax.Array, bias_std: jax.Array
) -> State:
    """Returns the state before the first update."""
    std = {"weight": weight_std, "bias": bias_std, "output": output_weight_std}
    record = catalogue.get(activation)
    return start(initial_params(record, key, std, record.params))


def step(state: State, settings: Settings, activation: str, batch: Batch, loss_scale: ArrayLike) -> State:
    """Makes one update on all points, or a pass over the points."""
    record = catalogue.get(activation)
    advance = gradient_descent(
        lambda params, inputs: forward(params, inputs, record), *xor(), point_by_point=batch == "point"
    )
    return advance(state, settings._replace(loss_scale=loss_scale), 1)


def summarise(state: State, settings: Settings, activation: str, batch: Batch, loss_scale: ArrayLike) -> dict[str, Any]:
    """Returns the final mean squared error."""
    return {"loss": final(state, step(state, settings, activation, batch, loss_scale)).loss}


def losses(
    wanted: Sequence[Trained],
    seeds: range,
    *,
    steps: int,
    at_once: int = MOST_AT_ONCE,
    directory: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> np.ndarray:
    """Returns final mean squared errors, (wanted, seeds), of the trials of xor10 under the same seed and conditions.

    On a CPU a call has at most `at_once` trials. On an accelerator a call costs its launches, not its trials.
    """
    found = long_sweep(
        Training(init, step, summarise),
        seeds,
        points=[one._asdict() for one in wanted],
        iterations=steps,
        iterations_per_call=CHUNK,
        chunk=at_once if jax.default_backend() == "cpu" else None,
        directory=directory,
        on_progress=on_progress,
        settings=settings_of(PROTOCOLS["recovered"]),
    )
    return found["loss"].values


def counts_of(losses: np.ndarray) -> np.ndarray:
    """Counts the `OUTCOMES` of each row of losses, (rows, 3)."""
    trials = np.full(len(losses), losses.shape[1])
    return np.stack([(losses < THRESHOLD).sum(axis=1), trials, (~np.isfinite(losses)).sum(axis=1)], axis=1)


def search(study: Xor10Protocol, count: Callable[[Sequence[Trained], range], np.ndarray]) -> np.ndarray:
    """Searches from coarse to fine: every cell gets `seeds` trials, the best `finalists` cells get `final_seeds`.

    A cell that falls behind with more trials makes room for another, which then gets more trials, until all of the
    best have them or `MOST_ROUNDS` rounds are over. All trials of a cell count, those of the first round too.

    Args:
      study: the cells, and how many trials go where.
      count: trains each of some kinds on the same seeds and counts its `OUTCOMES`, (kinds, 3).

    Returns:
      The `OUTCOMES` of all cells, (cells, activations, 3).
    """
    cells = study.cells()
    kinds = [[cell.trained(name) for name in ACTIVATIONS] for cell in cells]
    found: dict[Trained, np.ndarray] = {}
    wanted, done, target = list(range(len(cells))), 0, study.seeds
    counts = np.zeros((len(cells), len(ACTIVATIONS), len(OUTCOMES)), np.int64)
    for _ in range(MOST_ROUNDS):
        short = [(cell, i) for i in range(len(ACTIVATIONS)) for cell in wanted if counts[cell, i, TRIALS] < target]
        needed = list(dict.fromkeys(kinds[cell][i] for cell, i in short))
        outcomes = count(needed, range(study.first_seed + done, study.first_seed + target))
        for kind, outcome in zip(needed, outcomes, strict=True):
            found[kind] = found.get(kind, 0) + outcome
        counts = np.array([[found[kind] for kind in of_cell] for of_cell in kinds])
        done, target = study.seeds, study.final_seeds
        likelihood = log_likelihoods(counts, ko2021.TABLE_5).sum(axis=-1)
        best = np.argsort(-likelihood, kind="stable")[: study.finalists].tolist()
        wanted = [cell for cell in best if counts[cell, :, TRIALS].min() < target]
        if not wanted:
            break
    return counts


# -- how well the counts of a cell agree with the published ones -------------------------------------------------------


def log_likelihoods(counts: np.ndarray, rows: Sequence[ConvergenceRow]) -> np.ndarray:
    """Returns the log probability of every published count, predicted from a cell's own count of the same activation.

    Both have one unknown proportion. Jeffreys' prior Beta(1/2, 1/2) becomes Beta(k + 1/2, n - k + 1/2) with our k of n,
    and the published count of N has the beta-binomial probability. After 0 of 100 a binomial with the proportion k/n
    would make 1 impossible; the beta-binomial does not. [Gelman et al., Bayesian Data Analysis, 2.4, 2013]

    Rows count as independent given the cell: their sum is the cell's log likelihood. (Our rows share their seeds, and
    so some of their sampling error; that is neglected.)

    Args:
      counts: `OUTCOMES`, (.., activations, 3).
      rows: published.

    Returns:
      (.., rows).
    """
    converged, trials = np.moveaxis(counts, -1, 0)[:2, ..., [ACTIVATIONS.index(row.activation) for row in rows]]
    published = np.array([[row.converged, row.trials] for row in rows]).T
    return stats.betabinom.logpmf(*published, converged + 0.5, trials - converged + 0.5)


def rows_matched(converged: Iterable[int], trials: Iterable[int]) -> int:
    """Counts the rows of [P, Table 5] that two-proportion tests with Holm's correction do not reject at 5 %.

    Args:
      converged: of each activation.
      trials: of each activation.
    """
    each = zip(converged, trials, ko2021.TABLE_5, strict=True)
    p_values = [two_proportion_p_value(k, n, row.converged, row.trials) for k, n, row in each]
    return sum(p > SIGNIFICANCE for p in holm(p_values))


def posterior(log_likelihood: Any) -> Any:
    """Returns the probability of each cell, if one of them is right and all were equally likely before."""
    share = np.exp(log_likelihood - log_likelihood.max())
    return share / share.sum()


def to_dataset(study: Xor10Protocol, counts: np.ndarray) -> xr.Dataset:
    """Returns counts and log likelihoods of every cell; dims are the axes of the grid, and the activation.

    Args:
      study: the cells.
      counts: as `search` returns them.
    """
    scales, *others = study.axes()
    names, stds, output_stds = map(list, zip(*scales, strict=True))
    axes = dict(zip(AXES, (names, *map(list, others)), strict=True))
    counts = counts.reshape(*map(len, axes.values()), len(ACTIVATIONS), len(OUTCOMES))
    table_5, table_4 = (log_likelihoods(counts, rows) for rows in (ko2021.TABLE_5, ko2021.TABLE_4))
    each = (*AXES, "activation")
    described = {
        "log_likelihood": (each, table_5, "of the published count of Table 5, beta-binomial"),
        "total_log_likelihood": (AXES, table_5.sum(axis=-1), "sum over the activations"),
        "table_4_log_likelihood": (AXES, table_4.sum(axis=-1), "of both counts of Table 4, not in the total"),
    }
    described = {name: (each, counts[..., i], text) for i, (name, text) in enumerate(OUTCOMES.items())} | described
    return xr.Dataset(
        {name: (dims, values, {"description": text}) for name, (dims, values, text) in described.items()},
        coords=axes
        | {
            "activation": list(ACTIVATIONS),
            "weight_std": ("scale", stds),
            "output_weight_std": ("scale", output_stds),
        },
        attrs={"description": "Which training conditions give the counts of [P, Table 5]"},
    )


def ranking(records: xr.Dataset) -> xr.Dataset:
    """Returns the records by falling log likelihood, along one dim "cell" with the rank as coordinate, from 1.

    There are three more variables: protocol, of `xor10`, see `Cell`; posterior; and `rows_matched`.
    """
    share = posterior(records["total_log_likelihood"].transpose(*AXES))
    cells = records.assign(posterior=share).stack(cell=AXES)
    cells = cells.isel(cell=np.argsort(-cells["total_log_likelihood"].values, kind="stable")).reset_index("cell")
    names = [field.name for field in dataclasses.fields(Cell)]
    protocols = [Cell(**{name: one[name].item() for name in names}).protocol for one in _each(cells)]
    matched = [rows_matched(one["converged"].values, one["trials"].values) for one in _each(cells)]
    cells = cells.assign(protocol=("cell", protocols), rows_matched=("cell", matched))
    return cells.assign_coords(cell=np.arange(1, len(matched) + 1))


def margins(records: xr.Dataset) -> Iterator[tuple[str, Any, float, float]]:
    """Yields for every value of every axis: (axis, value, posterior, best log likelihood less the best of all)."""
    total = records["total_log_likelihood"]
    share = posterior(total)
    for axis in AXES:
        others = [name for name in AXES if name != axis]
        masses, best = share.sum(others), total.max(others) - total.max()
        for each in zip(*(x.values.tolist() for x in (records[axis], masses, best)), strict=True):
            yield axis, *each


def _each(cells: xr.Dataset) -> Iterator[xr.Dataset]:
    return (cells.isel(cell=i) for i in range(cells.sizes["cell"]))


# -- tables and figure -------------------------------------------------------------------------------------------------


def _ranking_table(run: Run) -> Table:
    config, ranked, published = run.manifest["config"], ranking(run.records), ko2021.TABLE_5
    below = ranked["total_log_likelihood"] - ranked["total_log_likelihood"][0]
    ranked = ranked.assign(trials_of_all=ranked["trials"].min("activation"), below=below)
    finals = int((ranked["trials_of_all"] >= config["final_seeds"]).sum())

    def cells(one: xr.Dataset) -> list[Any]:
        per_1000 = 1000 * one["converged"].values / one["trials"].values
        conditions = [BATCH.get(value, value) for value in (one[name].item() for name in ("protocol", *AXES, "cell"))]
        scores = (one[name].item() for name in ("rows_matched", "below", "posterior", "trials_of_all"))
        return [*conditions, *per_1000.tolist(), *scores]

    printed = [1000 * row.converged / row.trials for row in published]
    first = ["published", *[None] * (len(TITLES) + 1), *printed, None, None, None, published[0].trials]
    shown = ranked.isel(cell=((ranked["cell"] <= SHOWN) | (ranked["protocol"] != "")).values)
    return Table(
        "Conditions by the likelihood of the published counts; trials that reach loss 0, per 1,000 [P, Table 5]",
        [
            *("protocol", TITLES["scale"]),
            *(Column(TITLES[axis], "g") for axis in ("bias_std", "gradient_scale")),
            *(TITLES["batch"], Column(TITLES["kink"], key="kink"), "rank"),
            *(Column(row.label.replace("Parametric", "P."), ".0f") for row in published),
            Column("matched", f"{{}} of {len(published)}".format),
            Column("log lik.", ".1f"),
            Column("posterior", lambda x: f"{x:.2g}" if x > 1e-4 else "0"),
            "trials",
        ],
        [first, *map(cells, _each(shown))],
        f"{ranked.sizes['cell']} cells, the same conditions for every row of a cell; {config['seeds']} trials of each "
        f"activation, {config['final_seeds']} in {finals} of the best; {config['steps']:,} steps, learning rate "
        f"{config['learning_rate']:g}; converged: mean squared error below {config['threshold']:g}. c: dL/dy_out = "
        f"c (y_out - t). log lik.: of all seven published counts, beta-binomial, less the best cell's "
        f"({ranked['total_log_likelihood'][0]:.2f}). "
        f"posterior: of the cells, equally likely before. matched: rows not rejected at 5 % with Holm's correction. "
        f"In the figure: of the slopes of ReLU at 0 the likelier one; framed: protocols of xor10.",
        left=("weights", "update after"),
        keys=6,
        beside=["log lik."],
    )


def _margins_table(run: Run) -> Table:
    total = run.records["total_log_likelihood"]
    near = int((total.max() - total < NOT_TOLD_APART).sum())
    return Table(
        "Posterior of each condition, whatever the others",
        ["condition", "value", Column("posterior", ".3f"), Column("best log lik.", ".1f")],
        [
            [TITLES[axis], Shown(value, BATCH.get(value, str(value))), mass, below]
            for axis, value, mass, below in margins(run.records)
        ],
        f"{near} of {total.size} cells are not told apart from the best (likelihood within a factor of 20).",
        left=("value",),
        keys=2,
    )


def _figure(run: Run) -> Figure:
    """Draws how far each log likelihood is below the best, for the better of both kinks; logarithmic beyond 1."""
    total = run.records["total_log_likelihood"].max("kink")
    below = (total.max() - total).stack(row=("scale", "bias_std"), column=("batch", "gradient_scale"))
    rows, columns = (below.indexes[dim] for dim in below.dims)
    figure = Figure(figsize=(3.5 + 0.8 * len(columns), 1.6 + 0.42 * len(rows)), dpi=150, layout="constrained")
    axes = figure.subplots()
    norm = SymLogNorm(1.0, vmin=0.0, vmax=max(10.0, float(below.max())))
    image = axes.imshow(below.values, cmap="viridis_r", norm=norm, aspect="auto")
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    for (row, column), value in np.ndenumerate(below.values):
        text, dark = f"{value:.{int(value < 100)}f}", norm(value) > 0.55
        axes.text(column, row, text, **centred, fontsize=7, color="w" if dark else "k")
    ranked = ranking(run.records)
    for one in _each(ranked.isel(cell=(ranked["protocol"] != "").values)):
        row, column = (index.get_loc(tuple(one[name].item() for name in index.names)) for index in (rows, columns))
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="C3", linewidth=2))
        label = axes.text(column, row - 0.33, one["protocol"].item(), **centred, fontsize=6, color="C3", weight="bold")
        label.set_bbox({"facecolor": "w", "edgecolor": "none", "pad": 0.8})
    axes.set_xticks(range(len(columns)), [f"{BATCH[batch]}\n{c:g}" for batch, c in columns], fontsize=7)
    axes.set_yticks(range(len(rows)), [f"{scale}, {bias:g}" for scale, bias in rows], fontsize=7)
    axes.set(xlabel="update after, c in dL/dy_out = c (y_out - t)", ylabel="initial weights, s.d. of the biases")
    axes.set_title("log likelihood below the best cell's", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure
