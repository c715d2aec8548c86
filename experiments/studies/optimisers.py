"""Does a better optimiser rescue the vanishing gradient, or does the activation? Seven optimisers of [R].

Every activation is trained by every optimiser at every learning rate. The first seeds choose each optimiser's rate and
each activation's optimiser; all comparisons are of the other seeds. Result: the activation does more than the optimiser
for Sigmoid. On XOR(10) plain gradient descent trains 87 % of the trials with PPNS, and the best optimiser, Adam, trains
14 % with Sigmoid; on MNIST the test loss is 0.172 with PPNS and 0.794 with Sigmoid and NAdam. With NAdam ReLU ends at
0.140 there, and is better than PPNS with plain descent. What [R] says of its optimisers' ways is judged on XOR(10)
under PPNS. The momentum of 0.9 is the textbook's; [R] gives none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import tyro

from experiments.problems.digits import Data, DataDir, hold_out, images_of, load, source_of
from experiments.problems.mnist.protocol import PROTOCOLS as MNIST
from experiments.problems.xor10.protocol import LOSS_SCALE
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10
from experiments.study.imports import at_once
from experiments.study.options import (
    DISTINCT,
    Activations,
    Count,
    Out,
    Rates,
    Seeds,
    Steps,
    at_least,
    expect_within,
    one_of,
    seeds_of,
)
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Cell, Column, Table, number

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
    from experiments.study.run_directory import Run
    from experiments.study.samples import first_is_better, holm_of, mean_and_interval, paired, sample
    from experiments.study.tuning import chosen, places, reported
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import Digits, xor
    from paramact_jax.figures import BandCurve, curves_in_panels
    from paramact_jax.networks import Params, forward
    from paramact_jax.statistics import PairedComparison, wilson_interval
    from paramact_jax.sweeps import Training, long_sweep, sweep
    from paramact_jax.training import Classifier
    from paramact_jax.training import optimiser as rule_of

SEVEN = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "nadam")
"""Those that [R] describes, as optax has them, see `training.optimiser`."""
OPTIMISERS = (*SEVEN, "adagrad-printed", "rmsprop-printed")
"""With two of them as [R] prints them."""
PLAIN = "sgd"
RESCUER, RESCUED = "ppns", "sigmoid"
"""Which activation, with plain descent, is set against which, with its best optimiser."""
LEVEL = 0.05
WATCHED = ("sgd", "momentum", "nesterov", "adagrad-printed", "rmsprop-printed")
"""Those about whose ways [R] says something."""
WATCHED_SEEDS, WATCHED_STEPS = 64, 2_000
WAYS = {
    "reversed": "share of the updates that go against the one before, at more than a right angle",
    "raised": "share of the updates that raise the loss",
    "faded": "log10 of the norm of the last update over the largest one's, -8 or more",
    "loss": "mean squared error after the last update",
}
"""Of the first `WATCHED_STEPS` updates of a trial."""
OFTEN = 0.1
"""A way oscillates, or overshoots, if at least this share of its updates is reversed, or raises the loss."""
LOWER = (
    ("reversed", "momentum", "sgd", "reversed", "where SGD oscillates, Momentum oscillates less"),
    ("loss", "momentum", "sgd", "reversed", "where SGD oscillates, Momentum comes to its goal sooner"),
    ("raised", "nesterov", "momentum", "raised", "where Momentum overshoots, Nesterov's overshoots less"),
    ("open_faded", "adagrad-printed", "rmsprop-printed", None, "RMSProp's updates do not fade as AdaGrad's do"),
)
"""What [R] says of two: of `WAYS` which is lower under the first than under the second, and which share has to be large
under the second. open_faded: of the trials that have not converged."""
FADED = -3.0
"""Updates are near 0 at a thousandth of the largest."""
NOT_MEASURED = (
    "Not measured of what [R] says: that SGD and Momentum leave local minima, which a run would have to know; that "
    "Adam and Nadam have the advantages of those that they are made of, which is no single number."
)
VARIABLES = {
    "test_loss": Variable("test.loss", "mean cross-entropy over all test images after the last step"),
    "test_accuracy": Variable("test.accuracy", "share of all test images whose digit has the largest output"),
    "held_out_loss": Variable(
        "held_out.loss", "mean cross-entropy over the training images kept back, after the last step"
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Study):
    """What both problems have in common: the options and the report."""

    activations: Activations = ("sigmoid", "relu", "ppns")
    """Names of the activations."""
    optimisers: Annotated[tuple[str, ...], one_of(*OPTIMISERS), DISTINCT] = OPTIMISERS
    """Names of the optimisers; -printed: with [R]'s formula, the others with optax's."""
    rates: Rates
    """Learning rates, of all parameters."""
    seeds: Annotated[Seeds, at_least(3)]
    """Networks of each activation, optimiser and rate, on the same seeds."""
    choosing: Count
    """The first so many networks choose each optimiser's learning rate; the others are reported. On MNIST they choose
    by the loss over a sixth of the training images, which is held out."""
    first_seed: int = 0
    """Network i has seed first_seed + i, and starts as in `xor10` or `mnist`."""
    steps: Steps
    """Updates: with all points of XOR(10), with minibatches of 64 on MNIST."""
    out: Out = None

    def resolved(self) -> Self:
        """With rising rates."""
        return dataclasses.replace(self, rates=tuple(sorted(self.rates)))

    def check(self, data: Any) -> None:
        """Two seeds have to be left to compare."""
        expect_within(self, "choosing", 1, self.seeds - 2)

    def sweep(self, training: Callable[..., Any], work: Work, **options: Any) -> xr.Dataset:
        """All seeds by every optimiser at every rate, under every activation."""
        return long_sweep(
            training,
            seeds_of(self),
            iterations=self.steps,
            static_axes={"activation": self.activations, "optimiser": self.optimisers},
            axes={"learning_rate": self.rates},
            chunk=len(self.rates) * self.seeds,
            directory=work.directory / "networks",
            **work.shown([f"{a}, {o}" for a in self.activations for o in self.optimisers], self.steps),
            **options,
        )

    @classmethod
    def opening(cls, run: Run) -> str:
        """Which of the two rescues the vanishing gradient."""
        return conclusion(run.records)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Each optimiser at its best rate, all rates, and the comparisons."""
        yield "best", best_table(run)
        yield "rates", rates_table(run)
        if answers(run.records):
            yield "comparisons", comparisons_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """The outcome by learning rate, a panel for each activation."""
        values = outcome(run.records)
        panels: dict[str, list[BandCurve]] = {}
        for own in places(values, ("activation", "optimiser")):
            by_seed = values.sel(own).transpose("seed", "learning_rate").values
            if values.dtype == bool:
                ends = np.array([wilson_interval(int(count), len(by_seed)) for count in by_seed.sum(axis=0)])
                band = by_seed.mean(axis=0), ends[:, 0], ends[:, 1]
            else:
                band = mean_and_interval(by_seed)
            panels.setdefault(own["activation"], []).append(BandCurve(own["optimiser"], *band))
        figure = curves_in_panels(
            values["learning_rate"].values,
            panels,
            xlabel="learning rate",
            ylabel="share of trials that converge" if values.dtype == bool else _name(values),
            title=f"all {values.sizes['seed']} seeds, 95 % interval shaded",
            shares=values.dtype == bool,
            logarithmic=True,
        )
        yield "rates", figure

    @classmethod
    def summary(cls, run: Run) -> dict[str, Any]:
        """The cells and the comparisons; levels and intervals as the table has them."""
        records = run.records
        columns = _level_columns(outcome(records))
        return {
            "outcome": _name(outcome(records)),
            "conclusion": conclusion(records),
            "cells": [
                {name: getattr(cell, name) for name in ("activation", "optimiser", "rate", "at_end")}
                | {"seeds": len(cell.values)}
                | {
                    key: c.text(x)
                    for key, c, x in zip(("level", "interval"), columns, _level(cell.values), strict=True)
                }
                for cell in best_cells(records)
            ],
            "answers": [
                {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
                | {"first": answer.first.name, "second": answer.second.name}
                for answer in answers(records)
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
    seeds: Annotated[Seeds, at_least(3)] = 512
    choosing: Count = 256
    steps: Steps = 10_000

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """All networks in one sweep."""
        protocol = XOR10["recovered"]
        std = {"weight": float(protocol.weight_std), "bias": float(protocol.bias_std)}
        loss = self.sweep(xor10_training, work, iterations_per_call=CHUNK, std=std)["loss"]
        converged = (loss < protocol.threshold).assign_attrs(description=f"final_loss < {protocol.threshold:g}")
        final = loss.assign_attrs(description="mean squared error over the 4 points after the last update")
        attributes = {"problem": "xor10", "choosing": self.choosing, "threshold": protocol.threshold}
        return xr.Dataset({"final_loss": final, "converged": converged, **self._ways(work, std)}, attrs=attributes)

    def _ways(self, work: Work, std: dict[str, float]) -> dict[str, Any]:
        """How the updates of the first trials under PPNS go, see `WAYS`."""
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
        """Which of the two rescues the vanishing gradient, and what is not measured."""
        return f"{conclusion(run.records)} {NOT_MEASURED}".strip()

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """What [R] says of its optimisers' ways, as far as the run has them."""
        if "watched" in run.records.coords:  # older runs did not watch
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
    seeds: Annotated[Seeds, at_least(3)] = 7
    choosing: Count = 2
    steps: Steps = 1_000
    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> Any:
        """The images."""
        return load(self.data, self.data_dir)

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """All networks in one sweep; a sixth of the training images is held out."""
        digits, held_out = hold_out(data)
        training = functools.partial(mnist_training, digits=digits, steps=self.steps)
        found = self.sweep(training, work, data=images_of(digits) | held_out)
        return described(found, VARIABLES, {}, {"problem": "mnist", **source_of(data), "choosing": self.choosing})


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
        """As the command it was given."""
        return self.what.prepare()


# -- what is trained ---------------------------------------------------------------------------------------------------


def xor10_training(activation: str, optimiser: str) -> Training:
    """The training of one trial; its settings are a learning rate and the `std` of `initial_params`."""
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
    """How the updates of one trial under PPNS go: `WAYS`."""
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
    """One network of `mnist`, scored once, after its last step: on the whole way that would cost more than training."""
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
    """One activation with one optimiser at the learning rate that was chosen.

    Attributes:
      activation, optimiser: names.
      rate: the chosen learning rate, see `tuning.chosen`.
      at_end: whether it is the smallest or the largest that was tried, so that the best may lie beyond.
      score: what it was chosen by, the higher the better.
      values: of the reported seeds.
    """

    activation: str
    optimiser: str
    rate: float
    at_end: bool
    score: float
    values: np.ndarray

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.activation}, {self.optimiser}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One cell against another, on equal seeds that did not choose the rates.

    Attributes:
      question: in few words.
      first, second: the cells; the comparison is first - second.
      comparison: None if fewer than 2 seeds have finite values in both.
      p_value_holm: with Holm's correction over all answers.
      verdict: "first", "second" or "not told apart": which is better.
    """

    question: str
    first: Best
    second: Best
    comparison: PairedComparison | None
    p_value_holm: float | None
    verdict: str


def outcome(records: xr.Dataset) -> xr.DataArray:
    """One value of each network: whether a trial of XOR(10) converges, as bool; the test loss on MNIST."""
    if records.attrs["problem"] == "xor10":
        return records["converged"].astype(bool)
    return records["test_loss"].astype(np.float64)


def best_cells(records: xr.Dataset) -> list[Best]:
    """Every activation with every optimiser, at the rate with the largest share of trials that converge.

    On MNIST it is the rate with the smallest mean loss over the images held out.
    """
    choosing = records.attrs["choosing"]
    best = chosen(records["converged"] if "converged" in records else -records["held_out_loss"], choosing)
    values = reported(outcome(records), best["rate"], choosing)
    return [
        Best(
            **own, **{str(name): x.item() for name, x in best.sel(own).data_vars.items()}, values=values.sel(own).values
        )
        for own in places(values, ("activation", "optimiser"))
    ]


def best_cell(records: xr.Dataset, activation: str) -> Best:
    """The optimiser that is best for an activation, by the seeds that choose; of equally good ones the first."""
    return max((cell for cell in best_cells(records) if cell.activation == activation), key=lambda cell: cell.score)


def answers(records: xr.Dataset) -> list[Answer]:
    """The activation against the optimiser, and for every activation the best optimiser against plain descent."""
    plain = {cell.activation: cell for cell in best_cells(records) if cell.optimiser == PLAIN}
    best = {activation: best_cell(records, activation) for activation in plain}
    asked = [
        (f"activation or optimiser? {RESCUER} or {other}", plain[RESCUER], best[other])
        for other in best
        if RESCUER in plain and other != RESCUER
    ]
    asked += [(f"a better optimiser for {name}", best[name], plain[name]) for name in best]
    seeds = records["seed"].values[records.attrs["choosing"] :]
    compared = [paired(first.values, second.values, seeds) for _, first, second in asked]
    result = []
    for (question, first, second), found, p in zip(asked, compared, holm_of(compared), strict=True):
        better = first_is_better(found, p, LEVEL, more_is_better=first.values.dtype == bool)
        verdict = {None: "not told apart", True: "first", False: "second"}[better]
        result.append(Answer(question, first, second, found, p, verdict))
    return result


def conclusion(records: xr.Dataset) -> str:
    """Which of the two rescues the vanishing gradient, in one sentence; empty if the run did not ask."""
    for answer in answers(records):
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
    """The statements of `LOWER`, and that AdaGrad's updates come near 0, as far as the run has the optimisers."""
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
        low, high = found.interval
        levels = ", ".join(f"{name} {number(sample(x).mean)}" for name, x in own.items())
        measured = f"{levels}; {found.pairs} trials; p {found.p_value:.2g}"
        verdict = judged(True if high < 0 else False if low > 0 else None)
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
    """Every optimiser at the learning rate that is best for it."""
    records, rows = run.records, []
    counted = outcome(records).dtype == bool
    for cell in best_cells(records):
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
        keys=2,
    )


def rates_table(run: Run) -> Table:
    """The outcome at every learning rate."""
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
        keys=2,
    )


def comparisons_table(run: Run) -> Table:
    """Who is better, by how much."""
    records, rows = run.records, []
    counted = outcome(records).dtype == bool
    scale, form = (1000, ".0f") if counted else (1, ".4f")
    for answer in answers(records):
        found = answer.comparison
        numbers: list[Any] = [0, None, None, None]
        if found is not None:
            low, high = found.interval
            numbers = [found.pairs, scale * found.difference, (scale * low, scale * high), found.p_value]
        better = {"first": answer.first.name, "second": answer.second.name}.get(answer.verdict, answer.verdict)
        rows.append(
            [answer.question, f"{answer.first.name} - {answer.second.name}", *numbers, answer.p_value_holm, better]
        )
    test = "bootstrap interval; McNemar's exact test" if counted else "t interval; paired t test"
    return Table(
        f"Who has {'more' if counted else 'the lower'} {_name(outcome(records))}",
        [
            *("question", Column("difference of", left=True), "seeds"),
            *(Column("mean", f"+{form}"), Column("95 % interval", form, key="mean")),
            *(Column("p", ".2g"), Column("p (Holm)", ".2g"), Column("better", left=True)),
        ],
        rows,
        f"{conclusion(records)} Each at its best rate, and the best optimiser, are those of the first "
        f"{_chosen_by(records)}; differences on the others{', per 1,000' if counted else ''}; {test}, Holm's "
        f"correction over the {len(rows)} rows.".strip(),
        keys=2,
        beside=["mean"],
    )


def _level(values: np.ndarray) -> tuple[Any, tuple[float, float] | None]:
    """What the seeds say, and its interval: the converged of 1,000, or a mean, with a remark on what is left out."""
    if values.dtype == bool:
        count = int(values.sum())
        low, high = wilson_interval(count, len(values))
        return 1000 * count / len(values), (1000 * low, 1000 * high)
    found = sample(values)
    shown = number(found.mean) if found.seeds else ""
    left_out = Cell(found.mean, f"{shown} ({found.non_finite} not finite)")
    return left_out if found.non_finite else found.mean, found.interval()


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
    config, seeds = run.manifest["config"], run.records["seed"].values
    images = f"; images: {run.records.attrs['source']}" if "source" in run.records.attrs else ""
    return (
        f"Recovered protocol, {config['steps']:,} updates, the rate that of a and b too, seeds {seeds.min()} to "
        f"{seeds.max()}{images}."
    )
