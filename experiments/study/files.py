"""The files that a report leaves in the directory of a run, and the last words of a command."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from experiments.study import run_directory
from experiments.study.run_directory import Run
from experiments.study.tables import Table


class ReportModule(Protocol):
    """What the report module of every experiment has."""

    def tables(self, run: Run, /) -> Sequence[Table]:
        """What is printed."""

    def write(self, run: Run, /) -> Sequence[Path]:
        """Write everything that is derived from the records; returns the files."""


def finish(report: ReportModule, run: Run, *, begin: float, made: str) -> None:
    """Write the report of a new run, print its tables, and say how long all took and where it is.

    Args:
      report: of the experiment.
      run: just written.
      begin: `time.perf_counter()` when the work began.
      made: what is in the directory.
    """
    report.write(run)
    for table in report.tables(run):
        print(table.plain())
    print(f"{time.perf_counter() - begin:.1f} s; {made} in {run.directory}")


def write_tables(
    directory: Path, heading: str, tables: Mapping[str, Table], figures: Mapping[str, Figure], summary: Any
) -> list[Path]:
    """Write a report of tables and figures: report.md, each table as CSV and LaTeX, summary.json, the figures.

    Args:
      directory: of the run.
      heading: of the report, as Markdown.
      tables: by file name without a suffix, in the report's order.
      figures: likewise, after the tables.
      summary: the same as plain data.

    Returns:
      The files.
    """
    content = {"summary.json": json.dumps(summary, indent=2, allow_nan=False) + "\n"}
    for name, table in tables.items():
        content |= {f"{name}.csv": table.csv(), f"{name}.tex": table.latex()}
    links = [f"![{name}]({name}.png)\n" for name in figures]
    content["report.md"] = "\n".join([f"{heading}\n", *(table.markdown() for table in tables.values()), *links])
    return write_report(directory, content, figures)


def write_report(directory: Path, texts: Mapping[str, str], figures: Mapping[str, Figure]) -> list[Path]:
    """Write what is derived from the records, each file in one step.

    Args:
      directory: of the run.
      texts: by file name.
      figures: by file name without the suffix .png.

    Returns:
      The files.
    """
    contents = {name: text.encode() for name, text in texts.items()}
    for name, figure in figures.items():
        image = io.BytesIO()
        figure.savefig(image, format="png")
        contents[f"{name}.png"] = image.getvalue()
    for name, content in contents.items():
        run_directory.replace(directory / name, content)
    return [directory / name for name in contents]
