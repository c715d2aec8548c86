"""What is seen of the gradients of all trials on the way, and what it says: where they vanish, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.study.tables import Table
from paramact_jax.datasets import xor
from paramact_jax.gradients import Cause, attribute
from paramact_jax.networks import MLP, params_of, with_params
from paramact_jax.sweeps.memory import bytes_of, in_words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from paramact_jax.figures import DepthCurve

_AFFINE, _HIDDEN = ("affine_map",), ("layer",)
_VARIABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "log_norm": (_AFFINE, "log ||dL/dy|| over the 4 points and all nodes; -inf: exactly 0"),
    "linear": (_HIDDEN, "log of the factor of dy^(layer+1)/dz^(layer+1): type 1"),
    "activation": (_HIDDEN, "log of the factor of dz^(layer+1)/dy^(layer): type 2"),
    "cause": (_HIDDEN, "why the gradient became smaller: -1 undefined, 0 not, 1 linear, 2 activation, 3 both"),
    "total_cause": ((), "the same from the output to the first layer"),
    "non_finite": (_AFFINE, "entries of dL/dy that are infinite or NaN"),
    "slope_at_least_one": (_HIDDEN, "share of |dz/dy| >= 1"),
    "saturated": (_HIDDEN, "share of |dz/dy| < 0.01"),
    "dead": (_HIDDEN, "share of nodes with slope 0 at all points"),
    "one_sign": (_HIDDEN, "share of neurons whose weight gradients, added over the points, have one sign"),
    "one_sign_of_sample": (_HIDDEN, "the same for the gradients of single points, averaged over these"),
    "largest_singular_value": (_AFFINE, "of W"),
    "log_end_to_end": (("sample",), "log of the largest singular value of d output / d input"),
}
HISTOGRAMS = "histograms"
_EDGES = np.linspace(-6, 6, 49)
"""Of the histograms of the hidden layers' values, over all trials: the ranges of all seven functions, in quarters."""
_CAUSES = {Cause.NONE: "none", Cause.LINEAR: "1", Cause.ACTIVATION: "2", Cause.BOTH: "3", Cause.UNDEFINED: "undefined"}


def looks(iterations: int, every: int) -> list[int]:
    """The iterations at which to look: 0, every, 2 every, .. and the last; none if `every` is 0.

    Examples:
      >>> looks(10, 4), looks(10, 0)
      ([0, 4, 8, 10], [])
    """
    return [*range(0, iterations, every), iterations] if every else []


def keep(seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is kept of looks at all trials, (looks, trials, ..): everything, but histograms added up over the trials."""
    return {name: values.sum(axis=1) if name == HISTOGRAMS else values for name, values in seen.items()}


def memory(models: Mapping[str, MLP], state: Any, iterations: int, every: int, trials: int) -> str:
    """What is kept of all looks takes, in words; nothing is computed.

    Args:
      models: a network of each activation.
      state: of one trial, without the activation's parameters.
      iterations: of the training.
      every: iterations between two looks.
      trials: of each activation.
    """
    count, size = len(looks(iterations, every)), 0
    for model in models.values():
        own = state._replace(params=params_of(model))
        seen = jax.eval_shape(look(model, 1.0), own)
        size += bytes_of(seen.pop(HISTOGRAMS), 2) + bytes_of(seen, trials)  # added up in 64 bits
    return f"gradients: {count:,} looks at {len(models) * trials:,} networks, {in_words(size * count)}"


def look(model: MLP, loss_scale: float) -> Callable[[Any], dict[str, jax.Array]]:
    """The function of a trial's state that looks at its gradients, for networks of the model's kind."""
    inputs, targets = xor()

    def of_trial(state: Any) -> dict[str, jax.Array]:
        dtype = state.loss.dtype
        x, t = jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype)
        found = attribute(
            with_params(model, state.params),
            x,
            loss=lambda y: loss_scale * jnp.mean((y - t) ** 2),
            edges=jnp.asarray(_EDGES, dtype),
            singular_values=True,
        )
        seen = found.decay._asdict() | found.units._asdict()
        if found.spectra is not None:
            seen["largest_singular_value"] = jnp.stack([values[0] for values in found.spectra.linear])
            seen["log_end_to_end"] = found.spectra.log_end_to_end[:, 0]
        return {name: seen[name] for name in (*_VARIABLES, HISTOGRAMS)}

    return of_trial


def variables(
    gradients: Mapping[str, Mapping[str, np.ndarray]], iterations: int, every: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data variables "gradient_..." of the records, and their coordinates; none if nobody looked."""
    if not every:
        return {}, {}
    data: dict[str, Any] = {
        f"gradient_{name}": (
            ("activation", "seed", "look", *dims),
            np.stack([np.moveaxis(seen[name], 0, 1) for seen in gradients.values()]),
            {"description": description},
        )
        for name, (dims, description) in _VARIABLES.items()
    }
    attributes: dict[str, Any] = {
        "description": "values z of the layer's nodes at the 4 points, all trials: below, 48 bins, above, NaN",
        "edges": _EDGES,
    }
    data["histogram"] = (
        ("activation", "look", "layer", "bin"),
        np.stack([seen[HISTOGRAMS] for seen in gradients.values()]),
        attributes,
    )
    affine_maps = next(iter(gradients.values()))["log_norm"].shape[-1]
    return data, {"look": looks(iterations, every), "affine_map": np.arange(1, affine_maps + 1)}


def table(records: xr.Dataset, label: Callable[[str], str]) -> Table | None:
    """The decay from the output to the first layer before and after training; None if nobody looked."""
    if "look" not in records.dims:
        return None
    return Table(
        title="Why the gradient vanishes [P, section 3.1]",
        columns=[
            *("activation", "iteration", "zero", "dL/dy^(1)", "decades", "linear", "activation part"),
            *(f"type {name}" if name.isdigit() else name for name in _CAUSES.values()),
            *("slopes >= 1", "saturated", "dead", "one sign", "not finite"),
        ],
        rows=[
            _cells(records.sel(activation=name).isel(look=i), label(str(name)))
            for name in records["activation"].values
            for i in (0, -1)
        ],
        note=(
            "zero: trials in which dL/dy^(1) is exactly 0. Of the others the medians: of the norm of dL/dy^(1), of "
            "log10 of its ratio to that of dL/dy^(out), and of the two parts of this. Then how many of all trials "
            "have which cause of the decay (undefined: no gradient at the output, or not finite); the share of "
            "slopes |dz/dy| >= 1 and < 0.01, of nodes with slope 0 at all points, of neurons whose weight gradients "
            "have one sign; and how many trials have a gradient that is not finite in some layer."
        ),
    )


def figures(records: xr.Dataset, label: Callable[[str], str]) -> dict[str, Figure]:
    """Where the gradient vanishes, layer by layer, and how the layers' values are distributed, before and after.

    Nothing if nobody looked.
    """
    if "look" not in records.dims:
        return {}
    from paramact_jax.figures import DepthCurve, gradient_against_depth, layer_histograms

    names = [str(name) for name in records["activation"].values]
    curves: dict[str, list[DepthCurve]] = {}
    histograms = {}
    for name in names:
        for i, when in ((0, "before training"), (-1, "after training")):
            seen = records.sel(activation=name).isel(look=i)
            quartiles = [_quantile(seen["gradient_log_norm"].values, q) / np.log(10) for q in (0.25, 0.5, 0.75)]
            low, middle, high = (np.where(np.isfinite(q), q, np.nan) for q in quartiles)
            zero = " (exactly 0 in layer 1)" if i == 0 and np.isneginf(quartiles[1][0]) else ""
            curves.setdefault(when, []).append(DepthCurve(label(name) + zero, middle, low, high))
            histograms[f"{label(name)}\n{when}"] = seen["histogram"].values
    return {
        "gradients": gradient_against_depth(
            records["affine_map"].values,
            curves,
            xlabel="layer (the last is the output)",
            ylabel=r"$\log_{10}\,\|\partial L/\partial y^{(l)}\|$, quartiles",
        ),
        "values": layer_histograms(_EDGES, histograms),
    }


def _cells(trials: xr.Dataset, label: str) -> list[str]:
    log_norm = trials["gradient_log_norm"].values.astype(np.float64)
    finite = np.isfinite(log_norm).all(axis=1)
    parts = (trials[f"gradient_{part}"].values[finite].sum(axis=1) for part in ("linear", "activation"))
    decades = [values / np.log(10) for values in ((log_norm[finite, 0] - log_norm[finite, -1]), *parts)]
    causes = trials["gradient_total_cause"].values
    shares = (trials[f"gradient_{part}"].mean() for part in ("slope_at_least_one", "saturated", "dead", "one_sign"))
    return [
        label,
        f"{int(trials['look']):,}",
        f"{int(np.isneginf(log_norm[:, 0]).sum()):,}",
        f"{np.exp(np.median(log_norm[finite, 0])):.1e}" if finite.any() else "",
        *(f"{np.median(values):.1f}" if finite.any() else "" for values in decades),
        *(f"{int((causes == cause).sum()):,}" for cause in _CAUSES),
        *(f"{float(share):.1%}" for share in shares),
        f"{int((trials['gradient_non_finite'] > 0).any('affine_map').sum()):,}",
    ]


def _quantile(values: np.ndarray, q: float) -> np.ndarray:
    """Of the first axis, one of the values; NaN is the largest, so that the median is NaN only if half of them are."""
    ordered = np.sort(values, axis=0)
    return ordered[int(q * (len(ordered) - 1))]
