"""Is it the learning of a and b, or only the initial gain? Neither paper asks. On XOR(10) and on MNIST.

PPNS, Parametric Tanh and Parametric ReLU are trained four ways on equal seeds, see `CONDITIONS`. Result: at the rates
of [P] the gain is enough, and learning from 1 is not. On XOR(10) 829 of 1,000 trials of PPNS converge with a and b kept
at their start values, 765 where they are learned as in [P], and none from a = 1. On MNIST the test loss of PPNS is
0.083 with the gain, learned or not, and 2.301 without it.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from experiments.problems.digits import Data, DataDir, images_of, is_mnist, load, scores, source_of
from experiments.study.imports import at_once
from experiments.study.options import DISTINCT, Count, Out, SeveralSeeds, Steps, also, one_of
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.problems.mnist import protocol as mnist_protocol
    from experiments.problems.mnist.train import CLOSEUP, classifier_of, early_loss, with_learning
    from experiments.problems.xor10 import protocol as xor10_protocol
    from experiments.problems.xor10 import train as xor10
    from experiments.study.comparing import SIGNIFICANCE, compared, level, numbers_of
    from experiments.study.curves import panels
    from experiments.study.run_directory import Run
    from experiments.study.samples import plain
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import Digits
    from paramact_jax.figures import ConvergenceCurve, convergence, curves_with_bands
    from paramact_jax.papers import ko2021
    from paramact_jax.statistics import PairedComparison
    from paramact_jax.sweeps import Training
    from paramact_jax.training import Settings, marks

BASES = {"ppns": "pn_sigmoid", "parametric_tanh": "tanh", "parametric_relu": "relu"}
"""The parametric functions, and the plain ones they are made of."""
LABELS = {"ppns": "PPNS", "parametric_tanh": "Parametric Tanh", "parametric_relu": "Parametric ReLU"}
CONDITIONS = {
    "gain, learned": "a = 1.5 / steepest slope and b = 0 at the start, both learned, as in [P]",
    "gain, frozen": "the same start values, kept",
    "unit, learned": "a = 1, b = 0 at the start, both learned",
    "plain": "the function without a and b",
}
"""What happens to a and b."""
POINTS = [
    {"plain": False, "learned": True, "unit": False},
    {"plain": False, "learned": False, "unit": False},
    {"plain": False, "learned": True, "unit": True},
    {"plain": True, "learned": False, "unit": False},
]
"""The conditions as points of a sweep: whether the function is plain, a and b are learned, and a starts at 1."""
PUBLISHED = ("gain, learned", "plain")
"""The conditions of [P]."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """A question, asked as the difference of two conditions on the same seeds: first - second."""

    question: str
    first: str
    second: str


EFFECTS = (
    Effect("all of it", "gain, learned", "plain"),
    Effect("initial gain alone", "gain, frozen", "plain"),
    Effect("learning alone", "unit, learned", "plain"),
    Effect("learning, given the gain", "gain, learned", "gain, frozen"),
    Effect("gain, given the learning", "gain, learned", "unit, learned"),
)


# -- what is trained ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Ablation(Study):
    """Base class of both problems."""

    protocol: Literal["recovered", "literal"] = "recovered"
    """Conditions of training, see `xor10` and `mnist`."""
    activations: Annotated[tuple[str, ...], one_of(*BASES), DISTINCT, also("--functions")] = tuple(BASES)
    """The functions that are trained under every condition."""
    seeds: SeveralSeeds = 5
    """Networks of each function under each condition, on the same seeds."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    steps: Steps = 10_000
    """Steps of gradient descent."""
    out: Out = None

    def sweep(self, training: Callable[..., Training], work: Work, **options: Any) -> xr.Dataset:
        """Trains all seeds under every condition."""
        kinds = [(base, i) for base in self.activations for i in range(len(POINTS))]
        names = [f"{_trained(base, POINTS[i]['plain'])}: {list(CONDITIONS)[i]}" for base, i in kinds]
        axes = {"base": self.activations}
        found = work.sweep(self, training, names, static_axes=axes, points=POINTS, chunk=self.seeds, **options)
        return found.drop_vars(POINTS[0]).rename(point="condition").assign_coords(condition=list(CONDITIONS))

    @classmethod
    @abc.abstractmethod
    def outcomes(cls, records: xr.Dataset) -> dict[str, xr.DataArray]:
        """Returns what is compared, by name: losses, or bools, of which True is better. Dims base, condition, seed."""

    @classmethod
    @abc.abstractmethod
    def published(cls, run: Run) -> dict[str, float]:
        """Returns what [P] prints for the first outcome of such a run, by activation."""

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the conditions and the effects of each outcome."""
        published = cls.published(run) if run.manifest["config"]["protocol"] == "recovered" else {}
        for i, (name, values) in enumerate(cls.outcomes(run.records).items(), start=1):
            yield f"conditions_{i}", conditions_table(run, name, values, published if i == 1 else {})
            yield f"effects_{i}", effects_table(run, name, values)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the effects as plain data, and the means over the seeds: of bools the share of True."""
        found = cls.outcomes(run.records)
        levels = {
            name: {
                base: {name: float(of_base.sel(condition=name)) for name in CONDITIONS}
                for base, of_base in zip(values["base"].values.tolist(), values.mean("seed"), strict=True)
            }
            for name, values in found.items()
        }
        return {"means": levels, "outcomes": {name: plain(answers(values)) for name, values in found.items()}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationXor10(_Ablation):
    """On XOR(10): the share of 1,000 trials that converge under each condition.

    About a minute on 2 cores. Writes runs/ablation-xor10-DATE-TIME/: records, summary, report, tables, one figure a
    function. Example: python -m experiments ablation xor10 --seeds 4000
    """

    name: ClassVar[str] = "ablation-xor10"
    command: ClassVar[str] = "ablation xor10"
    heading: ClassVar[str] = "Learning of a and b, or initial gain? XOR(10)"
    renamed: ClassVar[Mapping[str, str]] = {"trials": "seeds", "iterations": "steps"}

    seeds: SeveralSeeds = 1_000
    """Trials of each function under each condition, on the same seeds."""

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all trials under every condition."""
        protocol = xor10_protocol.PROTOCOLS[self.protocol]
        found = self.sweep(
            xor10_training,
            work,
            static_argnames="plain",
            iterations_per_call=xor10.CHUNK,
            settings=xor10.settings_of(protocol),
            std={"weight": float(protocol.weight_std), "bias": float(protocol.bias_std)},
        )
        variables = {
            "final_loss": Variable("loss", "mean squared error over the 4 points after the last update"),
            "reached_at": Variable("reached_at", "updates made when first below the threshold; -1: never"),
        }
        records = described(found, variables, {}, {"problem": "xor10", "threshold": protocol.threshold})
        converged = records["final_loss"] < protocol.threshold
        return records.assign(converged=converged.assign_attrs(description="final_loss < threshold"))

    @classmethod
    def outcomes(cls, records: xr.Dataset) -> dict[str, xr.DataArray]:
        """Returns which trials converge."""
        return {"trials that converge": records["converged"].astype(bool)}

    @classmethod
    def published(cls, run: Run) -> dict[str, float]:
        """Returns the shares of [P, Table 5]."""
        if run.manifest["config"]["steps"] != cls.steps:
            return {}
        return {row.activation: row.converged / row.trials for row in ko2021.TABLE_5}

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields for each function the share of trials that have converged, by step, under the four conditions."""
        records, steps = run.records, run.manifest["config"]["steps"]
        reached = records["reached_at"].where(records["converged"], -1)
        for base in records["base"].values.tolist():
            curves = [ConvergenceCurve(name, reached.sel(base=base, condition=name).values) for name in CONDITIONS]
            yield base, convergence(curves, iterations=steps, threshold=records.attrs["threshold"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationMnist(_Ablation):
    """On MNIST with 8 hidden layers: the test loss of 5 networks under each condition, at the end and early.

    About 12 minutes on 2 cores. Writes runs/ablation-mnist-DATE-TIME/, as the other.
    Example: python -m experiments ablation mnist --seeds 10
    """

    name: ClassVar[str] = "ablation-mnist"
    command: ClassVar[str] = "ablation mnist"
    heading: ClassVar[str] = "Learning of a and b, or initial gain? MNIST"

    test_every: Count = 130
    """Steps between two scores of all test images."""
    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> Any:
        """Loads the images."""
        return load(self.data, self.data_dir)

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all networks under every condition."""
        protocol = dataclasses.replace(
            mnist_protocol.PROTOCOLS[self.protocol],
            steps=self.steps,
            test_every=self.test_every,
            train_every=self.steps,
        )
        found = self.sweep(
            functools.partial(mnist_training, protocol=protocol, digits=data),
            work,
            static_argnames=("plain", "unit"),
            block=1,
            learning_rate=protocol.learning_rate,
            data=images_of(data),
        )
        steps = {"test_step": marks(self.steps, self.test_every)}
        return described(
            found, scores("after so many steps", "test_step"), steps, {"problem": "mnist"} | source_of(data)
        )

    @classmethod
    def outcomes(cls, records: xr.Dataset) -> dict[str, xr.DataArray]:
        """Returns the test loss at the end, and its mean over the first steps."""
        losses = records["test_loss"].astype(np.float64)
        found = {"test loss after the last step": losses.isel(test_step=-1)}
        early = early_loss(losses) if int(records["test_step"][-1]) > CLOSEUP else None
        return found if early is None else found | {f"mean test loss over steps 0 to {CLOSEUP}": early}

    @classmethod
    def published(cls, run: Run) -> dict[str, float]:
        """Returns the losses that [P] prints, where the images are MNIST's."""
        steps = int(run.records["test_step"][-1])
        if not is_mnist(run.records):
            return {}
        return {row.activation: row.loss for row in ko2021.MNIST_FINAL_LOSS if row.steps == steps}

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields for each function the test loss under the four conditions, by step."""
        losses = run.records["test_loss"]
        steps = losses["test_step"].values
        options: dict[str, Any] = {"closeup": CLOSEUP if steps[-1] > CLOSEUP else None, "ylabel": "test loss"}
        for base, curves in panels(losses, "test_step", "base", "condition").items():
            yield base, curves_with_bands(steps, curves, title=f"{LABELS[base]}: a and b", **options)


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Is it the learning of a and b, or the initial gain? PPNS, Parametric Tanh and Parametric ReLU, four ways.

    a and b learned as in [P]; kept at their start values; learned from a = 1, b = 0; the plain function.
    """

    what: (
        Annotated[AblationXor10, tyro.conf.subcommand("xor10")]
        | Annotated[AblationMnist, tyro.conf.subcommand("mnist")]
    )

    def prepare(self) -> Callable[[], None]:
        """Prepares the study of the chosen problem."""
        return self.what.prepare()


def xor10_training(base: str, plain: bool) -> Training:
    """Returns the training of one trial, see `xor10.train.training`, of a function at one of `POINTS`."""
    record = catalogue.get(_trained(base, plain))
    whole = xor10.training(record)

    def init(key: jax.Array, unit: jax.Array, std: Any) -> Any:
        starts = {} if plain else {"a": jnp.where(unit, 1.0, record.params["a"])}
        return whole.init(key, std, {**record.params, **starts})

    def step(state: Any, learned: jax.Array, settings: Settings) -> Any:
        return whole.step(state, settings._replace(activation_learning_rate=learned * settings.learning_rate))

    return dataclasses.replace(whole, init=init, step=step)


def mnist_training(base: str, plain: bool, unit: bool, protocol: mnist_protocol.Protocol, digits: Digits) -> Training:
    """Returns the training of one network, see `Classifier`, of a function at one of `POINTS`."""
    started = dataclasses.replace(protocol, initial_a=1.0 if unit else None)
    return with_learning(classifier_of(_trained(base, plain), started, digits))


def _trained(base: str, plain: bool) -> str:
    """Returns the name of the trained function in the catalogue."""
    return BASES[base] if plain else base


# -- what the records say ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Answer:
    """One effect on one function.

    Attributes:
      base: parametric function.
      effect: the question.
      comparison, p_value_holm, verdict: of the two conditions, see `Told`: "helps", "harms" or "not told apart".
    """

    base: str
    effect: Effect
    comparison: PairedComparison | None
    p_value_holm: float | None
    verdict: str


def answers(values: xr.DataArray) -> list[Answer]:
    """Answers every question about every function; see `_Ablation.outcomes` for the values."""
    asked = [(base, effect) for base in values["base"].values.tolist() for effect in EFFECTS]
    samples = [
        (values.sel(base=base, condition=effect.first).values, values.sel(base=base, condition=effect.second).values)
        for base, effect in asked
    ]
    told = compared(samples, values["seed"].values, ("helps", "harms"))
    return [Answer(base, effect, *one) for (base, effect), one in zip(asked, told, strict=True)]


def conditions_table(run: Run, name: str, values: xr.DataArray, published: Mapping[str, float]) -> Table:
    """Returns the level of an outcome under each condition."""
    counted = values.dtype == bool
    rows: list[list[Any]] = []
    for base in values["base"].values.tolist():
        for condition in CONDITIONS:
            found, interval = level(values.sel(base=base, condition=condition).values)
            theirs = published.get(_trained(base, condition == "plain")) if condition in PUBLISHED else None
            rows.append([LABELS[base], condition, found.mean, interval, theirs, found.non_finite])
    about = "; ".join(f"{name}: {text}" for name, text in CONDITIONS.items())
    interval_of = "Wilson's, of the share, per 1,000" if counted else "t interval of the mean over the seeds"
    return Table(
        f"{name[0].upper()}{name[1:]}",
        [
            "function",
            Column("a and b", left=True),
            Column("per 1,000" if counted else "mean", _thousandths(".4g") if counted else ".4f", key="level"),
            Column("95 % interval", _thousandths(".1f") if counted else ".4f", key="level"),
            Column("[P]", _thousandths(".4g") if counted else ".3f", key="published"),
            "not finite",
        ],
        rows,
        f"{_conditions(run)} {about}. Interval: {interval_of}. [P]: "
        "published, under the same conditions of training. not finite: left out.",
    )


def effects_table(run: Run, name: str, values: xr.DataArray) -> Table:
    """Returns the answers about an outcome."""
    counted, found = values.dtype == bool, answers(values)
    rows: list[list[Any]] = []
    for one in found:
        what = f"{one.effect.first} - {one.effect.second}"
        cells = *numbers_of(one.comparison), one.p_value_holm, one.verdict
        rows.append([LABELS[one.base], one.effect.question, what, *cells])
    seeds = values.sizes["seed"]
    test = "bootstrap interval; McNemar's exact test" if counted else "t interval; paired t test"
    left_out = f" Of {seeds} seeds, those not finite under one of the two are left out."
    left_out = left_out if any(row[3] < seeds for row in rows) else ""
    return Table(
        f"What changes the {name}",
        [
            "function",
            Column("effect of", left=True),
            Column("difference of", left=True),
            "seeds",
            Column("mean", _thousandths("+.0f") if counted else "+.4f"),
            Column("95 % interval", _thousandths(".0f") if counted else ".4f", key="mean"),
            Column("p", ".2g"),
            Column("p (Holm)", ".2g"),
            "verdict",
        ],
        rows,
        f"{_conditions(run)} Differences on equal seeds{', per 1,000' if counted else ''}; "
        f"{test}, Holm's correction over the {len(rows)} rows; told apart at {SIGNIFICANCE:g}.{left_out}",
        beside=["mean"],
    )


def _thousandths(form: str) -> Callable[[float], str]:
    return lambda share: format(1000 * share, form)


def _conditions(run: Run) -> str:
    return f"Protocol {run.manifest['config']['protocol']}, {run.seeds_and_images()}."
