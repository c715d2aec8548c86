"""Watching a long sweep: the observed values as soon as they are there, and files of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paramact_jax.sweeps.settings import ITERATION, SEED
from paramact_jax.sweeps.storage.atomic import write_bytes

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Observed:
    """The observed values of some trials of a long sweep after an iteration; see `long_sweep(..., on_observed=)`.

    Attributes:
      iteration: number of iterations that the trials have made.
      trials: by name, the values of each axis and the "seed" of every trial, each (trials,); with points also their
        number as "point".
      values: by name, what `Training.observe` returned for every trial, each (trials, ...).

    Examples:
      For TensorBoard, the mean over the trials, with `writer = torch.utils.tensorboard.SummaryWriter("runs/mine")`:

          def on_observed(seen):
              for name, x in seen.values.items():
                  writer.add_scalar(name, x.mean(), seen.iteration)

      For Weights & Biases, with `run = wandb.init(project="mine")`. The iteration is logged as a value: with `chunk=`
      each part of the trials begins with iteration 0, but a step of Weights & Biases may only grow.

          def on_observed(seen):
              means = {name: float(x.mean()) for name, x in seen.values.items()}
              run.log({"iteration": seen.iteration, **means})

      >>> seen = Observed(10, {"seed": np.array([3, 4])}, {"loss": np.array([0.5, 0.25], np.float32)})
      >>> seen.iteration, float(seen.values["loss"].mean())
      (10, 0.375)
    """

    iteration: int
    trials: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]


def to_csv(path: Path | str) -> Callable[[Observed], None]:
    """Returns a function for `on_observed` that writes a table of text: a row for each trial and iteration.

    The columns are the axes, "seed", "iteration" and the observed values: `name`, or `name.0`, `name.1`, ... for an
    array. Numbers have all their digits; NaN and infinities are nan, inf and -inf.

    New rows are appended if the file exists, and no row is in it twice. If trials are observed again, as in a sweep
    that goes on from its last saved state, their rows from that iteration on are removed first. A last line that a
    killed process left half written is removed too.

    Args:
      path: of the file; other columns need another file.

    Raises:
      ValueError: from the returned function, in one line, if the file has other contents than it would write.

    Examples:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "seen.csv"
      >>> write = to_csv(path)
      >>> trials = {"rate": np.array([0.1, 0.2]), "seed": np.array([7, 7])}
      >>> write(Observed(0, trials, {"loss": np.array([1.5, np.nan]), "w": np.array([[1.0, 2.0], [3.0, 4.0]])}))
      >>> print(path.read_text().strip())
      rate,seed,iteration,loss,w.0,w.1
      0.1,7,0,1.5,1.0,2.0
      0.2,7,0,nan,3.0,4.0
    """
    return _Writer(path, _Csv())


def to_jsonl(path: Path | str) -> Callable[[Observed], None]:
    """Returns a function for `on_observed` that writes a line of JSON for each trial and iteration.

    It works as `to_csv`, but an array is a list. JSON has only finite numbers: NaN is null, infinities are "Infinity"
    and "-Infinity". `pandas.read_json(path, lines=True, precise_float=True)` turns them back into NaN and infinities in
    a column of numbers, but not inside a list.

    Args:
      path: of the file, see `to_csv`.

    Raises:
      ValueError: as `to_csv`.

    Examples:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "seen.jsonl"
      >>> to_jsonl(path)(Observed(0, {"seed": np.array([7])}, {"w": np.array([[1.0, np.nan]]), "n": np.array([3])}))
      >>> print(path.read_text().strip())
      {"seed": 7, "iteration": 0, "w": [1.0, null], "n": 3}
    """
    return _Writer(path, _Jsonl())


class _Csv:
    """A table: the first line has the names."""

    def rows(self, seen: Observed) -> Iterator[Row]:
        flat: dict[str, Any] = {}
        for name, x in seen.values.items():
            for place in np.ndindex(x.shape[1:]):
                column = ".".join((name, *map(str, place)))
                if column in flat:
                    raise ValueError(f"observe: expected columns of different names, got {column!r} twice; rename one")
                flat[column] = x[(slice(None), *place)]
        for row in _rows(seen, flat):
            yield {name: _text(x) for name, x in row.items()}

    def write(self, rows: Sequence[Row], *, first: bool) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        if first and rows:
            writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
        return file.getvalue()

    def read(self, text: str) -> list[Row]:
        names, *found = csv.reader(io.StringIO(text, newline=""))
        return [dict(zip(names, row, strict=True)) for row in found]


class _Jsonl:
    """A file with a dict on each line."""

    def rows(self, seen: Observed) -> Iterator[Row]:
        return _rows(seen, seen.values)

    def write(self, rows: Sequence[Row], *, first: bool) -> str:
        del first  # there is no header
        return "".join(f"{_json(row)}\n" for row in rows)

    def read(self, text: str) -> list[Row]:
        return [dict(json.loads(line)) for line in text.splitlines()]


class _Writer:
    """A function that appends rows to a file of a format."""

    def __init__(self, path: Path | str, form: _Csv | _Jsonl) -> None:
        self._path, self._form = Path(path), form
        self._last: dict[tuple[Any, ...], int] | None = None  # the last iteration in the file of each trial

    def __call__(self, seen: Observed) -> None:
        rows = list(self._form.rows(seen))
        keys = [tuple(row[name] for name in seen.trials) for row in rows]
        if self._last is None:
            self._last = {}
            for row in self._stored(list(rows[0])):
                key = tuple(row[name] for name in seen.trials)
                self._last[key] = max(self._last.get(key, -1), int(row[ITERATION]))
        if any(self._last.get(key, -1) >= seen.iteration for key in keys):
            self._drop(rows, set(keys), seen)
        text = self._form.write(rows, first=not self._path.exists() or not self._path.stat().st_size)
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # before the sweep saves the state that it would resume from
        self._last |= dict.fromkeys(keys, seen.iteration)

    def _drop(self, rows: Sequence[Row], keys: set[tuple[Any, ...]], seen: Observed) -> None:
        """Removes the rows of these trials from this iteration on."""
        stored = self._stored(list(rows[0]))
        kept = [
            row
            for row in stored
            if int(row[ITERATION]) < seen.iteration or tuple(row[name] for name in seen.trials) not in keys
        ]
        write_bytes(self._path, self._form.write(kept, first=True).encode())

    def _stored(self, columns: Sequence[str]) -> list[Row]:
        """Returns the rows of the file, and removes a last line that is half written."""
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_bytes(self._path, whole)
        if not whole:
            return []
        try:
            rows = self._form.read(whole.decode())
            if any(list(row) != list(columns) for row in rows):
                raise ValueError("other columns")
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self._path}: expected a file with {', '.join(columns)}, got another one ({error}); name a new file"
            ) from error
        return rows


def _rows(seen: Observed, columns: Mapping[str, np.ndarray]) -> Iterator[Row]:
    count = len(seen.trials[SEED])
    given = {**seen.trials, ITERATION: np.full(count, seen.iteration), **columns}
    for row in zip(*(x.tolist() for x in given.values()), strict=True):
        yield dict(zip(given, row, strict=True))


def _text(x: Any) -> str:
    return repr(x) if isinstance(x, float) else str(x)


def _json(x: Any) -> str:
    if isinstance(x, dict):
        return f"{{{', '.join(f'{json.dumps(name)}: {_json(value)}' for name, value in x.items())}}}"
    if isinstance(x, list):
        return f"[{', '.join(map(_json, x))}]"
    if isinstance(x, float) and not math.isfinite(x):
        return "null" if math.isnan(x) else f'"{"-" * (x < 0)}Infinity"'
    return json.dumps(x, default=str)
