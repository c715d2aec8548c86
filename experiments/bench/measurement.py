"""What all benches share: options, turns, medians and ratios within a round, the machine, how a result is shown."""

from __future__ import annotations

import abc
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from experiments.study import imports
from experiments.study.environment import environment, version
from experiments.study.imports import at_once
from experiments.study.options import Constraint, Count, check_options
from experiments.study.run_directory import replace
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    import jax

    from paramact_jax.sweeps import use_all_cores
    from paramact_jax.sweeps.compiler import has_avx512

T = TypeVar("T")
PAUSE = 0.02  # seconds; idle threads of the one before spin for some milliseconds on the cores the next one needs
NewFile = Annotated[
    Path | None,
    Constraint("a new file in a directory that exists", lambda x: not x.exists() and x.absolute().parent.is_dir()),
]
LABELS = {
    "yardstick": "yardstick",
    "project": "this project",
    "usual": "usual way",
    "usual_sharded": "usual, sharded",
    "one_seed": "one seed",
    "one_seed_one_device": "one seed, one device",
    "seeds_at_once": "seeds at once",
    "pytorch": "PyTorch",
}
"""The contestants by their name in a result, in the order of a table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(abc.ABC):
    """Base class of the benches; the fields are the options."""

    rounds: Count = 5
    """Measured runs of each contestant."""
    json: NewFile = None
    """File to write the result to, which must not exist."""

    def load(self) -> Any:
        """What is needed to measure; raises ValueError, in one line, if it is not there."""
        return None

    @abc.abstractmethod
    def measure(self, data: Any) -> tuple[dict[str, Any], Iterable[Table]]:
        """The result for JSON, see `shown`, and for people."""

    def prepare(self) -> Callable[[], None]:
        """Checks everything that can be checked before compiling; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        check_options(self)
        imports.complete()
        use_all_cores()
        data = self.load()

        def work() -> None:
            measured, tables = self.measure(data)
            result = machine_and_versions(len(jax.devices("cpu"))) | measured
            print(shown(result, tables))
            if self.json is not None:
                replace(self.json, json.dumps(result, indent=2).encode() + b"\n")

        return work


def say(line: str) -> None:
    """Tells about the progress."""
    print(line, file=sys.stderr)


def seconds_of(call: Callable[[], Any]) -> float:
    """How long a call takes until its result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def in_turns(runs: Mapping[str, Callable[[], T]], rounds: int, *, pause: float = PAUSE) -> dict[str, list[T]]:
    """What each of some functions returns in every round. Each has run once before, unmeasured.

    A machine that slows down or is shared slows all of them; who begins changes from round to round.
    """
    found: dict[str, list[T]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds):
        first = i % len(names)
        for name in [*names[first:], *names[:first]]:
            time.sleep(pause)
            found[name].append(runs[name]())
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The least, the median, the most and all of the values of the rounds."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "rounds": list(values)}


def ratios(of: Sequence[float], to: Sequence[float]) -> dict[str, Any]:
    """The spread of the ratios within a round, which a machine that drifts distorts least."""
    return spread([x / y for x, y in zip(of, to, strict=True)])


def target(text: str, value: float | None, holds: Callable[[float], bool], **more: str) -> dict[str, Any]:
    """What is to be reached, the number measured (None without one), and whether it is reached."""
    return {"target": text, "value": value, "met": None if value is None else bool(holds(value)), **more}


def machine_and_versions(cores: int) -> dict[str, Any]:
    """The entries `machine`, `versions` and `commit` of a result; the version of a missing package is None.

    Args:
      cores: how many the contestants use.
    """
    there = environment()
    about = {"cpu": there["processor"], "cores_used": cores, "cores_there": os.cpu_count(), "avx512": has_avx512()}
    packages = {name: there["packages"][name] for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {
        "machine": {**about, "default_backend": jax.default_backend()},
        "versions": {"python": there["python"], **packages, "torch": version("torch")},
        "commit": there["commit"],
    }


def shown(result: Mapping[str, Any], tables: Iterable[Table]) -> str:
    """A result for a terminal: the machine, tables, contestants and targets.

    Args:
      result: `machine` and `versions`, and if there are some `parameters`, of which `data` is shown, `contestants` (by
        name what each is, or why it was `skipped`), and `targets`.
      tables: of it.
    """
    machine, data = result["machine"], result.get("parameters", {}).get("data")
    avx512 = "with AVX-512" if machine["avx512"] else "without AVX-512"
    head = f"{machine['cpu']}, {machine['cores_used']} of {machine['cores_there']} cores, {avx512}"
    packages = ", ".join(f"{name} {number}" for name, number in result["versions"].items() if number)
    lines = []
    for name, label in LABELS.items():
        if about := result.get("contestants", {}).get(name):
            lines.append(f"{label}: {about['what'] if 'what' in about else 'skipped, ' + about['skipped']}")
    for x in result.get("targets", []):
        value = "" if x["value"] is None else f" ({x['value']:.2f}{', ' + x['where'] if 'where' in x else ''})"
        lines.append(f"{x['target']}: { ({True: 'met', False: 'NOT met', None: 'not measured'}[x['met']]) }{value}")
    head += f"; {data}" if data else ""
    return "\n".join([head, f"{packages}\n", *(table.plain() for table in tables), *lines])
