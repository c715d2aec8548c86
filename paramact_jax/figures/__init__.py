"""Records in, matplotlib Figures out."""

from paramact_jax.figures.convergence import ConvergenceCurve, convergence
from paramact_jax.figures.gallery import gallery

__all__ = ["ConvergenceCurve", "convergence", "gallery"]
