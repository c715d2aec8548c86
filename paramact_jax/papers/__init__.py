"""Published rows as frozen, self-checking records. Standard library only."""

from paramact_jax.papers import ko2021
from paramact_jax.papers.record import Citation, ConvergenceRow

__all__ = ["Citation", "ConvergenceRow", "ko2021"]
