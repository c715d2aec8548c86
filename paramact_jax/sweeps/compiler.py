"""What XLA's CPU compiler is told about programs of many trials, where it understands it.

The options change speed and rounding, not the mathematics. Each is tried once on a trivial program and left out where
it is unknown.
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

CompilerOptions = dict[str, str | int]


LOOP_TO_KERNEL = "small-while-loop-hoisting"
"""XLA's pass that compiles a loop of little memory traffic as one kernel. It is left out.

With jax 0.12 it takes the loop over a device's blocks too, and its code generator rounds differently. A device with one
block has no such loop, so the bits of a trial would depend on the number of trials. Without the pass every block runs
the same kernels, alone or in a loop. The large kernel also takes three times as long to compile.
"""


@functools.cache
def cpu_options(*, fused: bool) -> CompilerOptions:
    """Returns compiler options for programs of many trials on a CPU: those that this jaxlib knows.

    They take the place of `--xla_disable_hlo_passes` in the user's XLA_FLAGS.

    Args:
      fused: whether the trials are small arrays, see `OverTrials`.
    """
    wanted: CompilerOptions = {"xla_disable_hlo_passes": LOOP_TO_KERNEL}
    if fused:
        # The trials are spread over devices already; splitting each small loop over threads only costs.
        wanted["xla_disable_hlo_passes"] = f"cpu-parallel-task-assigner,{LOOP_TO_KERNEL}"
        # Keep small reductions in XLA's own vectorised loops instead of calls into a library.
        wanted["xla_cpu_experimental_ynn_fusion_type"] = ""
        if has_avx512():
            wanted["xla_cpu_prefer_vector_width"] = 512  # the default is 256
    return {name: value for name, value in wanted.items() if understood(name, value)}


def one_kernel(fn: Callable[..., Any]) -> Callable[..., tuple[Any, jax.Array]]:
    """`fn` compiled on a CPU as one kernel, loops and all, so that its state stays in the first-level caches.

    It asks for this through an attribute that XLA's CPU compiler gives its own small calls. A compiler that does not
    know it ignores it, and the program runs as it would without. PARAMACT_JAX_ONE_KERNEL=0 in the environment does
    not ask.

    Returns:
      A function that returns what `fn` returns and a number that depends on every argument. The number has to reach
      the results of the jitted program: XLA aborts the process on an argument of such a kernel that it found unused.
    """
    inner = jax.jit(lambda *args: (fn(*args), _touch(args)), inline=False)

    def call(*args: Any) -> tuple[Any, jax.Array]:
        if os.environ.get("PARAMACT_JAX_ONE_KERNEL", "1") == "0":
            return inner(*args)
        with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
            return inner(*args)

    return call


def _touch(args: Any) -> jax.Array:
    return jnp.stack([jnp.ravel(leaf)[0].astype(jnp.float32) for leaf in jax.tree.leaves(args)]).sum()


def understood(name: str, value: Any) -> bool:
    """Whether this jaxlib's compiler takes an option."""
    program = jax.jit(lambda x: x + 1, compiler_options={name: value})
    try:
        program.lower(jax.ShapeDtypeStruct((), jnp.float32)).compile()
    except Exception as error:  # jaxlib's error type for an unknown option is not public
        if name in str(error):
            return False
        raise
    return True


def has_avx512() -> bool:
    """Whether this machine's processor has AVX-512; False where it cannot be read."""
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
