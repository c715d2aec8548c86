"""`python -m experiments bench accelerator`: what this project does on the device that is there, part by part.

`python -m experiments.bench.accelerator` takes the same options and needs fewer packages: JAX, Flax, optax, xarray.
"""

from __future__ import annotations

import argparse
import dataclasses
import json as as_json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.bench.accelerator_report import render, usual_to_project
from experiments.bench.output import check, say
from experiments.study.run_directory import replace

PARTS = {"info": 60, "xor10": 130, "usual": 90, "mnist": 300, "torch": 120}
"""Seconds that each may take at most."""

LEAST = 5
"""Seconds below which a part is not begun."""

_TAIL = 1_500  # characters of what a failed part said last


@dataclasses.dataclass(frozen=True)
class BenchAccelerator:
    """Measure XOR(10), digits and PyTorch on the GPU or TPU that is there, or on the CPU, beside the usual way in JAX.

    Each part is a process with a time limit, so one that fails or hangs leaves the others alone. About 6 minutes on 2
    cores; writes nothing but the JSON asked for. Example: python -m experiments bench accelerator --parts info,xor10
    """

    json: Path | None = None
    """File to write the result to, after every part, which must not exist."""
    parts: str = ",".join(PARTS)
    """Parts in the order in which they run: info,xor10,usual,mnist,torch or some of them."""
    total: int = 600
    """Seconds that all of them may take at most."""
    small: bool = False
    """Whether to take tiny sizes only, to see that everything runs."""

    def prepare(self) -> Callable[[], int]:
        """Check the options; returns the work, and that 1 if a part did not finish.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        check(1, self.json)
        names = self.parts.split(",")
        if set(names) - set(PARTS) or len(set(names)) < len(names):
            raise ValueError(f"--parts: expected some of {','.join(PARTS)}, each once, got {self.parts!r}")
        if self.total < LEAST:
            raise ValueError(f"--total: expected a number of seconds >= {LEAST}, got {self.total}")

        def keep(result: dict[str, Any]) -> None:
            if self.json is not None:
                replace(self.json, as_json.dumps(result, indent=2).encode() + b"\n")

        def work() -> int:
            result = measure(names, total=self.total, small=self.small, on_part=keep)
            print(render(result))
            return int(not all(part.get("finished") for part in result["parts"].values()))

        return work


def measure(
    names: Sequence[str],
    *,
    total: float,
    small: bool = False,
    on_part: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Run parts one after the other.

    Args:
      names: of `PARTS`.
      total: seconds that all may take.
      small: whether to take tiny sizes.
      on_part: called with the result after every part.

    Returns:
      A dict for JSON: `parts` (by name the part's numbers, its `seconds`, and `finished`, `cut`, `failed` or
      `skipped`), `usual_to_project`, and after the part info `machine`, `versions` and `commit`.
    """
    begin = time.monotonic()
    result: dict[str, Any] = {"small": small, "parts": {}, "usual_to_project": {}}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        environment = {
            **os.environ,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # PyTorch wants memory too
            # of this call alone: the first training is compiled, the second finds its programs, as a user's does
            "JAX_COMPILATION_CACHE_DIR": str(Path(scratch) / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        for name in names:
            limit = min(PARTS[name], begin + total - time.monotonic())
            if limit < LEAST:
                found: dict[str, Any] = {"skipped": f"the {total:g} s of all parts are over"}
            else:
                say(f"{name}: at most {limit:.0f} s")
                file = Path(scratch) / f"{name}.json"
                options = [name, str(file), str(int(limit) + 1), *(["small"] if small else [])]
                words = [sys.executable, "-m", "experiments.bench.accelerator_parts", *options]
                only_cpu = {"JAX_PLATFORMS": "cpu"} if name == "torch" else {}
                found = in_a_process(words, file, limit, environment | only_cpu)
            result |= {entry: found.pop(entry) for entry in ("machine", "versions", "commit") if entry in found}
            result["parts"][name] = found
            result["usual_to_project"] = usual_to_project(result["parts"])
            on_part(result)
    return result


def in_a_process(words: Sequence[str], file: Path, limit: float, environment: dict[str, str]) -> dict[str, Any]:
    """What a part measured, and how it ended.

    Args:
      words: of its command line.
      file: the part writes a JSON object to it, anew whenever it has measured something.
      limit: seconds after which it is ended, with every process that it started.
      environment: its variables.
    """
    begin = time.monotonic()
    ending: dict[str, Any] = {}
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(words, env=environment, stdout=2, stderr=errors, start_new_session=True) as process:
            try:
                process.wait(limit)
            except BaseException as error:  # a session of its own: Ctrl-C does not reach it by itself
                os.killpg(process.pid, signal.SIGKILL)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                ending = {"cut": f"after {limit:.0f} s"}
        if process.returncode and not ending:
            errors.seek(0)
            lines = errors.read().decode(errors="replace")[-_TAIL:].splitlines()
            why = lines[-1] if lines else "it said nothing"
            ending = {"failed": f"exit status {process.returncode}: {why}", "said_last": lines}
    measured = as_json.loads(file.read_bytes()) if file.exists() else {}
    return measured | ending | {"seconds": time.monotonic() - begin}


def main(words: Sequence[str] | None = None) -> int:
    """The command without tyro; returns its exit status.

    Args:
      words: the options; None: those of this process.
    """
    default = BenchAccelerator()
    parser = argparse.ArgumentParser("python -m experiments.bench.accelerator", description=BenchAccelerator.__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--parts", default=default.parts)
    parser.add_argument("--total", type=int, default=default.total)
    parser.add_argument("--small", action="store_true")
    try:
        work = BenchAccelerator(**vars(parser.parse_args(words))).prepare()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return work()


if __name__ == "__main__":
    sys.exit(main())
