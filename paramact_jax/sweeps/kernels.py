"""A loop over iterations as one kernel of a GPU or TPU, for all trials of a device.

A kernel gets the program of one trial, taken apart into single numbers, see `programs.scalars`. Each number is a vector
of trials, and all vectors stay in registers while the loop runs. Pallas compiles the kernel: Mosaic on GPUs from Hopper
on, Mosaic on TPUs. These interfaces of JAX are not stable. If they are missing or have changed, loops stay ordinary.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from paramact_jax.programs import scalars
from paramact_jax.programs.dependence import Dependence
from paramact_jax.programs.program import LOOPS, Operation, name_of, parts_of_scan, split, walk
from paramact_jax.programs.rules import Trials
from paramact_jax.programs.scalars import Lanes, NoRuleError, Numbers, Packing
from paramact_jax.sweeps.compiler import one_kernel

MOST_OPERATIONS = 20_000
"""Most operations on vectors in one iteration. With more, compiling takes minutes and the registers overflow."""
MOST_SHARED = 256
"""Most numbers in arrays that all trials share; a kernel holds them too."""
DTYPES = ("float32", "int32", "uint32", "bool")
FIRST_CAPABILITY = 9.0
"""Lowest compute capability of the GPUs that Mosaic compiles for: Hopper."""
FIRST_JAX = (0, 11)
"""First version of JAX with which kernels were compiled and run."""
TPU_MEMORY = 8 * 2**20
"""Most bytes that a kernel of a TPU reads and writes for one block of trials; the chip's memory is twice as large."""


@dataclasses.dataclass(frozen=True)
class Target:
    """The kind of device that kernels are compiled for.

    Attributes:
      name: "gpu", "tpu", or "interpreted", which is for tests and runs on any device, slowly.
      lanes: the shape of a vector of trials.
    """

    name: str
    lanes: tuple[int, ...]

    @property
    def block(self) -> int:
        """Number of trials in a vector."""
        return math.prod(self.lanes)


GPU = Target("gpu", (128,))
TPU = Target("tpu", (8, 128))
INTERPRETED = Target("interpreted", (128,))


def target_of(mesh: Mesh) -> Target | None:
    """Returns the target that kernels on these devices are compiled for; None if they cannot be compiled.

    With PARAMACT_JAX_ONE_KERNEL=0 in the environment there are no kernels.
    """
    if one_kernel() == "0":
        return None
    device = mesh.devices.flat[0]
    if device.platform == "tpu":
        return TPU if _module("tpu") else None
    capability = str(getattr(device, "compute_capability", "0"))
    is_new = capability.replace(".", "").isdigit() and float(capability) >= FIRST_CAPABILITY
    return GPU if device.platform in ("gpu", "cuda") and is_new and _module("mosaic_gpu") else None


_USED = {
    "tpu": ("SMEM",),
    "mosaic_gpu": ("kernel", "load", "layout_cast", "Layout", "LoweringSemantics", "CompilerParams"),
}
"""The names that are used here, by part of Pallas."""


@functools.cache
def _module(name: str) -> Any:
    """Returns the part of Pallas for a kind of device; None if this JAX lacks it, or a name that is used here."""
    if jax.__version_info__ < FIRST_JAX:
        return None
    try:
        found = importlib.import_module(f"jax.experimental.pallas.{name}")
    except Exception:  # any error: Pallas is not stable, and may need libraries that are missing
        return None
    return found if all(hasattr(found, attribute) for attribute in _USED[name]) else None


def problem(operation: Operation) -> str | None:
    """Returns the reason why a loop cannot be a kernel; None if it can, or if only tracing it tells."""
    equation = operation.equation
    if name_of(equation) not in LOOPS:
        return "no loop"
    if name_of(equation) == "while" and scalars.counted(equation) is None:
        return "while that does more than count its steps"
    body = equation.params["body_jaxpr" if name_of(equation) == "while" else "jaxpr"]
    if (found := scalars.problem(body)) is not None:
        return found
    inside = (inner.equation for inner in walk(body))
    dtypes = {str(var.aval.dtype) for one in (equation, *inside) for var in (*one.invars, *one.outvars)}
    if strange := sorted(dtypes - set(DTYPES)):
        return f"numbers of {', '.join(strange)}"
    count = scalars.operations(body)
    return f"{count} operations an iteration" if count > MOST_OPERATIONS else None


class LoopKernels:
    """Carries out loops of `trials_last` as kernels.

    Args:
      target: what to compile for.
      strict: whether a loop that turns out to be no kernel raises `NoRuleError` instead of a warning.
    """

    def __init__(self, target: Target, *, strict: bool = False) -> None:
        """Takes the target."""
        self._target, self._strict = target, strict
        self._dependence = Dependence()

    def __call__(self, equation: Any, inputs: Sequence[Any], count: int) -> list[Any] | None:
        """Returns the outputs of a loop, or None if it has to be carried out as usual.

        Args:
          equation: a while loop or scan.
          inputs: arrays that all trials share, and `Trials`.
          count: number of trials.
        """
        if problem(Operation(equation, ())) is not None:
            return None
        try:
            return _Kernel(self._target, self._dependence, equation, inputs, count).outputs()
        except (NoRuleError, AttributeError, TypeError) as error:  # the last two: Pallas has changed
            if self._strict:
                raise
            warnings.warn(f"a loop cannot be one kernel and runs more slowly: {error}", stacklevel=2)
            return None


class _Kernel:
    """One loop as one kernel.

    The inputs of the loop are constants, which the kernel holds; small arrays that all trials share; and arrays that
    every trial has for itself. A block is filled up with copies of the last trial.
    """

    def __init__(
        self, target: Target, dependence: Dependence, equation: Any, inputs: Sequence[Any], count: int
    ) -> None:
        self.target, self.equation, self.count = target, equation, count
        self.inputs = [_input(x, var.aval) for x, var in zip(inputs, equation.invars, strict=True)]
        self.is_scan = name_of(equation) == "scan"
        own = [isinstance(x, Trials) for x in inputs]
        if self.is_scan:
            self.own_carry, self.own_ys = dependence.of_scan(equation, own)
        else:
            self.own_carry, differs = dependence.of_while(equation, own)
            self.own_ys = []
            if differs:
                raise NoRuleError("while with an end of its own for every trial")
        self.shared = [x for x in self.inputs if not isinstance(x, Trials | np.ndarray)]
        self.own = [x.array for x in self.inputs if isinstance(x, Trials)]
        if any(0 in x.shape for x in (*self.shared, *self.own, *(var.aval for var in equation.outvars))):
            raise NoRuleError("arrays without numbers")
        if sum(x.size for x in self.shared) > MOST_SHARED:
            raise NoRuleError(f"arrays of more than {MOST_SHARED} numbers that all trials share")

    def outputs(self) -> list[Any]:
        """Returns the outputs of the loop."""
        per = self.target.block
        padded = self.count + -self.count % per
        own = [_padded(x, padded) for x in self.own]
        shapes = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in self.equation.outvars]
        call = _BUILDERS[self.target.name](self, padded // per, [x.shape[:-1] for x in self.own], shapes)
        made = call([jnp.ravel(_whole(x)) for x in self.shared], [_whole(x) for x in own])
        is_own = [*self.own_carry, *self.own_ys]
        made = [x != 0 if like.dtype == np.bool_ else x for x, like in zip(made, shapes, strict=True)]
        return [Trials(x[..., : self.count]) if own else x[..., 0] for x, own in zip(made, is_own, strict=True)]

    def body(
        self,
        lanes: Lanes,
        refs: Sequence[Any],
        read: Callable[[Any, tuple[Any, ...]], Any],
        write: Callable[[Any, tuple[Any, ...], Any], None],
    ) -> None:
        """Computes a block of trials.

        Args:
          lanes: the kind of vectors.
          refs: references to the shared arrays, to the arrays that every trial has for itself, and to the outputs.
          read: returns the vector at a place of an array of trials.
          write: writes a vector there.
        """
        shared, own, outputs = split(refs, len(self.shared), len(self.own))
        shared_refs, own_refs = iter(shared), iter(own)
        values: list[Any] = []
        for x in self.inputs:
            if isinstance(x, np.ndarray):
                values.append(x)
            elif isinstance(x, Trials):
                reader = functools.partial(read, next(own_refs))
                values.append(_Reader(x.array.shape[:-1], x.array.dtype, reader))
            else:
                ref = next(shared_refs)
                values.append(scalars.shaped(_as_given([ref[i] for i in range(x.size)], x.dtype), x.shape))
        results = [_Writer(lanes, functools.partial(write, ref)) for ref in outputs]
        (self._scan if self.is_scan else self._while)(lanes, values, results)

    def _while(self, lanes: Lanes, values: Sequence[Any], results: Sequence[_Writer]) -> None:
        read = [x.whole() if isinstance(x, _Reader) else x for x in values]
        made = scalars.carry_out_equation(self.equation, read, lanes)
        for x, writer in zip(made, results, strict=True):
            writer.whole(x)

    def _scan(self, lanes: Lanes, values: Sequence[Any], results: Sequence[_Writer]) -> None:
        """Carries out a scan. A step reads and writes the entries of the arrays at its own number."""
        params = self.equation.params
        consts, carry, xs = parts_of_scan(self.equation, values)
        consts, carry = ([x.whole() if isinstance(x, _Reader) else x for x in part] for part in (consts, carry))
        length = int(params["length"])
        pack = Packing(carry, self.own_carry, lanes)

        def step(i: Any, state: Sequence[Any]) -> list[Any]:
            at = length - 1 - i if params["reverse"] else i
            now = [x.at(at) if isinstance(x, _Reader) else scalars.entry(x, at, lanes) for x in xs]
            after = scalars.carry_out(params["jaxpr"], [*consts, *pack.unpack(state), *now], lanes)
            for y, writer in zip(after[len(carry) :], results[len(carry) :], strict=True):
                writer.at(at, y)
            return pack.pack(after[: len(carry)])

        state = lax.fori_loop(0, length, step, pack.pack(carry))
        for x, writer in zip(pack.unpack(state), results, strict=False):
            writer.whole(x)


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads an array of trials in a kernel.

    Attributes:
      shape: of a trial's array.
      dtype: of its numbers.
      read: returns the vector at a place.
    """

    shape: tuple[int, ...]
    dtype: Any
    read: Callable[[tuple[Any, ...]], Any]

    def whole(self) -> Numbers:
        """Returns all its numbers."""
        return self._numbers((), self.shape)

    def at(self, i: Any) -> Numbers:
        """Returns the numbers of one entry along the first axis."""
        return self._numbers((i,), self.shape[1:])

    def _numbers(self, first: tuple[Any, ...], shape: tuple[int, ...]) -> Numbers:
        found = [self.read((*first, *place)) for place in np.ndindex(*shape)]
        return scalars.shaped(_as_given(found, self.dtype), shape)


@dataclasses.dataclass(frozen=True)
class _Writer:
    """Writes an array of trials in a kernel.

    Attributes:
      lanes: the kind of vectors.
      write: writes a vector at a place.
    """

    lanes: Lanes
    write: Callable[[tuple[Any, ...], Any], None]

    def whole(self, x: Numbers) -> None:
        """Writes all its numbers."""
        self._numbers((), x)

    def at(self, i: Any, x: Numbers) -> None:
        """Writes the numbers of one entry along the first axis."""
        self._numbers((i,), x)

    def _numbers(self, first: tuple[Any, ...], x: Numbers) -> None:
        for place in np.ndindex(*x.shape):
            self.write((*first, *place), scalars.stored(scalars.as_vector(x[place], self.lanes)))


def _input(x: Any, aval: Any) -> Any:
    """Returns an input of a loop, with constants as their numbers.

    A negative integer stays an array, because Mosaic draws wrong conclusions from such constants on TPUs.
    """
    if isinstance(x, Trials | jax.core.Tracer):
        return x
    numbers = scalars.numbers_of(np.asarray(x, aval.dtype))
    is_negative = aval.dtype == np.int32 and not aval.shape and numbers[()] < 0
    return jnp.asarray(numbers[()]) if is_negative else numbers


def _padded(x: Any, count: int) -> Any:
    missing = count - x.shape[-1]
    if not missing:
        return x
    return jnp.concatenate([x, jnp.broadcast_to(x[..., -1:], (*x.shape[:-1], missing))], axis=-1)


def _whole(x: Any) -> Any:
    """Returns an array with integers in place of booleans, which a kernel's memory cannot hold."""
    return x.astype(jnp.int32) if x.dtype == jnp.bool_ else x


def _as_given(numbers: Sequence[Any], dtype: Any) -> list[Any]:
    return [x != 0 for x in numbers] if dtype == jnp.bool_ else list(numbers)


Call = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
"""A function from flat shared arrays and arrays with a last axis of trials to outputs with a last axis of trials."""


def _stored(like: Any) -> Any:
    return jnp.int32 if like.dtype == np.bool_ else like.dtype


def _for_gpu(kernel: _Kernel, blocks: int, shapes: Sequence[tuple[int, ...]], outputs: Sequence[Any]) -> Call:
    """Returns the call for GPUs: one warpgroup for a block, one thread for a trial.

    Arrays go from global memory to registers and back.
    """
    plgpu, pl = _module("mosaic_gpu"), importlib.import_module("jax.experimental.pallas")
    (per,) = kernel.target.lanes
    layout = plgpu.Layout.WG_STRIDED(kernel.target.lanes, vec_size=1)  # a number in each thread
    # otherwise copies of one number are kept as that one number, which no loop can carry
    lanes = Lanes(kernel.target.lanes, lambda vector, copies: plgpu.layout_cast(vector, layout))

    def body(*refs: Any) -> None:
        here = pl.ds(lax.axis_index("block") * per, per)

        def read(ref: Any, place: tuple[Any, ...]) -> Any:
            return plgpu.load(ref.at[(*place, here)], layout=layout, optimized=False)

        def write(ref: Any, place: tuple[Any, ...], x: Any) -> None:
            ref[(*place, here)] = x

        kernel.body(lanes, refs, read, write)

    call = plgpu.kernel(
        body,
        out_type=[jax.ShapeDtypeStruct((*x.shape, blocks * per), _stored(x)) for x in outputs],
        grid=(blocks,),
        grid_names=("block",),
        # Lane: the layout of every vector is given to the compiler, which need not search for it
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Lane),
    )
    return lambda shared, own: call(*shared, *own)


def _by_blocks(kernel: _Kernel, blocks: int, shapes: Sequence[tuple[int, ...]], outputs: Sequence[Any]) -> Call:
    """Returns the call for TPUs, and interpreted: one block after the other, with its arrays in the chip's memory."""
    pl = importlib.import_module("jax.experimental.pallas")
    shape, interpreted = kernel.target.lanes, kernel.target.name == "interpreted"
    whole = tuple(slice(None) for _ in shape)
    sizes = [*(math.prod(shape) for shape in shapes), *(math.prod(x.shape) for x in outputs)]
    if not interpreted and 4 * kernel.target.block * sum(sizes) > TPU_MEMORY:
        raise NoRuleError(f"arrays of {sum(sizes)} numbers a trial, more than the memory of a TPU's chip holds")

    def spec(of_trial: tuple[int, ...]) -> Any:
        rank = len(of_trial)
        return pl.BlockSpec((*of_trial, *shape), lambda i: (*(0,) * rank, i, *(0,) * (len(shape) - 1)))

    def body(ones: Any, *refs: Any) -> None:
        def settle(vector: Any, copies: bool) -> Any:
            """Hides that a vector holds copies of a constant, which Mosaic cannot carry: it is multiplied by ones."""
            return vector * ones[...].astype(vector.dtype) if copies else vector

        def read(ref: Any, place: tuple[Any, ...]) -> Any:
            return ref[(*place, *whole)]

        def write(ref: Any, place: tuple[Any, ...], x: Any) -> None:
            ref[(*place, *whole)] = x

        kernel.body(Lanes(shape, settle), refs, read, write)

    wide = (blocks * shape[0], *shape[1:])
    scalar = {} if interpreted else {"memory_space": _module("tpu").SMEM}
    call = pl.pallas_call(
        body,
        grid=(blocks,),
        in_specs=[
            pl.BlockSpec(shape, lambda i: (0,) * len(shape)),
            *(pl.BlockSpec(**scalar) for _ in kernel.shared),
            *(spec(of_trial) for of_trial in shapes),
        ],
        out_specs=[spec(x.shape) for x in outputs],
        out_shape=[jax.ShapeDtypeStruct((*x.shape, *wide), _stored(x)) for x in outputs],
        interpret=interpreted,
    )

    def run(shared: Sequence[Any], own: Sequence[Any]) -> Sequence[Any]:
        made = call(jnp.ones(shape), *shared, *(x.reshape(*x.shape[:-1], *wide) for x in own))
        return [x.reshape(*like.shape, -1) for x, like in zip(made, outputs, strict=True)]

    return run


_BUILDERS = {"gpu": _for_gpu, "tpu": _by_blocks, "interpreted": _by_blocks}
