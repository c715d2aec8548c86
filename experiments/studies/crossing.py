"""Can learning cross the boundary? Networks on XOR(10) that start where their gradient vanishes.

Below the critical gain (`activations.critical_gain`) the gradient vanishes with depth, and `gain` finds that a and b,
learned at the rate of the weights, do not change that. Here learning gets help: its rate is up to 1,000 times as high
as that of the weights, a layer or the network shares one a, or the logarithm of a is learned, by gradient descent or by
Adam. For comparison the scale is also set without an activation: by orthogonal weights of the critical scale, weights
scaled to a variance of 1 in each layer (LSUV), batch normalisation, and residual connections.

Result: gradient descent does not cross from half of the critical gain, whatever helps it. Adam does, if a is learned at
10 times the rate of the weights: 94.5 % of the trials of PPNS converge from there, 45.3 % with a kept.

References:
  Mishkin, Matas, All you need is a good init, 2016 (LSUV). Saxe, McClelland, Ganguli, Exact solutions to the nonlinear
  dynamics of learning in deep linear neural networks, 2014 (orthogonal weights).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.xor10.protocol import (
    DONE,
    HIDDEN_LAYERS,
    LOSS_SCALE,
    PROTOCOLS,
    STOP_EVERY,
    WIDTH,
    label_of,
)
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import (
    DISTINCT,
    NOT_NEGATIVE,
    Constraint,
    Count,
    Out,
    Positives,
    ScaledActivations,
    Seeds,
    Steps,
    at_least,
    expect,
)
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table, with_interval

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.problems.xor10.train import initial_params
    from experiments.study.comparing import above
    from experiments.study.run_directory import Run
    from experiments.study.tuning import places
    from paramact_jax.activations import Activation, catalogue, critical_gain
    from paramact_jax.datasets import xor
    from paramact_jax.figures import BandCurve, curves_in_panels
    from paramact_jax.networks import Params
    from paramact_jax.statistics import wilson_interval
    from paramact_jax.sweeps import Training
    from paramact_jax.training import Settings
    from paramact_jax.training.gradient_descent import rates_of_groups

HELPED = tuple(
    " ".join(way) for way in itertools.product(("node", "layer", "network"), ("a", "log-a"), ("sgd", "adam"))
)
"""What has an a of its own, what is learned, and the optimiser."""
OTHERWISE = tuple(
    " ".join(way) for way in itertools.product(("plain", "orthogonal", "lsuv", "norm", "residual"), ("sgd", "adam"))
)
"""Ways to set the scale without a: networks of f itself, with a = 1 and b = 0, that start or are built otherwise."""
TEXTS = {
    "node": "a of each node",
    "layer": "a of each layer",
    "network": "one a",
    "plain": "as it is",
    "orthogonal": "orthogonal weights, critical scale",
    "lsuv": "weights scaled to variance 1 (LSUV)",
    "norm": "batch normalisation",
    "residual": "residual connections",
}
EPSILON = 1e-5
HALF = 0.5
BEST = "best of all"
"""The best way on the first half of the seeds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crossing(Study):
    """Can learning cross the boundary? Networks on XOR(10) that start where their gradient vanishes.

    a starts below the critical gain, and is learned at up to 1,000 times the rate of the weights, per node, layer or
    network, itself or its logarithm, by gradient descent or Adam; other ways to set the scale stand next to it. About 8
    minutes on 2 cores. Writes runs/crossing-DATE-TIME/: records, summary, report, tables, figures.
    Example: python -m experiments crossing --activations ppns --starts 0.5 --seeds 64
    """

    name: ClassVar[str] = "crossing"
    heading: ClassVar[str] = "Can learning cross the boundary?"

    activations: ScaledActivations = ("ppns", "parametric_tanh")
    """Names of activations with a scale a."""
    starts: Positives = (0.25, 0.5, 0.75, 1.0)
    """Start values of a, in units of the critical gain: 4 for PPNS, 1 for Parametric Tanh."""
    multiples: Annotated[tuple[float, ...], NOT_NEGATIVE, DISTINCT] = (0.0, 1.0, 10.0, 100.0, 1000.0)
    """Learning rates of a and b, in units of the weights' rate; 0 keeps them at their start values."""
    sgd_rates: Positives = (0.015, 0.05)
    """Learning rates of the weights under gradient descent."""
    adam_rates: Positives = (0.0005, 0.005)
    """Learning rates of the weights under Adam, as many."""
    seeds: Annotated[Seeds, at_least(4)] = 256
    """Trials of each cell; the best rates are chosen on the first half, and measured on the second."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    depth: Count = HIDDEN_LAYERS
    """Hidden layers."""
    steps: Steps = 10_000
    """Full-batch updates."""
    out: Out = None

    def check(self, data: Any) -> None:
        """Refuses numbers of rates that differ between the optimisers."""
        as_many = Constraint(
            f"{len(self.sgd_rates)} rates, as many as --sgd-rates", lambda x: len(x) == len(self.sgd_rates)
        )
        expect("adam_rates", self.adam_rates, as_many)

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all trials, with a program for each activation and way."""
        swept = []
        for kind, ways, axes in (
            ("helped", HELPED, {"start": self.starts, "multiple": self.multiples}),
            ("otherwise", OTHERWISE, {"start": (1.0,), "multiple": (0.0,)}),
        ):
            names = [f"{name}, {way}" for name in self.activations for way in ways]
            found = work.sweep(
                self,
                functools.partial(training, study=self),
                names,
                directory=kind,
                static_axes={"activation": self.activations, "way": ways},
                axes=axes | {"rate": range(len(self.sgd_rates))},
                stop_every=min(STOP_EVERY, self.steps),
            )
            swept.append(found if kind == "helped" else found.isel(start=0, multiple=0, drop=True))
        variables = {
            "final_loss": Variable("loss", "mean squared error over the 4 points after the last update"),
            "end": Variable("end", "root mean square of all learned a, in units of the critical gain"),
        }
        helped, other = (described(found, variables, {}, {}) for found in swept)
        return xr.Dataset(
            {
                **helped,
                "other_final_loss": other["final_loss"].rename(way="other"),
                "sgd_rate": ("rate", list(self.sgd_rates)),
                "adam_rate": ("rate", list(self.adam_rates)),
            },
            attrs={"problem": "xor10", "threshold": PROTOCOLS["recovered"].threshold},
        )

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says from how far below the boundary learning reaches it."""
        found, best = [], [one for one in rescues(run) if one.way == BEST]
        for name in run.records["activation"].values.tolist():
            own = [one for one in best if one.activation == name]
            saved = [one.start for one in own if one.interval[0] > HALF]
            which = f"from {min(saved):g} of the critical gain" if saved else "from none of the start values"
            found.append(
                f"{label_of(name)}: with the best help of learning, more than half of the trials converge {which}."
            )
        return " ".join(found)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields what learning rescues, and the other ways."""
        yield "rescued", rescued_table(run)
        yield "otherwise", otherwise_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the share of each way by the multiple for a and b, at the best learning rate of the weights."""
        yield "multiples", _multiples(run)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges whether learning rescues half of the trials, from each start below the boundary."""
        for one in rescues(run):
            if one.way == BEST and one.start < 1:
                half = above(one.interval, HALF)
                told = f"learning rescues {label_of(one.activation)} from {one.start:g} of the critical gain"
                measured = f"{one.learned:.1%} ({one.chosen}), {one.frozen:.1%} with a frozen"
                criterion = "half of the trials converge under the best way and rates"
                yield Statement("ours", told, criterion, judged(half), measured, one.learned, one.interval)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the numbers of the tables."""
        return {"rescued": rescues(run), "otherwise": others(run)}


# -- what is trained ---------------------------------------------------------------------------------------------------


def training(activation: str, way: str, *, study: Crossing) -> Training:
    """Returns the training of one trial at settings `start`, `multiple` and `rate`, an index of the weights' rates.

    Its results are the final `loss`, and `end`, the root mean square of a in units of the critical gain.
    """
    record, (who, *learns, optimiser) = catalogue.get(activation), way.split()
    critical, logarithm = critical_gain(activation).gain, learns == ["log-a"]
    rates = jnp.asarray(study.sgd_rates if optimiser == "sgd" else study.adam_rates)
    loss_scale = LOSS_SCALE[PROTOCOLS["recovered"].loss]
    transform = optax.identity() if optimiser == "sgd" else optax.scale_by_adam()
    together = {"layer": WIDTH, "network": WIDTH * study.depth}.get(who, 1) if optimiser == "sgd" else 1
    inputs, targets = (jnp.asarray(x) for x in xor())

    def error(params: Params) -> jax.Array:
        return jnp.mean((network(params, inputs, record, who, logarithm) - targets) ** 2)

    def init(key: jax.Array, start: jax.Array) -> dict[str, Any]:
        a = start * critical if learns else jnp.asarray(1.0)
        own = {name: jnp.asarray(value, float) for name, value in record.params.items()}
        std = {"weight": jnp.asarray(1 / math.sqrt(WIDTH)), "bias": jnp.asarray(0.0)}
        starts = own | {"a": jnp.log(a) if logarithm else a}
        params = scaled(initial_params(record, key, std, starts, depth=study.depth), record, who, critical)
        return {"params": params, "of": transform.init(params), "loss": jnp.asarray(jnp.inf)}

    def step(state: dict[str, Any], multiple: jax.Array, rate: jax.Array) -> dict[str, Any]:
        params = state["params"]
        loss, gradient = jax.value_and_grad(lambda params: loss_scale * error(params))(params)
        direction, of = transform.update(gradient, state["of"], params)
        settings = Settings(rates[rate], multiple * together * rates[rate], loss_scale, DONE)
        learned = jax.tree.map(lambda p, rate, d: p - rate * d, params, rates_of_groups(params, settings), direction)
        return {"params": learned, "of": of, "loss": loss / loss_scale}

    def summarise(state: dict[str, Any]) -> dict[str, Any]:
        return {
            "loss": error(state["params"]),
            "end": jnp.sqrt(jnp.mean(_a(state["params"], who, logarithm) ** 2)) / critical,
        }

    return Training(init, step, summarise, stop=lambda state: state["loss"] < DONE)


def network(params: Params, inputs: jax.Array, record: Activation, who: str, logarithm: bool) -> jax.Array:
    """Returns the outputs of a network whose a is that of `_a`; `who` may add normalisation or residual connections."""
    z, a = inputs, _a(params, who, logarithm)
    for i, layer in enumerate(params["hidden"].values()):
        y = z @ layer["linear"]["kernel"] + layer["linear"]["bias"][None]
        if who == "norm":
            y = (y - y.mean(axis=0, keepdims=True)) / jnp.sqrt(y.var(axis=0, keepdims=True) + EPSILON)
        value = record(y, **{name: x[None] for name, x in {**layer["activation"], "a": a[i]}.items()})
        z = z + value if who == "residual" else value
    return z @ params["out"]["kernel"] + params["out"]["bias"][None]


def _a(params: Params, who: str, logarithm: bool) -> jax.Array:
    """Returns the scale of every node, (layers, nodes); nodes that share a scale have their mean."""
    a = jnp.stack([layer["activation"]["a"] for layer in params["hidden"].values()])
    if who in ("layer", "network"):
        a = jnp.broadcast_to(a.mean(axis=1 if who == "layer" else (0, 1), keepdims=True), a.shape)
    return jnp.exp(a) if logarithm else a


def scaled(params: Params, record: Activation, who: str, critical: float) -> Params:
    """Makes the initial weights orthogonal: of the critical scale, or with variance 1 in every layer (LSUV)."""
    if who not in ("orthogonal", "lsuv"):
        return params
    z, hidden = jnp.asarray(xor()[0]), {}
    for i, layer in params["hidden"].items():
        q, r = jnp.linalg.qr(layer["linear"]["kernel"])
        kernel = q * jnp.sign(jnp.diag(r))[None]  # every orthogonal matrix as often
        scale = critical if who == "orthogonal" else 1 / jnp.sqrt((z @ kernel).var() + EPSILON)
        hidden[i] = layer | {"linear": layer["linear"] | {"kernel": scale * kernel}}
        z = record(z @ (scale * kernel), **{name: x[None] for name, x in layer["activation"].items()})
    return params | {"hidden": hidden}


# -- what the records say ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Rescue:
    """The result of learning a and b in trials that start below the boundary.

    Attributes:
      activation: its name.
      way: one of `HELPED`, or `BEST`.
      start: of a, in units of the critical gain.
      frozen: share of the trials that converge with a and b kept, NaN where no multiple is 0.
      learned: the same with a and b learned.
      interval: of `learned`, Wilson's, 95 %.
      chosen: the learning rates of `learned`, and the way of `BEST`.
      end: median over the trials that converged of a's end, in units of the critical gain; NaN without one.
    """

    activation: str
    way: str
    start: float
    frozen: float
    learned: float
    interval: tuple[float, float]
    chosen: str
    end: float


@dataclasses.dataclass(frozen=True)
class Other:
    """The share of trials that converge with f itself, its scale set otherwise, at its best learning rate."""

    activation: str
    way: str
    share: float
    interval: tuple[float, float]
    rate: float


def _rate_of(records: xr.Dataset, way: str, index: int) -> float:
    return float(records[f"{way.rsplit(' ', 1)[-1]}_rate"][index])


def _share(converged: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Returns the share of trials that converge, and its interval."""
    return float(converged.mean()), wilson_interval(int(converged.sum()), len(converged))


@once
def rescues(run: Run) -> list[Rescue]:
    """Chooses rates for every activation, way and start on the first half of the seeds; shares are of the second."""
    records, found = run.records, []
    half, frozen = records.sizes["seed"] // 2, records["multiple"].values == 0
    trials = xr.Dataset({"converged": records["final_loss"] < records.attrs["threshold"], "end": records["end"]})

    if frozen.all():
        return []

    def best(own: xr.Dataset) -> xr.Dataset:
        """Returns the second half of the seeds in the cell where most of the first half converge."""
        cells = own.stack(cell=("way", "multiple", "rate"))
        shares = cells["converged"].isel(seed=slice(None, half)).mean("seed")
        return cells.isel(cell=int(shares.argmax("cell")), seed=slice(half, None))

    for at, way in itertools.product(places(records, ("activation", "start")), [*records["way"].values.tolist(), BEST]):
        own = trials.sel(at) if way == BEST else trials.sel(at).sel(way=[way])
        learned = best(own.isel(multiple=~frozen))
        which, multiple, rate = learned["cell"].item()
        chosen = f"{_words(which)}, " if way == BEST else ""
        chosen += f"rate {_rate_of(records, which, int(rate)):g}, of a {multiple:g} times"
        converged = learned["converged"].values
        end = learned["end"].values[converged]
        share, interval = _share(converged)
        kept = float(best(own.isel(multiple=frozen))["converged"].mean()) if frozen.any() else math.nan
        median = float(np.median(end)) if len(end) else math.nan
        found.append(Rescue(at["activation"], way, at["start"], kept, share, interval, chosen, median))
    return found


@once
def others(run: Run) -> list[Other]:
    """Chooses the rate of every activation and other way on the first half of the seeds; shares are of the second."""
    records, found = run.records, []
    converged = (records["other_final_loss"] < records.attrs["threshold"]).transpose(..., "rate", "seed")
    half = records.sizes["seed"] // 2
    for at in places(converged, ("activation", "other")):
        own = converged.sel(at).values
        rate = int(own[:, :half].mean(axis=-1).argmax())
        share, interval = _share(own[rate, half:])
        of_rate = _rate_of(records, at["other"], rate)
        found.append(Other(at["activation"], at["other"], share, interval, of_rate))
    return found


# -- tables and figures ------------------------------------------------------------------------------------------------


def _words(way: str) -> str:
    """Returns a way as people read it.

    Examples:
      >>> _words("layer log-a adam"), _words("lsuv sgd")
      ('log a of each layer, Adam', 'weights scaled to variance 1 (LSUV), gradient descent')
    """
    who, *learns, optimiser = way.split()
    text = ("log " if learns == ["log-a"] else "") + TEXTS[who]
    return f"{text}, {'gradient descent' if optimiser == 'sgd' else 'Adam'}"


def rescued_table(run: Run) -> Table:
    """Returns the result of learning in trials that start below the boundary."""
    rows: list[list[Any]] = [
        [
            *(label_of(one.activation), one.start, one.way if one.way == BEST else _words(one.way)),
            *(one.frozen, one.learned, one.interval, one.chosen, one.end),
        ]
        for one in sorted(rescues(run), key=lambda one: (one.activation, one.start))
    ]
    return Table(
        "What learning rescues: trials that converge",
        [
            *("activation", Column("start", ".2f"), Column("learned", left=True)),
            *(Column("frozen", ".1%"), *with_interval("trials", ".1%")),
            *(Column("at", left=True), Column("end", ".2f")),
        ],
        rows,
        f"{_conditions(run)} start, end: of a, in units of the critical gain; end: root mean square over the nodes, "
        "median of the trials that converge. Learning rates, and of the last row of each start the way too, are the "
        "best on the first half of the seeds; shares are those of the second half.",
        keys=3,
        beside=["trials"],
    )


def otherwise_table(run: Run) -> Table:
    """Returns the results of the other ways to set the scale."""
    rows: list[list[Any]] = [
        [label_of(one.activation), _words(one.way), one.share, one.interval, one.rate] for one in others(run)
    ]
    return Table(
        "The scale set otherwise, a = 1 and b = 0 kept: trials that converge",
        [
            "activation",
            Column("network", left=True),
            *with_interval("trials", ".1%"),
            Column("rate", "g"),
        ],
        rows,
        f"{_conditions(run)} rate: the best on the first half of the seeds; shares are those of the second half.",
    )


def _multiples(run: Run) -> Figure:
    """Draws the mean share by the multiple, at the best learning rate of the weights for each."""
    records, panels = run.records, {}
    converged = (records["final_loss"] < records.attrs["threshold"]).mean("seed").max("rate")
    for at in places(records, ("activation", "start")):
        own = converged.sel(at).transpose("way", "multiple")
        panels[f"{label_of(at['activation'])}, start {at['start']:g}"] = [
            BandCurve(_words(way), shares, shares, shares)
            for way, shares in zip(own["way"].values.tolist(), own.values, strict=True)
        ]
    figure = curves_in_panels(
        np.arange(records.sizes["multiple"]),
        panels,
        xlabel="learning rate of a and b, in units of that of the weights",
        ylabel="trials that converge",
        title="What learning rescues, at the best learning rate of the weights",
        shares=True,
    )
    for axes in figure.axes:
        axes.set_xticks(np.arange(records.sizes["multiple"]), [f"{x:g}" for x in records["multiple"].values])
    return figure


def _conditions(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"XOR(10) with {config['depth']} hidden layers, {config['steps']:,} steps, weights of deviation "
        f"1/sqrt(fan_in), {run.seeds_and_images()}."
    )
