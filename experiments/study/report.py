"""From the records of runs to files and to the terminal, in the same way for every study."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from experiments.study import run_directory
from experiments.study.run_directory import Run
from experiments.study.samples import plain
from experiments.study.statements import Statement, statements_table
from experiments.study.tables import Table, side_by_side

if TYPE_CHECKING:
    from experiments.study.study import Study

FORMATS: dict[str, dict[str, None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""The formats of every figure, one to look at and two for print. Without their dates equal figures are equal files."""


@dataclasses.dataclass(frozen=True)
class Report:
    """The report of a finished run.

    Attributes:
      study: the study that the run is of.
      run: the run.
    """

    study: type[Study]
    run: Run

    @functools.cached_property
    def statements(self) -> list[Statement]:
        """Judges what sources claim."""
        return list(self.study.statements(self.run))

    @functools.cached_property
    def tables(self) -> dict[str, Table]:
        """Returns the tables by file name, that of the statements last.

        Raises:
          RuntimeError: if a study gives two tables the same name.
        """
        found = list(self.study.tables(self.run))
        if self.statements:
            found.append(("statements", statements_table(self.statements)))
        return _by_name(found)

    def summary(self) -> dict[str, Any]:
        """Returns the run as plain data: experiment, config, whether images are synthetic, statements, and numbers."""
        manifest = self.run.manifest
        return plain(
            {
                "experiment": manifest["experiment"],
                "config": manifest["config"],
                "synthetic": bool(self.run.records.attrs.get("synthetic", 0)),
                "statements": self.statements,
                **self.study.summary(self.run),
            }
        )

    def write(self) -> list[Path]:
        """Writes report.md, summary.json, tables and figures, each file in one step; returns the files."""
        contents = {"summary.json": (json.dumps(self.summary(), indent=2, allow_nan=False) + "\n").encode()}
        for name, table in self.tables.items():
            contents |= {f"{name}.csv": table.csv().encode(), f"{name}.tex": table.latex().encode()}
        mark = _mark(self.run)
        figures = _by_name(self.study.figures(self.run))
        for name, figure in figures.items():
            if mark:
                figure.suptitle(f"{figure.get_suptitle()}{mark}")
            for suffix, undated in FORMATS.items():
                image = io.BytesIO()
                with matplotlib.rc_context({"svg.hashsalt": name}):
                    figure.savefig(image, format=suffix, metadata=undated)
                contents[f"{name}.{suffix}"] = image.getvalue()
        parts = [f"# {self.study.heading}{mark}\n"]
        if opening := self.study.opening(self.run):
            parts.append(f"{opening}\n")
        parts += [table.markdown() for table in self.tables.values()]
        parts += [f"![{name}]({name}.png)\n" for name in figures]
        contents["report.md"] = "\n".join(parts).encode()
        for name, content in contents.items():
            run_directory.replace(self.run.directory / name, content)
        return [self.run.directory / name for name in contents]


def make(study: type[Study], runs: Sequence[Run]) -> None:
    """Prints the tables of a run, or those of several runs next to each other, and writes the report of each run."""
    reports = [Report(study, run) for run in runs]
    if len(reports) == 1:
        for table in reports[0].tables.values():
            print(table.plain())
    else:
        _show_beside(reports)
    for report in reports:
        report.write()


def _show_beside(reports: Sequence[Report]) -> None:
    names = [chr(ord("A") + i) if i < 26 else str(i) for i in range(len(reports))]
    for name, report in zip(names, reports, strict=True):
        print(f"{name}: {report.run.directory}")
    print()
    for name in reports[0].tables:
        if name != "statements" and all(name in report.tables for report in reports):
            print(side_by_side([report.tables[name] for report in reports], names).plain())
    verdicts = [{f"{one.source}: {one.text}": one.verdict for one in report.statements} for report in reports]
    texts = dict.fromkeys(text for own in verdicts for text in own)
    rows = [[text, *(own.get(text, "") for own in verdicts)] for text in texts]
    print(Table("Statements: verdict", ["statement", *names], rows).plain())


def _mark(run: Run) -> str:
    """Returns what every title says of images that are not those of MNIST."""
    attributes = run.records.attrs
    if attributes.get("synthetic", 0):
        return " - SYNTHETIC IMAGES, NOT MNIST"
    return "" if attributes.get("mnist", 1) else f" - {attributes['source']}, NOT MNIST"


def _by_name(found: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(found)
    if len(dict(pairs)) < len(pairs):
        raise RuntimeError(f"expected names that differ, got {[name for name, _ in pairs]}")
    return dict(pairs)
