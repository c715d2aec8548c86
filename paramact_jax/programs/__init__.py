"""A function as a program: traced once for one trial, then read and rewritten. JAX only, no Flax."""

from paramact_jax.programs.program import Operation, Program, trace, walk
from paramact_jax.programs.rewrite import replace, tap
from paramact_jax.programs.trials_last import trials_last

__all__ = ["Operation", "Program", "replace", "tap", "trace", "trials_last", "walk"]
