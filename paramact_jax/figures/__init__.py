"""Records in, matplotlib Figures out."""

from paramact_jax.figures.convergence import ConvergenceCurve, convergence
from paramact_jax.figures.gallery import gallery
from paramact_jax.figures.search import GridMap, Ranking, likelihood_search

__all__ = ["ConvergenceCurve", "GridMap", "Ranking", "convergence", "gallery", "likelihood_search"]
