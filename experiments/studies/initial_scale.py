"""How large do the initial weights have to be? A network of five layers on MNIST, started at several scales [R].

Six activations are trained from seven scales. Values and gradients of every layer are looked at before training. The
two runs that [R] prints are made again, with the activations and learning rates that it may have used. Result, with 50
nodes a layer: all six pairs of activation and rate fit its run from a deviation of 0.01, which learns nothing; only
ReLU at a rate of 0.01 fits its run from He's value. [R] does not say its width, and at 100 ReLU fits less well.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.digits import Data, DataDir, images_of, is_mnist, load, scores, source_of
from experiments.study.imports import at_once
from experiments.study.options import (
    DISTINCT,
    Activations,
    Batch,
    Constraint,
    Count,
    Out,
    Rate,
    Rates,
    SeveralSeeds,
    Steps,
    also,
    expect,
    expect_within,
    positive_or,
    seeds_of,
)
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Cell, Column, Table, number
from paramact_jax.papers import student_report
from paramact_jax.papers.student_report import HE, STEPS_A_LINE

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from flax import nnx
    from matplotlib.figure import Figure

    from experiments.study.curves import band
    from experiments.study.run_directory import Run
    from experiments.study.samples import Sample, inside, sample
    from experiments.study.tuning import places
    from paramact_jax.activations import Activation, catalogue
    from paramact_jax.datasets import Digits
    from paramact_jax.figures import BandCurve, DepthCurve, curves_in_panels, gradient_against_depth, layer_histograms
    from paramact_jax.gradients import attribute
    from paramact_jax.gradients.units import histogram
    from paramact_jax.networks import MLP, Params, forward, forward_with_values, params_of, with_params
    from paramact_jax.sweeps import long_sweep, sweep
    from paramact_jax.training import Classifier, Minibatches, cross_entropy, marks

HIDDEN_LAYERS = 4
CANDIDATES = ("sigmoid", "tanh", "relu")
"""The functions that [R] may have trained: those of the book, which has no trainable ones."""
SMALL, AS_R = "0.01", "he-hidden"
"""The two scales that [R] prints."""
LOOKED_AT = 1_000
"""Number of training images that values and gradients are measured with before training."""
BINS = 40
UNBOUNDED = 3.0
"""End of the histogram where the values of a function have no bound."""
NO_LABEL = -1
RULES: Mapping[str, tuple[str, Callable[[int, int], float]]] = {
    "xavier": ("1/sqrt(fan_in)", lambda fan_in, width: 1 / math.sqrt(fan_in)),
    "he": ("sqrt(2/fan_in)", lambda fan_in, width: math.sqrt(2 / fan_in)),
    AS_R: ("sqrt(2/width) in all layers, as R", lambda fan_in, width: math.sqrt(2 / width)),
}
SCORES = {
    **scores("after so many steps", "step"),
    "train_accuracy": Variable(
        "train.accuracy", "share of all training images whose digit has the largest output", ("step",)
    ),
}
BEFORE = {
    f"before_{name}": Variable(f"before_{name}", text, (dim,))
    for name, dim, text in (
        ("log_norm", "layer", "log ||dL/dy^(layer)|| before training"),
        ("linear", "hidden_layer", "log of the gradient's factor by the weights above the layer (type 1)"),
        ("activation", "hidden_layer", "log of the gradient's factor by the layer's activation (type 2)"),
        ("size", "hidden_layer", "root mean square of the layer's values before training"),
        ("spread", "hidden_layer", "root mean square over nodes of the values' standard deviation over images"),
    )
}
SCALE = positive_or(*RULES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitialScale(Study):
    """How large do the initial weights have to be? A network of five layers on MNIST, started at several scales [R].

    Trains six activations from seven scales, looks at values and gradients of every layer before training, and makes
    the two runs that [R] prints again, with the activations and learning rates that it may have used.
    About 5 minutes on 2 cores. Writes runs/initial-scale-DATE-TIME/: records, summary, report, tables, figures.
    Example: python -m experiments initial-scale --activations relu --scales 0.01 0.1 he --seeds 5
    """

    name: ClassVar[str] = "initial-scale"
    heading: ClassVar[str] = "The initial scale"
    renamed: ClassVar[Mapping[str, str]] = {"every": "test_every"}

    activations: Activations = ("sigmoid", "tanh", "relu", "ppns", "parametric_tanh", "parametric_relu")
    """Names of the activations."""
    scales: Annotated[tuple[str, ...], SCALE, DISTINCT] = (SMALL, "0.03", "0.1", "xavier", "he", AS_R, "1")
    """Standard deviations of the initial weights: numbers, xavier for 1/sqrt(fan_in), he for sqrt(2/fan_in), he-hidden
    for sqrt(2/width) in all layers as in [R]."""
    width: Count = 50
    """Nodes in each of the four hidden layers."""
    learning_rate: Rate = 0.1
    """Of all parameters."""
    steps: Steps = 2_400
    """Steps of gradient descent."""
    batch: Batch = 100
    """Images a step, drawn with replacement."""
    rates: Rates = (0.1, 0.01)
    """Learning rates at which the runs of [R] are made again."""
    printed_steps: Count = STEPS_A_LINE * (len(HE.lines) - 1)
    """Steps of the runs of [R]."""
    test_every: Annotated[Count, also("--every")] = STEPS_A_LINE
    """Steps between two scores of all images."""
    seeds: SeveralSeeds = 3
    """Networks of each activation and scale, on the same seeds."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    data: Data = "auto"
    data_dir: DataDir = None
    out: Out = None

    def load(self) -> Any:
        """Loads the images."""
        return load(self.data, self.data_dir)

    def check(self, data: Any) -> None:
        """Refuses equal scales under two names, which would give equal rows, and numbers that do not fit the images."""
        pixels = data.train_images.shape[1]
        different = Constraint(
            "scales that differ", lambda x: len({deviations(scale, self.width, pixels) for scale in x}) == len(x)
        )
        expect("scales", self.scales, different)
        expect_within(self, "batch", 1, len(data.train_labels), "the number of training images")

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains the two runs of [R] with each candidate, and the grid of scales; measures it before training."""

        def scored(
            what: str, activations: Sequence[str], scales: Sequence[str], rates: Sequence[float], steps: int
        ) -> xr.Dataset:
            found = swept(
                *(self, data, long_sweep, functools.partial(training, study=self, digits=data, steps=steps)),
                *(activations, scales),
                iterations=steps,
                axes={"learning_rate": rates},
                chunk=len(scales) * len(rates) * self.seeds,
                directory=work.directory / what.replace(" ", "-"),
                data=images_of(data),
                **work.shown([f"{name}, {what}" for name in activations], steps),
            )
            return described(found, SCORES, {"step": marks(steps, self.test_every)}, {})

        again = scored("runs of R", CANDIDATES, (SMALL, AS_R), self.rates, self.printed_steps)
        again = again.rename(activation="candidate", scale="printed_scale", step="printed_step")
        grid = scored("all scales", self.activations, self.scales, (self.learning_rate,), self.steps)
        looked, labels = before(self, data), np.arange(data.classes)
        bins = looked["histogram"].sum("seed").rename(histogram_dim_0="hidden_layer", histogram_dim_1="bin")
        text = "values of a layer before training, all seeds: below, in the bins, above, no numbers"
        splits = {"train": data.train_labels, "test": data.test_labels}
        return xr.Dataset(
            {
                **grid.isel(learning_rate=0, drop=True),
                **again.rename({name: f"again_{name}" for name in again}),
                **described(looked, BEFORE, {}, {}),
                "histogram": bins.assign_attrs(description=text),
                "edge": looked["edge"],
                **{f"{name}_share": ("label", (x[:, None] == labels).mean(axis=0)) for name, x in splits.items()},
            },
            coords={
                "layer": np.arange(HIDDEN_LAYERS + 1) + 1,
                "hidden_layer": np.arange(HIDDEN_LAYERS) + 1,
                "label": labels,
            },
            attrs=source_of(data) | {f"{name}_images": len(x) for name, x in splits.items()},
        )

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says which conditions fit both runs of [R]."""
        return conclusion(run)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the grid after and before training, and the runs of [R] made again."""
        yield "overview", overview_table(run)
        yield "cells", cells_table(run)
        yield "small", small_table(run)
        yield "he", he_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the gradient by layer, the runs of [R], and the histograms of each activation."""
        yield "gradients", _gradients(run.records)
        yield "again", _again(run.records)
        for name in run.records["activation"].values.tolist():
            own = run.records.sel(activation=name)
            rows = {scale: own["histogram"].sel(scale=scale).values for scale in own["scale"].values.tolist()}
            figure = layer_histograms(own["edge"].values, rows)
            figure.suptitle(f"{name}: values of the hidden layers before training", fontsize=9)
            yield f"values_{name}", figure

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what [R, sections 3 and 4] says, for each activation that it may have used, as far as the run can.

        [R] does not say which activation it used.
        """
        records = run.records
        names = [name for name in records["candidate"].values.tolist() if name in records["activation"].values]
        scales, about = set(records["scale"].values.tolist()), f"from {SMALL}"

        def said(text: str, criterion: str, name: str, values: np.ndarray, met: np.ndarray) -> Statement:
            mean = float(values.mean())
            told = f"{name}: {text}", f"{criterion}, in every seed", judged(bool(met.all()))
            return Statement("R", *told, f"mean {number(mean)}; met in {met.sum()} of {met.size} seeds", mean)

        for name in names if SMALL in scales else []:
            at = {"activation": name, "scale": SMALL}
            size = records["before_size"].sel(at).isel(hidden_layer=-1).values
            lost, stuck = decades_lost(records).sel(at).values, stays(records).sel(at).values
            small = "last hidden layer: root mean square < 0.1"
            yield said(f"values are very small {about}", small, name, size, size < 0.1)
            smaller = "at the first layer: 1 decade or more"
            yield said(f"the gradient is much smaller {about}", smaller, name, lost, lost >= 1)
            yield said(f"hardly anything is learned {about}", "one label for all images", name, stuck, stuck)
        for name in names if AS_R in scales else []:
            at = {"activation": name, "scale": AS_R}
            accuracy, stuck = records["test_accuracy"].sel(at).isel(step=-1).values, stays(records).sel(at).values
            criterion, met = "not one label for all images, and finite", ~stuck & np.isfinite(accuracy)
            yield said("He's value solves it", criterion, name, accuracy, met)

    @classmethod
    def summary(cls, run: Run) -> dict[str, Any]:
        """Returns the verdicts about the runs of [R]."""
        records = run.records
        return {"conclusion": conclusion(run), "small": small_runs(records), "he": he_runs(records)}


# -- what is trained ---------------------------------------------------------------------------------------------------


def deviations(scale: str, width: int, pixels: int) -> tuple[float, ...]:
    """Returns the standard deviations of the initial weights of every layer, the output layer last.

    Args:
      scale: a number for all layers, or the name of a rule.
      width: nodes in each hidden layer.
      pixels: of an image.

    Examples:
      >>> [round(deviation, 3) for deviation in deviations("he", 50, 784)]
      [0.051, 0.2, 0.2, 0.2, 0.2]
    """
    fan_ins = (pixels, *[width] * HIDDEN_LAYERS)
    return tuple(RULES[scale][1](fan_in, width) if scale in RULES else float(scale) for fan_in in fan_ins)


def model(activation: str, width: int, key: jax.Array, *, in_features: int = 784, classes: int = 10) -> MLP:
    """Returns the network as a Flax model, with weights N(0, 1) that do not depend on the activation."""
    hidden, kernel_init = [width] * HIDDEN_LAYERS, jax.nn.initializers.normal(1.0)
    return MLP(in_features, hidden, classes, activation, kernel_init=kernel_init, rngs=nnx.Rngs(params=key))


def scaled(params: Params, deviations: jax.Array) -> Params:
    """Multiplies the kernel of layer l by deviations[l - 1]."""
    hidden = {
        i: layer | {"linear": layer["linear"] | {"kernel": deviations[i] * layer["linear"]["kernel"]}}
        for i, layer in params["hidden"].items()
    }
    out = params["out"] | {"kernel": deviations[HIDDEN_LAYERS] * params["out"]["kernel"]}
    return params | {"hidden": hidden, "out": out}


def training(activation: str, *, study: InitialScale, digits: Digits, steps: int) -> Classifier:
    """Returns the training of one network; its settings: deviations of the initial weights, and a learning rate."""
    record = catalogue.get(activation)
    of = functools.partial(
        model, activation, study.width, in_features=digits.train_images.shape[1], classes=digits.classes
    )
    return Classifier(
        network=lambda params, inputs: forward(params, inputs, record),
        initial=lambda key, deviations: scaled(params_of(of(key)), deviations),
        batches=Minibatches(len(digits.train_labels), study.batch, "independent"),
        steps=steps,
        scores={"test": study.test_every, "train": study.test_every},
    )


def swept(
    study: InitialScale,
    digits: Digits,
    how: Callable[..., xr.Dataset],
    function: Callable[..., Any],
    activations: Sequence[str],
    scales: Sequence[str],
    **options: Any,
) -> xr.Dataset:
    """Sweeps all seeds of all activations from all scales, by `sweep` or `long_sweep`: dims activation, scale, seed."""
    pixels = digits.train_images.shape[1]
    found = how(
        function,
        seeds_of(study),
        static_axes={"activation": activations},
        points={"deviations": np.array([deviations(scale, study.width, pixels) for scale in scales], np.float32)},
        block=1,
        **options,
    )
    return found.drop_vars("deviations").rename(point="scale").assign_coords(scale=list(scales))


def before(study: InitialScale, digits: Digits) -> xr.Dataset:
    """Measures `BEFORE` and histograms, with the `edge`s of their bins, on the first training images."""
    # computed here, since tracing rounds otherwise
    edges = {name: histogram_edges(catalogue.get(name)) for name in study.activations}
    sizes = {"in_features": digits.train_images.shape[1], "classes": digits.classes}

    def look(
        key: jax.Array, activation: str, deviations: jax.Array, images: jax.Array, labels: jax.Array
    ) -> dict[str, jax.Array]:
        record = catalogue.get(activation)
        params, _ = training(activation, study=study, digits=digits, steps=1).start(key, deviations=deviations)
        network = with_params(model(activation, study.width, key, **sizes), params)
        found = attribute(network, images, loss=lambda outputs: cross_entropy(outputs, labels))
        z = jnp.stack([record.fn(y, **record.params) for y in forward_with_values(params, images, record)[1]])
        return {
            "before_log_norm": found.decay.log_norm,
            "before_linear": found.decay.linear,
            "before_activation": found.decay.activation,
            "before_size": jnp.sqrt((z**2).mean((1, 2))),
            "before_spread": jnp.sqrt(z.var(1).mean(1)),
            "histogram": jnp.stack([histogram(layer, edges[activation]) for layer in z]),
        }

    first = {"images": digits.train_images[:LOOKED_AT], "labels": digits.train_labels[:LOOKED_AT]}
    found = swept(study, digits, sweep, look, study.activations, study.scales, **first)
    return found.assign(edge=(("activation", "bound"), np.array(list(edges.values()))))


def histogram_edges(record: Activation) -> jax.Array:
    """Returns the edges of the bins: over the range of the activation, cut off at 3 where it has no bound."""
    low, high = record.range
    return jnp.linspace(max(low, -UNBOUNDED), min(high, UNBOUNDED), BINS + 1)


# -- quantities of the records -----------------------------------------------------------------------------------------


def constant_label(records: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """Returns the label that a network gives to all images, judged by its scores; NO_LABEL if there is none.

    A network gives one label if train and test accuracy are both the exact share of that label.

    Args:
      records: of the study.
      prefix: of the scores' names, "again_" for the runs of [R].
    """
    images = {split: records.attrs[f"{split}_images"] for split in ("test", "train")}
    right = {x: np.rint(records[f"{prefix}{x}_accuracy"].astype(np.float64).fillna(-1) * n) for x, n in images.items()}
    found = xr.full_like(right["test"], NO_LABEL, dtype=np.int64)
    for label in records["label"].values[::-1]:
        own = {x: round(float(records[f"{x}_share"].sel(label=label)) * n) for x, n in images.items()}
        found = found.where((right["test"] != own["test"]) | (right["train"] != own["train"]), label)
    return found


def stays(records: xr.Dataset) -> xr.DataArray:
    """Tells whether a network of the grid gives one label to all images at the end: dims activation, scale, seed."""
    return constant_label(records).isel(step=-1) != NO_LABEL


def decades_lost(records: xr.Dataset) -> xr.DataArray:
    """Returns log10 of ||dL/dy^(out)|| / ||dL/dy^(1)|| before training: dims activation, scale, seed; inf for 0."""
    log_norm = records["before_log_norm"].astype(np.float64)
    return (log_norm.isel(layer=-1) - log_norm.isel(layer=0)) / math.log(10)


@dataclasses.dataclass(frozen=True)
class SmallRun:
    """The run of [R] from a deviation of 0.01, made again.

    Attributes:
      candidate, rate: activation and learning rate.
      lines: number of our lines, that is of scores after the first step, in all seeds.
      of_one_label: number of lines that are the shares of one label.
      of_another: number of lines with the shares of another label than the most frequent one, seed by seed.
      final: test accuracy after the last step.
      fits: whether all lines are of one label, as in [R]. The number of lines of another label does not tell the
        candidates apart: the lines of one training are not independent, and [R] has one training.
    """

    candidate: str
    rate: float
    lines: int
    of_one_label: int
    of_another: tuple[int, ...]
    final: Sample
    fits: bool


@dataclasses.dataclass(frozen=True)
class HeRun:
    """The run of [R] from "He's initial value", made again.

    Attributes:
      candidate, rate: activation and learning rate.
      first: test accuracy after the first epoch, [R]'s second line.
      last: test accuracy when [R] prints its last line.
      distance: mean over [R]'s lines, the first left out, of |test accuracy, mean over the seeds - printed|.
      first_inside, last_inside: whether the printed accuracy lies within the 95 % prediction interval.
      fits: whether both do.
    """

    candidate: str
    rate: float
    first: Sample
    last: Sample
    distance: float
    first_inside: bool | None
    last_inside: bool | None
    fits: bool


def comparable(records: xr.Dataset) -> bool:
    """Tells whether the runs were scored at the steps that [R] prints, on MNIST."""
    printed = [STEPS_A_LINE * line for line in range(len(HE.lines))]
    return is_mnist(records) and records["printed_step"].values.tolist() == printed


def small_runs(records: xr.Dataset) -> list[SmallRun]:
    """Returns the runs by activation and learning rate; none fits if the records are not comparable."""
    label, found = constant_label(records, "again_").isel(printed_step=slice(1, None)), []
    most = int(records["train_share"].values.argmax())
    for pair in places(records, ("candidate", "learning_rate")):
        at = {**pair, "printed_scale": SMALL}
        own = label.sel(at).transpose("seed", "printed_step").values
        another = tuple(((own != NO_LABEL) & (own != most)).sum(axis=1).tolist())
        final = sample(records["again_test_accuracy"].sel(at).isel(printed_step=-1).values)
        of_one = int((own != NO_LABEL).sum())
        fits = comparable(records) and of_one == own.size
        named = pair["candidate"], pair["learning_rate"]
        found.append(SmallRun(*named, own.size, of_one, another, final, fits))
    return found


def he_runs(records: xr.Dataset) -> list[HeRun]:
    """Returns the runs by activation and learning rate; none is judged if the records are not comparable."""
    printed, found = np.array(HE.test), []
    for pair in places(records, ("candidate", "learning_rate")):
        own = records["again_test_accuracy"].sel({**pair, "printed_scale": AS_R})
        accuracy = own.transpose("printed_step", "seed").values.astype(np.float64)
        ends = sample(accuracy[min(1, len(accuracy) - 1)]), sample(accuracy[-1])
        distance, first, last = math.nan, None, None
        if comparable(records):
            distance = float(np.abs(accuracy.mean(axis=1) - printed)[1:].mean())
            first, last = inside(printed[1], ends[0].prediction()), inside(printed[-1], ends[1].prediction())
        named = pair["candidate"], pair["learning_rate"]
        found.append(HeRun(*named, *ends, distance, first, last, bool(first and last)))
    return found


def conclusion(run: Run) -> str:
    """Says in one sentence which conditions fit both printed runs; empty if the run is not comparable."""
    records, width = run.records, run.manifest["config"]["width"]
    if not comparable(records):
        return ""
    pairs = list(zip(small_runs(records), he_runs(records), strict=True))
    both = [f"{one.candidate} at {one.rate:g}" for one, other in pairs if one.fits and other.fits]
    named = ", ".join(both) or "none"
    return (
        f"Of {len(pairs)} pairs of activation and learning rate, with {width} nodes a layer, these fit both runs of "
        f"[R], which does not say its width: {named}."
    )


# -- tables and figures ------------------------------------------------------------------------------------------------


def overview_table(run: Run) -> Table:
    """Returns the test accuracy at the end, with scales as rows."""
    records, rows = run.records, []
    names, stuck = records["activation"].values.tolist(), stays(run.records)
    accuracy = records["test_accuracy"].isel(step=-1)
    for scale in records["scale"].values.tolist():
        row: list[Any] = [f"{scale}: {RULES[scale][0]}" if scale in RULES else scale]
        for name in names:
            values, stay = (x.sel(activation=name, scale=scale).values for x in (accuracy, stuck))
            found = sample(values)
            shown = number(found.mean) if found.seeds else "diverged"
            text = shown + "*" * bool(stay.any()) + "!" * bool(found.non_finite)
            row.append(Cell(found.mean, "one label" if stay.all() else text))
        rows.append(row)
    return Table(
        f"Test accuracy after {int(records['step'][-1]):,} steps, by initial standard deviation",
        ["standard deviation", *names],
        rows,
        f"{_conditions(run)} one label: all images are given the same one, in every seed; *: in some; !: the loss of "
        f"some seeds is not finite, and they are left out.",
    )


def cells_table(run: Run) -> Table:
    """Returns every activation at every scale, before and after training."""
    records, rows, seeds = run.records, [], run.records.sizes["seed"]
    stuck, lost, first = stays(records), decades_lost(records), records.isel(step=-1)
    for at in places(records, ("activation", "scale")):
        accuracy, loss = (sample(first[f"test_{kind}"].sel(at).values) for kind in ("accuracy", "loss"))
        shown = number(accuracy.mean) if accuracy.seeds else ""
        remark = f" ({accuracy.non_finite} not finite)" if accuracy.non_finite else ""
        factors = (records[f"before_{x}"].sel(at).astype(np.float64) for x in ("linear", "activation"))
        by = [float(np.mean(-x.sum("hidden_layer").values / math.log(10))) for x in factors]
        sizes = (records[f"before_{x}"].sel(at).isel(hidden_layer=-1) for x in ("size", "spread"))
        stay = int(stuck.sel(at).sum())
        after = Cell(accuracy.mean, shown + remark), accuracy.interval(share=True), loss.mean, loss.interval()
        before = float(lost.sel(at).mean()), *by, *(float(x.mean()) for x in sizes)
        rows.append([*at.values(), *after, Cell(stay, f"{stay} of {seeds}"), *before])
    return Table(
        f"Each cell before training and after {int(records['step'][-1]):,} steps",
        [
            *("activation", Column("scale", left=True), Column("test accuracy", number)),
            *(Column("95 % interval", ".3f", key="test_accuracy"), Column("test loss", number)),
            *(Column("95 % interval", ".3f", key="test_loss"), "one label"),
            *(Column(heading, ".2f") for heading in ("decades lost", "by weights", "by activation")),
            *(Column("size", ".2g"), Column("spread", ".2g")),
        ],
        rows,
        f"{_conditions(run)} Means over the seeds with their t intervals. one label: networks that give all images the "
        f"same. Before training: decades that the gradient's norm loses from the output to the first layer, by the "
        f"weights and by the activation (type 1 and type 2 of [P, section 3.1]; inf: it is 0); of the last hidden "
        f"layer's values the size (root mean square), and the spread over images (standard deviation): where that is "
        f"far below the size the output hardly depends on the image.",
    )


def small_table(run: Run) -> Table:
    """Returns the run of [R] that learns nothing, and ours."""
    printed, judge = student_report.SMALL, comparable(run.records)
    labels = {accuracies: label for label, accuracies in student_report.LABEL_SHARES.items()}
    other, lines = sum(labels[line] != 1 for line in printed.lines), len(printed.lines)
    rows: list[list[Any]] = [["[R]", None, lines, lines, other, printed.test[-1], None]]
    for x in small_runs(run.records):
        another = Cell(sum(x.of_another), ", ".join(map(str, x.of_another)))
        rows.append([x.candidate, x.rate, x.lines, x.of_one_label, another, x.final.mean, x.fits if judge else None])
    return Table(
        "The run of [R] from a standard deviation of 0.01, made again",
        [
            *("activation", Column("rate", "g"), "lines", "of one label", "of another"),
            *(Column("test accuracy", number), "fits"),
        ],
        rows,
        f"{_about_r(run)} lines: scores of train and test images after the first step, in all seeds. of one label: "
        f"those that are, to the image, the shares of one label; of another: than the most frequent one, seed by seed; "
        f"[R] prints label 1's shares 15 times and label 7's once. fits: all lines are of one label.",
        keys=2,
        beside=["test accuracy"],
    )


def he_table(run: Run) -> Table:
    """Returns the run of [R] that learns, and ours."""
    steps, judge = run.records["printed_step"].values.tolist(), comparable(run.records)
    rows: list[list[Any]] = [["[R]", None, HE.test[1], None, HE.test[-1], None, None, None]]
    for x in he_runs(run.records):
        ends = x.first.mean, x.first.prediction(), x.last.mean, x.last.prediction()
        rows.append([x.candidate, x.rate, *ends, x.distance, x.fits if judge else None])
    at = "test accuracy at {:,}"
    return Table(
        "The run of [R] from sqrt(2/width) in all layers, made again",
        [
            *("activation", Column("rate", "g"), Column(at.format(steps[min(1, len(steps) - 1)]), number, key="first")),
            *(
                Column("95 % prediction", ".3f", key="first"),
                Column(f"{at.format(steps[-1])} steps", number, key="last"),
            ),
            *(Column("95 % prediction", ".3f", key="last"), Column("distance", number), "fits"),
        ],
        rows,
        f"{_about_r(run)} prediction: where one more run of ours would fall. distance: mean over [R]'s lines, the "
        f"first left out, of |mean test accuracy - printed|. fits: both printed accuracies lie within. "
        f"{conclusion(run)}".strip(),
        keys=2,
    )


def _gradients(records: xr.Dataset) -> Figure:
    """Draws decimal logarithms relative to the norm at the output: mean, smallest and largest over the seeds."""
    logs = records["before_log_norm"].astype(np.float64) / math.log(10)
    with np.errstate(invalid="ignore"):  # a gradient of 0 has no logarithm, and is not drawn
        relative = logs - logs.isel(layer=-1)
    relative = relative.where(np.isfinite(relative)).transpose("activation", "scale", "seed", "layer")
    panels = {
        name: [
            DepthCurve(scale, x.mean(axis=0), x.min(axis=0), x.max(axis=0))
            for scale, x in zip(relative["scale"].values.tolist(), own.values, strict=True)
        ]
        for name, own in zip(relative["activation"].values.tolist(), relative, strict=True)
    }
    return gradient_against_depth(
        relative["layer"].values,
        panels,
        xlabel="layer",
        ylabel=r"$\log_{10}\,\|\partial L/\partial y^{(l)}\|\,/\,\|\partial L/\partial y^{(out)}\|$",
    )


def _again(records: xr.Dataset) -> Figure:
    """Draws the runs of [R], printed and made again."""
    steps, errors, panels = records["printed_step"].values, 1 - records["again_test_accuracy"].astype(np.float64), {}
    unknown = np.full(len(steps), np.nan)
    for scale, printed in ((SMALL, student_report.SMALL), (AS_R, HE)):
        for rate in records["learning_rate"].values:
            own = errors.sel(printed_scale=scale, learning_rate=rate)
            names = own["candidate"].values.tolist()
            curves = [band(name, own.sel(candidate=name), "printed_step") for name in names]
            if comparable(records):
                theirs = unknown.copy()
                theirs[: len(printed.test)] = 1 - np.array(printed.test)
                curves.append(BandCurve("[R]", theirs, low=unknown, high=unknown))
            panels[f"deviation {scale}, rate {rate:g}"] = curves
    return curves_in_panels(
        steps,
        panels,
        ylabel="share of the test images that are not recognised",
        title="The runs of [R] made again: mean of the seeds, 95 % interval shaded",
    )


def _conditions(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"Four hidden layers of {config['width']}, batches of {config['batch']} drawn with replacement, gradient "
        f"descent, learning rate {config['learning_rate']:g}, {run.seeds_and_images()}."
    )


def _about_r(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"Width {config['width']}, batches of {config['batch']}, scores every {config['test_every']} of "
        f"{config['printed_steps']:,} steps, the book's script; [R] prints neither width nor activation nor rate."
    )
