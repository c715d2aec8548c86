"""`python -m experiments report`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.commands import all_leaves
from experiments.study.study import Study

if TYPE_CHECKING:
    from experiments.study.run_directory import Run


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
            if (kind := run.manifest["experiment"]) not in studies:
                raise ValueError(f"expected a run of {', '.join(studies)} in {run.directory}, got one of {kind}")

        def work() -> None:
            for kind in dict.fromkeys(run.manifest["experiment"] for run in runs):
                _report(studies[kind], [run for run in runs if run.manifest["experiment"] == kind])

        return work


def _studies() -> list[type[Study]]:
    return [leaf.command for leaf in all_leaves() if isinstance(leaf.command, type) and issubclass(leaf.command, Study)]


def _report(study: type[Study], runs: list[Run]) -> None:
    from experiments.study import report

    report.make(study, [study.up_to_date(run) for run in runs])
