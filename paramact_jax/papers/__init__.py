"""Published rows as frozen, self-checking records. Standard library only."""

from paramact_jax.papers import ko2021
from paramact_jax.papers.record import Citation, ConvergenceRow, NodePoint

__all__ = ["Citation", "ConvergenceRow", "NodePoint", "ko2021"]
