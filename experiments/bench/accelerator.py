"""`bench accelerator`: measures this project on the device that is there, part by part.

`python -m experiments.bench.accelerator` takes the same options and needs fewer packages: JAX, Flax, optax, xarray.
`python -m experiments.bench.accelerator part ...` runs one part; each part is such a process.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json as as_json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench import contest
from experiments.bench import xor10 as on_xor10
from experiments.bench.contest import NewFile, machine_and_versions, say
from experiments.bench.digits import Lineup, on_mnist
from experiments.problems.digits import load
from experiments.problems.mnist.protocol import PROTOCOLS as MNIST_PROTOCOLS
from experiments.problems.mnist.protocol import Protocol as MnistProtocol
from experiments.problems.xor10.protocol import PROTOCOLS, Protocol
from experiments.study import imports
from experiments.study.environment import version
from experiments.study.imports import at_once
from experiments.study.options import Constraint, check_options
from experiments.study.run_directory import replace
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.problems.mnist.train import train as train_digits
    from experiments.problems.timing import seconds_of
    from experiments.problems.xor10.train import one_trial, train
    from paramact_jax.activations import catalogue
    from paramact_jax.datasets import Digits, synthetic_mnist
    from paramact_jax.papers import ko2021
    from paramact_jax.statistics import holm, two_proportion_p_value
    from paramact_jax.sweeps import Progress, choose, sweep, use_all_cores
    from paramact_jax.sweeps.arguments import as_arrays
    from paramact_jax.sweeps.devices import trial_mesh, usable_cores
    from paramact_jax.sweeps.grid import make_grid
    from paramact_jax.sweeps.kernels import target_of
    from paramact_jax.sweeps.sweep import programs_of
    from paramact_jax.sweeps.trials import share, together

PARTS = {"info": 60, "xor10": 130, "usual": 90, "mnist": 300, "torch": 120}
"""The parts, and the seconds that each may take at most."""
LEAST = 5
"""Seconds; with fewer left a part is not begun."""
ROUNDS = 3
SIGNIFICANCE = 0.05
"""A row matches unless a test, with Holm's correction over the rows, rejects at this level."""
_TAIL = 1_500  # characters of what a failed part said last
_PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin", "libtpu")
_KEPT = Path(__file__).parents[1] / "results" / "xor10.json"

Parts = Mapping[str, Mapping[str, Any]]
Put = Callable[..., None]
"""Keeps numbers of a part as soon as they are measured."""


def _some(parts: str) -> bool:
    names = parts.split(",")
    return set(names) <= set(PARTS) and len(set(names)) == len(names)


_SOME = Constraint(f"some of {','.join(PARTS)}, each once", _some)
_ENOUGH = Constraint(f"a number of seconds >= {LEAST}", lambda x: x >= LEAST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchAccelerator:
    """Measure XOR(10), digits and PyTorch on the GPU or TPU that is there, or on the CPU, and the usual way in JAX.

    Each part is a process with a time limit, so one that fails or hangs leaves the others alone. About 6 minutes on 2
    cores; writes nothing but the JSON asked for. Example: python -m experiments bench accelerator --parts info,xor10
    """

    json: NewFile = None
    """File to write the result to, after every part, which must not exist."""
    parts: Annotated[str, _SOME] = ",".join(PARTS)
    """Parts in the order in which they run: info,xor10,usual,mnist,torch or some of them."""
    total: Annotated[int, _ENOUGH] = 600
    """Seconds that all of them may take at most."""
    small: bool = False
    """Whether to take tiny sizes only, to see that everything runs."""

    def prepare(self) -> Callable[[], int]:
        """Checks the options; returns the work, which returns 1 if a part did not finish.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        check_options(self)

        def work() -> int:
            keep = functools.partial(contest.write, self.json)
            result = measure(self.parts.split(","), total=self.total, small=self.small, on_part=keep)
            print(render(result))
            return int(not all(part.get("finished") for part in result["parts"].values()))

        return work


def main(words: Sequence[str]) -> int:
    """Runs the command without tyro, or one part; returns the exit status."""
    if words[:1] == ["part"]:
        run_part(words[1], Path(words[2]), int(words[3]), small="small" in words[4:])
        return 0
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


# -- processes ---------------------------------------------------------------------------------------------------------


def measure(
    names: Sequence[str],
    *,
    total: float,
    small: bool = False,
    on_part: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Runs parts one after the other, in `total` seconds at most; calls `on_part` with the result after every part.

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
            # a new cache: the first training compiles, the second finds the programs, as that of a user does
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
                words = [sys.executable, "-m", "experiments.bench.accelerator", "part", *options]
                only_cpu = {"JAX_PLATFORMS": "cpu"} if name == "torch" else {}
                found = in_a_process(words, file, limit, environment | only_cpu)
            result |= {entry: found.pop(entry) for entry in ("machine", "versions", "commit") if entry in found}
            result["parts"][name] = found
            result["usual_to_project"] = usual_to_project(result["parts"])
            on_part(result)
    return result


def in_a_process(words: Sequence[str], file: Path, limit: float, environment: dict[str, str]) -> dict[str, Any]:
    """Runs a part as a process; returns what it measured and how it ended.

    The process writes a JSON object to the file, again whenever it has measured something. After `limit` seconds it is
    killed, with every process that it started.
    """
    begin = time.monotonic()
    ending: dict[str, Any] = {}
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(words, env=environment, stdout=2, stderr=errors, start_new_session=True) as process:
            try:
                process.wait(limit)
            except BaseException as error:  # Ctrl-C does not reach the process, which has a session of its own
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


def run_part(name: str, file: Path, limit: int, *, small: bool) -> None:
    """Runs one part in this process, which ends itself after `limit` seconds."""
    signal.alarm(limit)
    imports.complete()
    use_all_cores()
    found: dict[str, Any] = {}

    def put(**values: Any) -> None:
        found.update(values)
        replace(file, as_json.dumps(found).encode())
        print(f"  {as_json.dumps(values)}", flush=True)

    put(device=jax.devices()[0].device_kind)
    {"info": info, "xor10": xor10, "usual": usual, "mnist": digits, "torch": pytorch}[name](put, small)
    put(finished=True)


# -- parts: `small` takes tiny sizes -----------------------------------------------------------------------------------


def info(put: Put, small: bool) -> None:
    """Measures the device, the versions, the error of a float32 product, and the time of a call."""
    found = machine_and_versions(usable_cores())
    found["versions"] |= {name: there for name in _PLUGINS if (there := version(name))}
    put(platform=jax.default_backend(), devices=jax.device_count(), **found)
    x = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    exact = x.astype(np.float64) @ x
    for precision in ("default", "highest"):
        error = np.asarray(jnp.matmul(x, x, precision=precision), np.float64) - exact
        put(**{f"product_error_{precision}": float(np.linalg.norm(error) / np.linalg.norm(exact))})
    add, calls = jax.jit(lambda x: x + 1), 200

    def counted() -> jax.Array:
        return functools.reduce(lambda reached, _: add(reached), range(calls), jnp.zeros(()))

    counted()
    put(dispatch_microseconds=1e6 * seconds_of(counted) / calls)


def xor10(put: Put, small: bool) -> None:
    """Measures the experiment twice; its counts, with those published and those kept of a CPU; then one call."""
    protocol = _xor10_protocol(small)
    put(trials=protocol.seeds, iterations=protocol.steps)
    for which in ("cold", "warm"):
        compile_seconds: dict[str, float] = {}
        begin = time.perf_counter()
        results = train(protocol, on_compiled=compile_seconds.__setitem__)
        wall = time.perf_counter() - begin
        train_seconds = {name: result.seconds for name, result in results.items()}
        put(**{which: {"wall_seconds": wall, "train_seconds": train_seconds, "compile_seconds": compile_seconds}})
        if which == "cold":
            losses = {name: result.loss for name, result in results.items()}
            put(rows=counts({name: x < protocol.threshold for name, x in losses.items()}))
            put(not_finite={name: int((~np.isfinite(x)).sum()) for name, x in losses.items()})
    train_one, settings = one_trial(protocol)
    axes, seeds = {"function": protocol.activations}, range(protocol.seeds)

    def from_seeds_to_results_on_the_host() -> float:
        told: list[Progress] = []
        sweep(train_one, seeds, axes=axes, on_progress=told.append, **settings)
        return told[-1].seconds

    seconds = [from_seeds_to_results_on_the_host() for _ in range(1 + ROUNDS)]
    put(one_call={"seconds": statistics.median(seconds[1:]), "rounds": seconds[1:]})
    # the same call alone: from the seeds on the device to the results on the device
    grid, numbers, mesh = make_grid(axes, seeds), as_arrays(settings), trial_mesh()
    programs = programs_of(train_one, grid, numbers)
    platform, target = mesh.devices.flat[0].platform, target_of(mesh)
    call = together(programs, tuple(choose([program], platform, target=target) for program in programs), mesh)
    trials = call.place([grid.part(part.start, part.stop) for _, part in grid.pieces(range(grid.trials))])
    shared, each = share(numbers, mesh), [protocol.seeds] * len(programs)
    seconds = [seconds_of(lambda: call(trials, shared, trials=each)) for _ in range(1 + ROUNDS)]
    put(compiled_call={"seconds": statistics.median(seconds[1:]), "rounds": seconds[1:], "first": seconds[0]})


def counts(converged: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compares how many trials converged, by activation, with the counts published and kept; both have to match."""
    kept = as_json.loads(_KEPT.read_text(encoding="utf-8"))["summary"]["activations"]
    others = {
        "published": {row.activation: (row.converged, row.trials) for row in ko2021.TABLE_5},
        "kept": {name: (row["converged"], row["trials"]) for name, row in kept.items()},
    }
    rows: dict[str, Any] = {name: {"here": int(x.sum()), "trials": len(x)} for name, x in converged.items()}
    for which, theirs in others.items():
        p_values = [two_proportion_p_value(row["here"], row["trials"], *theirs[name]) for name, row in rows.items()]
        for (name, row), p_value, corrected in zip(rows.items(), p_values, holm(p_values), strict=True):
            row |= {which: theirs[name], f"p_{which}": p_value, f"p_{which}_holm": corrected}
    for row in rows.values():
        row["matches"] = min(row["p_published_holm"], row["p_kept_holm"]) > SIGNIFICANCE
    return rows


def usual(put: Put, small: bool) -> None:
    """Measures the usual way in JAX on the trials of the part xor10: microseconds of an iteration."""
    protocol, devices = _xor10_protocol(small), jax.devices()
    whole = dataclasses.replace(protocol, seeds=-(-protocol.seeds // len(devices)) * len(devices))
    microseconds: dict[str, float] = {}
    compile_seconds: dict[str, float | None] = {}
    for name in protocol.activations:
        record = catalogue.get(name)
        params = on_xor10.initial_params(record, whole)
        found = on_xor10.usual(record, params, whole, 20 if small else 500, devices)
        (times,) = contest.microseconds([found], ROUNDS).values()
        microseconds[name], compile_seconds[name] = protocol.seeds * statistics.median(times), found.compile_seconds
        put(microseconds=microseconds, compile_seconds=compile_seconds)


def digits(put: Put, small: bool) -> None:
    """Measures steps per second on digits, products in float32: the program alone, then the experiment with scores."""
    jax.config.update("jax_default_matmul_precision", "highest")
    images, several = _digits(small), 2 if small else 8
    put(data=images.source)
    names = {1: "1 seed", several: f"{several} seeds"}
    for seeds, name in names.items():
        own = _mnist(images, seeds, small).contestant("project", "", seeds, jax.devices())
        rate(put, f"program without scores, {name}", own)
    for seeds, name in names.items():
        steps, every, train_every = (20, 10, 10) if small else (1_200, 50, 500)
        protocol = dataclasses.replace(_mnist_protocol(seeds), steps=steps, test_every=every, train_every=train_every)
        walls, seconds = [], []
        for _ in range(2):  # the second time it finds its programs
            told: list[Progress] = []
            walls.append(seconds_of(lambda: train_digits("ppns", protocol, images, on_progress=told.append)))  # noqa: B023  # at once
            seconds.append(told[-1].seconds)
        found: dict[str, Any] = {"steps_per_second": steps / seconds[-1], "steps": steps, "seeds": seeds}
        found |= {"seconds": seconds, "wall_seconds": walls, "compile_seconds": walls[0] - seconds[0]}
        put(**{f"experiment with its scores, {name}": found})


def pytorch(put: Put, small: bool) -> None:
    """Measures PyTorch on the same digits, network and minibatches: steps per second, one seed, products in float32."""
    if missing := contest.without_pytorch():
        put(skipped=missing)
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    put(device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__)
    torch.set_float32_matmul_precision("highest")
    own = _mnist(_digits(small), 1, small)
    modes = {"eager": None, "torch.compile": "default", "torch.compile, reduce-overhead": "reduce-overhead"}
    for name, mode in modes.items():
        try:
            rate(put, name, own.in_pytorch(device=device, mode=mode))
        except Exception as error:  # whatever it was, the other ways go on
            put(**{name: {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}})


def rate(put: Put, name: str, contestant: contest.Contestant) -> None:
    """Keeps a contestant's steps per second, and the first seed's losses before and after a few steps."""
    first = seconds_of(contestant.train)
    (times,) = contest.microseconds([contestant], ROUNDS).values()
    times = [x * contestant.trials for x in times]  # of a step of all seeds
    compile_seconds = contestant.compile_seconds
    if compile_seconds is None:  # it compiles, if at all, in its first training
        compile_seconds = max(0.0, first - contestant.iterations * statistics.median(times) / 1e6)
    found = {
        "steps_per_second": 1e6 / statistics.median(times),
        "rounds": [1e6 / x for x in times],
        "steps": contestant.iterations,
        "seeds": contestant.trials,
        "compile_seconds": compile_seconds,
    }
    put(**{name: found})
    put(**{name: found | {"losses": contestant.losses()[:, 0].tolist()}})


def _xor10_protocol(small: bool) -> Protocol:
    protocol = PROTOCOLS["recovered"]
    return dataclasses.replace(protocol, seeds=64, steps=60, activations=("ppns", "relu")) if small else protocol


def _mnist_protocol(seeds: int) -> MnistProtocol:
    return dataclasses.replace(MNIST_PROTOCOLS["recovered"], seeds=seeds, activations=("ppns",))


def _mnist(images: Digits, seeds: int, small: bool) -> Lineup:
    return on_mnist("ppns", _mnist_protocol(seeds), images, 10 if small else 900)


def _digits(small: bool) -> Digits:
    """Loads MNIST if its files are there, otherwise makes as many synthetic images."""
    if small:
        return synthetic_mnist(640, 100)
    try:
        return load("idx", None)
    except ValueError:
        return synthetic_mnist(60_000, 10_000)


# -- report ------------------------------------------------------------------------------------------------------------


def microseconds(parts: Parts) -> dict[str, Mapping[str, float]]:
    """Returns the microseconds of an iteration of all XOR(10) trials, by activation, of `project` and `usual`."""
    part = parts.get("xor10", {})
    seconds = part.get("warm", {}).get("train_seconds", {})
    project = {name: 1e6 * x / part["iterations"] for name, x in seconds.items()}
    return {"project": project, "usual": parts.get("usual", {}).get("microseconds", {})}


def usual_to_project(parts: Parts) -> dict[str, float]:
    """Returns how many times as long the usual way takes, by activation and in total, where both have trained."""
    project, usual = microseconds(parts).values()
    found = {name: usual[name] / project[name] for name in project if name in usual}
    total = {"total": sum(usual[x] for x in found) / sum(project[x] for x in found)} if found else {}
    return found | total


def render(result: Mapping[str, Any]) -> str:
    """Writes a result of `measure` for a terminal."""
    parts: Parts = result["parts"]
    about = parts.get("info", {})
    devices = sorted({part["device"] for part in parts.values() if "device" in part})
    lines = [" and ".join(devices) + (f", {about['devices']} of {about['platform']}" if "platform" in about else "")]
    if result["small"]:
        lines[0] += "; TINY SIZES: the times and counts say nothing"
    if "versions" in result:
        lines.append(", ".join(f"{name} {version}" for name, version in result["versions"].items() if version))
    if "dispatch_microseconds" in about:
        lines.append(
            f"float32 products are off by {about['product_error_default']:.1g}, at precision highest by "
            f"{about['product_error_highest']:.1g}; a call takes {about['dispatch_microseconds']:.0f} us"
        )

    def outcome(part: Mapping[str, Any]) -> str:
        return next((f"{how}: {part[how]}" for how in ("skipped", "cut", "failed") if how in part), "done")

    ended = [[name, part.get("seconds"), outcome(part)] for name, part in parts.items()]
    outcomes = Table("Parts", ["part", Column("seconds", ".0f"), Column("outcome", left=True)], ended)
    tables = [_xor10_table(parts, result["usual_to_project"]), _digits_table(parts), outcomes]
    return "\n".join(["\n".join(lines) + "\n", *(table.plain() for table in tables if table.rows)])


def _xor10_table(parts: Parts, ratios: Mapping[str, float]) -> Table:
    part, (project, usual) = parts.get("xor10", {}), microseconds(parts).values()
    cold, warm = part.get("cold", {}), part.get("warm", {})
    times: dict[Column, Mapping[str, float]] = {
        Column("compile, s", ".1f"): cold.get("compile_seconds", {}),
        Column("first, s", ".3g"): cold.get("train_seconds", {}),
        Column("again, s", ".3g"): warm.get("train_seconds", {}),
        Column("us/iteration", ",.1f"): project,
        Column("usual way, us", ",.1f"): usual,
    }
    rows = []
    for name in dict.fromkeys(name for found in reversed(times.values()) for name in found):
        cells = [None] * 6
        if row := part.get("rows", {}).get(name):
            others = [row["published"][0], row["kept"][0], row["p_published"], row["p_kept"]]
            cells = [row["here"], *others, row["matches"]]
        rows.append([name, *(found.get(name) for found in times.values()), ratios.get(name), *cells])
    if rows:
        sums = [sum(found.values()) if found else None for found in [*times.values()][1:]]
        rows.append(["total", None, *sums, ratios.get("total"), *[None] * 6])
    walls = [f"{run['wall_seconds']:.1f}" if run else "?" for run in (cold, warm)]
    alone = part.get("compiled_call", {}).get("seconds")
    columns: list[str | Column] = ["activation", *times, Column("ratio", ".2f"), "converged", "published", "on a CPU"]
    return Table(
        f"XOR(10), {part.get('trials', 0):,} trials x {part.get('iterations', 0):,} iterations",
        [*columns, Column("p", ".2g"), Column("p of CPU", ".2g"), "matches"],
        rows,
        f"All of it took {walls[0]} s, again {walls[1]} s. Activations compile side by side.\n"
        f"As one compiled call: {'-' if alone is None else f'{alone:.3f}'} s.\n"
        "Ratio: usual way / this project. p: two-proportion test; matches: with Holm's correction neither below 0.05.",
    )


def _digits_table(parts: Parts) -> Table:
    rows, failed = [], []
    for part, trained_by in {"mnist": "this project", "torch": "PyTorch"}.items():
        for name, row in parts.get(part, {}).items():
            if not isinstance(row, dict):
                continue
            label = f"{trained_by}: {name}"
            if "failed" in row:
                rows.append([label, "failed", None, None, None])
                failed.append(f"{label} failed: {row['failed']}")
            else:
                steps, (_, loss) = row["steps_per_second"], row.get("losses", (None, None))
                rows.append([label, steps, steps * row["seeds"], row["compile_seconds"], loss])
    return Table(
        "Digits, PPNS: training steps per second, products in float32",
        [
            "",
            Column("steps/s", ",.0f"),
            Column("of all seeds", ",.0f"),
            Column("compile, s", ".1f"),
            Column("loss after 10 steps", ".6f"),
        ],
        rows,
        "; ".join(failed),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
