"""What an activation costs per element, relative to ReLU: sigmoid's third fault [B2], and the price of a and b."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.machine import machine_and_versions
from experiments.study.tables import Table
from paramact_jax.activations import Activation, catalogue, parametric

SHAPES = ((64, 128), (4096, 4096))
"""Batch x nodes: one that stays in the first-level caches, one that comes from memory."""

FORWARD_TARGET, BACKWARD_TARGET = 1.5, 2.0
"""A parametric function is to cost at most this many times its base function, forward and forward+backward."""

REFERENCE = "relu"
_ELEMENTS_A_RUN = 2**23  # small arrays are repeated inside the program until a run has this many elements
BASES = ("relu_from_right", "sigmoid", "pn_sigmoid", "tanh", "softsign", "arctan", "silu", "gelu")
"""Functions measured by default."""

Kernel = Callable[..., Any]


def measure(
    *,
    rounds: int = 7,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    bases: Sequence[str] = BASES,
    on_progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Nanoseconds per element of every base function and its parametric form, by shape and pass.

    Forward: z. Forward and backward: z, dL/dy and the parameters' gradients summed over the batch, one for every
    node, from a given dL/dz. Functions take turns, so that a machine that drifts slows all of them.

    Args:
      rounds: measured runs of each; their median is given.
      shapes: batch x nodes.
      bases: names of base functions; each is measured beside `parametric` of it. ReLU is always measured.
      on_progress: called with a line for people when another part begins.

    Returns:
      A dict for JSON: `machine`, `versions`, `commit`, `rounds`, `rows` (shape, pass, function, base, nanoseconds,
      `to_reference`, `to_base`), `targets`.

    Raises:
      ValueError: for an unknown name, or rounds < 1.
    """
    if rounds < 1:
        raise ValueError(f"expected rounds >= 1, got {rounds}")
    records: list[tuple[str, Activation, str | None]] = [(REFERENCE, catalogue.get(REFERENCE), None)]
    for name in bases:
        base = catalogue.get(name)
        records += [(name, base, None), (f"parametric {name}", parametric(base), name)]
    rows = []
    for shape in shapes:
        for backward in (False, True):
            label = "forward + backward" if backward else "forward"
            on_progress(f"{shape[0]} x {shape[1]}, {label}")
            times = in_turns({name: _run(record, shape, backward) for name, record, _ in records}, rounds)
            medians = {name: statistics.median(values) for name, values in times.items()}
            for name, _, base_name in records:
                ratios = [t / b for t, b in zip(times[name], times[base_name], strict=True)] if base_name else None
                rows.append(
                    {
                        "shape": list(shape),
                        "pass": label,
                        "function": name,
                        "base": base_name,
                        "nanoseconds": medians[name],
                        "to_reference": medians[name] / medians[REFERENCE],
                        "to_base": None if ratios is None else statistics.median(ratios),
                    }
                )
    return {**machine_and_versions(jax.device_count()), "rounds": rounds, "rows": rows, "targets": _targets(rows)}


def render(result: dict[str, Any]) -> str:
    """A result of `measure` for a terminal."""
    tables = []
    for shape in sorted({tuple(row["shape"]) for row in result["rows"]}):
        by_function: dict[str, dict[str, Any]] = {}
        for row in result["rows"]:
            if tuple(row["shape"]) == shape:
                by_function.setdefault(row["function"], {})[row["pass"]] = row
        cells = [
            [name, *(cell for row in passes.values() for cell in _cells(row))] for name, passes in by_function.items()
        ]
        titles = [f"{label}{what}" for label in ("f", "f+b") for what in (", ns", " / relu", " / base")]
        tables.append(
            Table(
                title=f"Cost per element, batch {shape[0]} x {shape[1]} nodes",
                columns=["function", *titles],
                rows=cells,
                note="f: forward, f+b: forward and backward, with the gradients of a and b summed over the batch.",
            ).plain()
        )
    verdicts = {True: "met", False: "NOT met"}
    lines = [f"{t['target']}: {verdicts[t['met']]} (at most {t['worst']:.2f}, {t['where']})" for t in result["targets"]]
    return "\n".join([*tables, *lines])


def _cells(row: dict[str, Any]) -> list[str]:
    to_base = "" if row["to_base"] is None else f"{row['to_base']:.2f}"
    return [f"{row['nanoseconds']:.3f}", f"{row['to_reference']:.2f}", to_base]


def _targets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    targets = []
    for label, limit in (("forward", FORWARD_TARGET), ("forward + backward", BACKWARD_TARGET)):
        worst = max(
            (row for row in rows if row["pass"] == label and row["to_base"] is not None), key=lambda row: row["to_base"]
        )
        targets.append(
            {
                "target": f"parametric at most {limit:g} times its base, {label}",
                "worst": worst["to_base"],
                "where": f"{worst['function']} at {worst['shape'][0]} x {worst['shape'][1]}",
                "met": worst["to_base"] <= limit,
            }
        )
    return targets


def _run(record: Activation, shape: tuple[int, int], backward: bool) -> Callable[[], float]:
    """A function that runs once and returns nanoseconds per element."""
    rng = np.random.default_rng(0)
    y, dz = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(2))
    params = {name: jnp.full((1, shape[1]), start, jnp.float32) for name, start in record.params.items()}
    repeats = max(_ELEMENTS_A_RUN // y.size, 1)

    def once(y: jax.Array, params: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        if not backward:
            return record.fn(y, **params), ()
        z, pull_back = jax.vjp(lambda y, params: record.fn(y, **params), y, params)
        dy, dparams = pull_back(dz)
        return z + dy, dparams

    def program(y: jax.Array, params: dict[str, jax.Array]) -> Any:
        if repeats == 1:
            return once(y, params)

        def again(_: jax.Array, carry: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
            y, params = carry
            z, dparams = once(y, params)
            # Each repetition needs the one before, or the compiler would make one of them.
            changed = jax.tree.map(lambda p, d: p + 1e-12 * d, params, dparams) if backward else params
            return y + 1e-12 * z, changed

        return jax.lax.fori_loop(0, repeats, again, (y, params))

    compiled = jax.jit(program).lower(y, params).compile()

    def run() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(y, params))
        return 1e9 * (time.perf_counter() - begin) / (repeats * y.size)

    return run


def in_turns(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns what each of some functions returns in every round, after a first round that does not count."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run())
    return times
