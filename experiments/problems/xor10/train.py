"""Train every trial of one activation, for every activation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from experiments.problems.xor10 import gradients
from experiments.problems.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from experiments.study.side_by_side import one_after_another
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import MLP, Params, forward, params_of, with_activation
from paramact_jax.sweeps import Plan, Progress, Training, long_sweep, sweep, trial_key
from paramact_jax.sweeps.devices import check_mesh
from paramact_jax.sweeps.kernels import target_of
from paramact_jax.training import Settings, final, gradient_descent, start

if TYPE_CHECKING:
    import xarray as xr

CHUNK = 1_000
"""Iterations between two looks at the progress."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training one activation gave; arrays have a leading axis of trials.

    Attributes:
      loss: final mean squared error.
      reached_at: updates made when the loss was first below the threshold, -1 if never.
      initial, learned: params.
      seconds: wall-clock time of the training alone.
      gradients: what was kept of looks at the gradients on the way, a leading axis of looks each, see `gradients.py`;
        empty if nobody looked.
    """

    loss: np.ndarray
    reached_at: np.ndarray
    initial: Params
    learned: Params
    seconds: float
    gradients: Mapping[str, np.ndarray]


def model(
    activation: str | Activation, trial: int | jax.Array, *, weight_std: Any, bias_std: Any, initial_a: Any = None
) -> MLP:
    """The network of [P, Fig. 6] as an ordinary Flax model, with the initial params of a trial.

    Args:
      activation: record, or name in the catalogue.
      trial: its seed, or its random key. Its initial weights are the same under every activation.
      weight_std: standard deviation of the normal initial weights.
      bias_std: standard deviation of the normal initial biases.
      initial_a: start value of a, if the activation has one; None: the record's.
    """
    record = catalogue.resolve(activation)
    is_key = isinstance(trial, jax.Array) and jnp.issubdtype(trial.dtype, jax.dtypes.prng_key)
    key = trial if is_key else trial_key(trial)

    def normal(std: Any) -> jax.nn.initializers.Initializer:
        return lambda key, shape, dtype=jnp.float32, out_sharding=None: std * jax.random.normal(key, shape, dtype)

    return MLP(
        2,
        [WIDTH] * HIDDEN_LAYERS,
        1,
        record,
        initial=start_values(record, initial_a),
        kernel_init=normal(weight_std),
        bias_init=normal(bias_std),
        param_dtype=jnp.result_type(float),
        rngs=nnx.Rngs(params=key),
    )


def initial_params(record: Activation, key: jax.Array, std: Mapping[str, Any], starts: Mapping[str, Any]) -> Params:
    """Initial params of a trial under an activation, all traced: those of `model`, in a fifth of the compile time.

    Flax draws the i-th array with the key fold_in(key, i). Here the same few operations draw each array in turn. All
    are drawn as long as the longest: the first numbers of a key do not depend on how many are drawn
    (`jax_threefry_partitionable`).

    Args:
      record: the activation.
      key: of the trial.
      std: see `settings_for`; with "output" for the weights of the output layer, if they have another.
      starts: start values of the activation's parameters.
    """

    def draw(array: tuple[jax.Array, jax.Array]) -> jax.Array:
        i, std = array
        return std * jax.random.normal(jax.random.fold_in(key, i), (WIDTH * WIDTH,), jnp.result_type(float))

    stds = [*[std["weight"], std["bias"]] * HIDDEN_LAYERS, std.get("output", std["weight"]), std["bias"]]
    drawn = jax.lax.map(draw, (jnp.arange(len(stds)), jnp.stack(stds)))  # not vmap: XLA would draw anew for each result
    kernels, biases = drawn[::2].reshape(-1, WIDTH, WIDTH), drawn[1::2, :WIDTH]
    out = {"kernel": drawn[-2, :WIDTH, None], "bias": biases[-1, :1]}
    hidden = {i: {"linear": {"kernel": kernels[i], "bias": biases[i]}} for i in range(HIDDEN_LAYERS)}
    return with_activation({"hidden": hidden, "out": out}, record, starts)


def settings_of(protocol: Protocol) -> Settings:
    """The protocol's numbers as the training takes them, traced."""
    return Settings(
        *(
            jnp.asarray(value, jnp.result_type(float))
            for value in (
                protocol.learning_rate,
                protocol.activation_learning_rate,
                LOSS_SCALE[protocol.loss],
                protocol.threshold,
            )
        )
    )


def training(record: Activation, *, looks: bool = False, loss_scale: float = 1.0) -> Training:
    """The training of one trial of an activation, to be swept; see `gradient_descent`.

    Its settings are those of `settings_for`. Its results are `loss`, `reached_at`, and the `initial` and `learned`
    params.

    Args:
      record: the activation.
      looks: whether gradients are observed on the way, see `gradients.py`.
      loss_scale: of the loss whose gradients are observed.
    """
    advance = gradient_descent(lambda params, inputs: forward(params, inputs, record), *xor())

    def init(key: jax.Array, std: Any, starts: Any) -> dict[str, Any]:
        params = initial_params(record, key, std, starts)
        return {"initial": params, "now": start(params)}

    def step(state: dict[str, Any], settings: Settings) -> dict[str, Any]:
        return state | {"now": advance(state["now"], settings, 1)}

    def summarise(state: dict[str, Any], settings: Settings) -> dict[str, Any]:
        end = final(state["now"], advance(state["now"], settings, 1))
        return {
            "loss": end.loss,
            "reached_at": end.reached_at,
            "initial": state["initial"],
            "learned": end.params,
        }

    look = gradients.look(model(record, trial_key(0), weight_std=1, bias_std=0), loss_scale) if looks else None
    return Training(init, step, summarise, None if look is None else lambda state: look(state["now"]))


def settings_for(protocol: Protocol, record: Activation) -> dict[str, Any]:
    """The numbers of the protocol that the training of an activation takes, traced."""
    starts = {**record.params, **start_values(record, protocol.initial_a)}
    return {
        "settings": settings_of(protocol),
        "std": {"weight": float(protocol.weight_std), "bias": float(protocol.bias_std)},
        "starts": {name: float(value) for name, value in starts.items()},
    }


def train(
    protocol: Protocol,
    *,
    chunk: int | None = None,
    gradients_every: int = 0,
    mesh: Mesh | None = None,
    on_compiled: Callable[[str, float], None] = lambda activation, seconds: None,
    on_progress: Callable[[str, Progress], None] = lambda activation, progress: None,
) -> dict[str, Trained]:
    """Train all trials of every activation of the protocol.

    Args:
      protocol: the conditions, checked here.
      chunk: iterations a compiled call; decides how often progress is reported, not the results. By default
        `CHUNK`, on an accelerator all.
      gradients_every: iterations between two looks at the gradients of all trials, beginning with the initial params
        and ending with the learned ones; 0: none.
      mesh: devices, by default all.
      on_compiled: called with the activation and the seconds its tracing and compilation took.
      on_progress: called with the activation after every chunk.

    Raises:
      ValueError: if the protocol's values are not usable, an activation is unknown, or none of them has the
        parameter that `initial_a` is for.
    """
    protocol.check()
    records = protocol.records()
    seeds = range(protocol.first_seed, protocol.first_seed + protocol.trials)
    if check_mesh(mesh).devices.flat[0].platform != "cpu":
        return _in_one_call(protocol, chunk, gradients_every, mesh, on_compiled, on_progress)

    def sweep_of(record: Activation) -> Callable[..., Trained]:
        def sweep(on_plan: Callable[[Plan], None], report: Callable[[Progress], None]) -> Trained:
            begin = time.perf_counter()

            def planned(plan: Plan) -> None:
                nonlocal begin
                on_plan(plan)
                begin = time.perf_counter()

            found = long_sweep(
                training(record, looks=bool(gradients_every), loss_scale=LOSS_SCALE[protocol.loss]),
                seeds,
                iterations=protocol.iterations,
                iterations_per_call=chunk or CHUNK,
                observe_every=gradients_every or None,
                mesh=mesh,
                on_plan=planned,
                on_progress=lambda done: report(dataclasses.replace(done, **_iterations(done, protocol.trials))),
                **settings_for(protocol, record),
            )
            return _trained(record, found, time.perf_counter() - begin)

        return sweep

    return one_after_another(
        {name: sweep_of(record) for name, record in records.items()}, on_compiled=on_compiled, on_progress=on_progress
    )


def together(protocol: Protocol, *, looks: bool = False) -> tuple[Training, dict[str, Any]]:
    """Returns the training of one trial of any activation of the protocol, and its settings.

    Its functions are those of `training`, with one parameter more, `function`, the name of the activation.

    Args:
      protocol: the conditions.
      looks: see `training`.
    """
    records = protocol.records()
    each = {
        name: training(record, looks=looks, loss_scale=LOSS_SCALE[protocol.loss]) for name, record in records.items()
    }
    own = {name: settings_for(protocol, record) for name, record in records.items()}

    def init(key: jax.Array, function: str, std: Any, starts: Any) -> dict[str, Any]:
        state: dict[str, Any] = each[function].init(key, std, starts[function])
        return state

    def step(state: dict[str, Any], function: str, settings: Settings) -> dict[str, Any]:
        after: dict[str, Any] = each[function].step(state, settings)
        return after

    def summarise(state: dict[str, Any], function: str, settings: Settings) -> dict[str, Any]:
        found: dict[str, Any] = each[function].summarise(state, settings)
        return found

    def observe(state: dict[str, Any], function: str) -> Any:
        look = each[function].observe
        return look(state) if look else {}

    shared = next(iter(own.values()))
    starts = {name: one["starts"] for name, one in own.items()}
    return Training(init, step, summarise, observe if looks else None), {**shared, "starts": starts}


def one_trial(protocol: Protocol) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """Returns the whole life of one trial, from its random key to its results, as a function for `sweep`; its settings.

    Swept over the axis "function", all trials of all activations are one jitted call.
    """
    functions, settings = together(protocol)

    def train_one(
        key: jax.Array, function: str, settings: Settings, std: Any, starts: Any, iterations: jax.Array
    ) -> dict[str, Any]:
        state = functions.init(key, function, std, starts)
        state = lax.fori_loop(0, iterations, lambda _, state: functions.step(state, function, settings), state)
        found: dict[str, Any] = functions.summarise(state, function, settings)
        return found

    return train_one, {**settings, "iterations": protocol.iterations}


def _in_one_call(
    protocol: Protocol,
    chunk: int | None,
    gradients_every: int,
    mesh: Mesh | None,
    on_compiled: Callable[[str, float], None],
    on_progress: Callable[[str, Progress], None],
) -> dict[str, Trained]:
    """All activations in one compiled program: an accelerator has room for all of them at once.

    The seconds of each are an equal share of all. To look at gradients on the way takes several calls; so does an
    accelerator for which there are no kernels, since a loop has to know its number of iterations there.
    """
    names = list(protocol.activations)
    begin = time.perf_counter()

    def planned(plan: Plan) -> None:
        nonlocal begin
        for name in names:
            on_compiled(name, (time.perf_counter() - begin) / len(names))
        begin = time.perf_counter()

    def advanced(progress: Progress) -> None:
        share = {field: getattr(progress, field) * protocol.iterations // progress.total for field in ("done", "found")}
        for name in names:
            on_progress(name, dataclasses.replace(progress, total=protocol.iterations, **share))

    seeds = range(protocol.first_seed, protocol.first_seed + protocol.trials)
    options: dict[str, Any] = {"mesh": mesh, "on_plan": planned, "on_progress": advanced}
    options["axes"] = {"function": names}  # "activation" is among what is seen on the way
    if gradients_every or chunk or target_of(check_mesh(mesh)) is None:
        functions, settings = together(protocol, looks=bool(gradients_every))
        options |= {"iterations": protocol.iterations, "iterations_per_call": chunk or protocol.iterations}
        found = long_sweep(functions, seeds, observe_every=gradients_every or None, **options, **settings)
    else:
        train_one, settings = one_trial(protocol)
        found = sweep(train_one, seeds, **options, **settings)
    seconds = (time.perf_counter() - begin) / len(names)
    return {name: _trained(record, found.sel(function=name), seconds) for name, record in protocol.records().items()}


def _iterations(progress: Progress, trials: int) -> dict[str, int]:
    """Of each trial, from iterations times trials."""
    return {name: getattr(progress, name) // trials for name in ("done", "total", "found")}


def _trained(record: Activation, found: xr.Dataset, seconds: float) -> Trained:
    like = jax.eval_shape(lambda: params_of(model(record, 0, weight_std=1.0, bias_std=0.0)))

    def params(name: str) -> Params:
        def values(path: Any, _: Any) -> np.ndarray:
            return found[jax.tree_util.keystr(path, simple=True, separator=".")].values

        result: Params = jax.tree_util.tree_map_with_path(values, {name: like})[name]
        return result

    seen = {str(name): np.moveaxis(x.values, 1, 0) for name, x in found.items() if "iteration" in x.dims}
    return Trained(
        loss=found["loss"].values,
        reached_at=found["reached_at"].values,
        initial=params("initial"),
        learned=params("learned"),
        seconds=seconds,
        gradients=gradients.keep(seen),
    )


def start_values(record: Activation, initial_a: Any) -> Mapping[str, Any]:
    """The start values that the protocol overrides: that of a, if there is an a."""
    return {"a": initial_a} if initial_a is not None and "a" in record.params else {}
