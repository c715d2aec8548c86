"""Decides which activations of a model become trainable, with which names and start values."""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import math
import pathlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from paramact_jax.activations import catalogue, critical_gain
from paramact_jax.activations.parametric import INITIAL_STEEPEST_SLOPE
from paramact_jax.activations.record import Function
from paramact_jax.layers.rewritten import Known, Trainable
from paramact_jax.layers.sharing import Kind
from paramact_jax.programs.site import Site

Start = Literal["unchanged", "steepest", "critical"] | Mapping[str, float]

_STARTS = {"a": 1.0, "b": 0.0}


@dataclasses.dataclass(frozen=True)
class Change:
    """One activation that `parametrise` made trainable.

    Attributes:
      name: name of its a and b in the variables.
      function: name of the function.
      place: module and line.
      shape: shape of its input in the example.
      features: shape of a and of b, with a leading axis for layers that a scan runs over.
      a: start value of a.
      note: further information; may be empty.
      learned: which of a and b are learned.
    """

    name: str
    function: str
    place: str
    shape: tuple[int, ...]
    features: tuple[int, ...]
    a: float
    note: str = ""
    learned: tuple[str, ...] = ("a", "b")

    def __str__(self) -> str:
        learned = " and ".join(self.learned) or "nothing learned, constants"
        start = "" if self.a == 1 else f", a starts at {self.a:.4g}"
        note = f"; {self.note}" if self.note else ""
        return (
            f"{self.name}: {self.function} at {self.place}, input {self.shape}, {learned} of shape {self.features}"
            f"{start}{note}"
        )


@dataclasses.dataclass(frozen=True)
class Untouched:
    """An elementwise nonlinear function that `parametrise` found and did not change.

    Attributes:
      function: name of the function.
      place: module and line.
      shape: shape of its input in the example.
      why: the reason.
      times: number of occurrences with the same function, place, shape and reason.
    """

    function: str
    place: str
    shape: tuple[int, ...]
    why: str
    times: int = 1

    def __str__(self) -> str:
        times = f" ({self.times} times)" if self.times > 1 else ""
        return f"left: {self.function} at {self.place}, input {self.shape}{times}: {self.why}"


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `parametrise`; refuses wrong values."""

    sharing: Kind
    trainable: Collection[str] | None
    start: Start
    also: tuple[Function, ...]
    only: str | Collection[str]
    except_: str | Collection[str]
    gates: bool
    per_layer: bool
    param_dtype: Any

    def __post_init__(self) -> None:
        if self.sharing not in get_args(Kind):
            raise ValueError(f"expected sharing to be one of {', '.join(get_args(Kind))}, got {self.sharing!r}")
        if unknown := set(self.learned) - set(_STARTS):
            raise ValueError(f"expected trainable to name some of a, b, got {sorted(unknown)}")
        known = isinstance(self.start, Mapping) and set(self.start) <= set(_STARTS)
        if not known and self.start not in ("unchanged", "steepest", "critical"):
            raise ValueError(
                f"expected start to be 'unchanged', 'steepest', 'critical' or a dict of a and b, got {self.start!r}"
            )
        if isinstance(self.start, Mapping) and not all(map(_is_finite, self.start.values())):
            raise ValueError(f"expected finite numbers as start values, got {dict(self.start)}")
        if not jnp.issubdtype(self.param_dtype, jnp.floating):
            raise TypeError(f"expected param_dtype to be a float dtype, got {self.param_dtype}")
        for name in ("only", "except_"):
            patterns = getattr(self, name)
            if not isinstance(patterns, Collection) or not all(isinstance(x, str) for x in patterns):
                raise TypeError(f"expected {name} to be a pattern or several, got {patterns!r}")

    @property
    def learned(self) -> tuple[str, ...]:
        """Names of the learned parameters, in order."""
        chosen = tuple(_STARTS) if self.trainable is None else _several(self.trainable)
        return tuple(sorted(chosen))

    def starts(self, site: Site) -> tuple[dict[str, float], str]:
        """Returns the start values of a and b, and a note if "steepest" or "critical" is not possible."""
        if isinstance(self.start, Mapping):
            return {**_STARTS, **self.start}, ""
        if self.start == "unchanged":
            return dict(_STARTS), ""
        if self.start == "critical":
            if site.function not in catalogue.names():
                return dict(_STARTS), "a starts at 1: the critical gain is known only for functions of the catalogue"
            try:
                return {**_STARTS, "a": critical_gain(site.function).gain}, ""
            except ValueError as error:
                return dict(_STARTS), f"a starts at 1: {str(error).rpartition(': ')[2]}"
        slope = site.steepest_slope()
        if slope == math.inf and site.function in catalogue.names():  # its written form overflows
            slope = catalogue.get(site.function).steepest_slope
        if slope is None:
            return dict(_STARTS), "a starts at 1: its steepest slope depends on parameters"
        if not 0 < slope < math.inf:
            return dict(_STARTS), f"a starts at 1: its steepest slope is {slope:g}"
        return {**_STARTS, "a": INITIAL_STEEPEST_SLOPE / slope}, ""


class Plan:
    """The decision for each site that the example reaches.

    Attributes:
      trainable: key of a site -> how it is changed; None: it is not changed.
      changed: the trainable activations, in readable form.
      untouched: the functions that are not changed, in readable form.
    """

    def __init__(self, found: Sequence[tuple[Known, Site]], options: Options, scope: Callable[[str], str]) -> None:
        """Decides for each site.

        Args:
          found: the sites that `read` found.
          options: the options of `parametrise`.
          scope: turns the scopes of a place into the path of a module.
        """
        self._options, self._scope = options, scope
        self.trainable: dict[Known, Trainable | None] = {}
        self._start: dict[str, dict[str, float]] = {}
        changed: list[Change] = []
        left: collections.Counter[Untouched] = collections.Counter()
        groups: dict[Known, list[Site]] = {}
        for known, site in found:
            groups.setdefault(known, []).append(site)
        possible = [known for known, sites in groups.items() if not sites[0].why]
        names = dict(zip(possible, _numbered(self._name(groups[known][0]) for known in possible), strict=True))
        chosen = self._chosen(names, groups)
        for known, sites in groups.items():
            if chosen[known]:
                site, self.trainable[known] = sites[0], None
                left[Untouched(site.function, str(site.place), site.shape, chosen[known])] += len(sites)
            else:
                self.trainable[known], change = self._change(names[known], sites)
                changed.append(change)
        self.changed = tuple(changed)
        self.untouched = tuple(dataclasses.replace(u, times=times) for u, times in left.items())
        if not changed:
            seen = "; ".join(map(str, self.untouched)) or "none"
            raise ValueError(
                f"expected a model with activations to change, got none; seen: {seen}; name your own in also=(...)"
            )

    def values(self) -> dict[str, dict[str, jax.Array]]:
        """Returns the learned a and b of each activation at their start values."""
        made: dict[str, dict[str, jax.Array]] = {}
        for how in self.trainable.values():
            if how is not None and how.name not in made:
                starts = self._start[how.name]
                made[how.name] = {
                    p: jnp.full((*how.layers, *how.features), starts[p], self._options.param_dtype)
                    for p in self._options.learned
                }
        return made

    def _name(self, site: Site) -> str:
        function = re.sub(r"\W+", "_", site.function)
        return ".".join(part for part in (self._scope(site.place.scope), function) if part)

    def _chosen(self, names: Mapping[Known, str], groups: Mapping[Known, list[Site]]) -> dict[Known, str]:
        """Returns why each site is not changed; an empty text if it is changed."""
        matched: set[str] = set()
        only, except_ = _several(self._options.only), _several(self._options.except_)
        why: dict[Known, str] = {}
        for known, sites in groups.items():
            if why.setdefault(known, sites[0].why):
                continue
            called = list(self._called(names[known], sites[0]))
            hits = {p for p in (*only, *except_) if any(fnmatch.fnmatchcase(name, p) for name in called)}
            matched |= hits
            if sites[0].gate and not self._options.gates:
                why[known] = "a gate of a recurrent cell; pass gates=True to change it"
            if not why[known] and (not hits & set(only) or hits & set(except_)):
                why[known] = "not chosen by only and except_"
        if unmatched := [p for p in (*only, *except_) if p not in matched and p != "*"]:
            raise ValueError(
                f"expected patterns that match an activation, its module or line, got {unmatched}; there are "
                f"{', '.join(names.values())}"
            )
        return why

    def _called(self, name: str, site: Site) -> Iterator[str]:
        """Yields the texts that a pattern may match: the name, the modules around it, the lines."""
        yield name
        parts = self._scope(site.place.scope).split(".")
        yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        yield from (f"{pathlib.Path(line.file).name}:{line.number}" for line in site.place.own_lines)

    def _change(self, name: str, sites: list[Site]) -> tuple[Trainable, Change]:
        site, options = sites[0], self._options
        starts, note = options.starts(site)
        self._start[name] = starts
        frozen = tuple((p, x) for p, x in starts.items() if p not in options.learned and x != _STARTS[p])
        features = _features(site, options.sharing)
        layers = site.layers if options.per_layer else ()
        notes = [note] if note else []
        if layers:
            notes.append(f"one for each of {math.prod(layers)} layers")
        if site.steps or (site.layers and not layers):
            notes.append(f"one for all of {math.prod(site.steps or site.layers)} steps")
        if len(sites) > 1:
            notes.append(f"one for its {len(sites)} uses in the function and its derivatives")
        how = Trainable(name, options.sharing, features, layers, frozen)
        shape = (*layers, *features)
        return how, Change(
            name, site.function, str(site.place), site.shape, shape, starts["a"], ", ".join(notes), options.learned
        )


def _features(site: Site, sharing: Kind) -> tuple[int, ...]:
    if sharing == "layer" or not site.shape:
        return ()
    if sharing == "element":
        return site.shape[1:]
    return () if site.axis is None else (site.shape[site.axis],)


def _is_finite(x: Any) -> bool:
    return isinstance(x, (int, float, np.number)) and math.isfinite(x)


def functions_in(also: Any) -> tuple[Function, ...]:
    """Returns the functions of the option `also`: several of them, or one."""
    functions = (also,) if callable(also) or not isinstance(also, Collection) else tuple(also)
    for function in functions:
        if not callable(function):
            raise TypeError(f"expected functions in also=(...), got {type(function).__name__}")
    return functions


def _several(patterns: str | Collection[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _numbered(names: Iterator[str]) -> list[str]:
    """Returns the names; a repeated name gets a number."""
    seen: collections.Counter[str] = collections.Counter()
    numbered = []
    for name in names:
        numbered.append(f"{name}_{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return numbered
