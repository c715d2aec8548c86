"""Carries out a function of one trial for many trials, with the trials on the last axis of every array.

`jax.vmap` moves the axis of trials to the front when it multiplies matrices or broadcasts. For networks with few nodes
this leaves only scalar loops to the processor. Here every operation of the traced program is carried out with the
trials last, where they are contiguous: an operation on an array of shape (2, 2) becomes one on (2, 2, trials).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from paramact_jax.programs import rules
from paramact_jax.programs.dependence import Dependence
from paramact_jax.programs.products import TINY, multiplications_of
from paramact_jax.programs.program import (
    LOOPS,
    Program,
    apply,
    called_by,
    evaluate,
    inputs_of,
    name_of,
    opened,
    parts_of_scan,
    parts_of_solve,
    parts_of_while,
)
from paramact_jax.programs.rules import Trials

Loop = Callable[[Any, Sequence[Any], int], Sequence[Any] | None]
"""Maps a loop's equation, its inputs and the number of trials to its outputs; None: it is carried out as usual."""


def trials_last(
    program: Program, own: Sequence[bool], *, loop: Loop | None = None, products_apart: bool = False
) -> Callable[..., Any]:
    """Returns a function that does for many trials what `program` does for one.

    It computes what `jax.vmap(program, in_axes=-1 or None, out_axes=-1)` does, in the same order of operations; sums
    are rounded differently. Random numbers have the same bits. An operation without a rule here is carried out by its
    own rule of `jax.vmap`. Do not differentiate the function: derivative rules of functions are lost, and values that
    should be computed again for the derivative may be kept.

    Args:
      program: a program of one trial, from `trace`.
      own: for each array of the arguments, in the order of `jax.tree.leaves`, whether every trial has its own; it then
        has a last axis of trials. The other arrays are shared.
      loop: another way to carry out a loop that is in no other loop, or in a loop for which `loop` returned None.
      products_apart: whether a product of arrays is a function of its own in the compiled program, unless it is tiny;
        for CPUs. XLA would else compute a factor inside the sums of every product that it is in, which takes up to 14
        times as long in a derivative through a derivative.

    Returns:
      A function of the program's arguments. Every array that it returns has a last axis of trials.

    Raises:
      ValueError: in the call, if no array has trials, or if their numbers of trials differ.

    Examples:
      >>> from paramact_jax.programs import trace
      >>> program = trace(lambda w, x: w @ x, jnp.zeros((2, 3)), jnp.zeros(3))
      >>> many = trials_last(program, [True, False])
      >>> many(jnp.ones((2, 3, 100)), jnp.ones(3)).shape
      (2, 100)
    """

    def call(*arguments: Any) -> Any:
        leaves = jax.tree.leaves(arguments)
        counts = {x.shape[-1] for x, is_own in zip(leaves, own, strict=True) if is_own}
        if len(counts) != 1:
            raise ValueError(f"expected trials on the last axis, the same number everywhere, got {sorted(counts)}")
        (count,) = counts
        values = [Trials(x) if is_own else x for x, is_own in zip(leaves, own, strict=True)]
        made = _TrialsLast(count, loop, products_apart).run(program.closed, values)
        return program.rebuilt(lambda *_: [rules.full(x, count) for x in made], arguments)

    return call


class _TrialsLast:
    """Carries out programs on values. Values that differ between trials are `Trials`.

    Args:
      count: number of trials.
      loop: see `trials_last`.
      products_apart: see `trials_last`.
    """

    def __init__(self, count: int, loop: Loop | None, products_apart: bool) -> None:
        self._count = count
        self._loop, self._products_apart = loop, products_apart
        self._dependence = Dependence()

    def run(self, program: Any, values: Sequence[Any]) -> list[Any]:
        """Returns the outputs of a program."""
        return evaluate(*opened(program), values, rule=self._rule)

    def _rule(self, equation: Any, read: Callable[[Any], Any]) -> Sequence[Any]:
        inputs = inputs_of(equation, read)
        name = name_of(equation)
        called = called_by(equation)
        if not any(isinstance(x, Trials) for x in inputs) and name not in LOOPS and called is None:
            return apply(equation.primitive, equation.params, inputs)
        if called is not None:
            return self.run(called, inputs)
        if name in LOOPS and self._loop and (made := self._loop(equation, inputs, self._count)) is not None:
            return made
        if name == "while":
            return self._while(equation, inputs)
        if name == "scan":
            return self._scan(equation, inputs)
        if name == "cond":
            return self._cond(equation, inputs)
        if name == "custom_linear_solve":
            return self.run(*parts_of_solve(equation, inputs))
        if self._products_apart and multiplications_of(equation) > TINY:
            product = jax.jit(lambda inputs: rules.carry_out(equation, inputs, self._count))
            with set_xla_metadata(inlineable="false"):
                return product(inputs)
        return rules.carry_out(equation, inputs, self._count)

    def _as(self, own: Sequence[bool], values: Sequence[Any]) -> tuple[Any, ...]:
        """Returns the values, as `Trials` where `own` says so."""
        return tuple(Trials(rules.full(x, self._count)) if is_own else x for is_own, x in zip(own, values, strict=True))

    def _while(self, equation: Any, inputs: list[Any]) -> list[Any]:
        params = equation.params
        condition, body, carry = parts_of_while(equation, inputs)
        own, differs = self._dependence.of_while(equation, [isinstance(x, Trials) for x in inputs])

        def go_on(carry: Any) -> Any:
            return self.run(params["cond_jaxpr"], [*condition, *carry])[0]

        def advance(carry: Any) -> tuple[Any, ...]:
            after = self._as(own, self.run(params["body_jaxpr"], [*body, *carry]))
            if not differs:
                return after
            runs = go_on(carry).array  # a trial that has ended stays as it is
            return tuple(
                Trials(lax.select(jnp.broadcast_to(runs, new.array.shape), new.array, old.array))
                if isinstance(new, Trials)
                else new
                for new, old in zip(after, carry, strict=True)
            )

        def any_goes_on(carry: Any) -> Any:
            return jnp.any(go_on(carry).array)

        return list(lax.while_loop(any_goes_on if differs else go_on, advance, self._as(own, carry)))

    def _scan(self, equation: Any, inputs: list[Any]) -> list[Any]:
        params = equation.params
        consts, carry, xs = parts_of_scan(equation, inputs)
        own, _ = self._dependence.of_scan(equation, [isinstance(x, Trials) for x in inputs])

        def body(carry: tuple[Any, ...], x: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
            outputs = self.run(params["jaxpr"], [*consts, *carry, *x])
            return self._as(own, outputs[: len(own)]), outputs[len(own) :]

        final, ys = lax.scan(
            body,
            self._as(own, carry),
            tuple(xs),
            length=params["length"],
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
        return [*final, *ys]

    def _cond(self, equation: Any, inputs: list[Any]) -> list[Any]:
        index, *operands = inputs
        branches = equation.params["branches"]
        if isinstance(index, Trials):  # every branch is carried out, and each trial takes its own result
            results = [self.run(branch, operands) for branch in branches]
            which = jnp.clip(index.array.astype(jnp.int32), 0, len(branches) - 1)
            return [self._selected(which, values) for values in zip(*results, strict=True)]
        own = self._dependence.of_branches(branches, [isinstance(x, Trials) for x in operands])
        functions = [lambda *operands, branch=branch: self._as(own, self.run(branch, operands)) for branch in branches]
        return list(lax.switch(index, functions, *operands))

    def _selected(self, which: jax.Array, values: Sequence[Any]) -> Trials:
        arrays = [rules.full(x, self._count) for x in values]
        if len(arrays) == 1:
            return Trials(arrays[0])
        shape = arrays[0].shape
        return Trials(lax.select_n(jnp.broadcast_to(which, shape), *arrays))
