"""Gradient descent on a squared error as a pure function of one trial's state [P, eq. 7-12]."""

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
"""The value of `State.reached_at` while the loss has not been below the threshold."""


class Settings(NamedTuple):
    """The settings of one trial. All are traced, so other values need no new compilation.

    Attributes:
      learning_rate: rate of W and w0, rho_1 in [P, eq. 10].
      activation_learning_rate: rate of a and b, rho_2 = rho_3 in [P, eq. 11-12].
      loss_scale: factor of the loss: the gradient is that of loss_scale * mean squared error of an update's points.
      threshold: the mean squared error below which a trial counts as converged.
    """

    learning_rate: ArrayLike
    activation_learning_rate: ArrayLike
    loss_scale: ArrayLike
    threshold: ArrayLike


class State(NamedTuple):
    """The state of one trial.

    Attributes:
      params: params of the network.
      iteration: int32, number of iterations made: updates, or passes over the points.
      loss: mean squared error of the params before the last iteration, where the gradient is computed. See `final`.
      reached_at: int32, number of iterations made when the loss was first below the threshold, NOT_REACHED before.
    """

    params: Params
    iteration: jax.Array
    loss: jax.Array
    reached_at: jax.Array


class Network(Protocol):
    """A network: maps params and inputs to outputs (points, out_features)."""

    def __call__(self, params: Params, inputs: jax.Array) -> jax.Array:
        """Returns the outputs of the network."""
        ...


Advance = Callable[[State, Settings, ArrayLike], State]
Rates = Callable[[Params, Settings], Params]
"""Maps params and settings to the learning rate of every parameter, a tree like params."""


def rates_of_groups(params: Params, settings: Settings) -> Params:
    """Returns the learning rate of every parameter: that of activations for a and b, the other for the rest."""
    own = {ACTIVATION: settings.activation_learning_rate}
    return jax.tree.map(lambda label: own.get(label, settings.learning_rate), parameter_labels(params))


def start(params: Params) -> State:
    """Returns the state of one trial before its first update; its loss is not yet known and is NaN."""
    dtype = jax.tree.leaves(params)[0].dtype
    return State(params, jnp.int32(0), jnp.asarray(jnp.nan, dtype), jnp.int32(NOT_REACHED))


def final(state: State, one_step_later: State) -> State:
    """Returns `state` with the loss of its own params, and `reached_at`, from the state one iteration later."""
    return state._replace(loss=one_step_later.loss, reached_at=one_step_later.reached_at)


def gradient_descent(
    network: Network,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    point_by_point: bool = False,
    rates: Rates = rates_of_groups,
) -> Advance:
    """Returns a function `advance(state, settings, steps)` that makes `steps` iterations of one trial.

    One update is theta <- theta - rho dL/dtheta for every parameter at once. L is loss_scale * mean squared error over
    the update's points and all outputs; `jax.grad` gives the gradients. An iteration is one update on all points or, if
    `point_by_point`, a pass over the points in order with an update after each. `steps` is traced. The loss on all
    points is computed in every iteration, so `reached_at` is exact.

    Args:
      network: maps params and inputs to outputs.
      inputs: (points, in_features).
      targets: (points, out_features).
      point_by_point: whether to update after every point.
      rates: function of params and settings that returns the learning rates rho; they may be traced.

    Returns:
      A pure function of one trial; it computes in the params' dtype.

    Raises:
      ValueError: if inputs and targets do not have two axes each and the same number of points.
    """
    if np.ndim(inputs) != 2 or np.ndim(targets) != 2 or len(inputs) != len(targets):
        raise ValueError(
            f"expected inputs (points, in_features) and targets (points, out_features), got shapes "
            f"{np.shape(inputs)} and {np.shape(targets)}"
        )

    def squared_error(params: Params, points: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.mean((network(params, points[0]) - points[1]) ** 2)

    def update(params: Params, settings: Settings, points: tuple[jax.Array, jax.Array]) -> tuple[Params, jax.Array]:
        def objective(params: Params) -> tuple[jax.Array, jax.Array]:
            error = squared_error(params, points)
            return jnp.asarray(settings.loss_scale * error), error

        gradient, loss = jax.grad(objective, has_aux=True)(params)
        return jax.tree.map(lambda p, rate, g: p - rate * g, params, rates(params, settings), gradient), loss

    def update_after_each(
        params: Params, settings: Settings, points: tuple[jax.Array, jax.Array]
    ) -> tuple[Params, jax.Array]:
        def one(i: jax.Array, params: Params) -> Params:
            point = lax.dynamic_slice_in_dim(points[0], i, 1), lax.dynamic_slice_in_dim(points[1], i, 1)
            return update(params, settings, point)[0]

        return lax.fori_loop(0, len(inputs), one, params), squared_error(params, points)

    def iterate(state: State, settings: Settings) -> State:
        dtype = state.loss.dtype
        points = jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype)
        settings = Settings(*(jnp.asarray(value, dtype) for value in settings))
        params, loss = (update_after_each if point_by_point else update)(state.params, settings, points)
        below = (state.reached_at == NOT_REACHED) & (loss < settings.threshold)
        reached_at = jnp.where(below, state.iteration, state.reached_at)
        return State(params, state.iteration + 1, loss, reached_at)

    def advance(state: State, settings: Settings, steps: ArrayLike) -> State:
        if isinstance(steps, int) and steps == 1:  # no loop is needed
            return iterate(state, settings)
        return lax.fori_loop(0, steps, lambda _, state: iterate(state, settings), state)

    return advance
