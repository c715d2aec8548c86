"""`python -m experiments report`."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.study.study import Study

if TYPE_CHECKING:
    from experiments.study.run_directory import Run

_REPORTS = {
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
}
"""The module of each experiment that is no `Study` yet: `tables(run)`, `write(run)`, perhaps `side_by_side(runs)`."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Redraw the tables and figures of finished runs from their records; several runs of a study side by side.

    About 2 s on 2 cores. Writes into each run's directory. Example: python -m experiments report runs/a runs/b
    """

    directories: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of runs."""

    def prepare(self) -> Callable[[], None]:
        """Read all runs, so that nothing is written if one is damaged; returns the work.

        Raises:
          ValueError: in one line, if a run cannot be read.
        """
        from experiments.study import run_directory

        if not self.directories:
            raise ValueError("expected at least one directory of a run, got none")
        studies = {study.name: study for study in _studies()}
        runs = [run_directory.read(path) for path in self.directories]
        for run in runs:
            if (kind := run.manifest["experiment"]) not in studies | _REPORTS:
                expected = ", ".join(studies | _REPORTS)
                raise ValueError(f"expected a run of {expected} in {run.directory}, got one of {kind}")

        def work() -> None:
            for kind in dict.fromkeys(run.manifest["experiment"] for run in runs):
                alike = [run for run in runs if run.manifest["experiment"] == kind]
                if kind in studies:
                    _of_study(studies[kind], alike)
                else:
                    _of_module(importlib.import_module(_REPORTS[kind]), alike)

        return work


def _studies() -> list[type[Study]]:
    from experiments.contents import all_leaves

    return [leaf.command for leaf in all_leaves() if isinstance(leaf.command, type) and issubclass(leaf.command, Study)]


def _of_study(study: type[Study], runs: list[Run]) -> None:
    from experiments.study import report

    runs = [study.up_to_date(run) for run in runs]
    report.show(study, runs)
    for run in runs:
        report.write(study, run)


def _of_module(module: Any, runs: list[Run]) -> None:
    for run in runs:
        for table in module.tables(run):
            print(table.plain())
    if len(runs) > 1 and hasattr(module, "side_by_side"):
        print(module.side_by_side(runs).plain())
    for run in runs:
        module.write(run)
