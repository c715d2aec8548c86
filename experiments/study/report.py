"""From the records of runs to files and to the terminal, in the same way for every study."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import matplotlib

from experiments.study import run_directory
from experiments.study.run_directory import Run
from experiments.study.samples import plain
from experiments.study.statements import Statement, statements_table
from experiments.study.tables import Table, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Reported(Protocol):
    """What a report takes of a study, see `Study`."""

    heading: str

    def opening(self, run: Run) -> str:
        """The result in a sentence."""

    def tables(self, run: Run) -> Iterator[tuple[str, Table]]:
        """Tables by file name."""

    def figures(self, run: Run) -> Iterator[tuple[str, Figure]]:
        """Figures by file name."""

    def statements(self, run: Run) -> Iterator[Statement]:
        """What sources claim, judged."""

    def summary(self, run: Run) -> Mapping[str, Any]:
        """The numbers, by name."""


FORMATS = ("png", "pdf", "svg")
"""Of every figure: one to look at, two for print."""


def make(study: Reported, runs: Sequence[Run]) -> None:
    """Prints the tables of a run, of several each table with the runs next to each other, and writes each report."""
    said = [list(study.statements(run)) for run in runs]
    tables = [tables_of(study, *one) for one in zip(runs, said, strict=True)]
    if len(runs) == 1:
        for table in tables[0].values():
            print(table.plain())
    else:
        _show_beside(runs, tables, said)
    for one in zip(runs, said, tables, strict=True):
        write(study, *one)


def tables_of(study: Reported, run: Run, said: Sequence[Statement] | None = None) -> dict[str, Table]:
    """The tables of the report by file name, that of the statements last.

    Args:
      study: whose report it is.
      run: a finished one.
      said: its statements, if they are judged already; so below.

    Raises:
      RuntimeError: if a study gives two tables one name.
    """
    said, found = list(study.statements(run)) if said is None else said, list(study.tables(run))
    return _by_name([*found, ("statements", statements_table(said))] if said else found)


def summary(study: Reported, run: Run, said: Sequence[Statement] | None = None) -> dict[str, Any]:
    """The run as plain data: experiment, config, whether the images are real, statements, and the study's numbers."""
    return plain(
        {
            "experiment": run.manifest["experiment"],
            "config": run.manifest["config"],
            "synthetic": bool(run.records.attrs.get("synthetic", 0)),
            "statements": list(study.statements(run) if said is None else said),
            **study.summary(run),
        }
    )


def _show_beside(
    runs: Sequence[Run], tables: Sequence[Mapping[str, Table]], said: Sequence[Sequence[Statement]]
) -> None:
    names = [chr(ord("A") + i) if i < 26 else str(i) for i in range(len(runs))]
    for name, run in zip(names, runs, strict=True):
        print(f"{name}: {run.directory}")
    print()
    for name in tables[0]:
        if name != "statements" and all(name in own for own in tables):
            print(side_by_side([own[name] for own in tables], names).plain())
    verdicts = [{f"{one.source}: {one.text}": one.verdict for one in own} for own in said]
    texts = dict.fromkeys(text for own in verdicts for text in own)
    rows = [[text, *(own.get(text, "") for own in verdicts)] for text in texts]
    print(Table("Statements: verdict", ["statement", *names], rows).plain())


def write(
    study: Reported, run: Run, said: Sequence[Statement] | None = None, tables: Mapping[str, Table] | None = None
) -> list[Path]:
    """Writes the report of a run, each file in one step: report.md, summary.json, tables and figures.

    Returns:
      The files.
    """
    said = list(study.statements(run)) if said is None else said
    tables = tables_of(study, run, said) if tables is None else tables
    mark = _mark(run)
    figures = _by_name(study.figures(run))
    contents = {"summary.json": (json.dumps(summary(study, run, said), indent=2, allow_nan=False) + "\n").encode()}
    for name, table in tables.items():
        contents |= {f"{name}.csv": table.csv().encode(), f"{name}.tex": table.latex().encode()}
    for name, figure in figures.items():
        if mark:
            figure.suptitle(f"{figure.get_suptitle()}{mark}")
        for suffix in FORMATS:
            image = io.BytesIO()
            with matplotlib.rc_context({"svg.hashsalt": name}):
                figure.savefig(image, format=suffix, metadata=_UNDATED.get(suffix))
            contents[f"{name}.{suffix}"] = image.getvalue()
    parts = [f"# {study.heading}{mark}\n", *([f"{text}\n"] if (text := study.opening(run)) else [])]
    parts += [*(table.markdown() for table in tables.values()), *(f"![{name}]({name}.png)\n" for name in figures)]
    contents["report.md"] = "\n".join(parts).encode()
    for name, content in contents.items():
        run_directory.replace(run.directory / name, content)
    return [run.directory / name for name in contents]


_UNDATED: Mapping[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""So that the same figure is the same file."""


def _mark(run: Run) -> str:
    """What every title says of images that are not MNIST's."""
    attributes = run.records.attrs
    if attributes.get("synthetic", 0):
        return " - SYNTHETIC IMAGES, NOT MNIST"
    return "" if attributes.get("mnist", 1) else f" - {attributes['source']}, NOT MNIST"


def _by_name(found: Any) -> dict[str, Any]:
    pairs = list(found)
    if len(dict(pairs)) < len(pairs):
        raise RuntimeError(f"expected names that differ, got {[name for name, _ in pairs]}")
    return dict(pairs)
