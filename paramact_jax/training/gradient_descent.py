"""Gradient descent on a squared error, as a pure function of one trial's state [P, eq. 7-12]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from paramact_jax.layers import ACTIVATION, parameter_labels
from paramact_jax.networks import Params

NOT_REACHED = -1
"""`State.reached_at` of a trial whose loss has not been below the threshold yet."""


class Settings(NamedTuple):
    """What one trial is trained with. Every entry is traced: another value never recompiles.

    Attributes:
      learning_rate: of W and w0, rho_1 in [P, eq. 10].
      activation_learning_rate: of a and b, rho_2 = rho_3 in [P, eq. 11-12].
      loss_scale: the gradient is that of loss_scale times the mean squared error of an update's points.
      threshold: the mean squared error below which a trial counts as converged.
    """

    learning_rate: ArrayLike
    activation_learning_rate: ArrayLike
    loss_scale: ArrayLike
    threshold: ArrayLike


class State(NamedTuple):
    """Where one trial stands.

    Attributes:
      params: params of the network.
      iteration: int32, iterations made so far: updates, or passes over the points.
      loss: mean squared error before the last iteration: the full gradient has it for free. See `final`.
      reached_at: int32, iterations made when the loss was first below the threshold, NOT_REACHED before.
    """

    params: Params
    iteration: jax.Array
    loss: jax.Array
    reached_at: jax.Array


class Network(Protocol):
    """A network's outputs (points, out_features[, trials]) from params with or without a last axis of trials."""

    def __call__(self, params: Params, inputs: jax.Array) -> jax.Array:
        """Outputs of the network."""
        ...


Advance = Callable[[State, Settings, ArrayLike], State]


def start(params: Params) -> State:
    """The state of one trial before its first update; its loss is not known yet and reads NaN."""
    dtype = jax.tree.leaves(params)[0].dtype
    return State(params, jnp.int32(0), jnp.asarray(jnp.nan, dtype), jnp.int32(NOT_REACHED))


def final(state: State, one_step_later: State) -> State:
    """`state` with the loss of its own params, which one more update measures; its params stay."""
    return state._replace(loss=one_step_later.loss, reached_at=one_step_later.reached_at)


def gradient_descent(
    network: Network, inputs: np.ndarray, targets: np.ndarray, *, trials_last: bool, point_by_point: bool = False
) -> Advance:
    """The function `advance(state, settings, steps)` that makes `steps` iterations of one trial.

    One update is theta <- theta - rho dL/dtheta for every parameter at once, L = loss_scale * mean squared error over
    the update's points and all outputs, gradients by `jax.grad`. An iteration is one update on all points; or, point
    by point, a pass over them in their order with an update after each. `steps` is traced. The loss of all points is
    watched before every iteration, so `reached_at` is exact.

    Args:
      network: maps params and inputs to outputs.
      inputs: (points, in_features).
      targets: (points, out_features).
      trials_last: how `jax.vmap` of `advance` over trials is computed: with the trials on the last axis of
        every array (fast for small networks), or the usual way, with batched matrix products (fast for wide ones).
        The mathematics is the same; rounding differs.
      point_by_point: whether there is an update after every point.

    Returns:
      A pure function, to be vmapped over state and settings, not over steps. It computes in the params' dtype.

    Raises:
      ValueError: if inputs and targets are not two axes each, with as many points.
    """
    if np.ndim(inputs) != 2 or np.ndim(targets) != 2 or len(inputs) != len(targets):
        raise ValueError(
            f"expected inputs (points, in_features) and targets (points, out_features), got shapes "
            f"{np.shape(inputs)} and {np.shape(targets)}"
        )

    def advance_all(state: State, settings: Settings, steps: ArrayLike) -> State:
        return _advance(network, jnp.asarray(inputs), jnp.asarray(targets), state, settings, steps, point_by_point)

    if not trials_last:
        return advance_all

    advance = jax.custom_batching.custom_vmap(advance_all)

    @advance.def_vmap
    def _advance_with_trials_last(
        trials: int, batched: tuple[State, Settings, bool], state: State, settings: Settings, steps: ArrayLike
    ) -> tuple[State, State]:
        def to_last(x: ArrayLike, is_batched: bool) -> jax.Array:
            x = jnp.asarray(x)
            return jnp.moveaxis(x, 0, -1) if is_batched else jnp.broadcast_to(x[..., None], (*x.shape, trials))

        if batched[2]:
            raise ValueError("expected one number of steps for all trials, got one for each; vmap with in_axes=None")
        last = jax.tree.map(to_last, (state, settings), (batched[0], batched[1]))
        state, settings = last
        moved = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), advance_all(state, settings, steps))
        return moved, jax.tree.map(lambda _: True, moved)

    return advance


def _advance(
    network: Network,
    inputs: jax.Array,
    targets: jax.Array,
    state: State,
    settings: Settings,
    steps: ArrayLike,
    point_by_point: bool,
) -> State:
    """`steps` iterations; every array of state and settings may carry a last axis of trials."""
    dtype = state.loss.dtype
    inputs, targets = inputs.astype(dtype), targets.astype(dtype)
    settings = Settings(*(jnp.asarray(value, dtype) for value in settings))
    labels = parameter_labels(state.params)
    rates = {ACTIVATION: settings.activation_learning_rate}

    def squared_error(params: Params, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        outputs = network(params, inputs)
        return jnp.mean((outputs - _align(targets, outputs)) ** 2, axis=(0, 1))

    def objective(params: Params, inputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        error = squared_error(params, inputs, targets)
        return jnp.sum(settings.loss_scale * error), error  # trials are independent: one gradient of their sum

    def update(params: Params, inputs: jax.Array, targets: jax.Array) -> tuple[Params, jax.Array]:
        gradient, loss = jax.grad(objective, has_aux=True)(params, inputs, targets)
        params = jax.tree.map(
            lambda label, p, g: p - _trailing(rates.get(label, settings.learning_rate), p) * g,
            labels,
            params,
            gradient,
        )
        return params, loss

    def update_after_each(params: Params) -> tuple[Params, jax.Array]:
        def one(i: jax.Array, params: Params) -> Params:
            return update(params, *(lax.dynamic_slice_in_dim(x, i, 1) for x in (inputs, targets)))[0]

        return lax.fori_loop(0, len(inputs), one, params), squared_error(params, inputs, targets)

    def iterate(_: jax.Array, state: State) -> State:
        params, loss = update_after_each(state.params) if point_by_point else update(state.params, inputs, targets)
        below = (state.reached_at == NOT_REACHED) & (loss < settings.threshold)
        reached_at = jnp.where(below, state.iteration, state.reached_at)
        return State(params, state.iteration + 1, loss, reached_at)

    return lax.fori_loop(0, steps, iterate, state)


def _align(x: jax.Array, like: jax.Array) -> jax.Array:
    """With axes of size 1 appended to x, to the rank of `like`."""
    return x.reshape(x.shape + (1,) * (like.ndim - x.ndim))


def _trailing(x: ArrayLike, like: jax.Array) -> jax.Array:
    """With axes of size 1 in front of x's, to the rank of `like`: a value per trial beside arrays of all trials."""
    x = jnp.asarray(x)
    return x.reshape((1,) * (like.ndim - x.ndim) + x.shape)
