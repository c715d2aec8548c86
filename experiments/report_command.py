"""`python -m experiments report`."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from experiments.run_directory import Run

_REPORTS = {
    "xor10": "experiments.xor10.report",
    "xor10-protocol": "experiments.xor10_protocol.report",
    "xor10-figures": "experiments.xor10_figures.report",
    "gradients": "experiments.gradients.report",
    "mnist": "experiments.mnist.report",
    "cnn": "experiments.cnn.report",
    "cnn-sharing": "experiments.cnn.sharing_report",
    "cnn-search": "experiments.cnn.search_report",
    "ablation-xor10": "experiments.ablation.report",
    "ablation-mnist": "experiments.ablation.report",
    "initial-scale": "experiments.initial_scale.report",
    "optimisers-xor10": "experiments.optimisers.report",
    "optimisers-mnist": "experiments.optimisers.report",
    "sigmoid-faults": "experiments.sigmoid_faults.report",
    "relu-family": "experiments.relu_family.report",
}
"""The module of each experiment that has `tables(run)`, `write(run)` and, if it can, `side_by_side(runs)`."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Redraw the tables and figures of finished runs from their records; several runs of xor10 also side by side.

    About 2 s on 2 cores. Writes into each run's directory. Example: python -m experiments report runs/a runs/b
    """

    directories: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of runs."""

    def prepare(self) -> Callable[[], None]:
        """Read all runs, so that nothing is written if one is damaged; returns the work.

        Raises:
          ValueError: in one line, if a run cannot be read.
        """
        from experiments import run_directory

        if not self.directories:
            raise ValueError("expected at least one directory of a run, got none")
        runs = [run_directory.read(path) for path in self.directories]
        for run in runs:
            if (kind := run.manifest["experiment"]) not in _REPORTS:
                raise ValueError(f"expected a run of {', '.join(_REPORTS)} in {run.directory}, got one of {kind}")

        def work() -> None:
            for run in runs:
                for table in _report_of(run).tables(run):
                    print(table.plain())
            for kind in dict.fromkeys(run.manifest["experiment"] for run in runs):
                alike = [run for run in runs if run.manifest["experiment"] == kind]
                if len(alike) > 1 and hasattr(_report_of(alike[0]), "side_by_side"):
                    print(_report_of(alike[0]).side_by_side(alike).plain())
            for run in runs:
                _report_of(run).write(run)

        return work


def _report_of(run: Run) -> ModuleType:
    return importlib.import_module(_REPORTS[run.manifest["experiment"]])
