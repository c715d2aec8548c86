"""The directory that a call works in: a sweep's own, that of one task, or that of an extension."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from paramact_jax.sweeps.storage.atomic import Arrays
from paramact_jax.sweeps.storage.configuration import Configuration
from paramact_jax.sweeps.storage.contents import LABELS, MANIFEST, Contents, Sheet, read_sheet, sweeps_in
from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError, differences, with_order
from paramact_jax.sweeps.storage.store import Store

GROWING = ("seeds", "iterations", "iterations_per_call", "chunk")
"""Entries in which an extension may differ from the stored sweep."""
COMING = ("form", "one kernel", "threads")
"""Entries that may be in one of the two only, since an extension may add programs of another form."""
_FORM_OF = "form of "


class Layers:
    """The results that a call finds in its directory, and the store that it works in.

    Args:
      directory: of the sweep.
      configuration: everything that the results depend on.
      sheet: description of the results; its grid has the trials that are to run.
      task: (task, tasks), if this call is one of several.
      extend: whether a sweep of other seeds, values or iterations may be there already.

    Raises:
      ValueError, OSError: as `Store`.
    """

    def __init__(
        self, directory: Path, configuration: Configuration, sheet: Sheet, *, task: tuple[int, int] | None, extend: bool
    ) -> None:
        """Opens the directory."""
        self._sheet = sheet
        self._root = directory
        self._earlier: dict[Path, tuple[Contents, Sheet, np.ndarray]] = {}
        self._could_grow = False
        own = directory
        if task is not None:
            own = directory / f"task-{task[0]}-of-{task[1]}"
            if (directory / MANIFEST).exists():
                raise DirectoryRefusedError(
                    f"part: expected a directory for tasks, got {directory}, which holds a sweep that is run as a "
                    f"whole; name another directory"
                )
            _check_tasks(directory, configuration)
        elif (directory / MANIFEST).exists():
            own = self._place_of(configuration, extend=extend)
        try:
            known = None if self._earlier else sheet
            self.store = Store(own, *configuration, sheet=known, lock_in=own if task else directory)
        except DirectoryRefusedError as error:
            if self._could_grow:
                raise DirectoryRefusedError(f"{error}; extend=True runs only what is not there") from error
            raise

    def _place_of(self, configuration: Configuration, *, extend: bool) -> Path:
        """Returns the directory of the same configuration, or a new one next to the existing ones."""
        there = sweeps_in(self._root)
        stored = [Contents(path) for path in there]
        same = [i for i, contents in enumerate(stored) if not differences(contents.entries, configuration.entries)]
        if not same and not extend:  # the store refuses it and says what differs
            self._could_grow = not unlike(stored[0].entries, configuration.entries)
            return self._root
        for contents in stored[: same[0]] if same else stored:
            _check_growth(contents, configuration)
            if (sheet := contents.sheet()) is not None:
                try:
                    where = self._sheet.grid.matching(sheet.grid)
                    self._check_programs(contents, sheet, where, configuration)
                    self._earlier[contents.directory] = contents, sheet, where
                except ValueError as error:
                    raise DirectoryRefusedError(f"extend: {error}; name another directory") from error
            elif contents is stored[0]:
                raise DirectoryRefusedError(
                    f"extend: expected a sweep with its labels, got {contents.directory} without them; repeat the "
                    f"stored call, which writes them, and then this one"
                )
        now = self._sheet.about["iterations"] or 0
        if self._earlier and (made := self._earlier[self._root][1].about["iterations"] or 0) > now:
            raise DirectoryRefusedError(
                f"extend: expected at least the {made} iterations that {self._root} has, got {now}; name another "
                f"directory for fewer"
            )
        return there[same[0]] if same else self._root / f"extension-{len(there)}"

    def _check_programs(
        self, contents: Contents, sheet: Sheet, where: np.ndarray, configuration: Configuration
    ) -> None:
        """Refuses, in one line, a call that would train a stored trial with another program."""
        grid = self._sheet.grid
        there = np.flatnonzero(where >= 0)
        pairs = np.unique([sheet.grid.choice_of(there), grid.choice_of(where[there])], axis=1)
        functions = {name.partition("[")[0] for name in configuration.programs}
        for before, now in pairs.T.tolist():
            names = sheet.grid.choices[before].name, grid.choices[now].name
            for function in functions:
                old, new = (f"{function}[{name}]" if name else function for name in names)
                if contents.entries.get(old) != configuration.entries.get(new):
                    raise ValueError(f"expected the programs of {contents.directory}, got another one for {new}")

    def earlier(self) -> Iterator[tuple[np.ndarray, Arrays]]:
        """Yields finished results of earlier calls: their positions in the grid's product, and the results."""
        for contents, sheet, where in self._earlier.values():
            if sheet.about["iterations"] == self._sheet.about["iterations"]:
                yield from contents.finished(sheet, where)

    def own(self, have: Callable[[], np.ndarray]) -> Sheet:
        """Returns the description of what is to run here, and keeps it.

        Args:
          have: which trials of the grid's product earlier calls have finished.
        """
        grid = self._sheet.grid
        stored = read_sheet(self.store.directory / LABELS)
        selected, starts = grid.selected, list(self._sheet.starts)
        if self._earlier:
            here = have().copy()
            if stored is None or stored.grid.selected is None:
                selected, starts = self._beginning(here)
            else:
                selected, starts = stored.grid.selected, list(stored.starts)
            here[selected] = True
            selected = np.concatenate([selected, np.flatnonzero(~here)])
        sheet = self._sheet._replace(grid=grid if selected is None else grid.select(selected), starts=starts)
        if stored is None or not _same(stored.grid.selected, sheet.grid.selected):
            self.store.save_sheet(sheet)
        return sheet

    def _beginning(self, have: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, str, int, int]]]:
        """Returns the trials that go on from final states, and the parts that they form."""
        iterations = self._sheet.about["iterations"]
        taken, chosen, starts = have.copy(), [np.empty(0, np.int64)], []
        for contents, sheet, where in reversed(self._earlier.values()):
            if (made := sheet.about["iterations"]) == iterations:
                continue
            for state in contents.states("final"):
                positions = where[sheet.grid.positions(state.part)]
                if made != state.iteration or state.iteration > iterations or (positions < 0).any():
                    continue
                if not taken[positions].any():
                    begin = sum(map(len, chosen))
                    name = str(contents.directory.relative_to(self._root))
                    starts.append((begin, begin + len(positions), name, state.part.start, state.part.stop))
                    chosen.append(positions)
                    taken[positions] = True
        return np.concatenate(chosen), starts

    def made(self, start: tuple[int, int, str, int, int]) -> int:
        """Returns the number of iterations in the final state that a part goes on from."""
        return int(self._earlier[self._root / start[2]][1].about["iterations"])

    def start(self, part: range, starts: Sequence[tuple[int, int, str, int, int]]) -> tuple[int, Arrays] | None:
        """Returns the iterations and the final state that a part goes on from; None if it begins anew."""
        for start in starts:
            begin, end, name, first, last = start
            if part == range(begin, end):
                contents, made = self._earlier[self._root / name][0], self.made(start)
                path = contents.state_path(range(first, last), made, "final")
                if (arrays := contents.load(path, "its trials start again")) is None:
                    return None
                marks = sum(mark <= made for mark in self._sheet.about["marks"])
                noted = {key: x for key, x in arrays.items() if ":" not in key or int(key.partition(":")[0]) < marks}
                return made, noted
        return None


def _same(some: np.ndarray | None, others: np.ndarray | None) -> bool:
    if some is None or others is None:
        return some is others
    return np.array_equal(some, others)


def _check_growth(stored: Contents, configuration: Configuration) -> None:
    """Refuses, in one line, a sweep that differs in more than the trials and their number of iterations."""
    if told := unlike(stored.entries, configuration.entries, programs=False):  # by trials, see _check_programs
        raise DirectoryRefusedError(
            f"extend: expected other seeds, values or more iterations only, got {stored.directory} with another "
            f"{told}; name another directory"
        )


def unlike(
    some: Mapping[str, str], others: Mapping[str, str], growing: Collection[str] = GROWING, *, programs: bool = True
) -> str:
    """Returns the differences of two sweeps other than their trials, for a message; an empty string if there are none.

    Args:
      some: a configuration.
      others: another one.
      growing: names of entries that do not count, in addition to those of axes and points.
      programs: whether programs of one name have to be equal.
    """
    there, now = (with_order({**x, **_forms(x)}) for x in (some, others))

    def may_differ(name: str) -> bool:
        if name in growing or name.startswith(("axes.", "points.", "order of axes")):
            return True
        in_both = name in there and name in now
        if _is_program(name):
            return not (programs and in_both)
        return (name in COMING or name.startswith(_FORM_OF)) and not in_both

    rest = [name for name in differences(there, now) if not may_differ(name)]
    return "; ".join(
        f"program of {name}" if _is_program(name) else f"{name}: {there.get(name)} stored, {now.get(name)} now"
        for name in rest
    )


def _check_tasks(directory: Path, configuration: Configuration) -> None:
    """Refuses, in one line, a task in a directory with tasks of another sweep."""
    for path in sweeps_in(directory):
        if told := unlike_tasks(Contents(path).entries, configuration.entries):
            raise DirectoryRefusedError(
                f"part: expected tasks of one sweep, got {path} there, which differs in {told}; name another directory"
            )


def unlike_tasks(some: Mapping[str, str], others: Mapping[str, str]) -> str:
    """Returns the differences of two tasks' sweeps, for a message; an empty string if they share one sweep."""
    rest = [name for name in differences(some, others) if name != "task"]
    numbers = {x.get("task", "").partition(" of ")[2] for x in (some, others)}
    return "; ".join(rest) or ("the number of tasks" if len(numbers) > 1 else "")


def _is_program(name: str) -> bool:
    return name.partition("[")[0] in ("train_one", "init", "step", "summarise", "observe", "stop")


def _forms(entries: Mapping[str, str]) -> dict[str, str]:
    """Returns the form of each program, if all programs share one."""
    names = [name for name in entries if name.startswith(("train_one[", "step["))]
    return {name.replace(name.partition("[")[0], _FORM_OF, 1): entries["form"] for name in names if "form" in entries}
