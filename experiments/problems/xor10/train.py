"""Trains every trial of every activation."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from experiments.problems.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from experiments.problems.xor10.records import HISTOGRAMS, Trained, look_at
from experiments.study.options import seeds_of
from experiments.study.run_directory import within
from experiments.study.side_by_side import one_after_another
from paramact_jax.activations import Activation, catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import MLP, Params, forward, with_activation
from paramact_jax.sweeps import Plan, Progress, Training, long_sweep, sweep, trial_key
from paramact_jax.sweeps.devices import check_mesh
from paramact_jax.sweeps.kernels import target_of
from paramact_jax.training import Settings, final, gradient_descent, start

CHUNK = 1_000
"""Steps between two reports of the progress."""


def model(
    activation: str | Activation,
    trial: int | jax.Array,
    *,
    weight_std: Any = 1.0,
    bias_std: Any = 0.0,
    initial_a: Any = None,
    depth: int = HIDDEN_LAYERS,
    width: int = WIDTH,
) -> MLP:
    """Makes the network of [P, Fig. 6] as an ordinary Flax model, with the initial params of a trial.

    Args:
      activation: a record, or its name in the catalogue.
      trial: the seed or the random key of the trial. Initial weights are the same under every activation.
      weight_std: standard deviation of the normal initial weights.
      bias_std: standard deviation of the normal initial biases.
      initial_a: the start value of a, if the activation has an a; None: that of the record.
      depth: the number of hidden layers.
      width: nodes in each.
    """
    record = catalogue.resolve(activation)
    is_key = isinstance(trial, jax.Array) and jnp.issubdtype(trial.dtype, jax.dtypes.prng_key)
    key = trial if is_key else trial_key(trial)

    def normal(std: Any) -> jax.nn.initializers.Initializer:
        return lambda key, shape, dtype=jnp.float32, out_sharding=None: std * jax.random.normal(key, shape, dtype)

    return MLP(
        2,
        [width] * depth,
        1,
        record,
        initial=_start_values(record, initial_a),
        kernel_init=normal(weight_std),
        bias_init=normal(bias_std),
        param_dtype=jnp.result_type(float),
        rngs=nnx.Rngs(params=key),
    )


def initial_params(
    record: Activation,
    key: jax.Array,
    std: Mapping[str, Any],
    starts: Mapping[str, Any],
    *,
    depth: int = HIDDEN_LAYERS,
    width: int = WIDTH,
) -> Params:
    """Draws the initial params of a trial, all traced: the same as those of `model`, in a fifth of the compile time.

    Flax draws the i-th array with the key fold_in(key, i). Here the same few operations draw each array in turn. Each
    is drawn as long as the longest, since the first numbers of a key do not depend on how many are drawn
    (`jax_threefry_partitionable`).

    Args:
      record: the activation.
      key: the random key of the trial.
      std: see `settings_for`. An entry "output" is that of the weights of the output layer, if it differs.
      starts: start values of the activation's parameters.
      depth: the number of hidden layers.
      width: nodes in each.
    """
    longest = width * max(width, 2)

    def draw(array: tuple[jax.Array, jax.Array]) -> jax.Array:
        i, std = array
        return std * jax.random.normal(jax.random.fold_in(key, i), (longest,), jnp.result_type(float))

    stds = [*[std["weight"], std["bias"]] * depth, std.get("output", std["weight"]), std["bias"]]
    drawn = jax.lax.map(draw, (jnp.arange(len(stds)), jnp.stack(stds)))  # not vmap: XLA would draw anew for each result

    def layer(i: int) -> Params:
        inputs = 2 if i == 0 else width
        kernel = drawn[2 * i, : inputs * width].reshape(inputs, width)
        return {"linear": {"kernel": kernel, "bias": drawn[2 * i + 1, :width]}}

    out = {"kernel": drawn[-2, :width, None], "bias": drawn[-1, :1]}
    return with_activation({"hidden": {i: layer(i) for i in range(depth)}, "out": out}, record, starts)


def settings_of(protocol: Protocol) -> Settings:
    """Returns the numbers of the protocol as the training takes them, traced."""
    numbers = (protocol.learning_rate, protocol.activation_learning_rate, LOSS_SCALE[protocol.loss], protocol.threshold)
    return Settings(*(jnp.asarray(value, jnp.result_type(float)) for value in numbers))


def training(
    record: Activation,
    *,
    looks: bool = False,
    loss_scale: float = 1.0,
    depth: int = HIDDEN_LAYERS,
    width: int = WIDTH,
) -> Training:
    """Makes the training of one trial of an activation, to be swept; see `gradient_descent`.

    Its settings are those of `settings_for`. Its results are `loss`, `reached_at`, and the `initial` and `learned`
    params.

    Args:
      record: the activation.
      looks: whether gradients are observed, see `records.look_at`.
      loss_scale: the scale of the loss whose gradients are observed.
      depth: the number of hidden layers.
      width: nodes in each.
    """
    advance = gradient_descent(lambda params, inputs: forward(params, inputs, record), *xor())

    def init(key: jax.Array, std: Any, starts: Any) -> dict[str, Any]:
        params = initial_params(record, key, std, starts, depth=depth, width=width)
        return {"initial": params, "now": start(params)}

    def step(state: dict[str, Any], settings: Settings) -> dict[str, Any]:
        return state | {"now": advance(state["now"], settings, 1)}

    def summarise(state: dict[str, Any], settings: Settings) -> dict[str, Any]:
        end = final(state["now"], advance(state["now"], settings, 1))
        return {"loss": end.loss, "reached_at": end.reached_at, "initial": state["initial"], "learned": end.params}

    look = look_at(model(record, trial_key(0), depth=depth, width=width), loss_scale) if looks else None
    return Training(init, step, summarise, None if look is None else lambda state: look(state["now"]))


def settings_for(protocol: Protocol, record: Activation) -> dict[str, Any]:
    """Returns the numbers of the protocol that the training of an activation takes, traced."""
    starts = {**record.params, **_start_values(record, protocol.initial_a)}
    return {
        "settings": settings_of(protocol),
        "std": {"weight": float(protocol.weight_std), "bias": float(protocol.bias_std)},
        "starts": {name: float(value) for name, value in starts.items()},
    }


def together(protocol: Protocol, *, looks: bool = False) -> tuple[Training, dict[str, Any]]:
    """Returns the training of one trial of any activation of the protocol, and its settings.

    Its functions are those of `training`, with one parameter more, `function`, the name of the activation.
    """
    alone = {n: _of_one(dataclasses.replace(protocol, activations=(n,)), looks) for n in protocol.activations}
    each = {name: functions for name, (functions, _) in alone.items()}
    own = {name: settings for name, (_, settings) in alone.items()}

    def init(key: jax.Array, function: str, std: Any, starts: Any) -> Any:
        return each[function].init(key, std, starts[function])

    def step(state: Any, function: str, settings: Settings) -> Any:
        return each[function].step(state, settings)

    def summarise(state: Any, function: str, settings: Settings) -> Any:
        return each[function].summarise(state, settings)

    def observe(state: Any, function: str) -> Any:
        look = each[function].observe
        return look(state) if look else {}

    shared = next(iter(own.values())) | {"starts": {name: one["starts"] for name, one in own.items()}}
    return Training(init, step, summarise, observe if looks else None), shared


def _of_one(protocol: Protocol, looks: bool) -> tuple[Training, dict[str, Any]]:
    """Returns the training of the protocol's only activation, and its settings."""
    (record,) = protocol.records().values()
    sizes = {"depth": protocol.depth, "width": protocol.width}
    functions = training(record, looks=looks, loss_scale=LOSS_SCALE[protocol.loss], **sizes)
    return functions, settings_for(protocol, record)


def one_trial(protocol: Protocol) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns a function for `sweep` that trains one trial, from its random key to its results; and its settings.

    Swept over the axis "function", all trials of all activations are one jitted call.
    """
    functions, settings = together(protocol)

    def train_one(key: jax.Array, function: str, settings: Settings, std: Any, starts: Any, iterations: Any) -> Any:
        state = functions.init(key, function, std, starts)
        state = lax.fori_loop(0, iterations, lambda _, state: functions.step(state, function, settings), state)
        return functions.summarise(state, function, settings)

    return train_one, {**settings, "iterations": protocol.steps}


def train(
    protocol: Protocol,
    *,
    chunk: int | None = None,
    gradients_every: int = 0,
    mesh: Mesh | None = None,
    directory: Path | None = None,
    on_compiled: Callable[[str, float], None] = lambda activation, seconds: None,
    on_progress: Callable[[str, Progress], None] = lambda activation, progress: None,
) -> dict[str, Trained]:
    """Trains all trials of every activation of the protocol.

    A CPU trains one activation after the other. An accelerator trains all at once, in one compiled program; then the
    seconds of each activation are an equal share of the whole.

    Args:
      protocol: the conditions, checked here.
      chunk: steps in a compiled call. It decides how often progress is reported, not the results. By default `CHUNK`,
        on an accelerator all steps.
      gradients_every: steps between two observations of the gradients of all trials, from the initial to the learned
        params; 0: none.
      mesh: devices, by default all.
      directory: where to resume from after an interruption.
      on_compiled: called with the activation and the seconds that tracing and compilation took.
      on_progress: called with the activation after every chunk.

    Raises:
      ValueError: if the protocol's values are not usable.
    """
    protocol.check()
    names, alone, looks = protocol.activations, _one_at_a_time(mesh), bool(gradients_every)
    begin = time.perf_counter()

    def trained(
        names: tuple[str, ...], on_plan: Callable[[Plan], None], on_progress: Callable[[Progress], None]
    ) -> dict[str, Trained]:
        own = dataclasses.replace(protocol, activations=names)
        begin = time.perf_counter()

        def planned(plan: Plan) -> None:
            nonlocal begin
            on_plan(plan)
            begin = time.perf_counter()

        options: dict[str, Any] = {"mesh": mesh, "on_plan": planned, "on_progress": on_progress}
        options |= {"seeds": seeds_of(protocol)}
        options["directory"] = None if directory is None else within(directory, names[0] if alone else "together")
        if not alone:
            options["axes"] = {"function": names}  # "activation" is the name of an observation
        if alone or gradients_every or chunk or target_of(check_mesh(mesh)) is None:
            # an accelerator without kernels needs a loop that knows its number of steps
            functions, settings = _of_one(own, looks) if alone else together(own, looks=looks)
            options |= {"iterations": protocol.steps, "observe_every": gradients_every or None}
            options["iterations_per_call"] = chunk or (CHUNK if alone else protocol.steps)
            found = long_sweep(functions, **options, **settings)
        else:
            train_one, settings = one_trial(own)
            found = sweep(train_one, **options, **settings)
        if looks:
            found[HISTOGRAMS] = found[HISTOGRAMS].sum("seed", keep_attrs=True)
        seconds = (time.perf_counter() - begin) / len(names)
        return {name: Trained(found if alone else found.sel(function=name, drop=True), seconds) for name in names}

    if alone:
        by_name = one_after_another(
            {name: functools.partial(trained, (name,)) for name in names},
            on_compiled=on_compiled,
            on_progress=on_progress,
        )
        return {name: one[name] for name, one in by_name.items()}

    def all_compiled(plan: Plan) -> None:
        for name in names:
            on_compiled(name, (time.perf_counter() - begin) / len(names))

    def all_advanced(progress: Progress) -> None:
        for name in names:
            on_progress(name, progress)

    return trained(names, all_compiled, all_advanced)


def _one_at_a_time(mesh: Mesh | None) -> bool:
    return bool(check_mesh(mesh).devices.flat[0].platform == "cpu")


def _start_values(record: Activation, initial_a: Any) -> Mapping[str, Any]:
    """Returns the start values that the protocol overrides: that of a, if there is an a."""
    return {"a": initial_a} if initial_a is not None and "a" in record.params else {}
