"""One place where a program applies an activation."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.activations.own_functions import find_steepest_slope
from paramact_jax.programs import likeness
from paramact_jax.programs.origins import Origin
from paramact_jax.programs.places import TRAINABLE, Place
from paramact_jax.programs.pointwise import UnevenError, pointwise
from paramact_jax.programs.program import Operation, run_equations

OF_INPUTS = "no learned parameter (nnx.Param, linen's params) comes before it"
"""Why an activation is left as it is if no parameter comes before it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """One place where a program applies an elementwise nonlinear function z = f(y).

    Attributes:
      operation: the last of its operations, which makes z.
      equations: its operations, in order, from one program.
      y: the variable that the function is applied to.
      held: other variables that the function reads, such as slopes and other parameters; they depend on no input.
      before: operations that compute the held variables from numbers; None: they depend on other values.
      function: name of the function.
      place: where it was made.
      origin: what y depends on.
      why: why it cannot be made trainable; empty: it can.
      recurrent: whether a step that is repeated on its own results applies it.
      multiplies: whether its value multiplies another array that depends on an input.
      scale: number that multiplies the input before, if this is an operation of its own; otherwise 1.
      layers: lengths of the scans around it that run over layers, the outermost first.
      layer_scans: values of `Operation.key` of the scans over layers.
      steps: lengths of all other scans around it.
    """

    operation: Operation
    equations: tuple[Any, ...]
    y: Any
    held: tuple[Any, ...]
    before: tuple[Any, ...] | None
    function: str
    place: Place
    origin: Origin
    why: str = ""
    recurrent: bool = False
    multiplies: bool = False
    scale: float = 1.0
    layers: tuple[int, ...] = ()
    layer_scans: tuple[Any, ...] = ()
    steps: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of y."""
        return tuple(self.y.aval.shape)

    @property
    def axis(self) -> int | None:
        """The axis of nodes or channels: the last axis with the largest number in `origin.axes`; None: all are 0."""
        nearest = max(self.origin.axes, default=0)
        return max((axis for axis, x in enumerate(self.origin.axes) if x and x == nearest), default=None)

    @property
    def is_activation(self) -> bool:
        """Whether it is an activation, even if it cannot be made trainable."""
        return self.why in ("", OF_INPUTS, TRAINABLE)

    @property
    def gate(self) -> bool:
        """Whether it is a gate of a recurrent step: a sigmoid that multiplies another array."""
        return self.recurrent and self.multiplies and self.function in ("sigmoid", "hard_sigmoid")

    def value(self, y: Any, *held: Any) -> Any:
        """Returns f(y), with the values that the function holds."""
        env = {self.y: y, **dict(zip(self.held, held, strict=True))}
        return run_equations(self.equations, env, self.equations[-1].outvars, None)[0]

    def steepest_slope(self) -> float | None:
        """Returns max |f'| on a grid; inf: no bound was found; None: it depends on values that f holds."""
        if (before := self.before) is None:
            return None

        def alone(y: Any) -> Any:
            return pointwise([*before, *self.equations], self.y, y)

        def slope(y: Any) -> Any:
            return jax.jvp(alone, (y,), (jnp.ones_like(y),))[1]

        def derivative(y: Any) -> Any:
            return likeness.values_of(slope, self.y.aval.dtype, np.asarray(y))

        try:
            with jax.ensure_compile_time_eval():  # the caller may be traced
                return find_steepest_slope(derivative)
        except UnevenError:
            return None
