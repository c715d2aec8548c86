"""Constraints of options, declared with their types. Needs no JAX, so that `--help` is instant.

`rates: Annotated[tuple[float, ...], POSITIVE, DISTINCT]` is checked by `check_options`. Its message names the option,
what was expected and what came. Several studies share the types below, with their help and their older names.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

try:
    from tyro.conf import arg as arg
except ImportError:  # tyro reads the help, and `python -m experiments.bench.accelerator` runs without tyro
    arg: Any = dict  # type: ignore[no-redef]

MAX_SEED = 2**32 - 1
"""The largest seed of `paramact_jax.sweeps`, which cannot be imported here because it imports JAX."""
MOST = 2**31 - 1
"""The largest number that a compiled loop can count to."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A condition on an option's value, or on each value of an option that takes several.

    Attributes:
      expected: in words.
      holds: says whether a value meets it.
      whole: whether `holds` takes all values together.
    """

    expected: str
    holds: Callable[[Any], bool]
    whole: bool = False


def at_least(least: int) -> Constraint:
    """Makes the constraint of an integer of at least `least` that a compiled loop can count to."""
    return Constraint(f"an integer within {least}..2**31 - 1", lambda x: least <= x <= MOST)


def one_of(*values: Any) -> Constraint:
    """Makes the constraint of being one of some values."""
    return Constraint(f"one of {', '.join(map(str, values))}", lambda x: x in values)


def float32(x: float) -> float:
    """Returns the number as trainings have it; infinity beyond float32's range."""
    return float(struct.unpack("f", struct.pack("f", x))[0])


def _distinct(values: tuple[Any, ...]) -> bool:
    return 0 < len(values) == len({float32(x) if isinstance(x, float) else x for x in values})


def _known(name: str) -> bool:
    from paramact_jax.activations import catalogue

    catalogue.get(name)  # raises, with the nearest name
    return True


POSITIVE = Constraint("a finite number > 0 that float32 can hold", lambda x: 0 < float32(x) < math.inf)
NOT_NEGATIVE = Constraint("a finite number >= 0 that float32 can hold", lambda x: 0 <= float32(x) < math.inf)
FINITE = Constraint("a finite number", math.isfinite)
DISTINCT = Constraint("at least one value, each once", _distinct, whole=True)


def _has_scale(name: str) -> bool:
    from paramact_jax.activations import catalogue

    return "a" in catalogue.get(name).params


ACTIVATION = Constraint("the name of an activation", _known)


def also(*names: str) -> Any:
    """Keeps names that an option had before."""
    return arg(aliases=names)


Count = Annotated[int, at_least(1)]
Steps = Annotated[int, at_least(1), also("--iterations")]
Seeds = Annotated[int, at_least(1), also("--trials")]
Batch = Annotated[int, at_least(1), also("--batch-size")]
Rate = Annotated[float, POSITIVE]
Rates = Annotated[tuple[float, ...], POSITIVE, DISTINCT, also("--learning-rates")]
Activations = Annotated[tuple[str, ...], ACTIVATION, DISTINCT]
Positives = Annotated[tuple[float, ...], POSITIVE, DISTINCT]
Depths = Annotated[tuple[int, ...], at_least(2), DISTINCT]
SeveralSeeds = Annotated[Seeds, at_least(2)]
"""Of networks that are compared over their seeds."""
TunedSeeds = Annotated[Seeds, at_least(3)]
"""Of networks some of whose seeds choose a learning rate; two or more are left to compare."""
ScaledActivations = Annotated[tuple[str, ...], Constraint("activations with a parameter a", _has_scale), DISTINCT]
Out = Annotated[
    Path | None,
    arg(
        help="Directory to write. It must not exist; an interrupted run is kept next to it, and the same --out resumes "
        "it (default: a new one under runs/, named after the study and the time)."
    ),
]


def check_options(options: Any) -> None:
    """Checks every field of a dataclass against the constraints of its type, unless it is None.

    Raises:
      ValueError: in one line, for the first value that does not meet a constraint.
    """
    for name, kind in _hints(type(options)).items():
        value = getattr(options, name)
        for constraint in getattr(kind, "__metadata__", ()):
            if not isinstance(constraint, Constraint) or value is None:
                continue
            several = isinstance(value, tuple) and not constraint.whole
            for one in value if several else (value,):
                expect(name, one, constraint)
    seeds, first = getattr(options, "seeds", 1), getattr(options, "first_seed", 0)
    last = MAX_SEED - seeds + 1
    expect("first_seed", first, Constraint(f"an integer within 0..{last}", lambda x: 0 <= x <= last))


def seeds_of(options: Any) -> range:
    """Returns the seeds that `first_seed` and `seeds` ask for."""
    return range(options.first_seed, options.first_seed + options.seeds)


def expect(field: str, value: Any, constraint: Constraint) -> None:
    """Refuses a value of a field that does not meet a constraint.

    Args:
      field: its name in Python, "first_seed" for --first-seed.
      value: the value of the option.
      constraint: what the value should meet.

    Raises:
      ValueError: in one line, if it does not.

    Examples:
      >>> expect("rate", 1e-50, POSITIVE)
      Traceback (most recent call last):
        ...
      ValueError: --rate: expected a finite number > 0 that float32 can hold, got 1e-50
    """
    if not constraint.holds(value):
        shown = (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else value
        raise ValueError(f"--{field.replace('_', '-')}: expected {constraint.expected}, got {shown}")


def expect_within(options: Any, field: str, least: int, most: int, why: str = "") -> None:
    """Refuses an integer option outside least..most, with ValueError in one line; `why` explains a bound there."""
    told = f"an integer within {least}..{most}{f', {why}' if why else ''}"
    expect(field, getattr(options, field), Constraint(told, lambda x: least <= x <= most))


def _hints(options: type) -> dict[str, Any]:
    hints = typing.get_type_hints(options, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(options)}


def positive_or(*names: str) -> Constraint:
    """Returns the constraint of words that are finite numbers > 0, or one of these names.

    Examples:
      >>> rule = positive_or("he")
      >>> rule.holds("0.5"), rule.holds("he"), rule.holds("-1"), rule.holds("xavier")
      (True, True, False, False)
    """

    def holds(word: str) -> bool:
        try:
            return word in names or 0 < float(word) < math.inf
        except ValueError:
            return False

    return Constraint(f"a number > 0 or one of {', '.join(names)}", holds)
