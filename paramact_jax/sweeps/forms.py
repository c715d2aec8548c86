"""The forms in which many trials of a function are carried out, and the rule that chooses one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import jax

from paramact_jax.programs import products
from paramact_jax.programs.program import LOOPS, Operation, Program, walk
from paramact_jax.programs.scalars import NoRuleError
from paramact_jax.programs.trials_last import trials_last
from paramact_jax.sweeps import kernels
from paramact_jax.sweeps.compiler import not_in_kernels
from paramact_jax.sweeps.kernels import Target

BLOCK = 64
"""Number of trials computed together, by default. It is fixed, so that no trial's arithmetic depends on others."""


@dataclasses.dataclass(frozen=True)
class Form:
    """A way to carry out many trials. Forms differ in speed and rounding, not in mathematics.

    Attributes:
      layout: where the trials of a block are. "last": on the last axis of every array, see `programs.trials_last`.
        "first": where `jax.vmap` puts them. "alone": a block is one trial.
      block: number of trials computed together.
      kernel: whether each loop over iterations is carried out as one kernel. On a CPU there is one kernel for each
        block, with its state in the first-level caches. On an accelerator there is one kernel for all trials, with its
        state in registers.
    """

    layout: Literal["last", "first", "alone"]
    block: int
    kernel: bool = False

    def __str__(self) -> str:
        if self.layout == "alone":
            return "a trial at a time"
        how = {"last": "trials last", "first": "batched"}[self.layout]
        return f"{'one kernel, ' if self.kernel else ''}{how}, blocks of {self.block}"


class Forms(tuple[Form, ...]):
    """The forms of several programs, one for each program.

    Examples:
      >>> str(Forms([FORMS["batched"], FORMS["a trial at a time"], FORMS["batched"]]))
      'batched, blocks of 64; a trial at a time; batched, blocks of 64'
    """

    __slots__ = ()

    def __str__(self) -> str:
        told = [str(form) for form in self]
        return told[0] if len(set(told)) == 1 else "; ".join(told)

    @property
    def block(self) -> int:
        """Number of trials in the largest block."""
        return max(form.block for form in self)

    @property
    def kernel(self) -> bool:
        """Whether every loop of every program is one kernel."""
        return all(form.kernel for form in self)


FORMS = {
    "one kernel": Form("last", BLOCK, kernel=True),
    "trials last": Form("last", BLOCK),
    "batched": Form("first", BLOCK),
    "a trial at a time": Form("alone", 1),
}
"""The forms by name, with the default number of trials in a block."""

LARGEST_LAST = products.LARGEST
"""Number of multiplications in the largest product up to which the form "trials last" is the fastest on CPUs.

Measured for networks of 4 to 64 nodes and 8 to 64 points: at 128 it is 7 times as fast as batched products, at 4,096 3
times, at 8,192 twice, at 16,384 1.6 times, at 32,768 as fast, above that slower.
"""
LARGEST_LAST_ON_ACCELERATORS = 4096
"""The same for accelerators, where larger products were not tried."""
LARGEST_BATCHED = 131_072
"""Number of multiplications in the largest product up to which the form "batched" is the fastest on CPUs.

At 65,536 it is a tenth faster than a trial at a time, at 262,144 a sixth slower. Above that a block's arrays no longer
fit into the caches.
"""
SLOW_IN_KERNELS = frozenset({"atan", "lgamma"})
"""Operations that a kernel computes one number at a time, 2 to 10 times slower."""


def choose(
    programs: Sequence[Program],
    platform: str,
    *,
    fused: bool | None = None,
    block: int | None = None,
    target: Target | None = None,
) -> Form:
    """Returns the form for programs of one trial, by a fixed rule.

    The largest product of arrays in the programs' loops decides, or in the whole programs if there is no loop:

    - on a CPU with a convolution, more than `LARGEST_BATCHED` multiplications, or an array that is changed in place
      (`jax.new_ref`), which `jax.vmap` refuses: a trial at a time;
    - with up to `LARGEST_LAST` multiplications, or `LARGEST_LAST_ON_ACCELERATORS`: trials last. Loops become one kernel
      on a CPU, unless an operation is slow there; on an accelerator if `sweeps.kernels` can compile for it and can
      handle every operation of some loop;
    - otherwise: batched.

    The number of trials has no influence, so that a trial's bits do not depend on it.

    Args:
      programs: the programs that are carried out for every trial.
      platform: "cpu", or the platform of an accelerator.
      fused: whether loops become kernels, by default as above.
      block: number of trials in a block, by default as above.
      target: what kernels are compiled for on an accelerator; None: there are no kernels.

    Raises:
      ValueError: in one line, for `fused=True` and a loop with an operation that no kernel can hold.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from paramact_jax.programs import trace
      >>> def descend(w):
      ...     return jax.lax.fori_loop(0, 9, lambda _, w: w - 0.1 * jax.grad(lambda w: ((w @ w) ** 2).sum())(w), w)
      >>> for nodes in (2, 16, 64):
      ...     print(nodes, choose([trace(descend, jnp.zeros((nodes, nodes)))], "cpu"))
      2 one kernel, trials last, blocks of 64
      16 one kernel, trials last, blocks of 64
      64 a trial at a time
    """
    operations = [operation for program in programs for operation in walk(program)]
    repeated = [operation for operation in operations if operation.in_loop] or operations
    on_cpu = platform == "cpu"
    size = max(map(_multiplications, repeated), default=0)
    loops = [operation for operation in operations if operation.name in LOOPS and not operation.in_loop]
    if fused:
        _check_kernels(operations if on_cpu else loops, target)
        if target is not None:
            _check_traced(programs, target)
    if fused or size <= (LARGEST_LAST if on_cpu else LARGEST_LAST_ON_ACCELERATORS):
        if target is None:
            possible = on_cpu and not any(operation.name in SLOW_IN_KERNELS for operation in repeated)
        else:
            possible = any(kernels.problem(operation) is None for operation in loops)
        kernel = possible if fused is None else fused and (on_cpu or target is not None)
        form = Form("last", target.block if kernel and target else BLOCK, kernel)
    elif not on_cpu or size <= LARGEST_BATCHED:
        form = FORMS["batched"]
    else:
        form = FORMS["a trial at a time"]
    if block is None:
        return form
    if block == 1 and not fused:
        return FORMS["a trial at a time"]
    return dataclasses.replace(form, block=block, layout="first" if form.layout == "alone" else form.layout)


def _multiplications(operation: Operation) -> float:
    """Returns those of a product of arrays; infinite for an operation that a CPU does for a trial at a time."""
    changed_in_place = any(hasattr(var.aval, "inner_aval") for var in operation.equation.invars)
    if operation.name == "conv_general_dilated" or changed_in_place:
        return math.inf
    return products.multiplications_of(operation.equation)


def _check_kernels(operations: Sequence[Operation], target: Target | None) -> None:
    for operation in operations:
        if operation.name in LOOPS:
            problem = not_in_kernels(operation.equation) if target is None else kernels.problem(operation)
            if problem:
                raise ValueError(_REFUSED.format(repr(problem)))


def _check_traced(programs: Sequence[Program], target: Target) -> None:
    """Refuses loops that turn out to be no kernels only when a program of trials is traced."""
    lanes = dataclasses.replace(target, name="interpreted")
    for program in programs:
        first, *rest = jax.tree.unflatten(program.in_tree, program.closed.in_avals)
        own = [True] * len(jax.tree.leaves(first)) + [False] * len(jax.tree.leaves(rest))
        shapes = [
            jax.ShapeDtypeStruct((*a.shape, target.block) if is_own else a.shape, a.dtype)
            for a, is_own in zip(program.closed.in_avals, own, strict=True)
        ]
        many = trials_last(program, own, loop=kernels.LoopKernels(lanes, strict=True))
        try:
            jax.eval_shape(many, *jax.tree.unflatten(program.in_tree, shapes))
        except NoRuleError as error:
            raise ValueError(_REFUSED.format(repr(str(error)))) from error


_REFUSED = (
    "fused: expected loops that one kernel can hold, got one with the operation {}; leave fused out, or take the "
    "operation out of the loop"
)
