"""One table, four notations."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """A titled table of text cells.

    Attributes:
      title: the caption.
      columns: headings.
      rows: cells, as many a row as there are headings.
      note: a line below the table.
      left: headings of the columns that are flush left beside the first; the others are flush right.

    Raises:
      ValueError: if a row is not as long as the heading.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    left: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: expected {len(self.columns)} cells a row, got {len(row)}")

    def plain(self) -> str:
        """For a terminal: columns aligned with spaces, one line a row."""
        widths = [max(len(cell) for cell in column) for column in zip(self.columns, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = [
                cell.ljust(width) if flush == "l" else cell.rjust(width)
                for cell, width, flush in zip(cells, widths, self._flush(), strict=True)
            ]
            return "  ".join(padded).rstrip()

        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, "", line(self.columns), rule, *map(line, self.rows), *self._notes()]) + "\n"

    def markdown(self) -> str:
        """GitHub's Markdown."""
        rule = ["---" if flush == "l" else "---:" for flush in self._flush()]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.columns, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, *self._notes()]) + "\n"

    def csv(self) -> str:
        """Heading and rows, comma separated."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    def latex(self) -> str:
        """A booktabs table with its caption, ready to be included in a document."""
        lines = [
            r"\begin{table}",
            rf"\caption{{{_latex(self.title)}}}",
            rf"\begin{{tabular}}{{{''.join(self._flush())}}}",
            r"\toprule",
            " & ".join(map(_latex, self.columns)) + r" \\",
            r"\midrule",
            *(" & ".join(map(_latex, row)) + r" \\" for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
            *([rf"\par\smallskip\footnotesize {_latex(self.note)}"] if self.note else []),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def _flush(self) -> list[str]:
        return ["l" if i == 0 or name in self.left else "r" for i, name in enumerate(self.columns)]

    def _notes(self) -> list[str]:
        return ["", self.note] if self.note else []


def _latex(text: str) -> str:
    for character in "&%$#_":
        text = text.replace(character, "\\" + character)
    return text.replace("<", r"$<$").replace(">", r"$>$").replace("^", r"\^{}").replace("--", "-{}-")
