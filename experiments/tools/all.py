"""`python -m experiments all`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from experiments.commands import CONTENTS, TOOLS, Leaf, leaves, parse, prepared
from experiments.problems.digits import Data, load
from experiments.study import run_directory
from experiments.study.startup import start
from experiments.study.tables import Table

_CONFIG = "all.json"
_FAILED = "FAILED"
_LONG = [("bench", "xor10"), ("bench", "activations")]
"""Commands that compute longer than they compile, even when small."""


@dataclasses.dataclass(frozen=True)
class _Done:
    """The outcome of a command ("done", "done before", or why it failed), and what it printed, if that was caught."""

    outcome: str
    seconds: float
    printed: str = ""


@dataclasses.dataclass(frozen=True)
class All:
    """Run every experiment at its defaults, one after the other; or everything, tools too, small: --smoke.

    What is done already is skipped: interrupted, it goes on where it was when the same command is given the same --out.
    One that fails does not stop the others; it is said at the end, with exit status 1. About 100 minutes on 2 cores, 4
    with --smoke. Writes runs/all-DATE-TIME/: the directory of each experiment, under its own name.
    Example: python -m experiments all --data-dir ~/data/mnist --out runs/all
    """

    smoke: bool = False
    """Only show that everything runs, on a CPU side by side: few trials, few iterations, images that need no files."""
    data: Data = "auto"
    """Where MNIST comes from, see `mnist`."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write: a new one, or that of an earlier call (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], int]:
        """Checks the directory and the data; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        if self.smoke and (self.data != "auto" or self.data_dir is not None):
            raise ValueError("--smoke: expected no --data and no --data-dir with it; leave them out")
        config = {"smoke": self.smoke, "data": self.data}
        out = _directory(self.out, config)
        if not self.smoke:
            load(self.data, self.data_dir)  # missing data is reported now, not after an hour
        return lambda: _run(self, config, out)

    def arguments(self, leaf: Leaf, out: Path) -> list[str]:
        """Returns the command line of a command.

        Args:
          leaf: what to run.
          out: the directory of all commands.
        """
        target = out / "-".join(leaf.path)
        if leaf.smoke is not None and self.smoke:
            runs = sorted(str(path.parent) for path in out.glob("*/run.json"))[:2]
            words = [
                word.replace("OUT", str(target)) if word.startswith("OUT") else word for word in leaf.smoke.split()
            ]
            return [*leaf.path, *(x for word in words for x in (runs if word == "RUNS" else [word]))]
        fields = {field.name for field in dataclasses.fields(leaf.command)}  # type: ignore[arg-type]  # a dataclass
        options = ["--out", str(target)]
        if "data" in fields:
            options += ["--data", self.data]
        if "data_dir" in fields and self.data_dir is not None:
            options += ["--data-dir", str(self.data_dir)]
        return [*leaf.path, *options]


def chosen(smoke: bool) -> list[Leaf]:
    """Returns what `all` runs: the experiments, or everything that has options to make it small."""
    found = [(title, leaf) for title, chapter in CONTENTS.items() for entry in chapter for leaf in leaves(entry)]
    return [leaf for title, leaf in found if (leaf.smoke is not None if smoke else title != TOOLS)]


def _directory(out: Path | None, config: dict[str, Any]) -> Path:
    """Returns the directory to write: a new one, or that of an earlier call with the same config."""
    if out is None or not out.exists():
        return run_directory.choose(out, "all")
    try:
        theirs = json.loads((out / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--out: expected a new directory or one of `all`, got {out} ({error})") from error
    if theirs != config:
        raise ValueError(f"--out: expected the options of the earlier call, {theirs}, got {config}; name another one")
    return out


def _run(command: All, config: dict[str, Any], out: Path) -> int:
    import jax

    out.mkdir(parents=True, exist_ok=True)
    run_directory.replace(out / _CONFIG, json.dumps(config, indent=2).encode() + b"\n")
    todo = chosen(command.smoke)
    start()
    # on an accelerator the first of several processes takes all or most of the memory
    apart = command.smoke and jax.default_backend() == "cpu"
    try:
        done = (_side_by_side if apart else _one_after_another)(command, todo, out)
    except KeyboardInterrupt:
        print(f"interrupted; the same command with --out {out} goes on where it was", file=sys.stderr)
        raise
    rows = [(" ".join(leaf.path), f"{done[leaf].seconds:.1f}", done[leaf].outcome) for leaf in todo]
    print(Table(f"All, in {out}", ("command", "seconds", "outcome"), rows, left=("outcome",)).plain())
    return int(any(one.outcome.startswith(_FAILED) for one in done.values()))


def _one_after_another(command: All, todo: Sequence[Leaf], out: Path) -> dict[Leaf, _Done]:
    """Runs each command on all devices, in this process."""
    done = {}
    for i, leaf in enumerate(todo):
        print(f"{i + 1} of {len(todo)}: {' '.join(leaf.path)}", file=sys.stderr)
        done[leaf] = _one(command, leaf, out)
    return done


def _side_by_side(command: All, todo: Sequence[Leaf], out: Path) -> dict[Leaf, _Done]:
    """Runs as many at once as there are cores: first the tools, which take longest, last what reads all runs."""
    from paramact_jax.sweeps.devices import usable_cores

    tools = [leaf for entry in CONTENTS[TOOLS] for leaf in leaves(entry)]
    last = [leaf for leaf in todo if "RUNS" in str(leaf.smoke)]
    first = sorted((leaf for leaf in todo if leaf not in last), key=lambda leaf: leaf not in tools)
    done = {}
    for some in (first, last):
        with ProcessPoolExecutor(
            usable_cores(),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=importlib.import_module,  # a new process does not know the commands yet
            initargs=("experiments.contents",),
        ) as pool:
            for leaf, future in [(leaf, pool.submit(_apart, command, leaf, out)) for leaf in some]:
                begin = time.perf_counter()
                try:
                    done[leaf] = future.result()
                except BrokenExecutor as error:  # a process was killed, perhaps because memory ran out
                    done[leaf] = _Done(f"{_FAILED}: {error}".splitlines()[0], time.perf_counter() - begin)
                print(f"{' '.join(leaf.path)}\n\n{done[leaf].printed}", flush=True)
    return done


def _apart(command: All, leaf: Leaf, out: Path) -> _Done:
    """Does the same as `_one` in another process, compiled without optimisation where compilation takes longest."""
    import jax

    start()
    jax.config.update("jax_disable_most_optimizations", leaf.path not in _LONG)
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        done = _one(command, leaf, out)
    return dataclasses.replace(done, printed=printed.getvalue())


def _one(command: All, leaf: Leaf, out: Path) -> _Done:
    """Runs what is left to do of a command; a failure is an outcome."""
    begin = time.perf_counter()
    try:
        arguments = _left(command, leaf, out)
        if arguments is None:
            outcome = "done before"
        elif status := prepared(parse(arguments))():
            outcome = f"{_FAILED}: exit status {status}"
        else:
            outcome = "done"
    except BrokenPipeError:
        raise
    except Exception as error:  # whatever it was, the others go on
        traceback.print_exc()
        outcome = f"{_FAILED}: {type(error).__name__}: {error}".splitlines()[0]
    return _Done(outcome, time.perf_counter() - begin)


def _left(command: All, leaf: Leaf, out: Path) -> list[str] | None:
    """Returns the arguments of what is left to do of a command; None if it is done.

    Raises:
      ValueError: if its directory has a damaged run.
    """
    target = out / "-".join(leaf.path)
    if (target / run_directory.MANIFEST).exists():
        run_directory.read(target)
        return None if (target / "report.md").exists() else ["report", str(target)]
    if target.exists() or target.with_suffix(".json").exists():
        return None
    return command.arguments(leaf, out)
