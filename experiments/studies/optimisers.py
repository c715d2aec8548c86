"""Does a better optimiser rescue the vanishing gradient, or does the activation? Seven optimisers of [R].

Every activation is trained by every optimiser at every learning rate. The first seeds choose each optimiser's rate and
each activation's optimiser; all comparisons are of the other seeds. Result: the activation does more than the optimiser
for Sigmoid. On XOR(10) plain gradient descent trains 87 % of the trials with PPNS, and the best optimiser, Adam, trains
14 % with Sigmoid; on MNIST the test loss is 0.172 with PPNS and 0.794 with Sigmoid and NAdam. With NAdam ReLU ends at
0.140 there, and is better than PPNS with plain descent. What [R] says of the updates of its optimisers is judged on
XOR(10) under PPNS. The momentum of 0.9 is that of textbooks; [R] gives none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from experiments.problems.digits import Data, DataDir, hold_out, images_of, load, scores, source_of
from experiments.problems.mnist.protocol import PROTOCOLS as MNIST
from experiments.problems.xor10.protocol import LOSS_SCALE
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import DISTINCT, Activations, Count, Rates, Steps, TunedSeeds, one_of, seeds_of
from experiments.study.statements import Statement, judged
from experiments.study.study import Work, described
from experiments.study.tables import Cell, Column, Table, number
from experiments.study.tuned import Tuned

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import xarray as xr
    from jax import lax
    from jax.flatten_util import ravel_pytree
    from matplotlib.figure import Figure

    from experiments.problems.mnist.train import classifier_of
    from experiments.problems.xor10.train import CHUNK, initial_params
    from experiments.study.comparing import above, compared, level, numbers_of
    from experiments.study.curves import panels
    from experiments.study.run_directory import Run
    from experiments.study.samples import paired, sample
    from experiments.study.tuning import at_best_rates, outcome, places
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import Digits, xor
    from paramact_jax.figures import curves_in_panels
    from paramact_jax.networks import Params, forward
    from paramact_jax.statistics import PairedComparison
    from paramact_jax.sweeps import Training, sweep
    from paramact_jax.training import Classifier
    from paramact_jax.training import optimiser as rule_of

SEVEN = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam")
"""The optimisers that [R] describes, as optax has them, see `training.optimiser`."""
OPTIMISERS = (*SEVEN, "adagrad-printed", "rmsprop-printed")
"""The same, and two of them with the formulas that [R] prints."""
PLAIN = "sgd"
RESCUER, RESCUED = "ppns", "sigmoid"
"""The activation with plain descent that is compared with another one with its best optimiser."""
WATCHED = ("sgd", "momentum", "nesterov", "adagrad-printed", "rmsprop-printed")
"""The optimisers whose updates [R] describes."""
WATCHED_SEEDS, WATCHED_STEPS = 64, 2_000
WAYS = {
    "reversed": "share of the updates that go against the one before, at more than a right angle",
    "raised": "share of the updates that raise the loss",
    "faded": "log10 of the norm of the last update over the largest one's, -8 or more",
    "loss": "mean squared error after the last update",
}
"""What is measured of the first `WATCHED_STEPS` updates of a trial."""
OFTEN = 0.1
"""An optimiser oscillates, or overshoots, if at least this share of its updates is reversed, or raises the loss."""
LOWER = (
    ("reversed", "momentum", "sgd", "reversed", "where SGD oscillates, Momentum oscillates less"),
    ("loss", "momentum", "sgd", "reversed", "where SGD oscillates, Momentum comes to its goal sooner"),
    ("raised", "nesterov", "momentum", "raised", "where Momentum overshoots, Nesterov's overshoots less"),
    ("open_faded", "adagrad-printed", "rmsprop-printed", None, "RMSProp's updates do not fade as AdaGrad's do"),
)
"""What [R] says of two optimisers: which of `WAYS` is lower under the first than under the second, and which share has
to be large under the second. open_faded: faded, of the trials that have not converged."""
FADED = -3.0
"""Updates are near 0 if they are at most a thousandth of the largest."""
NOT_MEASURED = (
    "Not measured of what [R] says: that SGD and Momentum leave local minima, which a run would have to know; that "
    "Adam and Nadam have the advantages of those that they are made of, which is no single number."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Tuned):
    """Base class of both problems: the options and the report."""

    activations: Activations = ("sigmoid", "relu", "ppns")
    """Names of the activations."""
    optimisers: Annotated[tuple[str, ...], one_of(*OPTIMISERS), DISTINCT] = OPTIMISERS
    """Names of the optimisers; -printed: with [R]'s formula, the others with optax's."""

    def sweep(self, training: Callable[..., Any], work: Work, **options: Any) -> xr.Dataset:
        """Trains all seeds by every optimiser at every rate, under every activation."""
        options |= {"static_axes": {"activation": self.activations, "optimiser": self.optimisers}}
        options |= {"axes": {"learning_rate": self.rates}, "chunk": len(self.rates) * self.seeds}
        return work.sweep(self, training, [f"{a}, {o}" for a in self.activations for o in self.optimisers], **options)

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says which of the two rescues the vanishing gradient."""
        return conclusion(run)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields each optimiser at its best rate, all rates, and the comparisons."""
        yield "best", best_table(run)
        yield "rates", rates_table(run)
        if answers(run):
            yield "comparisons", comparisons_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the outcome by learning rate, with a panel for each activation."""
        values = outcome(run.records)
        counted = values.dtype == bool
        figure = curves_in_panels(
            values["learning_rate"].values,
            panels(values, "learning_rate", "activation", "optimiser"),
            xlabel="learning rate",
            ylabel="share of trials that converge" if counted else _name(values),
            title=f"all {values.sizes['seed']} seeds, 95 % interval shaded",
            shares=counted,
            logarithmic=True,
        )
        yield "rates", figure

    @classmethod
    def summary(cls, run: Run) -> dict[str, Any]:
        """Returns the cells and the comparisons, with levels and intervals as the table shows them."""
        records = run.records
        columns = _level_columns(outcome(records))
        cells = []
        for cell in best_cells(run):
            shown = [column.text(value) for column, value in zip(columns, _level(cell.values), strict=True)]
            own = {name: getattr(cell, name) for name in ("activation", "optimiser", "rate", "at_end")}
            cells.append({**own, "seeds": len(cell.values), "level": shown[0], "interval": shown[1]})
        names = [field.name for field in dataclasses.fields(Answer)]
        return {
            "outcome": _name(outcome(records)),
            "conclusion": conclusion(run),
            "cells": cells,
            "answers": [
                {name: getattr(answer, name) for name in names}
                | {"first": answer.first.name, "second": answer.second.name}
                for answer in answers(run)
            ],
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimisersXor10(Comparison):
    """On XOR(10): the share of trials that converge, by activation, optimiser and learning rate.

    About 2 minutes on 2 cores. Writes runs/optimisers-xor10-DATE-TIME/: records, summary, report, tables, rates.png.
    Example: python -m experiments optimisers xor10 --optimisers sgd adam
    """

    name: ClassVar[str] = "optimisers-xor10"
    command: ClassVar[str] = "optimisers xor10"
    heading: ClassVar[str] = "Optimiser or activation? XOR(10)"

    rates: Rates = (0.00015, 0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5)  # around 0.05, the rate of [P, Table 3]
    seeds: TunedSeeds = 512
    choosing: Count = 256
    steps: Steps = 10_000

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep."""
        protocol = XOR10["recovered"]
        std = {"weight": float(protocol.weight_std), "bias": float(protocol.bias_std)}
        loss = self.sweep(xor10_training, work, iterations_per_call=CHUNK, std=std)["loss"]
        converged = (loss < protocol.threshold).assign_attrs(description=f"final_loss < {protocol.threshold:g}")
        final = loss.assign_attrs(description="mean squared error over the 4 points after the last update")
        attributes = {"problem": "xor10", "choosing": self.choosing, "threshold": protocol.threshold}
        return xr.Dataset({"final_loss": final, "converged": converged, **self._ways(work, std)}, attrs=attributes)

    def _ways(self, work: Work, std: dict[str, float]) -> dict[str, Any]:
        """Measures `WAYS` of the updates of the first trials under PPNS."""
        names = tuple(name for name in WATCHED if name in self.optimisers)
        if not names:
            return {}
        found = sweep(
            functools.partial(watched, std=std, steps=min(WATCHED_STEPS, self.steps)),
            seeds_of(self)[:WATCHED_SEEDS],
            static_axes={"optimiser": names},
            axes={"learning_rate": self.rates},
            chunk=WATCHED_SEEDS,
            directory=work.directory / "ways",
        ).rename(optimiser="watched", seed="watched_seed")
        return {f"way_{name}": found[name].assign_attrs(description=text) for name, text in WAYS.items()}

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says which of the two rescues the vanishing gradient, and what is not measured."""
        return f"{conclusion(run)} {NOT_MEASURED}".strip()

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what [R] says of the updates of its optimisers, as far as the run has them."""
        if "watched" in run.records.coords:  # older runs have no such records
            yield from ways_judged(run.records)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimisersMnist(Comparison):
    """On MNIST with 8 hidden layers: the test loss, by activation, optimiser and learning rate.

    About 17 minutes on 2 cores. Writes runs/optimisers-mnist-DATE-TIME/, as the other.
    Example: python -m experiments optimisers mnist --steps 3000
    """

    name: ClassVar[str] = "optimisers-mnist"
    command: ClassVar[str] = "optimisers mnist"
    heading: ClassVar[str] = "Optimiser or activation? MNIST"

    optimisers: Annotated[tuple[str, ...], one_of(*OPTIMISERS), DISTINCT] = SEVEN
    rates: Rates = (0.0001, 0.001, 0.01, 0.1, 1.0)  # around 0.01, the rate of [P, Table 8]
    steps: Steps = 1_000
    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> Any:
        """Loads the images."""
        return load(self.data, self.data_dir)

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep; a sixth of the training images is held out."""
        digits, held_out = hold_out(data)
        training = functools.partial(mnist_training, digits=digits, steps=self.steps)
        found = self.sweep(training, work, data=images_of(digits) | held_out)
        return described(
            found,
            scores("after the last step", held_out=True),
            {},
            {"problem": "mnist", **source_of(data), "choosing": self.choosing},
        )


@dataclasses.dataclass(frozen=True)
class Optimisers:
    """Does a better optimiser rescue the vanishing gradient, or does the activation? The seven optimisers of [R].

    Each at every learning rate; its best is chosen on some of the seeds, and reported on the others.
    """

    what: (
        Annotated[OptimisersXor10, tyro.conf.subcommand("xor10")]
        | Annotated[OptimisersMnist, tyro.conf.subcommand("mnist")]
    )

    def prepare(self) -> Callable[[], None]:
        """Prepares the study of the chosen problem."""
        return self.what.prepare()


# -- what is trained ---------------------------------------------------------------------------------------------------


def xor10_training(activation: str, optimiser: str) -> Training:
    """Returns the training of one trial; its settings are a learning rate and the `std` of `initial_params`."""
    record, (inputs, targets) = catalogue.get(activation), map(jnp.asarray, xor())
    scale = LOSS_SCALE[XOR10["recovered"].loss]

    def error(params: Params) -> jax.Array:
        return jnp.mean((forward(params, inputs, record) - targets) ** 2)

    def init(key: jax.Array, std: Any) -> tuple[Params, Any]:
        params = initial_params(record, key, std, {})
        return params, rule_of(optimiser, params, 1.0).init(params)

    def step(state: tuple[Params, Any], learning_rate: jax.Array) -> tuple[Params, Any]:
        params, kept = state
        gradient = jax.grad(lambda params: scale * error(params))(params)
        changes, kept = rule_of(optimiser, params, learning_rate).update(gradient, kept, params)
        return optax.apply_updates(params, changes), kept

    return Training(init, step, lambda state: {"loss": error(state[0])})


def watched(key: jax.Array, optimiser: str, learning_rate: jax.Array, *, std: Any, steps: int) -> dict[str, jax.Array]:
    """Measures `WAYS` of the updates of one trial under PPNS."""
    own = xor10_training(RESCUER, optimiser)

    def step(state: Any, _: None) -> Any:
        after = own.step(state, learning_rate)
        update = ravel_pytree(after[0])[0] - ravel_pytree(state[0])[0]
        return after, (update, own.summarise(after)["loss"])

    _, (updates, loss) = lax.scan(step, own.init(key, std), length=steps)
    sizes = jnp.linalg.norm(updates, axis=1)
    return {
        "reversed": jnp.mean(jnp.sum(updates[1:] * updates[:-1], axis=1) < 0),
        "raised": jnp.mean(jnp.diff(loss) > 0),
        "faded": jnp.maximum(jnp.log10(sizes[-1] / sizes.max()), -8),
        "loss": loss[-1],
    }


def mnist_training(activation: str, optimiser: str, *, digits: Digits, steps: int) -> Classifier:
    """Returns the training of one network of `mnist`, scored only after its last step: scores cost more than steps."""
    return dataclasses.replace(
        classifier_of(activation, MNIST["recovered"], digits),
        steps=steps,
        scores={"test": None, "held_out": None},
        optimiser_name=optimiser,
        gradient=None,
        report=lambda params: {},
    )


# -- quantities of the records -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Best:
    """One activation with one optimiser at the chosen learning rate.

    Attributes:
      activation, optimiser: names.
      rate: the chosen learning rate, see `tuning.chosen`.
      score: the number that it was chosen by; the higher, the better.
      at_end: whether it is the smallest or the largest rate of the run, so that a better one may lie beyond.
      values: of the reported seeds.
    """

    activation: str
    optimiser: str
    rate: float
    score: float
    at_end: bool
    values: np.ndarray

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.activation}, {self.optimiser}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One cell compared with another, on equal seeds that did not choose the rates.

    Attributes:
      question: in few words.
      first, second: the cells; the comparison is first - second.
      comparison, p_value_holm, verdict: see `Told`: "first", "second" or "not told apart".
    """

    question: str
    first: Best
    second: Best
    comparison: PairedComparison | None
    p_value_holm: float | None
    verdict: str


@once
def best_cells(run: Run) -> list[Best]:
    """Returns every activation with every optimiser, each at its rate of `tuning.best_rates`."""
    return [
        Best(**at, **{name: best[name].item() for name in ("rate", "score", "at_end")}, values=values)
        for at, best, values in at_best_rates(run.records, ("activation", "optimiser"))
    ]


def best_cell(run: Run, activation: str) -> Best:
    """Returns the best optimiser of an activation, by the seeds that choose; of equally good ones the first."""
    return max((cell for cell in best_cells(run) if cell.activation == activation), key=lambda cell: cell.score)


@once
def answers(run: Run) -> list[Answer]:
    """Compares the activation with the optimiser, and for every activation the best optimiser with plain descent."""
    plain = {cell.activation: cell for cell in best_cells(run) if cell.optimiser == PLAIN}
    best = {activation: best_cell(run, activation) for activation in plain}
    asked = [
        (f"activation or optimiser? {RESCUER} or {other}", plain[RESCUER], best[other])
        for other in best
        if RESCUER in plain and other != RESCUER
    ]
    asked += [(f"a better optimiser for {name}", best[name], plain[name]) for name in best]
    seeds = run.records["seed"].values[run.records.attrs["choosing"] :]
    told = compared([(first.values, second.values) for _, first, second in asked], seeds, ("first", "second"))
    return [Answer(*about, *one) for about, one in zip(asked, told, strict=True)]


def conclusion(run: Run) -> str:
    """Says in one sentence which of the two rescues the vanishing gradient; empty if the run cannot tell."""
    for answer in answers(run):
        if (answer.first.activation, answer.second.activation) == (RESCUER, RESCUED):
            one = f"{RESCUER} with plain gradient descent"
            other = f"{RESCUED} with its best optimiser, {answer.second.optimiser}"
            return {
                "first": f"{one} is better than {other}: the activation does more than any of the optimisers.",
                "second": f"{other}, is better than {one}: the optimiser does more than the activation.",
                "not told apart": f"{one} and {other}, are not told apart.",
            }[answer.verdict]
    return ""


# -- statements --------------------------------------------------------------------------------------------------------


def ways_judged(records: xr.Dataset) -> Iterator[Statement]:
    """Judges the statements of `LOWER`, and whether AdaGrad's updates come near 0, of the optimisers in the run."""
    names = set(records["watched"].values.tolist())
    ways = {name: records[f"way_{name}"] for name in WAYS}
    ways["open_faded"] = ways["faded"].where(ways["loss"] >= records.attrs["threshold"]).mean("learning_rate")
    for what, first, second, share, text in LOWER:
        if not {first, second} <= names:
            continue
        values, criterion = ways[what], f"{WAYS[what.removeprefix('open_')]}: interval of the difference below 0"
        if share is None:
            criterion += "; trials that have not converged, mean over the rates"
        else:
            often = ways[share].sel(watched=second).mean("watched_seed") >= OFTEN
            values = values.isel(learning_rate=np.flatnonzero(often))
            criterion += f"; rates at which {second} has {OFTEN:.0%} or more as {WAYS[share]}"
        if not values.size:
            yield Statement("R, section 1", text, criterion, "undecided", "at no rate")
            continue
        of_trials = values.mean("learning_rate", skipna=False) if "learning_rate" in values.dims else values
        own = {name: of_trials.sel(watched=name).values for name in (first, second)}
        found = paired(own[first], own[second], values["watched_seed"].values)
        if found is None:
            yield Statement("R, section 1", text, criterion, "undecided", "fewer than 2 trials")
            continue
        levels = ", ".join(f"{name} {number(sample(x).mean)}" for name, x in own.items())
        measured = f"{levels}; {found.pairs} trials; p {found.p_value:.2g}"
        higher = above(found.interval, 0)
        verdict = judged(None if higher is None else not higher)
        yield Statement("R, section 1", text, criterion, verdict, measured, found.difference, found.interval)
    if "adagrad-printed" in names:
        alone = sample(ways["open_faded"].sel(watched="adagrad-printed").values)
        yield Statement(
            "R, section 1",
            "AdaGrad's updates come near 0, before it has learned",
            f"{WAYS['faded']}; trials that have not converged, mean over the rates; mean at most {FADED:g}",
            judged(alone.mean <= FADED if alone.seeds else None),
            ", ".join(f"{name} {sample(x.values).mean:.2f}" for name, x in ways["open_faded"].groupby("watched")),
            alone.mean,
            alone.interval(),
        )


# -- tables ------------------------------------------------------------------------------------------------------------


def best_table(run: Run) -> Table:
    """Returns every optimiser at its best learning rate."""
    records, rows = run.records, []
    counted = outcome(records).dtype == bool
    for cell in best_cells(run):
        row = [cell.activation, cell.optimiser, Cell(cell.rate, f"{cell.rate:g}" + "*" * cell.at_end)]
        row += _level(cell.values)
        if not counted:
            own = records["test_accuracy"].sel(
                activation=cell.activation, optimiser=cell.optimiser, learning_rate=cell.rate
            )
            row.append(sample(own.isel(seed=slice(records.attrs["choosing"], None)).values).mean)
        rows.append(row)
    interval = "Wilson's, of the share, per 1,000" if counted else "t interval of the mean over the seeds"
    return Table(
        f"{_name(outcome(records)).capitalize()} at the best learning rate",
        [
            *("activation", Column("optimiser", left=True), Column("rate", "g")),
            *_level_columns(outcome(records)),
            *([] if counted else [Column("test accuracy", number)]),
        ],
        rows,
        f"{_conditions(run)} rate: the best for the first {_chosen_by(records)}, of equally good ones the smallest; *: "
        f"the smallest or largest tried. All else is of the other {records.sizes['seed'] - records.attrs['choosing']} "
        f"seeds. Interval: {interval}.",
    )


def rates_table(run: Run) -> Table:
    """Returns the outcome at every learning rate."""
    values = outcome(run.records)
    counted, (level, _) = values.dtype == bool, _level_columns(values)
    return Table(
        f"{_name(values).capitalize()}{', per 1,000,' if counted else ''} by learning rate",
        [
            *("activation", Column("optimiser", left=True)),
            *(Column(f"{rate:g}", level.form) for rate in values["learning_rate"].values),
        ],
        [
            [*own.values(), *(_level(x)[0] for x in values.sel(own).transpose("learning_rate", "seed").values)]
            for own in places(values, ("activation", "optimiser"))
        ],
        f"{_conditions(run)} All seeds{'' if counted else '; means of those that are finite'}.",
    )


def comparisons_table(run: Run) -> Table:
    """Returns which of two cells is better, and by how much."""
    records, rows = run.records, []
    counted = outcome(records).dtype == bool
    scale, form = (1000, ".0f") if counted else (1, ".4f")
    for answer in answers(run):
        first, second = answer.first.name, answer.second.name
        pairs, difference, interval, p_value = numbers_of(answer.comparison)
        if difference is not None and interval is not None:
            difference, interval = scale * difference, (scale * interval[0], scale * interval[1])
        better = {"first": first, "second": second}.get(answer.verdict, answer.verdict)
        numbers = pairs, difference, interval, p_value, answer.p_value_holm
        rows.append([answer.question, f"{first} - {second}", *numbers, better])
    test = "bootstrap interval; McNemar's exact test" if counted else "t interval; paired t test"
    return Table(
        f"Who has {'more' if counted else 'the lower'} {_name(outcome(records))}",
        [
            *("question", Column("difference of", left=True), "seeds"),
            *(Column("mean", f"+{form}"), Column("95 % interval", form, key="mean")),
            *(Column("p", ".2g"), Column("p (Holm)", ".2g"), Column("better", left=True)),
        ],
        rows,
        f"{conclusion(run)} Each at its best rate, and the best optimiser, are those of the first "
        f"{_chosen_by(records)}; differences on the others{', per 1,000' if counted else ''}; {test}, Holm's "
        f"correction over the {len(rows)} rows.".strip(),
        beside=["mean"],
    )


def _level(values: np.ndarray) -> tuple[Any, tuple[float, float] | None]:
    """Returns the level and its interval: the converged of 1,000, or a mean, with a remark on values left out."""
    found, interval = level(values)
    if values.dtype == bool and interval is not None:
        return 1000 * int(values.sum()) / len(values), (1000 * interval[0], 1000 * interval[1])
    shown = number(found.mean) if found.seeds else ""
    left_out = Cell(found.mean, f"{shown} ({found.non_finite} not finite)")
    return left_out if found.non_finite else found.mean, interval


def _level_columns(values: xr.DataArray) -> tuple[Column, Column]:
    if values.dtype == bool:
        return Column("per 1,000", ".0f"), Column("95 % interval", ".1f", key="per_1_000")
    return Column("mean", number), Column("95 % interval", ".3f", key="mean")


def _name(values: xr.DataArray) -> str:
    return "trials that converge" if values.dtype == bool else "test loss"


def _chosen_by(records: xr.Dataset) -> str:
    choosing = records.attrs["choosing"]
    by = ", by the loss over the training images held out" if "held_out_loss" in records else ""
    return f"{choosing:,} seeds{by}" if choosing > 1 else f"seed{by}"


def _conditions(run: Run) -> str:
    steps = run.manifest["config"]["steps"]
    return f"Recovered protocol, {steps:,} updates, the rate that of a and b too, {run.seeds_and_images()}."
