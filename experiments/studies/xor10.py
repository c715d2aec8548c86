"""XOR(10): how many of 1,000 trials reach loss 0 under each activation? [P, section 4.1], Tables 3, 4 and 5.

Result: under the recovered conditions all seven counts agree with the published ones, as 765 for PPNS (744 published)
and 648 for Tanh (628). Under the conditions as printed three do not: 235 for PPNS, 222 for Parametric Tanh, 763 for
Tanh.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from experiments.problems.xor10.protocol import HIDDEN_LAYERS, PROTOCOLS, WIDTH, Loss, Protocol, ProtocolName, label_of
from experiments.study.imports import at_once
from experiments.study.options import NOT_NEGATIVE, Constraint, Out, expect, expect_within, one_of
from experiments.study.startup import Processes
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Work
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.problems.xor10.records import EDGES, HISTOGRAMS, look_at, to_dataset
    from experiments.problems.xor10.train import model, train
    from experiments.study.comparing import SIGNIFICANCE
    from experiments.study.run_directory import Run
    from experiments.study.samples import holm_of, inside, paired
    from paramact_jax.figures import ConvergenceCurve, DepthCurve, convergence, gradient_against_depth, layer_histograms
    from paramact_jax.gradients import Cause
    from paramact_jax.networks import params_of
    from paramact_jax.papers import ConvergenceRow, ko2021
    from paramact_jax.statistics import holm, shares_not_told_apart, two_proportion_p_value, wilson_interval
    from paramact_jax.sweeps.memory import bytes_of, in_words
    from paramact_jax.training import start

COMPARED = (
    ("parametric_sigmoid", "sigmoid"),
    ("ppns", "sigmoid"),
    ("parametric_tanh", "tanh"),
    ("relu", "parametric_relu"),
)
"""The comparisons in the words of [P, section 4.1]: the first converges more often."""
TABLE_4_SEEDS = range(100)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Xor10(Protocol, Study):
    """Train every trial of [P, Table 5] and compare the counts: 7 activations x 1,000 trials x 10,000 steps.

    About 20 s on 2 cores. Writes runs/xor10-DATE-TIME/: records, summary, report, tables, convergence.png.
    Example: python -m experiments xor10 --protocol literal --seeds 200
    """

    name: ClassVar[str] = "xor10"
    heading: ClassVar[str] = "XOR(10)"
    renamed: ClassVar[Mapping[str, str]] = {"trials": "seeds", "iterations": "steps"}

    protocol: ProtocolName = "recovered"
    """Conditions: `recovered` reproduces the published table, `literal` is [P, Table 3] as printed."""
    # None: that of the protocol; filled in by `resolved`
    weight_std: Annotated[float | None, NOT_NEGATIVE] = None  # type: ignore[assignment]
    """Standard deviation of the initial weights (recovered: 1/sqrt(width), literal: 1)."""
    loss: Annotated[Loss | None, one_of("half-mse", "mse")] = None  # type: ignore[assignment]
    """Loss whose gradient is followed (recovered: half-mse, literal: mse)."""
    activation_learning_rate: Annotated[float | None, NOT_NEGATIVE] = None  # type: ignore[assignment]
    """Learning rate of a and b (default: the learning rate)."""
    gradients_every: int = 0
    """Steps between two looks at the gradients of all trials: where they vanish, and why (0: none)."""
    out: Out = None
    machines: Processes = dataclasses.field(default_factory=Processes)

    def resolved(self) -> Self:
        """Fills in the options that are left to the protocol."""
        filled: dict[str, Any] = {}
        conditions = PROTOCOLS[self.protocol]
        if self.weight_std is None:
            filled["weight_std"] = 1 / math.sqrt(self.width) if self.protocol == "recovered" else conditions.weight_std
        if self.activation_learning_rate is None:
            filled["activation_learning_rate"] = self.learning_rate
        return dataclasses.replace(self, **filled, loss=self.loss or conditions.loss)

    def check(self, data: Any = None) -> None:
        """Refuses looks beyond the training, and looks at a network without nonlinear activations."""
        super().check(data)
        expect_within(self, "gradients_every", 0, self.steps)
        nonlinear = Constraint("nonlinear activations to look at", lambda names: "identity" not in names, whole=True)
        if self.gradients_every:
            expect("activations", self.activations, nonlinear)

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all trials; several activations compile while one trains."""
        if self.gradients_every:
            work.say(memory(self, self.gradients_every))
        progress = work.progress(self.activations, self.steps)
        compilation = work.seconds["compilation"] = {}

        def on_compiled(activation: str, seconds: float) -> None:
            compilation[activation] = seconds
            progress.compiled(activation, seconds)

        trained = train(
            self,
            gradients_every=self.gradients_every,
            directory=work.directory / "trials",
            on_compiled=on_compiled,
            on_progress=progress.advanced,
        )
        for activation in self.activations:
            progress.through(activation)
        work.seconds["training"] = {activation: one.seconds for activation, one in trained.items()}
        return to_dataset(self, trained)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields Tables 5 and 4, and why the gradients vanish."""
        yield (
            "table_5",
            _table("Trials that reach loss 0, per 1,000 [P, Table 5]", table_5(run.records), 1000, note(run)),
        )
        if rows := table_4(run.records):
            yield "table_4", _table("Trials that reach loss 0, of seeds 0 to 99 [P, Table 4]", rows, 100)
        if "look" in run.records.dims:
            yield "gradients", gradients_table(run.records)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the share of trials that have converged, by step, and where the gradient vanishes."""
        records, config = run.records, run.manifest["config"]
        # A trial that was below the threshold, and is not at the end, has not converged, in the table and here.
        converged_at = records["reached_at"].where(records["converged"], -1)
        curves = [
            ConvergenceCurve(
                label=row.label,
                converged_at=converged_at.sel(activation=row.activation).values,
                published=row.published.converged / row.published.trials if row.published else None,
            )
            for row in table_5(records)
        ]
        yield "convergence", convergence(curves, iterations=config["steps"], threshold=config["threshold"])
        if "look" in records.dims:
            yield from _gradient_figures(records)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges what [P, section 4.1] says of pairs of activations, on equal seeds."""
        yield from compared(run.records)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the tables as plain data. Intervals and p values are of proportions."""
        activations = {row.activation: row.plain() for row in table_5(run.records)}
        for name, entries in activations.items():
            entries["non_finite"] = int(run.records["non_finite"].sel(activation=name).sum())
            entries["seconds"] = run.manifest["seconds"].get("training", {}).get(name)
        return {
            "protocol": run.manifest["config"]["protocol"],
            "activations": activations,
            "table_4": {row.activation: row.plain() for row in table_4(run.records)},
        }

    @classmethod
    def opening(cls, run: Run) -> str:
        """Says how many counts agree."""
        verdicts = [row.matched for row in table_5(run.records) if row.matched is not None]
        said = f"{sum(verdicts)} of {len(verdicts)} counts of [P, Table 5] are matched under {_conditions(run)}."
        return said if verdicts else ""


def memory(protocol: Protocol, every: int) -> str:
    """Says in words how much memory the looks at the gradients take; computes nothing."""
    count, size = -(-protocol.steps // every) + 1, 0
    for record in protocol.records().values():
        network = model(record, 0, depth=protocol.depth, width=protocol.width)
        look = look_at(network, 1.0)
        seen = jax.eval_shape(lambda params, look=look: look(start(params)), params_of(network))
        size += bytes_of(seen.pop(HISTOGRAMS), 2) + bytes_of(seen, protocol.seeds)  # added up in 64 bits
    networks = len(protocol.activations) * protocol.seeds
    return f"gradients: {count:,} looks at {networks:,} networks, {in_words(size * count)}"


# -- counts ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """The count of one activation and the published one.

    Attributes:
      activation: name in the catalogue.
      converged: number of trials that converged, of `trials`.
      published: the paper's row, None if it has none for this activation and network.
      p_value: of the two-proportion test of our count against the published.
      p_value_holm: the same with Holm's correction over the rows of the table.
      compared: number of those rows.
    """

    activation: str
    converged: int
    trials: int
    published: ConvergenceRow | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    compared: int = 1

    @property
    def label(self) -> str:
        """The activation as the paper prints it."""
        return label_of(self.activation)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95 % interval of the proportion."""
        return wilson_interval(self.converged, self.trials)

    @property
    def matched(self) -> bool | None:
        """Whether the corrected test does not reject at the 5 % level."""
        return None if self.p_value_holm is None else self.p_value_holm > SIGNIFICANCE

    @property
    def cannot_tell(self) -> tuple[float, float] | None:
        """The true shares that "matched" does not rule out: the test rejects them in less than 80 % of runs."""
        if self.published is None:
            return None
        published = self.published.converged, self.published.trials
        return shares_not_told_apart(*published, self.trials, level=SIGNIFICANCE / self.compared)

    def plain(self) -> dict[str, Any]:
        """Returns the row as the summary shows it."""
        names = ("converged", "trials", "interval", "p_value", "p_value_holm", "matched", "cannot_tell")
        published = (self.published.converged, self.published.trials) if self.published else (None, None)
        own = {name: getattr(self, name) for name in names}
        return own | dict(zip(("published", "published_trials"), published, strict=True))


def compare(records: xr.Dataset, published: Sequence[ConvergenceRow]) -> list[Row]:
    """Counts the trials that converge, and compares with the published counts if the networks are of their size."""
    sizes = records.sizes.get("layer", HIDDEN_LAYERS), records.sizes.get("node", WIDTH)
    printed = {row.activation: row for row in published if sizes == (HIDDEN_LAYERS, WIDTH)}
    names, trials = records["activation"].values.tolist(), records.sizes["seed"]
    counts = {name: int(records["converged"].sel(activation=name).sum()) for name in names}
    p_values = {
        name: two_proportion_p_value(counts[name], trials, printed[name].converged, printed[name].trials)
        for name in names
        if name in printed
    }
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [Row(n, counts[n], trials, printed.get(n), p_values.get(n), corrected.get(n), len(p_values)) for n in names]


def table_5(records: xr.Dataset) -> list[Row]:
    """Returns our Table 5: all trials of all activations."""
    return compare(records, ko2021.TABLE_5)


def compared(records: xr.Dataset) -> Iterator[Statement]:
    """Judges whether the first of two activations converges in more trials, in runs with both and [P]'s networks."""
    printed = {row.activation: row.published for row in table_5(records) if row.published}
    pairs = [pair for pair in COMPARED if set(pair) <= set(printed)]
    converged = {name: records["converged"].sel(activation=name).values.astype(bool) for name in printed}
    found = [paired(converged[more], converged[fewer], records["seed"].values) for more, fewer in pairs]
    for (more, fewer), one, p in zip(pairs, found, holm_of(found), strict=True):
        if one is None or p is None:
            continue
        published = (printed[more].converged - printed[fewer].converged) / printed[more].trials
        where = "inside" if inside(published, one.interval) else "outside"
        yield Statement(
            "P, section 4.1",
            f"{label_of(more)} converges more often than {label_of(fewer)}, by {1000 * published:.0f} of 1,000 trials",
            f"more often on equal seeds; McNemar's exact test, p < {SIGNIFICANCE:g} with Holm's correction; "
            "else undecided",
            judged(one.difference > 0 if p < SIGNIFICANCE else None),
            f"{converged[more].sum()} against {converged[fewer].sum()} of {one.pairs:,}; p (Holm) {p:.2g}; difference "
            f"of the shares; the published {published:.3f} is {where} its interval",
            one.difference,
            one.interval,
        )


def table_4(records: xr.Dataset) -> list[Row]:
    """Returns our Table 4: seeds 0 to 99 of Sigmoid and PPNS; empty if the run lacks them, or has other networks."""
    names = [row.activation for row in ko2021.TABLE_4]
    if not (set(names) <= set(records["activation"].values) and set(TABLE_4_SEEDS) <= set(records["seed"].values)):
        return []
    rows = compare(records.sel(activation=names, seed=list(TABLE_4_SEEDS)), ko2021.TABLE_4)
    return rows if rows[0].published else []


def note(run: Run) -> str:
    """Says the conditions, and how many trials ended with values that are not finite."""
    config = run.manifest["config"]
    counted = {str(x["activation"].values): int(x) for x in run.records["non_finite"].sum("seed")}
    left = [f"{count} of {name}" for name, count in counted.items() if count]
    ended = f" Ended not finite, counted as not converged: {', '.join(left)}." if left else ""
    compared = (
        f" p: two-proportion test, then with Holm's correction over the rows; matched: p (Holm) > {SIGNIFICANCE:g}. "
        "cannot tell: true rates that would be matched in more than 20 % of such runs."
        if any(row.published for row in table_5(run.records))
        else ""
    )
    return (
        f"{_conditions(run)}, seeds {config['first_seed']} to {config['first_seed'] + config['seeds'] - 1}: weights "
        f"N(0, {config['weight_std']:.4g}^2), biases N(0, {config['bias_std']:.4g}^2), gradient of {config['loss']}, "
        f"learning rate {config['learning_rate']:g} ({config['activation_learning_rate']:g} for a, b), "
        f"{config['steps']:,} steps. Converged: mean squared error below {config['threshold']:g}.{compared}{ended}"
    )


def _conditions(run: Run) -> str:
    """Names the protocol and its changes, and the precision if it is not the usual one."""
    config = run.manifest["config"]
    standard = dataclasses.asdict(PROTOCOLS[config["protocol"]])
    choice = {"activations", "seeds", "first_seed"}  # which trials, not how
    changes = [f"{k} {config[k]}" for k in standard if k not in choice and config.get(k, standard[k]) != standard[k]]
    changes += ["64-bit numbers"] if run.manifest["environment"].get("x64") else []
    return f"protocol {config['protocol']}" + (f" with {', '.join(changes)}" if changes else "")


def _table(title: str, rows: Sequence[Row], per: int, note: str = "") -> Table:
    columns: list[str | Column] = ["activation", Column("ours", ".4g"), Column("95 % interval", ".1f", key="ours")]
    cells = [[x.label, per * x.converged / x.trials, tuple(per * end for end in x.interval)] for x in rows]
    if any(row.published for row in rows):
        columns += [Column("published", ".4g"), Column("p", ".3g"), Column("p (Holm)", ".3g"), "verdict"]
        columns += [Column("cannot tell", ".0f", key="cannot_tell")]
        verdicts = {None: None, True: "matched", False: "not matched"}
        for row, own in zip(rows, cells, strict=True):
            printed = per * row.published.converged / row.published.trials if row.published else None
            passing = tuple(per * end for end in row.cannot_tell) if row.cannot_tell else None
            own += [printed, row.p_value, row.p_value_holm, verdicts[row.matched], passing]
    return Table(title, columns, cells, note, keys=1, beside=["ours", "verdict"])


# -- where the gradient vanishes, and why ------------------------------------------------------------------------------


def gradients_table(records: xr.Dataset) -> Table:
    """Returns the decay from the output to the first layer, before and after training."""
    causes = {Cause.NONE: "none", Cause.LINEAR: "type 1", Cause.ACTIVATION: "type 2", Cause.BOTH: "type 3"}
    causes |= {Cause.UNDEFINED: "undefined"}
    shares = {"slope_at_least_one": "slopes >= 1", "saturated": "saturated", "dead": "dead", "one_sign": "one sign"}
    rows = []
    for activation in records["activation"].values.tolist():
        for i in (0, -1):
            trials = records.sel(activation=activation).isel(look=i)
            log_norm = trials["gradient_log_norm"].values.astype(np.float64)
            finite = np.isfinite(log_norm).all(axis=1)
            parts = [trials[f"gradient_{part}"].values[finite].sum(axis=1) for part in ("linear", "activation")]
            decades = [values / np.log(10) for values in (log_norm[finite, 0] - log_norm[finite, -1], *parts)]
            medians = [np.exp(np.median(log_norm[finite, 0])), *map(np.median, decades)] if finite.any() else [None] * 4
            found = trials["gradient_total_cause"].values
            rows.append(
                [
                    *(label_of(activation), int(trials["look"]), np.isneginf(log_norm[:, 0]).sum(), *medians),
                    *((found == cause).sum() for cause in causes),
                    *(float(trials[f"gradient_{share}"].mean()) for share in shares),
                    (trials["gradient_non_finite"].values > 0).any(axis=1).sum(),
                ]
            )
    columns: list[str | Column] = ["activation", Column("step", ","), Column("zero", ","), Column("dL/dy^(1)", ".1e")]
    columns += [Column(part, ".1f") for part in ("decades", "linear", "activation part")]
    columns += [Column(cause, ",") for cause in causes.values()] + [Column(share, ".1%") for share in shares.values()]
    return Table(
        "Why the gradient vanishes [P, section 3.1]",
        [*columns, Column("not finite", ",")],
        rows,
        "zero: trials in which dL/dy^(1) is exactly 0. Of the others the medians: of the norm of dL/dy^(1), of "
        "log10 of its ratio to that of dL/dy^(out), and of the two parts of this. Then how many of all trials "
        "have which cause of the decay (undefined: no gradient at the output, or not finite); the share of "
        "slopes |dz/dy| >= 1 and < 0.01, of nodes with slope 0 at all points, of neurons whose weight gradients "
        "have one sign; and how many trials have a gradient that is not finite in some layer.",
        keys=2,
        beside=["decades"],
    )


def _gradient_figures(records: xr.Dataset) -> Iterator[tuple[str, Figure]]:
    """Draws the gradient by layer, and the distribution of the values by layer, before and after training."""
    curves: dict[str, list[DepthCurve]] = {}
    histograms = {}
    for name in records["activation"].values.tolist():
        for i, when in ((0, "before training"), (-1, "after training")):
            seen = records.sel(activation=name).isel(look=i)
            # One of the values each. NaN is the largest, so that the median is NaN only if half of them are.
            ordered = np.sort(seen["gradient_log_norm"].values, axis=0)
            quartiles = [ordered[int(q * (len(ordered) - 1))] / np.log(10) for q in (0.25, 0.5, 0.75)]
            low, middle, high = (np.where(np.isfinite(q), q, np.nan) for q in quartiles)
            zero = " (exactly 0 in layer 1)" if i == 0 and np.isneginf(quartiles[1][0]) else ""
            curves.setdefault(when, []).append(DepthCurve(label_of(name) + zero, middle, low, high))
            histograms[f"{label_of(name)}\n{when}"] = seen["histogram"].values
    yield (
        "gradients",
        gradient_against_depth(
            records["affine_map"].values,
            curves,
            xlabel="layer (the last is the output)",
            ylabel=r"$\log_{10}\,\|\partial L/\partial y^{(l)}\|$, quartiles",
        ),
    )
    yield "values", layer_histograms(EDGES, histograms)
