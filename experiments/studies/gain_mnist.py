"""Which gain do deep networks on MNIST need, and does the window close with depth as theory says?

The phase diagram of `gain`, with networks of 8 to 64 hidden layers. They start from several scales a0 sigma_w, in units
of the critical one (`activations.critical_gain`), each made of two scales sigma_w of the weights. a and b are frozen,
learned, or frozen at learning rates divided by a0^2 where a0 scales the weights. Mean-field theory says that a network
of L layers learns where L is at most about six depth scales: the window around the critical scale closes as L grows.

Result: it does. With a frozen, PPNS learns from 0.77 of the critical scale on with 8 layers, and from 1.03 with 64;
Parametric Tanh from 0.80 and 1.10. The lower edge is within 16 % of theory at every depth. At rates eta/a0^2 the
product a0 sigma_w alone decides. Learning a and b does not widen the window.

References:
  Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, Deep information propagation, 2017.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.problems.digits import Data, DataDir, images_of, load, source_of
from experiments.problems.xor10.protocol import label_of
from experiments.studies.gain import ARMS, COLLAPSED, TRAINABLE, arm_of
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import (
    Batch,
    Count,
    Depths,
    Out,
    Positives,
    Rate,
    ScaledActivations,
    SeveralSeeds,
    Steps,
    expect_within,
)
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table, with_interval

if TYPE_CHECKING or at_once(__name__):
    import jax
    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    from experiments.problems.mnist import deep
    from experiments.studies.gain import half_at, phase_map, theory_lines
    from experiments.study.comparing import above, numbers_of
    from experiments.study.run_directory import Run
    from experiments.study.samples import paired, sample
    from experiments.study.tuning import places
    from paramact_jax.activations import critical_gain
    from paramact_jax.datasets import Digits
    from paramact_jax.figures.colours import COLOURS
    from paramact_jax.statistics import PairedComparison
    from paramact_jax.sweeps import Training

TRAINED = ARMS[:3]
"""All arms of `gain` but the last: whether rates are compensated, and whether a and b are learned."""
NEAR = 1.25
"""Theory is called right where the edge of the window lies within this factor of its line."""
SIDES = ("lower", "upper")
LINE = f"depth = {TRAINABLE} depth scales"
FROZEN, LEARNED, COMPENSATED = (arm_of(*arm) for arm in TRAINED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GainMnist(Study):
    """Which gain do deep networks on MNIST need? A phase diagram of a0 sigma_w and the depth, 8 to 64 layers.

    Trains from several scales a0 sigma_w, in units of the critical one, with a and b frozen or learned, and with
    learning rates divided by a0^2 where a0 scales the weights. About 11 minutes on 2 cores. Writes
    runs/gain-mnist-DATE-TIME/: records, summary, report, tables, figures.
    Example: python -m experiments gain-mnist --activations ppns --depths 8 16
    """

    name: ClassVar[str] = "gain-mnist"
    heading: ClassVar[str] = "Which gain at which depth? MNIST"

    activations: ScaledActivations = ("ppns", "parametric_tanh")
    """Names of activations with a scale a."""
    depths: Depths = (8, 16, 32, 64)
    """Numbers of hidden layers."""
    scales: Positives = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0)
    """Start values of a0 sigma_w, in units of the critical one: 4 for PPNS, 1 for Parametric Tanh."""
    weight_stds: Positives = (0.75, 1.5)
    """Standard deviations of the weights, sigma_w, in units of 1 / sqrt(fan_in)."""
    seeds: SeveralSeeds = 5
    """Networks of each cell under each arm, on the same seeds."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    width: Count = 64
    """Nodes in every hidden layer."""
    batch: Batch = 32
    """Images a step."""
    steps: Steps = 300
    """Steps of gradient descent."""
    learning_rate: Rate = 0.02
    """eta, of all parameters."""
    scored: Count = 2_000
    """Test images, the first ones, that a network is scored with after its last step."""
    data: Data = "auto"
    data_dir: DataDir = None
    out: Out = None

    def load(self) -> Any:
        """Loads the images."""
        return load(self.data, self.data_dir)

    def check(self, data: Any) -> None:
        """Refuses numbers that do not fit the images."""
        expect_within(self, "batch", 1, len(data.train_labels), "the number of training images")
        expect_within(self, "scored", 1, len(data.test_labels), "the number of test images")

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all cells under all arms in one sweep, with a program for each activation and depth."""
        images = images_of(data)
        images |= {name: images[name][: self.scored] for name in ("test_images", "test_labels")}
        found = work.sweep(
            self,
            functools.partial(training, study=self, digits=data),
            [f"{name}, {depth} layers" for name in self.activations for depth in self.depths],
            directory="cells",
            static_axes={"activation": self.activations, "depth": self.depths},
            axes={"scale": sorted(self.scales), "weight_std": self.weight_stds},
            points=[{"compensated": compensated, "learned": learned} for compensated, learned in TRAINED],
            chunk=len(self.scales) * self.seeds,
            block=1,
            learning_rate=self.learning_rate,
            data=images,
        )
        found = found.drop_vars(["compensated", "learned"]).rename(point="arm")
        variables = {
            "test_loss": Variable(
                "test.loss", f"mean cross-entropy over {self.scored} test images, after the last step"
            ),
            "test_accuracy": Variable("test.accuracy", "share of them whose label has the largest output"),
        }
        records = described(found, variables, {}, {"problem": "mnist", **source_of(data)})
        return records.assign_coords(arm=[arm_of(*arm) for arm in TRAINED])

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says from which scale on networks learn, at each depth."""
        told = []
        for name in run.records["activation"].values.tolist():
            own = [one for one in windows(run) if one.activation == name and one.arm == FROZEN and one.side == "lower"]
            where = ", ".join(f"{one.at:.2f} at {one.depth} layers" for one in own if math.isfinite(one.at))
            told.append(f"{label_of(name)}, a frozen, learns from these a0 sigma_w / critical on: {where or 'none'}.")
        return " ".join(told)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the window of scales at each depth, whether the product alone decides, and the effect of learning."""
        yield "windows", windows_table(run)
        yield "collapse", collapse_table(run)
        yield "learning", learning_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the phase diagram: accuracy by scale and depth."""
        yield "phases", _phases(run)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what theory says of the window, and what learning adds."""
        found = [one for one in windows(run) if one.arm == FROZEN and one.side == "lower"]
        for name in run.records["activation"].values.tolist():
            own = sorted((one for one in found if one.activation == name), key=lambda one: one.depth)
            shallow, deep = own[0], own[-1]
            text, criterion = f"the window of {label_of(name)} closes with depth", "lower edges: 95 % intervals apart"
            measured = f"{shallow.at:.2f} at {shallow.depth} layers, {deep.at:.2f} at {deep.depth}"
            known = len(own) > 1 and shallow.interval is not None and deep.interval is not None
            apart = known and shallow.interval[1] < deep.interval[0]  # type: ignore[index]  # known
            yield Statement("Schoenholz 2017", text, criterion, judged(apart if known else None), measured)
            ratios = [one.at / one.theory for one in own]
            text = f"{label_of(name)} learns from where the depth is {TRAINABLE} depth scales"
            measured = ", ".join(f"{ratio:.2f} at {one.depth} layers" for one, ratio in zip(own, ratios, strict=True))
            near = all(1 / NEAR <= ratio <= NEAR for ratio in ratios) if all(map(math.isfinite, ratios)) else None
            criterion = f"lower edge / theory within a factor of {NEAR:g} at every depth"
            yield Statement("Schoenholz 2017", text, criterion, judged(near), measured)
        for one in collapses(run):
            if one.arm == COMPENSATED:
                text = f"at rates eta/a0^2 only a0 sigma_w matters to {label_of(one.activation)}"
                criterion = f"accuracies at equal a0 sigma_w differ by less than {COLLAPSED:g}, root mean square"
                yield Statement("ours", text, criterion, judged(one.difference < COLLAPSED), f"{one.difference:.3f}")
        for found_one in learnings(run):
            pair = found_one.comparison
            text = f"learning a and b helps {label_of(found_one.activation)} at {found_one.depth} layers"
            if pair is not None:
                holds = above(pair.interval, 0)
                measured = (
                    f"mean accuracy over all scales {found_one.frozen:.1%} frozen, {found_one.learned:.1%} learned"
                )
                criterion = "mean accuracy over all scales: the difference over equal seeds is above 0"
                told = text, criterion, judged(holds), measured
                yield Statement("ours", *told, pair.difference, pair.interval)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the numbers of the tables."""
        return {"windows": windows(run), "collapses": collapses(run), "learning": learnings(run)}


# -- what is trained ---------------------------------------------------------------------------------------------------


def training(activation: str, depth: int, *, study: GainMnist, digits: Digits) -> Training:
    """Returns the training of one network at settings `scale` (a0 sigma_w / critical), `weight_std`, and `deep`'s."""
    critical = critical_gain(activation).gain
    conditions = {"width": study.width, "batch": study.batch, "steps": study.steps}
    whole = deep.training(activation, depth, digits=digits, scores=("test",), **conditions)

    def init(key: jax.Array, data: Any, scale: jax.Array, weight_std: jax.Array, compensated: jax.Array) -> Any:
        return whole.init(key, data, a0=scale * critical / weight_std, weight_std=weight_std, compensated=compensated)

    return Training(init, whole.step, whole.summarise)


# -- what the records say ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Edge:
    """An end of the window of scales from which an activation learns at a depth, under an arm.

    Attributes:
      activation, depth, arm: see the study.
      side: "lower" or "upper".
      at: a0 sigma_w / critical at which the test accuracy crosses 1/2; geometric mean over the networks that have such
        a place, NaN without one.
      interval: of it, 95 %, t interval over the seeds, of the logarithm; None with fewer than 2 seeds.
      networks: number of networks, one for each seed and sigma_w, that have such a place.
      theory: where the depth is `TRAINABLE` depth scales; NaN if that is beyond 1/8 and 8.
    """

    activation: str
    depth: int
    arm: str
    side: str
    at: float
    interval: tuple[float, float] | None
    networks: int
    theory: float


@dataclasses.dataclass(frozen=True)
class Collapse:
    """How much the test accuracy differs between the smallest and the largest sigma_w at equal a0 sigma_w.

    Attributes:
      activation, arm: see the study.
      difference: of the means over the seeds, root mean square over scales and depths.
      spread: of the means from their common mean, root mean square.
    """

    activation: str
    arm: str
    difference: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Learning:
    """What learning a and b adds to the test accuracy at a depth, the mean over all scales and sigma_w.

    Attributes:
      activation, depth: see the study.
      frozen, learned: the mean accuracies.
      comparison: learned minus frozen on equal seeds; None with fewer than 2 seeds.
    """

    activation: str
    depth: int
    frozen: float
    learned: float
    comparison: PairedComparison | None


@once
def windows(run: Run) -> list[Edge]:
    """Finds both edges of every activation, depth and arm."""
    found = []
    accuracy = run.records["test_accuracy"].astype(np.float64).transpose(..., "scale", "weight_std", "seed")
    scales = accuracy["scale"].values
    for at in places(accuracy, ("activation", "depth", "arm")):
        critical = critical_gain(at["activation"]).gain
        lines = np.array(theory_lines(at["activation"], at["depth"], critical / 8, 8 * critical)[LINE]) / critical
        theory = {"lower": max(lines[lines < 1], default=math.nan), "upper": min(lines[lines > 1], default=math.nan)}
        own = accuracy.sel(at).values
        by_network = own.reshape(len(scales), -1)
        for side, order in zip(SIDES, (1, -1), strict=True):
            logs = np.log(half_at(by_network[::order], scales[::order])).reshape(own.shape[1:])
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of seeds without a place
                place = sample(np.nanmean(logs, axis=0))
            ends = place.interval()
            interval = None if ends is None else (math.exp(ends[0]), math.exp(ends[1]))
            edge = math.exp(place.mean), interval, int(np.isfinite(logs).sum()), float(theory[side])
            found.append(Edge(at["activation"], at["depth"], at["arm"], side, *edge))
    return found


@once
def collapses(run: Run) -> list[Collapse]:
    """Compares the scales of the weights, of every activation and arm; none with one scale."""
    mean = run.records["test_accuracy"].astype(np.float64).mean("seed").sortby("weight_std")
    if mean.sizes["weight_std"] < 2:
        return []
    gap = mean.isel(weight_std=-1, drop=True) - mean.isel(weight_std=0, drop=True)
    return [
        Collapse(**at, difference=float(np.sqrt((gap.sel(at) ** 2).mean())), spread=float(mean.sel(at).std()))
        for at in places(mean, ("activation", "arm"))
    ]


@once
def learnings(run: Run) -> list[Learning]:
    """Compares learned with frozen a and b, of every activation and depth."""
    mean, found = run.records["test_accuracy"].astype(np.float64).mean(["scale", "weight_std"]), []
    for at in places(mean, ("activation", "depth")):
        frozen, learned = (mean.sel(at).sel(arm=arm).values for arm in (FROZEN, LEARNED))
        compared = paired(learned, frozen, mean["seed"].values)
        found.append(Learning(**at, frozen=float(frozen.mean()), learned=float(learned.mean()), comparison=compared))
    return found


# -- tables and figures ------------------------------------------------------------------------------------------------


def windows_table(run: Run) -> Table:
    """Returns the scales between which networks learn."""
    rows: list[list[Any]] = [
        [label_of(one.activation), one.depth, one.arm, one.side, one.at, one.interval, one.networks, one.theory]
        for one in windows(run)
    ]
    return Table(
        "The window: a0 sigma_w / critical at which the test accuracy crosses 1/2",
        [
            *("activation", "layers", Column("arm", left=True), Column("edge", left=True)),
            *with_interval("at", ".2f"),
            "networks",
            Column("theory", ".2f"),
        ],
        rows,
        f"{_conditions(run)} at: geometric mean over the networks whose accuracy crosses 1/2 between two scales; "
        f"networks: their number; t interval over the seeds. theory: where the depth is {TRAINABLE} depth scales "
        "[Schoenholz 2017].",
        keys=4,
    )


def collapse_table(run: Run) -> Table:
    """Returns whether a0 sigma_w alone decides."""
    rows: list[list[Any]] = [[label_of(one.activation), one.arm, one.difference, one.spread] for one in collapses(run)]
    return Table(
        "Does a0 sigma_w alone decide?",
        ["activation", Column("arm", left=True), Column("difference", ".3f"), Column("spread", ".3f")],
        rows,
        f"{_conditions(run)} difference: of the mean accuracies at the largest and the smallest sigma_w at equal "
        "a0 sigma_w, root mean square over scales and depths; spread: of all these means.",
    )


def learning_table(run: Run) -> Table:
    """Returns what learning a and b adds."""
    rows: list[list[Any]] = []
    for one in learnings(run):
        _, difference, interval, _ = numbers_of(one.comparison)
        rows.append([label_of(one.activation), one.depth, one.frozen, one.learned, difference, interval])
    return Table(
        "What learning a and b adds to the test accuracy",
        [
            *("activation", "layers", Column("frozen", ".1%"), Column("learned", ".1%")),
            *with_interval("difference", "+.1%"),
        ],
        rows,
        f"{_conditions(run)} Mean accuracy over all scales and sigma_w, at rates eta; t interval over the seeds.",
        keys=2,
        beside=["difference"],
    )


def _phases(run: Run) -> Figure:
    """Draws the mean test accuracy by scale and depth: a row an activation, a column an arm."""
    mean = run.records["test_accuracy"].mean(["seed", "weight_std"]).sortby("depth").transpose(..., "depth", "scale")
    names, arms = (mean[name].values.tolist() for name in ("activation", "arm"))
    scales, depths = mean["scale"].values, mean["depth"].values
    figure = Figure(figsize=(3.0 * len(arms) + 0.8, 2.4 * len(names) + 0.7), dpi=130, layout="constrained")
    panels = figure.subplots(len(names), len(arms), squeeze=False, sharex=True, sharey=True)
    for row, name in zip(panels, names, strict=True):
        edges_of = [one for one in windows(run) if one.activation == name]
        for axes, arm in zip(row, arms, strict=True):
            image = phase_map(axes, mean.sel(activation=name, arm=arm).values, scales, depths, ticks=4)
            own = [one for one in edges_of if one.arm == arm]
            for i, side in enumerate(SIDES):
                ends = sorted((one.depth, one.theory, one.at) for one in own if one.side == side)
                at, theory, seen = (list(values) for values in zip(*ends, strict=True))
                told = (LINE, "accuracy crosses 1/2") if not i else (None, None)
                axes.plot(theory, at, color="w", linestyle="--", linewidth=1, label=told[0])
                axes.plot(seen, at, color=COLOURS[1], linewidth=1.5, marker="o", markersize=3, label=told[1])
            axes.axvline(1, color="w", linewidth=2, label=r"$\chi = 1$")
            axes.set_title(f"{label_of(name)}: {arm}", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel(r"$a_0\,\sigma_w$ / critical", fontsize=8)
    figure.supylabel("hidden layers", fontsize=9)
    figure.colorbar(image, ax=panels, shrink=0.7, label="test accuracy", format=PercentFormatter(1, 0))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, facecolor="0.6")
    return figure


def _conditions(run: Run) -> str:
    config, seeds = run.manifest["config"], run.records["seed"].values
    return (
        f"Width {config['width']}, {config['steps']:,} steps with {config['batch']} images, "
        f"eta = {config['learning_rate']:g}, seeds {seeds.min()} to {seeds.max()}; accuracy over "
        f"{config['scored']:,} test images; images: {run.records.attrs['source']}."
    )
