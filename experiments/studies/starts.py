"""From which a should a network start? The critical gain against [P]'s 1.5 / steepest slope, each at its best rate.

Networks start from a = 1 (the plain function), from [P]'s value, or from the critical gain
(`activations.critical_gain`), at weights of deviation 1/sqrt(fan_in); a and b are kept or learned. Every start has its
own learning rate: the first seeds choose it, on images that are held out, and the other seeds are compared. On XOR(10),
on MNIST with 8 to 64 hidden layers, and with the convolutional network of [A].

Result: at their own rates the two starts do about equally well. On XOR(10) PPNS converges in 81 % of the trials from
the critical gain and in 82 % from that of [P]. On MNIST with 8 layers its test loss is 0.34 against 0.29. With 64
layers the critical start is ahead, 1.35 against 2.19, though 5 seeds do not tell that from chance after Holm's
correction. From a = 1 PPNS learns nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from experiments.problems.cnn.protocol import Combinations, Protocol, TrainingImages
from experiments.problems.digits import Data, DataDir, hold_out, images_of, load, scores, source_of
from experiments.problems.xor10.protocol import DONE, LOSS_SCALE, PROTOCOLS, STOP_EVERY, label_of
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import Batch, Count, Depths, Rates, ScaledActivations, Steps, TunedSeeds, expect_within
from experiments.study.statements import Statement, judged
from experiments.study.study import Work, described
from experiments.study.tables import Cell, Column, Table, number, with_interval
from experiments.study.tuned import Tuned

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import xarray as xr

    from experiments.problems.cnn import networks
    from experiments.problems.cnn.train import classifier
    from experiments.problems.mnist import deep
    from experiments.problems.mnist.train import with_learning
    from experiments.studies import gain
    from experiments.study.comparing import SIGNIFICANCE, compared, level, numbers_of
    from experiments.study.run_directory import Run
    from experiments.study.tuning import at_best_rates
    from paramact_jax.activations import Activation, catalogue, critical_gain
    from paramact_jax.activations.parametric import INITIAL_STEEPEST_SLOPE
    from paramact_jax.datasets import Digits
    from paramact_jax.networks import Params
    from paramact_jax.statistics import PairedComparison
    from paramact_jax.sweeps import Training
    from paramact_jax.training import Settings

PLACES = ("plain", "steepest", "critical")
"""Where a starts: at 1, at 1.5 / steepest slope as in [P], at the critical gain."""
STARTS = tuple(f"{place}, {what}" for place in PLACES for what in ("kept", "learned"))
POINTS = [{"place": i, "learned": learned} for i in range(len(PLACES)) for learned in (False, True)]
EFFECTS = {
    "critical or steepest, kept": ("critical, kept", "steepest, kept"),
    "critical or steepest, learned": ("critical, learned", "steepest, learned"),
    "critical or plain, learned": ("critical, learned", "plain, learned"),
    "learning from critical": ("critical, learned", "critical, kept"),
}
"""The two starts of each question: the first minus the second on equal seeds."""
HELD_OUT = 2_000
"""Number of training images that choose the rates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Starts(Tuned):
    """Base class of the three problems."""

    def sweep(self, training: Callable[..., Training], work: Work, **options: Any) -> xr.Dataset:
        """Trains all seeds from every start at every rate; `training` is called with the static axes."""
        names = [", ".join(map(str, kind)) for kind in itertools.product(*options["static_axes"].values())]
        options |= {"axes": {"learning_rate": self.rates}, "points": POINTS, "chunk": len(self.rates) * self.seeds}
        found = work.sweep(self, training, names, **options)
        return found.drop_vars(POINTS[0]).rename(point="start").assign_coords(start=list(STARTS))

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says how often the critical start is better than [P]'s, and how often it is worse."""
        question = "critical or steepest, learned"
        found = [one.verdict for one in answers(run) if one.question == question]
        return (
            f"With a and b learned, the critical start is better than [P]'s in {found.count('better')} of {len(found)} "
            f"networks, worse in {found.count('worse')}, not told apart in {found.count('not told apart')}."
        )

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields every start at its rate, and the comparisons."""
        yield "starts", starts_table(run)
        yield "comparisons", comparisons_table(run)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges for each network whether the critical start is better."""
        criterion = f"paired over the seeds that did not choose rates, p by Holm's correction at most {SIGNIFICANCE:g}"
        for one in answers(run):
            if one.question.startswith("critical or steepest"):
                told = f"the critical start is better than [P]'s: {one.name}, a and b {one.question.split()[-1]}"
                verdict = judged({"better": True, "worse": False}.get(one.verdict))
                _, difference, interval, _ = numbers_of(one.comparison)
                yield Statement("ours", told, criterion, verdict, one.verdict, difference, interval)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the numbers of the tables."""
        return {"starts": levels(run), "answers": answers(run)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartsXor10(_Starts):
    """On XOR(10): the share of trials that converge, by start, kept or learned.

    About 2 minutes on 2 cores. Writes runs/starts-xor10-DATE-TIME/: records, summary, report, tables.
    Example: python -m experiments starts xor10 --activations ppns
    """

    name: ClassVar[str] = "starts-xor10"
    command: ClassVar[str] = "starts xor10"
    heading: ClassVar[str] = "From which a? XOR(10)"

    activations: ScaledActivations = ("ppns", "parametric_tanh", "parametric_sigmoid", "parametric_relu")
    """Names of activations with a scale a."""
    rates: Rates = (0.003125, 0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2)
    seeds: TunedSeeds = 1_024
    choosing: Count = 512
    steps: Steps = 10_000

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all trials in one sweep."""
        threshold = PROTOCOLS["recovered"].threshold
        axes = {"activation": self.activations}
        loss = self.sweep(xor10_training, work, static_axes=axes, stop_every=min(STOP_EVERY, self.steps))["loss"]
        final = loss.assign_attrs(description="mean squared error over the 4 points after the last update")
        converged = (loss < threshold).assign_attrs(description=f"final_loss < {threshold:g}")
        attributes = {"problem": "xor10", "choosing": self.choosing}
        return xr.Dataset({"final_loss": final, "converged": converged}, attrs=attributes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OnImages(_Starts):
    """Base class of the two problems with images."""

    batch: Batch
    """Images a step."""
    data: Data = "auto"
    data_dir: DataDir = None

    def check(self, data: Any) -> None:
        """Refuses numbers that do not fit the images."""
        super().check(data)
        expect_within(self, "batch", 1, len(data[0].train_labels), "the number of training images")

    def config(self, data: Any) -> dict[str, Any]:
        """Adds the source of the images."""
        return super().config(data[0])

    def scored(self, problem: str, data: Any, training: Callable[..., Training], work: Work, **axes: Any) -> xr.Dataset:
        """Returns the scores of all networks, trained in one sweep over the static axes."""
        digits, held_out = data
        images = images_of(digits) | {name: x[:HELD_OUT] for name, x in held_out.items()}
        found = self.sweep(training, work, static_axes=axes, block=1, data=images)
        attributes = {"problem": problem, **source_of(digits), "choosing": self.choosing}
        return described(found, scores("after the last step", held_out=True), {}, attributes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartsMnist(_OnImages):
    """On MNIST with 8 to 64 hidden layers: the test loss by start, kept or learned.

    About 9 minutes on 2 cores. Writes runs/starts-mnist-DATE-TIME/: records, summary, report, tables.
    Example: python -m experiments starts mnist --depths 8 16
    """

    name: ClassVar[str] = "starts-mnist"
    command: ClassVar[str] = "starts mnist"
    heading: ClassVar[str] = "From which a? MNIST"

    activations: ScaledActivations = ("ppns", "parametric_tanh")
    """Names of activations with a scale a."""
    depths: Depths = (8, 16, 32, 64)
    """Numbers of hidden layers."""
    rates: Rates = (0.0025, 0.01, 0.04, 0.16)
    steps: Steps = 500
    width: Count = 64
    """Nodes in every hidden layer."""
    batch: Batch = 32

    def load(self) -> Any:
        """Loads the images, and holds out the last sixth of the training images, whose first ones choose the rates."""
        return hold_out(load(self.data, self.data_dir))

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep."""
        training = functools.partial(mnist_training, study=self, digits=data[0])
        return self.scored("mnist", data, training, work, activation=self.activations, depth=self.depths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartsCnn(_OnImages):
    """With the convolutional network of [A] on MNIST: the test loss by start, kept or learned.

    About 10 minutes on 2 cores. Writes runs/starts-cnn-DATE-TIME/: records, summary, report, tables.
    Example: python -m experiments starts cnn --combinations parametric_relu/parametric_relu
    """

    name: ClassVar[str] = "starts-cnn"
    command: ClassVar[str] = "starts cnn"
    heading: ClassVar[str] = "From which a? The convolutional network of [A]"

    combinations: Combinations = ("parametric_relu/parametric_sigmoid", "parametric_relu/parametric_relu")
    """Activation of the convolutional layers / of the dense hidden layer."""
    rates: Rates = (0.03, 0.1, 0.3)
    seeds: TunedSeeds = 6
    choosing: Count = 1
    steps: Steps = 300
    training_images: TrainingImages = 5_000
    """Images to train with, the same number of each digit, as in [A]."""
    batch: Batch = 100

    def load(self) -> Any:
        """Loads the draw of images, and of the other images those that choose the rates."""
        digits, held_out = hold_out(networks.load(self.data, self.data_dir, self.training_images))
        return networks.for_training(digits, self.training_images, 0), held_out

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep."""
        training = functools.partial(cnn_training, study=self)
        return self.scored("cnn", data, training, work, combination=self.combinations)


@dataclasses.dataclass(frozen=True)
class Starts:
    """From which a should a network start? The critical gain against [P]'s 1.5 / steepest slope and the plain a = 1.

    a and b kept or learned; every start at its own learning rate, chosen on seeds and images that are held out.
    """

    what: (
        Annotated[StartsXor10, tyro.conf.subcommand("xor10")]
        | Annotated[StartsMnist, tyro.conf.subcommand("mnist")]
        | Annotated[StartsCnn, tyro.conf.subcommand("cnn")]
    )

    def prepare(self) -> Callable[[], None]:
        """Prepares the study of the chosen problem."""
        return self.what.prepare()


# -- what is trained ---------------------------------------------------------------------------------------------------


def start_values(record: Activation) -> tuple[float, ...]:
    """Returns the start values of a at `PLACES`, for an activation with a scale.

    Examples:
      >>> [round(value, 4) for value in start_values(catalogue.get("ppns"))]
      [1.0, 6.0, 4.0]
    """
    return 1.0, gain.unit_of(record) * INITIAL_STEEPEST_SLOPE, critical_gain(record).gain


def xor10_training(activation: str) -> Training:
    """Returns the training of one trial, at settings `place`, of `PLACES`, `learned` and `learning_rate`."""
    record = catalogue.get(activation)
    whole, values = gain.training(activation), jnp.asarray(start_values(record)) / gain.unit_of(record)
    kept = {"compensated": jnp.asarray(False)}

    def settings(learning_rate: jax.Array) -> Settings:
        scale = LOSS_SCALE[PROTOCOLS["recovered"].loss]
        return Settings(learning_rate, learning_rate, scale, PROTOCOLS["recovered"].threshold)

    def init(key: jax.Array, place: jax.Array) -> Any:
        return whole.init(key, values[place], jnp.asarray(1.0))

    def step(state: Any, place: jax.Array, learned: jax.Array, learning_rate: jax.Array) -> Any:
        return whole.step(state, gain=values[place], learned=learned, settings=settings(learning_rate), **kept)

    def summarise(state: Any, place: Any, learned: Any, learning_rate: Any) -> dict[str, Any]:
        settled = {"gain": values[place], "learned": learned, "settings": settings(learning_rate), **kept}
        return {"loss": whole.summarise(state, **settled)["loss"]}

    return Training(init, step, summarise, stop=lambda state: state.loss < DONE)


def mnist_training(activation: str, depth: int, *, study: StartsMnist, digits: Digits) -> Training:
    """Returns the training of one deep perceptron, at the same settings and the images, `data`."""
    values = jnp.asarray(start_values(catalogue.get(activation)))
    conditions = {"width": study.width, "batch": study.batch, "steps": study.steps}
    whole = deep.training(activation, depth, digits=digits, scores=("test", "held_out"), **conditions)

    def init(key: jax.Array, data: Any, place: jax.Array) -> Any:
        return whole.init(key, data, a0=values[place], weight_std=1.0, compensated=False)

    return Training(init, whole.step, whole.summarise)


def cnn_training(combination: str, *, study: StartsCnn) -> Training:
    """Returns the training of one convolutional network, likewise; each activation has its own start value."""
    records = [catalogue.get(name) for name in combination.split("/")]
    values = {
        part: jnp.asarray(start_values(record))
        for part, record in zip(("convolutional", "dense"), records, strict=True)
        if "a" in record.params
    }
    protocol = Protocol(training_images=study.training_images, batch=study.batch, steps=study.steps)
    whole = classifier(combination, protocol)

    def initial(key: jax.Array, place: jax.Array) -> Params:
        params = whole.initial(key, weight_scale=1.0, initial_a=jnp.nan)

        def started(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
            part, *_, name = (entry.key for entry in path)
            is_scale = name == "a" and path[-2].key == "activation"
            return jnp.full_like(x, values[part][place]) if is_scale else x

        return jax.tree_util.tree_map_with_path(started, params)

    scored = dict.fromkeys(("test", "held_out"))
    return with_learning(dataclasses.replace(whole, initial=initial, scores=scored))


# -- what the records say ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Level:
    """The result of a start at its best rate, over the seeds that did not choose the rate.

    Attributes:
      name: of the network, see `name_of`.
      start: one of `STARTS`.
      rate: the chosen learning rate.
      at_end: whether it is the smallest or largest rate of the run.
      mean: test loss, or share of trials that converge.
      interval: of it, 95 %: t interval, or Wilson's; None with fewer than 2 finite values.
      accuracy: mean test accuracy; None on XOR(10).
    """

    name: str
    start: str
    rate: float
    at_end: bool
    mean: float
    interval: tuple[float, float] | None
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """One start against another on equal seeds.

    Attributes:
      name: of the network.
      question: one of `EFFECTS`.
      comparison, p_value_holm, verdict: of the two starts, see `Told`: "better", "worse" or "not told apart".
    """

    name: str
    question: str
    comparison: PairedComparison | None
    p_value_holm: float | None
    verdict: str


def name_of(kind: Mapping[str, Any]) -> str:
    """Names a network in words.

    Examples:
      >>> name_of({"activation": "ppns", "depth": 8})
      'PPNS, 8 layers'
    """
    if "combination" in kind:
        return str(kind["combination"])
    return label_of(kind["activation"]) + (f", {kind['depth']} layers" if "depth" in kind else "")


def _dims(records: xr.Dataset) -> list[str]:
    """Returns the dims that are neither of a start nor of a rate nor of a seed."""
    return [name for name in ("activation", "depth", "combination") if name in records.dims]


@once
def levels(run: Run) -> list[Level]:
    """Returns the level of every network from every start."""
    records, found = run.records, []
    for at, best, values in at_best_rates(records, [*_dims(records), "start"]):
        rate, (about, interval), reached = best["rate"].item(), level(values), None
        if "test_accuracy" in records:
            accuracy = records["test_accuracy"].sel(at).sel(learning_rate=rate)
            reached = float(accuracy.isel(seed=slice(records.attrs["choosing"], None)).mean())
        found.append(Level(name_of(at), at["start"], rate, best["at_end"].item(), about.mean, interval, reached))
    return found


@once
def answers(run: Run) -> list[Answer]:
    """Answers every question about every network."""
    records = run.records
    values = {(name_of(at), at["start"]): own for at, _, own in at_best_rates(records, [*_dims(records), "start"])}
    asked = [(name, question) for name in dict.fromkeys(name for name, _ in values) for question in EFFECTS]
    starts = [(name, *EFFECTS[question]) for name, question in asked]
    samples = [(values[name, first], values[name, second]) for name, first, second in starts]
    told = compared(samples, records["seed"].values[records.attrs["choosing"] :], ("better", "worse"))
    return [Answer(name, question, *one) for (name, question), one in zip(asked, told, strict=True)]


def starts_table(run: Run) -> Table:
    """Returns the level of every start at its rate."""
    counted = "converged" in run.records
    rows: list[list[Any]] = []
    for one in levels(run):
        rate = Cell(one.rate, f"{one.rate:g}{'*' * one.at_end}")
        rows.append([one.name, one.start, rate, one.mean, one.interval, *([] if counted else [one.accuracy])])
    form = ".1%" if counted else ".4f"
    return Table(
        "Every start at its best learning rate: " + ("trials that converge" if counted else "test loss"),
        [
            *("network", Column("start of a", left=True), "rate"),
            *with_interval("mean", form),
            *([] if counted else [Column("accuracy", ".1%")]),
        ],
        rows,
        f"{_conditions(run)} a starts at 1 (plain), at 1.5 / steepest slope as in [P], or at the critical gain. "
        f"*: the smallest or largest rate that was tried.",
        beside=["mean"],
    )


def comparisons_table(run: Run) -> Table:
    """Returns the comparisons of starts."""
    counted = "converged" in run.records
    rows: list[list[Any]] = []
    for one in answers(run):
        _, difference, interval, _ = numbers_of(one.comparison)
        rows.append([one.name, one.question, difference, interval, one.p_value_holm, one.verdict])
    form = "+.1%" if counted else "+.4f"
    return Table(
        "Which start is better?",
        [
            "network",
            Column("question", left=True),
            *with_interval("difference", form),
            *(Column("p (Holm)", ".2g"), Column("the first is", left=True)),
        ],
        rows,
        f"{_conditions(run)} Differences on equal seeds; "
        + ("bootstrap interval, McNemar's exact test" if counted else "t interval, paired t test")
        + f"; Holm's correction over the {len(rows)} rows.",
        keys=2,
        beside=["difference"],
    )


def _conditions(run: Run) -> str:
    config, seeds = run.manifest["config"], run.records["seed"].values
    return (
        f"{config['steps']:,} steps; seeds {seeds.min()} to {seeds.max()}, of which the first {config['choosing']} "
        f"choose among the rates {', '.join(map(number, config['rates']))}."
    )
