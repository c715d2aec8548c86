"""Published numbers as frozen records that check themselves. Standard library only.

`ko2021` has the numbers of [P], `kong2020` those of [A], `student_report` those of [R].
"""

from paramact_jax.papers import ko2021, kong2020, student_report
from paramact_jax.papers.kong2020 import CombinationRow
from paramact_jax.papers.record import (
    Citation,
    ConvergenceRow,
    FinalLoss,
    NodePoint,
    StartValues,
    SteepSlopes,
    TimeSaved,
)
from paramact_jax.papers.student_report import PrintedRun

__all__ = [
    "Citation",
    "CombinationRow",
    "ConvergenceRow",
    "FinalLoss",
    "NodePoint",
    "PrintedRun",
    "StartValues",
    "SteepSlopes",
    "TimeSaved",
    "ko2021",
    "kong2020",
    "student_report",
]
