"""How the norm of a gradient changes on its way back through any network, and what changes it."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from paramact_jax.activations.precision import float32_products
from paramact_jax.gradients.backward import Backward, Look, UnitState, count
from paramact_jax.gradients.decay import LayerDecay, causes_of
from paramact_jax.gradients.flow import Activation, Branch, Event, Findings, Flow, Operation, Point, times
from paramact_jax.gradients.graph import Body, Reader, Start, settle
from paramact_jax.gradients.jacobians import layer_jacobians, records_of
from paramact_jax.gradients.kinds import Kind, Level
from paramact_jax.gradients.scaling import Scaled, log_sum, scaled
from paramact_jax.gradients.spectra import Spectra, spectra
from paramact_jax.layers.calls import FlatCall
from paramact_jax.layers.models import NnxCall, call_of, explained
from paramact_jax.programs import Program, trace
from paramact_jax.programs.program import opened
from paramact_jax.programs.sites import sites

_STATIC = ("operations", "points", "branches", "activations", "parameters")


@dataclasses.dataclass(frozen=True, eq=False)
class Attribution:
    """How the norm of the gradient changes from the outputs of a network to its inputs, and what changes it.

    All logarithms are natural, so that a norm of 1e-100 is a number. It is a tree of arrays: under `jax.vmap` each
    array has leading axes, and the methods work along the last axis. Printed, it is a table.

    Attributes:
      operations: the R operations that change the norm, in the order of the program. An operation in a scan has a row
        for each step.
      share: (R,), the part of the change that each operation causes. All shares add up to `total`, and the shares of
        one segment add up to the change between its two points. An operation on one of several branches has only a
        part of its change, as large as the branch's part of the squared norm of the gradient; see `gradients.flow`.
        -inf: it makes the gradient exactly 0. NaN: the gradient was 0 before, or is not finite.
      change: (R,), by how much each operation changes the norm of the gradient that comes through it.
      points: the P points on the way, from the inputs to the outputs. All paths pass each point, except for points that
        are the state of a scan (`on_all_paths` is False).
      log_norm: (P,), log norm of the gradient at each point; -inf where it is exactly 0.
      zeros: (P,), number of entries of the gradient that are exactly 0.
      non_finite: (P,), number of entries that are infinite or NaN, or beyond the largest number of their dtype.
      branches: the B branches that lead on from points with several.
      branch_part: (B,), each branch's part of the squared norm that comes together at the point.
      branch_change: (B,), the change of the norm along each branch, from the next point that all paths pass.
      activations: the A activations on the way.
      units: state of the activations' units; each field has shape (A,), histograms (A, bins + 3).
      parameters: names of the G learned parameters.
      gradient_log_norm: (G,), log norm of the gradient by each parameter.
      ratio: (G,), the same minus the log norm of the parameter.
      first_zero: number in `operations` of the first on the way back that makes the gradient exactly 0; -1: none does.
      first_non_finite: the same for a gradient with an infinite or NaN norm.
      first_nan: number of the first operation on the way forward that makes a NaN; -1: none does.
      spectra: singular values of the factors of a chain; None if they were not asked for.
    """

    operations: tuple[Operation, ...]
    share: jax.Array
    change: jax.Array
    points: tuple[Point, ...]
    log_norm: jax.Array
    zeros: jax.Array
    non_finite: jax.Array
    branches: tuple[Branch, ...]
    branch_part: jax.Array
    branch_change: jax.Array
    activations: tuple[Activation, ...]
    units: UnitState
    parameters: tuple[str, ...]
    gradient_log_norm: jax.Array
    ratio: jax.Array
    first_zero: jax.Array
    first_non_finite: jax.Array
    first_nan: jax.Array
    spectra: Spectra | None

    @property
    def total(self) -> jax.Array:
        """log(||dL/d inputs|| / ||dL/d outputs||). Inputs of integers stand for the parameters that they select."""
        return self.log_norm[..., 0] - self.log_norm[..., -1]

    def by_kind(self, segment: int | None = None) -> dict[Kind, jax.Array]:
        """Returns the sum of the shares of each kind of operation, of one segment or of all."""
        return self._summed(
            lambda operation: operation.kind if segment is None or operation.segment == segment else None
        )

    def by_place(self, depth: int | None = None) -> dict[str, jax.Array]:
        """Returns the sum of the shares of the operations in each module, in the order of the program.

        Args:
          depth: number of names of a module's path that are kept; None: all.
        """
        return self._summed(
            lambda operation: ".".join(operation.place.split(".")[:depth]) if operation.module else operation.place
        )

    def _summed(self, key: Callable[[Operation], Any]) -> dict[Any, jax.Array]:
        chosen: dict[Any, list[int]] = {}
        for number, operation in enumerate(self.operations):
            if (name := key(operation)) is not None:
                chosen.setdefault(name, []).append(number)
        return {name: total_of(self.share[..., np.array(numbers)]) for name, numbers in chosen.items()}

    @property
    def decay(self) -> LayerDecay:
        """The gradient's norm at the linear maps that all paths pass, and the causes of its decay between them."""
        on_all = [i for i, point in enumerate(self.points) if point.on_all_paths]
        layers = [(i, segment) for segment, i in enumerate(on_all) if self.points[i].kind is Kind.LINEAR]
        kinds = (Kind.LINEAR,), (Kind.ACTIVATION, Kind.ELEMENTWISE)
        linear, activation = (
            [self._between(first, last, chosen) for (_, first), (_, last) in itertools.pairwise(layers)]
            for chosen in kinds
        )
        where = np.array([i for i, _ in layers], int)
        empty = self.share[..., :0]
        factors = [jnp.stack(own, axis=-1) if own else empty for own in (linear, activation)]
        killed = jnp.any(jnp.isneginf(factors[0]) | jnp.isneginf(factors[1]), axis=-1, keepdims=True)
        acting = [jnp.where(killed & jnp.isnan(own), 0, own).sum(-1) for own in factors]
        return LayerDecay(
            log_norm=self.log_norm[..., where],
            linear=factors[0],
            activation=factors[1],
            cause=causes_of(*factors),
            total_cause=causes_of(*acting),
            non_finite=self.non_finite[..., where],
        )

    def _between(self, first: int, last: int, kinds: Sequence[Kind]) -> jax.Array:
        numbers = [i for i, o in enumerate(self.operations) if first <= o.segment < last and o.kind in kinds]
        return total_of(self.share[..., np.array(numbers, int)])

    def __str__(self) -> str:
        from paramact_jax.gradients.table import table

        return table(self)


jax.tree_util.register_dataclass(
    Attribution,
    data_fields=[field.name for field in dataclasses.fields(Attribution) if field.name not in _STATIC],
    meta_fields=list(_STATIC),
)


def total_of(shares: jax.Array) -> jax.Array:
    """Returns the sum of shares along the last axis. NaN shares, which had no gradient, count only if all are NaN."""
    if not shares.shape[-1]:
        return jnp.zeros(shares.shape[:-1], shares.dtype)
    all_nan = jnp.isnan(shares).all(-1)
    return jnp.where(all_nan, jnp.nan, jnp.where(jnp.isnan(shares), 0, shares).sum(-1))


@float32_products()
def attribute(
    model: Any,
    *args: Any,
    loss: Callable[[Any], jax.Array] | None = None,
    edges: jax.Array | None = None,
    singular_values: bool = False,
    **kwargs: Any,
) -> Attribution:
    """Returns by how much each operation of a network changes the norm of the gradient on its way back.

    The network is traced as it is called; it may be written in any way. One backward pass goes through its operations
    and keeps the logarithm of the gradient's norm. It distinguishes linear maps, activations, norms, scales, sums of
    branches, softmax, products of attention, gates and pooling; see `gradients.Kind`. An operation is recognised by
    what it computes. So a norm counts as a norm, whether it is a module or written out, and a constant factor never
    counts for an activation. A known activation has its closed form as its slope, which does not underflow where
    autodiff does.

    The way back ends at the arguments of a float dtype. Arguments of integers, such as token ids, have no gradient; for
    them it ends at the parameters that they select, the embeddings. If there are several ends, the norm is that of all
    together.

    This is a pure function of the parameters, which can be jitted, and vmapped over trials and checkpoints. A loop is
    run again, step by step, when the gradient comes to it. So only the values carried between its steps are kept.

    Args:
      model: an nnx module, which is not changed; a linen module, with its variables as the first of `args`; a linen
        module that is bound to its variables; or a function f(params, *args, **kwargs), with its params as the first
        of `args`.
      *args: the arguments of the call.
      loss: the scalar loss of what the call returns. Not needed if the call returns a scalar.
      edges: bin edges of histograms of the activations' values; None: no histograms.
      singular_values: whether to compute singular values of the factors of a chain; they cost more than all the rest.
      **kwargs: named arguments of the call. `method` names the method that is called instead of `__call__`, for nnx
        too. If an argument of the model has the name of one above, pass it by `functools.partial`.

    Raises:
      TypeError: if `model` is not a module or a function, an argument is missing, or the loss is not a scalar.
      ValueError: if the loss depends on no argument, or depends on one only through a while loop or a call of the
        host, which have no derivative.

    Examples:
      >>> from paramact_jax.networks import MLP
      >>> x = jax.random.normal(jax.random.key(0), (8, 16))
      >>> deep = MLP(16, [16] * 10, 1, "sigmoid", rngs=nnx.Rngs(0))
      >>> found = attribute(deep, x, loss=lambda outputs: (outputs**2).mean())
      >>> {str(kind): round(float(share)) for kind, share in found.by_kind().items()}
      {'linear': -1, 'activation': -15}
      >>> bool(jnp.allclose(sum(found.by_kind().values()), found.total, atol=1e-4))
      True
    """
    call = call_of(model, args, kwargs)
    flat = FlatCall(call)
    is_nnx = isinstance(call.call, NnxCall)
    try:
        program = trace(lambda arrays: flat.function(arrays)[0] if is_nnx else flat.function(arrays), flat.arrays)
    except TypeError as error:
        raise explained(error, call) from error
    loss, wanted = _of_outputs(program, loss)
    body = _read(program, flat, model, wanted)
    events: list[Event] = []
    bins = None if edges is None else jnp.asarray(edges)

    @jax.jit
    def look(arrays: Sequence[Any]) -> Any:
        return _look(body, program, arrays, loss, wanted, bins, call.scope, events)

    numbers, parameters = look(flat.arrays)
    return _assembled(events, numbers, parameters, flat, _spectra(model, args) if singular_values else None)


def _of_outputs(program: Program, loss: Any) -> tuple[Callable[[Any], jax.Array], list[bool]]:
    """Returns the loss, and for each array of the output whether the loss depends on it."""
    leaves = jax.tree.leaves(program.outputs)
    if loss is None:
        if [leaf.shape for leaf in leaves] != [()]:
            got = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves) or "nothing"
            raise TypeError(f"attribute: expected a loss, as the model returns no scalar, got loss=None and {got}")
        loss = lambda output: jax.tree.leaves(output)[0]  # noqa: E731
    if not callable(loss):
        raise TypeError(f"attribute: expected a function of what the model returns as loss, got {type(loss).__name__}")
    traced = trace(loss, program.outputs)
    values = jax.tree.leaves(traced.outputs)
    if len(values) != 1 or values[0].shape != () or not jnp.issubdtype(values[0].dtype, jnp.floating):
        got = ", ".join(f"{value.dtype}{list(value.shape)}" for value in values) or "nothing"
        raise TypeError(f"attribute: expected a loss that returns one float number, got {got}")
    jaxpr, _ = opened(traced.closed)
    read = set(map(id, jaxpr.outvars)).union(*(map(id, equation.invars) for equation in jaxpr.eqns))
    return loss, [id(v) in read for v in jaxpr.invars]


def _read(program: Program, flat: FlatCall, model: Any, wanted: Sequence[bool]) -> Body:
    """Returns the program as the way of a gradient."""
    found = sites(program, flat.learned)
    levels = [
        _level(x, learned=learned, given=given)
        for x, learned, given in zip(flat.arrays, flat.learned, flat.given, strict=True)
    ]
    for start in Start:
        body = Reader(found, records_of(model), start).read(program.closed, levels, (), wanted)
        settle(body, [True] * len(body.flat.outputs), piped=True)
        if body.sources_on_the_way():
            return body
    raise ValueError(
        "attribute: expected a loss that depends on an argument that is an array of a float dtype, or on parameters "
        "that an argument of integers selects, got one that depends on none"
    )


def _level(x: Any, *, learned: bool, given: bool) -> Level:
    if learned:
        return Level.LEARNED
    if given and jnp.issubdtype(x.dtype, jnp.inexact):
        return Level.DATA
    # random keys, also in their old form, select no parameters
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key) or x.dtype == jnp.uint32
    return Level.INPUT if given and not is_key else Level.FIXED


def _look(
    body: Body,
    program: Program,
    arrays: Sequence[Any],
    loss: Callable[[Any], jax.Array],
    wanted: Sequence[bool],
    edges: jax.Array | None,
    scope: Callable[[str], str],
    events: list[Event],
) -> tuple[dict[str, jax.Array], Any]:
    """Returns the numbers of the events, and those of the parameters. It puts the events into `events`."""
    backward = Backward(edges)
    values, carries = backward.run(body, arrays)
    cotangents = _gradient(program, [values[n] for n in body.flat.outputs], loss, wanted)
    back, seen = backward.back(body, values, carries, cotangents)
    sources = body.sources_on_the_way()
    inputs = [n for n in dict.fromkeys(body.flat.inputs) if n in seen.norms]
    source = log_sum([*(seen.norms[n] for n in inputs), *_selected(body, seen)])
    flow = Flow(scope, source, sources)
    found = Findings()
    if inputs or sources > 1 or body.points.isdisjoint(body.sources):
        found.add(
            Point("inputs", Kind.OTHER),
            source,
            sum((seen.counts[n] for n in (*inputs, *body.sources) if n in seen.counts), jnp.zeros(2, jnp.int32)),
        )
    entering = [flow.started(seen.norms[n]) if n in seen.norms else None for n in body.flat.inputs]
    for number in inputs if sources > 1 else ():
        norm = seen.norms[number]
        row = Operation(Kind.RESIDUAL, "inputs", "", "inputs")
        found.add(row, times(flow.started(norm), source - norm), norm, source, jnp.zeros_like(source))
    inside, leaving = flow.through(body, seen, entering)
    found.extend(inside)
    cotangents = [
        c if body.is_data(n) else None for n, c in zip(body.flat.outputs, cotangents, strict=True)
    ]  # not the outputs that depend on no input
    end = log_sum([c.log_norm for c in cotangents if c is not None])
    parts = [
        (weight, c.log_norm)
        for weight, c in zip(leaving, cotangents, strict=True)
        if weight is not None and c is not None
    ]
    if len(parts) > 1:
        share = sum(times(weight, norm - end) for weight, norm in parts)
        row = Operation(Kind.RESIDUAL, "outputs", "", "outputs")
        found.add(row, share, end, end, jnp.zeros_like(end))
    if len(parts) > 1 or not _ends_with_point(body, cotangents):
        found.add(Point("outputs", Kind.OTHER), end, sum(count(c) for c in cotangents if c is not None))
    events[:] = found.events
    learned = [(x, back[i]) for i, x in enumerate(arrays) if body.levels[body.flat.inputs[i]] is Level.LEARNED]
    parameters = [
        (scaled(x).log_norm, jnp.full_like(source, -jnp.inf) if gain is None else gain.log_norm) for x, gain in learned
    ]
    return found.arrays(), parameters


def _selected(body: Body, look: Look) -> list[jax.Array]:
    """Returns log norms of the gradient by the parameters that arguments select, in every step of the loops."""
    found = [norm for n in body.sources if n in look.norms for norm in look.norms[n].ravel()]
    for position, seen in look.within.items():
        loop = body.nodes[position].loop
        assert loop is not None
        found += _selected(loop.body, seen.look)
    return found


def _ends_with_point(body: Body, cotangents: Sequence[Scaled | None]) -> bool:
    (number,) = {n for n, c in zip(body.flat.outputs, cotangents, strict=True) if c is not None}
    return body.is_point(number)


def _gradient(
    program: Program, outputs: list[Any], loss: Callable[[Any], jax.Array], wanted: Sequence[bool]
) -> list[Scaled | None]:
    """Returns the gradient of the loss by each output; None for integers. Only outputs in `wanted` are computed."""
    kinds = jax.tree.leaves(program.outputs)

    def of_wanted(own: list[Any]) -> jax.Array:
        chosen = iter(own)
        leaves = [
            next(chosen) if is_wanted else jnp.zeros(kind.shape, kind.dtype)
            for kind, is_wanted in zip(kinds, wanted, strict=True)
        ]
        return loss(jax.tree.unflatten(program.out_tree, leaves))

    gradients = jax.grad(of_wanted, allow_int=True)(outputs)
    return [None if g.dtype == jax.dtypes.float0 else scaled(g) for g in gradients]


def _spectra(model: Any, args: Sequence[Any]) -> Spectra:
    if isinstance(model, linen.Module) and model.scope is None:
        model, args = model.bind(args[0]), args[1:]
    if not isinstance(model, (nnx.Module, linen.Module)) or len(args) != 1:
        raise TypeError("attribute: expected a Flax module and one array x for singular_values=True, got another call")
    return spectra(layer_jacobians(model, args[0]))


def _assembled(
    events: Sequence[Event], numbers: dict[str, jax.Array], parameters: Any, flat: FlatCall, found: Spectra | None
) -> Attribution:
    segment = -1
    by_kind: dict[type, list[Any]] = collections.defaultdict(list)
    points = [event for event in events if isinstance(event, Point)]
    ends = [i for i, point in enumerate(points) if point.on_all_paths]
    for event in events:
        segment += isinstance(event, Point) and event.on_all_paths
        placed = event._replace(segment=segment) if isinstance(event, (Operation, Branch)) else event
        by_kind[type(event)].append(placed)
    rows = numbers.get("Operation", jnp.zeros((0, 4)))
    point_rows = numbers["Point"]
    branches = numbers.get("Branch", jnp.zeros((0, 2)))
    next_points = np.array([ends[branch.segment + 1] for branch in by_kind[Branch]], int)
    states = numbers.get("Activation", jnp.zeros((0, 5)))
    gradients, norms = (jnp.array([pair[i] for pair in parameters]) for i in (1, 0))
    behind, before = rows[:, 1], rows[:, 2]
    return Attribution(
        operations=tuple(by_kind[Operation]),
        share=rows[:, 0],
        change=before - behind,
        points=tuple(by_kind[Point]),
        log_norm=point_rows[:, 0],
        zeros=point_rows[:, 1].astype(jnp.int32),
        non_finite=point_rows[:, 2].astype(jnp.int32),
        branches=tuple(by_kind[Branch]),
        branch_part=branches[:, 0],
        branch_change=branches[:, 1] - point_rows[:, 0][next_points],
        activations=tuple(by_kind[Activation]),
        units=UnitState(*(states[:, i] for i in range(5)), histograms=numbers.get("histogram")),  # type: ignore[misc]
        parameters=tuple(flat.names),
        gradient_log_norm=gradients,
        ratio=gradients - norms,
        first_zero=_last(jnp.isneginf(before) & ~jnp.isneginf(behind)),
        first_non_finite=_last(~(before < jnp.inf) & (behind < jnp.inf)),
        first_nan=_first(rows[:, 3] > 0),
        spectra=found,
    )


def _first(hits: jax.Array) -> jax.Array:
    return jnp.where(hits.any(), jnp.argmax(hits), -1) if len(hits) else jnp.array(-1)


def _last(hits: jax.Array) -> jax.Array:
    return jnp.where(hits.any(), len(hits) - 1 - jnp.argmax(hits[::-1]), -1) if len(hits) else jnp.array(-1)
