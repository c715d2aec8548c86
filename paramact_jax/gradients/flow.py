"""The share of each operation in the change of a gradient's norm, from the results of a backward pass.

At an array u that several operations use, the gradient is the sum of one contribution c_k from each. A flow w goes from
the inputs to the outputs. At the inputs it is 1 in total; at u it splits in proportion to ||c_k||^2. An operation that
makes v gets the share sum_k w_k (log ||c_k|| - log ||dL/dv||) over its inputs, and the sum at u gets
w(u) log ||dL/du|| - sum_k w_k log ||c_k||. The flow into a point equals the flow out of it. So all shares add up to
log ||dL/d inputs|| - log ||dL/d outputs||, in any order of the operations. In a chain w is 1.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from paramact_jax.gradients.backward import Look
from paramact_jax.gradients.graph import Body, Loop, Node
from paramact_jax.gradients.kinds import Kind
from paramact_jax.gradients.scaling import fractions, log_sum
from paramact_jax.programs.places import place_of


class Operation(NamedTuple):
    """One row of an attribution: an operation, or the sum of the gradients of several uses of one array.

    Attributes:
      kind: what it does.
      function: name of the operation.
      module: path of the module that it is in; empty if it is in none.
      line: line of the user's code that made it, such as "net.py:12 in f"; empty if there is none.
      step: numbers of the steps of the scans that it is in, the outermost first.
      segment: number of the segment between two points that it is in, from the inputs on.
    """

    kind: Kind
    function: str
    module: str
    line: str
    step: tuple[int, ...] = ()
    segment: int = 0

    @property
    def place(self) -> str:
        """The module and step of the operation; the line if it is in no module."""
        steps = "".join(f"[{t}]" for t in self.step)
        return f"{self.module or self.line or 'unknown place'}{steps}"


class Point(NamedTuple):
    """A point on the way of the gradient.

    Attributes:
      name: name of the operation that makes the array there.
      kind: kind of this operation.
      step: as in `Operation`.
      on_all_paths: whether all paths from the inputs to the outputs pass it. If not, it is the state that a scan
        carries from one step to the next, and other paths go around it.
    """

    name: str
    kind: Kind
    step: tuple[int, ...] = ()
    on_all_paths: bool = True


class Branch(NamedTuple):
    """One of several branches that lead on from a point.

    Attributes:
      segment: number of the segment between points that it is in.
      name: the first operation on it; "skip" if it only has sums up to the next point.
      step: as in `Operation`.
    """

    segment: int
    name: str
    step: tuple[int, ...] = ()


class Activation(NamedTuple):
    """An activation, and where it is applied."""

    function: str
    module: str
    line: str
    step: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """As in `Operation`."""
        return Operation(Kind.ACTIVATION, *self).place


Event = Operation | Point | Branch | Activation


@dataclasses.dataclass
class Findings:
    """The events on a gradient's way, in the order of the program, and their numbers.

    Attributes:
      events: the events.
      numbers: kind of event -> arrays with a row of numbers for each such event, in order.
    """

    events: list[Event] = dataclasses.field(default_factory=list)
    numbers: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    def add(self, event: Event, *numbers: Any) -> None:
        """Adds one event."""
        self.events.append(event)
        self.numbers.setdefault(type(event).__name__, []).append(numbers)

    def arrays(self) -> dict[str, jax.Array]:
        """Returns the numbers of each kind of event, (events, numbers)."""
        return {kind: jnp.concatenate(list(_in_blocks(rows))) for kind, rows in self.numbers.items()}

    def repeated(self, events: Sequence[Event], arrays: dict[str, jax.Array], steps: Sequence[int]) -> None:
        """Adds the events of a scan.

        Args:
          events: the events of one step.
          arrays: their numbers, with a leading axis of the steps.
          steps: numbers of the steps, in order.
        """
        self.events += [event._replace(step=(t, *event.step)) for t in steps for event in events]
        for kind, array in arrays.items():
            ordered = array[jnp.asarray(steps, int)]
            self.numbers.setdefault(kind, []).append(ordered.reshape(-1, *array.shape[2:]))

    def extend(self, other: Findings) -> None:
        """Adds the events of a body that is run once."""
        self.events += other.events
        for kind, rows in other.numbers.items():
            self.numbers.setdefault(kind, []).extend(rows)


def _in_blocks(rows: Sequence[Any]) -> Iterator[jax.Array]:
    """Yields arrays of rows. Rows of single numbers are put together by column, which takes few operations."""
    for single, group in itertools.groupby(rows, lambda row: isinstance(row, tuple)):
        if single:
            columns = (jnp.stack(list(column)) for column in zip(*group, strict=True))
            yield jnp.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)
        else:
            yield from group


class Flow:
    """The flow from the inputs to the outputs, followed through bodies."""

    def __init__(self, scope: Callable[[str], str], source: jax.Array, sources: int) -> None:
        """Takes the naming of modules, and the start of the flow.

        Args:
          scope: returns a module's path from the scopes of a place.
          source: log norm of the gradient by all inputs.
          sources: number of inputs; parameters that arguments select in a loop count once for each step.
        """
        self._scope, self._source, self._sources = scope, source, sources

    def started(self, log_norm: jax.Array) -> jax.Array:
        """Returns the flow at an input."""
        part = jnp.exp(2 * (log_norm - self._source))
        usual = jnp.isfinite(self._source)
        return jnp.where(usual, part, 1 / self._sources).astype(log_norm.dtype)

    def through(self, body: Body, look: Look, entering: Sequence[Any]) -> tuple[Findings, list[Any]]:
        """Returns the findings in a body, and the flow at each of its outputs.

        Args:
          body: the program.
          look: the results of a backward pass for it.
          entering: the flow at each of its inputs; None: there is none.
        """
        return _Through(self, body, look).follow(entering)

    def row(self, node: Node, kind: Kind | None = None, function: str | None = None) -> Operation:
        """Returns the row for a node, or for the sum of gradients at its output."""
        place, group = place_of(node.operation), node.group
        line = str(next(iter(place.own_lines), ""))
        return Operation(kind or group.kind, function or group.function, self._scope(place.scope), line)


class _Through:
    """The flow through one body."""

    def __init__(self, flow: Flow, body: Body, look: Look) -> None:
        self._flow, self._body, self._look = flow, body, look
        self._found = Findings()
        self._weights: dict[int, jax.Array] = {}
        self._arriving: dict[tuple[int, int], jax.Array] = {}
        self._uses: dict[int, list[tuple[int, int]]] = {}
        ports = [*(node.ports for node in body.nodes), tuple(body.flat.outputs)]
        for position, parts in enumerate(look.parts):
            for port in parts:
                self._uses.setdefault(ports[position][port], []).append((position, port))
        self._cuts = set(body.cuts)

    def follow(self, entering: Sequence[Any]) -> tuple[Findings, list[Any]]:
        body, look = self._body, self._look
        for number, weight in zip(body.flat.inputs, entering, strict=True):
            if weight is not None and number in look.norms:
                before = self._weights.get(number)
                self._weights[number] = weight if before is None else before + weight
        for number in dict.fromkeys(body.flat.inputs):
            if number in look.norms:
                self._leave(number, None)
        for position, node in enumerate(body.nodes):
            if not any(n in look.norms for n in node.makes):
                continue
            if node.loop is None:
                self._pass(position, node)
            elif node.loop.length is None:
                self._pass_again(position, node, node.loop)
            else:
                self._pass_scan(position, node, node.loop)
            for number in node.makes:
                if number in look.norms:
                    self._leave(number, node)
        last = len(body.nodes)
        return self._found, [self._arriving.get((last, port)) for port in range(len(body.flat.outputs))]

    def _leave(self, number: int, maker: Node | None) -> None:
        """Splits the flow at an array between the operations that use it."""
        norm = self._look.norms[number]
        if number in self._body.sources:
            self._weights[number] = self._flow.started(norm)
            if self._flow._sources > 1 and maker is not None:
                row = self._flow.row(maker, Kind.RESIDUAL, "inputs")
                self._row(row, times(self._weights[number], self._flow._source - norm), norm, self._flow._source)
        weight = self._weights[number]
        if number in self._body.points and maker is not None:
            row = self._flow.row(maker)
            name = f"{row.module} {row.function}" if row.module else f"{row.function} at {row.place}"
            count = self._look.counts[number]
            self._found.add(Point(name, row.kind), norm, count)
        uses = self._uses.get(number, [])
        logs = [self._look.parts[position][port] for position, port in uses]
        if len(uses) == 1:
            self._arriving[uses[0]] = weight
        elif uses:
            parts = fractions(jnp.stack(logs))
            changes = sum(times(parts[i], norm - log) for i, log in enumerate(logs))
            self._row(self._row_of_sum(maker, uses), times(weight, changes), log_sum(logs), norm)
            for i, use in enumerate(uses):
                self._arriving[use] = weight * parts[i]
                if number in self._cuts:
                    self._found.add(Branch(0, self._branch(use)), parts[i], logs[i])

    def _row_of_sum(self, maker: Node | None, uses: Sequence[tuple[int, int]]) -> Operation:
        """Returns the row for the sum of several uses' gradients, at the place where the array is made or used."""
        function = f"sum of {len(uses)} gradients"
        users = (self._body.nodes[position] for position, _ in uses if position < len(self._body.nodes))
        node = maker or next(users, None)
        return (
            Operation(Kind.RESIDUAL, function, "", "")
            if node is None
            else self._flow.row(node, Kind.RESIDUAL, function)
        )

    def _branch(self, use: tuple[int, int]) -> str:
        """Returns the name of a branch that leads on from a point."""
        position, _ = use
        first = None
        while position < len(self._body.nodes):
            node = self._body.nodes[position]
            first = first or node
            if not node.keeps:
                row = self._flow.row(node)
                return f"{row.place}: {row.function}"
            (made,) = node.makes
            if made in self._cuts or len(self._uses.get(made, ())) != 1:
                break
            ((position, _),) = self._uses[made]
        return "skip"

    def _row(self, row: Operation, share: Any, behind: Any, before: Any, has_nan: Any = False) -> None:
        """Adds a row: the share, the log norms at output and input, and whether the operation makes a NaN."""
        self._found.add(row, share, behind, before, jnp.asarray(has_nan, before.dtype))

    def _pass(self, position: int, node: Node) -> None:
        look = self._look
        makes = [n for n in node.makes if n in look.norms]
        behind = log_sum([look.norms[n] for n in makes])
        parts = look.parts[position]
        weights = [self._arriving[position, port] for port in parts]
        if weights and not node.keeps:
            if node.group.factor != 1:
                scaled = behind + math.log(abs(node.group.factor))
                row = self._flow.row(node, Kind.SCALE, "mul")
                self._row(row, times(weights[0], scaled - behind), behind, scaled)
                behind = scaled
            share = sum(times(w, c - behind) for w, c in zip(weights, parts.values(), strict=True))
            before = log_sum(list(parts.values()))
            self._row(self._flow.row(node), share, behind, before, look.has_nan[position])
        if position in look.states:
            row = self._flow.row(node)
            state = look.states[position]
            self._found.add(Activation(row.function, row.module, row.line), *state[:5])
            if state.histograms is not None:
                self._found.numbers.setdefault("histogram", []).append(state.histograms[None])
        if weights:
            self._divide(node, makes, sum(weights[1:], weights[0]), behind)

    def _divide(self, node: Node, makes: Sequence[int], weight: jax.Array, behind: jax.Array) -> None:
        """Splits the flow between the arrays that an operation makes."""
        norms = [self._look.norms[n] for n in makes]
        parts = fractions(jnp.stack(norms)) * weight if len(makes) > 1 else [weight]
        self._weights.update(zip(makes, parts, strict=True))
        if len(makes) > 1:
            share = sum(times(part, behind - norm) for part, norm in zip(parts, norms, strict=True))
            row = self._flow.row(node, Kind.RESIDUAL, f"gradients of {len(makes)} parts")
            self._row(row, share, behind, behind)

    def _pass_again(self, position: int, node: Node, loop: Loop) -> None:
        entering = [self._arriving.get((position, port)) for port in range(len(node.ports))]
        found, leaving = self._flow.through(loop.body, self._look.within[position].look, entering)
        self._found.extend(found)
        self._collect(node, leaving)

    def _collect(self, node: Node, leaving: Sequence[Any]) -> None:
        for number, weight in zip(node.group.steps[-1].outputs, leaving, strict=True):
            if number in self._look.norms:
                self._weights[number] = jnp.zeros_like(self._look.norms[number]) if weight is None else weight

    def _pass_scan(self, position: int, node: Node, loop: Loop) -> None:
        seen, norms = self._look.within[position], self._look.parts[position]
        entering = [self._arriving.get((position, port)) for port in range(len(node.ports))]
        consts, carry, _ = loop.parts(list(range(len(node.ports))))
        shared, carried = len(consts), len(consts) + len(carry)
        by_step: list[Any] = []
        for port, weight in enumerate(entering):
            if weight is None or shared <= port < carried:
                by_step.append(None)
                continue
            parts = weight * fractions(seen.parts[port])
            by_step.append(parts)
            share = jnp.sum(times(parts, norms[port] - seen.parts[port]))
            together = 0.5 * jax.nn.logsumexp(2 * seen.parts[port])
            row = self._flow.row(node, Kind.RESIDUAL, "gradients of all steps")
            self._row(row, share, together, norms[port])
        body, look = loop.body, seen.look
        zero = jnp.zeros_like(self._flow._source)
        start = [
            (zero if entering[shared + i] is None else entering[shared + i]) if number in look.norms else None
            for i, number in enumerate(body.flat.inputs[shared:carried])
        ]
        events: list[Event] = []
        states = [n for n in body.flat.inputs[shared:carried] if n in look.norms]

        def one(weights: Any, x: Any) -> tuple[Any, Any]:
            look, by_step = x
            found, leaving = self._flow.through(body, look, [*by_step[:shared], *weights, *by_step[carried:]])
            if states and not body.piped:
                norm = log_sum([look.norms[n] for n in states])
                counts = [look.counts[n] for n in states]
                first = Findings()
                first.add(Point(f"state of {self._flow.row(node).place}", Kind.OTHER, (), False), norm, sum(counts))
                first.extend(found)
                found = first
            events[:] = found.events
            after = [
                None if w is None else (jnp.zeros_like(w) if new is None else new.astype(w.dtype))
                for w, new in zip(weights, leaving, strict=False)
            ]
            return after, (found.arrays(), leaving[len(carry) :])

        last, (arrays, columns) = lax.scan(one, start, (look, by_step), length=loop.length, reverse=loop.reverse)
        order = list(range(loop.length or 0))
        self._found.repeated(events, arrays, order[::-1] if loop.reverse else order)
        totals = [None if column is None else column.sum() for column in columns]
        outputs = node.group.steps[-1].outputs
        for i, column in enumerate(columns):
            number = outputs[len(carry) + i]
            inner = look.parts[-1].get(len(carry) + i)
            if column is not None and number in self._look.norms and inner is not None:
                norm = self._look.norms[number]
                row = self._flow.row(node, Kind.RESHAPING, "scan")
                share = jnp.sum(times(column, inner - norm))
                self._row(row, share, norm, norm)
        self._collect(node, [*last, *totals])


def times(weight: Any, change: Any) -> Any:
    """Returns weight times change, and 0 for the weight 0, even if the change is not finite."""
    return jnp.where(weight == 0, 0, weight * change)
