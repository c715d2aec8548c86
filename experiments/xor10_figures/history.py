"""Train one trial once more and note, every so many iterations, its loss and every factor of the chain rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax

from experiments.problems.xor10 import train
from experiments.problems.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from paramact_jax.activations import Activation
from paramact_jax.datasets import xor
from paramact_jax.gradients import layer_jacobians, parameter_gradients
from paramact_jax.networks import forward, params_of, with_params
from paramact_jax.sweeps import BLOCK, OverTrials
from paramact_jax.sweeps.forms import FORMS
from paramact_jax.sweeps.memory import bytes_of, in_words
from paramact_jax.training import Settings, State, gradient_descent, start

Observe = Callable[[State], dict[str, jax.Array]]

_RECORDS_A_CALL = 1_000

_VARIABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "loss": ((), "mean squared error over the 4 points"),
    "gradient_w11": ((), "dL/dw_11^(1) [P, eq. 13]"),
    "slope": (("layer", "sample", "node"), "diagonal of dz^(layer+1)/dy^(layer) [P, eq. 14, 15]"),
    "weight": (("layer", "from_node", "node"), "w_ij^(layer), transposed dy/dz [P, eq. 16]"),
    "output_weight": (("node",), "w_i^(out)"),
    "a": (("layer", "node"), "scale of the activation; NaN where it has none"),
    "b": (("layer", "node"), "shift of the activation; NaN where it has none"),
}


def choose_seed(records: xr.Dataset, activation: str = "ppns") -> int:
    """The converged trial whose first iteration below the threshold is nearest the median of all converged ones.

    Of two that are equally near, the one with the smaller seed.

    Raises:
      ValueError: if no trial converged.
    """
    trials = records.sel(activation=activation)
    converged = trials.where(trials["converged"], drop=True)
    if not converged.sizes["seed"]:
        raise ValueError(
            f"expected a trial of {activation} that converges, got none among {records.sizes['seed']}; "
            f"raise --trials or --iterations"
        )
    reached_at = converged["reached_at"].values
    return int(converged["seed"].values[np.abs(reached_at - np.median(reached_at)).argmin()])


def observer(record: Activation, protocol: Protocol) -> Observe:
    """What is noted of one trial's state; see `_VARIABLES`."""
    template = train.model(record, 0, weight_std=1.0, bias_std=0.0)
    inputs, targets = xor()
    scale = LOSS_SCALE[protocol.loss]

    def observe(state: State) -> dict[str, jax.Array]:
        dtype = state.loss.dtype
        jacobians = layer_jacobians(with_params(template, state.params), jnp.asarray(inputs, dtype))
        error = jacobians.output - jnp.asarray(targets, dtype)
        gradients = parameter_gradients(jacobians, 2 * scale * error / error.size)
        hidden = [state.params["hidden"][i] for i in range(HIDDEN_LAYERS)]
        own = {
            name: jnp.stack([layer["activation"][name] for layer in hidden])
            for name in ("a", "b")
            if name in record.params
        }
        return {
            "loss": jnp.mean(error**2),
            "gradient_w11": gradients[0].kernel[:, 0, 0].sum(),
            "slope": jnp.stack(jacobians.slopes),
            "weight": jnp.stack([layer["linear"]["kernel"] for layer in hidden]),
            "output_weight": state.params["out"]["kernel"][:, 0],
        } | own

    return observe


def memory(protocol: Protocol, every: int) -> str:
    """What the histories will take, in words. Nothing is computed."""
    numbers = 0
    for record in protocol.records().values():
        params = params_of(train.model(record, 0, weight_std=1.0, bias_std=0.0))
        numbers += bytes_of(jax.eval_shape(observer(record, protocol), start(params)), 1)
    records = protocol.iterations // every + 1
    on_device = numbers * min(_RECORDS_A_CALL, records) * BLOCK
    return (
        f"history: {records:,} records of {numbers / len(protocol.activations):,.0f} bytes for each of "
        f"{len(protocol.activations)} networks, {in_words(records * numbers)}; up to {in_words(on_device)} on the "
        f"device at a time"
    )


def retrain(
    protocol: Protocol, trained: Mapping[str, train.Trained], seed: int, every: int
) -> dict[str, dict[str, np.ndarray]]:
    """The trial's history under every activation of the protocol: variable -> array with a leading axis of records.

    Record i is of the state after i * every updates, i = 0 .. iterations // every. The trial begins as it did in the
    sweep, whose results are given.
    """
    settings = train.settings_of(protocol)
    wanted = protocol.iterations // every + 1
    calls = -(-wanted // _RECORDS_A_CALL)
    histories = {}
    for name, record in protocol.records().items():
        run = OverTrials(_noting(record, protocol, every, -(-wanted // calls)), form=FORMS["trials last"])
        initial = jax.tree.map(lambda x: x[[seed - protocol.first_seed]], trained[name].initial)
        state = run.place(jax.vmap(start)(initial))
        parts = []
        for _ in range(calls):
            state, observed = run(state, settings)
            parts.append(OverTrials.collect(observed, 1))
        histories[name] = {
            variable: np.concatenate([part[variable][0] for part in parts])[:wanted] for variable in parts[0]
        }
    return histories


def _noting(record: Activation, protocol: Protocol, every: int, records: int) -> Callable[[State, Settings], Any]:
    """Makes so many records and updates of one trial, inside one compiled loop, so that only what is noted is kept."""
    advance = gradient_descent(lambda params, inputs: forward(params, inputs, record), *xor())
    observe = observer(record, protocol)

    def noting(state: State, settings: Settings) -> Any:
        def step(state: State, _: None) -> Any:
            return advance(state, settings, jnp.int32(every)), observe(state)

        return lax.scan(step, state, length=records)

    return noting


def to_dataset(histories: Mapping[str, Mapping[str, np.ndarray]], *, seed: int, every: int) -> xr.Dataset:
    """Labelled histories; variables begin with "history_"."""
    loss = next(iter(histories.values()))["loss"]
    records = len(loss)
    sizes = {"layer": HIDDEN_LAYERS, "from_node": WIDTH, "node": WIDTH, "sample": 4}
    data: dict[str, Any] = {}
    for variable, (dims, description) in _VARIABLES.items():
        blank = np.full((records, *(sizes[dim] for dim in dims)), np.nan, loss.dtype)
        values = np.stack([history.get(variable, blank) for history in histories.values()])
        data[f"history_{variable}"] = (("activation", "iteration", *dims), values, {"description": description})
    return xr.Dataset(
        data,
        coords={
            "activation": list(histories),
            "iteration": np.arange(records) * every,
            **{dim: np.arange(1, size + 1) for dim, size in sizes.items()},
        },
        attrs={"history_seed": seed},
    )


def same_as_in_the_sweep(records: xr.Dataset) -> bool:
    """Whether the retrained networks ended bit for bit as they did in the sweep."""
    at_end = records.isel(iteration=-1)
    trial = records.sel(seed=records.attrs["history_seed"])
    return all(
        np.array_equal(at_end[f"history_{name}"].values, trial[f"learned_{name}"].values, equal_nan=True)
        for name in ("weight", "output_weight", "a", "b")
    )
