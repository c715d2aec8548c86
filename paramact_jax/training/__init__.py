"""Training one trial as a pure function."""

from paramact_jax.training.gradient_descent import NOT_REACHED, Settings, State, final, gradient_descent, start

__all__ = ["NOT_REACHED", "Settings", "State", "final", "gradient_descent", "start"]
