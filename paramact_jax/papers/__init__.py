"""Published rows as frozen, self-checking records. Standard library only."""

from paramact_jax.papers import ko2021
from paramact_jax.papers.record import (
    Citation,
    ConvergenceRow,
    FinalLoss,
    NodePoint,
    StartValues,
    SteepSlopes,
    TimeSaved,
)

__all__ = [
    "Citation",
    "ConvergenceRow",
    "FinalLoss",
    "NodePoint",
    "StartValues",
    "SteepSlopes",
    "TimeSaved",
    "ko2021",
]
