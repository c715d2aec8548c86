"""Records in, matplotlib Figures out."""

from paramact_jax.figures.convergence import ConvergenceCurve, convergence
from paramact_jax.figures.factors import FactorHistory, factor_panels
from paramact_jax.figures.gallery import gallery
from paramact_jax.figures.movement import Moves, moves_per_layer, moves_together
from paramact_jax.figures.trajectories import trajectories

__all__ = [
    "ConvergenceCurve",
    "FactorHistory",
    "Moves",
    "convergence",
    "factor_panels",
    "gallery",
    "moves_per_layer",
    "moves_together",
    "trajectories",
]
