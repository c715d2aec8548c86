"""Which training conditions give the counts of [P, Table 5]? A declared grid, with nothing tuned for a row.

Result: weights of 1/sqrt(fan_in), biases of 0 or 0.01 and the gradient of half the mean squared error, one update for
all points, give all seven counts. The printed conditions do not.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from experiments.problems.xor10.protocol import ACTIVATIONS, LOSS_SCALE, PROTOCOLS, WIDTH, ProtocolName
from experiments.study.imports import at_once
from experiments.study.options import (
    DISTINCT,
    MAX_SEED,
    MOST,
    NOT_NEGATIVE,
    POSITIVE,
    Constraint,
    Count,
    Out,
    Seeds,
    Steps,
    also,
    expect_within,
    one_of,
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
    from matplotlib.figure import Figure

    from experiments.problems.xor10.train import CHUNK, initial_params, settings_of
    from experiments.study.run_directory import Run
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import xor
    from paramact_jax.figures import GridMap, Ranking, likelihood_search
    from paramact_jax.networks import forward
    from paramact_jax.papers import ConvergenceRow, ko2021
    from paramact_jax.statistics import holm, predictive_log_likelihood, two_proportion_p_value
    from paramact_jax.sweeps import Progress, Training, long_sweep
    from paramact_jax.training import Settings, State, final, gradient_descent, start

Batch = Literal["full", "point"]

POINTS = 4
LEVEL = 0.05
RULES: Mapping[str, Callable[[int, int], float]] = {
    "fan-in": lambda fan_in, fan_out: 1 / math.sqrt(fan_in),
    "normal": lambda fan_in, fan_out: 1.0,
    "glorot": lambda fan_in, fan_out: 1 / math.sqrt((fan_in + fan_out) / 2),
    "he": lambda fan_in, fan_out: 1 / math.sqrt(fan_in / 2),
}
"""Standard deviations of initial weights."""
RELU_AT_KINK = {0: "relu", 1: "relu_from_right"}
"""Record that stands for plain ReLU, by its slope at y = 0."""
MOST_ROUNDS = 5
"""Where all cells are alike, each falls behind as soon as it has more trials, and the search would try them all."""
MOST_AT_ONCE = 1_024
"""Trials in one call on a CPU: calls of one shape share a compilation, and a short last one wastes little."""
LEARNING_RATE, THRESHOLD = PROTOCOLS["recovered"].learning_rate, PROTOCOLS["recovered"].threshold
SHOWN = 10
NOT_TOLD_APART = math.log(20)
"""Two cells whose likelihoods differ by less than a factor of 20 are called not told apart by the published counts."""
AXES = ("scale", "bias_std", "gradient_scale", "batch", "kink")
TITLES = dict(zip(AXES, ("weights", "biases, s.d.", "c", "update after", "ReLU'(0)"), strict=True))
BATCH = {"full": "all points", "point": "each point"}


def _is_scale(rule: str) -> bool:
    try:
        return rule in RULES or 0 < float(rule) < math.inf
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class Conditions:
    """One way to train, whatever the activation.

    Attributes:
      scale: rule for the initial weights; those that agree on this network are one, with all their names.
      weight_std: standard deviation of the initial weights of the hidden layers, WIDTH -> WIDTH.
      output_weight_std: of the output layer's, WIDTH -> 1.
      bias_std: of the initial biases.
      gradient_scale: c in dL/dy_out = c (y_out - t) for every point.
      batch: one update a step on all points, or one after each point of a pass.
    """

    scale: str
    weight_std: float
    output_weight_std: float
    bias_std: float
    gradient_scale: float
    batch: Batch

    @property
    def loss_scale(self) -> float:
        """`training.Settings.loss_scale`: the mean squared error of n points has dL/dy_out = (2/n) (y_out - t)."""
        return self.gradient_scale * (POINTS if self.batch == "full" else 1) / 2


@dataclasses.dataclass(frozen=True)
class Cell:
    """Conditions and what plain ReLU's slope at its kink is: all that decides the seven counts."""

    conditions: Conditions
    kink: int

    def trained_as(self, activation: str) -> str:
        """Name of the record that stands for an activation of [P, Table 5] in this cell."""
        return RELU_AT_KINK[self.kink] if activation == "relu" else activation

    @property
    def values(self) -> tuple[str, float, float, str, int]:
        """Along the axes."""
        own = self.conditions
        return own.scale, own.bias_std, own.gradient_scale, own.batch, self.kink

    @property
    def protocol(self) -> ProtocolName | None:
        """The name of the protocol of `xor10` that it is."""
        own = self.conditions
        found = (own.weight_std, own.output_weight_std, own.bias_std, own.loss_scale, own.batch, self.kink)
        for name, known in PROTOCOLS.items():
            if found == (known.weight_std, known.weight_std, known.bias_std, LOSS_SCALE[known.loss], "full", 0):
                return name
        return None


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
    scales: Annotated[
        tuple[str, ...], Constraint(f"one of {', '.join(RULES)}, or a number > 0", _is_scale), DISTINCT
    ] = tuple(RULES)
    """Initial weights: fan-in (1/sqrt(fan_in)), normal (1), glorot, he, or a number. Equal ones are one."""
    bias_stds: Annotated[tuple[float, ...], NOT_NEGATIVE, DISTINCT] = (0.0, 0.01, 1.0)
    """Standard deviations of the initial biases."""
    gradient_scales: Annotated[tuple[float, ...], POSITIVE, DISTINCT] = (1 / 8, 1 / 4, 1 / 2, 1.0)
    """c in dL/dy_out = c (y_out - t): for all 4 points 1/4 is half their mean squared error, 1/2 the mean."""
    batches: Annotated[tuple[Batch, ...], DISTINCT] = ("full", "point")
    """One update a step on all points, or a pass over the points with an update after each."""
    kinks: Annotated[tuple[int, ...], one_of(*RELU_AT_KINK), DISTINCT] = tuple(RELU_AT_KINK)
    """Slopes of plain ReLU at 0."""
    steps: Steps = 10_000
    """Updates on all points, or passes over the points."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    smoke: bool = False
    """Only show that it runs: 8 trials of 20 steps a cell, 16 in 2 finalists; the ranking means nothing."""
    out: Out = None

    def resolved(self) -> Self:
        """What `smoke` stands for."""
        tiny: dict[str, Any] = {"seeds": 8, "finalists": 2, "final_seeds": 16, "steps": 20}
        return dataclasses.replace(self, **tiny) if self.smoke else self

    def check(self, data: Any) -> None:
        """The best cells get more trials, on seeds that there are."""
        expect_within(self, "final_seeds", self.seeds, MOST, "at least --seeds")
        expect_within(self, "first_seed", 0, MAX_SEED - self.final_seeds + 1)

    def config(self, data: Any) -> dict[str, Any]:
        """With what is the same in all cells."""
        own = {name: value for name, value in super().config(data).items() if name != "smoke"}
        return own | {"learning_rate": LEARNING_RATE, "threshold": THRESHOLD}

    def distinct_scales(self) -> list[tuple[str, float, float]]:
        """See `Conditions`: scale, weight_std, output_weight_std."""
        names: dict[tuple[float, float], list[str]] = {}
        for name in self.scales:
            rule = RULES.get(name, lambda fan_in, fan_out, name=name: float(name))
            names.setdefault((rule(WIDTH, WIDTH), rule(WIDTH, 1)), []).append(name)
        return [(" = ".join(rules), *stds) for stds, rules in names.items()]

    def conditions(self) -> list[Conditions]:
        """All conditions, in the order of the axes."""
        axes: tuple[Any, ...] = (self.distinct_scales(), self.bias_stds, self.gradient_scales, self.batches)
        return [Conditions(*scale, *others) for scale, *others in itertools.product(*axes)]

    def cells(self) -> list[Cell]:
        """All cells, in the order of the axes."""
        return [Cell(conditions, kink) for conditions in self.conditions() for kink in self.kinks]

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """The search, round by round."""
        rounds = itertools.count(1)

        def count(wanted: Sequence[Trained], seeds: range) -> list[Tally]:
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
        """The best cells, and what each value of each axis is worth."""
        yield "ranking", _ranking_table(run)
        yield "margins", _margins_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """The likelihood of all conditions, and the counts of the best cells."""
        yield "ranking", _figure(run.records)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Whether the protocols of `xor10` give the published counts."""
        ranked = ranking(run.records)
        for r in (r for r in ranked if r.cell.protocol):
            below = ranked[0].log_likelihood - r.log_likelihood
            yield Statement(
                "P, Table 3" if r.cell.protocol == "literal" else "ours",
                f"the conditions of protocol {r.cell.protocol} give the published counts",
                "not told apart from the best cell: likelihood within a factor of 20",
                judged(below < NOT_TOLD_APART),
                f"rank {r.rank} of {len(ranked)}; log likelihood {below:.1f} below the best; {r.matched} rows matched",
                below,
            )

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """The whole ranking as plain data."""
        return {
            "ranking": [
                {
                    "rank": r.rank,
                    **dict(zip(AXES, r.cell.values, strict=True)),
                    "weight_std": r.cell.conditions.weight_std,
                    "output_weight_std": r.cell.conditions.output_weight_std,
                    "protocol": r.cell.protocol,
                    "log_likelihood": r.log_likelihood,
                    "table_4_log_likelihood": r.table_4,
                    "posterior": r.posterior,
                    "rows_matched": r.matched,
                    "trials": r.trials,
                    "converged": {name: converged for name, (converged, _) in r.counts.items()},
                }
                for r in ranking(run.records)
            ]
        }


# -- what is trained ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tally:
    """How many trials were trained, converged, and ended with a loss that is not finite."""

    trials: int = 0
    converged: int = 0
    non_finite: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


Trained = tuple[Conditions, str]
"""What trials are of: conditions, and the name of the record trained."""
Tallies = dict[Trained, Tally]


def init(
    key: jax.Array, activation: str, weight_std: jax.Array, output_weight_std: jax.Array, bias_std: jax.Array
) -> State:
    """The state before the first update."""
    std = {"weight": weight_std, "bias": bias_std, "output": output_weight_std}
    record = catalogue.get(activation)
    return start(initial_params(record, key, std, record.params))


def step(state: State, settings: Settings, activation: str, batch: Batch, loss_scale: ArrayLike) -> State:
    """One update on all points, or a pass over the points."""
    record = catalogue.get(activation)
    advance = gradient_descent(
        lambda params, inputs: forward(params, inputs, record), *xor(), point_by_point=batch == "point"
    )
    return advance(state, settings._replace(loss_scale=loss_scale), 1)


def summarise(state: State, settings: Settings, activation: str, batch: Batch, loss_scale: ArrayLike) -> dict[str, Any]:
    """The final mean squared error."""
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
    """Final mean squared errors, (wanted, seeds). A trial is that of xor10 under the same seed and conditions.

    At most `at_once` trials are in one call on a CPU. On an accelerator a call costs its launches, not its trials.
    """
    names = ("batch", "weight_std", "output_weight_std", "bias_std", "loss_scale")
    points = [{"activation": name} | {field: getattr(own, field) for field in names} for own, name in wanted]
    found = long_sweep(
        Training(init, step, summarise),
        seeds,
        points=points,
        iterations=steps,
        iterations_per_call=CHUNK,
        chunk=at_once if jax.default_backend() == "cpu" else None,
        directory=directory,
        on_progress=on_progress,
        settings=settings_of(PROTOCOLS["recovered"]),
    )
    return found["loss"].values


def counts_of(losses: np.ndarray) -> list[Tally]:
    """Outcomes of each row of losses."""
    return [Tally(len(own), int((own < THRESHOLD).sum()), int((~np.isfinite(own)).sum())) for own in losses]


def search(study: Xor10Protocol, count: Callable[[Sequence[Trained], range], Sequence[Tally]]) -> Tallies:
    """Coarse to fine: give every cell `seeds` trials, the best `finalists` cells `final_seeds`, and again.

    A cell that falls behind with more trials makes room for another, which then gets its trials too, until all of the
    best have them or `MOST_ROUNDS` rounds are over. All trials of a cell count, those that made it a finalist too.

    Args:
      study: the cells, and how many trials go where.
      count: trains each of some conditions and records on the same seeds and counts its outcomes.
    """
    tallies: Tallies = {}
    wanted, done, target = study.cells(), 0, study.seeds
    for _ in range(MOST_ROUNDS):
        needed = dict.fromkeys((cell.conditions, cell.trained_as(name)) for name in ACTIVATIONS for cell in wanted)
        short = [trained for trained in needed if tallies.get(trained, Tally()).trials < target]
        outcomes = count(short, range(study.first_seed + done, study.first_seed + target))
        for trained, outcome in zip(short, outcomes, strict=True):
            tallies[trained] = tallies.get(trained, Tally()) + outcome
        done, target = study.seeds, study.final_seeds

        likelihood = {x: np.sum(log_likelihoods(tallies_of(x, tallies), ko2021.TABLE_5)) for x in study.cells()}
        best = sorted(likelihood, key=lambda cell: -likelihood[cell])[: study.finalists]
        wanted = [cell for cell in best if min(tally.trials for tally in tallies_of(cell, tallies).values()) < target]
        if not wanted:
            break
    return tallies


def tallies_of(cell: Cell, tallies: Tallies) -> dict[str, Tally]:
    """A cell's outcomes, by activation of [P, Table 5]."""
    return {name: tallies[cell.conditions, cell.trained_as(name)] for name in ACTIVATIONS}


# -- how well the counts of a cell agree with the published ones -------------------------------------------------------


def log_likelihoods(tallies: Mapping[str, Tally], rows: Sequence[ConvergenceRow]) -> list[float]:
    """Log probability of every published count, predicted from a cell's own count of the same activation.

    Rows are taken to be independent given the cell: their sum is the cell's log likelihood. (Our rows share their
    seeds, and so some of their sampling error; that is neglected.)
    """
    each = [(tallies[row.activation], row) for row in rows]
    return [predictive_log_likelihood(own.converged, own.trials, row.converged, row.trials) for own, row in each]


def rows_matched(counts: Mapping[str, tuple[int, int]]) -> int:
    """Number of rows of [P, Table 5] that two-proportion tests with Holm's correction do not reject at 5 %."""
    p_values = [two_proportion_p_value(*counts[row.activation], row.converged, row.trials) for row in ko2021.TABLE_5]
    return sum(p > LEVEL for p in holm(p_values))


def posterior(log_likelihood: np.ndarray) -> np.ndarray:
    """Probability of each cell, if one of them is right and all were equally likely before."""
    share = np.exp(log_likelihood - log_likelihood.max())
    return share / share.sum()


def to_dataset(study: Xor10Protocol, tallies: Tallies) -> xr.Dataset:
    """Counts and log likelihoods of every cell; dims are the grid's axes, and the activation."""
    own, scales = [tallies_of(cell, tallies) for cell in study.cells()], study.distinct_scales()
    axes = ([x[0] for x in scales], study.bias_stds, study.gradient_scales, study.batches, study.kinks)
    coords: dict[str, Any] = {name: list(values) for name, values in zip(AXES, axes, strict=True)}
    shape, each = [len(values) for values in axes], (*AXES, "activation")

    def of_each(field: str) -> np.ndarray:
        rows = [[getattr(tally, field) for tally in tallies.values()] for tallies in own]
        return np.array(rows, np.int64).reshape(*shape, -1)

    table_5, table_4 = (
        np.array([log_likelihoods(tallies, rows) for tallies in own]).reshape(*shape, -1)
        for rows in (ko2021.TABLE_5, ko2021.TABLE_4)
    )
    return xr.Dataset(
        {
            "converged": (each, of_each("converged"), {"description": "trials that reached loss 0"}),
            "trials": (each, of_each("trials"), {"description": "trials trained"}),
            "non_finite": (each, of_each("non_finite"), {"description": "trials whose final loss is not"}),
            "log_likelihood": (each, table_5, {"description": "of the published count of Table 5, beta-binomial"}),
            "total_log_likelihood": (AXES, table_5.sum(axis=-1), {"description": "sum over the activations"}),
            "table_4_log_likelihood": (
                *(AXES, table_4.sum(axis=-1)),
                {"description": "of both counts of Table 4, not in the total"},
            ),
        },
        coords=coords
        | {
            "activation": list(ACTIVATIONS),
            "weight_std": ("scale", [x[1] for x in scales]),
            "output_weight_std": ("scale", [x[2] for x in scales]),
        },
        attrs={"description": "Which training conditions give the counts of [P, Table 5]"},
    )


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One cell.

    Attributes:
      rank: 1 is the best.
      at: its place along every axis.
      cell: the conditions.
      counts: (converged, trials) of each activation.
      log_likelihood: of [P, Table 5].
      table_4: log likelihood of [P, Table 4].
      posterior: see `posterior`.
      matched: see `rows_matched`.
    """

    rank: int
    at: Mapping[str, int]
    cell: Cell
    counts: dict[str, tuple[int, int]]
    log_likelihood: float
    table_4: float
    posterior: float
    matched: int

    @property
    def trials(self) -> int:
        """Trials of each activation."""
        return min(trials for _, trials in self.counts.values())


def ranking(records: xr.Dataset) -> list[Ranked]:
    """All cells by falling log likelihood."""
    total = records["total_log_likelihood"].transpose(*AXES).values
    share = posterior(total)
    ranked = []
    for i, place in enumerate(sorted(np.ndindex(total.shape), key=lambda place: -total[place])):
        at = dict(zip(AXES, place, strict=True))
        one = records.isel(at)
        conditions = Conditions(**{field.name: one[field.name].item() for field in dataclasses.fields(Conditions)})
        names, converged, trials = (one[name].values.tolist() for name in ("activation", "converged", "trials"))
        counts = dict(zip(names, zip(converged, trials, strict=True), strict=True))
        likelihoods = float(one["total_log_likelihood"]), float(one["table_4_log_likelihood"])
        cell = Cell(conditions, int(one["kink"]))
        ranked.append(Ranked(i + 1, at, cell, counts, *likelihoods, float(share[place]), rows_matched(counts)))
    return ranked


def margins(records: xr.Dataset) -> list[tuple[str, Any, float, float]]:
    """For every value of every axis: (axis, value, posterior, best log likelihood less the best of all)."""
    total = records["total_log_likelihood"]
    share = total.copy(data=posterior(total.values))
    rows = []
    for axis in AXES:
        others = [name for name in AXES if name != axis]
        masses, best = share.sum(others).values, (total.max(others) - total.max()).values
        rows += [
            (axis, value, float(mass), float(below))
            for value, mass, below in zip(records[axis].values.tolist(), masses, best, strict=True)
        ]
    return rows


# -- tables and figure -------------------------------------------------------------------------------------------------


def _ranking_table(run: Run) -> Table:
    config, ranked = run.manifest["config"], ranking(run.records)
    rows = [r for r in ranked if r.rank <= SHOWN or r.cell.protocol]
    best, published = ranked[0].log_likelihood, ko2021.TABLE_5
    finals = sum(r.trials >= config["final_seeds"] for r in ranked)

    def cells(r: Ranked) -> list[Any]:
        scale, bias_std, gradient_scale, batch, kink = r.cell.values
        per_1000 = (1000 * converged / trials for converged, trials in (r.counts[row.activation] for row in published))
        scores = [r.matched, r.log_likelihood - best, r.posterior, r.trials]
        return [r.cell.protocol, scale, bias_std, gradient_scale, BATCH[batch], kink, r.rank, *per_1000, *scores]

    printed = [1000 * row.converged / row.trials for row in published]
    first = ["published", *[None] * (len(TITLES) + 1), *printed, None, None, None, published[0].trials]
    return Table(
        "Conditions by the likelihood of the published counts; trials that reach loss 0, per 1,000 [P, Table 5]",
        [
            *("protocol", TITLES["scale"]),
            *(Column(TITLES[axis], "g") for axis in ("bias_std", "gradient_scale")),
            *(TITLES["batch"], Column(TITLES["kink"], key="kink"), "rank"),
            *(Column(_short(row.label), ".0f") for row in published),
            Column("matched", f"{{}} of {len(published)}".format),
            Column("log lik.", ".1f"),
            Column("posterior", lambda x: f"{x:.2g}" if x > 1e-4 else "0"),
            "trials",
        ],
        [first, *map(cells, rows)],
        f"{len(ranked)} cells, the same conditions for every row of a cell; {config['seeds']} trials of each "
        f"activation, {config['final_seeds']} in {finals} of the best; {config['steps']:,} steps, learning rate "
        f"{config['learning_rate']:g}; converged: mean squared error below {config['threshold']:g}. c: dL/dy_out = "
        f"c (y_out - t). log lik.: of all seven published counts, beta-binomial, less the best cell's ({best:.2f}). "
        f"posterior: of the cells, equally likely before. matched: rows not rejected at 5 % with Holm's correction. "
        f"In the figure, left: of the slopes of ReLU at 0 the likelier one; framed: protocols of xor10.",
        left=("weights", "update after"),
        keys=6,
        beside=["log lik."],
    )


def _margins_table(run: Run) -> Table:
    ranked = ranking(run.records)
    near = sum(ranked[0].log_likelihood - r.log_likelihood < NOT_TOLD_APART for r in ranked)
    return Table(
        "Posterior of each condition, whatever the others",
        ["condition", "value", Column("posterior", ".3f"), Column("best log lik.", ".1f")],
        [
            [TITLES[axis], Shown(value, BATCH.get(value, str(value))), mass, below]
            for axis, value, mass, below in margins(run.records)
        ],
        f"{near} of {len(ranked)} cells are not told apart from the best (likelihood within a factor of 20).",
        left=("value",),
        keys=2,
    )


def _figure(records: xr.Dataset) -> Figure:
    total = records["total_log_likelihood"].max("kink").transpose("scale", "bias_std", "batch", "gradient_scale")
    scales, biases, batches, gradients = (records[name].values for name in total.dims)
    ranked, marks = ranking(records), {}
    for r in (r for r in ranked if r.cell.protocol):
        row = r.at["scale"] * len(biases) + r.at["bias_std"]
        marks[row, r.at["batch"] * len(gradients) + r.at["gradient_scale"]] = str(r.cell.protocol)
    grid = GridMap(
        log_likelihood=total.values.reshape(len(scales) * len(biases), -1),
        rows=[f"{scale}, {bias:g}" for scale in scales for bias in biases],
        columns=[f"{BATCH[batch]}\n{c:g}" for batch in batches for c in gradients],
        row_title="initial weights, s.d. of the biases",
        column_title="update after, c in dL/dy_out = c (y_out - t)",
        marks=marks,
    )
    top, published = ranked[:SHOWN], ko2021.TABLE_5

    def title(r: Ranked) -> str:
        scale, bias_std, gradient_scale, batch, kink = r.cell.values
        protocol = f" ({r.cell.protocol})" if r.cell.protocol else ""
        return f"{r.rank}. {scale}, {bias_std:g}, {gradient_scale:g}, {BATCH[batch]}, {kink}{protocol}"

    counts = np.array([[r.counts[row.activation] for row in published] for r in top])
    best = Ranking(
        cells=[title(r) for r in top],
        counts=[_short(row.label) for row in published],
        converged=counts[..., 0],
        trials=counts[..., 1],
        published=np.array([row.converged for row in published]),
        published_trials=np.array([row.trials for row in published]),
    )
    return likelihood_search(grid, best)


def _short(label: str) -> str:
    return label.replace("Parametric", "P.")
