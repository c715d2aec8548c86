"""Replaces conditionals by branches that are known in advance, since only the iteration's number decides them.

On an accelerator each conditional makes the host wait. A step that scores every hundredth iteration and shuffles every
epoch takes the same branches for long stretches of iterations. Each kind of stretch gets a program of its own, which
has the branches in place of the conditionals.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from paramact_jax.programs.program import (
    Operation,
    Program,
    apply,
    called_by,
    evaluate,
    inputs_of,
    name_of,
    on_cpu,
    opened,
    programs_of,
    trace,
    walk,
)
from paramact_jax.programs.rewrite import Replacement, replace

NOT_TAKEN = -1
"""Stands for the branch of a conditional that is itself inside a branch that is not taken."""

Choice = tuple[int, ...]
"""For each of some conditionals, the number of a branch, or `NOT_TAKEN`."""

LARGEST = 256
"""An index is computed for many iterations at once if no array on the way has more numbers for one iteration."""
_AT_ONCE = 2**14
"""Number of iterations for which indices are computed at once."""
_ELSEWHERE = frozenset(
    {
        "axis_index",
        "debug_callback",
        "debug_print",
        "ffi_call",
        "io_callback",
        "pallas_call",
        "pure_callback",
        "rng_bit_generator",
        "rng_uniform",
        "shard_map",
        "while",  # for many iterations at once it would also run in branches that are not taken, perhaps for ever
    }
)
"""Primitives that may give different results on different devices, or that other code carries out."""


class Stretch(NamedTuple):
    """Consecutive iterations that take the same branches.

    Attributes:
      begin: the first iteration.
      end: one past the last iteration.
      choice: the branch that each conditional takes.
    """

    begin: int
    end: int
    choice: Choice


@dataclasses.dataclass(frozen=True, eq=False)
class KnownBranches:
    """The conditionals of a program that only the iteration's number decides. Made by `known_branches`.

    Attributes:
      program: the program.
      conditionals: the conditionals, in the order of `walk`.
    """

    program: Program
    conditionals: tuple[Operation, ...]
    _indices: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False)
    _dtype: np.dtype[Any] = dataclasses.field(repr=False)
    _made: dict[Choice, Program] = dataclasses.field(default_factory=dict, repr=False)

    def only(self, which: Iterable[int]) -> KnownBranches:
        """Returns the same with some of the conditionals only; the others stay conditionals.

        Args:
          which: positions of the chosen ones among `conditionals`.

        Examples:
          The conditionals that change their branch in at most one of ten iterations:

          >>> def step(x, iteration):
          ...     x = jax.lax.cond(iteration % 2 == 0, lambda: -x, lambda: x)
          ...     return jax.lax.cond(iteration % 50 == 0, lambda: x / 2, lambda: x)
          >>> known = known_branches(trace(step, 1.0, 0), 1)
          >>> changes = np.diff(known.taken(0, 1000), axis=0).astype(bool).mean(0)
          >>> rare = known.only(np.flatnonzero(changes <= 0.1))
          >>> len(known.stretches(0, 1000)), len(rare.stretches(0, 1000))
          (1000, 40)
        """
        chosen = np.array([int(i) for i in which], int)
        indices = self._indices
        conditionals = tuple(self.conditionals[i] for i in chosen)
        return KnownBranches(self.program, conditionals, lambda values: indices(values)[:, chosen], self._dtype)

    def taken(self, begin: int, end: int) -> np.ndarray:
        """Returns the branch that each conditional takes in each iteration, computed on the CPU.

        An index out of range stands for the first or the last branch, as in `jax.lax.switch`.

        Args:
          begin: the first iteration.
          end: one past the last iteration.

        Returns:
          int32 (iterations, conditionals); `NOT_TAKEN` for a conditional in a branch that is not taken.

        Raises:
          ValueError: for an end before the beginning, or iterations beyond the range of the program's integers.
        """
        parts = [self._taken(*part) for part in self._parts(begin, end)]
        return np.concatenate([np.zeros((0, len(self.conditionals)), np.int32), *parts])

    def stretches(self, begin: int, end: int) -> list[Stretch]:
        """Returns the iterations in stretches that end only where a conditional changes its branch.

        Args:
          begin: the first iteration.
          end: one past the last iteration.

        Raises:
          ValueError: as `taken`.

        Examples:
          >>> def step(x, iteration):
          ...     return jax.lax.cond(iteration % 100 == 0, lambda: x / 2, lambda: x)
          >>> for stretch in known_branches(trace(step, 1.0, 0), 1).stretches(50, 200):
          ...     print(*stretch)
          50 100 (0,)
          100 101 (1,)
          101 200 (0,)
        """
        parts = self._parts(begin, end)
        if not self.conditionals:
            return [Stretch(begin, end, ())] if begin < end else []
        found: list[Stretch] = []
        for start, stop in parts:
            taken = self._taken(start, stop)
            cuts = [0, *(np.flatnonzero((taken[1:] != taken[:-1]).any(1)) + 1).tolist(), stop - start]
            for first, last in itertools.pairwise(cuts):
                choice = tuple(taken[first].tolist())
                if found and found[-1].choice == choice:
                    found[-1] = found[-1]._replace(end=start + last)
                else:
                    found.append(Stretch(start + first, start + last, choice))
        return found

    def with_branches(self, choice: Sequence[int]) -> Program:
        """Returns the program with the chosen branches in place of the conditionals, for iterations that take them.

        It takes the arguments of the program. Its operations are the same, in the same order, without those that only a
        conditional needed. After compilation the last digit of sums may differ, since operations of a branch can now be
        fused with others. A function with a derivative rule that holds a conditional loses the rule; it is then
        differentiated operation by operation. Each choice is made only once.

        Args:
          choice: the choice of a `Stretch`. A conditional with `NOT_TAKEN` stays, unless its branch is left out.

        Raises:
          ValueError: if the number of branches is not the number of conditionals, and for a branch that does not exist.

        Examples:
          >>> def step(x, iteration):
          ...     return jax.lax.cond(iteration % 100 == 0, lambda: x / 2, lambda: x + 1)
          >>> scoring = known_branches(trace(step, 1.0, 0), 1).with_branches((1,))
          >>> float(scoring(8.0, 100)), "cond" in {operation.name for operation in walk(scoring)}
          (4.0, False)
        """
        choice = tuple(int(branch) for branch in choice)
        counts = [len(operation.equation.params["branches"]) for operation in self.conditionals]
        if len(choice) != len(counts) or not all(NOT_TAKEN <= i < n for i, n in zip(choice, counts, strict=True)):
            raise ValueError(
                f"choice: expected {len(counts)} numbers of branches, below {counts} and at least {NOT_TAKEN}, got "
                f"{choice}"
            )
        if all(branch == NOT_TAKEN for branch in choice):
            return self.program
        if choice not in self._made:
            keys = (operation.key for operation in self.conditionals)
            branches = {key: branch for key, branch in zip(keys, choice, strict=True) if branch != NOT_TAKEN}
            self._made[choice] = _rewritten(self.program, branches)
        return self._made[choice]

    def _parts(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Returns the iterations in parts that are computed at once."""
        limits = np.iinfo(self._dtype)
        if not limits.min <= begin <= end <= limits.max + 1:
            raise ValueError(f"expected iterations begin <= end within {self._dtype}, got {begin} and {end}")
        return [(start, min(start + _AT_ONCE, end)) for start in range(begin, end, _AT_ONCE)]

    def _taken(self, begin: int, end: int) -> np.ndarray:
        """Returns the branches of at most `_AT_ONCE` iterations. One compiled program computes `_AT_ONCE` of them."""
        if not self.conditionals:
            return np.zeros((end - begin, 0), np.int32)
        iterations = np.minimum(np.arange(begin, begin + _AT_ONCE), end - 1).astype(self._dtype)
        return self._indices(iterations)[: end - begin]


def known_branches(program: Program, which: int, given: Mapping[int, Any] | None = None) -> KnownBranches:
    """Returns the conditionals of a program that are decided by the iteration, given values and constants alone.

    Conditionals in calls and branches are included, but conditionals in loops stay as they are. A conditional also
    stays if its index needs a callback, a while loop, random numbers other than those of threefry, a large array (an
    operation that makes more than `LARGEST` numbers), or another operation that may differ between devices.

    The last digit of floating-point numbers differs between devices and programs. A branch that depends on this digit
    may differ from the one that the step itself would take, but is always the same one.

    Args:
      program: a program from `trace`.
      which: position of the iteration's number among the program's inputs, in the order of `jax.tree.leaves`.
      given: values of further inputs, by position. The result holds only for such values.

    Raises:
      ValueError: for a position that is not an input, an iteration that is not a scalar integer, and a value of another
        shape or kind than its input.

    Examples:
      >>> def step(x, every, iteration):
      ...     return jax.lax.cond(iteration % every == 0, lambda: x / 2, lambda: x)
      >>> program = trace(step, 1.0, 100, 0)
      >>> len(known_branches(program, 2).conditionals), len(known_branches(program, 2, {1: 100}).conditionals)
      (0, 1)
    """
    shapes = _shapes(program)
    for position in (which, *(given or {})):
        if not 0 <= position < len(shapes):
            raise ValueError(f"expected a position among the program's {len(shapes)} inputs, got {position}")
    iteration = shapes[which]
    if iteration.shape != () or not jnp.issubdtype(iteration.dtype, jnp.integer):
        raise ValueError(f"expected a scalar integer as iteration, got {iteration.dtype}{list(iteration.shape)}")
    values: list[Any] = [_UNKNOWN] * len(shapes)
    for position, value in (given or {}).items():
        if position == which:
            raise ValueError(f"given: expected other inputs than the iteration, got a value at {which}")
        values[position] = _checked(position, value, shapes[position])
    found: list[Operation] = []

    def indices(iteration: jax.Array) -> list[jax.Array]:
        values[which] = iteration
        following = _Following()
        following.run(program.closed, values, (), None)
        found.extend(following.found)
        return list(following.indices.values())

    closed = trace(indices, iteration).closed
    return KnownBranches(program, tuple(found), _on_cpu(closed), np.dtype(iteration.dtype))


def _shapes(program: Program) -> list[Any]:
    """Returns shapes, dtypes and weak types of the inputs."""
    avals = program.closed.in_avals
    return [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=getattr(a, "weak_type", False)) for a in avals]


def _checked(position: int, value: Any, shape: Any) -> np.ndarray:
    """Returns the value of an input in its dtype."""
    if not jnp.issubdtype(shape.dtype, jax.dtypes.extended):
        array = np.asarray(value)
        if array.shape == shape.shape and jnp.can_cast(array.dtype, shape.dtype, "same_kind"):
            return array.astype(shape.dtype)
    raise ValueError(f"given: expected {shape.dtype}{list(shape.shape)} at {position}, got {value!r}")


def _on_cpu(closed: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a program of one iteration's indices as a function of many iterations, on the CPU."""

    @functools.cache
    def compiled() -> Callable[[np.ndarray], jax.Array]:
        read = {id(atom) for equation in closed.jaxpr.eqns for atom in equation.invars}
        read |= {id(atom) for atom in closed.jaxpr.outvars}
        constants = zip(closed.jaxpr.constvars, closed.consts, strict=True)
        consts = [_here(value) if id(variable) in read else None for variable, value in constants]

        def indices(iteration: jax.Array) -> jax.Array:
            return jnp.stack(evaluate(closed.jaxpr, consts, [iteration]))

        return jax.jit(jax.vmap(indices))

    def call(iterations: np.ndarray) -> np.ndarray:
        with on_cpu():
            return np.asarray(compiled()(iterations))

    return call


def _here(value: Any) -> Any:
    """Returns a constant without a device."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value))
        return jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(value))
    return np.asarray(value)


class _Unknown:
    """A value that is known only when the step runs."""


_UNKNOWN = _Unknown()


class _Following:
    """Evaluates the known values of a program, and collects the indices of its conditionals.

    Attributes:
      found: the conditionals with a known index.
      indices: index of each conditional, by its key; `NOT_TAKEN` if it is in a branch that is not taken.
    """

    def __init__(self) -> None:
        self.found: list[Operation] = []
        self.indices: dict[tuple[int, ...], Any] = {}

    def run(self, program: Any, values: Sequence[Any], within: tuple[Any, ...], taken: Any) -> list[Any]:
        """Returns the outputs of a program.

        Args:
          program: open or closed.
          values: values of its inputs.
          within: the calls and branches around it.
          taken: whether these branches are taken; None if that is not known, or if there are none.
        """

        def rule(equation: Any, read: Callable[[Any], Any]) -> Sequence[Any]:
            inputs = inputs_of(equation, read)
            if (called := called_by(equation)) is not None:
                return self.run(called, inputs, (*within, equation), taken)
            if name_of(equation) == "cond":
                return self._cond(Operation(equation, within), inputs, taken)
            if any(value is _UNKNOWN for value in inputs) or not _everywhere_alike(equation):
                return [_UNKNOWN] * len(equation.outvars)
            return apply(equation.primitive, equation.params, inputs)

        return evaluate(*opened(program), values, rule)

    def _cond(self, operation: Operation, inputs: Sequence[Any], taken: Any) -> list[Any]:
        index, *operands = inputs
        branches = operation.equation.params["branches"]
        within = (*operation.within, operation.equation)
        if index is _UNKNOWN:
            for branch in branches:
                self.run(branch, operands, within, taken)
            return [_UNKNOWN] * len(operation.equation.outvars)
        index = jnp.clip(jnp.asarray(index).astype(jnp.int32), 0, len(branches) - 1)
        self._note(operation, index, taken)
        results = []
        for number, branch in enumerate(branches):
            this = index == number
            results.append(self.run(branch, operands, within, this if taken is None else taken & this))
        return [
            _selected(index, values, variable.aval)
            for variable, values in zip(operation.equation.outvars, zip(*results, strict=True), strict=True)
        ]

    def _note(self, operation: Operation, index: jax.Array, taken: Any) -> None:
        key = operation.key
        if key not in self.indices:
            self.found.append(operation)
        # two branches may be one program, so that its conditionals come twice
        before = self.indices.get(key, NOT_TAKEN)
        self.indices[key] = index if taken is None else jnp.where(taken, index, before)


def _selected(index: jax.Array, values: Sequence[Any], aval: Any) -> Any:
    """Returns the result of the branches, if it is known for all of them."""
    if any(value is _UNKNOWN for value in values) or math.prod(aval.shape) > LARGEST:
        return _UNKNOWN
    return lax.select_n(index, *(_array(value, aval) for value in values))


def _array(value: Any, aval: Any) -> Any:
    """Returns a value, which may be a number in the program, as an array."""
    return value if isinstance(value, jax.Array) else jnp.asarray(value, aval.dtype)


def _everywhere_alike(equation: Any) -> bool:
    """Returns whether an operation gives the same result on every device, at little cost."""
    inner = (operation.equation for program in programs_of(equation) for operation in walk(program))
    return not equation.effects and all(map(_plain, (equation, *inner)))


def _plain(equation: Any) -> bool:
    name, avals = name_of(equation), [atom.aval for atom in (*equation.invars, *equation.outvars)]
    return (
        name not in _ELSEWHERE
        and not any("rbg" in str(aval.dtype) for aval in avals)
        and all(math.prod(atom.aval.shape) <= LARGEST for atom in equation.outvars)
        and not (name == "scan" and equation.params["length"] > LARGEST)
    )


def _rewritten(program: Program, branches: Mapping[tuple[int, ...], int]) -> Program:
    """Returns the program with some of its conditionals, by their keys, replaced by a branch of each."""

    def chosen(operation: Operation) -> Replacement | None:
        branch = branches.get(operation.key)
        if branch is None:
            return None
        variables = opened(body := operation.equation.params["branches"][branch])[0]
        inputs, outputs = ([atom.aval for atom in atoms] for atoms in (variables.invars, variables.outvars))
        around = (*operation.within, operation.equation)
        run = replace(
            Program(body, tuple(inputs), outputs),
            lambda inner: chosen(dataclasses.replace(inner, within=(*around, *inner.within))),
        )

        def by(_: Any, *operands: Any) -> list[Any]:
            return [_array(value, aval) for value, aval in zip(run(*operands), outputs, strict=True)]

        return by

    return trace(replace(program, chosen), *jax.tree.unflatten(program.in_tree, _shapes(program)))
