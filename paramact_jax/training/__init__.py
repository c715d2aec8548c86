"""Training one trial as a pure function."""

from paramact_jax.training.gradient_descent import NOT_REACHED, Settings, State, final, gradient_descent, start
from paramact_jax.training.history import history_bytes, with_history

__all__ = [
    "NOT_REACHED",
    "Settings",
    "State",
    "final",
    "gradient_descent",
    "history_bytes",
    "start",
    "with_history",
]
