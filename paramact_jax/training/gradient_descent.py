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
    """A network's outputs (points, out_features) from params and inputs."""

    def __call__(self, params: Params, inputs: jax.Array) -> jax.Array:
        """Outputs of the network."""
        ...


Advance = Callable[[State, Settings, ArrayLike], State]
Rates = Callable[[Params, Settings], Params]
"""The learning rate of every parameter, a tree like that of the params."""


def rates_of_groups(params: Params, settings: Settings) -> Params:
    """Gives a and b the learning rate of activations, all other parameters the other."""
    own = {ACTIVATION: settings.activation_learning_rate}
    return jax.tree.map(lambda label: own.get(label, settings.learning_rate), parameter_labels(params))


def start(params: Params) -> State:
    """The state of one trial before its first update; its loss is not known yet and reads NaN."""
    dtype = jax.tree.leaves(params)[0].dtype
    return State(params, jnp.int32(0), jnp.asarray(jnp.nan, dtype), jnp.int32(NOT_REACHED))


def final(state: State, one_step_later: State) -> State:
    """`state` with the loss of its own params, which one more update measures; its params stay."""
    return state._replace(loss=one_step_later.loss, reached_at=one_step_later.reached_at)


def gradient_descent(
    network: Network,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    point_by_point: bool = False,
    rates: Rates = rates_of_groups,
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
      point_by_point: whether there is an update after every point.
      rates: the learning rates rho; they may be traced.

    Returns:
      A pure function of one trial, which computes in the params' dtype.

    Raises:
      ValueError: if inputs and targets are not two axes each, with as many points.
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
        if isinstance(steps, int) and steps == 1:  # needs no loop
            return iterate(state, settings)
        return lax.fori_loop(0, steps, lambda _, state: iterate(state, settings), state)

    return advance
