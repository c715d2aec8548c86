"""`python -m experiments report`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.commands import all_leaves
from experiments.study import run_directory
from experiments.study.study import Study


@dataclasses.dataclass(frozen=True)
class Report:
    """Redraw the tables and figures of finished runs from their records; several runs of a study side by side.

    About 2 s on 2 cores. Writes into each run's directory. Example: python -m experiments report runs/a runs/b
    """

    directories: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of runs."""

    def prepare(self) -> Callable[[], None]:
        """Reads all runs, so that nothing is written if one is damaged; returns the work.

        Raises:
          ValueError: in one line, if a run cannot be read.
        """
        if not self.directories:
            raise ValueError("expected at least one directory of a run, got none")
        commands: list[Any] = [leaf.command for leaf in all_leaves()]
        studies: dict[str, type[Study]] = {x.name: x for x in commands if issubclass(x, Study)}
        runs: dict[str, list[run_directory.Run]] = {}
        for run in map(run_directory.read, self.directories):
            if (kind := run.manifest["experiment"]) not in studies:
                raise ValueError(f"expected a run of {', '.join(studies)} in {run.directory}, got one of {kind}")
            runs.setdefault(kind, []).append(run)

        def work() -> None:
            from experiments.study import report

            for kind, found in runs.items():
                report.make(studies[kind], [studies[kind].up_to_date(run) for run in found])

        return work
