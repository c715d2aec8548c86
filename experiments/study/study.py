"""A study, declared once: its options, what it trains and records, what its report says.

What all studies share happens here, in this order: check the options, load the data, choose or resume the directory,
train, write the records, write and print the report. A new study is one file in `experiments/studies` and one line in
`experiments/contents.py`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from experiments.study import imports
from experiments.study.options import check_options, seeds_of
from experiments.study.statements import Statement
from experiments.study.tables import Table

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.study.progress import SweepProgress
    from experiments.study.run_directory import Run


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable of the records.

    Attributes:
      key: its name in what a sweep returns.
      description: its meaning and unit, in words.
      dims: the names of its own dims, which come after those of the trials.
    """

    key: str
    description: str
    dims: tuple[str, ...] = ()


class Work:
    """What a study is given to train with.

    Attributes:
      directory: for what an interrupted run goes on from.
      seconds: what took how long, for run.json.
      writes: whether this process, one of several, writes and prints.
    """

    def __init__(self, directory: Path, *, writes: bool = True) -> None:
        self.directory, self.writes = directory, writes
        self.seconds: dict[str, Any] = {}
        self._shown = contextlib.ExitStack()

    def progress(self, names: Sequence[str], steps: int, unit: str = "steps") -> SweepProgress:
        """Shows, from now on, the progress of trainings of these names, each of `steps` steps."""
        from experiments.study.progress import SweepProgress

        self.close()
        return self._shown.enter_context(SweepProgress(names, steps, unit=unit, quiet=not self.writes))

    def shown(self, names: Sequence[str], steps: int, unit: str = "steps") -> dict[str, Any]:
        """Returns options that show the progress of a sweep over trainings of these names, one after the other."""
        progress = self.progress(names, steps, unit)
        return {"on_plan": progress.planned, "on_progress": progress.swept}

    def sweep(
        self, study: Any, training: Any, names: Sequence[str], *, directory: str = "networks", **options: Any
    ) -> xr.Dataset:
        """Trains the seeds of a study for its steps with `long_sweep`, shows how far it is, and resumes.

        Args:
          study: with options `first_seed`, `seeds` and `steps`.
          training: to be swept.
          names: of the trainings that are shown, in the order of the sweep.
          directory: the name of the place for what an interrupted run goes on from.
          options: others of `long_sweep`; its `iterations` too, if they are not the study's steps.
        """
        from paramact_jax.sweeps import long_sweep

        steps = options.pop("iterations", None) or study.steps
        options |= self.shown(names, steps)
        place = self.directory / directory
        return long_sweep(training, seeds_of(study), iterations=steps, directory=place, **options)

    def say(self, line: str) -> None:
        """Prints a line about what happens."""
        if self.writes:
            print(line, file=sys.stderr)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Notes the seconds of a block in `seconds`."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin

    def close(self) -> None:
        """Stops showing the progress."""
        self._shown.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(abc.ABC):
    """Base class of every command that writes a run.

    The fields of a subclass are its command-line options. Constraints stand with their types, see `options`. Together
    the options are the `config` in run.json. A run that resumes an interrupted run must have the same config.

    Attributes:
      name: the name of the study, in run.json and of the directory of a run.
      command: its words on the command line, if they differ from the name.
      heading: the heading of its report.
      renamed: options that had another name in earlier runs: old name -> new name.
      free: options that a resumed run may change, since each value has a directory of its own.
    """

    name: ClassVar[str]
    command: ClassVar[str] = ""
    heading: ClassVar[str]
    renamed: ClassVar[Mapping[str, str]] = {}
    free: ClassVar[frozenset[str]] = frozenset()

    if TYPE_CHECKING:
        out: Path | None

    def resolved(self) -> Self:
        """Returns the study with every option filled in, where a protocol says what None stands for."""
        return self

    def load(self) -> Any:
        """Loads what it trains on.

        Raises:
          ValueError: in one line, if that is missing.
        """
        return None

    def check(self, data: Any) -> None:  # noqa: B027  # most studies need none
        """Refuses, with ValueError in one line, what the constraints of the fields cannot express."""

    @abc.abstractmethod
    def train(self, data: Any, work: Work) -> xr.Dataset:
        """Trains; returns the labelled records."""

    @classmethod
    @abc.abstractmethod
    def tables(cls, run: Run) -> Iterator[tuple[str, Table]]:
        """Yields the tables of the report by file name, from the records alone, without that of the statements."""

    @classmethod
    def figures(cls, run: Run) -> Iterator[tuple[str, Figure]]:
        """Yields the figures of the report by file name."""
        yield from ()

    @classmethod
    def statements(cls, run: Run) -> Iterator[Statement]:
        """Yields what sources claim, judged by the records."""
        yield from ()

    @classmethod
    def summary(cls, run: Run) -> Mapping[str, Any]:
        """Returns the numbers of the report as plain data, by name."""
        return {}

    @classmethod
    def opening(cls, run: Run) -> str:
        """Returns the result in a sentence, for the top of the report."""
        return ""

    def config(self, data: Any) -> dict[str, Any]:
        """Returns the options that decide the results."""
        left_out = ("out", "data_dir", "machines")
        options = {k: v for k, v in dataclasses.asdict(self).items() if k not in left_out}
        return options | ({"data": data.source} if "data" in options else {})

    @classmethod
    def up_to_date(cls, run: Run) -> Run:
        """Returns a run as this code would have written it: options that have another name now are renamed."""
        config = run.manifest["config"]
        for old, new in cls.renamed.items():
            if old in config:
                config[new] = config.pop(old)
        return run

    def words(self, out: Path) -> list[str]:
        """Returns the words of a command line with the same options that writes to `out`."""
        words = (self.command or self.name).split()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "out" and value != field.default and not dataclasses.is_dataclass(value):
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{field.name.replace('_', '-')}", *map(str, [] if value is True else values)]
        return [*words, "--out", str(out)]

    def prepare(self) -> Callable[[], None]:
        """Checks everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.study import run_directory
        from experiments.study.startup import start

        study = self.resolved()
        check_options(study)
        out = run_directory.choose(study.out, study.name)
        imports.complete()
        data = study.load()
        study.check(data)
        machines = getattr(study, "machines", None)
        if machines is not None:
            machines.check()
        shared = {k: v for k, v in study.config(data).items() if k not in study.free}
        run_directory.check_unfinished(out, shared)
        writes = start(machines)
        return lambda: study._run(
            data, out, shared, writes, shlex.join(["python", "-m", "experiments", *self.words(out)])
        )

    def _run(self, data: Any, out: Path, shared: Mapping[str, Any], writes: bool, again: str) -> None:
        from experiments.study import report, run_directory
        from experiments.study.startup import importing

        begin = time.perf_counter()
        if not writes:
            self.train(data, Work(run_directory.kept(out), writes=False))
            return
        with run_directory.unfinished(out, shared, again=again) as directory:
            work = Work(directory)
            try:
                with importing("h5netcdf", "matplotlib.figure", "scipy.stats"):
                    records = self.train(data, work)
            finally:
                work.close()
            seconds = {"total": time.perf_counter() - begin, **work.seconds}
            run = run_directory.write(out, records, experiment=self.name, config=self.config(data), seconds=seconds)
        report.make(type(self), [run])
        print(f"{time.perf_counter() - begin:.1f} s; records, tables and figures in {out}")


def described(
    found: xr.Dataset, variables: Mapping[str, Variable], coords: Mapping[str, Any], attributes: Mapping[str, Any]
) -> xr.Dataset:
    """Makes the records of a study: variables of a sweep's results under the names, dims and texts of the study.

    Args:
      found: what `sweep` or `long_sweep` returned.
      variables: the variables to keep, by their names in the records.
      coords: the labels of the variables' own dims.
      attributes: the attributes of the dataset.
    """
    import xarray as xr

    kept = {}
    for name, variable in variables.items():
        own = found[variable.key]
        dims = dict(zip([f"{variable.key}_dim_{i}" for i in range(len(variable.dims))], variable.dims, strict=True))
        kept[name] = own.rename(dims).assign_attrs(description=variable.description)
    return xr.Dataset(kept, coords=dict(coords), attrs=dict(attributes))
