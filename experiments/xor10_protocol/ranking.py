"""The cells of a search, best first, from its records alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.xor10_protocol.grid import Cell, Conditions, Scale, is_protocol
from experiments.xor10_protocol.records import AXES
from experiments.xor10_protocol.scores import posterior, rows_matched


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One cell.

    Attributes:
      rank: 1 is the best.
      cell: the conditions.
      protocol: name of the protocol of the experiment xor10 that it is, or "".
      counts: (converged, trials) of each activation.
      log_likelihood: of [P, Table 5].
      table_4: log likelihood of [P, Table 4].
      posterior: see `scores.posterior`.
      matched: see `scores.rows_matched`.
    """

    rank: int
    cell: Cell
    protocol: str
    counts: dict[str, tuple[int, int]]
    log_likelihood: float
    table_4: float
    posterior: float
    matched: int

    @property
    def trials(self) -> int:
        """Trials of each activation."""
        return min(trials for _, trials in self.counts.values())


def ranking(records: xr.Dataset) -> list[Ranked]:
    """All cells by falling log likelihood."""
    total = records["total_log_likelihood"].transpose(*AXES).values
    share = posterior(total)
    places = sorted(np.ndindex(total.shape), key=lambda at: -total[at])
    return [
        _ranked(i + 1, records.isel(dict(zip(AXES, at, strict=True))), float(share[at])) for i, at in enumerate(places)
    ]


def margins(records: xr.Dataset) -> list[tuple[str, str, float, float]]:
    """For every value of every axis: (axis, value, posterior, best log likelihood less the best of all)."""
    total = records["total_log_likelihood"]
    share = total.copy(data=posterior(total.values))
    rows = []
    for axis in AXES:
        others = [name for name in AXES if name != axis]
        for value, mass, best in zip(
            records[axis].values, share.sum(others).values, total.max(others).values, strict=True
        ):
            rows.append((axis, f"{value}", float(mass), float(best - total.max())))
    return rows


def place_of(records: xr.Dataset, cell: Cell) -> dict[str, int]:
    """Index of a cell along every axis."""
    conditions = cell.conditions
    values = (conditions.scale.name, conditions.bias_std, conditions.gradient_scale, conditions.batch, cell.kink)
    return {axis: list(records[axis].values).index(value) for axis, value in zip(AXES, values, strict=True)}


def _ranked(rank: int, one: xr.Dataset, share: float) -> Ranked:
    cell = _cell(one)
    counts = {
        str(name): (int(converged), int(trials))
        for name, converged, trials in zip(
            one["activation"].values, one["converged"].values, one["trials"].values, strict=True
        )
    }
    return Ranked(
        rank=rank,
        cell=cell,
        protocol=next((name for name in PROTOCOLS if is_protocol(cell, name)), ""),
        counts=counts,
        log_likelihood=float(one["total_log_likelihood"]),
        table_4=float(one["table_4_log_likelihood"]),
        posterior=share,
        matched=rows_matched(counts),
    )


def _cell(one: xr.Dataset) -> Cell:
    scale = Scale(str(one["scale"].item()), float(one["weight_std"]), float(one["output_weight_std"]))
    conditions = Conditions(scale, float(one["bias_std"]), float(one["gradient_scale"]), one["batch"].item())
    return Cell(conditions, int(one["kink"]))
