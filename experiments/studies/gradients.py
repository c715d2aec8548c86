"""How much of the gradient reaches the first layer of a random network, against its depth? The papers do not ask.

Result: behind 50 layers with gain 1 the gradient's norm has lost 31.5 decades under Sigmoid, nearly all to the
activation (type 2), 7.8 under ReLU and 1.1 under Tanh. PPNS and the other functions that start with a gain a lose
nothing. Mean-field theory predicts each root mean square within 0.4 decades.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from experiments.problems.xor10.protocol import ACTIVATIONS
from experiments.study.imports import at_once
from experiments.study.options import Activations, Constraint, Count, Out, Positives, SeveralSeeds, also, seeds_of
from experiments.study.study import Study, Variable, Work, described
from experiments.study.tables import Column, Table, with_interval

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray as xr
    from jax import lax
    from matplotlib.figure import Figure

    from experiments.study.run_directory import Run
    from experiments.study.samples import mean_and_interval
    from experiments.study.tuning import places
    from paramact_jax.activations import catalogue
    from paramact_jax.figures import DepthCurve, gradient_against_depth
    from paramact_jax.gradients import Cause, causes_of, mean_field
    from paramact_jax.gradients.scaling import normalised
    from paramact_jax.sweeps import sweep

VARIABLES = {
    name: Variable(name, description, ("depth",))
    for name, description in {
        "log_gradient": "log ||dL/dy^(1)||, where dL/dy^(out) = 1",
        "log_linear": "part of log_gradient that is due to the linear factors dy/dz (type 1)",
        "log_activation": "part of log_gradient that is due to the activations' factors dz/dy (type 2)",
        "variance": "mean square of the nodes of y^(depth)",
    }.items()
}
PREDICTED = {
    "predicted_log_gradient": "mean-field: log of the root mean square of ||dL/dy^(1)||",
    "predicted_variance": "mean-field: variance of the nodes of y^(depth)",
}


def depths_of(text: str) -> list[int]:
    """Returns the depths of "1..50" or "1,2,5" in increasing order; none of another text.

    Examples:
      >>> depths_of("2..5"), depths_of("10,1"), depths_of("5..2")
      ([2, 3, 4, 5], [1, 10], [])
    """
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", text):
        return list(range(int(found[1]), int(found[2]) + 1))
    return sorted({int(part) for part in text.split(",")}) if re.fullmatch(r"\d+(,\d+)*", text) else []


DEPTHS = Constraint(
    "a range like 1..50 or a list like 1,2,5 of depths >= 1", lambda x: min(depths_of(x), default=0) > 0
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gradients(Study):
    """Measure how much of the gradient reaches the first layer of a random network, against its depth.

    For each activation and initial gain: the norm over many seeds with its interval, the prediction of mean-field
    theory, and how much of the decay is due to the weights (type 1) and to the activation (type 2).
    About 50 s on 2 cores. Writes runs/gradients-DATE-TIME/: records, summary, report, table, gradients.png.
    Example: python -m experiments gradients --depth 1..50 --activations sigmoid ppns relu --gains 1 1.414
    """

    name: ClassVar[str] = "gradients"
    heading: ClassVar[str] = "Gradient against depth"
    renamed: ClassVar[Mapping[str, str]] = {"activation": "activations", "gain": "gains"}

    depth: Annotated[str, DEPTHS] = "1..50"
    """Numbers of hidden layers: a range 1..50, or a list 1,2,5,10."""
    activations: Annotated[Activations, also("--activation")] = ACTIVATIONS
    """Names of the activations; see `activations`."""
    gains: Annotated[Positives, also("--gain")] = (0.7071, 1.0, 1.4142)
    """Standard deviations of the initial weights times sqrt(fan_in): 1 is 1/sqrt(fan_in), 1.4142 is He's."""
    width: Count = 100
    """Nodes in every hidden layer, and inputs."""
    seeds: SeveralSeeds = 100
    """Random networks of each kind. Equal seeds have equal weights up to their scale."""
    first_seed: int = 0
    """Network i has seed first_seed + i."""
    out: Out = None

    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Measures all networks in one sweep, and adds the predictions of mean-field theory."""
        depths = depths_of(self.depth)
        networks = len(self.gains) * self.seeds
        found = sweep(
            functools.partial(random_network, width=self.width, depth=depths[-1]),
            seeds_of(self),
            static_axes={"activation": self.activations},
            axes={"gain": self.gains},
            chunk=networks,
            directory=work.directory / "networks",
            **work.shown(self.activations, networks, "networks"),
        )
        records = described(found, VARIABLES, {"depth": np.arange(1, depths[-1] + 1)}, {"width": self.width})
        predictions = [
            [mean_field.predict(catalogue.get(name), depths[-1], gain=gain) for gain in self.gains]
            for name in self.activations
        ]
        for name, field in zip(PREDICTED, ("log_gradient", "variances"), strict=True):
            values = np.array([[getattr(one, field) for one in row] for row in predictions])
            records[name] = ("activation", "gain", "depth"), values, {"description": PREDICTED[name]}
        return records.sel(depth=depths)

    @classmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the gradient at the greatest depth."""
        yield "gradients", table(run)

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields a panel for each gain, with a curve for each activation."""
        panels: dict[str, list[DepthCurve]] = {}
        for name, gain, own in _kinds(run.records):
            drawn = (own[what].values for what in ("measured", "low", "high", "predicted"))
            panels.setdefault(f"gain {gain:.4g}", []).append(DepthCurve(name, *drawn))
        yield "gradients", gradient_against_depth(run.records["depth"].values, panels)

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns `curves`, with a row for each activation and gain."""
        depths = run.records["depth"].values.tolist()
        rows = [
            {"activation": name, "gain": gain, "depths": depths}
            | {str(what): x.values.tolist() for what, x in own.items()}
            for name, gain, own in _kinds(run.records)
        ]
        return {"rows": rows}


def random_network(key: jax.Array, gain: jax.Array, activation: str, *, width: int, depth: int) -> dict[str, jax.Array]:
    """Measures what reaches the first layer of one random network, at every depth 1 .. `depth`.

    `depth` hidden layers of `width` nodes, weights N(0, gain^2 / width), no biases, one input N(0, 1)^width. The
    network of depth k is the first k layers and a linear output of its own, with weights of the same distribution. All
    are differentiated in one pass from the last layer to the first, with a row for each depth that starts at its
    output. Rows are scaled to norm 1, and the logarithms of the scales are added.

    Returns:
      For each depth, arrays (depth,): see `VARIABLES`.
    """
    record = catalogue.get(activation)
    input_key, out_key, layer_key = jax.random.split(key, 3)
    scale = gain / width**0.5
    kernels = scale * jax.random.normal(layer_key, (depth, width, width))
    outs = scale * jax.random.normal(out_key, (depth, width))

    def forward(z: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        y = z @ kernel
        z = record.fn(y, **record.params)
        return z, (record.derivative(y, **record.params), jnp.mean(y**2))

    _, (slopes, variance) = lax.scan(forward, jax.random.normal(input_key, (width,)), kernels)

    def backward(carry: Any, layer: Any) -> tuple[Any, None]:
        rows, linear, of_activation = carry
        index, kernel_above, out, slope = layer
        rows = (rows @ kernel_above.T).at[index].set(out)
        rows, log_linear = normalised(rows, axis=1)
        rows, log_activation = normalised(rows * slope[None], axis=1)
        begun = jnp.arange(depth) >= index
        linear = linear + jnp.where(begun, log_linear, 0)
        of_activation = of_activation + jnp.where(begun, log_activation, 0)
        return (rows, linear, of_activation), None

    above = jnp.concatenate([kernels[1:], jnp.zeros_like(kernels[:1])])  # the last layer has no rows above
    start = (jnp.zeros((depth, width)), jnp.zeros(depth), jnp.zeros(depth))
    layers = (jnp.arange(depth), above, outs, slopes)
    (_, linear, of_activation), _ = lax.scan(backward, start, layers, reverse=True)
    return {
        "log_gradient": linear + of_activation,
        "log_linear": linear,
        "log_activation": of_activation,
        "variance": variance,
    }


def curves(records: xr.Dataset) -> xr.Dataset:
    """Returns decimal logarithms of norms, by activation, gain and depth.

    Returns:
      measured, low, high: mean over the seeds of log ||dL/dy^(1)||, and its 95 % t interval. linear, activation_part:
      means of its two parts, which add up to it. root_mean_square: log of the root mean square over the seeds;
      predicted: the same in mean-field theory. vanished: number of seeds with a gradient of exactly 0; they have no
      logarithm, and count only in the mean square. non_finite: number of seeds that are left out, with a gradient that
      is infinite or NaN.
    """
    decades = records.astype(np.float64).transpose("seed", "activation", "gain", "depth") / np.log(10)
    values = decades["log_gradient"]
    finite, vanished = np.isfinite(values), np.isneginf(values)
    largest = values.where(finite).max("seed")
    square = (10.0 ** (2 * (values - largest))).where(finite | vanished).mean("seed")
    found = {
        **dict(zip(("measured", "low", "high"), mean_and_interval(values.values), strict=True)),
        "linear": decades["log_linear"].where(finite).mean("seed"),
        "activation_part": decades["log_activation"].where(finite).mean("seed"),
        "root_mean_square": largest + 0.5 * np.log10(square),
        "predicted": decades["predicted_log_gradient"],
        "vanished": vanished.sum("seed"),
        "non_finite": (~finite & ~vanished).sum("seed"),
    }
    return xr.Dataset(
        {name: (values.dims[1:], np.asarray(x)) for name, x in found.items()}, values.isel(seed=0, drop=True).coords
    )


def _kinds(records: xr.Dataset) -> Iterator[tuple[str, float, xr.Dataset]]:
    """Yields every activation with every gain, and its `curves`."""
    found = curves(records)
    for at in places(records, ("activation", "gain")):
        yield at["activation"], at["gain"], found.sel(at)


def table(run: Run) -> Table:
    """Returns the gradient at the greatest depth."""
    config = run.manifest["config"]
    deepest = int(run.records["depth"].max())
    types = {Cause.LINEAR: "1", Cause.ACTIVATION: "2", Cause.BOTH: "3", Cause.UNDEFINED: "-"}
    others = ("root_mean_square", "predicted", "vanished", "non_finite")
    rows = []
    for name, gain, own in _kinds(run.records):
        at = {str(what): x.item() for what, x in own.isel(depth=-1).data_vars.items()}
        mean, parts = at["measured"], (at["linear"], at["activation_part"])
        why = types.get(Cause(int(causes_of(*parts))), "none") if at["high"] < 0 else "none"
        found = [mean, (at["low"], at["high"]), *parts, why, 10 ** (mean / deepest)]
        rows.append([name, gain, *found, *(at[what] for what in others)])
    return Table(
        f"log10 of the gradient's norm at the first of {deepest} hidden layers, where it is 1 at the output",
        [
            "activation",
            Column("gain", ".4g"),
            *with_interval("mean", ".2f"),
            Column("linear", ".2f"),
            Column("activation", ".2f", key="by_activation"),
            "type",
            Column("a layer", ".3f"),
            Column("root mean square", ".2f"),
            Column("mean field", ".2f"),
            "zero",
            "not finite",
        ],
        rows,
        f"mean: of the logarithms over {run.seeds_and_images()}, with its t interval, and its two parts, "
        f"by the linear factors and by the activations' (these add up); type: the cause of the decay [P, section 3.1], "
        f"none unless the interval is below 0; a layer: the factor per layer. mean field: of the root mean square in "
        f"infinitely wide networks; the mean logarithm lies below it, the more the seeds differ. zero, not finite: "
        f"seeds whose gradient is exactly 0 or no number. {config['width']} nodes a layer, weights "
        f"N(0, gain^2/{config['width']}), no biases; equal seeds have equal weights up to scale.",
        keys=2,
    )
