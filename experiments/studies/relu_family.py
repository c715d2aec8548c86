"""Do units of ReLU die, and do its relatives help? The claims of [B1], and some of ours, on MNIST.

A unit is dead while its slope is 0 for all of a fixed set of training images: no gradient reaches its weights. Result:
at every rate units of ReLU die. In layer 1 they stay dead, as [B1] says; behind it most that were dead at some look are
alive at a later one. Leaky ReLU, PReLU and ELU have no dead units. What [B1] says of ReLU's speed and of its
gradient, here on XOR(10), is judged too.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.digits import Data, DataDir, hold_out, images_of, load, scores, source_of
from experiments.problems.xor10.protocol import PROTOCOLS as XOR10
from experiments.study.imports import at_once
from experiments.study.options import POSITIVE, Activations, Batch, Count, Rates, Steps, also, expect_within
from experiments.study.statements import Statement, all_hold, judged
from experiments.study.study import Variable, Work, described
from experiments.study.tables import Cell, Column, Table, number, with_interval
from experiments.study.tuned import Tuned

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from flax import nnx
    from matplotlib.figure import Figure

    from experiments.problems.xor10.records import look_at
    from experiments.problems.xor10.train import model as xor10_model
    from experiments.study.comparing import SIGNIFICANCE, numbers_of
    from experiments.study.curves import panels
    from experiments.study.run_directory import Run
    from experiments.study.samples import Sample, first_below, holm_of, paired, sample
    from experiments.study.tuning import best_rates, places, reported
    from paramact_jax.activations import Activation, catalogue
    from paramact_jax.figures import BandCurve, curves_in_panels
    from paramact_jax.networks import MLP, forward, forward_with_values, params_of
    from paramact_jax.statistics import PairedComparison, wilson_interval
    from paramact_jax.sweeps import sweep
    from paramact_jax.training import Classifier, Minibatches, marks, start

LABELS = {
    "relu": "ReLU",
    "leaky_relu_tenth": "Leaky ReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "relu6": "ReLU6",
    "parametric_relu": "Parametric ReLU",
    "tanh": "Tanh",
}
"""The family in [B1], where the slope below 0 is 0.1 for Leaky ReLU and learned for PReLU; a(y - b) of [P, Table 1];
and the function whose speed [B1] compares with ReLU's."""
REMEDIES = ("leaky_relu_tenth", "prelu", "elu")
FAINT = 0.01
"""A unit is as good as dead if its steepest slope is at most this: it lets a hundredth of the gradient through."""
CHOSEN = "each at the learning rate that other seeds and images held out choose"
CLASSES = 10
UNITS = ("layer", "node")
UNCHANGED = 0.05
"""Fewer revivals than this share count as none: a unit may be dead for the probe images, and alive for others."""
SPEED, ROUNDED = 6.0, 0.5
"""[B1] says that ReLU learns six times as fast as Tanh; and half of the last digit of that number."""
LEARNED = 0.3
"""The test loss to which speed is measured."""
XOR_TRIALS = 1_000
VANISHED = 0.01
"""A gradient has vanished if less than this share of its norm at the output arrives at the first layer ..."""
RARELY = 0.05
"""... and vanishes if it has in this share of the networks or more."""
NOT_MEASURED = (
    "Not measured of what [B1] says: that Maxout solves the dying and costs more (it is no function of y but a layer "
    "with k times the weights for k pieces, pa.nnx.Maxout, and these networks have none); that ELU minds noise less "
    "(it says neither than what, nor noise of what)."
)
VARIABLES = {
    **scores("after so many steps", "test_step", held_out=True),
    "steepest": Variable("steepest", "largest |dz/dy| of the unit over the probe images; 0: it is dead", UNITS),
    "high": Variable("high", "whether the unit's value is above 0 for some probe image", UNITS),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReluFamily(Tuned):
    """Count the units that die in training on MNIST [B1]: ReLU, Leaky ReLU, PReLU, ELU, ReLU6, Parametric ReLU, Tanh.

    About 6 minutes on 2 cores. Writes runs/relu-family-DATE-TIME/: records, summary, report, tables, dead.png,
    faint.png, test_loss.png. Example: python -m experiments relu-family --rates 0.1 0.5 --seeds 10
    """

    name: ClassVar[str] = "relu-family"
    heading: ClassVar[str] = "The family of ReLU"
    renamed: ClassVar[Mapping[str, str]] = {"learning_rates": "rates", "layers": "depth"}

    activations: Activations = tuple(LABELS)
    """Names of the activations; see `activations`."""
    rates: Rates = (0.1, 0.3, 1.0)
    depth: Annotated[Count, also("--layers")] = 5
    """Hidden layers."""
    width: Count = 100
    """Nodes in every hidden layer."""
    gain: Annotated[float, POSITIVE] = 1.0
    """Standard deviation of the initial weights times sqrt(fan_in): 1 is 1/sqrt(fan_in), 1.4142 is He's."""
    steps: Steps = 2_000
    """Steps of gradient descent."""
    batch: Batch = 64
    """Images a step."""
    look_every: Count = 50
    """Steps between two looks at the units."""
    test_every: Count = 200
    """Steps between two scores of all test images."""
    probes: Count = 5_000
    """Training images, the first ones, that a unit is looked at with."""
    data: Data = "auto"
    data_dir: DataDir = None

    def load(self) -> Any:
        """Loads the images, and holds out the last sixth of the training images, which choose the learning rates."""
        digits = load(self.data, self.data_dir)
        return digits, *hold_out(digits)

    def check(self, data: Any) -> None:
        """Refuses numbers that do not fit the images or each other."""
        super().check(data)
        images = len(data[1].train_labels)
        for field in ("batch", "probes"):
            expect_within(self, field, 1, images, "the number of training images")

    def config(self, data: Any) -> dict[str, Any]:
        """Adds the source of the images."""
        return super().config(data[0])

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep, with a program for each activation."""
        whole, digits, held_out = data
        found = work.sweep(
            self,
            functools.partial(training, study=self, images=len(digits.train_labels)),
            self.activations,
            static_axes={"activation": self.activations},
            axes={"learning_rate": self.rates},
            observe_every=self.look_every,
            chunk=len(self.rates) * self.seeds,
            block=1,
            data=images_of(digits) | held_out,
            probes=digits.train_images[: self.probes],
        )
        coords = {
            "test_step": marks(self.steps, self.test_every),
            "layer": np.arange(1, self.depth + 1),
            "node": np.arange(1, self.width + 1),
        }
        attributes = source_of(whole) | {"choosing": self.choosing}
        records = described(found.rename(iteration="look"), VARIABLES, coords, attributes)
        arrives = sweep(arriving, range(self.first_seed, self.first_seed + XOR_TRIALS), block=1)["arrives"]
        text = "XOR(10) under ReLU before training: ||dL/dy^(1)|| / ||dL/dy^(out)||"
        return records.assign(xor_arrives=arrives.rename(seed="xor_seed").assign_attrs(description=text))

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says what is not measured."""
        return NOT_MEASURED

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the dead units, their layers, and test losses compared with ReLU's."""
        yield "units", units_table(run)
        yield "layers", layers_table(run)
        yield "test_loss", loss_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields dead units, units as good as dead, and the test loss, by step, with a panel for each activation."""
        records = run.records

        def by_activation(values: xr.DataArray, dim: str) -> dict[str, list[BandCurve]]:
            return panels(
                values,
                *(dim, "activation", "learning_rate"),
                panel_label=lambda name: LABELS.get(name, name),
                curve_label="learning rate {:g}".format,
            )

        note = f"mean of {records.sizes['seed']} seeds, without values that are not finite; 95 % interval shaded"
        slopes = f"units with $|$slope$|$ at most {FAINT:g} for all probe images"
        for name, values, what in (
            ("dead", dead(records), "units with slope 0 for all probe images"),
            ("faint", faint(records), slopes),
        ):
            own = by_activation(values.mean("layer"), "look")
            yield name, curves_in_panels(records["look"].values, own, ylabel=what, title=note, shares=True)
        own = by_activation(records["test_loss"], "test_step")
        yield "test_loss", curves_in_panels(records["test_step"].values, own, ylabel="test loss", title=note)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what [B1] says of dying units, and what we add, as far as the run has the activations."""
        yield from _about_relu(run.records)
        yield from _about_relatives(run.records)
        yield from _about_losses(run.records)
        yield from _about_speed(run.records)
        yield from _about_gradient(run.records)


# -- what is trained ---------------------------------------------------------------------------------------------------


def model(activation: Activation, study: ReluFamily, key: jax.Array, *, in_features: int) -> MLP:
    """Returns the network with its initial params: weights N(0, gain^2 / fan_in), the same under every activation."""

    def kernel_init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        return study.gain / shape[0] ** 0.5 * jax.random.normal(key, shape, dtype)

    hidden = [study.width] * study.depth
    return MLP(in_features, hidden, CLASSES, activation, kernel_init=kernel_init, rngs=nnx.Rngs(params=key))


def training(activation: str, *, study: ReluFamily, images: int, in_features: int = 784) -> Classifier:
    """Returns the training of one network, which looks at its units on the way.

    Args:
      activation: name.
      study: the conditions.
      images: to train with.
      in_features: pixels of an image.
    """
    record = catalogue.get(activation)
    return Classifier(
        network=lambda params, inputs: forward(params, inputs, record),
        initial=lambda key: params_of(model(record, study, key, in_features=in_features)),
        batches=Minibatches(images, study.batch),
        steps=study.steps,
        scores={"test": study.test_every, "held_out": None},
        look=lambda params, probes: look(record, params, probes),
    )


def look(record: Activation, params: Any, images: jax.Array) -> dict[str, jax.Array]:
    """Returns of every unit its `steepest` slope and whether it is ever `high`, each (layers, nodes).

    steepest: the largest |dz/dy| over the images: 0 for a dead unit, however it died. NaN where y or a slope is not
    finite. high: whether z is above 0 for some image: a dead unit of ReLU6 that is stuck at 6.
    """
    steepest, high = [], []
    for i, y in enumerate(forward_with_values(params, images, record)[1]):
        own: dict[str, Any] = dict(record.params)
        own |= {name: x[None] for name, x in params["hidden"][i].get("activation", {}).items()}
        slopes = jnp.abs(record.derivative(y, **own))
        # on a CPU a maximum may pass over NaN, so NaN is put in afterwards
        numbers = jnp.all(jnp.isfinite(y) & jnp.isfinite(slopes), axis=0)
        steepest.append(jnp.where(numbers, slopes.max(axis=0), jnp.nan))
        high.append(jnp.any(record.fn(y, **own) > 0, axis=0))
    return {"steepest": jnp.stack(steepest), "high": jnp.stack(high)}


def arriving(key: jax.Array) -> dict[str, jax.Array]:
    """Returns the share of the gradient's norm at the output that arrives at layer 1, before training on XOR(10)."""
    network = xor10_model("relu", key, weight_std=XOR10["recovered"].weight_std)
    log_norm = look_at(network, 1.0)(start(params_of(network)))["log_norm"]
    return {"arrives": jnp.exp(log_norm[0] - log_norm[-1])}


# -- quantities of the records -----------------------------------------------------------------------------------------
# A training counts at a look if the slopes of all its units are finite, and at the last look its test loss too.


def dead(records: xr.Dataset) -> xr.DataArray:
    """Returns the share of a layer's units with slope 0 for all probe images; NaN where values are not finite."""
    return _share(records, records["steepest"] == 0)


def faint(records: xr.Dataset) -> xr.DataArray:
    """Returns the share of units with |slope| <= `FAINT` for all probe images, dead ones included; NaN as in `dead`."""
    return _share(records, records["steepest"] <= FAINT)


def stuck_high(records: xr.Dataset) -> xr.DataArray:
    """Returns the share of units that are dead with a value above 0, as ReLU6's at 6; NaN as in `dead`."""
    return _share(records, (records["steepest"] == 0) & (records["high"] != 0))


def died(records: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Counts the units of all layers that were alive at the first look, and those among them dead at a later look.

    NaN where not all values of a training are finite.
    """
    is_dead = records["steepest"] == 0
    alive, finite = ~is_dead.isel(look=0), _finite(records).all("look")
    return alive.sum(UNITS).where(finite), (alive & is_dead.any("look")).sum(UNITS).where(finite)


def came_back(records: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Counts the units that were dead at a look, and those among them alive at a later look; NaN as in `died`."""
    is_dead = (records["steepest"] == 0).transpose(..., "look", *UNITS)
    was_dead = is_dead.copy(data=np.maximum.accumulate(is_dead.values, axis=is_dead.get_axis_num("look")))
    finite = _finite(records).all("look")
    revived = (was_dead & ~is_dead).any("look").sum(UNITS)
    return was_dead.isel(look=-1).sum(UNITS).where(finite), revived.where(finite)


def highest_rate(records: xr.Dataset, activations: Sequence[str]) -> float | None:
    """Returns the highest learning rate at which all trainings of these activations end with finite values."""
    finite = _finite(records).isel(look=-1).sel(activation=list(activations)).all(("activation", "seed"))
    rates = records["learning_rate"].values[finite.values]
    return float(rates.max()) if len(rates) else None


def _share(records: xr.Dataset, which: xr.DataArray) -> xr.DataArray:
    return which.mean("node").where(_finite(records))


def _finite(records: xr.Dataset) -> xr.DataArray:
    ended = np.isfinite(records["test_loss"].isel(test_step=-1, drop=True))
    last = records["look"] == records["look"][-1]
    return records["steepest"].notnull().all(UNITS) & (ended | ~last)


# -- statements --------------------------------------------------------------------------------------------------------


def _about_relu(records: xr.Dataset) -> Iterator[Statement]:
    if "relu" not in records["activation"]:
        return
    own = records.sel(activation=["relu"]).squeeze("activation").sortby("learning_rate")
    rates = own["learning_rate"].values
    alive, gone = died(own)
    killed = [sample((gone / alive).sel(learning_rate=rate).values) for rate in rates]
    at_end = [sample(dead(own).mean("layer").isel(look=-1).sel(learning_rate=rate).values) for rate in rates]

    def by_rate(texts: Sequence[str]) -> str:
        return "; ".join(f"rate {rate:g}: {text}" for rate, text in zip(rates, texts, strict=True))

    def shares(found: Sequence[Sample]) -> str:
        return by_rate([f"{one.mean:.1%}{_left_out(one)}" if one.seeds else "no finite seed" for one in found])

    yield Statement(
        "B1",
        "units of ReLU die in training",
        "at every rate some that have a slope before training have none at a later look",
        judged(all_hold(one.mean > 0 if one.seeds else None for one in killed)),
        shares(killed),
    )
    yield Statement(
        "ours",
        "the larger the learning rate, the more units of ReLU are dead",
        "at the end, mean over the seeds",
        judged(all_hold(b.mean > a.mean if a.seeds and b.seeds else None for a, b in itertools.pairwise(at_end))),
        shares(at_end),
    )
    first = own["layer"] == own["layer"][0]
    for where, layers in (("of layer 1", first), ("of a later layer", ~first)):
        if layers.any():
            ever, back = (found.sum("seed") for found in came_back(own.isel(layer=np.flatnonzero(layers))))
            yield Statement(
                "B1",
                f"nothing changes in a dead unit {where} any more",
                f"fewer than {UNCHANGED:.0%} of the units of ReLU that are dead at a look are alive at a later one",
                judged(float(back.sum() / ever.sum()) < UNCHANGED if ever.sum() else None),
                by_rate([f"{b:,.0f} of {e:,.0f} came back" for b, e in zip(back.values, ever.values, strict=True)]),
            )


def _about_relatives(records: xr.Dataset) -> Iterator[Statement]:
    names, of_all = set(records["activation"].values.tolist()), dead(records)
    at_end, weak = (share.isel(look=-1).mean("layer") for share in (of_all, faint(records)))
    for name in (name for name in REMEDIES if name in names):
        most = float(of_all.sel(activation=name).max())
        yield Statement(
            "B1",
            f"no unit of {LABELS[name]} dies",
            "none has slope 0 for all images, at any look at any learning rate",
            judged(None if np.isnan(most) else most == 0),
            f"at most {most:.1%} of a layer",
        )
        if "relu" in names:
            text = f"fewer units of {LABELS[name]} than of ReLU are as good as dead at the end"
            yield _compared(records, weak, ("relu", name), text, f"|slope| <= {FAINT:g} for all images")
    for pair, text in {
        ("relu6", "relu"): "ReLU6, flat at both ends, has more dead units than ReLU at the end",
        ("relu", "parametric_relu"): "Parametric ReLU, a(y - b), has fewer dead units than ReLU at the end",
    }.items():
        if set(pair) <= names:
            yield _compared(records, at_end, pair, text, "slope 0 for all images")


def _compared(records: xr.Dataset, share: xr.DataArray, pair: tuple[str, str], text: str, what: str) -> Statement:
    """Judges whether the first of two activations has the larger share, at the highest rate that suits both."""
    rate = highest_rate(records, pair)
    if rate is None:
        return Statement("ours", text, what, "undecided", "no rate at which all of both are finite")
    more, less = (share.sel(activation=name, learning_rate=rate).values for name in pair)
    found = sample(more - less)
    interval = found.interval()
    shares = ", ".join(f"{LABELS[name]} {x.mean():.1%}" for name, x in zip(pair, (more, less), strict=True))
    return Statement(
        "ours",
        text,
        f"{what}; rate {rate:g}, the highest at which all of both stay finite; interval of the difference above 0",
        judged(None if interval is None else interval[0] > 0),
        shares,
        found.mean,
        interval,
    )


def _about_losses(records: xr.Dataset) -> Iterator[Statement]:
    names = [name for name in ("relu", *REMEDIES) if name in records["activation"]]
    if "relu" not in names:
        return
    best = best_rates(records)
    test = reported(records["test_loss"].isel(test_step=-1), best["rate"], records.attrs["choosing"])
    test = test.where(np.isfinite(best["score"])).astype(np.float64)
    at_best = {name: test.sel(activation=name).values for name in names}
    compared = {name: paired(at_best[name], at_best["relu"], test["seed"].values) for name in names[1:]}
    criterion = f"{CHOSEN}; p < {SIGNIFICANCE:g} with Holm's correction"
    for (name, found), p in zip(compared.items(), holm_of(compared.values()), strict=True):
        text = f"{LABELS[name]} ends at a lower test loss than ReLU"
        if found is None or p is None:
            yield Statement("ours", text, criterion, "undecided", "fewer than 2 seeds are finite in both")
            continue
        own = {n: sample(at_best[n]) for n in (name, "relu")}
        levels = ", ".join(
            f"{LABELS[n]} {number(x.mean)} at {best['rate'].sel(activation=n):g}{_left_out(x)}" for n, x in own.items()
        )
        holds = found.difference < 0 and p < SIGNIFICANCE
        measured = f"{levels}; p (Holm) {p:.2g}"
        yield Statement("ours", text, criterion, judged(holds), measured, found.difference, found.interval)


def _about_speed(records: xr.Dataset) -> Iterator[Statement]:
    names = [name for name in ("relu", "tanh") if name in records["activation"]]
    best = best_rates(records).sel(activation=names)
    if len(names) < 2 or not np.isfinite(best["score"]).all():
        return
    loss = reported(records["test_loss"].sel(activation=names), best["rate"], records.attrs["choosing"])
    at, rates = loss["test_step"].values, dict(zip(names, best["rate"].values.tolist(), strict=True))
    relu, tanh = (
        np.array([first_below(at, x, LEARNED) for x in loss.sel(activation=name).transpose("seed", ...).values])
        for name in names
    )
    found = sample(tanh / relu)
    low, high = found.interval() or (-np.inf, np.inf)
    yield Statement(
        "B1",
        f"ReLU learns {SPEED:g} times as fast as Tanh",
        f"Tanh's steps to a test loss of {LEARNED:g}, between scores by its logarithm, over ReLU's on equal seeds: "
        f"interval of the mean above {SPEED - ROUNDED:g}, undecided if it holds this; {CHOSEN}",
        judged(True if low > SPEED - ROUNDED else False if high < SPEED - ROUNDED else None),
        f"ReLU {sample(relu).mean:.0f} steps at {rates['relu']:g}, Tanh {sample(tanh).mean:.0f} at {rates['tanh']:g}",
        found.mean,
        found.interval(),
    )


def _about_gradient(records: xr.Dataset) -> Iterator[Statement]:
    if "xor_arrives" not in records:  # older runs have no such records
        return
    arrives = records["xor_arrives"].values
    gone = int((arrives < VANISHED).sum())
    yield Statement(
        "B1",
        "no gradient vanishes under ReLU",
        f"untrained networks of XOR(10): in fewer than {RARELY:.0%} less than {VANISHED:g} of ||dL/dy^(out)|| arrives "
        f"at layer 1",
        judged(gone / arrives.size < RARELY),
        f"less in {gone} of {arrives.size:,}, exactly 0 in {(arrives == 0).sum()}",
        gone / arrives.size,
        wilson_interval(gone, arrives.size),
    )


def _left_out(found: Sample) -> str:
    """Returns a remark where seeds are left out."""
    return f" ({found.seeds} of {found.seeds + found.non_finite} seeds finite)" if found.non_finite else ""


# -- tables and figures ------------------------------------------------------------------------------------------------


def _kinds(records: xr.Dataset) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Yields the first cells of the row of every activation at every rate, and its place in the records."""
    for at in places(records, ("activation", "learning_rate")):
        name = at["activation"]
        yield [LABELS.get(name, name), at["learning_rate"]], at


KINDS = (Column("activation"), Column("rate", "g"))


def units_table(run: Run) -> Table:
    """Returns the dead units before and after training."""
    records = run.records
    of_all, weak, high = (of(records).mean("layer") for of in (dead, faint, stuck_high))
    ever, back = (found.sum("seed") for found in came_back(records))
    rows = []
    for kind, at in _kinds(records):
        before, end = (sample(of_all.sel(at).isel(look=i).values) for i in (0, -1))
        above, few = (sample(share.sel(at).isel(look=-1).values) for share in (high, weak))
        were, again = float(ever.sel(at)), float(back.sel(at))
        came = Cell(again, f"{again:,.0f} ({again / were:.0%})") if were else again
        shares = [before.mean, end.mean, end.interval(share=True), above.mean, few.mean, few.interval(share=True)]
        rows.append([*kind, *shares, were, came, end.non_finite])
    return Table(
        "Dead units before and after training",
        [
            *KINDS,
            Column("before", ".1%"),
            *with_interval("dead", ".1%"),
            Column("dead and above 0", ".1%"),
            *with_interval("as good as dead", ".1%"),
            Column("ever dead", ",.0f"),
            Column("came back", ",.0f"),
            "not finite",
        ],
        rows,
        f"before, dead: share of all units whose slope is 0 for all of {run.manifest['config']['probes']} training "
        f"images, before and after training; dead and above 0: dead with a value above 0 (ReLU6 at 6); as good as "
        f"dead: |slope| <= {FAINT:g} for all; below 0 the slope of Leaky ReLU is 0.1, that of PReLU is learned, that "
        f"of ELU exp(y). ever dead: units of all seeds together that were dead at a look; came back: those of them "
        f"that were alive at a later look. not finite: trainings left out, whose values were no numbers at the end. "
        f"Intervals are t intervals, cut off at 0 and 1. {_conditions(run)}",
        keys=2,
        beside=["dead"],
    )


def layers_table(run: Run) -> Table:
    """Returns the dead units after training, by hidden layer."""
    of_all = dead(run.records).isel(look=-1).transpose("layer", ...)
    rows = [[*kind, *(sample(layer.values).mean for layer in of_all.sel(at))] for kind, at in _kinds(run.records)]
    columns = [*KINDS, *(Column(f"layer {layer}", ".1%") for layer in of_all["layer"].values)]
    return Table("Dead units after training, by hidden layer", columns, rows, _conditions(run), keys=2)


def loss_table(run: Run) -> Table:
    """Returns the test loss after training, and its difference from ReLU's."""
    records = run.records
    loss, accuracy = (records[f"test_{x}"].isel(test_step=-1).astype(np.float64) for x in ("loss", "accuracy"))

    def beside_relu(at: dict[str, Any]) -> PairedComparison | None:
        if at["activation"] == "relu" or "relu" not in records["activation"]:
            return None
        return paired(loss.sel(at).values, loss.sel(at | {"activation": "relu"}).values, loss["seed"].values)

    compared = [beside_relu(at) for _, at in _kinds(records)]
    rows = []
    for (kind, at), found, p in zip(_kinds(records), compared, holm_of(compared), strict=True):
        own, right = sample(loss.sel(at).values), sample(accuracy.sel(at).values)
        rows.append([*kind, own.mean, own.interval(), right.mean, *numbers_of(found)[1:], p, own.non_finite])
    return Table(
        "Test loss after training",
        [
            *KINDS,
            *with_interval("test loss", ".4f"),
            Column("accuracy", ".2%"),
            Column("to ReLU", "+.4f"),
            Column("95 % interval", ".4f", key="to_relu"),
            Column("p", ".2g"),
            Column("p (Holm)", ".2g"),
            "not finite",
        ],
        rows,
        f"Means over the seeds with t intervals; to ReLU: difference on equal seeds at the same learning rate, paired "
        f"t test, Holm's correction over the table; not finite: left out. {_conditions(run)}",
        keys=2,
    )


def _conditions(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"{config['depth']} hidden layers of {config['width']}, weights N(0, {config['gain']:g}^2 / fan_in), biases 0, "
        f"{config['steps']:,} steps on minibatches of {config['batch']}, {run.seeds_and_images()}."
    )
