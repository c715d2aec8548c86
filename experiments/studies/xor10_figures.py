"""One trial of XOR(10) looked into: what [P, section 4.1] says about Figs. 7 to 10, checked on our records.

Result: all fourteen statements are true of our trial, in which PPNS reaches loss 0 at step 457 and Sigmoid never does.
But that only the output layer's weights move under Sigmoid is true of 206 of the 765 trials that converge.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.xor10.protocol import LOSS_SCALE, PROTOCOLS, Protocol, ProtocolName
from experiments.study.imports import at_once
from experiments.study.options import POSITIVE, Constraint, Count, Out, Seeds, Steps, expect, expect_within
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table, with_interval

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.problems.xor10.records import to_dataset
    from experiments.problems.xor10.train import CHUNK, model, settings_for, train, training
    from experiments.study.run_directory import Run
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import xor
    from paramact_jax.figures import FactorHistory, Moves, factor_panels, moves_per_layer, moves_together, trajectories
    from paramact_jax.gradients import layer_jacobians, parameter_gradients
    from paramact_jax.networks import with_params
    from paramact_jax.papers import ko2021
    from paramact_jax.statistics import wilson_interval
    from paramact_jax.sweeps import Training, long_sweep

LABELS = {"sigmoid": "Sigmoid", "ppns": "PPNS"}
PLOTTED_UNTIL = 1_500
"""Right end of [P, Fig. 7]."""
LARGER = 10.0
"""The paper's "relatively large" and "hardly moved" mean a factor of at least this."""
START_A = 6.0
FACTOR = 2.0
"""A printed length is met within this factor."""
KIND: list[str | Column] = [Column(heading, left=True) for heading in ("source", "statement", "criterion")]
FIRST = ("w_11", "w_12", "w_21", "w_22", "w_01", "w_02")
"""Weights, from a node to a node, and biases of hidden layer 1."""
HISTORY = {
    f"history_{name}": Variable(name, description, dims)
    for name, dims, description in (
        ("loss", (), "mean squared error over the 4 points"),
        ("gradient_w11", (), "dL/dw_11^(1) [P, eq. 13]"),
        ("gradient_first", ("parameter",), "dL/d of each weight and bias of hidden layer 1"),
        ("slope", ("layer", "sample", "node"), "diagonal of dz^(layer+1)/dy^(layer) [P, eq. 14, 15]"),
        ("weight", ("layer", "from_node", "node"), "w_ij^(layer), transposed dy/dz [P, eq. 16]"),
        ("output_weight", ("node",), "w_i^(out)"),
        ("a", ("layer", "node"), "scale of the activation; NaN where it has none"),
        ("b", ("layer", "node"), "shift of the activation; NaN where it has none"),
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Xor10Figures(Study):
    """Draw [P, Figs. 7 to 10]: one PPNS trial that converges, and Sigmoid from the same start.

    Trains all trials to choose one: the converged seed whose first step below the threshold is nearest the median.
    Then trains it again, noting its loss and every factor of the chain rule, and checks the paper's statements one by
    one. About 20 s on 2 cores. Writes runs/xor10-figures-DATE-TIME/: records, summary, report, tables, figure_7.png to
    figure_10.png. Example: python -m experiments xor10-figures --seed 3 --every 10
    """

    name: ClassVar[str] = "xor10-figures"
    heading: ClassVar[str] = "XOR(10), one trial"
    renamed: ClassVar[Mapping[str, str]] = {"trials": "seeds", "iterations": "steps"}
    free: ClassVar[frozenset[str]] = frozenset({"seed", "every", "plot_until"})

    protocol: ProtocolName = "recovered"
    """Conditions; see `xor10`."""
    seed: int | None = None
    """The trial to examine (default: chosen by the rule above)."""
    every: Count = 1
    """Steps between two records of the history; divides the steps."""
    plot_until: Count = PLOTTED_UNTIL
    """Right end of Figs. 7 and 8."""
    steps: Steps = 10_000
    """Full-batch updates."""
    threshold: Annotated[float, POSITIVE] = 1e-3
    """A trial has converged if its final mean squared error is below this."""
    seeds: Seeds = 1_000
    """Trials to choose from."""
    first_seed: int = 0
    """Trial i has seed first_seed + i."""
    out: Out = None

    def conditions(self) -> Protocol:
        """Returns the conditions of all trials."""
        own = {name: getattr(self, name) for name in ("steps", "threshold", "seeds", "first_seed")}
        return dataclasses.replace(PROTOCOLS[self.protocol], **own, activations=tuple(LABELS))

    def check(self, data: Any) -> None:
        """Refuses a history that does not end with the training, and a trial that is not trained."""
        expect("every", self.every, Constraint(f"a divisor of {self.steps} steps", lambda x: self.steps % x == 0))
        if self.seed is not None:
            last = self.first_seed + self.seeds - 1
            expect_within(self, "seed", self.first_seed, last, "the trials of --first-seed and --seeds")

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains all trials, then the chosen one once more."""
        protocol = self.conditions()
        with work.timed("sweep"):
            progress = work.progress(protocol.activations, protocol.steps)
            trained = train(
                protocol,
                directory=work.directory / "trials",
                on_compiled=progress.compiled,
                on_progress=progress.advanced,
            )
            records = to_dataset(protocol, trained)
        seed, choice = self.seed, "chosen by --seed"
        if seed is None:
            seed = choose_seed(records)
            choice = "the converged one whose first step below the threshold is nearest the median"
        with work.timed("history"):
            found = long_sweep(
                functools.partial(history, protocol=protocol),
                [seed],
                iterations=self.steps,
                static_axes={"activation": protocol.activations},
                observe_every=self.every,
                iterations_per_call=CHUNK,
            )
        coords: dict[str, Any] = {dim: records[dim] for dim in ("layer", "from_node", "node")} | {
            "sample": np.arange(1, 5)
        }
        coords |= {"parameter": list(FIRST)}
        records = records.merge(described(found.squeeze("seed", drop=True), HISTORY, coords, {}))
        at_end, trial = records.isel(iteration=-1), records.sel(seed=seed)
        same = [
            np.array_equal(at_end[f"history_{name}"], trial[f"learned_{name}"], equal_nan=True)
            for name in ("weight", "output_weight", "a", "b")
        ]
        return records.assign_attrs(history_seed=seed, history_retraced=int(all(same)), history_choice=choice)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the number of converged trials for which a statement is true, where the records tell."""
        rows = []
        for statement, holds in checked(run.records):
            if holds is not None and holds.size:
                count, trials = int(holds.sum()), holds.size
                found = [count, trials, count / trials, wilson_interval(count, trials)]
                rows.append([statement.source, statement.text, statement.criterion, *found])
        attributes, config = run.records.attrs, run.manifest["config"]
        converged = int(run.records["converged"].sel(activation="ppns").sum())
        retraced = "bit for bit" if attributes["history_retraced"] else "NOT to the same bits: another trajectory"
        note = (
            f"Protocol {config['protocol']}. The statements below are checked on trial {attributes['history_seed']}: "
            f"{attributes['history_choice']}; of {run.seeds_and_images()}, "
            f"{converged} converged under PPNS. It was retrained with "
            f"Sigmoid and PPNS from the same weights, and ended as in the sweep, {retraced}."
        )
        title = "Of how many trials in which PPNS converged the statements of [P, section 4.1] are true"
        columns: list[str | Column] = [*KIND, "true", "of", *with_interval("share", ".1%")]
        yield "converged_trials", Table(title, columns, rows, note, keys=3, beside=["share"])

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the four figures."""
        records, until = run.records, run.manifest["config"]["plot_until"]
        iterations = records["iteration"].values
        names = {"loss": "loss", r"$\partial L/\partial w_{11}^{(1)}$": "gradient_w11"}
        curves = {
            quantity: {label: records[f"history_{name}"].sel(activation=key).values for key, label in LABELS.items()}
            for quantity, name in names.items()
        }
        trial = records.sel(seed=records.attrs["history_seed"])
        yield "figure_7", trajectories(iterations, curves, until=until)
        factors = [_factors_of(records.sel(activation=key), label) for key, label in LABELS.items()]
        yield "figure_8", factor_panels(iterations, factors, until=until)
        moves = {label: _weight_moves(trial.sel(activation=key)) for key, label in LABELS.items()}
        yield "figure_9", moves_per_layer(moves, names=("$w_{1j}$", "$w_{2j}$"))
        ppns, printed = trial.sel(activation="ppns"), ko2021.FIG_10_FARTHEST

        def points(when: str, layer: int) -> np.ndarray:
            return np.stack([ppns[f"{when}_{name}"].sel(layer=layer).values for name in ("a", "b")], axis=1)

        own = [Moves(f"layer {x}", points("initial", x), points("learned", x)) for x in ppns["layer"].values]
        yield "figure_10", moves_together(own, names=("a", "b"), published=(printed.a, printed.b))

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges on the trial what [P, section 4.1] says about its figures."""
        yield from (statement for statement, _ in checked(run.records))

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the trial, how it was chosen, and of how many of the converged trials a statement is true."""
        others = [(one.text, found) for one, found in checked(run.records) if found is not None]
        elsewhere = {text: {"true": int(found.sum()), "of": found.size} for text, found in others}
        trial = {name: run.records.attrs[f"history_{name}"] for name in ("seed", "choice", "retraced")}
        return {**trial, "elsewhere": elsewhere}


# -- the history of one trial ------------------------------------------------------------------------------------------


def choose_seed(records: xr.Dataset, activation: str = "ppns") -> int:
    """Chooses the converged trial whose first step below the threshold is nearest the median of all of them.

    Of two equally near trials it has the smaller seed.

    Raises:
      SystemExit: if no trial converged.
    """
    trials = records.sel(activation=activation)
    converged = trials.isel(seed=trials["converged"].values.nonzero()[0])
    if not converged.sizes["seed"]:
        raise SystemExit(
            f"error: expected a trial of {activation} that converges, got none among {records.sizes['seed']}; "
            f"raise --seeds or --steps"
        )
    reached_at = converged["reached_at"].values
    return int(converged["seed"].values[np.abs(reached_at - np.median(reached_at)).argmin()])


def history(activation: str, protocol: Protocol) -> Training:
    """Returns the training of a trial as in the sweep, which notes `HISTORY` on the way."""
    record, (inputs, targets) = catalogue.get(activation), xor()
    template, whole, settings = model(record, 0), training(record), settings_for(protocol, record)

    def observe(state: dict[str, Any]) -> dict[str, jax.Array]:
        params, dtype = state["now"].params, state["now"].loss.dtype
        jacobians = layer_jacobians(with_params(template, params), jnp.asarray(inputs, dtype))
        error = jacobians.output - jnp.asarray(targets, dtype)
        gradients = parameter_gradients(jacobians, 2 * LOSS_SCALE[protocol.loss] * error / error.size)
        hidden = [params["hidden"][i] for i in range(protocol.depth)]
        own = {n: jnp.stack([x["activation"][n] for x in hidden]) for n in ("a", "b") if n in record.params}
        return {
            "loss": jnp.mean(error**2),
            "gradient_w11": gradients[0].kernel[:, 0, 0].sum(),
            "gradient_first": jnp.concatenate([gradients[0].kernel.sum(0).ravel(), gradients[0].bias.sum(0)]),
            "slope": jnp.stack(jacobians.slopes),
            "weight": jnp.stack([layer["linear"]["kernel"] for layer in hidden]),
            "output_weight": params["out"]["kernel"][:, 0],
        } | own

    return Training(
        lambda key: whole.init(key, settings["std"], settings["starts"]),
        lambda state: whole.step(state, settings["settings"]),
        lambda state: {"reached_at": state["now"].reached_at},
        observe,
    )


# -- statements --------------------------------------------------------------------------------------------------------

Checked = tuple[Statement, "np.ndarray | None"]
"""A statement judged on the trial, and for which converged trials it is true, where the records tell."""


def checked(records: xr.Dataset) -> Iterator[Checked]:
    """Yields all statements, in the order of the figures."""
    trials = records.sel(seed=records["seed"][records["converged"].sel(activation="ppns").values])
    yield from _losses(records, trials)
    yield from _factors(records)
    yield from _weights(records, trials["seed"])
    yield from _activations(records, trials["seed"])


def _checked(figure: str, text: str, criterion: str, holds: Any, measured: str, others: Any = None) -> Checked:
    of_others = None if others is None else np.asarray(others)
    return Statement(f"P, Fig. {figure}", text, criterion, judged(bool(holds)), measured), of_others


def _losses(records: xr.Dataset, trials: xr.Dataset) -> Iterator[Checked]:
    until = min(PLOTTED_UNTIL, int(records["iteration"][-1]))
    threshold, seed = float(records.attrs["threshold"]), int(records.attrs["history_seed"])
    loss, gradient = records["history_loss"], abs(records["history_gradient_w11"])
    by_then = loss.sel(iteration=slice(None, until)).isel(iteration=-1)
    ppns, sigmoid = (float(by_then.sel(activation=name)) for name in ("ppns", "sigmoid"))
    at_end = float(loss.sel(activation="sigmoid").isel(iteration=-1))
    later = abs(loss.sel(iteration=slice(until, None)) - loss.isel(iteration=-1)).max("iteration")
    reached = int(records["reached_at"].sel(activation="ppns", seed=seed))
    reached_by_all = trials["reached_at"].sel(activation="ppns")
    largest = {name: float(gradient.sel(activation=name).max()) for name in ("ppns", "sigmoid")}
    yield _checked(
        "7(a)",
        "PPNS's loss reaches 0 about iteration 1,000",
        f"below {threshold:g} by step {until:,}",
        ppns < threshold,
        f"first below at step {reached:,}; {ppns:.2g} at {until:,}; quartiles of the converged trials "
        f"{_percentiles(reached_by_all, 25, 50, 75)}",
        reached_by_all <= until,
    )
    yield _checked(
        "7(a)",
        "Sigmoid's loss has not reached 0 at the end",
        f"not below {threshold:g}",
        at_end >= threshold,
        f"{at_end:.4f} at the end, {sigmoid:.4f} at {until:,}",
        ~trials["converged"].sel(activation="sigmoid"),
    )
    yield _checked(
        "7(a)",
        f"neither loss changes after iteration {until:,}",
        f"by more than {threshold:g}",
        (later < threshold).all(),
        ", ".join(f"{name} by {float(later.sel(activation=name)):.2g}" for name in ("sigmoid", "ppns")),
    )
    yield _checked(
        "7(b)",
        "Sigmoid's dL/dw_11 is near 0 from the first iteration",
        f"largest |dL/dw_11| at most PPNS's / {LARGER:g}",
        largest["sigmoid"] * LARGER <= largest["ppns"],
        f"sigmoid: {float(gradient.sel(activation='sigmoid').isel(iteration=0)):.2g} at the first step, at most "
        f"{largest['sigmoid']:.2g}; ppns: up to {largest['ppns']:.2g}",
    )
    if "history_gradient_first" in records:  # older runs have only w_11
        others = abs(records["history_gradient_first"].sel(parameter=list(FIRST[1:]))).max("iteration")
        of_sigmoid, of_ppns = (others.sel(activation=name) for name in ("sigmoid", "ppns"))
        alike = (of_ppns <= LARGER * largest["ppns"]) & (of_ppns >= largest["ppns"] / LARGER)
        yield _checked(
            "7(b)",
            "the other weights and biases of hidden layer 1 look like w_11",
            f"of each the largest |dL/dw| under Sigmoid is at most PPNS's / {LARGER:g}, and that under PPNS within a "
            f"factor of {LARGER:g} of w_11's",
            ((of_sigmoid * LARGER <= of_ppns) & alike).all(),
            "; ".join(
                f"{name}: {float(of_sigmoid.sel(parameter=name)):.2g} and {float(of_ppns.sel(parameter=name)):.2g}"
                for name in FIRST[1:]
            ),
        )


def _factors(records: xr.Dataset) -> Iterator[Checked]:
    sigmoid, ppns = (records.sel(activation=name) for name in ("sigmoid", "ppns"))
    steepest, steepest_ppns = (float(abs(own["history_slope"]).max()) for own in (sigmoid, ppns))
    out = _travel(sigmoid["history_output_weight"])
    others = max(_travel(sigmoid["history_slope"]), _travel(sigmoid["history_weight"].sel(layer=slice(2, None))))
    ratios = []
    for name, first in (("history_slope", 1), ("history_weight", 2)):
        for layer in range(first, records.sizes["layer"] + 1):
            own, beside = (_travel(network[name].sel(layer=layer)) for network in (ppns, sigmoid))
            ratios.append(own / beside if beside > 0 else np.inf)
    yield _checked(
        "8", "Sigmoid's entries of dz/dy are never above 0.25", "", steepest <= 0.25, f"largest {steepest:.6f}"
    )
    yield _checked(
        "8",
        "PPNS's entries of dz/dy reach about 1.5",
        "1.4 to 1.6",
        1.4 <= steepest_ppns <= 1.6,
        f"largest {steepest_ppns:.4f}",
    )
    yield _checked(
        "8",
        "Sigmoid's factors hardly change, but for dy^(out)/dz^(out)",
        f"by at most a 1/{LARGER:g} of it",
        others * LARGER <= out,
        f"dy^(out)/dz^(out) by {out:.3f}, the others by at most {others:.3f}",
    )
    yield _checked(
        "8",
        "PPNS's factors change more than Sigmoid's",
        "every one of the hidden layers'",
        min(ratios) > 1,
        f"{min(ratios):.3g} to {max(ratios):.3g} times as much",
    )


def _weights(records: xr.Dataset, converged: xr.DataArray) -> Iterator[Checked]:
    def moved(name: str, over: str) -> xr.DataArray:
        return ((records[f"learned_{name}"] - records[f"initial_{name}"]) ** 2).sum(over) ** 0.5

    hidden, out = moved("weight", "from_node").max("node"), moved("output_weight", "node")
    stays = hidden.sel(activation="sigmoid").max("layer") * LARGER <= out.sel(activation="sigmoid")
    farther = (hidden.sel(activation="ppns") > hidden.sel(activation="sigmoid")).all("layer")
    at = {"seed": int(records.attrs["history_seed"])}
    of_sigmoid, of_ppns = (hidden.sel(at).sel(activation=name) for name in ("sigmoid", "ppns"))
    yield _checked(
        "9(a)",
        "under Sigmoid only the output layer's weights move",
        f"the hidden ones at most 1/{LARGER:g} as far",
        stays.sel(at),
        f"output layer by {float(out.sel(at).sel(activation='sigmoid')):.3f}, hidden layers by at most "
        f"{float(of_sigmoid.max()):.3f}",
        stays.sel(seed=converged),
    )
    yield _checked(
        "9(b)",
        "under PPNS the weights of every hidden layer move farther than under Sigmoid",
        "distance of the learned from the initial ones, of the node that moves farthest",
        farther.sel(at),
        f"layers by {float(of_ppns.min()):.3f} to {float(of_ppns.max()):.3f}",
        farther.sel(seed=converged),
    )


def _activations(records: xr.Dataset, converged: xr.DataArray) -> Iterator[Checked]:
    printed, seed = ko2021.FIG_10_FARTHEST, int(records.attrs["history_seed"])
    trials, both = records.sel(activation="ppns"), ("layer", "node")
    a, b = trials["learned_a"], trials["learned_b"]
    moved = ((a - trials["initial_a"]) ** 2 + (b - trials["initial_b"]) ** 2) ** 0.5
    at = moved.sel(seed=seed).stack(at=both)
    layer, node = at["at"].values[at.values.argmax()]
    own_a, own_b = a.sel(seed=seed), b.sel(seed=seed)
    way, printed_way = moved.max(both), float(np.hypot(printed.a - START_A, printed.b))
    widest, printed_widest = abs(b).max(both), abs(printed.b)
    above = (a > trials["initial_a"]).mean(both)

    def near(values: xr.DataArray, printed: float) -> xr.DataArray:
        return (values >= printed / FACTOR) & (values <= printed * FACTOR)

    far, wide = near(way, printed_way), near(widest, printed_widest)
    yield _checked(
        "10",
        f"the farthest (a, b) goes to ({printed.a}, {printed.b})",
        f"that is by {printed_way:.3f}, within a factor of {FACTOR:g}",
        far.sel(seed=seed),
        f"to ({float(own_a.sel(layer=layer, node=node)):.3f}, {float(own_b.sel(layer=layer, node=node)):.3f}), "
        f"layer {layer}, node {node}: by {float(way.sel(seed=seed)):.3f}; middle 90 % of the converged trials "
        f"{_percentiles(way.sel(seed=converged), 5, 95)}",
        far.sel(seed=converged),
    )
    yield _checked(
        "10",
        f"most a end above their start value {START_A:g}",
        "more than half",
        above.sel(seed=seed) > 0.5,
        f"{float(above.sel(seed=seed)):.0%} in this trial, {float(above.sel(seed=converged).mean()):.0%} in all "
        f"converged trials",
        above.sel(seed=converged) > 0.5,
    )
    yield _checked(
        "10",
        "b spreads over about -0.15 to 0.15",
        f"the largest |b| is {printed_widest} within a factor of {FACTOR:g}",
        wide.sel(seed=seed),
        f"{float(own_b.min()):.3f} to {float(own_b.max()):.3f}; largest |b|, middle 90 % of the converged trials "
        f"{_percentiles(widest.sel(seed=converged), 5, 95)}",
        wide.sel(seed=converged),
    )


def _travel(history: xr.DataArray) -> float:
    """Returns the largest difference between two values of one entry on the way."""
    return float((history.max("iteration") - history.min("iteration")).max())


def _percentiles(values: xr.DataArray, *at: float) -> str:
    return ", ".join(f"{value:.4g}" for value in np.percentile(values, at)) if values.size else "none"


# -- figures -----------------------------------------------------------------------------------------------------------


def _factors_of(network: xr.Dataset, label: str) -> FactorHistory:
    slopes = network["history_slope"].transpose("layer", "iteration", "sample", "node").values
    weights = network["history_weight"].transpose("layer", "iteration", "node", "from_node").values
    return FactorHistory(label, list(slopes), [*weights[1:], network["history_output_weight"].values[:, None, :]])


def _weight_moves(network: xr.Dataset) -> list[Moves]:
    def points(when: str, layer: int) -> np.ndarray:
        return network[f"{when}_weight"].sel(layer=layer).transpose("node", "from_node").values

    hidden = [Moves(f"layer {x}", points("initial", x), points("learned", x)) for x in network["layer"].values]
    out = (network[f"{when}_output_weight"].values[None] for when in ("initial", "learned"))
    return [*hidden, Moves("out", *out)]
