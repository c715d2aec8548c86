"""What is kept of all trials: outcomes, params, and what is observed of the gradients during training."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.problems.xor10.protocol import Protocol
from paramact_jax.datasets import xor
from paramact_jax.gradients import attribute
from paramact_jax.networks import MLP, Params, with_params

_OUTCOMES = {
    "final_loss": "mean squared error over the 4 points after the last update",
    "converged": "final_loss < threshold",
    "reached_at": "updates made when the loss was first below the threshold; -1: never",
    "non_finite": "the final loss or a learned parameter is not finite",
}
_PARAMS = {
    "weight": "of hidden layer `layer`, from a node of the layer before to a node of it",
    "bias": "of a node",
    "output_weight": "from a node of the last hidden layer to the output",
    "output_bias": "of the output",
}
_OWN = "of the activation of a node; NaN where the activation has none"
_AFFINE, _HIDDEN = ("affine_map",), ("layer",)
_SEEN: dict[str, tuple[tuple[str, ...], str]] = {
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
EDGES = np.linspace(-6, 6, 49)
"""Edges of the histograms of the hidden layers' values: the ranges of all seven functions, in quarters."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """The results of training one activation.

    Attributes:
      found: what the sweep returned: results of a training, and what was observed of the gradients, see `look_at`. Of
        the histograms only the sum over the seeds is kept.
      seconds: the wall-clock time of the training alone.
    """

    found: xr.Dataset
    seconds: float

    @property
    def loss(self) -> np.ndarray:
        """Returns the final mean squared error of each trial."""
        return self.found["loss"].values

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Returns what was observed of each trial, (looks, trials, ..); empty if nothing was observed."""
        seen = {str(name): x for name, x in self.found.items() if {"iteration", "seed"} <= set(x.dims)}
        return {name: np.moveaxis(x.values, 1, 0) for name, x in seen.items()}


def look_at(model: MLP, loss_scale: float) -> Callable[[Any], dict[str, jax.Array]]:
    """Makes the function of a trial's state that observes its gradients, for networks like the model."""
    inputs, targets = xor()

    def look(state: Any) -> dict[str, jax.Array]:
        dtype = state.loss.dtype
        x, t = jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype)
        found = attribute(
            with_params(model, state.params),
            x,
            loss=lambda y: loss_scale * jnp.mean((y - t) ** 2),
            edges=jnp.asarray(EDGES, dtype),
            singular_values=True,
        )
        seen = found.decay._asdict() | found.units._asdict()
        if found.spectra is not None:
            seen["largest_singular_value"] = jnp.stack([values[0] for values in found.spectra.linear])
            seen["log_end_to_end"] = found.spectra.log_end_to_end[:, 0]
        return {name: seen[name] for name in (*_SEEN, HISTOGRAMS)}

    return look


def to_dataset(protocol: Protocol, trained: Mapping[str, Trained]) -> xr.Dataset:
    """Makes records by activation and seed: outcome, initial and learned params, and the gradients if observed."""
    found = [one.found for one in trained.values()]
    first, inputs, width = found[0], max(2, protocol.width), protocol.width
    own = [re.fullmatch(r"initial\.hidden\.0\.activation\.(\w+)", str(name)) for one in found for name in one]
    parameters = sorted({"a", "b", *(name[1] for name in own if name)})  # a and b are variables of every run
    data: dict[str, Any] = {}

    def put(name: str, dims: tuple[str, ...], values: Iterable[Any], description: str) -> None:
        data[name] = (("activation", *dims), np.stack(list(values)), {"description": description})

    def hidden(one: xr.Dataset, when: str, leaf: str, *shape: int) -> np.ndarray:
        """Stacks the values of all layers, NaN where a layer has none."""
        filled = np.full((one.sizes["seed"], protocol.depth, *shape), np.nan, one["loss"].dtype)
        for i in range(protocol.depth):
            if (name := f"{when}.hidden.{i}.{leaf}") in one:
                values = one[name].values
                filled[:, i][tuple(map(slice, values.shape))] = values  # the first layer has 2 inputs
        return filled

    of_layer = ("seed", "layer")
    losses = [one["loss"].values for one in found]
    put("final_loss", ("seed",), losses, _OUTCOMES["final_loss"])
    put("converged", ("seed",), [loss < protocol.threshold for loss in losses], _OUTCOMES["converged"])
    put("reached_at", ("seed",), [one["reached_at"] for one in found], _OUTCOMES["reached_at"])
    put("non_finite", ("seed",), [~np.isfinite(loss) for loss in losses], _OUTCOMES["non_finite"])
    for when in ("initial", "learned"):
        said = {name: f"{when} {name}, {_PARAMS.get(name, _OWN)}" for name in (*_PARAMS, *parameters)}
        kernels = [hidden(one, when, "linear.kernel", inputs, width) for one in found]
        put(f"{when}_weight", (*of_layer, "from_node", "node"), kernels, said["weight"])
        for name in ("bias", *parameters):
            leaf = "linear.bias" if name == "bias" else f"activation.{name}"
            put(f"{when}_{name}", (*of_layer, "node"), [hidden(one, when, leaf, width) for one in found], said[name])
        last = {leaf: [one[f"{when}.out.{leaf}"].values[..., 0] for one in found] for leaf in ("kernel", "bias")}
        put(f"{when}_output_weight", ("seed", "node"), last["kernel"], said["output_weight"])
        put(f"{when}_output_bias", ("seed",), last["bias"], said["output_bias"])
    for name in (*_PARAMS, *parameters):  # initial params are NaN where there are none
        broken = ~np.isfinite(data[f"learned_{name}"][1]) & ~np.isnan(data[f"initial_{name}"][1])
        data["non_finite"][1][...] |= broken.any(axis=tuple(range(2, broken.ndim)))
    coords: dict[str, Any] = {"activation": list(trained), "seed": first["seed"].values}
    sizes = {"layer": protocol.depth, "from_node": inputs, "node": width}
    if HISTOGRAMS in first:
        for name, (dims, description) in _SEEN.items():
            put(f"gradient_{name}", ("seed", "look", *dims), [one[name] for one in found], description)
        bins = "values z of the layer's nodes at the 4 points, all trials: below, 48 bins, above, NaN"
        put("histogram", ("look", "layer", "bin"), [one[HISTOGRAMS] for one in found], bins)
        data["histogram"][2]["edges"] = EDGES
        coords["look"] = first["iteration"].values
        sizes["affine_map"] = protocol.depth + 1
    coords |= {name: np.arange(1, size + 1) for name, size in sizes.items()}
    about = {"description": "XOR(10): trials of [P, section 4.1]", "threshold": protocol.threshold}
    return xr.Dataset(data, coords=coords, attrs=about | {"activation_parameters": parameters})


def params_of_trial(records: xr.Dataset, activation: str, seed: int, *, when: str = "learned") -> Params:
    """Returns the "initial" or "learned" params of one trial as the Flax model takes them (`networks.with_params`)."""
    trial = records.sel(activation=activation, seed=seed)
    # Learned values are also NaN if a trial diverged. Initial values are NaN only where there is no parameter.
    learned = [n for n in records.attrs["activation_parameters"] if not np.isnan(trial[f"initial_{n}"]).all()]

    def layer(i: int) -> Params:
        at = trial.isel(layer=i, from_node=slice(2 if i == 0 else trial.sizes["node"]))
        linear = {"kernel": at[f"{when}_weight"].values, "bias": at[f"{when}_bias"].values}
        own = {name: at[f"{when}_{name}"].values for name in learned}
        return {"linear": linear} | ({"activation": own} if own else {})

    hidden = {i: layer(i) for i in range(records.sizes["layer"])}
    out = {
        "kernel": trial[f"{when}_output_weight"].values[:, None],
        "bias": trial[f"{when}_output_bias"].values[None],
    }
    return {"hidden": hidden, "out": out}
