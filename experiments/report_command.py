"""`python -m experiments report`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True)
class Report:
    """Redraw the tables and the figure of finished runs from their records; several runs also side by side.

    A second or two. Writes into each run's directory. Example: python -m experiments report runs/a runs/b
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
            if run.manifest["experiment"] != "xor10":
                raise ValueError(f"expected a run of xor10 in {run.directory}, got one of {run.manifest['experiment']}")

        def work() -> None:
            from experiments.xor10 import report

            for run in runs:
                for table in report.tables(run):
                    print(table.plain())
            if len(runs) > 1:
                print(report.side_by_side(runs).plain())
            for run in runs:
                report.write(run)

        return work
