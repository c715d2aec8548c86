"""Are the agile convolutional networks what [A, section 4] says of them? Its Table 1 and Figs. 11 to 14 again.

Twelve combinations of activations in the convolutional layers and in the dense one. Result: Agile ReLU with Agile
Sigmoid is best, a test loss of 0.136 (published: 0.150). The published iterations rank as our steps do (Spearman's rho
0.94), the losses do not (0.17). 2 of 6 statements of [A] are true.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.problems.cnn.protocol import (
    COMBINATIONS,
    LAYERS,
    PUBLISHED,
    Combinations,
    Conditions,
    Protocol,
    combinations,
    in_words,
    label,
)
from experiments.problems.digits import Data, DataDir, images_of, is_mnist
from experiments.study.imports import at_once
from experiments.study.once import once
from experiments.study.options import Out
from experiments.study.statements import Statement, all_hold, judged
from experiments.study.study import Study, Variable, Work
from experiments.study.tables import Column, Table, number, with_interval
from paramact_jax.papers import kong2020

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure
    from scipy import stats

    from experiments.problems.cnn.networks import counts, for_training, load
    from experiments.problems.cnn.train import (
        PATHS,
        SCORES,
        classifier,
        conditions,
        dense_classifier,
        records_of,
        remarks,
        shown,
    )
    from experiments.study.curves import band
    from experiments.study.run_directory import Run
    from experiments.study.samples import Sample, Shuffled, inside, paired, sample, shuffled
    from paramact_jax.datasets import Digits
    from paramact_jax.figures import BandCurve, RangeHistory, curves_in_panels, curves_with_bands, range_panels
    from paramact_jax.gradients import Kind, attribute
    from paramact_jax.networks import Params
    from paramact_jax.training import Classifier, cross_entropy

BEST = "parametric_relu/parametric_sigmoid"
LOWEST = "sigmoid/parametric_sigmoid"
"""The combinations that [A] calls best, and lowest."""
DENSE_ONLY = ("sigmoid", "parametric_sigmoid")
"""Activations of the networks without convolutions [A, Fig. 11]."""
TOP = 5
"""Curves in Fig. 13."""
LOOKED_AT = 100
"""Number of training images, the first ones, that the gradient is measured with."""
QUANTITIES = {"best_loss": "loss", "best_iteration": "iterations"}
"""Variables of the records, and the attributes of a published row that they correspond to."""
LOOKS = {
    f"gradient_{name}": Variable(name, description, (dim,))
    for name, dim, description in (
        ("share", "kind", "share of the log of ||dL/d image|| / ||dL/d output|| of operations of one kind"),
        ("saturated", "layer", "share of |dz/dy| < 0.01 of the layer's activation"),
        ("dead", "layer", "share of the layer's channels or nodes with slope 0 at all images and places"),
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cnn(Protocol, Study):
    """Train the twelve convolutional networks of [A, Table 1] on 5,000 images of MNIST, 2,500 steps, 5 seeds.

    And, for [A, Fig. 11], the same without convolutions under Sigmoid and Agile Sigmoid. About 20 minutes on 2 cores.
    Writes runs/cnn-DATE-TIME/: records, summary, report, tables, the paper's Figs. 11 to 14.
    Example: python -m experiments cnn --combinations relu/relu parametric_relu/parametric_sigmoid --seeds 3
    """

    name: ClassVar[str] = "cnn"
    heading: ClassVar[str] = "The agile convolutional network"

    combinations: Combinations = COMBINATIONS
    """Activation of the convolutional layers / of the dense hidden layer."""
    data: Data = "auto"
    data_dir: DataDir = None
    out: Out = None

    def load(self) -> Digits:
        """Loads the draw of images."""
        digits = load(self.data, self.data_dir, self.training_images)
        return for_training(digits, self.training_images, self.subset_seed)

    def train(self, data: Digits, work: Work) -> xr.Dataset:
        """Trains all networks in one sweep, and measures their gradients before and after."""
        networks = [*self.combinations, *DENSE_ONLY]
        found = work.sweep(
            self,
            lambda combination: training(combination, self),
            [f"{len(networks)} networks"],
            static_axes={"combination": networks},
            observe_every=self.steps,
            block=1,
            data=images_of(data),
            **conditions(self),
        )
        found = found.assign_coords(iteration=["before", "after"]).rename(iteration="when")
        coords = {"train_step": [0, self.steps], "step": np.arange(self.steps), "layer": list(LAYERS)}
        coords["kind"] = [kind.value for kind in Kind]
        convolutional = found.sel(combination=list(self.combinations))
        records = records_of(convolutional, SCORES | PATHS | LOOKS, self, data, **coords)
        sizes = [counts(combination, self) for combination in self.combinations]
        for kind in ("activations", "weights"):
            records[f"parameters_of_{kind}"] = "combination", [size[kind] for size in sizes]
        dense = found["test.loss"].sel(combination=list(DENSE_ONLY)).rename(combination="dense_only")
        dense = dense.rename({dense.dims[-1]: "test_step"})
        text = "as test_loss, of the network without convolutions [A, Fig. 11]"
        return records.assign(dense_only_test_loss=dense.assign_attrs(description=text))

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields Table 1, rank correlations, what changes the gradient, and the ranges of a and b if there are any."""
        yield "table_1", table_1(run)
        yield "rank_correlation", correlation_table(run)
        if "gradient_share" in run.records:  # older runs have no such records
            yield "gradient", gradient_table(run)
        if (combination := ranged(run)) is not None:
            yield "ranges", ranges_table(run, combination)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields Figs. 11 to 14, as far as the run has their networks."""
        records = run.records
        steps, losses = records["test_step"].values, records["test_loss"]
        axes: dict[str, Any] = {"xlabel": "step", "ylabel": "test loss"}
        if "dense_only" in records.coords:
            dense = records["dense_only_test_loss"]
            names = dense["dense_only"].values.tolist()
            curves = [band(label(name), dense.sel(dense_only=name), "test_step") for name in names]
            title = f"784 - 30 - 10 without convolutions: {shown(run)}"
            yield "figure_11", curves_with_bands(steps, curves, title=title, **axes)
        panels: dict[str, list[BandCurve]] = {}
        for name in combinations(run):
            conv, dense_name = label(name).split(" / ")
            own, printed = losses.sel(combination=name), published(run, "best_loss", name)
            curve = band(f"dense: {dense_name}", own, "test_step", printed)
            panels.setdefault(f"{conv} in the convolutions", []).append(curve)
        yield "figure_12", curves_in_panels(steps, panels, title=f"Test loss: {shown(run)}", **axes)
        curves = [band(label(name), losses.sel(combination=name), "test_step") for name in best_first(run)[:TOP]]
        title = f"The {len(curves)} with the smallest test loss: {shown(run)}"
        yield "figure_13", curves_with_bands(steps, curves, title=title, **axes)
        if (combination := ranged(run)) is not None:
            for name in ("a", "b"):
                yield f"figure_14_{name}", ranges_figure(run, combination, name)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what [A] says and its Table 1 shows, each sentence once, as far as the run has the networks."""
        yield from _about_dense_only(run.records)
        yield from _about_every_step(run.records)
        found = quantities(run.records)
        caps = {"best_iteration": float(run.records["test_step"][-1])}
        for _, parts in itertools.groupby(claims(), key=lambda claim: claim.text):
            own = [part for part in parts if set(part.names()) <= set(run.records["combination"].values.tolist())]
            if own:
                yield _all_of([_judge(x, found[x.quantity], caps.get(x.quantity, np.inf)) for x in own])

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the tables as plain data."""
        rows: dict[str, Any] = {name: {} for name in combinations(run)}
        for name, row in rows.items():
            for variable in QUANTITIES:
                ours, theirs = of_seeds(run, variable, name), published(run, variable, name)
                row[variable] = dataclasses.asdict(ours) | {
                    "interval": ours.interval(),
                    "prediction": ours.prediction(),
                    "published": theirs,
                    "published_within_prediction": inside(theirs, ours.prediction()),
                }
        return {
            "source": run.records.attrs["source"],
            "seeds": run.records["seed"].values.tolist(),
            "combinations": rows,
            "order": best_first(run),
            "rank_correlation": correlations(run),
            "within_prediction": {variable: within_prediction(run, variable) for variable in QUANTITIES},
        }


# -- what is trained ---------------------------------------------------------------------------------------------------


def training(combination: str, protocol: Protocol) -> Classifier:
    """Returns the training of a convolutional network, with `look`, or of the dense one of an activation."""
    if "/" not in combination:
        unknown = jnp.full(len(LAYERS), jnp.nan)  # all trainings of a sweep must note the same names
        return dataclasses.replace(dense_classifier(combination, protocol), look=lambda params: {"dead": unknown})
    found = classifier(combination, protocol)

    def seen(params: Params, data: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return look(found.network, params, data["train_images"][:LOOKED_AT], data["train_labels"][:LOOKED_AT])

    return dataclasses.replace(found, look=seen)


def look(
    network: Callable[[Params, jax.Array], jax.Array], params: Params, images: jax.Array, labels: jax.Array
) -> dict[str, jax.Array]:
    """Measures what changes the gradient of the loss on its way back to the images, see `LOOKS`."""
    found = attribute(network, params, images, loss=lambda outputs: cross_entropy(outputs, labels))
    shares = found.by_kind()
    units = found.units if len(found.activations) == len(LAYERS) else None
    unknown = jnp.full(len(LAYERS), jnp.nan)
    return {
        "share": jnp.stack([shares.get(kind, jnp.zeros_like(found.total)) for kind in Kind]),
        "saturated": unknown if units is None else units.saturated,
        "dead": unknown if units is None else units.dead,
    }


# -- quantities of the records -----------------------------------------------------------------------------------------


def of_seeds(run: Run, variable: str, combination: str) -> Sample:
    """Sums up one value per seed."""
    return sample(run.records[variable].sel(combination=combination).values)


def published(run: Run, variable: str, combination: str) -> float | None:
    """Returns the published value; None if there is none or it cannot be compared."""
    if why_not_compared(run) or combination not in PUBLISHED:
        return None
    return float(getattr(PUBLISHED[combination], QUANTITIES[variable]))


def why_not_compared(run: Run) -> str | None:
    """Says why the smallest losses of this run cannot be compared with the published ones; None if they can."""
    if not is_mnist(run.records):
        return "the images are not MNIST's"
    if (steps := run.manifest["config"]["steps"]) < Conditions.steps:
        return f"the run ends at {steps:,} steps, before the {Conditions.steps:,} of the protocol"
    return None


def best_first(run: Run) -> list[str]:
    """Returns the combinations by our mean smallest loss; those without a finite one come last."""
    losses = {name: of_seeds(run, "best_loss", name).mean for name in combinations(run)}
    return sorted(losses, key=lambda name: losses[name] if np.isfinite(losses[name]) else np.inf)


def ranged(run: Run) -> str | None:
    """Returns the combination of Fig. 14: what [A] calls best, else our best one with an a or b; None without one."""
    largest = run.records["a_largest"]
    names = [name for name in best_first(run) if largest.sel(combination=name).notnull().any()]
    return BEST if BEST in names else names[0] if names else None


def quantities(records: xr.Dataset) -> dict[str, xr.DataArray]:
    """Returns the quantities of the statements, each (combination, seed): smallest loss, its step, mean loss."""
    loss, steps = records["test_loss"].astype(np.float64), records["test_step"].values
    return {
        "best_loss": records["best_loss"].astype(np.float64),
        "best_iteration": records["best_iteration"],
        "mean_loss": loss.integrate("test_step") / float(steps[-1] - steps[0]),
    }


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
      rho: within -1..1, with mean ranks where values tie; NaN if all of one side tie.
      p_value: two-sided: the share of orders, this one included, whose |rho| is as large; NaN with rho.
      pairs: number of values on each side.
    """

    rho: float
    p_value: float
    pairs: int


def rank_correlation(ours: Any, theirs: Any, *, permutations: int = 99_999) -> RankCorrelation | None:
    """Returns Spearman's correlation of two lists, with the p value of random orders; None for fewer than 3 pairs.

    Pairs with a value that is not finite are left out.
    """
    pairs = np.array([ours, theirs], np.float64)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 3:
        return None
    x, y = (stats.rankdata(side) - (pairs.shape[1] + 1) / 2 for side in pairs)
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    if scale == 0:
        return RankCorrelation(np.nan, np.nan, pairs.shape[1])
    rho = float(x @ y) / scale
    shuffled = np.random.default_rng(0).permuted(np.tile(x, (permutations, 1)), axis=1) @ y / scale
    as_large = int((np.abs(shuffled) >= abs(rho) - 1e-12).sum())  # up to rounding
    return RankCorrelation(rho, (1 + as_large) / (1 + permutations), pairs.shape[1])


@once
def correlations(run: Run) -> dict[str, RankCorrelation | None]:
    """Correlates our order of the combinations with the published one, by variable; None with too few of them."""
    names = [name for name in combinations(run) if published(run, "best_loss", name) is not None]
    return {
        variable: rank_correlation(
            [of_seeds(run, variable, name).mean for name in names], [published(run, variable, name) for name in names]
        )
        for variable in QUANTITIES
    }


# -- statements --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that can be put to any table of the combinations.

    Attributes:
      source: of the statement.
      text: what it says.
      criterion: what that is taken to mean.
      quantity: one of `quantities`.
      orders: it is true if in all of them each of the first combinations lies below each of the second.
    """

    source: str
    text: str
    criterion: str
    quantity: str
    orders: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    def names(self) -> list[str]:
        """Returns all combinations of the statement."""
        return list(dict.fromkeys(name for order in self.orders for side in order for name in side))


def claims() -> Iterator[Claim]:
    """Yields the statements of [A, section 4] about its combinations, and two that Table 1 shows.

    Claims with the same text are parts of one sentence.
    """
    within = "smallest test loss of the twelve, within the steps of the run"
    may_end = "undecided where a loss may have become smaller after the last step"
    others = tuple(name for name in COMBINATIONS if name != BEST)
    over_all = "smallest mean test loss over all steps: [A] says of another one that its loss is the lowest"
    yield Claim("A, section 4", kong2020.CLAIM_BEST, over_all, "mean_loss", (((BEST,), others),))
    others = tuple(name for name in COMBINATIONS if name != LOWEST)
    yield Claim("A, section 4", kong2020.CLAIM_LOWEST, within, "best_loss", (((LOWEST,), others),))
    latest = f"at the latest step of the twelve; {may_end}"
    yield Claim("A, section 4", kong2020.CLAIM_LOWEST, latest, "best_iteration", ((others, (LOWEST,)),))
    quick = tuple(name for name in COMBINATIONS if "relu" in name.split("/")[0])
    slow = tuple(name for name in COMBINATIONS if name not in quick)
    yield Claim(
        "A, Table 1",
        kong2020.READING_FEWER_ITERATIONS,
        f"step of the smallest test loss below, in every pair of rows; {may_end}",
        "best_iteration",
        ((quick, slow),),
    )
    conv = dict.fromkeys(name.split("/")[0] for name in COMBINATIONS)
    yield Claim(
        "A, Table 1",
        kong2020.READING_DENSE_AGILE_SIGMOID,
        "smallest test loss within the steps of the run below, for each of the four",
        "best_loss",
        tuple(((f"{x}/parametric_sigmoid",), (f"{x}/relu", f"{x}/parametric_relu")) for x in conv),
    )


def _judge(claim: Claim, quantity: xr.DataArray, cap: float) -> Statement:
    """Judges by the means over the seeds whose values are finite; values at the cap may be larger."""
    names = claim.names()
    values = quantity.sel(combination=names).transpose("combination", "seed").values
    finite = np.isfinite(values).all(axis=0)
    least = values[:, finite]
    most = np.where(least < cap, least, np.inf)

    def holds(least: np.ndarray, most: np.ndarray) -> bool | None:
        """Tells whether all orders hold for all values between two bounds; None if only for some."""
        low, high = (dict(zip(names, bound, strict=True)) for bound in (least, most))
        if all(max(high[x] for x in below) < min(low[x] for x in above) for below, above in claim.orders):
            return True
        fails = any(max(low[x] for x in below) >= min(high[x] for x in above) for below, above in claim.orders)
        return False if fails else None

    bears_out = ""
    if attribute := QUANTITIES.get(claim.quantity):
        theirs = np.array([getattr(PUBLISHED[name], attribute) for name in names])
        bears_out = f"; published: {judged(holds(theirs, theirs))}"
    said = claim.source, claim.text, claim.criterion
    if not finite.any():
        return Statement(*said, "undecided", f"no seed is finite throughout{bears_out}")
    means, own = (dict(zip(names, x, strict=True)) for x in (least.mean(axis=1), least))
    # the two that come closest to deciding otherwise
    nearest = [(max(below, key=means.__getitem__), min(above, key=means.__getitem__)) for below, above in claim.orders]
    first, second = max(nearest, key=lambda pair: means[pair[0]] - means[pair[1]])
    in_seeds = sum(holds(*bounds) is True for bounds in zip(least.T, most.T, strict=True))
    measured = f"{label(first)} - {label(second)}; in {in_seeds} of {len(finite)} seeds alone{bears_out}"
    verdict = judged(holds(least.mean(axis=1), most.mean(axis=1)))
    return _compared(Statement(*said, verdict, measured), own[first], own[second])


def _all_of(parts: Sequence[Statement]) -> Statement:
    """Joins the parts of one sentence: true if all of them are. Its effect is that of the part that decides."""
    verdict = judged(all_hold({"true": True, "false": False, "undecided": None}[part.verdict] for part in parts))
    decisive = next(part for part in parts if part.verdict == verdict)
    criterion, measured = (
        " and: ".join(texts) for texts in zip(*((x.criterion, x.measured) for x in parts), strict=True)
    )
    return dataclasses.replace(decisive, criterion=criterion, measured=measured)


def _about_every_step(records: xr.Dataset) -> Iterator[Statement]:
    """Judges Fig. 9 by the recorded scores."""
    names = [name for name in records["combination"].values.tolist() if name.count("parametric") == 2]
    losses = records["test_loss"].sel(combination=names).astype(np.float64)
    change = losses.transpose("combination", "seed", "test_step").diff("test_step").values
    change = change[np.isfinite(change).all(axis=2)]
    if not change.size:
        return
    rises, apart = change >= 0, int(records["test_step"].diff("test_step").max())
    share = sample(rises.mean(axis=1))
    yield Statement(
        "A, Fig. 9",
        kong2020.CLAIM_FALLS,
        f"test loss, which stands for the loss of training since that is not scored, below the score before it in "
        f"every training with agile activations in both places; scores {apart} steps apart can refute, not bear out",
        judged(False if rises.any() else True if apart == 1 else None),
        f"not below at {rises.sum()} of {rises.size} scores, in {rises.any(axis=1).sum()} of {len(rises)} trainings; "
        f"share of a training's scores, mean over the trainings",
        share.mean,
        share.interval(share=True),
    )


def _about_dense_only(records: xr.Dataset) -> Iterator[Statement]:
    """Judges Fig. 11 at every scored step after the start."""
    if "dense_only" not in records.coords:
        return
    losses = records["dense_only_test_loss"].isel(test_step=slice(1, None)).astype(np.float64)
    plain, agile = (losses.sel(dense_only=name).transpose("seed", "test_step").values for name in DENSE_ONLY)
    finite = (np.isfinite(plain) & np.isfinite(agile)).all(axis=1)
    plain, agile = plain[finite], agile[finite]
    ahead = agile.mean(axis=0) < plain.mean(axis=0) if finite.any() else None
    in_seeds = int((agile < plain).all(axis=1).sum())
    measured = "" if ahead is None else f"at {ahead.sum()} of {len(ahead)} steps; "
    measured += f"in {in_seeds} of {len(finite)} seeds alone; difference: mean over these steps"
    criterion = "smaller test loss at every step scored after the start"
    verdict = judged(None if ahead is None else bool(ahead.all()))
    said = Statement("A, section 4", kong2020.CLAIM_DENSE_ONLY, criterion, verdict, measured)
    yield _compared(said, agile.mean(axis=1), plain.mean(axis=1))


def _compared(said: Statement, first: np.ndarray, second: np.ndarray) -> Statement:
    """Adds the difference on equal seeds."""
    found = paired(first, second, np.arange(len(first)))
    if found is None:
        return said
    measured = f"{said.measured}; p {found.p_value:.2g}"
    return dataclasses.replace(said, measured=measured, effect=found.difference, interval=found.interval)


# -- tables and figures ------------------------------------------------------------------------------------------------


def table_1(run: Run) -> Table:
    """Returns the smallest test losses and their steps, next to the published ones."""
    rows, records = [], run.records
    for name in combinations(run):
        loss, at = (of_seeds(run, variable, name) for variable in QUANTITIES)
        their_loss, their_at = (published(run, variable, name) for variable in QUANTITIES)
        accuracy = sample(records["test_accuracy"].sel(combination=name).max("test_step").values).mean
        rows.append(
            [
                *(PUBLISHED[name].number if name in PUBLISHED else None, *label(name).split(" / ")),
                *(loss.mean, loss.interval(), their_loss, inside(their_loss, loss.prediction())),
                *(at.mean, at.interval(), their_at, accuracy),
                int(records["parameters_of_activations"].sel(combination=name)),
            ]
        )
    last = [
        label(name)
        for name in combinations(run)
        if (records["best_iteration"].sel(combination=name) == records["test_step"][-1]).any()
    ]
    note = (
        f"{in_words(run)} Loss: smallest of each training's scores on all test images; steps: where it was. "
        f"Mean over the seeds, 95 % t interval of the mean. As the smallest on a curve of test losses it "
        f"flatters every row. Published is one run on one draw of images; one more of ours, on this draw, would "
        f"fall into the 95 % prediction interval. [A] counts steps at a learning rate that it does not state."
    )
    if last:
        note += f" Smallest after the last of {run.manifest['config']['steps']:,} steps in some seed, and perhaps "
        note += f"still falling: {', '.join(last)}."
    columns: list[str | Column] = [
        *("n", Column("convolutional", left=True), Column("dense", left=True)),
        *with_interval("loss", ".4f"),
        *(Column("published", ".5f"), "in prediction interval"),
        *(Column("steps", number), Column("95 % interval of steps", ",.0f", key="steps")),
        *(Column("published steps", ",.0f"), Column("best accuracy", ".2%"), Column("a and b", ",")),
    ]
    for what, variable in zip(("losses", "steps"), QUANTITIES, strict=True):
        if found := within_prediction(run, variable):
            note += f" Of the published {what} {found.in_words()}."
    note += _about_published(run) + remarks(run)
    return Table("Smallest test loss and its step [A, Table 1]", columns, rows, note, keys=3, beside=["loss"])


def within_prediction(run: Run, variable: str) -> Shuffled | None:
    """Counts the published values in our prediction intervals, as they are and shuffled; None for fewer than 2."""
    known = [(published(run, variable, name), of_seeds(run, variable, name).prediction()) for name in combinations(run)]
    both = [(value, interval) for value, interval in known if value is not None and interval is not None]
    return shuffled(*map(list, zip(*both, strict=True))) if len(both) > 1 else None


def correlation_table(run: Run) -> Table:
    """Returns Spearman's correlation of our means with the published values, and of every seed alone."""
    rows: list[list[Any]] = []
    for variable, found in correlations(run).items():
        row: list[Any] = ["smallest test loss" if variable == "best_loss" else "its step"]
        if found is None:
            rows.append([*row, None, None, None, None])
            continue
        names = [name for name in combinations(run) if name in PUBLISHED]
        theirs = [published(run, variable, name) for name in names]
        each = run.records[variable].sel(combination=names).transpose("seed", "combination").values
        alone = [rank_correlation(ours, theirs, permutations=1) for ours in each]
        rhos = sample([np.nan if one is None else one.rho for one in alone])
        rows.append([*row, found.rho, found.p_value, found.pairs, (rhos.smallest, rhos.largest)])
    return Table(
        "Rank correlation with [A, Table 1]",
        ["of", Column("Spearman's rho", "+.2f"), Column("p", ".2g"), "combinations", Column("single seeds", "+.2f")],
        rows,
        "Of the means over the seeds with the published values; p: two-sided, random permutations of the rows. "
        "Single seeds: smallest and largest rho of one seed alone." + _about_published(run),
    )


def gradient_table(run: Run) -> Table:
    """Returns the change of the gradient by kind of operation."""
    records = run.records
    decades = records["gradient_share"] / np.log(10)
    median = decades.median("seed")
    kinds = [kind for kind in median["kind"].values.tolist() if float(abs(median.sel(kind=kind)).max()) >= 0.005]
    rows: list[list[Any]] = []
    for name in combinations(run):
        for when in records["when"].values.tolist():
            at = {"combination": name, "when": when}
            units = (
                records[f"gradient_{state}"].sel(at).mean("seed").values.tolist() for state in ("saturated", "dead")
            )
            shares = [float(median.sel(at).sel(kind=kind)) for kind in kinds]
            total = float(decades.sel(at).sum("kind").median())
            rows.append([label(name), when, total, *shares, *(share for own in units for share in own)])
    columns: list[str | Column] = ["convolutional / dense", Column("training", left=True), Column("decades", ".2f")]
    columns += [Column(kind, ".2f") for kind in kinds]
    for state in ("saturated", "dead"):
        for i, layer in enumerate(LAYERS):
            columns.append(
                Column(layer.split()[-1] if i else f"{state}: 1", ".0%", key=f"{state}_{layer}".replace(" ", "_"))
            )
    note = (
        f"{in_words(run)} log10 of ||dL/d image|| / ||dL/d output|| on {LOOKED_AT} training images, and the share of "
        f"each kind of operation in it; medians over the seeds. It falls where a number is negative. Saturated: slopes "
        f"below 0.01; dead: channels or nodes with slope 0 everywhere; by layer, {', '.join(LAYERS)}; means over the "
        f"seeds."
    )
    return Table("What changes the gradient from the output to the image", columns, rows, note, keys=2)


def ranges_table(run: Run, combination: str) -> Table:
    """Returns the smallest and largest a and b of each layer."""
    rows = []
    for layer, name, ends in _ranges(run, combination):
        start, end = (tuple(float(x.isel(step=at).mean("seed")) for x in ends) for at in (0, -1))
        rows.append([layer, name, start, end, (float(ends[0].min()), float(ends[1].max()))])
    columns = [Column(heading, ".3f") for heading in ("at the start", "at the end", "ever, in any seed")]
    return Table(
        f"Ranges of a and b, {label(combination)} [A, Fig. 14]",
        ["layer", Column("parameter", left=True), *columns],
        rows,
        "Smallest to largest of a layer; at the start and the end the means over the seeds of both.",
    )


def ranges_figure(run: Run, combination: str, name: str) -> Figure:
    """Draws the smallest and largest a, or b, of each layer by step."""
    histories = [
        RangeHistory(layer, *(x.transpose("seed", "step").values.astype(np.float64) for x in ends))
        for layer, parameter, ends in _ranges(run, combination)
        if parameter == name
    ]
    seeds = run.records["seed"].values
    what = f"seed {seeds[0]} as lines" + (f", {len(seeds)} seeds shaded" if len(seeds) > 1 else "")
    title = f"{label(combination)}: {name}, {what}"
    steps, shown = run.records["step"].values, f"smallest and largest {name}"
    return range_panels(steps, histories, xlabel="step", ylabel=shown, title=title)


def _ranges(run: Run, combination: str) -> Iterator[tuple[str, str, list[xr.DataArray]]]:
    """Yields the smallest and largest of every parameter in the run, each (seed, step)."""
    records = run.records.sel(combination=combination)
    for layer in records["layer"].values.tolist():
        for name in ("a", "b"):
            ends = [records[f"{name}_{which}"].sel(layer=layer) for which in ("smallest", "largest")]
            if ends[1].notnull().any():
                yield layer, name, ends


def _about_published(run: Run) -> str:
    why = why_not_compared(run)
    return f" What is published is not compared: {why}." if why else ""
