"""Replaces the activations of a traced function by a f(y - b); traces it again for every new shape."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from paramact_jax.activations.record import Function
from paramact_jax.layers.calls import Call, FlatCall
from paramact_jax.layers.sharing import Kind
from paramact_jax.programs import Operation, Program, replace, trace, walk
from paramact_jax.programs.marks import marked
from paramact_jax.programs.naming import Naming
from paramact_jax.programs.places import is_differentiated
from paramact_jax.programs.program import opened, programs_of
from paramact_jax.programs.rewrite import Instead
from paramact_jax.programs.site import Site
from paramact_jax.programs.sites import sites

Values = Mapping[str, Mapping[str, Any]]
"""Name of an activation -> its a and b."""


Known = tuple[Hashable, ...]
"""Key of a site, the same for calls with any shapes. In programs without derivatives: the path of the module, the line,
the function, its nearest parameters, and the number among sites that are equal in these."""


class Reading(NamedTuple):
    """A traced call.

    Attributes:
      program: the program, a function of the arrays among the arguments.
      found: its sites, each with its key.
      marks: whether the program takes derivatives.
    """

    program: Program
    found: list[tuple[Known, Site]]
    marks: bool


class Seen(NamedTuple):
    """A site of an example.

    Attributes:
      known: its key.
      elsewhere: the part of the key that is the same if another method of the model reaches the activation.
      learned: numbers of the parameters before it.
    """

    known: Known
    elsewhere: tuple[str, frozenset[int]]
    learned: frozenset[int]


def read(call: Call, also: Sequence[Function]) -> Reading:
    """Traces a call and finds its activations. Nothing is computed."""
    return _read(FlatCall(call), also)


def _read(flat: FlatCall, also: Sequence[Function]) -> Reading:
    program = trace(flat.function, flat.arrays)
    marks = any(map(is_differentiated, walk(program)))
    if marks:
        with marked(Naming(also).called):
            program = trace(flat.function, flat.arrays, idle=True)  # only its derivative may use a function
    found = sites(program, flat.learned, also=also, marks=marks, choices=True)
    return Reading(program, list(_told_apart(found, marks, flat.call.scope)), marks)


def _told_apart(found: Sequence[Site], marks: bool, scope: Callable[[str], str]) -> Iterator[tuple[Known, Site]]:
    """Yields sites with their keys: place and function, and the number among equal ones.

    A program with derivatives applies one activation several times, in the function and in its derivatives. These uses
    share a and b, so all sites with the same function, size and parameters have one key.
    """
    seen: collections.Counter[Known] = collections.Counter()
    for site in found:
        if marks:
            yield (site.function, site.origin.learned, _size(site)), site
            continue
        known = (scope(site.place.scope), site.place.own_lines[:1], *_elsewhere(site))
        yield (*known, seen[known]), site
        seen[known] += 1


def _elsewhere(site: Site) -> tuple[str, frozenset[int]]:
    """Returns the part of a key that is the same if another method of the model reaches the activation."""
    return site.function, site.origin.nearest


def _size(site: Site) -> int | None:
    return None if site.axis is None else site.shape[site.axis]


@dataclasses.dataclass(frozen=True)
class Trainable:
    """How an activation is made trainable.

    Attributes:
      name: name of its a and b.
      sharing: which elements share one value.
      features: shape of a and b, without the axes of layers.
      layers: lengths of the scans over layers around it; each step has its own values. Empty: there are no such scans.
      frozen: values of a and b that are not learned.
    """

    name: str
    sharing: Kind
    features: tuple[int, ...]
    layers: tuple[int, ...]
    frozen: tuple[tuple[str, float], ...]

    def aligned(self, value: Any, site: Site, like: jax.Array) -> jax.Array:
        """Returns a or b with the rank and dtype of an input, with its entries on the matching axis.

        Raises:
          ValueError: if the input has another number of features.
        """
        shape = like.shape
        if not self.features or not jnp.ndim(value):
            to = (1,) * len(shape)
        elif self.sharing == "element":
            to = (1, *self.features)
        else:
            axis = site.axis if site.axis is not None else len(shape) - 1
            to = (*(1,) * axis, *self.features, *(1,) * (len(shape) - axis - 1))
        if any(n not in (1, m) for n, m in zip(to, shape, strict=True)) or len(to) != len(shape):
            raise ValueError(
                f"{self.name}: expected an input with features {self.features}, as in the example, got shape {shape}"
            )
        return jnp.asarray(value).astype(like.dtype).reshape(to)


class Rewritten:
    """Makes calls with replaced activations. Two are equal if they make the same replacements.

    Attributes:
      trainable: key of each site in the example -> how it is changed; None: it is not changed.
      seen: the sites of the example, in order.
      marks: whether the example takes derivatives.
      also: as in `parametrise`.
    """

    def __init__(
        self,
        trainable: Mapping[Known, Trainable | None],
        seen: tuple[Seen, ...],
        marks: bool,
        also: tuple[Function, ...],
    ) -> None:
        """Takes the decisions about the sites of an example."""
        self.trainable, self.seen, self.marks, self.also = dict(trainable), seen, marks, also
        self._traced: dict[Any, Reading] = {}

    def __call__(self, call: Call, values: Values) -> Any:
        """Returns the call's result with these a and b.

        Raises:
          ValueError: if the call reaches an activation that the example did not reach, or one with other features.
        """
        flat = FlatCall(call)
        reading = self._read(flat)
        return _replaced(reading.program, self._changes(reading), values)(flat.arrays)

    def _read(self, flat: FlatCall) -> Reading:
        """Returns the traced call; calls that differ only in the values of their arrays are traced once."""
        key = flat.key
        try:
            hash(key)
        except TypeError:
            return _read(flat, self.also)
        if key not in self._traced:
            reading = _read(flat, self.also)
            if _holds_traced(reading.program):
                return reading
            while len(self._traced) >= _KEPT:
                del self._traced[next(iter(self._traced))]
            self._traced[key] = reading
        return self._traced[key]

    def _changes(self, reading: Reading) -> list[tuple[Site, Trainable]]:
        changed = {known[:2] for known, how in self.trainable.items() if how is not None}
        found = [(self._known(known, site, reading), site) for known, site in reading.found]
        unknown = [
            site
            for known, site in found
            if known not in self.trainable and (known[:2] in changed or (not site.why and not site.gate))
        ]
        if unknown:
            where = "; ".join(f"{site.function} at {site.place}, input {site.shape}" for site in unknown[:3])
            raise ValueError(
                f"expected a call that reaches only activations of the example, got one that reaches {where}, which is "
                f"none of them or one of several; call parametrise with an example that reaches it in the same way"
            )
        chosen = ((site, self.trainable.get(known)) for known, site in found)
        return [(site, how) for site, how in chosen if how is not None]

    def _known(self, known: Known, site: Site, reading: Reading) -> Known:
        """Returns the key of the same activation in the example.

        If the example reached it by another method, it is the only one there with its function and nearest parameters.
        A call with derivatives may apply it several times, where a call without them applies it once. If a flag has
        changed the parameters before it, its line was run as often as in the example, with some of these parameters.
        """
        if known in self.trainable or not site.origin.nearest:
            return known
        there = {seen.known for seen in self.seen if seen.elsewhere == _elsewhere(site)}
        alike = [other for _, other in reading.found if _elsewhere(other) == _elsewhere(site)]
        if len(there) == 1 and (len(alike) == 1 or self.marks != reading.marks):
            return there.pop()
        if self.marks or reading.marks:
            return known
        before = [seen for seen in self.seen if seen.known[:3] == known[:3]]
        now = [(key, other.origin) for key, other in reading.found if key[:3] == known[:3]]
        if len(before) == len(now) and all(
            seen.known == key or origin.nearest & seen.learned or seen.elsewhere[1] & origin.learned
            for seen, (key, origin) in zip(before, now, strict=True)
        ):
            return before[[key for key, _ in now].index(known)].known
        return known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rewritten) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((frozenset(self.trainable.items()), self.also))

    def __reduce__(self) -> Any:
        return Rewritten, (self.trainable, self.seen, self.marks, self.also)

    @classmethod
    def of(cls, example: Reading, trainable: Mapping[Known, Trainable | None], also: tuple[Function, ...]) -> Rewritten:
        """Makes the replacements that were decided for an example."""
        seen = tuple(Seen(known, _elsewhere(site), site.origin.learned) for known, site in example.found)
        return cls(trainable, seen, example.marks, also)


def _replaced(program: Program, changes: Sequence[tuple[Site, Trainable]], values: Values) -> Callable[..., Any]:
    """Returns the program's function with a f(y - b) in place of every f to change."""
    by_operation = {site.operation.key: (site, how) for site, how in changes}
    in_scan: dict[tuple[int, ...], set[str]] = {}
    for site, how in changes:
        for scan in site.layer_scans if how.layers else ():
            in_scan.setdefault(scan, set()).add(how.name)

    def current(name: str, operation: Operation) -> Mapping[str, Any]:
        """Returns the values for this step of the scans around it."""
        steps = (step for step in reversed(operation.steps) if step is not None and name in step)
        return next(steps, values).get(name, {})

    def which(operation: Operation) -> Instead | None:
        if (change := by_operation.get(operation.key)) is None:
            return None
        site, how = change

        def by(y: jax.Array, *held: Any) -> list[jax.Array]:
            parameters = {**dict(how.frozen), **current(how.name, operation)}
            if "b" in parameters:
                b = how.aligned(parameters["b"], site, y)
                y = y - (b if site.scale == 1 else site.scale * b)
            z = site.value(y, *held)
            return [how.aligned(parameters["a"], site, z) * z if "a" in parameters else z]

        return Instead(site.equations, (site.y, *site.held), by)

    def along(operation: Operation) -> Any:
        return {name: current(name, operation) for name in sorted(in_scan.get(operation.key, ()))} or None

    return replace(program, which, along=along)


_KEPT = 32
"""Number of programs of one model that are kept, for calls that differ in shapes or flags."""


def _holds_traced(program: Program) -> bool:
    """Returns whether a program holds traced values, which are no longer valid in a later call."""
    closed = [program.closed, *(inner for operation in walk(program) for inner in programs_of(operation.equation))]
    return any(isinstance(value, jax.core.Tracer) for one in closed for value in opened(one)[1])
