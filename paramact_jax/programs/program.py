"""A function as a traced program: its operations in order, with those in loops, branches and calls."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from paramact_jax.programs.identity import Identity, describe

CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "call"})
"""Primitives that only call a program."""
REMAT = frozenset({"remat", "remat2", "checkpoint"})
"""Primitives that call a program with values that are computed again for the derivative."""
CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"})
"""Primitives that call a program with a derivative rule of its own."""
LOOPS = frozenset({"while", "scan"})
"""Primitives that repeat a program."""
ENTERED = CALLS | REMAT | CUSTOM | LOOPS | {"cond"}
"""Primitives inside which `replace` can replace operations."""


class Program:
    """A pure function for arguments of fixed shapes, as JAX traced it. Made by `trace`.

    A call does what the function did when it was traced, even if globals have changed since then. Two programs are
    equal if they have the same operations, constants, structures and names of parameters. A program with constants
    that were changed in place later is not equal to any program, not even to itself.

    Attributes:
      closed: the operations, with the constants that the function holds.
      in_tree: structure of the arguments.
      out_tree: structure of the result.
      identity: the program as text and as a digest.
    """

    def __init__(self, closed: Any, arguments: tuple[Any, ...], outputs: Any) -> None:
        """Takes the traced operations, and the shapes of the arguments and of the result."""
        self.closed = closed
        self.in_tree: Any = jax.tree.structure(arguments)
        self.out_tree: Any = jax.tree.structure(outputs)
        self._names = [path for argument in arguments for path in paths(argument)], paths(outputs)

    def __call__(self, *arguments: Any) -> Any:
        """Returns what the function returns."""

        def run(*values: Any) -> list[Any]:
            made = zip(core.jaxpr_as_fun(self.closed)(*values), self.closed.out_avals, strict=True)
            return [x if isinstance(x, jax.Array) else jnp.asarray(x, a.dtype) for x, a in made]  # or a constant

        return self.rebuilt(run, arguments)

    def rebuilt(self, run: Callable[..., Sequence[Any]], arguments: tuple[Any, ...]) -> Any:
        """Returns the tree of what `run` returns for the arguments' arrays, one value for each output."""
        values, tree = jax.tree.flatten(arguments)
        if self.in_tree != tree:
            raise ValueError(f"expected arguments like {self.in_tree}, which the program was traced with, got {tree}")
        return jax.tree.unflatten(self.out_tree, list(run(*values)))

    @property
    def outputs(self) -> Any:
        """Shapes of the result."""
        shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in self.closed.out_avals]
        return jax.tree.unflatten(self.out_tree, shapes)

    @functools.cached_property
    def identity(self) -> Identity:
        """The program as text and as a digest, at the time of the first use of this property."""
        return self._describe()

    def __hash__(self) -> int:
        return hash(self.identity.digest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Program) or self._kind != other._kind:
            return False
        return all(program._describe().digest == program.identity.digest for program in (self, other))

    @property
    def _kind(self) -> Any:
        return self.identity.digest, self.in_tree, self.out_tree

    def _describe(self) -> Identity:
        return describe(self.closed, inputs=self._names[0], outputs=self._names[1])


def trace(function: Callable[..., Any], *arguments: Any, idle: bool = False) -> Program:
    """Returns the program of a function for arguments of these shapes. Nothing is computed.

    Operations that no result needs are left out, except in loops, branches and calls. JAX keeps its trace of a loop's
    body or a jitted function inside; see `afresh`.

    Args:
      function: a pure function of trees of arrays.
      arguments: trees of arrays or `jax.ShapeDtypeStruct`.
      idle: whether operations that no result needs are kept.

    Examples:
      >>> import jax.numpy as jnp
      >>> twice = trace(lambda x: 2 * x, jnp.zeros(2))
      >>> twice(jnp.ones(2)).tolist(), [operation.name for operation in walk(twice)]
      ([2.0, 2.0], ['mul'])
      >>> twice == trace(lambda x: 2 * x, jnp.zeros(2)), twice == trace(lambda x: 3 * x, jnp.zeros(2))
      (True, False)
    """
    closed, out = jax.make_jaxpr(function, return_shape=True)(*arguments)
    return Program(closed if idle else _needed(closed), arguments, out)


def _needed(closed: Any) -> Any:
    """Returns the program without operations that no result needs and that have no effects."""
    needed = {atom for atom in closed.jaxpr.outvars if not isinstance(atom, core.Literal)}
    kept = []
    for equation in reversed(closed.jaxpr.eqns):
        if equation.effects or not needed.isdisjoint(equation.outvars):
            kept.append(equation)
            needed.update(atom for atom in equation.invars if not isinstance(atom, core.Literal))
    return closed.replace(jaxpr=closed.jaxpr.replace(eqns=kept[::-1]))


def shapes_of(tree: Any) -> Any:
    """Returns shapes and dtypes of a tree of arrays, to trace with."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def paths(tree: Any) -> list[str]:
    """Returns the path of each array in a tree, joined by dots."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


_TRACES = itertools.count(1)


def afresh() -> contextlib.AbstractContextManager[Any]:
    """Makes JAX trace everything again in this context, including functions inside a function.

    JAX keeps its trace of a loop's body or a jitted function, and does not look again at the globals that they read. It
    finds a kept trace by JAX's settings, among other things. So this context changes a setting, one that has no effect
    before a program is compiled.
    """
    try:
        from jax._src.config import pgle_profiling_runs
    except ImportError:
        return contextlib.nullcontext()
    return pgle_profiling_runs(2**20 + next(_TRACES))


def on_cpu() -> contextlib.AbstractContextManager[Any]:
    """Computes arrays without a device of their own on the CPU in this context, unless JAX has no CPU device."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()


def settings() -> Any:
    """Returns the settings of JAX that decide how a function is traced: precision, dtypes and so on."""
    try:
        from jax._src.config import trace_context
    except ImportError:
        return ()
    return trace_context()


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a program.

    Attributes:
      equation: the equation that JAX traced.
      within: the calls, loops and branches around it, the outermost first.
      steps: what `replace` passes to the step of each scan around it, the outermost first; only while it runs.
    """

    equation: Any
    within: tuple[Any, ...]
    steps: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """Name of the primitive."""
        return name_of(self.equation)

    @property
    def key(self) -> tuple[int, ...]:
        """A key of its place, unique while the program lives, even if a program is called twice."""
        return *map(id, self.within), id(self.equation)

    @property
    def in_loop(self) -> bool:
        """Whether a loop repeats it."""
        return any(name_of(outer) in LOOPS for outer in self.within)


def walk(jaxpr: Any, within: tuple[Any, ...] = ()) -> Iterator[Operation]:
    """Yields every operation of a jaxpr or program in order.

    The operations of inner programs follow the operation that holds them. Programs of a derivative rule that the
    function's value does not need are left out.
    """
    jaxpr = jaxpr.closed if isinstance(jaxpr, Program) else jaxpr
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield Operation(equation, within)
        for inner in programs_of(equation):
            yield from walk(inner, (*within, equation))


def name_of(equation: Any) -> str:
    """Returns the name of an equation's primitive."""
    return str(equation.primitive.name)


def called_by(equation: Any) -> Any | None:
    """Returns the program that an equation calls: of jit, remat or a function with a derivative rule; else None."""
    if name_of(equation) in CALLS | REMAT | CUSTOM:
        params = equation.params
        return next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)
    return None


def programs_of(equation: Any) -> list[Any]:
    """Returns the programs that an equation runs: what it calls, a loop's condition and body, the branches."""
    if (called := called_by(equation)) is not None:
        return [called]
    params = (value if isinstance(value, tuple | list) else (value,) for value in equation.params.values())
    return [item for items in params for item in items if hasattr(item, "eqns")]


def parts_of_scan(equation: Any, values: Sequence[Any]) -> list[list[Any]]:
    """Returns the inputs of a scan in three parts: shared by all steps, carried, and with one entry for each step."""
    params = equation.params
    if "num_consts" in params:
        return split(values, params["num_consts"], params["num_carry"])
    return split(values, *(len(part) for part in params["ft_in"].unpack()[:2]))  # since JAX 0.11


def parts_of_while(equation: Any, values: Sequence[Any]) -> list[list[Any]]:
    """Returns the inputs of a while loop in three parts: the condition's own, the body's own, and the carried ones."""
    return split(values, equation.params["cond_nconsts"], equation.params["body_nconsts"])


def parts_of_solve(equation: Any, values: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Returns the program that a `custom_linear_solve` runs for its value, and the inputs of that program."""
    *_, constants, _, b = split(values, *equation.params["const_lengths"])
    return equation.params["jaxprs"].solve, [*constants, *b]


def split(values: Sequence[Any], *sizes: int) -> list[list[Any]]:
    """Returns the values in pieces of these sizes, and the rest.

    Examples:
      >>> split([1, 2, 3, 4], 1, 2)
      [[1], [2, 3], [4]]
    """
    pieces, at = [], 0
    for size in sizes:
        pieces.append(list(values[at : at + size]))
        at += size
    return [*pieces, list(values[at:])]


def opened(program: Any) -> tuple[Any, Sequence[Any]]:
    """Returns a program as a jaxpr and its constants; an open jaxpr has no constants."""
    return getattr(program, "jaxpr", program), getattr(program, "consts", ())


Rule = Callable[[Any, Callable[[Any], Any]], Sequence[Any]]
"""Maps an equation, and a function that returns the value of a variable or literal, to a value for each output."""


def evaluate(jaxpr: Any, consts: Sequence[Any], values: Sequence[Any], rule: Rule | None = None) -> list[Any]:
    """Returns the outputs of a jaxpr for values of any kind, by a rule for each equation.

    Args:
      jaxpr: an open jaxpr.
      consts: values of its constants.
      values: one for each of its inputs.
      rule: computes the outputs of an equation; by default as JAX does, with `apply`.
    """
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, values, strict=True))
    return run_equations(jaxpr.eqns, env, jaxpr.outvars, rule)


def run_equations(
    equations: Iterable[Any], env: dict[Any, Any], results: Iterable[Any], rule: Rule | None
) -> list[Any]:
    """Returns the results of some operations, by a rule for each.

    Args:
      equations: the operations, in order.
      env: values of the variables that no operation here makes. The values that the operations make are added.
      results: the variables and literals to return.
      rule: as in `evaluate`.
    """

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for equation in equations:
        made = rule(equation, read) if rule else apply(equation.primitive, equation.params, inputs_of(equation, read))
        env.update(zip(equation.outvars, made, strict=True))
    return [read(atom) for atom in results]


def inputs_of(equation: Any, read: Callable[[Any], Any]) -> list[Any]:
    """Returns the value of each input."""
    return [read(atom) for atom in equation.invars]


def apply(primitive: core.Primitive, params: Mapping[str, Any], inputs: Sequence[Any]) -> Sequence[Any]:
    """Returns the results of one primitive operation on arrays: a value for each output."""
    bound = primitive.get_bind_params(params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # a pair in older versions of JAX
    results = primitive.bind(*functions, *inputs, **params)
    return results if primitive.multiple_results else [results]
