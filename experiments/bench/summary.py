"""From times by round to medians and paired ratios."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

RATIO_TO_YARDSTICK = 1.0
"""This project is to take at most this many times the yardstick's time."""

USUAL_RATIO = 5.0
"""The usual way is to take at least this many times this project's time."""

ByRound = Mapping[str, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one activation.

    Attributes:
      activation: its name.
      measured: microseconds of one iteration of all trials, by contestant and round.
      compile_seconds: by contestant, of those that compile.
    """

    activation: str
    measured: Mapping[str, Sequence[float]]
    compile_seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The row of a result."""
        return {
            "activation": self.activation,
            "microseconds": {name: _spread(times) | {"rounds": list(times)} for name, times in self.measured.items()},
            **_all_ratios(self.measured),
            "compile_seconds": dict(self.compile_seconds),
        }


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """The entries `rows`, `totals` and `targets` of a result.

    Totals are sums over the activations: of the medians, and by round, whose ratios a machine that drifts distorts
    least. A target's value is such a paired ratio, None where it was not measured.
    """
    medians = {name: sum(statistics.median(row.measured[name]) for row in rows) for name in rows[0].measured}
    by_round = {name: [sum(r) for r in zip(*(row.measured[name] for row in rows), strict=True)] for name in medians}
    ratios = _all_ratios(by_round)
    totals = {
        "microseconds": medians,
        **{
            key: {name: paired | {"of_sums": medians[name] / medians[reference]} for name, paired in found.items()}
            for key, found in ratios.items()
            for reference in [key.removeprefix("ratio_to_")]
        },
        "compile_seconds": {name: sum(row.compile_seconds[name] for row in rows) for name in rows[0].compile_seconds},
    }
    to_yardstick = ratios["ratio_to_yardstick"].get("project", {}).get("median")
    usual = ratios["ratio_to_project"]["usual"]["median"]
    return {
        "rows": [row.as_dict() for row in rows],
        "totals": totals,
        "targets": [
            {
                "target": f"ratio to the yardstick <= {RATIO_TO_YARDSTICK}",
                "value": to_yardstick,
                "met": None if to_yardstick is None else to_yardstick <= RATIO_TO_YARDSTICK,
            },
            {"target": f"usual way at least {USUAL_RATIO:g}x slower", "value": usual, "met": usual >= USUAL_RATIO},
        ],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _all_ratios(times: ByRound) -> dict[str, dict[str, dict[str, float]]]:
    return {f"ratio_to_{reference}": _ratios(times, reference) for reference in ("yardstick", "project")}


def _ratios(times: ByRound, reference: str) -> dict[str, dict[str, float]]:
    """By contestant, its times over the reference's in the same round; empty without the reference."""
    if reference not in times:
        return {}
    return {
        name: _spread([t / r for t, r in zip(own, times[reference], strict=True)])
        for name, own in times.items()
        if name != reference
    }
