"""`bench activations`: the cost per element relative to ReLU (sigmoid's third fault [B2]), and the cost of a and b.

It also measures an existing model with trainable activations, see `retrofitted`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench.contest import Measurement, ratios, say, target
from experiments.study import imports
from experiments.study.imports import at_once
from experiments.study.options import ACTIVATION, Count
from experiments.study.tables import Column, Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.bench import retrofitted
    from experiments.problems.timing import in_turns, timed
    from paramact_jax.activations import Activation, catalogue, parametric

SHAPES = ((64, 128), (4096, 4096))
"""Batch x nodes: one shape that stays in the first-level caches, one that comes from memory."""
LIMITS = {"forward": 1.5, "forward + backward": 2.0}
"""Targets: a parametric function costs at most this many times its base function, by pass."""
REFERENCE = "relu"
_ELEMENTS_A_RUN = 2**23  # small arrays are repeated inside the program until a run has this many elements
BASES = ("relu_from_right", "sigmoid", "pn_sigmoid", "tanh", "softsign", "arctan", "silu", "gelu")
"""Functions measured by default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchActivations(Measurement):
    """Time activation functions per element, relative to ReLU, and parametric ones relative to their bases.

    Forward, and forward with backward, on 64 x 128 and 4096 x 4096; and a gradient step of two models before and after
    `parametrise`. About a minute on 2 cores; writes nothing but the JSON asked for. Example: python -m experiments
    bench activations --rounds 9
    """

    rounds: Count = 7
    """Measured runs of each function."""
    functions: Annotated[tuple[str, ...], ACTIVATION] = ()
    """Names of functions, each measured with its parametric form (default: eight of the catalogue)."""
    small: bool = False
    """Whether to take the smaller arrays and one tiny model only, to see that everything runs."""

    def measure(self, data: None) -> tuple[dict[str, Any], list[Table]]:
        """Measures functions, then models."""
        shapes, models = (SHAPES[:1], retrofitted.TINY) if self.small else (SHAPES, retrofitted.MODELS)
        result = measure(rounds=self.rounds, shapes=shapes, bases=self.functions or BASES, on_progress=say)
        found = retrofitted.measure(rounds=self.rounds, models=models)
        return {**result, "models": found}, [*tables(result["rows"]), retrofitted.table(found)]


def measure(
    *,
    rounds: int = 7,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    bases: Sequence[str] = BASES,
    on_progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Measures nanoseconds per element of ReLU, and of every base function and its parametric form, by shape and pass.

    Forward: z. Forward and backward: z, dL/dy and the parameters' gradients summed over the batch, one for every
    node, from a given dL/dz. Functions take turns, so that a machine that drifts slows all of them.

    Returns:
      A dict for JSON: `rounds`, `rows` (shape, pass, function, base, nanoseconds, `to_reference`, `to_base`),
      `targets`. Nanoseconds are medians of the rounds; `to_base` is the median of the ratios within a round.
    """
    imports.complete()  # sigmoid-faults calls this too
    records: list[tuple[str, Activation, str | None]] = [(REFERENCE, catalogue.get(REFERENCE), None)]
    for name in bases:
        base = catalogue.get(name)
        records += [(name, base, None), (f"parametric {name}", parametric(base), name)]
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        for label in LIMITS:
            on_progress(f"{shape[0]} x {shape[1]}, {label}")
            runs = {name: _run(record, shape, label != "forward") for name, record, _ in records}
            times = in_turns(runs, rounds, pause=0)
            medians = {name: statistics.median(values) for name, values in times.items()}
            for name, _, base_name in records:
                row = {"shape": list(shape), "pass": label, "function": name, "base": base_name}
                to_base = ratios(times[name], times[base_name])["median"] if base_name else None
                to_reference = medians[name] / medians[REFERENCE]
                rows.append({**row, "nanoseconds": medians[name], "to_reference": to_reference, "to_base": to_base})
    return {"rounds": rounds, "rows": rows, "targets": [_target(rows, *limit) for limit in LIMITS.items()]}


def tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Yields the rows of `measure` for people, a table for each shape."""
    for shape in sorted({tuple(row["shape"]) for row in rows}):
        by_function: dict[str, list[Any]] = {}
        for row in rows:
            if tuple(row["shape"]) == shape:
                cells = by_function.setdefault(row["function"], [row["function"]])
                cells += [row["nanoseconds"], row["to_reference"], row["to_base"]]
        forms = {", ns": ".3f", " / relu": ".2f", " / base": ".2f"}
        yield Table(
            f"Cost per element, batch {shape[0]} x {shape[1]} nodes",
            ["function", *(Column(f"{x}{what}", form) for x in ("f", "f+b") for what, form in forms.items())],
            list(by_function.values()),
            "f: forward, f+b: forward and backward, with the gradients of a and b summed over the batch.",
        )


def _target(rows: Sequence[Mapping[str, Any]], label: str, limit: float) -> dict[str, Any]:
    worst = max((row for row in rows if row["pass"] == label and row["base"]), key=lambda row: row["to_base"])
    where = f"{worst['function']} at {worst['shape'][0]} x {worst['shape'][1]}"
    text = f"parametric at most {limit:g} times its base, {label}"
    return target(text, worst["to_base"], lambda x: x <= limit, where=where)


def _run(record: Activation, shape: tuple[int, int], backward: bool) -> Callable[[], float]:
    """Compiles a function; returns what runs it once and returns nanoseconds per element."""
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
            # each repetition needs the one before, so that the compiler does not merge them
            changed = jax.tree.map(lambda p, d: p + 1e-12 * d, params, dparams) if backward else params
            return y + 1e-12 * z, changed

        return jax.lax.fori_loop(0, repeats, again, (y, params))

    seconds = timed(program, y, params)
    return lambda: 1e9 * seconds() / (repeats * y.size)
