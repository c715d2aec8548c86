"""Carries out a program of one trial on vectors of trials: one vector for each number of the trial.

`trials_last` keeps the arrays of a trial; here they are taken apart. Only operations on vectors of one shape and loops
are left. No reshape, product of matrices or broadcast reaches the compiler. So a body of any shapes can be one kernel
of a GPU or TPU, with its state in registers.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from paramact_jax.programs.dependence import Dependence
from paramact_jax.programs.products import multiplications_of
from paramact_jax.programs.program import (
    LOOPS,
    apply,
    called_by,
    evaluate,
    name_of,
    on_cpu,
    opened,
    parts_of_scan,
    parts_of_while,
    programs_of,
    walk,
)

Numbers = np.ndarray[Any, np.dtype[np.object_]]
"""An array of a trial: its numbers are vectors of trials, numbers that all trials share, or NumPy constants."""

MOST_STEPS = 64
"""Most steps of a scan inside a loop, which are written out."""
MOST_CHOICES = 32
"""Most places that an index can choose among if it is not known in advance."""


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The kind of vectors of trials.

    Attributes:
      shape: shape of a vector.
      settle: prepares a vector for a loop, if a compiler needs all carried vectors of one kind. The second argument is
        whether the vector consists of copies of one number.
    """

    shape: tuple[int, ...]
    settle: Callable[[Any, bool], Any] = lambda vector, copies: vector


class NoRuleError(Exception):
    """Raised for an operation without a rule here; the message names it."""


def carry_out(program: Any, values: Sequence[Numbers], lanes: Lanes) -> list[Numbers]:
    """Returns the outputs of a program of one trial, computed for vectors of trials.

    Sums go from the first term to the last.

    Args:
      program: a jaxpr, open or closed, or a `Program`.
      values: its inputs.
      lanes: the kind of vectors.

    Raises:
      NoRuleError: for an operation that has no rule.
    """
    return _Scalars(lanes).run(getattr(program, "closed", program), values)


def carry_out_equation(equation: Any, values: Sequence[Numbers], lanes: Lanes) -> list[Numbers]:
    """Returns the same for one loop or conditional; raises as `carry_out`."""
    return _LOOPS[name_of(equation)](_Scalars(lanes), equation, values)


def entry(array: Numbers, at: Any, lanes: Lanes) -> Numbers:
    """Returns the entry of an array along its first axis; raises NoRuleError if there are too many to choose among."""
    starts = [shaped([at], ()), *(numbers_of(np.int32(0)) for _ in array.shape[1:])]
    found = _windows(_Scalars(lanes), array, (1, *array.shape[1:]), starts)
    return found.reshape(array.shape[1:])


def problem(program: Any) -> str | None:
    """Returns the first operation in a program that certainly has no rule, or None.

    Only when the program is carried out does it show whether an index or the length of a loop is known.
    """
    for operation in walk(program):
        name = operation.name
        if name not in _KNOWN and name not in LOOPS and name != "cond" and called_by(operation.equation) is None:
            return name
        if name == "rem" and jnp.issubdtype(operation.equation.invars[0].aval.dtype, jnp.inexact):
            return "rem of floating-point numbers"  # no kernel of a GPU can compute it
    return None


def operations(program: Any) -> int:
    """Returns the number of operations on vectors in a program; a loop counts as its body, a scan counts each step."""
    return sum(_operations(equation) for equation in opened(getattr(program, "closed", program))[0].eqns)


def _operations(equation: Any) -> int:
    name = name_of(equation)
    if inner := programs_of(equation):
        return sum(map(operations, inner)) * int(equation.params["length"] if name == "scan" else 1)
    if name == "dot_general":
        return 2 * multiplications_of(equation)
    return 0 if name in _MOVES else max(math.prod(var.aval.shape) for var in (*equation.invars, *equation.outvars))


def numbers_of(x: Any) -> Numbers:
    """Returns a constant of a trial as its numbers; a traced number that all trials share stays as it is."""
    if isinstance(x, np.ndarray) and x.dtype == object:
        return x
    if isinstance(x, jax.core.Tracer):
        if x.ndim:
            raise NoRuleError("an array that is traced and that all trials share")
        return shaped([x], ())
    array = np.asarray(x)
    return shaped(list(array.reshape(-1)), array.shape)


def known(function: Callable[..., Any], *constants: Any) -> Any:
    """Returns the result of a function of constants, as a NumPy array."""
    with jax.ensure_compile_time_eval(), on_cpu():
        return np.asarray(function(*map(jnp.asarray, constants)))


def shaped(items: Sequence[Any], shape: Sequence[int]) -> Numbers:
    """Returns an array of these numbers."""
    made = np.empty(len(items), object)
    for i, x in enumerate(items):
        made[i] = x
    return made.reshape(tuple(shape))


def is_vector(x: Any) -> bool:
    """Returns whether a number is a vector of trials."""
    return bool(np.ndim(x))


def as_vector(x: Any, lanes: Lanes) -> Any:
    """Returns a number as a vector."""
    return x if is_vector(x) else lax.broadcast(jnp.asarray(x), lanes.shape)


def _typed(x: Any, atom: Any) -> Numbers:
    """Returns the numbers of a variable's value, or of a literal."""
    return numbers_of(np.asarray(x, getattr(atom.aval, "dtype", None)) if isinstance(atom, core.Literal) else x)


class _Scalars:
    """Carries out programs on vectors of one shape."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self._dependence = Dependence()

    def run(self, program: Any, values: Sequence[Any]) -> list[Numbers]:
        """Returns the outputs of a program."""
        jaxpr, consts = opened(program)
        made = evaluate(jaxpr, [numbers_of(x) for x in consts], [numbers_of(x) for x in values], self._rule)
        return [_typed(x, atom) for x, atom in zip(made, jaxpr.outvars, strict=True)]

    def _rule(self, equation: Any, read: Callable[[Any], Any]) -> Sequence[Numbers]:
        inputs = [_typed(read(atom), atom) for atom in equation.invars]
        name = name_of(equation)
        if (called := called_by(equation)) is not None:
            return self.run(called, inputs)
        if name in _LOOPS:
            return _LOOPS[name](self, equation, inputs)
        if name in _MOVES:
            return _MOVES[name](equation, inputs)
        if name in _SUMS:
            return [_SUMS[name](self, equation, inputs)]
        if name in _WRITTEN:
            return [self.each(_WRITTEN[name](equation), *inputs)]
        if name in _PRIMITIVES:
            params = {key: None if key == "sharding" else value for key, value in equation.params.items()}
            return [self.each(lambda *x: apply(equation.primitive, params, x)[0], *inputs)]
        raise NoRuleError(name)

    def each(self, function: Callable[..., Any], *inputs: Numbers) -> Numbers:
        """Returns the results of a function of numbers at each place; an array without axes is used at every place."""
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        spread = [np.broadcast_to(x, shape).reshape(-1) for x in inputs]
        return shaped([self.one(function, *values) for values in zip(*spread, strict=True)], shape)

    def one(self, function: Callable[..., Any], *values: Any) -> Any:
        """Returns the result of a function of numbers: a vector if one of them is; for constants a constant."""
        if all(isinstance(x, np.generic) for x in values):
            return known(function, *values)[()]
        if any(map(is_vector, values)):
            return function(*(as_vector(x, self.lanes) for x in values))
        return function(*map(jnp.asarray, values))

    def fold(self, function: Callable[..., Any], terms: Sequence[Any]) -> Any:
        """Returns the terms combined by a function of two numbers, from the first to the last."""
        return functools.reduce(functools.partial(self.one, function), terms)

    def cond(self, equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
        """Carries out all branches, and takes the right results; for a constant index only its branch."""
        (index, *operands), branches = inputs, equation.params["branches"]
        which: Any = index[()]
        if isinstance(which, np.generic):
            return self.run(branches[int(np.clip(int(which), 0, len(branches) - 1))], operands)
        made = self.run(branches[0], operands)
        for i, branch in enumerate(branches[1:], 1):
            later = self.one(lambda x, i=i: x >= i, to_integer(which) if str(which.dtype) == "bool" else which)
            after = self.run(branch, operands)
            made = [self.each(select, shaped([later], ()), new, old) for new, old in zip(after, made, strict=True)]
        return made

    def scan(self, equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
        """Writes out every step."""
        params = equation.params
        length = int(params["length"])
        if length > MOST_STEPS:
            raise NoRuleError(f"scan of {length} steps within a loop")
        consts, carry, xs = parts_of_scan(equation, inputs)
        made: list[list[Numbers]] = []
        for i in range(length)[:: -1 if params["reverse"] else 1]:
            now = [numbers_of(x[i]) if x.ndim > 1 else shaped([x[i]], ()) for x in xs]
            outputs = self.run(params["jaxpr"], [*consts, *carry, *now])
            carry = outputs[: len(carry)]
            made.append(outputs[len(carry) :])
        if params["reverse"]:
            made.reverse()
        shapes = [var.aval.shape for var in equation.outvars[len(carry) :]]
        ys = [shaped([x for step in made for x in step[k].flat], shape) for k, shape in enumerate(shapes)]
        return [*carry, *ys]

    def loop(self, equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
        """Carries out a while loop as a loop on vectors, if all trials make the same number of steps."""
        _, body, carry = parts_of_while(equation, inputs)
        own, differs = self._dependence.of_while(equation, [any(map(is_vector, x.flat)) for x in inputs])
        if differs:
            raise NoRuleError("while with an end of its own for every trial")
        found = counted(equation)
        if found is None:
            raise NoRuleError("while that does more than count its steps")
        counter, end = found
        kept = [i for i in range(len(carry)) if i not in (counter, end)]
        pack = Packing([carry[i] for i in kept], [own[i] for i in kept], self.lanes)

        first, last = (jnp.asarray(x) for x in (carry[counter][()], end_of(equation, carry)))

        def step(i: Any, state: Sequence[Any]) -> list[Any]:
            values = (
                dict(enumerate(carry))
                | {counter: shaped([first + i], ())}
                | dict(zip(kept, pack.unpack(state), strict=True))
            )
            after = self.run(equation.params["body_jaxpr"], [*body, *(values[k] for k in range(len(carry)))])
            return pack.pack([after[k] for k in kept])

        # from 0 on, since Mosaic cannot compile a loop from a negative constant
        state = lax.fori_loop(jnp.zeros_like(first), last - first, step, pack.pack([carry[i] for i in kept]))
        made = dict(enumerate(carry)) | {counter: shaped([jnp.maximum(first, last)], ())}
        made |= dict(zip(kept, pack.unpack(state), strict=True))
        return [made[k] for k in range(len(carry))]


class Packing:
    """Arrays of a trial as one flat list of vectors and numbers, which a loop can carry; booleans as integers.

    Args:
      arrays: example arrays.
      own: for each array, whether it has to consist of vectors.
      lanes: the kind of vectors.
    """

    def __init__(self, arrays: Sequence[Numbers], own: Sequence[bool], lanes: Lanes) -> None:
        """Takes the arguments that all calls share."""
        self._shapes = [x.shape for x in arrays]
        self._own, self._lanes = own, lanes
        self._booleans = [is_boolean(number) for x in arrays for number in x.flat]

    def pack(self, arrays: Sequence[Numbers]) -> list[Any]:
        """Returns the list."""
        each = [(x, is_own) for array, is_own in zip(arrays, self._own, strict=True) for x in array.flat]
        return [self._vector(x) if is_own else stored(jnp.asarray(x)) for x, is_own in each]

    def _vector(self, x: Any) -> Any:
        return self._lanes.settle(stored(as_vector(x, self._lanes)), not is_vector(x))

    def unpack(self, state: Sequence[Any]) -> list[Numbers]:
        """Returns the arrays."""
        values = iter([x != 0 if boolean else x for x, boolean in zip(state, self._booleans, strict=True)])
        return [shaped([next(values) for _ in range(math.prod(shape))], shape) for shape in self._shapes]


def stored(x: Any) -> Any:
    """Returns a number as loops and memory hold it: a boolean as 0 or 1."""
    return to_integer(x) if is_boolean(x) else x


def is_boolean(x: Any) -> bool:
    """Returns whether a number is a boolean."""
    return str(getattr(x, "dtype", "")) == "bool"


def select(which: Any, on_true: Any, on_false: Any) -> Any:
    """Returns `jax.lax.select` of numbers.

    Mosaic takes selected integers for unsigned ones. A conversion to bits of a float and back restores their sign.
    """
    made = lax.select(which, on_true, on_false)
    if made.dtype != jnp.int32 or not made.ndim:
        return made
    return lax.bitcast_convert_type(lax.bitcast_convert_type(made, jnp.float32), jnp.int32)


def to_integer(x: Any) -> Any:
    """Returns a boolean as 0 or 1, by selection, since kernels cannot convert booleans."""
    return select(x, jnp.ones(x.shape, jnp.int32), jnp.zeros(x.shape, jnp.int32))


def counted(equation: Any) -> tuple[int, int] | None:
    """Returns the places of the counter and the end of a while loop, if its condition is only `i < n`.

    Returns:
      The places of i and n among the carried values, -1 for a constant n; None for any other condition.
    """
    params = equation.params
    condition, body = opened(params["cond_jaxpr"])[0], opened(params["body_jaxpr"])[0]
    if len(condition.eqns) != 1 or name_of(condition.eqns[0]) != "lt" or params["cond_nconsts"]:
        return None
    place = {var: i for i, var in enumerate(condition.invars)}
    low, high = ((-1 if hasattr(atom, "val") else place[atom]) for atom in condition.eqns[0].invars)
    before, after = body.invars[params["body_nconsts"] :], body.outvars
    grows = next((eqn for eqn in body.eqns if eqn.outvars == [after[low]]), None)
    by_one = grows is not None and name_of(grows) == "add" and grows.invars[0] is before[low]
    one = by_one and getattr(grows.invars[1], "val", None)  # type: ignore[union-attr]
    stays = high == -1 or after[high] is before[high]
    return (low, high) if low >= 0 and by_one and one == 1 and stays else None


def end_of(equation: Any, carry: Sequence[Numbers]) -> Any:
    """Returns n of a loop that `counted` knows."""
    _, end = counted(equation) or (0, 0)
    return carry[end][()] if end >= 0 else opened(equation.params["cond_jaxpr"])[0].eqns[0].invars[1].val


def _product(scalars: _Scalars, equation: Any, inputs: Sequence[Numbers]) -> Numbers:
    (summed, batch), sides = equation.params["dimension_numbers"], []
    for x, over, along in zip(inputs, summed, batch, strict=True):
        free = [i for i in range(x.ndim) if i not in (*over, *along)]
        sizes = [[x.shape[i] for i in axes] for axes in (along, free)]
        sides.append((np.transpose(x, [*along, *free, *over]).reshape(*map(math.prod, sizes), -1), sizes))
    (left, (batches, rows)), (right, (_, columns)) = sides
    dtype = equation.outvars[0].aval.dtype
    times, plus = (lax.bitwise_and, lax.bitwise_or) if dtype == np.bool_ else (lax.mul, lax.add)

    def dot(xs: Numbers, ys: Numbers) -> Any:
        terms = [scalars.one(times, x, y) for x, y in zip(xs, ys, strict=True)]
        return scalars.fold(plus, terms) if terms else np.zeros((), dtype)[()]

    made = [dot(x, y) for xs, ys in zip(left, right, strict=True) for x in xs for y in ys]
    return shaped(made, [*batches, *rows, *columns])


def _folding(function: Callable[..., Any], start: float | None = None) -> Any:
    def reduce(scalars: _Scalars, equation: Any, inputs: Sequence[Numbers]) -> Numbers:
        x, axes = inputs[0], tuple(equation.params["axes"])
        kept = [i for i in range(x.ndim) if i not in axes]
        shape = [x.shape[i] for i in kept]
        rows = np.transpose(x, [*kept, *axes]).reshape(math.prod(shape), -1)
        if not x.size and start is None:
            raise NoRuleError("a reduction of nothing")
        nothing = np.asarray(start, equation.outvars[0].aval.dtype)[()]
        return shaped([scalars.fold(function, [*row]) if len(row) else nothing for row in rows], shape)

    return reduce


def _accumulating(function: Callable[..., Any]) -> Any:
    def accumulate(scalars: _Scalars, equation: Any, inputs: Sequence[Numbers]) -> Numbers:
        moved = np.moveaxis(inputs[0], equation.params["axis"], -1)
        step = -1 if equation.params["reverse"] else 1
        both = functools.partial(scalars.one, function)
        rows = [[*itertools.accumulate([*row][::step], both)][::step] for row in moved.reshape(-1, moved.shape[-1])]
        return np.moveaxis(shaped([x for row in rows for x in row], moved.shape), -1, equation.params["axis"])

    return accumulate


def _first_of(better: Callable[..., Any]) -> Any:
    """Returns a rule that finds the index of the first number that is better than all others, or of the first NaN."""

    def find(scalars: _Scalars, equation: Any, inputs: Sequence[Numbers]) -> Numbers:
        moved = np.moveaxis(inputs[0], equation.params["axes"][0], -1)

        def instead(x: Any, best: Any) -> Any:
            return (better(x, best) | (x != x)) & (best == best)  # not a number

        def of_row(row: Sequence[Any]) -> Any:
            best, at = row[0], np.asarray(0, equation.params["index_dtype"])[()]
            for i, x in enumerate(row[1:], 1):
                found = scalars.one(instead, x, best)
                best = scalars.one(select, found, x, best)
                at = scalars.one(select, found, np.asarray(i, equation.params["index_dtype"])[()], at)
            return at

        return shaped([of_row([*row]) for row in moved.reshape(-1, moved.shape[-1])], moved.shape[:-1])

    return find


def _dynamic_slice(scalars: _Scalars, equation: Any, inputs: Sequence[Numbers]) -> Numbers:
    x, *starts = inputs
    return _windows(scalars, x, equation.params["slice_sizes"], starts)


def _windows(scalars: _Scalars, x: Numbers, sizes: Sequence[int], starts: Sequence[Numbers]) -> Numbers:
    return _at_places(scalars, x.shape, sizes, starts, lambda window: x[window])


def _dynamic_update_slice(scalars: _Scalars, equation: Any, inputs: Sequence[Numbers]) -> Numbers:
    x, update, *starts = inputs

    def updated(window: tuple[slice, ...]) -> Numbers:
        made = x.copy()
        made[window] = update
        return made

    return _at_places(scalars, x.shape, update.shape, starts, updated)


def _at_places(
    scalars: _Scalars,
    shape: Sequence[int],
    sizes: Sequence[int],
    starts: Sequence[Numbers],
    make: Callable[[tuple[slice, ...]], Numbers],
) -> Numbers:
    """Returns the result of `make` for the window at a place; if that is not known, a selection among all places."""
    known = [isinstance(start[()], np.generic) for start in starts]
    last = [size - taken for size, taken in zip(shape, sizes, strict=True)]
    ranges = [
        [min(max(int(start[()]), 0), end)] if is_known else range(end + 1)
        for start, is_known, end in zip(starts, known, last, strict=True)
    ]
    if math.prod(map(len, ranges)) > MOST_CHOICES:
        raise NoRuleError(f"an index that is not known before, among more than {MOST_CHOICES} places")
    made: Numbers | None = None
    for places in itertools.product(*ranges):
        here = make(tuple(slice(i, i + size) for i, size in zip(places, sizes, strict=True)))
        if made is None:
            made = here
            continue
        # an index beyond the ends counts as the nearest place
        tests = [
            scalars.one(lambda x, i=i: x >= i, start[()])
            for start, is_known, i in zip(starts, known, places, strict=True)
            if not is_known and i
        ]
        made = scalars.each(select, shaped([scalars.fold(lax.bitwise_and, tests)], ()), here, made)
    return made  # type: ignore[return-value]  # there is at least one place


def _moved(equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
    """Carries out an operation that only moves numbers, by their positions; an index has to be known."""
    name, params = name_of(equation), dict(equation.params)
    numbers = [number for x in inputs for number in x.flat]
    arguments, at = [], 0
    for i, x in enumerate(inputs):
        if name in ("gather", "scatter") and i == 1:
            if not all(isinstance(index, np.generic) for index in x.flat):
                raise NoRuleError(f"{name} with an index that is not known before")
            arguments.append(np.asarray([*x.flat], x.flat[0].dtype if x.size else np.int32).reshape(x.shape))
        else:
            arguments.append(np.arange(at, at + x.size, dtype=np.int32).reshape(x.shape))
        at += x.size
    if name == "gather":  # places beyond the ends get a number of their own
        params["fill_value"] = at
        numbers.append(_filling(equation))
    made = []
    for k in range(len(equation.outvars)):
        positions = known(lambda *x, k=k: apply(equation.primitive, params, x)[k], *arguments)
        made.append(shaped([numbers[i] for i in positions.flat], positions.shape))
    return made


def _filling(equation: Any) -> Any:
    """Returns the number that `gather` uses for places beyond the ends, if its mode is to fill."""
    dtype, given = equation.outvars[0].aval.dtype, equation.params.get("fill_value")
    if given is not None:
        return np.asarray(given, dtype)[()]
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.asarray(np.nan, dtype)[()]
    if dtype == np.bool_:
        return np.True_
    limits = np.iinfo(dtype)
    return np.asarray(limits.min if limits.min else limits.max, dtype)[()]


def _broadcast(equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
    shape, along = equation.params["shape"], equation.params["broadcast_dimensions"]
    sizes = [inputs[0].shape[along.index(i)] if i in along else 1 for i in range(len(shape))]
    return [np.broadcast_to(inputs[0].reshape(sizes), shape)]


def _slice(equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
    begins, ends, strides = (equation.params[name] for name in ("start_indices", "limit_indices", "strides"))
    steps = strides or (1,) * len(begins)
    return [inputs[0][tuple(map(slice, begins, ends, steps))]]


def _iota(equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
    params = equation.params
    axes = [-1 if i == params["dimension"] else 1 for i in range(len(params["shape"]))]
    numbers = np.arange(params["shape"][params["dimension"]]).astype(params["dtype"]).reshape(axes)
    return [numbers_of(np.broadcast_to(numbers, params["shape"]))]


def _reshape(equation: Any, inputs: Sequence[Numbers]) -> list[Numbers]:
    return [inputs[0].reshape(equation.outvars[0].aval.shape)]


_LOOPS = {"while": _Scalars.loop, "scan": _Scalars.scan, "cond": _Scalars.cond}

_MOVES: dict[str, Callable[[Any, Sequence[Numbers]], list[Numbers]]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda equation, inputs: [np.concatenate(inputs, equation.params["dimension"])],
    "copy": lambda equation, inputs: list(inputs),
    "copy_p": lambda equation, inputs: list(inputs),
    "expand_dims": _reshape,
    "gather": _moved,
    "iota": _iota,
    "name": lambda equation, inputs: list(inputs),
    "optimization_barrier": lambda equation, inputs: list(inputs),
    "pad": _moved,
    "reshape": _reshape,
    "rev": lambda equation, inputs: [np.flip(inputs[0], equation.params["dimensions"])],
    "scatter": _moved,
    "slice": _slice,
    "split": _moved,
    "squeeze": _reshape,
    "stack": _moved,
    "stop_gradient": lambda equation, inputs: list(inputs),
    "tile": _moved,
    "transpose": lambda equation, inputs: [np.transpose(inputs[0], equation.params["permutation"])],
    "unstack": _moved,
}
"""Operations that only move numbers."""

_SUMS: dict[str, Callable[[_Scalars, Any, Sequence[Numbers]], Numbers]] = {
    "argmax": _first_of(lax.gt),
    "argmin": _first_of(lax.lt),
    "cummax": _accumulating(lax.max),
    "cummin": _accumulating(lax.min),
    "cumprod": _accumulating(lax.mul),
    "cumsum": _accumulating(lax.add),
    "dot_general": _product,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "reduce_and": _folding(lax.bitwise_and),
    "reduce_max": _folding(lax.max),
    "reduce_min": _folding(lax.min),
    "reduce_or": _folding(lax.bitwise_or),
    "reduce_prod": _folding(lax.mul, 1),
    "reduce_sum": _folding(lax.add, 0),
}
"""Operations that compute one number from several."""

_PRIMITIVES = frozenset(
    (
        *("abs", "add", "and", "clamp", "cos", "div", "eq", "erf", "exp", "exp2", "ge", "gt", "le", "log"),
        *("log2", "logistic", "lt", "mul", "ne", "neg", "not", "or", "rem", "round", "rsqrt"),
        *("shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sqrt", "sub", "tanh", "xor"),
    )
)
"""Operations on single numbers that kernels of GPUs and TPUs compute."""


def _like(x: Any, value: float) -> Any:
    return lax.full_like(x, value)


def _convert(equation: Any) -> Callable[..., Any]:
    dtype = equation.params["new_dtype"]

    def convert(x: Any) -> Any:
        if is_boolean(x):
            return x if dtype == np.bool_ else select(x, jnp.ones(x.shape, dtype), jnp.zeros(x.shape, dtype))
        return x != 0 if dtype == np.bool_ else lax.convert_element_type(x, dtype)

    return convert


def _select_n(equation: Any) -> Callable[..., Any]:
    def of_several(which: Any, *cases: Any) -> Any:
        made = cases[0]
        for i, case in enumerate(cases[1:], 1):
            made = select(which if is_boolean(which) else which >= i, case, made)
        return made

    return of_several


def _power(equation: Any) -> Callable[..., Any]:
    exponent = int(equation.params["y"])

    def power(x: Any) -> Any:
        made, base, left = None, x, abs(exponent)
        while left:
            if left & 1:
                made = base if made is None else made * base
            left >>= 1
            base = base * base if left else base
        made = _like(x, 1) if made is None else made
        return 1 / made if exponent < 0 else made

    return power


def _pow(equation: Any) -> Callable[..., Any]:
    def by_squaring(x: Any, y: Any) -> Any:
        made, base = _like(x, 1), x
        for bit in range(31):
            made = select(((abs(y) >> bit) & 1) == 1, made * base, made)
            base = base * base
        return select(y < 0, 1 / made, made)

    def by_logarithm(x: Any, y: Any) -> Any:
        size = lax.exp(y * lax.log(lax.abs(x)))
        half = y * 0.5
        signed = select(_floor(half) == half, size, -size)
        of_negative = select(_floor(y) == y, signed, _like(x, np.nan))
        return select((y == 0) | (x == 1), _like(x, 1), select(x < 0, of_negative, size))

    return by_squaring if jnp.issubdtype(equation.invars[1].aval.dtype, jnp.integer) else by_logarithm


def _expm1(x: Any) -> Any:
    """Returns exp(x) - 1 by tanh(x / 2) = (exp(x) - 1) / (exp(x) + 1), which loses no digits near 0."""
    return lax.tanh(x * 0.5) * (lax.exp(x) + 1)


def _log1p(x: Any) -> Any:
    """Returns log(u) x / (u - 1) for the rounded u = 1 + x [Kahan]; x where u is 1."""
    u = x + 1
    small, large = u == 1, lax.abs(u) == np.inf
    divisor = select(small | large, _like(x, 1), u - 1)
    return select(small, x, lax.log(u) * select(large, _like(x, 1), x / divisor))


def _atan(x: Any) -> Any:
    """Returns atan(x) by a polynomial [Cephes, atanf].

    It is a polynomial of |x| up to tan(pi/8), then of (|x| - 1) / (|x| + 1) up to tan(3 pi/8), then of -1 / |x|.
    """
    size = lax.abs(x)
    large, middle = size > np.tan(3 * np.pi / 8), size > np.tan(np.pi / 8)
    inverse = -1 / lax.max(size, _like(x, 1))
    y = select(large, inverse, select(middle, (size - 1) / (size + 1), size))
    z = y * y
    terms = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
    made = functools.reduce(lambda made, c: made * z + c, terms[1:], _like(x, terms[0])) * z * y + y
    made = made + select(large, _like(x, np.pi / 2), select(middle, _like(x, np.pi / 4), _like(x, 0)))
    return select(x < 0, -made, made)


_ERFC_UP_TO_2 = (
    *(2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1, 6.210004621745983e-1),
    *(-4.944515323274145e-1, 3.404879937665872e-1, -2.741127028184656e-1, 5.638259427386472e-1),
)
_ERFC_FROM_2 = (
    *(-1.047766399936249e1, 1.297719955372516e1, -7.495518717768503e0, 2.921019019210786e0),
    *(-1.015265279202700e0, 4.218463358204948e-1, -2.820767439740514e-1, 5.641895067754075e-1),
)


def _erfc(x: Any) -> Any:
    """Returns 1 - erf(x) up to 1, then exp(-x^2) / x times a polynomial in 1 / x^2 for its digits [Cephes, erfcf]."""
    size = lax.abs(x)
    inverse = 1 / lax.max(size, _like(x, 1))

    def polynomial(coefficients: Sequence[float]) -> Any:
        return functools.reduce(lambda made, c: made * (inverse * inverse) + c, coefficients, _like(x, 0))

    tail = lax.exp(-x * x) * inverse * select(size < 2, polynomial(_ERFC_UP_TO_2), polynomial(_ERFC_FROM_2))
    return select(size < 1, 1 - lax.erf(x), select(x < 0, 2 - tail, tail))


def _floor(x: Any) -> Any:
    """Returns floor(x): x rounded towards 0 by integers, less 1 if that is above x. Numbers from 2^23 on are whole."""
    whole = lax.convert_element_type(lax.convert_element_type(x, jnp.int32), x.dtype)
    whole = select(whole > x, whole - 1, whole)
    return select(lax.abs(x) < 2.0**23, whole, x)


_WRITTEN: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "add_any": lambda equation: lax.add,
    "atan": lambda equation: _atan,
    "ceil": lambda equation: lambda x: -_floor(-x),
    "convert_element_type": _convert,
    "erfc": lambda equation: _erfc,
    "expm1": lambda equation: _expm1,
    "floor": lambda equation: _floor,
    "integer_pow": _power,
    "is_finite": lambda equation: lambda x: lax.abs(x) < np.inf,
    "log1p": lambda equation: _log1p,
    "max": lambda equation: lambda x, y: (x | y) if is_boolean(x) else lax.max(x, y),
    "min": lambda equation: lambda x, y: (x & y) if is_boolean(x) else lax.min(x, y),
    "one_minus_square": lambda equation: lambda x: (1 + x) * (1 - x),
    "pow": _pow,
    "select_n": _select_n,
    "square": lambda equation: lambda x: x * x,
    "tan": lambda equation: lambda x: lax.sin(x) / lax.cos(x),
}
"""Further operations on single numbers, written with `_PRIMITIVES`, since not all kernels have them."""

_KNOWN = frozenset((*_MOVES, *_SUMS, *_PRIMITIVES, *_WRITTEN))
