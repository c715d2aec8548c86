"""Are the three faults of the sigmoid [B2] what they are said to be? Saturation, values above 0, the cost of exp.

[B2] speaks of the gradient of one sample and one neuron. The statements about minibatches and other functions are ours.
Result: all 5 statements of [B2] are true. Units are saturated where values are large: at gain 8 40 % of them are. The
gradient vanishes without saturation too: at gain 1 no unit is saturated, and of the 0.63 decades a layer a slope of 1/4
alone takes 0.60. All weight gradients of a neuron do have one sign at a sample.
Inputs of one sign make the way of two weights 3.2 times as long as the straight one, centred ones 1.4 times. exp makes
a training step 3 % longer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.xor10.protocol import PROTOCOLS as XOR10_PROTOCOLS
from experiments.study.imports import at_once
from experiments.study.options import ACTIVATION, MAX_SEED, Constraint, Count, Out, Positives, at_least, expect_within
from experiments.study.options import also as formerly  # an option has the name
from experiments.study.statements import Statement, judged
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table, with_interval

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from flax import nnx
    from jax import lax
    from matplotlib.figure import Figure

    from experiments.bench.activations import REFERENCE, measure
    from experiments.problems.mnist.protocol import PROTOCOLS as MNIST_PROTOCOLS
    from experiments.problems.mnist.train import seconds_per_step
    from experiments.problems.xor10.train import train as train_xor10
    from experiments.study.curves import panels
    from experiments.study.run_directory import Run
    from experiments.study.samples import Sample, sample
    from experiments.study.tuning import places
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import synthetic_mnist
    from paramact_jax.figures import PathPanel, curves_in_panels, paths_in_the_plane
    from paramact_jax.gradients import attribute, layer_jacobians
    from paramact_jax.gradients.units import SATURATED_BELOW, saturated_share
    from paramact_jax.networks import MLP
    from paramact_jax.sweeps import sweep
    from paramact_jax.training import cross_entropy

ACTIVATIONS = ("sigmoid", "pn_sigmoid", "tanh", "relu", "ppns", "parametric_tanh")
CLASSES = 10
BEFORE, AFTER = "before", "after"
POINT_BY_POINT, FULL_BATCH = "point by point", "full batch"

BASES = ("sigmoid", "pn_sigmoid", "tanh")
SIZES = ((64, 128), (1024, 1024), (2048, 2048))
NETWORKS = ("relu", "sigmoid", "tanh", "ppns")
ROUNDS_A_RACE = 3
IMAGES = 2_000
"""The sizes, networks and rounds of the timings. The images are synthetic, since the time does not depend on them."""

POINTS = 64
UPDATES = 1_000
ARRIVED = 0.01
"""A descent of two weights has arrived when it is this close to its goal; it starts at a distance of 1."""

LARGE = 8.0
"""From this gain on values are large: a standard deviation of y in a random Sigmoid network is then beyond 4.6, where
the slope is 0.01."""
MANY = 0.1
"""Saturated units count as the reason for a loss if they make up at least this share."""
SMALL_COST = 0.1
"""A cost is "no big problem" if it makes a whole training step longer by at most this share."""

LOOKS = {
    "saturated": "share of |dz/dy| < 0.01",
    "flat": "share of |dz/dy| below a hundredth of the activation's steepest slope",
    "one_sign": "share of neurons whose weight gradients, added over the samples, have one sign",
    "one_sign_of_sample": "the same for the gradients of single samples, averaged over these",
    "log_linear": "log of the factor of dy^(layer+1)/dz^(layer+1) on the gradient's norm: type 1",
    "log_activation": "log of the factor of dz^(layer+1)/dy^(layer): type 2",
}
TRAINED = ("saturated", "one_sign", "one_sign_of_sample")
"""What is measured in the networks of XOR(10)."""
WAYS = {
    "length": "length of the path until it arrives, where the straight way is 1; NaN: it does not",
    "steps": "updates until it arrives; NaN: it does not",
    "reversals": "of these, how many go against the one before, at more than a right angle",
    "together": "share of these that move both weights up or both down",
}
OTHERS = Constraint(
    f"each name once, and none of {', '.join(ACTIVATIONS)}",
    lambda names: len({*names, *ACTIVATIONS}) == len(names) + len(ACTIVATIONS),
    whole=True,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmoidFaults(Study):
    """Measure the three faults of the sigmoid [B2]: saturation, values that are not zero-centred, the cost of exp.

    Saturated units and one-sided weight gradients by layer, in random networks of several initial gains and in those
    of XOR(10) before and after training; the zig-zag of two weights; the cost of an element and of a training step.
    About 1 minute on 2 cores. Writes runs/sigmoid-faults-DATE-TIME/: records, summary, report, tables, saturation.png,
    one_sign.png, zigzag.png. Example: python -m experiments sigmoid-faults --gains 0.7071 1 1.4142 --also elu softsign
    """

    name: ClassVar[str] = "sigmoid-faults"
    heading: ClassVar[str] = "The three faults of the sigmoid"
    renamed: ClassVar[Mapping[str, str]] = {
        "gain": "gains",
        "trials": "xor_seeds",
        "iterations": "xor_steps",
        "steps": "timed_steps",
    }

    also: Annotated[tuple[str, ...], ACTIVATION, OTHERS] = ()
    """Names of activations to look at, other than the six in the statements; see `activations`."""
    gains: Annotated[Positives, formerly("--gain")] = (1.0, 2.0, 4.0, 8.0)
    """Standard deviations of the initial weights times sqrt(fan_in): 1 is 1/sqrt(fan_in), 1.4142 is He's."""
    width: Count = 100
    """Nodes in every hidden layer of the random networks."""
    depth: Annotated[int, at_least(2)] = 10
    """Hidden layers of the random networks."""
    samples: Count = 64
    """Inputs of each random network."""
    seeds: Annotated[int, at_least(2)] = 100
    """Random networks of each kind."""
    xor_seeds: Annotated[int, at_least(2), formerly("--trials")] = 500
    """Trials of XOR(10) of each activation."""
    xor_steps: Annotated[Count, formerly("--iterations")] = 10_000
    """Full-batch updates of XOR(10)."""
    starts: Annotated[int, at_least(2)] = 1_000
    """Goals of two weights."""
    first_seed: int = 0
    """Network, trial and start i have seed first_seed + i."""
    rounds: Count = 3
    """Races of the functions, and three times as many rounds of the training steps."""
    timed_steps: Annotated[Count, formerly("--steps")] = 100
    """Training steps in each round."""
    small: bool = False
    """Whether to time one function on the smallest arrays, and two networks, to see that everything runs."""
    out: Out = None

    def check(self, data: Any) -> None:
        """Refuses seeds beyond the largest."""
        most = max(self.seeds, self.xor_seeds, self.starts)
        expect_within(self, "first_seed", 0, MAX_SEED - most + 1)

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Measures the four parts, one after the other."""
        with work.timed("random networks"):
            records = self._random_networks(work)
        with work.timed("XOR(10)"):
            records = self._with_xor10(records, work)
        with work.timed("ways of two weights"):
            records = records.assign(descents(self._of(self.starts)).data_vars)
        with work.timed("costs"):
            work.close()
            records = per_element(records, self.rounds, work, small=self.small)
            return whole_step(records, ROUNDS_A_RACE * self.rounds, self.timed_steps, small=self.small)

    def _of(self, number: int) -> range:
        return range(self.first_seed, self.first_seed + number)

    def _random_networks(self, work: Work) -> xr.Dataset:
        activations, networks = (*ACTIVATIONS, *self.also), len(self.gains) * self.seeds
        found = sweep(
            functools.partial(random_network, width=self.width, depth=self.depth, samples=self.samples),
            self._of(self.seeds),
            static_axes={"activation": activations},
            axes={"gain": self.gains},
            block=1,
            chunk=networks,
            directory=work.directory / "networks",
            **work.shown(activations, networks, "networks"),
        )
        variables = {name: Variable(name, description, ("layer",)) for name, description in LOOKS.items()}
        return described(found, variables, {"layer": np.arange(1, self.depth + 1)}, {})

    def _with_xor10(self, records: xr.Dataset, work: Work) -> xr.Dataset:
        """Adds the networks of XOR(10), before and after training."""
        protocol = dataclasses.replace(
            XOR10_PROTOCOLS["recovered"],
            seeds=self.xor_seeds,
            steps=self.xor_steps,
            first_seed=self.first_seed,
            activations=tuple(records["activation"].values.tolist()),
        )
        shown = work.progress(protocol.activations, self.xor_steps)
        found = train_xor10(
            protocol, gradients_every=self.xor_steps, on_compiled=shown.compiled, on_progress=shown.advanced
        )
        for name in TRAINED:
            values = np.stack([np.moveaxis(one.gradients[name], 0, 1) for one in found.values()])
            about = {"description": f"XOR(10): {LOOKS[name]}"}
            records[f"xor_{name}"] = ("activation", "trial", "look", "xor_layer"), values, about
        layers = np.arange(1, records.sizes["xor_layer"] + 1)
        return records.assign_coords(trial=list(self._of(self.xor_seeds)), look=[BEFORE, AFTER], xor_layer=layers)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields saturation, signs, ways and costs."""
        yield "saturation", saturation_table(run)
        yield "signs", signs_table(run)
        yield "xor10", xor10_table(run)
        yield "zigzag", zigzag_table(run)
        yield "cost", cost_table(run)
        yield "step", step_table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields saturation and one-sided gradients by layer, and the ways of two weights."""
        slopes = rf"slopes $|\partial z/\partial y| < {SATURATED_BELOW:g}$"
        yield "saturation", _by_layer(run.records, "saturated", slopes)
        yield "one_sign", _by_layer(run.records, "one_sign", "neurons whose weight gradients have one sign")
        yield "zigzag", _ways(run.records)

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Judges fault by fault what [B2] says, what [B1] says of ReLU, and what we add."""
        yield from _about_saturation(run.records)
        yield from _about_centre(run.records)
        yield from _about_cost(run.records)


# -- what is measured --------------------------------------------------------------------------------------------------


def random_network(
    key: jax.Array, gain: jax.Array, activation: str, *, width: int, depth: int, samples: int
) -> dict[str, jax.Array]:
    """Measures `LOOKS` of a random classifier.

    `depth` hidden layers of `width` nodes, weights N(0, gain^2 / fan_in), no biases, 10 outputs; inputs
    N(0, 1)^width, so that the first layer's are centred, and random labels; mean cross-entropy.

    Returns:
      Arrays (depth,), see `LOOKS`.
    """
    record = catalogue.get(activation)
    input_key, label_key, model_key = jax.random.split(key, 3)

    def kernel_init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        return gain / shape[0] ** 0.5 * jax.random.normal(key, shape, dtype)

    hidden = [width] * depth
    model = MLP(width, hidden, CLASSES, record, kernel_init=kernel_init, rngs=nnx.Rngs(params=model_key))
    labels = jax.random.randint(label_key, (samples,), 0, CLASSES)
    x = jax.random.normal(input_key, (samples, width))
    found = attribute(model, x, loss=lambda outputs: cross_entropy(outputs, labels))
    flat_below = SATURATED_BELOW * record.steepest_slope
    return {
        "saturated": found.units.saturated,
        "flat": jnp.stack([saturated_share(slopes, flat_below) for slopes in layer_jacobians(model, x).slopes]),
        "one_sign": found.units.one_sign,
        "one_sign_of_sample": found.units.one_sign_of_sample,
        "log_linear": found.decay.linear,
        "log_activation": found.decay.activation,
    }


def two_weights(
    key: jax.Array, *, inputs: Sequence[str] = ACTIVATIONS, points: int = POINTS, updates: int = UPDATES
) -> dict[str, jax.Array]:
    """Descends to one goal, with the values of each activation as inputs [B2].

    A linear neuron F = w_1 x_1 + w_2 x_2 learns weights w* from points (x, w* x): its inputs are x = f(u), the values
    that a layer before would give it, of the same normal u for all f. w starts at 0; w* is at distance 1 in a random
    direction of the quadrant w_1 > 0 > w_2, where the gradient of a point with inputs of one sign never points. Every
    descent has the largest learning rate with which no update overshoots: 1 / max |x|^2 point by point, with full
    batches 1 over the largest eigenvalue of the mean of x x^T.

    Returns:
      Arrays (inputs, 2), point by point and with full batches, see `WAYS`; "path": w before the first update and after
      each, (inputs, 2, updates + 1, 2); "goal": w*.
    """
    input_key, goal_key, order_key = jax.random.split(key, 3)
    u = jax.random.normal(input_key, (points, 2))
    x = jnp.stack([record.fn(u, **record.params) for record in map(catalogue.get, inputs)])
    angle = jax.random.uniform(goal_key, (), minval=-jnp.pi / 2, maxval=0)
    goal = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    order = jax.random.randint(order_key, (updates,), 0, points)
    path = jnp.moveaxis(_paths(x, goal, order), 0, 2)
    return jax.vmap(jax.vmap(_measured, (0, None)), (0, None))(path, goal) | {"path": path, "goal": goal}


def _paths(x: jax.Array, goal: jax.Array, order: jax.Array) -> jax.Array:
    """Returns the weights before and after every update, (updates + 1, inputs, 2, 2), from x (inputs, points, 2)."""
    moments = jnp.einsum("fpi,fpj->fij", x, x) / x.shape[1]
    diagonal, off = moments[:, (0, 1), (0, 1)], moments[:, 0, 1]
    half_gap = jnp.sqrt((diagonal[:, 0] - diagonal[:, 1]) ** 2 / 4 + off**2)
    largest = jnp.stack([jnp.max(jnp.sum(x**2, axis=2), axis=1), diagonal.mean(axis=1) + half_gap], axis=1)

    def update(w: jax.Array, point: jax.Array) -> tuple[jax.Array, jax.Array]:
        error, here = w - goal[None, None], x[:, point]
        by_point = here * jnp.sum(here * error[:, 0], axis=1, keepdims=True)
        by_batch = jnp.einsum("fij,fj->fi", moments, error[:, 1])
        w = w - jnp.stack([by_point, by_batch], axis=1) / largest[:, :, None]
        return w, w

    start = jnp.zeros((len(x), 2, 2))
    return jnp.concatenate([start[None], lax.scan(update, start, order)[1]])


def _measured(path: jax.Array, goal: jax.Array) -> dict[str, jax.Array]:
    """Measures `WAYS` of one path, (updates + 1, 2)."""
    moves = jnp.diff(path, axis=0)
    near = jnp.linalg.norm(path[1:] - goal[None], axis=1) <= ARRIVED
    number = jnp.argmax(near) + 1
    made = jnp.arange(len(moves)) < number
    against = jnp.sum(moves[1:] * moves[:-1], axis=1) < 0
    found = {
        "length": jnp.sum(jnp.linalg.norm(moves, axis=1), where=made),
        "steps": number,
        "reversals": jnp.sum(against, where=made[1:]),
        "together": jnp.mean(moves[:, 0] * moves[:, 1] > 0, where=made),
    }
    return {name: jnp.where(near.any(), value, jnp.nan) for name, value in found.items()}


def descents(seeds: range) -> xr.Dataset:
    """Returns the ways of two weights from every seed, and the paths and the goal of the first seed."""
    found, coords = sweep(two_weights, seeds), {"inputs": list(ACTIVATIONS), "descent": [POINT_BY_POINT, FULL_BATCH]}
    ways = {f"way_{name}": Variable(name, text, ("inputs", "descent")) for name, text in WAYS.items()}
    first = {
        "way_path": Variable(
            "path",
            "w of the first seed before the first update, and after each",
            ("inputs", "descent", "point", "weight"),
        ),
        "way_goal": Variable("goal", "w* of the first seed", ("weight",)),
    }
    all_ways = described(found, ways, coords, {}).rename(seed="start").transpose("inputs", "descent", "start")
    return all_ways.assign(described(found.isel(seed=0, drop=True), first, {}, {}).data_vars)


def per_element(records: xr.Dataset, races: int, work: Work, *, small: bool) -> xr.Dataset:
    """Adds nanoseconds per element, see `experiments.bench.activations.measure`, repeated to show the spread."""
    found: dict[tuple[str, str, str], list[float]] = {}
    sizes, bases = (SIZES[:1], BASES[:1]) if small else (SIZES, BASES)
    for race in range(races):
        work.say(f"cost per element, race {race + 1} of {races}")
        for row in measure(rounds=ROUNDS_A_RACE, shapes=sizes, bases=bases)["rows"]:
            size = f"{row['shape'][0]} x {row['shape'][1]}"
            found.setdefault((row["function"], size, row["pass"]), []).append(row["nanoseconds"])
    functions, shapes, passes = (list(dict.fromkeys(key[i] for key in found)) for i in range(3))
    nanoseconds = np.array([[[found[f, s, p] for p in passes] for s in shapes] for f in functions])
    about = {"description": f"nanoseconds per element, the median of {ROUNDS_A_RACE} rounds of a race"}
    labels: dict[Any, Any] = {"function": functions, "size": shapes, "pass": passes}
    return records.assign(nanoseconds=((*labels, "race"), nanoseconds, about)).assign_coords(labels)


def whole_step(records: xr.Dataset, rounds: int, steps: int, *, small: bool) -> xr.Dataset:
    """Adds the seconds of a step of the network of `mnist`: 8 hidden layers of 128, minibatches of 64, one seed."""
    networks = NETWORKS[:2] if small else NETWORKS
    protocol = dataclasses.replace(MNIST_PROTOCOLS["recovered"], activations=networks)
    seconds = seconds_per_step(networks, protocol, synthetic_mnist(IMAGES, 1), rounds=rounds, steps=steps)
    about = {"description": "seconds of one training step of the network of mnist, without scores"}
    return records.assign(step_seconds=(("network", "round"), seconds, about)).assign_coords(network=list(networks))


# -- statements --------------------------------------------------------------------------------------------------------


def usual_gain(records: xr.Dataset) -> float:
    """Returns the gain of the records nearest to 1, the gain of weights of deviation 1/sqrt(fan_in)."""
    gains = records["gain"].values
    return float(gains[np.abs(np.log(gains)).argmin()])


def _of_share(source: str, text: str, criterion: str, holds: bool, found: Sample, measured: str = "") -> Statement:
    """Judges a statement about a share; by default the share itself is what was measured."""
    told = text, criterion, judged(holds), measured or f"{found.mean:.1%}"
    return Statement(source, *told, found.mean, found.interval(share=True))


def _about_saturation(records: xr.Dataset) -> Iterator[Statement]:
    share = records["saturated"].mean("layer")
    loss = -records["log_activation"].mean("layer") / np.log(10)
    gains, usual = np.sort(records["gain"].values), usual_gain(records)

    def by_gain(values: xr.DataArray, name: str) -> np.ndarray:
        return np.array([sample(values.sel(activation=name, gain=gain).values).mean for gain in gains])

    sigmoid, tanh, decades = by_gain(share, "sigmoid"), by_gain(share, "tanh"), by_gain(loss, "sigmoid")
    of_each = [f"gain {g:g}: {s:.1%} and {t:.1%}" for g, s, t in zip(gains, sigmoid, tanh, strict=True)]
    yield Statement(
        "ours",
        "at the same gain more of Sigmoid's units are saturated than of Tanh's",
        f"|slope| < {SATURATED_BELOW:g}; at every gain",
        judged(bool((sigmoid > tanh).all())),
        "; ".join(of_each),
    )
    usually = {name: share.sel(activation=name, gain=usual).values for name in ("sigmoid", "relu")}
    lost = sample(loss.sel(activation="sigmoid", gain=usual).values).mean
    steepest = -float(np.log10(catalogue.get("sigmoid").steepest_slope))
    own, of_relu = (sample(values) for values in usually.values())
    taken = f"the activation takes {{:.3f}} decades a layer, a slope of 1/4, the steepest, alone {steepest:.3f}"
    yield _of_share(
        "ours",
        "Sigmoid's gradient vanishes without saturated units",
        f"at gain {usual:g} fewer than {MANY:.0%} are saturated, and a slope of 1/4 alone takes most of what is lost",
        own.mean < MANY and steepest > lost / 2,
        own,
        f"{own.mean:.2%} saturated; {taken.format(lost)}",
    )
    large = gains[gains >= LARGE]
    said = (
        "B2",
        "where values are large, Sigmoid's units are saturated, and its gradient vanishes by them",
        f"at every gain of {LARGE:g} or more at least {MANY:.0%} are saturated, and the activation takes more than a "
        f"slope of 1/4 alone takes",
    )
    if large.size:
        at = sample(share.sel(activation="sigmoid", gain=large[0]).values)
        least, lost_there = sigmoid[gains >= LARGE].min(), decades[gains >= LARGE].min()
        measured = f"gain {large[0]:g}: {at.mean:.2%} saturated; {taken.format(lost_there)}"
        yield _of_share(*said, bool(least >= MANY and lost_there > steepest), at, measured)
    else:
        yield Statement(*said, "undecided", f"the largest gain of the run is {gains[-1]:g}")
    of_each = [f"gain {g:g}: {s:.1%}, {d:.2f} decades a layer" for g, s, d in zip(gains, sigmoid, decades, strict=True)]
    yield Statement(
        "ours",
        "the larger the initial weights, the more of Sigmoid's units are saturated, and the more of the gradient its "
        "activation takes",
        "means of every two neighbouring gains",
        judged(bool((np.diff([sigmoid, decades]) > 0).all())),
        "; ".join(of_each),
    )
    yield Statement(
        "B1",
        "fewer of ReLU's units are saturated than of Sigmoid's",
        f"at gain {usual:g}",
        judged(of_relu.mean < own.mean),
        f"{of_relu.mean:.1%} of ReLU's slopes are 0, {own.mean:.2%} of Sigmoid's below {SATURATED_BELOW:g}",
        of_relu.mean - own.mean,
        sample(usually["relu"] - usually["sigmoid"]).interval(),
    )
    xor = records["xor_saturated"].sel(activation="sigmoid").mean("xor_layer")
    before, after = (xor.sel(look=look).values for look in (BEFORE, AFTER))
    change = sample(after - before)
    interval = change.interval()
    yield Statement(
        "ours",
        "training saturates Sigmoid's units",
        "on XOR(10) more are saturated after it, interval above 0",
        judged(interval is not None and interval[0] > 0),
        f"{sample(before).mean:.2%} before, {sample(after).mean:.2%} after",
        change.mean,
        interval,
    )


def _about_centre(records: xr.Dataset) -> Iterator[Statement]:
    usual = usual_gain(records)
    behind = records.sel(gain=usual).isel(layer=slice(1, None)).mean("layer")
    of_sample, of_batch = (
        {name: sample(behind[what].sel(activation=name).values) for name in ACTIVATIONS}
        for what in ("one_sign_of_sample", "one_sign")
    )
    where = f"behind the first layer, at gain {usual:g}"
    one, added, relu = of_sample["sigmoid"], of_batch["sigmoid"], of_sample["relu"]
    text = "under Sigmoid all weight gradients of a neuron have one sign at every sample"
    yield _of_share("B2", text, f"{where}; 99% of the neurons", one.mean >= 0.99, one)
    text = "they still have when added over a minibatch"
    yield _of_share("ours", text, f"{where}; most neurons'", added.mean > 0.5, added)
    with_gradient = 1 - float(behind["saturated"].sel(activation="relu").mean())
    yield _of_share(
        "B1",
        "ReLU has the same fault",
        f"{where}; 99% of the neurons that have a gradient at the sample",
        relu.mean >= 0.99 * with_gradient,
        relu,
        f"{relu.mean:.1%} of all, where {with_gradient:.1%} have a slope; added over a minibatch "
        f"{of_batch['relu'].mean:.1%}",
    )
    centred = ("pn_sigmoid", "tanh", "ppns")
    yield Statement(
        "ours",
        "zero-centred functions do not have it: Sigmoid - 1/2, Tanh, PPNS",
        f"{where}; at most 1%",
        judged(all(of_sample[name].mean <= 0.01 for name in centred)),
        ", ".join(f"{name} {of_sample[name].mean:.2%}" for name in centred),
    )
    for descent in (POINT_BY_POINT, FULL_BATCH):
        ways = records.sel(descent=descent, inputs=["sigmoid", "pn_sigmoid"]).transpose("inputs", ...)
        longer = sample(np.subtract(*ways["way_length"].values))
        interval = longer.interval()
        lengths, updates, reversals = (
            [sample(own).mean for own in ways[f"way_{what}"].values] for what in ("length", "steps", "reversals")
        )
        of_each = [
            f"{name}: {length:.2f} times the straight way, {steps:.0f} updates, {number:.1f} reversals"
            for name, length, steps, number in zip(ways["inputs"].values, lengths, updates, reversals, strict=True)
        ]
        yield Statement(
            "B2" if descent == POINT_BY_POINT else "ours",
            f"positive inputs make descent zig-zag, {descent}",
            "with Sigmoid's values the way is longer and has more reversals than with Sigmoid - 1/2; interval of the "
            "difference of lengths above 0",
            judged(bool(interval is not None and interval[0] > 0 and reversals[0] > reversals[1])),
            "; ".join(of_each),
            longer.mean,
            interval,
        )


def _about_cost(records: xr.Dataset) -> Iterator[Statement]:
    ratio = records["nanoseconds"].sel(function="sigmoid") / records["nanoseconds"].sel(function=REFERENCE)
    medians = ratio.median("race")
    yield Statement(
        "B2",
        "an element costs more under Sigmoid than under ReLU",
        "in every race, at every size, forward and backward",
        judged(bool((ratio > 1).all())),
        f"{float(medians.min()):.2f} to {float(medians.max()):.2f} times as much; races {float(ratio.min()):.2f} to "
        f"{float(ratio.max()):.2f}",
        float(ratio.min()),
    )
    step = records["step_seconds"].sel(network="sigmoid") / records["step_seconds"].sel(network=REFERENCE) - 1
    yield Statement(
        "B2",
        "that is no big problem",
        f"a whole training step of the network of mnist is at most {SMALL_COST:.0%} longer",
        judged(float(step.median()) <= SMALL_COST),
        f"{float(step.median()):+.1%}, rounds {float(step.min()):+.1%} to {float(step.max()):+.1%}",
        float(step.median()),
    )


# -- tables and figures ------------------------------------------------------------------------------------------------


def _of_seeds(values: xr.DataArray, *, share: bool = False) -> list[Any]:
    """Returns mean and interval of one number per seed."""
    found = sample(values.values)
    return [found.mean, found.interval(share=share)]


def _kinds(records: xr.Dataset) -> Iterator[tuple[str, float, xr.Dataset]]:
    """Yields the random networks of every activation and gain."""
    for at in places(records, ("activation", "gain")):
        yield at["activation"], at["gain"], records.sel(at)


def saturation_table(run: Run) -> Table:
    """Returns the saturated units of random networks, and what the gradient loses a layer."""
    rows: list[list[Any]] = []
    for name, gain, at in _kinds(run.records):
        saturated, decades = at["saturated"], (-at[["log_linear", "log_activation"]] / np.log(10)).mean("layer")
        first, last = (float(saturated.isel(layer=i).mean()) for i in (0, -1))
        shares = [*_of_seeds(saturated.mean("layer"), share=True), first, last, float(at["flat"].mean())]
        of_activation = decades["log_activation"]
        lost = [*_of_seeds(decades["log_linear"] + of_activation), sample(of_activation.values).mean]
        rows.append([name, gain, *shares, *lost])
    return Table(
        f"Saturated units of random networks with {run.records.sizes['layer']} hidden layers",
        [
            "activation",
            Column("gain", ".4g"),
            *with_interval("saturated", ".1%"),
            *(Column(name, ".1%") for name in ("first layer", "last layer", "below 1/100")),
            *with_interval("decades a layer", ".2f"),
            Column("by the activation", ".2f"),
        ],
        rows,
        f"saturated: share of |dz/dy| < {SATURATED_BELOW:g}, over all layers, in the first and in the last hidden "
        f"layer; below 1/100: of the function's own steepest slope. decades a layer: what the gradient's norm loses, "
        f"and of this what the activation takes (negative: gives). {_conditions(run)}",
        keys=2,
    )


def signs_table(run: Run) -> Table:
    """Returns the one-sided weight gradients of random networks."""
    rows: list[list[Any]] = []
    for name, gain, at in _kinds(run.records.isel(layer=slice(1, None))):
        of_sample, of_batch = (at[what].mean("layer") for what in ("one_sign_of_sample", "one_sign"))
        rows.append([name, gain, *_of_seeds(of_sample, share=True), *_of_seeds(of_batch, share=True)])
    added = f"of {run.manifest['config']['samples']} added"
    return Table(
        "Neurons whose weight gradients have one sign, behind the first layer",
        [
            "activation",
            Column("gain", ".4g"),
            *with_interval("of a sample", ".1%"),
            *with_interval(added, ".1%", key="added"),
        ],
        rows,
        "of a sample: share of the neurons, averaged over the samples; a neuron without a gradient is not one of them. "
        f"The first layer's inputs are normal, hence centred. {_conditions(run)}",
        keys=2,
    )


def xor10_table(run: Run) -> Table:
    """Returns saturated units and one-sided weight gradients before and after training."""
    records, config = run.records, run.manifest["config"]
    shown = {"xor_saturated": "saturated", "xor_one_sign_of_sample": "one sign of a point", "xor_one_sign": "one sign"}
    means = {
        heading: records[what].isel(xor_layer=slice(what != "xor_saturated", None)).mean(("trial", "xor_layer"))
        for what, heading in shown.items()
    }
    looks = [(heading, look) for heading in means for look in (BEFORE, AFTER)]
    rows = [
        [name, *(float(means[heading].sel(activation=name, look=look)) for heading, look in looks)]
        for name in records["activation"].values.tolist()
    ]
    return Table(
        f"XOR(10) before and after {config['xor_steps']:,} iterations",
        ["activation", *(Column(f"{heading}, {look}", ".1%") for heading, look in looks)],
        rows,
        f"Means over the {records.sizes['trial']} trials from seed {config['first_seed']} on and over the layers, "
        "signs behind the first; one sign: of the weight gradients added over the 4 points, of 2 weights each, of "
        "which half of all neurons would have it if signs were independent. Protocol recovered, see `xor10`.",
    )


def zigzag_table(run: Run) -> Table:
    """Returns the ways of two weights."""
    records = run.records
    rows: list[list[Any]] = []
    for kind in places(records, ("inputs", "descent")):
        at = records.sel(kind)
        means = (sample(at[f"way_{what}"].values).mean for what in ("steps", "reversals", "together"))
        rows.append([*kind.values(), *_of_seeds(at["way_length"]), *means, int(np.isnan(at["way_length"]).sum())])
    return Table(
        "The way of two weights to a goal at distance 1 in the quadrant w_1 > 0 > w_2",
        [
            "inputs",
            Column("descent", left=True),
            *with_interval("length", ".2f"),
            Column("updates", ".1f"),
            Column("reversals", ".1f"),
            Column("together", ".1%"),
            "not arrived",
        ],
        rows,
        f"Inputs: the activation's values at normal y; mean of {records.sizes['start']} goals. Reversals: updates at "
        "more than a right angle to the one before; together: updates that move both weights up or both down. Every "
        "descent has the largest learning rate with which no update overshoots.",
    )


def _spread(values: xr.DataArray) -> list[Any]:
    """Returns the median, and the least and the most."""
    return [float(values.median()), (float(values.min()), float(values.max()))]


SPREAD = "least to most"


def cost_table(run: Run) -> Table:
    """Returns the time per element."""
    nanoseconds = run.records["nanoseconds"]
    ratio = nanoseconds / nanoseconds.sel(function=REFERENCE)
    rows = []
    for kind in places(nanoseconds, ("function", "size")):
        own, relative = (x.sel(kind).transpose("pass", ...) for x in (nanoseconds, ratio))
        cells = [cell for pair in zip(own, relative, strict=True) for x in pair for cell in _spread(x)]
        rows.append([*kind.values(), *cells])
    columns = []
    for what in nanoseconds["pass"].values.tolist():
        key = Column(what).name()
        columns += with_interval(f"{what}, ns", ".3f", key, SPREAD) + with_interval(
            "/ relu", ".2f", f"{key}_to_relu", SPREAD
        )
    return Table(
        "Nanoseconds per element, and times ReLU's",
        ["function", Column("batch x nodes", left=True), *columns],
        rows,
        f"Median of {nanoseconds.sizes['race']} races, the least and the most; see `bench activations`. The parametric "
        f"functions' backward pass sums the gradients of a and b over the batch. {_machine(run)}",
    )


def step_table(run: Run) -> Table:
    """Returns the time of a training step."""
    seconds = run.records["step_seconds"]
    ratio = seconds / seconds.sel(network=REFERENCE)
    rows = [
        [name, *_spread(1e3 * seconds.sel(network=name)), *_spread(ratio.sel(network=name))]
        for name in seconds["network"].values.tolist()
    ]
    return Table(
        "A training step of the network of mnist, 8 hidden layers of 128, minibatches of 64, one seed",
        [
            "activation",
            *with_interval("milliseconds", ".3f", "ms", SPREAD),
            *with_interval("/ relu", ".2f", "to_relu", SPREAD),
        ],
        rows,
        f"Median of {seconds.sizes['round']} rounds, the least and the most. {_machine(run)}",
    )


def _by_layer(records: xr.Dataset, variable: str, ylabel: str) -> Figure:
    by_gain = panels(records[variable], "layer", "gain", "activation", panel_label="gain {:.4g}".format)
    title = f"mean of {records.sizes['seed']} random networks, 95 % interval shaded"
    return curves_in_panels(
        records["layer"].values, by_gain, xlabel="hidden layer", ylabel=ylabel, title=title, shares=True
    )


def _ways(records: xr.Dataset) -> Figure:
    first = records.isel(start=0)
    drawn = []
    for descent in records["descent"].values.tolist():
        paths = {}
        for name in ("sigmoid", "pn_sigmoid"):
            way = first.sel(inputs=name, descent=descent)
            steps = float(way["way_steps"])
            until = len(way["point"]) if np.isnan(steps) else int(steps) + 1
            paths[f"inputs of {name}"] = way["way_path"].transpose("point", "weight").values[:until]
        drawn.append(PathPanel(descent, paths))
    return paths_in_the_plane(drawn, records["way_goal"].values, title=f"seed {int(records['start'][0])}")


def _conditions(run: Run) -> str:
    config = run.manifest["config"]
    return (
        f"Random networks: {config['width']} nodes a layer, weights N(0, gain^2 / fan_in), no biases, "
        f"{config['samples']} normal inputs, cross-entropy of random labels, {run.seeds_and_images()}."
    )


def _machine(run: Run) -> str:
    there = run.manifest["environment"]
    return f"{there['processor']}, {there['devices']['count']} devices, jax {there['packages']['jax']}."
