"""One backward pass that keeps the logarithm of the gradient's norm wherever it passes."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from paramact_jax.gradients import units
from paramact_jax.gradients.graph import Body, Loop, Node
from paramact_jax.gradients.kinds import Kind
from paramact_jax.gradients.scaling import Scaled, added, in_full_precision, scaled, stacked, together
from paramact_jax.programs.places import place_of
from paramact_jax.programs.steps import run_steps

Cotangents = list[Scaled | None]


class UnitState(NamedTuple):
    """The state of the units of activations; see `gradients.units`.

    Attributes:
      slope_at_least_one: share of |dz/dy| >= 1 [P, Fig. 14].
      saturated: share of |dz/dy| < `units.SATURATED_BELOW`.
      dead: share of nodes or channels with slope 0 at every sample and place.
      one_sign: share of neurons with weight gradients, added over the samples, of one sign; NaN if no linear map is
        right before the activation.
      one_sign_of_sample: the same for the gradients of single samples, averaged over the samples; NaN for convolutions
        too.
      histograms: counts of the activations' values z as `units.histogram` returns them; None if no edges were given.
    """

    slope_at_least_one: jax.Array
    saturated: jax.Array
    dead: jax.Array
    one_sign: jax.Array
    one_sign_of_sample: jax.Array
    histograms: jax.Array | None


class Look(NamedTuple):
    """The results of the backward pass that are kept for one body.

    Attributes:
      norms: log norm of the gradient by each array on the way, by the array's number.
      parts: for each node, and last for the outputs, log norm of the gradient that the array at each port gets from it,
        by port.
      has_nan: for each node that passes a gradient, whether it makes a NaN.
      counts: by the number of a counted array, how many entries of the gradient by it are exactly 0, and how many are
        not finite or too large for its dtype, (2,).
      states: state of the units of each node that is an activation, by the node's position.
      within: results for the loop in a node, by the node's position.
    """

    norms: dict[int, jax.Array]
    parts: list[dict[int, jax.Array]]
    has_nan: dict[int, jax.Array]
    counts: dict[int, jax.Array]
    states: dict[int, UnitState]
    within: dict[int, LookWithin]


class LookWithin(NamedTuple):
    """The results that are kept for a loop, with a leading axis of its steps if it is a scan.

    Attributes:
      look: results for its body.
      parts: log norm of the gradient that the array at each port gets in each step. Ports of carried values have none.
    """

    look: Look
    parts: dict[int, jax.Array]


class Backward:
    """Runs bodies, and goes back through them."""

    def __init__(self, edges: jax.Array | None) -> None:
        """Takes the bin edges of histograms of the activations' values; None: no histograms."""
        self._edges = edges

    def run(self, body: Body, inputs: Sequence[Any]) -> tuple[dict[int, Any], dict[int, list[Any]]]:
        """Returns all arrays of a body, and the values that each scan on the way carries into its steps, by position.

        The body of a loop is run again when the gradient comes to it. So only the carried values of a scan are kept.
        """
        values = body.started(inputs)
        carries: dict[int, list[Any]] = {}
        for position, node in enumerate(body.nodes):
            if node.loop is not None and node.loop.length is not None and body.is_passed(node):
                outputs, carries[position] = _run_scan(node, values)
                values |= dict(zip(node.group.steps[-1].outputs, outputs, strict=True))
            else:
                values |= run_steps(node.group.steps, values)
        return values, carries

    def back(
        self, body: Body, values: Mapping[int, Any], carries: Mapping[int, Any], cotangents: Cotangents
    ) -> tuple[Cotangents, Look]:
        """Returns the gradient by each input, and the results of the backward pass.

        Args:
          body: the program.
          values: values of all its arrays.
          carries: the carried values that `run` returned.
          cotangents: the gradient by each output; None: there is none.
        """
        look = Look({}, [{} for _ in range(len(body.nodes) + 1)], {}, {}, {}, {})
        pending: dict[int, list[Scaled]] = {}
        for port, (number, own) in enumerate(zip(body.flat.outputs, cotangents, strict=True)):
            if own is not None and body.moves(number):
                pending.setdefault(number, []).append(own)
                if body.is_data(number):
                    look.parts[-1][port] = own.log_norm
        signs = _Signs(body)
        for position in reversed(range(len(body.nodes))):
            node = body.nodes[position]
            made = {n: self._total(body, n, pending.pop(n), look) for n in node.makes if n in pending}
            if not made:
                continue
            look.has_nan[position] = _has_nan([values[n] for n in made])
            gains = self._through(body, position, values, carries, made, look, signs)
            for port, gain in gains.items():
                number = node.ports[port]
                pending.setdefault(number, []).append(gain)
                if body.is_data(number):
                    look.parts[position][port] = gain.log_norm
        back = {n: self._total(body, n, pending[n], look) for n in body.flat.inputs if n in pending}
        for position, state in look.states.items():
            look.states[position] = signs.completed(state, body.nodes[position])
        return [back.get(n) for n in body.flat.inputs], look

    def _total(self, body: Body, number: int, gains: Sequence[Scaled], look: Look) -> Scaled:
        total = added(gains)
        if body.is_data(number):
            look.norms[number] = total.log_norm
            if number in body.counted:
                look.counts[number] = count(total)
        return total

    def _through(
        self,
        body: Body,
        position: int,
        values: Mapping[int, Any],
        carries: Mapping[int, Any],
        made: Mapping[int, Scaled],
        look: Look,
        signs: _Signs,
    ) -> dict[int, Scaled]:
        """Returns the gradient that a node gives back to the array at each of its ports."""
        node = body.nodes[position]
        if node.loop is not None:
            if node.loop.length is None:
                gains, look.within[position] = self._again(node, node.loop, values, made)
            else:
                gains, look.within[position] = self._scan(node, node.loop, values, carries[position], made)
            return gains
        values, made = self._at_hand(body, node, values, made)
        pull = _pull_back(node, values, tuple(made))
        top, arrays = together(list(made.values()))
        if node.may_be_nonlinear:  # the rule's result may depend on the size of the gradient
            arrays, top = [x * jnp.exp(top).astype(x.dtype) for x in arrays], jnp.zeros_like(top)
        if node.keeps:
            (only,) = made.values()
            return {
                port: Scaled(x, only.scale, only.log_norm) if number in node.data else scaled(x, only.scale)
                for (port, number), x in zip(enumerate(node.reads), pull([only.unit]), strict=True)
            }
        if node.group.kind is Kind.ACTIVATION:
            slopes, look.states[position] = self._slopes(node, values, pull)
            gains = pull(arrays)
            port = node.reads.index(node.data[0])
            if not node.has_own_rule:
                gains[port] = arrays[0] * slopes.astype(arrays[0].dtype)
        else:
            gains = pull(arrays)
        found = {port: scaled(gain, top) for port, gain in enumerate(gains)}
        if node.group.kind is Kind.LINEAR:
            signs.see(node, values, found, made)
        return found

    def _at_hand(
        self, body: Body, node: Node, values: Mapping[int, Any], made: Mapping[int, Scaled]
    ) -> tuple[Mapping[int, Any], Mapping[int, Scaled]]:
        """Returns the arrays that a node needs, and the gradients. No array is made before the gradients are here.

        Results of elementwise operations are computed again, so that they are not kept.
        """
        again: list[Node] = []
        needed: dict[int, None] = {}

        def need(number: int) -> None:
            maker = body.makers.get(number)
            if maker is None or not maker.is_cheap:
                needed[number] = None
            elif maker not in again:
                for own in maker.group.takes:
                    need(own)
                again.append(maker)

        for number in node.group.takes:
            need(number)
        at_hand, made = _once_here(values, [n for n in needed if n not in body.flat.constants], made)
        for maker in again:
            at_hand |= run_steps(maker.group.steps, at_hand)
        return at_hand, made

    def _slopes(self, node: Node, values: Mapping[int, Any], pull: Any) -> tuple[jax.Array, UnitState]:
        """Returns the slopes dz/dy of an activation, in closed form if it is known, and the state of its units."""
        z = values[node.makes[0]]
        if (slopes := node.closed_form(values)) is None:
            slopes = pull([jnp.ones_like(z)])[node.reads.index(node.data[0])]
        site = node.group.site
        axis = site.axis if site is not None and site.axis is not None and site.axis < slopes.ndim else slopes.ndim - 1
        return slopes, _state(slopes / node.group.factor, axis, z, self._edges)

    def _again(
        self, node: Node, loop: Loop, values: Mapping[int, Any], made: Mapping[int, Scaled]
    ) -> tuple[dict[int, Scaled], LookWithin]:
        """Goes back through a body that is computed again."""
        (step,) = node.group.steps
        at_hand, made = _once_here(values, list(dict.fromkeys(step.inputs)), made)
        inputs = [at_hand[n] for n in step.inputs]
        inner, carries = self.run(loop.body, inputs)
        back, look = self.back(loop.body, inner, carries, [made.get(n) for n in step.outputs])
        return {port: gain for port, gain in enumerate(back) if gain is not None}, LookWithin(look, {})

    def _scan(
        self, node: Node, loop: Loop, values: Mapping[int, Any], carries: Any, made: Mapping[int, Scaled]
    ) -> tuple[dict[int, Scaled], LookWithin]:
        """Goes back through a scan, step by step. Each step is run again from the values that were carried into it."""
        (step,) = node.group.steps
        body = loop.body
        consts, carry, xs = loop.parts([values[n] for n in step.inputs])
        shared, carried = len(consts), len(consts) + len(carry)
        entries = body.flat.inputs
        ends = [made.get(n) for n in step.outputs]

        def empty(entry: int, like: Any) -> Scaled | None:
            return scaled(jnp.zeros_like(like)) if body.moves(entry) and entry in body.live else None

        start = [
            None if (zero := empty(e, x)) is None else (zero if end is None else end)
            for e, x, end in zip(entries[shared:carried], carry, ends, strict=False)
        ]
        sums = [empty(e, x) for e, x in zip(entries, consts, strict=False)]
        columns = ends[len(carry) :]

        def one(state: Any, x: Any) -> tuple[Any, Any]:
            cotangents, sums = state
            own_carry, own_xs, entries_of_columns = x
            inner, own_carries = self.run(body, [*consts, *own_carry, *own_xs])
            rows = [
                None if entry is None or column is None else scaled(entry, column.scale)
                for entry, column in zip(entries_of_columns, columns, strict=True)
            ]
            back, look = self.back(body, inner, own_carries, [*cotangents, *rows])
            before = [
                None if zero is None else (zero if gain is None else gain)
                for zero, gain in zip(map(_zero_like, start), back[shared:carried], strict=True)
            ]
            sums = [
                total if gain is None or total is None else added([total, gain])
                for total, gain in zip(sums, back, strict=False)
            ]
            return (before, sums), (back[carried:], look, [None if g is None else g.log_norm for g in back[:shared]])

        units_of_columns = [None if column is None else column.unit for column in columns]
        (start, sums), (gains, look, logs) = lax.scan(
            one, (start, sums), (carries, list(xs), units_of_columns), length=loop.length, reverse=not loop.reverse
        )
        parts = {port: log for port, log in enumerate(logs) if log is not None}
        parts |= {carried + i: gain.log_norm for i, gain in enumerate(gains) if gain is not None}
        whole = [*sums, *start, *(None if gain is None else stacked(gain) for gain in gains)]
        found = {
            port: gain
            for port, (number, gain) in enumerate(zip(step.inputs, whole, strict=True))
            if number in node.reads and gain is not None
        }
        return found, LookWithin(look, parts)


def _once_here(
    values: Mapping[int, Any], numbers: Sequence[int], made: Mapping[int, Scaled]
) -> tuple[dict[int, Any], Mapping[int, Scaled]]:
    """Returns the arrays and gradients. The arrays of these numbers cannot be used before the gradients are here.

    So a second computation from them is not merged with the first one, which would keep the first one's results.
    """
    floats = [n for n in numbers if jnp.issubdtype(values[n].dtype, jnp.inexact)]
    held, made = lax.optimization_barrier(([values[n] for n in floats], dict(made)))
    return dict(values) | dict(zip(floats, held, strict=True)), made


def _zero_like(like: Scaled | None) -> Scaled | None:
    return None if like is None else scaled(jnp.zeros_like(like.unit))


def _run_scan(node: Node, values: Mapping[int, Any]) -> tuple[list[Any], list[Any]]:
    """Returns the outputs of a scan, and the values that are carried into each of its steps."""
    (step,), loop = node.group.steps, node.loop
    assert loop is not None
    consts, carry, xs = loop.parts([values[n] for n in step.inputs])
    body = loop.body

    def one(carry: Any, x: Any) -> tuple[Any, Any]:
        inner = body.run([*consts, *carry, *x])
        made = [inner[n] for n in body.flat.outputs]
        return made[: len(carry)], (made[len(carry) :], carry)

    last, (ys, carries) = lax.scan(one, list(carry), list(xs), length=loop.length, reverse=loop.reverse)
    return [*last, *ys], carries


def _pull_back(node: Node, values: Mapping[int, Any], outputs: Sequence[int]) -> Any:
    """Returns the function from the gradients by a node's outputs to the gradients by the arrays that it reads."""

    def function(*own: Any) -> list[Any]:
        made = run_steps(node.group.steps, collections.ChainMap(dict(zip(node.reads, own, strict=True)), dict(values)))
        return [made[n] for n in outputs]

    @contextlib.contextmanager
    def explained() -> Iterator[None]:
        try:
            yield
        except (NotImplementedError, ValueError, TypeError) as error:
            raise ValueError(
                f"attribute: expected operations that a gradient can pass, got {node.group.function!r} at "
                f"{place_of(node.operation)}: {str(error).splitlines()[0]}"
            ) from error

    with explained():
        pull = jax.vjp(function, *(values[n] for n in node.reads))[1]

    def pull_back(cotangents: Sequence[Any]) -> list[Any]:
        with explained():
            return list(pull(list(cotangents)))

    return pull_back


@functools.partial(jax.jit, static_argnums=1)
def _state(slopes: jax.Array, axis: int, z: jax.Array, edges: jax.Array | None) -> UnitState:
    """Returns the state of units with slopes dz/dy and values z, without the signs of weight gradients.

    Args:
      slopes: of any shape.
      axis: the axis of nodes or channels.
      z: of the same shape.
      edges: bin edges of the histogram; None: there is none.
    """
    wide = in_full_precision(slopes)
    by_node = jnp.moveaxis(wide, axis, -1) if wide.ndim else wide[None]
    unknown = jnp.full((), jnp.nan, wide.dtype)
    both = jnp.stack([jnp.abs(wide) >= 1, jnp.abs(wide) < units.SATURATED_BELOW])  # in one pass
    at_least_one, saturated = both.mean(range(1, both.ndim))
    return UnitState(
        slope_at_least_one=at_least_one.astype(wide.dtype),
        saturated=saturated.astype(wide.dtype),
        dead=units.dead_share(by_node.reshape(-1, by_node.shape[-1])).astype(wide.dtype),
        one_sign=unknown,
        one_sign_of_sample=unknown,
        histograms=None if edges is None else units.histogram(z, edges),
    )


@jax.jit
def _has_nan(arrays: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.logical_or, (jnp.any(jnp.isnan(x)) for x in arrays))


@jax.jit
def count(gradient: Scaled) -> jax.Array:
    """Returns how many entries are exactly 0, and how many are not finite or too large for the dtype, (2,)."""
    largest = jnp.log(jnp.asarray(jnp.finfo(gradient.unit.dtype).max, gradient.scale.dtype))
    scale = jnp.where(jnp.isneginf(gradient.scale), 0, gradient.scale)
    too_large = ~(jnp.log(jnp.abs(gradient.unit).astype(scale.dtype)) + scale <= largest)
    both = jnp.stack([gradient.unit == 0, too_large])  # in one pass
    return jnp.sum(both, axis=range(1, both.ndim), dtype=jnp.int32)


class _Signs:
    """Whether the weight gradients of neurons have one sign, for the linear maps right before activations."""

    def __init__(self, body: Body) -> None:
        self._before: dict[int, int] = {}
        for node in body.nodes:
            if node.group.kind is Kind.ACTIVATION and node.data:
                number = node.data[0]
                while (maker := body.makers.get(number)) is not None and len(maker.data) == 1:
                    if not (maker.keeps or maker.group.kind is Kind.MASKING):
                        break
                    number = maker.data[0]
                self._before[node.makes[0]] = number
        self._wanted = set(self._before.values())
        self._seen: dict[int, tuple[jax.Array, jax.Array]] = {}

    def see(
        self, node: Node, values: Mapping[int, Any], gains: Mapping[int, Scaled], made: Mapping[int, Scaled]
    ) -> None:
        """Looks at a linear map on the way back."""
        step, number = node.group.steps[0], node.makes[0]
        if number not in self._wanted or len(step.inputs) != 2 or len(node.data) > 1:
            return
        data = next((i for i, n in enumerate(step.inputs) if n in node.data), None)
        kernel = next((i for i, n in enumerate(step.inputs) if i != data and n in node.reads), None)
        if kernel is None or data is None or jnp.iscomplexobj(values[step.outputs[0]]):
            return
        gradient = gains[node.reads.index(step.inputs[kernel])].unit
        nan = jnp.full((), jnp.nan, made[number].log_norm.dtype)
        if step.name == "dot_general":
            contracted, batched = step.params["dimension_numbers"]
            one = _share_of_one_sign(gradient, contracted[kernel]).astype(nan.dtype)
            z, shared = values[step.inputs[data]], len(batched[data])
            free = [axis for axis in range(z.ndim) if axis not in (*contracted[data], *batched[data])]
            ordered = jnp.transpose(z, (*batched[data], *free, *contracted[data]))
            of_sample = _has_one_sign(ordered, range(shared + len(free), z.ndim))
            others = gradient.ndim - len(contracted[kernel]) - shared
            place = of_sample.ndim if data == 0 else shared
            of_sample = jnp.expand_dims(of_sample, tuple(range(place, place + others)))
            self._seen[number] = one, jnp.mean(of_sample & (made[number].unit != 0)).astype(nan.dtype)
        elif step.name == "conv_general_dilated":
            out = step.params["dimension_numbers"].rhs_spec[0]
            axes = tuple(axis for axis in range(gradient.ndim) if axis != out)
            self._seen[number] = _share_of_one_sign(gradient, axes).astype(nan.dtype), nan

    def completed(self, state: UnitState, node: Node) -> UnitState:
        """Returns the state of an activation's units, with the signs of the weight gradients before it."""
        seen = self._seen.get(self._before[node.makes[0]])
        return state if seen is None else state._replace(one_sign=seen[0], one_sign_of_sample=seen[1])


def _has_one_sign(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    signs = jnp.all(jnp.stack([x >= 0, x <= 0, x == 0]), axis=tuple(axis + 1 for axis in axes))  # in one pass
    return (signs[0] | signs[1]) & ~signs[2]


def _share_of_one_sign(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    return jnp.mean(_has_one_sign(x, axes))
