"""Draws results as matplotlib Figures."""

import importlib.util

if importlib.util.find_spec("matplotlib") is None:
    raise ModuleNotFoundError(
        'figures: expected the package matplotlib, got none; install it: pip install "paramact_jax[plot]"'
    )

from paramact_jax.figures.bands import BandCurve, curves_with_bands
from paramact_jax.figures.convergence import ConvergenceCurve, convergence
from paramact_jax.figures.counts import CountBar, count_bars
from paramact_jax.figures.depth import DepthCurve, gradient_against_depth
from paramact_jax.figures.factors import FactorHistory, factor_panels
from paramact_jax.figures.gallery import gallery
from paramact_jax.figures.histograms import layer_histograms
from paramact_jax.figures.movement import Moves, moves_per_layer, moves_together
from paramact_jax.figures.panels import curves_in_panels
from paramact_jax.figures.paths import PathPanel, paths_in_the_plane
from paramact_jax.figures.profile import gradient_profile
from paramact_jax.figures.ranges import RangeHistory, range_panels
from paramact_jax.figures.trajectories import trajectories

__all__ = [
    "BandCurve",
    "ConvergenceCurve",
    "CountBar",
    "DepthCurve",
    "FactorHistory",
    "Moves",
    "PathPanel",
    "RangeHistory",
    "convergence",
    "count_bars",
    "curves_in_panels",
    "curves_with_bands",
    "factor_panels",
    "gallery",
    "gradient_against_depth",
    "gradient_profile",
    "layer_histograms",
    "moves_per_layer",
    "moves_together",
    "paths_in_the_plane",
    "range_panels",
    "trajectories",
]
