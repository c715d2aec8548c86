"""`python -m experiments activations`."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.study import run_directory
from experiments.study.imports import at_once
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    from paramact_jax.activations import catalogue
    from paramact_jax.figures import gallery


@dataclasses.dataclass(frozen=True)
class Activations:
    """Print every activation of the catalogue with its properties, and draw them all.

    About 5 s on 2 cores. Writes runs/activations-DATE-TIME/: gallery.png, catalogue.md, catalogue.csv, catalogue.tex.
    Example: python -m experiments activations --out runs/catalogue
    """

    out: Path | None = None
    """Directory to write, which must not exist (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], None]:
        """Checks the directory; returns the work.

        Raises:
          ValueError: if it cannot be a new directory.
        """
        out = run_directory.choose(self.out, "activations")

        def work() -> None:
            table, image = properties(), io.BytesIO()
            gallery([catalogue.get(name) for name in catalogue.names()]).savefig(image, format="png")

            def fill(directory: Path) -> None:
                (directory / "gallery.png").write_bytes(image.getvalue())
                for suffix, text in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
                    (directory / f"catalogue.{suffix}").write_text(text, encoding="utf-8")

            run_directory.write_directory(out, fill)
            print(table.plain())
            print(f"gallery and tables in {out}")

        return work


def properties() -> Table:
    """Makes a table of the catalogue, one row a record."""
    rows = []
    for record in map(catalogue.get, catalogue.names()):
        low, high = record.range
        ends, steepest = f"({low:.4g}, {high:.4g})", f"{record.steepest_slope:.4g}"
        kinks = ", ".join(f"{kink.slope:.4g} at {kink.at:.4g}" for kink in record.kinks)
        params = ", ".join(f"{name} = {start:.4g}" for name, start in record.params.items())
        centred = "yes" if record.zero_centred else "no"
        rows.append([record.name, ends, steepest, centred, kinks, record.source, record.formula, params])
    return Table(
        "Activation functions",
        ["name", "range", "steepest", "centred", "slope at kinks", "source", "formula", "parameters"],
        rows,
        "Range, steepest slope and kinks at the start values of the parameters; centred: the range is, about 0.",
        left=("slope at kinks", "source", "formula", "parameters"),
    )
