"""Records in, matplotlib Figures out."""

from paramact_jax.figures.convergence import ConvergenceCurve, convergence

__all__ = ["ConvergenceCurve", "convergence"]
