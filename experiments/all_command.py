"""`python -m experiments all`."""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.mnist.data import Data

if TYPE_CHECKING:
    from experiments.contents import Leaf

_CONFIG = "all.json"


@dataclasses.dataclass(frozen=True)
class All:
    """Run every experiment at its defaults, one after the other; or everything, tools too, small: --smoke.

    What is done already is skipped: interrupted, it goes on where it was when the same command is given the same --out.
    One that fails does not stop the others; it is said at the end, with exit status 1. About 90 minutes on 2 cores, 3
    with --smoke. Writes runs/all-DATE-TIME/: the directory of each experiment, under its own name.
    Example: python -m experiments all --data-dir ~/data/mnist --out runs/all
    """

    smoke: bool = False
    """Only show that everything runs: few trials, few iterations, images that need no files."""
    data: Data = "auto"
    """Where MNIST comes from, see `mnist`."""
    data_dir: Path | None = None
    """Directory of the four original files (default: PARAMACT_DATA in the environment)."""
    out: Path | None = None
    """Directory to write: a new one, or that of an earlier call (default: a new one under runs/)."""

    def prepare(self) -> Callable[[], int]:
        """Check the directory and the data; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from experiments.mnist.data import load

        if self.smoke and (self.data != "auto" or self.data_dir is not None):
            raise ValueError("--smoke: expected no --data and no --data-dir with it; leave them out")
        config = {"smoke": self.smoke, "data": self.data}
        out = _directory(self.out, config)
        if not self.smoke:
            load(self.data, self.data_dir)  # said now, not after an hour
        return lambda: _run(self, config, out)

    def arguments(self, leaf: Leaf, out: Path) -> list[str]:
        """The command line of one of them.

        Args:
          leaf: what to run.
          out: the directory of all.
        """
        target = out / "-".join(leaf.path)
        if leaf.smoke is not None and self.smoke:
            runs = sorted(str(path.parent) for path in out.glob("*/run.json"))
            options = [
                path for word in leaf.smoke.split() for path in (runs if word == "RUNS" else [_put(word, target)])
            ]
        else:
            fields = {field.name for field in dataclasses.fields(leaf.command)}  # type: ignore[arg-type]  # a dataclass
            options = ["--out", str(target)]
            if "data" in fields:
                options += ["--data", self.data]
            if "data_dir" in fields and self.data_dir is not None:
                options += ["--data-dir", str(self.data_dir)]
        return [*leaf.path, *options]


def chosen(smoke: bool) -> list[Leaf]:
    """What `all` runs: the experiments, or everything that has options to make it small."""
    from experiments.contents import CONTENTS, TOOLS, leaves

    return [
        leaf
        for title, chapter in CONTENTS.items()
        for entry in chapter
        for leaf in leaves(entry)
        if (leaf.smoke is not None if smoke else title != TOOLS)
    ]


def _put(word: str, target: Path) -> str:
    return str(target) + word.removeprefix("OUT") if word.startswith("OUT") else word


def _directory(out: Path | None, config: dict[str, Any]) -> Path:
    """The directory to write, which is new or that of an earlier call of the same kind."""
    from experiments import run_directory

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
    import sys

    from experiments import run_directory
    from experiments.startup import start
    from experiments.tables import Table

    start()
    out.mkdir(parents=True, exist_ok=True)
    run_directory.replace(out / _CONFIG, json.dumps(config, indent=2).encode() + b"\n")
    todo = chosen(command.smoke)
    rows, failed = [], False
    for i, leaf in enumerate(todo):
        name, begin = " ".join(leaf.path), time.perf_counter()
        print(f"{i + 1} of {len(todo)}: {name}", file=sys.stderr)
        try:
            outcome = _one(command.arguments(leaf, out), out / "-".join(leaf.path))
        except BrokenPipeError:
            raise
        except Exception as error:  # the others go on, whatever it was
            traceback.print_exc()
            outcome, failed = f"FAILED: {type(error).__name__}: {error}".splitlines()[0], True
        except KeyboardInterrupt:
            print(f"interrupted; the same command with --out {out} goes on where it was", file=sys.stderr)
            raise
        rows.append((name, f"{time.perf_counter() - begin:.1f}", outcome))
    print(Table(f"All, in {out}", ("command", "seconds", "outcome"), rows, left=("outcome",)).plain())
    return int(failed)


def _one(arguments: Sequence[str], target: Path) -> str:
    """Run one, unless it is done; returns what became of it.

    Raises:
      Exception: whatever the command raises; RuntimeError for an exit status.
    """
    from experiments import run_directory
    from experiments.contents import parse

    if (target / run_directory.MANIFEST).exists():
        run_directory.read(target)
        if (target / "report.md").exists():
            return "done before"
        arguments = ["report", str(target)]
    elif target.exists() or target.with_suffix(".json").exists():
        return "done before"
    if status := parse(arguments).prepare()():
        raise RuntimeError(f"exit status {status}")
    return "done"
