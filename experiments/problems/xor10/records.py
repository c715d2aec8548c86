"""The labelled records of an XOR(10) run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from experiments.problems.xor10 import gradients
from experiments.problems.xor10.protocol import HIDDEN_LAYERS, WIDTH, Protocol
from experiments.problems.xor10.train import Trained
from paramact_jax.networks import Params

_LINEAR = {  # name in the records: dims within a layer, name in Flax
    "weight": (("from_node", "node"), "kernel"),
    "bias": (("node",), "bias"),
}
_ATTRIBUTES = {
    "final_loss": "mean squared error over the 4 points after the last update",
    "converged": "final_loss < threshold",
    "reached_at": "updates made when the loss was first below the threshold; -1: never",
    "non_finite": "the final loss or a learned parameter is not finite",
    "weight": "of hidden layer `layer`, from a node of the layer before to a node of it",
    "bias": "of a node",
    "output_weight": "from a node of the last hidden layer to the output",
    "output_bias": "of the output",
}


def to_dataset(protocol: Protocol, trained: Mapping[str, Trained], *, gradients_every: int = 0) -> xr.Dataset:
    """One row per activation and seed: outcome, initial and learned params, and the gradients if somebody looked."""
    outcome = {
        "final_loss": _stack(trained, lambda t: t.loss),
        "converged": _stack(trained, lambda t: t.loss < protocol.threshold),
        "reached_at": _stack(trained, lambda t: t.reached_at),
        "non_finite": _stack(trained, lambda t: ~(np.isfinite(t.loss) & _all_finite(t.learned))),
    }
    data: dict[str, Any] = {
        name: (("activation", "seed"), values, {"description": _ATTRIBUTES[name]}) for name, values in outcome.items()
    }
    for when, params in (("initial", lambda t: t.initial), ("learned", lambda t: t.learned)):
        for name, (dims, values) in _parameters(trained, params).items():
            what = _ATTRIBUTES.get(name, "of the activation of a node; NaN where the activation has none")
            data[f"{when}_{name}"] = (dims, values, {"description": f"{when} {name}, {what}"})
    seen, where_seen = gradients.variables(
        {name: t.gradients for name, t in trained.items()}, protocol.iterations, gradients_every
    )
    return xr.Dataset(
        data | seen,
        coords=where_seen
        | {
            "activation": list(trained),
            "seed": np.arange(protocol.trials, dtype=np.int64) + protocol.first_seed,
            "layer": np.arange(1, HIDDEN_LAYERS + 1),
            "from_node": np.arange(1, WIDTH + 1),
            "node": np.arange(1, WIDTH + 1),
        },
        attrs={
            "description": "XOR(10): trials of [P, section 4.1]",
            "threshold": protocol.threshold,
            "activation_parameters": _activation_parameters(trained),
        },
    )


def params_of_trial(records: xr.Dataset, activation: str, seed: int, *, when: str = "learned") -> Params:
    """The `when` ("initial" or "learned") params of one trial as the Flax model takes them (`networks.with_params`)."""
    trial = records.sel(activation=activation, seed=seed)
    # Learned values may be NaN for another reason, a trial that diverged; initial ones are only where there are none.
    learned = [n for n in records.attrs["activation_parameters"] if not np.isnan(trial[f"initial_{n}"]).all()]

    def layer(i: int) -> Params:
        linear = {leaf: trial[f"{when}_{name}"].values[i] for name, (_, leaf) in _LINEAR.items()}
        own = {name: trial[f"{when}_{name}"].values[i] for name in learned}
        return {"linear": linear} | ({"activation": own} if own else {})

    hidden = {i: layer(i) for i in range(HIDDEN_LAYERS)}
    out = {
        "kernel": trial[f"{when}_output_weight"].values[:, None],
        "bias": trial[f"{when}_output_bias"].values[None],
    }
    return {"hidden": hidden, "out": out}


def _parameters(
    trained: Mapping[str, Trained], params: Callable[[Trained], Params]
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    def hidden(module: str, leaf: str) -> Callable[[Trained], np.ndarray]:
        def of(t: Trained) -> np.ndarray:
            layers = params(t)["hidden"]
            blank = np.full_like(layers[0]["linear"]["bias"], np.nan)
            return np.stack([layers[i].get(module, {}).get(leaf, blank) for i in range(HIDDEN_LAYERS)], axis=1)

        return of

    paths = {name: (dims, ("linear", leaf)) for name, (dims, leaf) in _LINEAR.items()}
    paths |= {name: (("node",), ("activation", name)) for name in _activation_parameters(trained)}
    result: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        name: (("activation", "seed", "layer", *dims), _stack(trained, hidden(*path)))
        for name, (dims, path) in paths.items()
    }
    result["output_weight"] = (
        ("activation", "seed", "node"),
        _stack(trained, lambda t: params(t)["out"]["kernel"][:, :, 0]),
    )
    result["output_bias"] = (("activation", "seed"), _stack(trained, lambda t: params(t)["out"]["bias"][:, 0]))
    return result


def _activation_parameters(trained: Mapping[str, Trained]) -> list[str]:
    """The activations' parameters; a and b are always among them, so that every run has the same core of variables."""
    own = (t.initial["hidden"][0].get("activation", {}) for t in trained.values())
    return sorted({"a", "b"}.union(*own))


def _stack(trained: Mapping[str, Trained], of: Callable[[Trained], np.ndarray]) -> np.ndarray:
    return np.stack([of(t) for t in trained.values()])


def _all_finite(params: Params) -> np.ndarray:
    leaves = [np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in jax.tree.leaves(params)]
    return np.logical_and.reduce(leaves)
