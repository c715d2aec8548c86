"""One table of values in four notations: plain for a terminal, Markdown, LaTeX, and CSV for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Form = str | Callable[[Any], str]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column, and how people read its values.

    Attributes:
      heading: for people.
      form: a format such as ".1%", or a function, for its numbers and both ends of its intervals.
      key: its name in the CSV file; by default made of the heading. An interval has two names, with _low and _high.
      left: whether it is flush left, as words are.
    """

    heading: str
    form: Form = ""
    key: str = ""
    left: bool = False

    def name(self) -> str:
        """Returns the name in the CSV file.

        Examples:
          >>> Column("test loss").name(), Column("p (Holm)").name()
          ('test_loss', 'p_holm')
        """
        return self.key or re.sub(r"\W+", "_", self.heading.lower()).strip("_")

    def text(self, value: Any) -> str:
        """Writes a value for people: nothing for None and NaN, "yes" or "no", both ends of an interval."""
        if isinstance(value, Cell):
            return value.text
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return "" if any(map(math.isnan, value)) else f"{self.text(value[0])} to {self.text(value[1])}"
        if isinstance(value, str):
            return value
        return self.form(value) if callable(self.form) else format(value, self.form)


def with_interval(heading: str, form: Form = "", key: str = "", ends: str = "95 % interval") -> list[Column]:
    """Makes the columns of a number and of its interval.

    Args:
      heading: the heading of the number.
      form: the form of the number, and of both ends.
      key: the name of both in the CSV file; by default made of the heading.
      ends: the heading of the interval.
    """
    number = Column(heading, form, key)
    return [number, Column(ends, form, number.name())]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value with a text of its own for people.

    Attributes:
      value: for the CSV file.
      text: for people.
    """

    value: Any
    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
      title: the caption.
      columns: a heading alone stands for a column of words or of numbers as they are.
      rows: in each row a value for each column: words, numbers, yes or no, (low, high), a `Cell`, or None.
      note: a line below the table.
      left: headings of more columns that are flush left; the first column always is.
      keys: how many first columns tell rows apart; by default those before the first column of numbers.
      beside: headings of the columns that `side_by_side` puts next to each other; by default the first after the keys.

    Raises:
      ValueError: if a row is not as long as the heading.

    Examples:
      >>> columns = ["function", Column("dead", ".1%"), Column("95 % interval", ".1%", key="dead")]
      >>> table = Table("Dead units", columns, [["relu", 0.125, (0.1, 0.15)], ["elu", 0.0, None]])
      >>> print(table.plain())
      Dead units
      <BLANKLINE>
      function   dead   95 % interval
      --------  -----  --------------
      relu      12.5%  10.0% to 15.0%
      elu        0.0%
      <BLANKLINE>
      >>> print(table.csv(), end="")
      function,dead,dead_low,dead_high
      relu,0.125,0.1,0.15
      elu,0,,
    """

    title: str
    columns: Sequence[str | Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    left: Sequence[str] = ()
    keys: int = 0
    beside: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: expected {len(self.columns)} cells a row, got {len(row)}")

    def plain(self) -> str:
        """Writes it for a terminal: columns aligned with spaces, one line a row."""
        headings, rows = self._texts()
        widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = [
                cell.ljust(width) if flush == "l" else cell.rjust(width)
                for cell, width, flush in zip(cells, widths, self._flush(), strict=True)
            ]
            return "  ".join(padded).rstrip()

        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, "", line(headings), rule, *map(line, rows), *self._notes()]) + "\n"

    def markdown(self) -> str:
        """Writes it in GitHub's Markdown."""
        headings, rows = self._texts()
        rule = ["---" if flush == "l" else "---:" for flush in self._flush()]
        lines = ["| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows)]
        return "\n".join([f"**{self.title}**", "", *lines, *self._notes()]) + "\n"

    def csv(self) -> str:
        """Writes comma-separated values: numbers in full, shares between 0 and 1, an interval in two columns."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([name for i in range(len(self.columns)) for name in self._names(i)])
        writer.writerows([value for i, cell in enumerate(row) for value in self._values(i, cell)] for row in self.rows)
        return text.getvalue()

    def latex(self) -> str:
        """Writes a booktabs table with its caption, ready to be included in a document."""
        headings, rows = self._texts()
        lines = [
            r"\begin{table}",
            rf"\caption{{{_latex(self.title)}}}",
            rf"\begin{{tabular}}{{{''.join(self._flush())}}}",
            r"\toprule",
            " & ".join(map(_latex, headings)) + r" \\",
            r"\midrule",
            *(" & ".join(map(_latex, row)) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *([rf"\par\smallskip\footnotesize {_latex(self.note)}"] if self.note else []),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def _columns(self) -> list[Column]:
        return [Column(x) if isinstance(x, str) else x for x in self.columns]

    def _texts(self) -> tuple[list[str], list[list[str]]]:
        columns = self._columns()
        rows = [[column.text(_plain(x)) for column, x in zip(columns, row, strict=True)] for row in self.rows]
        return [column.heading for column in columns], rows

    def _flush(self) -> list[str]:
        columns = self._columns()
        return ["l" if i == 0 or x.left or x.heading in self.left else "r" for i, x in enumerate(columns)]

    def _notes(self) -> list[str]:
        return ["", self.note] if self.note else []

    def _is_interval(self, i: int) -> bool:
        return any(isinstance(row[i], tuple) for row in self.rows)

    def _names(self, i: int) -> list[str]:
        name = self._columns()[i].name()
        return [f"{name}_low", f"{name}_high"] if self._is_interval(i) else [name]

    def _values(self, i: int, cell: Any) -> Iterator[Any]:
        value = cell.value if isinstance(cell, Cell) else cell
        ends = (value if isinstance(value, tuple) else (None, None)) if self._is_interval(i) else (value,)
        for x in map(_plain, ends):
            yield "" if x is None or x != x else f"{x:.9g}" if isinstance(x, float) else x


def side_by_side(tables: Sequence[Table], names: Sequence[str]) -> Table:
    """Makes one table of several runs: their common first columns, then the columns `beside` of each run.

    Args:
      tables: a table of each run, with the same columns.
      names: the names of the runs.

    Examples:
      >>> first, second = (Table("T", ["f", Column("loss", ".2f")], [["relu", x]]) for x in (0.5, 0.25))
      >>> print(side_by_side([first, second], ["a", "b"]).plain())
      T: loss
      <BLANKLINE>
      f        a     b
      ----  ----  ----
      relu  0.50  0.25
      <BLANKLINE>
    """
    first = tables[0]
    columns = first._columns()
    words = next((i for i in range(len(columns)) if any(_is_number(row[i]) for row in first.rows)), 1)
    keys = first.keys or max(1, words)
    shown = [i for i, x in enumerate(columns) if x.heading in first.beside] or [min(keys, len(columns) - 1)]
    found = [{tuple(map(_plain, row[:keys])): row for row in table.rows} for table in tables]
    rows = []
    for key in dict.fromkeys(key for rows_of in found for key in rows_of):
        cells = [columns[i].text(_plain(rows_of[key][i])) if key in rows_of else "" for i in shown for rows_of in found]
        rows.append([*key, *cells])
    several = len(shown) > 1
    headings = [f"{columns[i].heading}: {name}" if several else name for i in shown for name in names]
    title = first.title if several else f"{first.title}: {columns[shown[0]].heading}"
    return Table(title, [*columns[:keys], *headings], rows)


def number(value: float) -> str:
    """Writes a number with four digits, or with thousands separators.

    Examples:
      >>> number(0.0123456), number(12345.6)
      ('0.01235', '12,346')
    """
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _plain(x: Any) -> Any:
    """Converts to Python's own number."""
    if isinstance(x, tuple):
        return tuple(map(_plain, x))
    return x.item() if hasattr(x, "item") and not getattr(x, "shape", ()) else x


def _is_number(x: Any) -> bool:
    value = _plain(x.value if isinstance(x, Cell) else x)
    return isinstance(value, int | float | tuple)


def _latex(text: str) -> str:
    for character in "&%$#_":
        text = text.replace(character, "\\" + character)
    return text.replace("<", r"$<$").replace(">", r"$>$").replace("^", r"\^{}").replace("--", "-{}-")
