"""The networks of [P, section 4.2] on MNIST: 8 activations, 8 hidden layers of 128. Do they do what [P] says?

Result, on 10 seeds: all published counts of slopes >= 1 before training [P, Fig. 14] lie within two standard deviations
of ours, and the five that differ fit at once (p = 0.19) with Hexpo's start values counted from layer 0; PPNS needs 66 %
fewer steps than ReLU to a train loss of 0.1 (63 to 69 %; published: about 2/3); 17 of 19 statements are true.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from experiments.problems.digits import Data, DataDir, is_mnist, load, source_of
from experiments.problems.mnist.protocol import PROTOCOLS, Batches, Initial, Protocol, ProtocolName
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import MAX_SEED, NOT_NEGATIVE, Count, Out, one_of
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Cell, Column, Table, number, with_interval
from paramact_jax.papers import ko2021

if TYPE_CHECKING or at_once(__name__):
    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure
    from scipy import stats

    from experiments.problems.mnist.train import CLOSEUP, early_loss, mean_loss, seconds_per_step, steep_slopes, train
    from experiments.study.curves import band
    from experiments.study.run_directory import Run, within
    from experiments.study.samples import Sample, first_below, inside, sample
    from paramact_jax.figures import CountBar, RangeHistory, count_bars, curves_with_bands, range_panels
    from paramact_jax.training import marks

START = 200
"""Fig. 13 is said to show small gradients in steps 0 to 200 ..."""
PLOTTED = 4_000
"""... and ends here."""
ALIKE = 0.1
"""The paper's "slightly", "almost the same" and "similar" mean a difference of at most this share."""
NEAR_ZERO = 0.1
"""A gradient near 0 has at most this share of the range that the paper prints for Parametric ReLU."""
ROUNDED = 0.05
"""Half of the last digit of a length that the paper prints."""
WITHIN = 3.0
"""A published count is met if it lies within this many standard deviations over our seeds."""
LABELS = {row.activation: row.label for row in ko2021.TABLE_7}
FAST = ("parametric_tanh", "hexpo", "parametric_hexpo", "ppns")
SLOW = ("relu", "parametric_relu", "tanh", "reltanh")
STATED = ("depth", "width", "batch", "optimiser", "learning_rate", "learning_rate_a", "learning_rate_b", "initial_a")
"""Conditions that [P, Fig. 11, Tables 7 and 8] state without doubt."""
VARIABLES = {
    name: Variable(key, text, (dim,))
    for name, key, dim, text in (
        ("test_loss", "test.loss", "test_step", "mean cross-entropy over all test images after so many steps"),
        ("test_accuracy", "test.accuracy", "test_step", "share of all test images whose digit has the largest output"),
        ("train_loss", "train.loss", "train_step", "mean cross-entropy over all training images after so many steps"),
        ("train_accuracy", "train.accuracy", "train_step", "share of all training images, likewise"),
        ("gradient_smallest", "notes.smallest", "step", "smallest entry of dL/dy^(1) over the minibatch [P, eq. 17]"),
        ("gradient_largest", "notes.largest", "step", "largest entry of dL/dy^(1), likewise"),
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist(Study, Protocol):
    """Train the networks of [P, section 4.2] on MNIST: 8 activations, 8 hidden layers of 128, 10,000 steps.

    About 9 minutes on 2 cores. Writes runs/mnist-DATE-TIME/: records, summary, report, tables, the paper's Figs. 12
    to 14. Example: python -m experiments mnist --activations relu ppns --seeds 10 --data-dir ~/data/mnist
    """

    name: ClassVar[str] = "mnist"
    heading: ClassVar[str] = "MNIST, deep perceptrons"
    free: ClassVar[frozenset[str]] = frozenset({"activations"})

    protocol: ProtocolName = "recovered"
    """Conditions: `recovered` gives the published slope counts, `literal` is [P, Table 8] as printed."""
    initial: Initial | None = None  # type: ignore[assignment]  # None until `resolved`, as the next four
    batches: Batches | None = None  # type: ignore[assignment]
    hexpo_first: Annotated[int | None, one_of(0, 1)] = None  # type: ignore[assignment]
    counted: Count = 150
    """Networks of each activation whose slopes are counted before training [P, Fig. 14]: those that are trained, and
    the next seeds."""
    learning_rate_a: Annotated[float | None, NOT_NEGATIVE] = None  # type: ignore[assignment]
    learning_rate_b: Annotated[float | None, NOT_NEGATIVE] = None  # type: ignore[assignment]
    data: Data = "auto"
    data_dir: DataDir = None
    out: Out = None

    def resolved(self) -> Self:
        """Fills in what the protocol says, and one learning rate for all parameters where no other is given."""
        stated = {name: getattr(PROTOCOLS[self.protocol], name) for name in ("initial", "batches", "hexpo_first")}
        stated |= dict.fromkeys(("learning_rate_a", "learning_rate_b"), self.learning_rate)
        return dataclasses.replace(self, **{k: x for k, x in stated.items() if getattr(self, k) is None})

    def load(self) -> Any:
        """Loads the images."""
        return load(self.data, self.data_dir)

    def check(self, data: Any = None) -> None:
        """Refuses what the protocol refuses."""
        Protocol.check(self, len(data.train_labels))

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains one activation after the other, all its seeds at once, and then times all in turns."""
        progress = work.progress(self.activations, self.steps)
        trained, counted, seconds = [], [], {}
        to_count = dataclasses.replace(self, seeds=min(max(self.counted, self.seeds), MAX_SEED - self.first_seed + 1))
        for name in self.activations:
            begin, told = time.perf_counter(), functools.partial(progress.advanced, name)
            trained.append(train(name, self, data, directory=within(work.directory, name), on_progress=told))
            progress.through(name)
            counted.append(steep_slopes(name, to_count, data))
            seconds[name] = time.perf_counter() - begin
        work.seconds["activations"] = seconds
        found = xr.concat(trained, xr.Variable("activation", list(self.activations)), data_vars="all")
        learned = {
            str(key).replace(".", "_"): Variable(
                str(key), f"learned {what} of a node; NaN where the activation learns none", ("layer", "node")
            )
            for key in sorted(map(str, found))
            if (what := key.removeprefix("learned.")) != key
        }
        coords: dict[str, Any] = {
            f"{x}_step": marks(self.steps, getattr(self, f"{x}_every")) for x in ("test", "train")
        }
        coords |= {"step": np.arange(self.steps)}
        coords |= {"layer": np.arange(1, self.depth + 1), "node": np.arange(1, self.width + 1)}
        network = f"MNIST with {self.depth} hidden layers: the networks of [P, section 4.2]"
        records = described(found, VARIABLES | learned, coords, {"description": network} | source_of(data))
        steep = "slopes |dz/dy| >= 1 before training, over the layer's nodes and the first minibatch [P, Fig. 14]"
        alone, slopes = "the same of all layers, from the first seed on", np.stack(counted)
        whole = "wall-clock seconds of all seeds together, compilation and scores included, in the last process"
        a_step = "wall-clock seconds of one step of one seed, without scores, measured in turns after the training"
        timed = seconds_per_step(self.activations, self, data)
        return records.assign(
            steep_slopes=(("activation", "seed", "layer"), slopes[:, : self.seeds], {"description": steep}),
            counted_slopes=(("activation", "counted"), slopes.sum(axis=2), {"description": alone}),
            seconds=(("activation",), np.array(list(seconds.values())), {"description": whole}),
            seconds_per_step=(("activation", "timing"), timed, {"description": a_step}),
        )

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says under which conditions the run was made, and how the statements are judged."""
        steps, asked = run.manifest["config"]["steps"], len(list(cls.statements(run)))
        ends = f" The run ends at step {steps:,}, and so does what is said of later steps." if steps < PLOTTED else ""
        left_out = len(list(claims())) - asked
        unasked = (
            f" Not asked, for want of an activation, of scores or of the paper's network: {left_out} of the paper's "
            "statements."
        )
        return (
            f"{_conditions(run)} Statements are judged by the means over the seeds. Their effect: the mean over the "
            f"seeds, in pairs, of the difference of the two that come closest to deciding otherwise, or from the "
            f"number in the criterion; 95 % t interval. Mean test loss over steps: linear between those scored. Range: "
            f"largest - smallest entry of dL/dy^(1).{ends}{unasked * bool(left_out)}"
        )

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields final test losses, slope counts, and the time to a train loss of 0.1."""
        yield "final_test_loss", final_table(run)
        yield "slope_counts", slopes_table(run)
        if together := counts_together(run):
            yield "slope_differences", differences_table(run, together)
        yield "time_to_loss", times_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields [P, Figs. 12 to 14]."""
        records, names, steps = run.records, activations(run.records), run.manifest["config"]["steps"]
        seeds, (losses, counts) = records["seed"].values, (final_losses(run), slope_counts(run))
        several, test = len(seeds) > 1, records["test_loss"]

        def of(variable: str, name: str) -> np.ndarray:
            return records[variable].sel(activation=name).transpose("seed", ...).values.astype(np.float64)

        yield (
            "figure_12",
            curves_with_bands(
                records["test_step"].values,
                [band(label(name), test.sel(activation=name), "test_step", losses.get(name)) for name in names],
                closeup=CLOSEUP if steps > CLOSEUP else None,
                ylabel="test loss",
                title=f"mean of {len(seeds)} seeds, 95 % interval shaded" if several else "one seed",
            ),
        )
        shaded = f", {len(seeds)} seeds shaded" if several else ""
        yield (
            "figure_13",
            range_panels(
                records["step"].values,
                [RangeHistory(label(n), of("gradient_smallest", n), of("gradient_largest", n)) for n in names],
                until=PLOTTED,
                ylabel=r"smallest and largest entry of $\partial L/\partial y^{(1)}$",
                title=f"Gradient at the first hidden layer: seed {seeds[0]} as lines{shaded}",
            ),
        )
        bars = [(label(n), slopes(records, n), counts.get(n)) for n in names]
        yield (
            "figure_14",
            count_bars(
                [CountBar(name, found.mean, found.deviation, printed) for name, found, printed in bars],
                ylabel=r"slopes $|\partial z/\partial y| \geq 1$ before training",
                title=f"Mean of {len(seeds)} seeds" if several else "One seed",
            ),
        )

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what [P, section 4.2] says of Figs. 12 to 14, as far as the run can decide it."""
        found, names = quantities(run.records), set(run.records["activation"].values.tolist())
        for claim in claims(_of_the_paper(run, "depth", "width")):
            if claim.quantity in found and names.issuperset(claim.activations):
                yield _judge(claim, found[claim.quantity])

    @classmethod
    def summary(cls, run: Run) -> dict[str, Any]:
        """Returns the tables as plain data."""
        records, losses, counts = run.records, final_losses(run), slope_counts(run)
        to_loss, of_activations = {row.activation: row for row in times(records)}, {}
        for name in activations(records):
            loss, accuracy = (final(records, f"test_{x}", name) for x in ("loss", "accuracy"))
            found, printed, count = slopes(records, name), losses.get(name), counts.get(name)
            of_activations[name] = {
                "test_loss": _entry(loss)
                | {
                    "published": printed,
                    "published_within_prediction": inside(printed, loss.prediction()),
                    "published_within_interval": inside(printed, loss.interval()),
                },
                "test_accuracy": _entry(accuracy),
                "steep_slopes": _entry(found)
                | {
                    "published": count,
                    "deviations_away": None if count is None else deviations_away(found, count),
                    "published_within": None if count is None else met(found, count),
                },
                "time_to_loss": to_loss[name],
            }
        return {
            "protocol": run.manifest["config"]["protocol"],
            "source": records.attrs["source"],
            "seeds": records["seed"].values.tolist(),
            "activations": of_activations,
            "slope_counts_together": counts_together(run),
        }


# -- quantities of the records -----------------------------------------------------------------------------------------


def final(records: xr.Dataset, variable: str, activation: str) -> Sample:
    """Returns a test score after the last step, over the seeds."""
    return sample(records[variable].sel(activation=activation).isel(test_step=-1).values)


def slopes(records: xr.Dataset, activation: str) -> Sample:
    """Returns the number of slopes >= 1 before training, of all layers, over the seeds."""
    return sample(slope_totals(records, activation))


def slope_totals(records: xr.Dataset, activation: str) -> np.ndarray:
    """Returns the same for each counted network; older runs counted only those that were trained."""
    counted = records["counted_slopes"] if "counted_slopes" in records else records["steep_slopes"].sum("layer")
    return np.asarray(counted.sel(activation=activation).values, np.float64)


@dataclasses.dataclass(frozen=True)
class Together:
    """The distinct published slope counts, compared with ours on the same network and minibatch.

    Counts of two activations vary together from seed to seed, so that their differences vary far less than they do.

    Attributes:
      activations: one for each published count that is not 0.
      squared_distance: Mahalanobis distance of the published counts from our means, squared.
      p_value: of Hotelling's test that the published ones are one more seed of ours.
      differences: of every two counts.
    """

    activations: tuple[str, ...]
    squared_distance: float
    p_value: float
    differences: tuple[SlopeDifference, ...]


@dataclasses.dataclass(frozen=True)
class SlopeDifference:
    """The difference of two counts, first minus second: ours over the seeds, and the published one."""

    first: str
    second: str
    ours: Sample
    published: int

    @property
    def away(self) -> float:
        """How far the published difference is from ours, in standard deviations."""
        return deviations_away(self.ours, self.published)


@once
def counts_together(run: Run) -> Together | None:
    """Compares all published counts at once; None with fewer than two counts, or too few seeds."""
    printed, by_count = slope_counts(run), dict[int, str]()
    for name in activations(run.records):
        if printed.get(name):
            by_count.setdefault(printed[name], name)
    names = tuple(by_count.values())
    if len(names) < 2:
        return None
    counts = np.stack([slope_totals(run.records, name) for name in names], axis=1)
    seeds, number_of = counts.shape
    covariance = np.cov(counts, rowvar=False) * (1 + 1 / seeds) if seeds > number_of else np.zeros((1, 1))
    if np.linalg.matrix_rank(covariance) < number_of:
        return None
    away = np.array([printed[name] for name in names]) - counts.mean(axis=0)
    squared = float(away @ np.linalg.solve(covariance, away))
    scaled = squared * (seeds - number_of) / (number_of * (seeds - 1))
    differences = [
        SlopeDifference(names[i], names[j], sample(counts[:, i] - counts[:, j]), printed[names[i]] - printed[names[j]])
        for i, j in itertools.combinations(range(number_of), 2)
    ]
    p_value = float(stats.f.sf(scaled, number_of, seeds - number_of))
    return Together(names, squared, p_value, tuple(differences))


def deviations_away(found: Sample, published: float) -> float:
    """Returns (published - mean) / s.d. over the seeds: 0 where they are equal, NaN with fewer than 2 seeds."""
    away = published - found.mean
    if found.deviation == 0:
        return 0.0 if away == 0 else math.copysign(math.inf, away)
    return away / found.deviation


def met(found: Sample, published: float) -> bool | None:
    """Tells whether the published count is within `WITHIN` standard deviations; None with fewer than 2 seeds."""
    away = deviations_away(found, published)
    return None if math.isnan(away) else abs(away) <= WITHIN


def quantities(records: xr.Dataset) -> dict[str, xr.DataArray]:
    """Returns the quantities of the statements, each (activation, seed), except those that the records do not give.

    - speed, early speed: mean test loss over all steps, or over the steps of the close-up, linear between scores: the
      area below the curve of Fig. 12. The lower, the faster. Few scores overestimate the first, steep part, so that
      only runs with equally many scores can be compared.
    - final loss: at the last step scored.
    - start range, plotted range: largest - smallest entry of dL/dy^(1), mean over the steps up to 200, up to 4,000.
    - widest range: the same, the largest over the steps up to 4,000.
    - steep slopes: number of slopes >= 1 before training, of all layers.
    """
    loss = records["test_loss"].astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinities of both signs would make a NaN with a warning
        spread = records["gradient_largest"].astype(np.float64) - records["gradient_smallest"].astype(np.float64)
    plotted = spread.sel(step=slice(0, PLOTTED))
    result = {
        "final loss": loss.isel(test_step=-1),
        "start range": spread.sel(step=slice(0, START)).mean("step", skipna=False),
        "plotted range": plotted.mean("step", skipna=False),
        "widest range": plotted.max("step", skipna=False),
        "steep slopes": records["steep_slopes"].sum("layer").astype(np.float64),
    }
    if loss.sizes["test_step"] > 1:
        result["speed"] = mean_loss(loss, int(loss["test_step"][-1]))
    if (early := early_loss(loss)) is not None:
        result["early speed"] = early
    return {name: values.transpose("activation", "seed") for name, values in result.items()}


@dataclasses.dataclass(frozen=True)
class Saving:
    """The share of steps, or of time, that one activation needs less than another: 1 - steps / steps of the other.

    Attributes:
      pairs: seeds in which both reached the loss; only they count.
      mean, interval: over those seeds; NaN if there is none, None with fewer than 2.
      alone: seeds in which the other never reached the loss and this one did.
      at_least: what is saved in each of those at least, as the other needs more than the whole run; NaN without one.
    """

    pairs: int
    mean: float
    interval: tuple[float, float] | None
    alone: int
    at_least: float


@dataclasses.dataclass(frozen=True)
class Row:
    """The time that an activation takes to the published train loss.

    Attributes:
      activation: name.
      steps: over the seeds that reached the loss; `steps.non_finite` counts those that did not.
      seconds_per_step: median over the rounds of timing.
      seconds: mean steps x seconds_per_step.
      saved_steps, saved_seconds: against the published reference; None for itself, or if the run has not got it.
    """

    activation: str
    steps: Sample
    seconds_per_step: float
    seconds: float
    saved_steps: Saving | None = None
    saved_seconds: Saving | None = None


def times(records: xr.Dataset) -> list[Row]:
    """Returns the times of all activations of a run, the two of [P, section 4.2] first."""
    published, at = ko2021.MNIST_TIME_SAVED, records["train_step"].values
    first = (published.reference, published.activation)
    names = sorted(activations(records), key=lambda name: first.index(name) if name in first else len(first))
    losses = records["train_loss"].transpose("activation", "seed", "train_step")
    steps, seconds, rows = {}, {}, []
    for name in names:
        steps[name] = np.array([first_below(at, x, published.train_loss) for x in losses.sel(activation=name).values])
        seconds[name] = float(np.median(records["seconds_per_step"].sel(activation=name)))
        found = sample(steps[name])
        row = Row(name, found, seconds[name], found.mean * seconds[name])
        if name != first[0] and first[0] in names:
            own, other = seconds[name], seconds[first[0]]
            in_steps = _saving(steps[name], steps[first[0]], at[-1])
            in_seconds = _saving(steps[name] * own, steps[first[0]] * other, at[-1] * other)
            row = dataclasses.replace(row, saved_steps=in_steps, saved_seconds=in_seconds)
        rows.append(row)
    return rows


def _saving(values: np.ndarray, reference: np.ndarray, whole_run: float) -> Saving:
    both = np.isfinite(values) & np.isfinite(reference) & (reference > 0)
    saved = sample(1 - values[both] / reference[both])
    alone = values[np.isfinite(values) & np.isnan(reference)]
    at_least = float(1 - alone.max() / whole_run) if len(alone) else math.nan
    return Saving(saved.seeds, saved.mean, saved.interval(), len(alone), at_least)


# -- statements --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of the paper that can be put to any run.

    Two values decide it: the smallest of `higher` and the largest of `lower`.

    Attributes:
      figure: where it is made.
      text, criterion: what it says, and what that is taken to mean.
      quantity: which of `quantities` it is about.
      higher, lower: activations; a number may stand for `lower`.
      holds: of the two values, whether it is true.
      furthest: the largest of `higher` and the smallest of `lower` decide instead.
      printed: `lower` is a printed length of one network, to be met, up to its rounding, by one more network of ours:
        within the 95 % prediction interval over the seeds. `holds` is then of one seed alone.
    """

    figure: str
    text: str
    criterion: str
    quantity: str
    higher: tuple[str, ...]
    lower: tuple[str, ...] | float
    holds: Callable[[float, float], bool] = operator.gt
    furthest: bool = False
    printed: bool = False

    @property
    def activations(self) -> list[str]:
        """All activations of the statement."""
        lower = self.lower if isinstance(self.lower, tuple) else ()
        return list(dict.fromkeys((*lower, *self.higher)))

    def deciding(self, values: Mapping[str, float]) -> tuple[str, str | float]:
        """Returns the two that decide, from one value of each activation."""
        nearest, other = (max, min) if self.furthest else (min, max)
        second = other(self.lower, key=values.__getitem__) if isinstance(self.lower, tuple) else self.lower
        return nearest(self.higher, key=values.__getitem__), second

    def true_of(self, values: Mapping[str, float]) -> bool:
        """Tells whether it is true of one value of each activation."""
        first, second = self.deciding(values)
        return bool(self.holds(values[first], values[second] if isinstance(second, str) else second))


def claims(papers_network: bool = True) -> Iterator[Claim]:
    """Yields all statements of [P, section 4.2] about Figs. 12, 13 and 14.

    Args:
      papers_network: whether the networks have the paper's depth and width; those with a printed number need it.
    """
    relu, tanh, reltanh, parametric_relu, ppns = (
        (name,) for name in ("relu", "tanh", "reltanh", "parametric_relu", "ppns")
    )
    plain, hexpos, lowest = (*relu, *tanh, *reltanh), ("hexpo", "parametric_hexpo"), ("parametric_tanh", "ppns")
    rest = "than each of the rest"

    def alike(larger: float, smaller: float) -> bool:
        return larger <= (1 + ALIKE) * smaller

    def similar(own: float, other: float) -> bool:
        return own >= (1 - ALIKE) * other

    speed, slower, early = "speed", "mean test loss over all steps", f"mean test loss over steps 0 to {CLOSEUP}"
    yield Claim("12", "ReLU's loss falls slowest", f"highest {slower}", speed, relu, _but("relu"))
    yield Claim("12", "ReLTanh is ahead of Tanh", f"lower {slower}", speed, tanh, reltanh)
    text, slightly = "ReLTanh is but slightly ahead of Tanh", f"{slower} lower by at most {ALIKE:.0%}"
    yield Claim("12", text, slightly, speed, tanh, reltanh, lambda tanh, own: similar(own, tanh))
    text = f"Parametric ReLU is ahead of {_listed(plain)}"
    yield Claim("12", text, f"lower {slower}", speed, plain, parametric_relu)
    speed, figure, text = "early speed", "12, close-up", f"{_listed(FAST)} fall faster {rest}"
    yield Claim(figure, text, f"{early} lower", speed, SLOW, FAST)
    text = "Hexpo, Parametric Hexpo and PPNS fall at almost the same speed"
    same = (*hexpos, *ppns)
    yield Claim(figure, text, f"{early} within {ALIKE:.0%}", speed, same, same, alike, furthest=True)
    text, criterion = (
        "Parametric Tanh and PPNS end lowest",
        "test loss after the last step below that of each of the rest",
    )
    yield Claim("12", text, criterion, "final loss", _but(*lowest), lowest)

    start, whole = f"mean range over steps 0 to {START}", f"mean range over steps 0 to {PLOTTED}"
    printed = ko2021.FIG_13_PARAMETRIC_RELU_RANGE
    limit = NEAR_ZERO * printed
    for name in plain if papers_network else ():
        text, criterion = f"{LABELS[name]}'s gradient is near 0 at first", f"{start} at most {limit:g}"
        yield Claim("13", text, criterion, "start range", (name,), limit, operator.le)
    if papers_network:
        text = f"Parametric ReLU's range reaches about {printed} by step {PLOTTED}"
        ends = f"{printed - ROUNDED:g} to {printed + ROUNDED:g}"
        criterion = f"the printed number, that is {ends}, meets the 95 % prediction interval of one network of ours"

        def near(value: float, length: float) -> bool:
            return abs(value - length) <= ROUNDED

        yield Claim("13", text, criterion, "widest range", parametric_relu, printed, near, printed=True)
    text = "Tanh's gradient is small against Parametric Tanh's"
    yield Claim("13", text, f"lower {start}", "start range", ("parametric_tanh",), tanh)
    text, criterion = "Hexpo and Parametric Hexpo are alike", f"{whole} within {ALIKE:.0%}"
    yield Claim("13", text, criterion, "plotted range", hexpos, hexpos, alike, furthest=True)
    text = f"PPNS's gradient is larger than those of {_listed(plain)}"
    yield Claim("13", text, f"higher {start}", "start range", ppns, plain)
    criterion = f"{whole} at least {1 - ALIKE:.0%} of it"
    for base in ("relu", "tanh", "hexpo"):
        own = f"parametric_{base}"
        text = f"{LABELS[own]}'s gradient is similar to {LABELS[base]}'s or larger"
        yield Claim("13", text, criterion, "plotted range", (own,), (base,), similar)

    what, count = "slopes >= 1 before training", "count in all layers"
    yield Claim("14", f"{_listed(FAST)} have more {what} {rest}", count, "steep slopes", FAST, SLOW)
    yield Claim("14", f"PPNS has the most {what}", count, "steep slopes", ppns, _but("ppns"))


def _judge(claim: Claim, quantity: xr.DataArray) -> Statement:
    """Judges by the means over the seeds whose values are all finite."""
    said = f"P, Fig. {claim.figure}", claim.text, claim.criterion
    values = quantity.sel(activation=claim.activations)
    values = values[:, np.isfinite(values.values).all(axis=0)]
    if not values.size:
        return Statement(*said, "undecided", "not finite for any seed")
    by_name = dict(zip(claim.activations, values.values, strict=True))
    means = {name: float(x.mean()) for name, x in by_name.items()}
    first, second = claim.deciding(means)
    other, named = (by_name[second], LABELS[second]) if isinstance(second, str) else (second, f"{second:g}")
    found = sample(by_name[first] - other)
    true = sum(claim.true_of({name: x[i] for name, x in by_name.items()}) for i in range(values.shape[1]))
    levels = ", ".join(f"{LABELS[name]} {number(mean)}" for name, mean in means.items())
    measured = f"{levels}; true of {true} of {quantity.shape[1]} seeds; effect: {LABELS[first]} - {named}"
    holds: bool | None = claim.true_of(means)
    if claim.printed:
        one_more = found.prediction()
        holds = None if one_more is None else one_more[0] <= ROUNDED and one_more[1] >= -ROUNDED
        measured += f", 95 % prediction interval {Column('', number).text(one_more)}"
    return Statement(*said, judged(holds), measured, found.mean, found.interval())


def _but(*names: str) -> tuple[str, ...]:
    return tuple(name for name in LABELS if name not in names)


def _listed(names: Sequence[str]) -> str:
    *others, last = (LABELS[name] for name in names)
    return f"{', '.join(others)} and {last}"


# -- what was published ------------------------------------------------------------------------------------------------


def final_losses(run: Run) -> dict[str, float]:
    """Returns the published test losses that suit this run: none after another training."""
    if not is_mnist(run.records) or not _of_the_paper(run, *STATED):
        return {}
    steps = run.manifest["config"]["steps"]
    return {row.activation: row.loss for row in ko2021.MNIST_FINAL_LOSS if row.steps == steps}


def slope_counts(run: Run) -> dict[str, int]:
    """Returns the published counts that suit this run."""
    if not is_mnist(run.records) or not _of_the_paper(run, "depth", "width", "initial_a"):
        return {}
    return {row.activation: row.count for row in ko2021.FIG_14 if row.slopes == slopes_counted(run)}


def slopes_counted(run: Run) -> int:
    """Returns the number of slopes that are counted: layers x nodes x images of the first minibatch."""
    return math.prod(_config(run)[name] for name in ("depth", "width", "batch"))


def _of_the_paper(run: Run, *names: str) -> bool:
    return all(_config(run)[name] == getattr(PROTOCOLS["literal"], name) for name in names)


def _config(run: Run) -> Mapping[str, Any]:
    """Returns the config of a run, with the options that older runs did not have."""
    before = {"depth": Protocol.depth, "width": Protocol.width, "initial_a": None, "hexpo_first": 1}
    return before | run.manifest["config"]


# -- tables ------------------------------------------------------------------------------------------------------------


def final_table(run: Run) -> Table:
    """Returns test loss and accuracy after the last step."""
    published, rows = final_losses(run), []
    printed = {row.activation: row.loss for row in ko2021.MNIST_FINAL_LOSS}
    for name in activations(run.records):
        loss, accuracy = (final(run.records, f"test_{x}", name) for x in ("loss", "accuracy"))
        expected = published.get(name)
        rows.append(
            [
                *(label(name), loss.mean, loss.interval(), (loss.smallest, loss.largest), printed.get(name)),
                loss.prediction() if name in published else None,
                *(inside(expected, loss.prediction()), inside(expected, loss.interval())),
                *(accuracy.mean, accuracy.interval(share=True)),
            ]
        )
    why = "the images are not MNIST's" if not is_mnist(run.records) else "it is of another training"
    return Table(
        "Test loss and accuracy at the end [P, Fig. 12]",
        [
            "activation",
            *with_interval("test loss", ".4f"),
            *(Column("smallest - largest", ".4f", key="extremes"), Column("published", ".3f")),
            *(Column("prediction interval", ".4f", key="prediction"), "published in it", "in interval of mean"),
            *with_interval("accuracy", ".2%", ends="95 % interval of accuracy"),
        ],
        rows,
        f"{_conditions(run)} Scored on all test images after the last step. Interval: 95 % t interval of the mean over "
        f"the seeds. Published is one run; one more of ours would fall into the 95 % prediction interval, mean +- t s "
        f"sqrt(1 + 1/n).{'' if published else f' What is published is not compared: {why}.'}"
        f"{_remarks(run, ['test_loss', 'test_accuracy'])}",
    )


COUNTED: tuple[str | Column, ...] = (
    *(Column("mean", ",.0f"), Column("s.d.", ",.0f"), Column("published", ",")),
    *(Column("s.d. away", "+.2f"), "verdict"),
)


def slopes_table(run: Run) -> Table:
    """Returns the slopes >= 1 before training."""
    comparable, rows = slope_counts(run), []
    printed = {row.activation: row.count for row in ko2021.FIG_14}
    for name in activations(run.records):
        found, away, verdict = slopes(run.records, name), None, None
        if name in comparable:
            away, verdict = deviations_away(found, comparable[name]), met(found, comparable[name])
        within = {None: None, True: "within", False: "outside"}[verdict]
        rows.append([label(name), found.mean, found.deviation, printed.get(name), away, within])
    why = "the images are not MNIST's" if not is_mnist(run.records) else "it is of other networks or minibatches"
    return Table(
        f"Slopes >= 1 before training, of {slopes_counted(run):,} [P, Fig. 14]",
        ["activation", *COUNTED],
        rows,
        f"{_conditions(run)} Mean and standard deviation over {found.seeds + found.non_finite} seeds, of all nodes of "
        f"all layers at all images of the first minibatch. Verdict: published within mean +- {WITHIN:g} s.d.; where "
        f"s.d. is 0, equal."
        f"{'' if comparable else f' What is published is not compared: {why}.'}{_remarks(run)}",
    )


def differences_table(run: Run, together: Together) -> Table:
    """Returns the counts in pairs, and all at once."""
    rows: list[list[Any]] = []
    for one in together.differences:
        verdict = "within" if met(one.ours, one.published) else "outside"
        found = one.ours.mean, one.ours.deviation, one.published, one.away, verdict
        rows.append([f"{label(one.first)} - {label(one.second)}", *found])
    counts = len(together.activations)
    return Table(
        "Differences of slope counts on the same network and minibatch [P, Fig. 14]",
        ["activations", *COUNTED],
        rows,
        f"{_conditions(run)} Over {together.differences[0].ours.seeds} seeds; of activations with equal published "
        f"counts the first. Verdict: published within mean +- {WITHIN:g} s.d. All {counts} counts at once: squared "
        f"Mahalanobis distance {together.squared_distance:.1f}, Hotelling's test that the published ones are one more "
        f"seed of ours: p = {together.p_value:.2g}.",
    )


def times_table(run: Run) -> Table:
    """Returns steps and seconds to the published train loss, and what they save against the published reference."""
    published, seeds, found = ko2021.MNIST_TIME_SAVED, run.records.sizes["seed"], times(run.records)
    reference, rows, late, alone = label(published.reference), [], [], ""
    comparable = is_mnist(run.records) and _of_the_paper(run, "depth", "width")
    for row in found:
        of_paper, steps, name = row.activation == published.activation, row.steps, label(row.activation)
        savings = [(x.mean, x.interval) if x else (None, None) for x in (row.saved_steps, row.saved_seconds)]
        rows.append(
            [
                *(name, Cell(steps.seeds, f"{steps.seeds} of {seeds}")),
                steps.mean if steps.seeds else Cell(None, "never"),
                *(steps.interval(), (steps.smallest, steps.largest), 1e3 * row.seconds_per_step, row.seconds),
                *(x for pair in savings for x in pair),
                Cell(published.share, "about 2/3") if of_paper else None,
                *(inside(published.share, x) if of_paper and comparable else None for _, x in savings),
            ]
        )
        if steps.non_finite:
            late.append(f"{steps.non_finite} of {seeds} of {name}")
        saved, in_time = row.saved_steps, row.saved_seconds
        if of_paper and saved and in_time and saved.alone:
            alone = (
                f" In {saved.alone} of {seeds} seeds {name} got there and {reference} did not: there it saves more "
                f"than {saved.at_least:.1%} of the steps, {in_time.at_least:.1%} of the time."
            )
    never = (
        f" Never got there within {run.manifest['config']['steps']:,} steps, and left out: {', '.join(late)}. A saving "
        f"is over the seeds in which both got there."
    )
    return Table(
        f"Steps and time to a train loss of {published.train_loss:g} [P, section 4.2]",
        [
            *("activation", "seeds"),
            *with_interval("steps", ",.0f"),
            *(Column("smallest - largest", ",.0f", key="extremes"), Column("ms a step", ".3g")),
            *(Column("seconds", ".3g"), *with_interval(f"steps saved against {reference}", ".1%", "steps_saved")),
            *with_interval("time saved", ".1%"),
            *(Column("published", ".3f"), "inside (steps)", "inside (time)"),
        ],
        rows,
        f"{_conditions(run)} Steps: until the loss over all training images is {published.train_loss:g}, its logarithm "
        f"linear between the steps at which it was scored; mean over the seeds that got there, with its 95 % t "
        f"interval. Seconds: mean steps x median time of a step of one seed, without scoring, on the machine of the "
        f"run. Saved: 1 - steps / steps of {reference}, seed by seed, with the 95 % t interval of the mean (the "
        f"timing's own error is not in it). Inside: whether the published 2/3 is.{never * bool(late)}{alone}"
        f"{_remarks(run, ['train_loss'])}",
    )


def label(activation: str) -> str:
    """Returns an activation as the paper prints it."""
    return LABELS.get(activation, activation)


def activations(records: xr.Dataset) -> list[str]:
    """Returns the activations of a run in the order of [P, Table 6]; others come last."""
    names = records["activation"].values.tolist()
    return [*(name for name in LABELS if name in names), *(name for name in names if name not in LABELS)]


def _conditions(run: Run) -> str:
    """Returns protocol, data and seeds in one sentence."""
    config, seeds = _config(run), run.records["seed"].values
    started = f", a started at {config['initial_a']:g}" if config["initial_a"] is not None else ""
    which = f"seeds {seeds.min()} to {seeds.max()}" if len(seeds) > 1 else f"seed {seeds[0]} alone"
    return (
        f"Protocol {config['protocol']}, {which}: {config['depth']} hidden layers of {config['width']}, initial "
        f"weights {config['initial']}, Hexpo from i = {config['hexpo_first']}, {config['batches']} batches of "
        f"{config['batch']}, {config['optimiser']}, "
        f"learning rate {config['learning_rate']} ({config['learning_rate_a']} for a, {config['learning_rate_b']} for "
        f"b), {config['steps']:,} steps{started}; images: {run.records.attrs['source']}."
    )


def _remarks(run: Run, variables: Iterable[str] = ()) -> str:
    """Returns remarks on a single seed, and on trainings with values of these variables that are not finite."""
    seeds, found = run.records.sizes["seed"], []
    for name in activations(run.records):
        own = (run.records[variable].sel(activation=name).transpose("seed", ...).values for variable in variables)
        finite = [np.isfinite(values.reshape(seeds, -1)).all(axis=1) for values in own]
        if diverged := int((~np.all(finite, axis=0)).sum()) if finite else 0:
            found.append(f"{diverged} of {seeds} of {label(name)}")
    alone = " One seed has no interval and no standard deviation." if seeds == 1 else ""
    left_out = f" Trainings with values that are not finite, which are left out where they are: {', '.join(found)}."
    return alone + left_out * bool(found)


def _entry(found: Sample) -> dict[str, Any]:
    return dataclasses.asdict(found) | {"interval": found.interval(), "prediction": found.prediction()}
