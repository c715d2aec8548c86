"""Programs with some of their operations replaced, or with intermediate values as results."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from paramact_jax.programs.program import (
    CALLS,
    CUSTOM,
    REMAT,
    Operation,
    Program,
    apply,
    called_by,
    evaluate,
    inputs_of,
    name_of,
    opened,
    parts_of_scan,
    parts_of_while,
    programs_of,
    walk,
)

Replacement = Callable[..., Sequence[Any]]
"""Maps the values of an operation's inputs, as arguments, to a value for each of its outputs."""


class Instead(NamedTuple):
    """A replacement for several operations of one program, for a function that is written out in it.

    Attributes:
      equations: the operations that no longer run. The last one is the operation that is replaced.
      reads: variables and literals of the same program; their values are the replacement's arguments.
      by: the replacement.
    """

    equations: Sequence[Any]
    reads: Sequence[Any]
    by: Replacement


_NUMBER = re.compile(r":\d+$")


Which = Callable[[Operation], Replacement | Instead | None]


def replace(
    program: Program, which: Which, *, along: Callable[[Operation], Any] = lambda _: None
) -> Callable[..., Any]:
    """Returns the function of a program with some of its operations replaced.

    The function works under jit, vmap and grad. Loops, branches and rematerialisation stay as they are. A function with
    a derivative rule keeps the rule unless an operation inside it is replaced; it is then differentiated operation by
    operation.

    Args:
      program: a program from `trace`.
      which: returns the replacement of an operation, or None for an operation that stays. It is called for a call, loop
        or branch first, then for the operations inside, unless the whole is replaced. It may be called several times.
      along: returns for a scan a tree of arrays with a leading axis of its steps, or None. The operations inside find
        their step's part in `operation.steps`.

    Raises:
      ValueError: in the call, if a replacement returns more or fewer values than the operation has outputs, or if the
        replaced operation is inside one that holds programs and is not a call, loop or branch.

    Examples:
      >>> import jax.numpy as jnp
      >>> from paramact_jax.programs import trace
      >>> program = trace(lambda x: jnp.sin(x) + 1, jnp.zeros(2))
      >>> doubled = replace(program, lambda operation: (lambda x: [2 * x]) if operation.name == "sin" else None)
      >>> doubled(jnp.ones(2)).tolist()
      [3.0, 3.0]
    """

    def call(*arguments: Any) -> Any:
        rewriting = _Rewriting(which, along=along)
        return program.rebuilt(lambda *values: rewriting.run(program.closed, values, Within()), arguments)

    return call


def tap(program: Program, which: Callable[[Operation], str | None]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Returns a function that returns the program's result, and the results of some of its operations by name.

    Args:
      program: a program from `trace`.
      which: returns a name for an operation, or None. Further operations with the same name get ":1", ":2", .. .

    Returns:
      A function of the program's arguments. A value in a scan has a leading axis of its steps.

    Raises:
      ValueError: in the call, for an operation in a while loop or a branch, since not all its values are kept.

    Examples:
      >>> import jax.numpy as jnp
      >>> from paramact_jax.programs import trace
      >>> program = trace(lambda x: jnp.sin(2 * x) + 1, jnp.zeros(2))
      >>> result, seen = tap(program, lambda operation: "y" if operation.name == "mul" else None)(jnp.ones(2))
      >>> seen["y"].tolist()
      [2.0, 2.0]
    """

    def call(*arguments: Any) -> tuple[Any, dict[str, Any]]:
        seen: dict[str, Any] = {}
        rewriting = _Rewriting(lambda _: None, which, seen)
        return program.rebuilt(lambda *values: rewriting.run(program.closed, values, Within()), arguments), seen

    return call


class Within(NamedTuple):
    """The position of a program in another: the calls, loops and branches around it, and the step's part of scans."""

    within: tuple[Any, ...] = ()
    steps: tuple[Any, ...] = ()

    def operation(self, equation: Any) -> Operation:
        """Returns an equation of the program as an operation of the whole."""
        return Operation(equation, self.within, self.steps)

    def inside(self, equation: Any) -> Within:
        """Returns the position of a program that the equation holds."""
        return Within((*self.within, equation), self.steps)


@contextlib.contextmanager
def _as_made(equation: Any, *, lines: bool = True) -> Iterator[None]:
    """Gives what is traced in the context an operation's named scopes and attributes, and its lines of code if wanted.

    Attributes are those of `jax.experimental.xla_metadata`.
    """
    with _in_scopes(equation, lines=lines), set_xla_metadata(**(equation.ctx.xla_metadata or {})):
        yield


def _in_scopes(equation: Any, *, lines: bool) -> contextlib.AbstractContextManager[Any]:
    try:
        from jax._src import source_info_util as info

        scopes = info.current_name_stack() + equation.source_info.name_stack
        if not lines:
            return info.set_name_stack(scopes)
        return info.user_context(equation.source_info.traceback, name_stack=scopes)
    except (ImportError, AttributeError):
        return contextlib.nullcontext()


class _Rewriting:
    """Evaluates programs operation by operation, and rebuilds the programs around operations of interest."""

    def __init__(
        self,
        which: Which,
        named: Callable[[Operation], str | None] | None = None,
        seen: dict[str, Any] | None = None,
        along: Callable[[Operation], Any] = lambda _: None,
    ) -> None:
        self._which, self._named, self._along = which, named, along
        self._seen: dict[str, Any] = {} if seen is None else seen

    def run(self, program: Any, values: Sequence[Any], within: Within) -> list[Any]:
        """Returns the outputs of a program for these inputs."""
        jaxpr, consts = opened(program)
        answers = {id(equation): self._which(within.operation(equation)) for equation in jaxpr.eqns}
        insteads = [answer for answer in answers.values() if isinstance(answer, Instead)]
        idle = {id(equation) for instead in insteads for equation in instead.equations[:-1]}

        def rule(equation: Any, read: Callable[[Any], Any]) -> Sequence[Any]:
            if id(equation) in idle:
                return [None] * len(equation.outvars)
            answer = answers[id(equation)]
            if isinstance(answer, Instead):
                return self._replaced(equation, answer.by, [read(atom) for atom in answer.reads])
            if answer is not None:
                return self._replaced(equation, answer, inputs_of(equation, read))
            return self._kept(equation, inputs_of(equation, read), within)

        return evaluate(jaxpr, consts, values, rule)

    def _replaced(self, equation: Any, by: Replacement, inputs: Sequence[Any]) -> list[Any]:
        with _as_made(equation, lines=False):
            outputs = list(by(*inputs))
        if len(outputs) != (expected := len(equation.outvars)):
            raise ValueError(f"expected {expected} values instead of {name_of(equation)!r}, got {len(outputs)}")
        return outputs

    def _kept(self, equation: Any, inputs: list[Any], within: Within) -> list[Any]:
        operation = within.operation(equation)
        if self._concerned(operation):
            outputs = self._entered(equation, inputs, within)
        else:
            with _as_made(equation):
                outputs = list(apply(equation.primitive, equation.params, inputs))
        if self._named is not None and (name := self._named(operation)) is not None:
            self._keep(name, outputs if equation.primitive.multiple_results else outputs[0])
        return outputs

    def _keep(self, name: str, value: Any) -> None:
        name = _NUMBER.sub("", name)
        number = sum(_NUMBER.sub("", key) == name for key in self._seen)
        self._seen[f"{name}:{number}" if number else name] = value

    def _concerned(self, operation: Operation) -> bool:
        """Returns whether an operation inside this one is replaced or named."""
        within = (*operation.within, operation.equation)
        return any(
            self._which(inner) is not None or (self._named is not None and self._named(inner) is not None)
            for program in programs_of(operation.equation)
            for inner in walk(program, within)
        )

    def _entered(self, equation: Any, inputs: list[Any], within: Within) -> list[Any]:
        name, params, inside = name_of(equation), equation.params, within.inside(equation)
        if name in REMAT and self._named is None:
            body = jax.checkpoint(
                lambda *values: self.run(called_by(equation), values, inside),
                prevent_cse=params["prevent_cse"],
                policy=params["policy"],
            )
            return list(body(*inputs))
        if name in CALLS | CUSTOM | REMAT:
            return self.run(called_by(equation), inputs, inside)
        if name == "scan":
            return self._scan(equation, inputs, within)
        if self._named is not None:
            raise ValueError(
                f"expected operations outside of while loops and branches to look at, got one within {name!r}; "
                f"a scan keeps the values of every step"
            )
        if name == "while":
            return self._while(equation, inputs, inside)
        if name == "cond":
            index, *operands = inputs
            branches = [
                lambda *values, branch=branch: tuple(self.run(branch, values, inside)) for branch in params["branches"]
            ]
            return list(lax.switch(index, branches, *operands))
        raise ValueError(f"expected operations within calls, loops and branches, got one within {name!r}")

    def _scan(self, equation: Any, inputs: list[Any], within: Within) -> list[Any]:
        params = equation.params
        consts, carry, xs = parts_of_scan(equation, inputs)
        along = self._along(within.operation(equation))

        def body(carry: tuple[Any, ...], x: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
            inner = _Rewriting(self._which, self._named, along=self._along)
            inside = Within((*within.within, equation), (*within.steps, x[1]))
            outputs = inner.run(params["jaxpr"], [*consts, *carry, *x[0]], inside)
            return tuple(outputs[: len(carry)]), (outputs[len(carry) :], inner._seen)

        final, (ys, seen) = lax.scan(
            body,
            tuple(carry),
            (tuple(xs), along),
            length=params["length"],
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
        for name, value in seen.items():
            self._keep(name, value)
        return [*final, *ys]

    def _while(self, equation: Any, inputs: list[Any], inside: Within) -> list[Any]:
        params = equation.params
        condition, body, carry = parts_of_while(equation, inputs)
        return list(
            lax.while_loop(
                lambda carry: self.run(params["cond_jaxpr"], [*condition, *carry], inside)[0],
                lambda carry: tuple(self.run(params["body_jaxpr"], [*body, *carry], inside)),
                tuple(carry),
            )
        )
