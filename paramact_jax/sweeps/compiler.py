"""Options for XLA's compilers for programs of many trials.

The options change speed and rounding, not the mathematics. Each is tried once on a trivial program. An option that the
compiler does not know is left out.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from paramact_jax.programs.program import (
    CALLS,
    CUSTOM,
    ENTERED,
    LOOPS,
    REMAT,
    Operation,
    Program,
    apply,
    name_of,
    programs_of,
    walk,
)
from paramact_jax.programs.rewrite import replace
from paramact_jax.programs.rules import AXES_STAY, ELEMENTWISE

_IN_KERNELS = frozenset(
    (
        *(ELEMENTWISE | AXES_STAY | CALLS | REMAT | CUSTOM | LOOPS),
        *("bitcast_convert_type", "broadcast_in_dim", "clamp", "concatenate", "cond", "custom_linear_solve"),
        *("device_put", "dot_general", "dynamic_slice", "dynamic_update_slice", "gather", "iota"),
        *("optimization_barrier", "pad", "reduce", "reduce_sum", "reduce_window", "reduce_window_max"),
        *("reduce_window_min", "reduce_window_sum", "reshape", "rng_bit_generator", "select_n", "slice", "split"),
        *("squeeze", "stack", "stop_gradient", "threefry2x32", "tile", "transpose", "unstack"),
        *("random_bits", "random_fold_in", "random_gamma", "random_seed", "random_split", "random_unwrap"),
        *("random_wrap",),
    )
)
"""Operations that XLA's CPU compiler was seen to put in one kernel.

They do not include sorts, scatters, callbacks and operations that a library computes (linear algebra, Fourier
transforms). They do not include convolutions either, which are slow in a kernel.
"""

CompilerOptions = dict[str, str | int]


LOOP_TO_KERNEL = "small-while-loop-hoisting"
"""XLA's pass that compiles a loop with little memory traffic as one kernel. It is left out.

With jax 0.12 the pass also compiles the loop over a device's blocks, and its code generator rounds differently. A
device with one block has no such loop, so the bits of a trial would depend on the number of trials. Without the pass
every block runs the same kernels, alone or in a loop. The large kernel also takes three times as long to compile.
"""


@functools.cache
def cpu_options(*, small: bool) -> CompilerOptions:
    """Returns compiler options for programs of many trials on a CPU: those that this jaxlib knows.

    They replace `--xla_disable_hlo_passes` in the user's XLA_FLAGS.

    Args:
      small: whether a trial's arrays are small, with the trials on the last axis.
    """
    wanted: CompilerOptions = {"xla_disable_hlo_passes": LOOP_TO_KERNEL}
    if small:
        # The trials are spread over devices already; to split each small loop over threads would only cost time.
        wanted["xla_disable_hlo_passes"] = f"cpu-parallel-task-assigner,{LOOP_TO_KERNEL}"
        # Keep small reductions in XLA's own vectorised loops instead of calls into a library.
        wanted["xla_cpu_experimental_ynn_fusion_type"] = ""
        if has_avx512():
            wanted["xla_cpu_prefer_vector_width"] = 512  # the default is 256
    return {name: value for name, value in wanted.items() if understood(name, value)}


@functools.cache
def gpu_options() -> CompilerOptions:
    """Returns compiler options for several programs compiled as one on a GPU: those that this jaxlib knows.

    They make the program a graph in which independent parts run at the same time.
    """
    wanted: CompilerOptions = {
        "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION",
        "xla_gpu_graph_min_graph_size": 1,
        "xla_gpu_command_buffer_scheduling_mode": "CONCURRENT",
    }
    return {name: value for name, value in wanted.items() if understood(name, value)}


def one_kernel() -> str:
    """Returns PARAMACT_JAX_ONE_KERNEL from the environment, by default "1"; "0" stands for no kernels."""
    return os.environ.get("PARAMACT_JAX_ONE_KERNEL", "1")


def loops_as_kernels(program: Program) -> Callable[..., Any]:
    """Returns the function of a program in which a CPU carries out each loop, with everything in it, as one kernel.

    A kernel's state stays in the first-level caches. A loop that cannot be one kernel stays as it is, see
    `not_in_kernels`; the loops inside it become kernels if they can. A loop inside an operation that `replace` does not
    enter stays too, such as one in a linear solver. With PARAMACT_JAX_ONE_KERNEL=0 in the environment there are no
    kernels.
    """
    if one_kernel() == "0":
        return program

    def which(operation: Operation) -> Callable[..., Any] | None:
        entered = all(name_of(outer) in ENTERED for outer in operation.within)
        if operation.name not in LOOPS or not entered or not_in_kernels(operation.equation):
            return None
        return _one_kernel(lambda *inputs: apply(operation.equation.primitive, operation.equation.params, inputs))

    return replace(program, which)


def not_in_kernels(equation: Any) -> str | None:
    """Returns the first operation that keeps a loop from being one kernel of XLA's CPU compiler; None: it can be."""
    for program in programs_of(equation):
        for operation in walk(program):
            if operation.name not in _IN_KERNELS:
                return operation.name
    return None


def _one_kernel(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a function of arrays so that it is compiled as one kernel.

    The request is an attribute that XLA's CPU compiler gives its own small calls. A compiler that does not know the
    attribute ignores it, and the program runs as it would without it.
    """
    inner = jax.jit(lambda *inputs: (fn(*inputs), _touch(inputs)), inline=False)

    def call(*inputs: Any) -> list[Any]:
        with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
            outputs, touched = inner(*inputs)
        # XLA aborts the process on an argument of such a kernel that it finds unused. So each result depends on all
        # arguments, through a comparison that never holds.
        return [jnp.where(touched > jnp.inf, jnp.zeros_like(x), x) for x in outputs]

    return call


def _touch(inputs: Any) -> jax.Array:
    """Returns a number that depends on every array that is not empty."""
    numbers = [jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in inputs]
    firsts = [jnp.ravel(x)[0].astype(jnp.float32) for x in numbers if x.size]
    return jnp.stack(firsts).sum() if firsts else jnp.zeros(())


def understood(name: str, value: Any) -> bool:
    """Returns whether this jaxlib's compiler knows an option."""
    program = jax.jit(lambda x: x + 1, compiler_options={name: value})
    try:
        program.lower(jax.ShapeDtypeStruct((), jnp.float32)).compile()
    except Exception as error:  # jaxlib's error type for an unknown option is not public
        if name in str(error):
            return False
        raise
    return True


def has_avx512() -> bool:
    """Returns whether this machine's processor has AVX-512; False if that cannot be read."""
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
