"""The way of a gradient through a program: groups of operations, loops, and the points that all paths pass."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from paramact_jax.gradients.kinds import Group, Kind, Level, groups_of, keeps_norm
from paramact_jax.programs.places import place_of
from paramact_jax.programs.program import (
    REMAT,
    Operation,
    called_by,
    name_of,
    parts_of_scan,
    programs_of,
    walk,
)
from paramact_jax.programs.recognition import Records
from paramact_jax.programs.site import Site
from paramact_jax.programs.steps import FlatProgram, Step, flatten, only, run_steps

_PRODUCTS = frozenset(("dot_general", "conv_general_dilated", "gather"))


_CHEAP = (Kind.ACTIVATION, Kind.ELEMENTWISE, Kind.SCALE, Kind.MASKING)


@dataclasses.dataclass(eq=False)
class Node:
    """A group of operations that a gradient passes as one.

    Attributes:
      group: the operations and their kind.
      reads: input arrays with a derivative: data and learned parameters, each once.
      data: those of `reads` that depend on data.
      makes: output arrays with a derivative.
      keeps: whether it leaves the norm of every gradient as it is.
      loop: the program that it repeats or computes again; None: there is none.
    """

    group: Group
    reads: tuple[int, ...]
    data: tuple[int, ...]
    makes: tuple[int, ...]
    keeps: bool
    loop: Loop | None = None

    @property
    def is_cheap(self) -> bool:
        """Whether it is elementwise and makes one array of one: its result is then computed again, and not kept."""
        elementwise = self.keeps or self.group.kind in _CHEAP
        return elementwise and len(self.data) == 1 and len(self.group.steps[-1].outputs) == 1

    @property
    def ports(self) -> tuple[int, ...]:
        """The arrays to which it gives a gradient back, one for each port: for a loop at each of its inputs."""
        return self.reads if self.loop is None else self.group.steps[-1].inputs

    @property
    def has_own_rule(self) -> bool:
        """Whether it has a derivative rule of its own, which computes the gradient."""
        return self.group.known is None and any(step.custom_body is not None for step in self.group.steps)

    @functools.cached_property
    def may_be_nonlinear(self) -> bool:
        """Whether it holds a derivative rule that a user wrote, which may not be linear in the gradient."""
        if self.group.known is not None:
            return False
        equations = [step.equation for step in self.group.steps]
        within = (o.equation for e in equations for program in programs_of(e) for o in walk(program))
        return any(name_of(e).startswith("custom_vjp") for e in (*equations, *within))

    def closed_form(self, values: Mapping[int, Any]) -> Any | None:
        """Returns the slopes dz/dy in the activation's closed form; None if it is not known."""
        if (known := self.group.known) is None:
            return None
        y = values[self.data[0]]
        params = {name: values[number] for name, number in known.params.items()}
        return jnp.broadcast_to(known.record.derivative(y, **params), y.shape)

    @property
    def operation(self) -> Operation:
        """The last operation of the group."""
        return self.group.steps[-1].operation


@dataclasses.dataclass(eq=False)
class Loop:
    """A program that a node runs: the body of a scan, or a part that is computed again for the derivative.

    Attributes:
      body: the program.
      equation: the equation that runs it.
      length: number of steps; None: it is run once, and is not a scan.
      reverse: whether the scan goes from its last step to the first.
    """

    body: Body
    equation: Any
    length: int | None
    reverse: bool = False

    @property
    def ends_with_point(self) -> bool:
        """Whether an output of its last step is a point."""
        return self.body.piped and any(map(self.body.is_point, self.body.flat.outputs))

    def parts(self, values: Sequence[Any]) -> list[list[Any]]:
        """Returns the inputs in three parts: shared by all steps, carried, and with one entry for each step."""
        return [list(values), [], []] if self.length is None else parts_of_scan(self.equation, values)


@dataclasses.dataclass(eq=False)
class Body:
    """A program, and the way of a gradient through it.

    Attributes:
      flat: its operations.
      make_nodes: makes `nodes` when they are needed first.
      levels: levels of all arrays.
      sources: arrays made here at which the gradient's way ends: learned parameters that arguments select.
      live: arrays that a gradient comes to.
      piped: whether all paths of the whole program pass its one input and its one output.
      cuts: arrays that all paths from the inputs to the outputs of the whole program pass.
      points: the cuts without those that are only another layout of the cut before.
      counted: arrays at which entries of the gradient that are 0 or not finite are counted.
    """

    flat: FlatProgram
    make_nodes: Callable[[], list[Node]]
    levels: dict[int, Level]
    sources: list[int]
    live: set[int] = dataclasses.field(default_factory=set)
    piped: bool = False
    cuts: list[int] = dataclasses.field(default_factory=list)
    points: frozenset[int] = frozenset()
    counted: frozenset[int] = frozenset()

    @functools.cached_property
    def nodes(self) -> list[Node]:
        """All its operations in groups, in order, with those that no gradient passes."""
        return self.make_nodes()

    @functools.cached_property
    def makers(self) -> dict[int, Node]:
        """The node that makes each array with a derivative."""
        return {number: node for node in self.nodes for number in node.makes}

    def sources_on_the_way(self) -> int:
        """Returns the number of inputs at which the way ends. Parameters selected in a scan count in each step."""
        inputs = sum(map(self.is_data, dict.fromkeys(self.flat.inputs)))
        return inputs + self._selected()

    def _selected(self) -> int:
        own = sum(number in self.live for number in self.sources)
        loops = (node.loop for node in self.nodes if node.loop is not None and self.is_passed(node))
        return own + sum((1 if loop.length is None else loop.length) * loop.body._selected() for loop in loops)

    def is_point(self, number: int) -> bool:
        """Returns whether an array is a point that all paths pass, here or as the last one of a loop inside."""
        loop = self.makers[number].loop if number in self.makers else None
        return number in self.points or (loop is not None and loop.ends_with_point)

    def moves(self, number: int) -> bool:
        """Returns whether derivatives by an array are taken."""
        return self.levels[number] in (Level.LEARNED, Level.DATA)

    def is_data(self, number: int) -> bool:
        """Returns whether an array is on the gradient's way from the outputs to the data."""
        return self.levels[number] is Level.DATA and number in self.live

    def is_passed(self, node: Node) -> bool:
        """Returns whether a gradient comes back through a node."""
        return any(number in self.live for number in node.makes)

    def run(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """Returns all arrays for these inputs."""
        values = self.started(inputs)
        return values | run_steps(self.flat.steps, values)

    def started(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """Returns the arrays that no operation makes."""
        held = {n: jnp.asarray(x) if isinstance(x, np.ndarray) else x for n, x in self.flat.constants.items()}
        return held | dict(zip(self.flat.inputs, inputs, strict=True))


class Start(enum.Enum):
    """Where data starts, which is where the gradient's way ends."""

    FLOATS = enum.auto()
    """At arguments of a float dtype."""
    SELECTED = enum.auto()
    """At learned parameters that arguments select, or products of both: embeddings."""
    MIXED = enum.auto()
    """At every result of arguments and learned parameters."""
    CONSTANTS = enum.auto()
    """At products of numbers that the program holds and learned parameters."""


class Reader:
    """A reader of programs as ways of a gradient."""

    def __init__(self, sites: Sequence[Site], records: Records, start: Start) -> None:
        """Takes the program's activations.

        Args:
          sites: the sites that `programs.sites` found.
          records: activations that the model holds.
          start: where data starts.
        """
        self._start, self._records = start, records
        self._sites: dict[Any, Site] = {}
        for site in sites:
            within = tuple(map(id, site.operation.within))
            self._sites.update({(*within, id(equation)): site for equation in site.equations})

    def read(
        self,
        program: Any,
        levels: Sequence[Level],
        within: tuple[Any, ...] = (),
        wanted: Sequence[bool] | None = None,
    ) -> Body:
        """Returns a program's body.

        Args:
          program: the jaxpr.
          levels: levels of its inputs.
          within: the calls, loops and branches around it.
          wanted: for each of its outputs, whether it is an output of the body; by default all are.
        """
        flat = flatten(program, within, self._is_whole)
        if wanted is not None:
            flat = only(flat, [n for n, is_wanted in zip(flat.outputs, wanted, strict=True) if is_wanted])
        known = dict.fromkeys(flat.constants, Level.FIXED) | dict(zip(flat.inputs, levels, strict=True))
        sources: list[int] = []
        loops: dict[int, Loop] = {}
        for step in flat.steps:
            inputs = [known[number] for number in step.inputs]
            loop, made = self._of_step(step, inputs, flat)
            for number, variable, level in zip(step.outputs, step.equation.outvars, made, strict=True):
                known[number] = level
                if loop is None and level is Level.DATA and Level.DATA not in inputs and _is_inexact(variable):
                    sources.append(number)
            if loop is not None:
                loops[id(step)] = loop

        def nodes() -> list[Node]:
            groups = groups_of(flat, known, self._sites, self._records)
            return [self._node(group, known, flat, loops.get(id(group.steps[0]))) for group in groups]

        return Body(flat, nodes, known, sources)  # a scan's body is read until it settles, and only the last is used

    def _node(self, group: Group, levels: Mapping[int, Level], flat: FlatProgram, loop: Loop | None) -> Node:
        last = group.steps[-1]
        reads = tuple(n for n in group.takes if levels[n] >= Level.LEARNED)
        makes = tuple(n for n, v in zip(last.outputs, last.equation.outvars, strict=True) if levels[n] >= Level.LEARNED)
        data = tuple(n for n in reads if levels[n] is Level.DATA)
        return Node(group, reads, data, makes, keeps_norm(group, levels, flat), loop)

    def _is_whole(self, operation: Operation) -> bool:
        return operation.name in REMAT or operation.key in self._sites

    def _of_step(self, step: Step, levels: list[Level], flat: FlatProgram) -> tuple[Loop | None, list[Level]]:
        name, within = step.name, (*step.within, step.equation)
        if name in REMAT:
            body = self.read(called_by(step.equation), levels, within)
            return Loop(body, step.equation, None), [body.levels[number] for number in body.flat.outputs]
        if name == "scan":
            return self._of_scan(step, levels, within)
        return None, [self._level(step, levels, variable, flat) for variable in step.equation.outvars]

    def _of_scan(self, step: Step, levels: list[Level], within: tuple[Any, ...]) -> tuple[Loop, list[Level]]:
        consts, carry, xs = parts_of_scan(step.equation, levels)
        while True:
            body = self.read(step.equation.params["jaxpr"], [*consts, *carry, *xs], within)
            made = [body.levels[number] for number in body.flat.outputs]
            after = [max(before, now) for before, now in zip(carry, made, strict=False)]
            if after == carry:
                params = step.equation.params
                return Loop(body, step.equation, params["length"], params["reverse"]), [*carry, *made[len(carry) :]]
            carry = after

    def _level(self, step: Step, levels: list[Level], variable: Any, flat: FlatProgram) -> Level:
        present = set(levels)
        if not _is_inexact(variable) or step.name == "stop_gradient":
            return Level.INPUT if Level.INPUT in present and Level.DATA not in present else Level.FIXED
        if Level.LEARNED in present and self._starts(step, levels, flat):
            return Level.DATA
        return max(present, default=Level.FIXED)

    def _starts(self, step: Step, levels: list[Level], flat: FlatProgram) -> bool:
        """Returns whether data starts at a step that has learned parameters among its inputs."""
        if self._start is Start.CONSTANTS:
            numbers = zip(levels, step.inputs, strict=True)
            return step.name in _PRODUCTS and any(
                level is Level.FIXED and number not in flat.literals for level, number in numbers
            )
        if self._start is Start.FLOATS or Level.INPUT not in levels:
            return False
        return self._start is Start.MIXED or step.name in _PRODUCTS


def _is_inexact(variable: Any) -> bool:
    return bool(jnp.issubdtype(variable.aval.dtype, jnp.inexact))


_NO_DERIVATIVE = {
    "while": "a while loop, which has no reverse mode; use jax.lax.scan, or fori_loop with bounds that are numbers",
    "pure_callback": "a call of the host without a derivative; give it one by jax.custom_vjp",
    "io_callback": "a call of the host without a derivative; give it one by jax.custom_vjp",
}


def _refuse(step: Step) -> None:
    for operation in (step.operation, *_within(step)):
        if operation.name in _NO_DERIVATIVE:
            raise ValueError(
                f"attribute: expected operations that a gradient can pass, got {_NO_DERIVATIVE[operation.name]}; at "
                f"{place_of(operation)}"
            )


def _within(step: Step) -> Iterator[Operation]:
    """Yields the operations in the branches of a step."""
    for branch in step.params["branches"] if step.name == "cond" else ():
        yield from walk(branch, (*step.within, step.equation))


def settle(body: Body, wanted: Sequence[bool], *, piped: bool) -> None:
    """Finds the arrays that a gradient comes to and the points that all paths pass, in a body and the bodies inside it.

    Args:
      body: the program.
      wanted: for each of its outputs, whether a gradient comes to it.
      piped: whether all paths of the whole program pass its one input and its one output.

    Raises:
      ValueError: for a while loop or a call of the host on the way, which has no derivative.
    """
    body.piped = piped
    outputs = [n for n, own in zip(body.flat.outputs, wanted, strict=True) if own and body.moves(n)]
    body.live = set(outputs)
    for node in reversed(body.nodes):
        if body.is_passed(node):
            body.live.update(node.reads)
            for step in node.group.steps:
                _refuse(step)
    body.cuts = _cuts(body, outputs) if piped else []
    laid_out = {n for node in body.nodes if node.keeps and len(node.data) == 1 for n in node.makes}
    body.points = frozenset(body.cuts) - laid_out
    body.counted = body.points | set(body.sources) | set(body.flat.inputs)
    for node in body.nodes:
        if node.loop is not None and body.is_passed(node):
            _settle_within(body, node, node.loop)
            if node.loop.ends_with_point:
                body.points -= set(node.makes)  # the point is inside the loop


def _settle_within(body: Body, node: Node, loop: Loop) -> None:
    made = [number in body.live for number in node.group.steps[-1].outputs]
    inner = loop.body
    if loop.length is not None:
        carried = len(loop.parts(inner.flat.inputs)[1])
        made = [True] * carried + made[carried:]
    settle(inner, made, piped=_is_pipe(body, node, loop))


def _is_pipe(body: Body, node: Node, loop: Loop) -> bool:
    """Returns whether all paths of the whole program pass a body's one input and one output, in each of its steps."""
    inner = loop.body
    ends = [n for n in node.makes if body.is_data(n)]
    entries = [n for n in inner.flat.inputs if inner.levels[n] is Level.DATA]
    exits = [n for n in inner.flat.outputs if inner.levels[n] is Level.DATA]
    on_the_way = len(node.data) == len(ends) == 1 and {node.data[0], ends[0]} <= set(body.cuts)
    if not (body.piped and on_the_way and len(entries) == len(exits) == 1) or _has_sources(inner):
        return False
    carry = loop.parts(inner.flat.inputs)[1]
    return loop.length is None or (
        entries[0] in carry and inner.flat.outputs.index(exits[0]) == carry.index(entries[0])
    )


def _has_sources(body: Body) -> bool:
    inner = (node.loop.body for node in body.nodes if node.loop is not None)
    return bool(body.sources) or any(map(_has_sources, inner))


def _cuts(body: Body, outputs: Sequence[int]) -> list[int]:
    """Returns the arrays that all paths pass: at some moment, such an array is the only one that is needed later."""
    last: dict[int, int] = {}
    for position, node in enumerate(body.nodes):
        if body.is_passed(node):
            last.update(dict.fromkeys(node.data, position))
    last.update(dict.fromkeys(outputs, len(body.nodes)))
    entries = [n for n in body.flat.inputs if body.is_data(n)]
    later = sum(_sources_of(node, body) for node in body.nodes)
    open_now = {n for n in entries if n in last}
    cuts = list(open_now) if len(open_now) == 1 and not later else []
    for position, node in enumerate(body.nodes):
        later -= _sources_of(node, body)
        open_now.update(n for n in node.makes if body.is_data(n) and n in last)
        open_now = {n for n in open_now if last[n] > position}
        if len(open_now) == 1 and not later and (only := next(iter(open_now))) not in cuts:
            cuts.append(only)
    return cuts


def _sources_of(node: Node, body: Body) -> int:
    """Returns the number of sources that a node makes or holds and that a gradient comes to."""
    own = sum(number in body.sources for number in node.makes if number in body.live)
    return own + (node.loop is not None and body.is_passed(node) and _has_sources(node.loop.body))
