"""A function as a program: traced once for one trial, then read and rewritten. JAX only, no Flax."""

from paramact_jax.programs.program import Operation, Program, trace, walk
from paramact_jax.programs.rewrite import Instead, replace, tap
from paramact_jax.programs.site import Site
from paramact_jax.programs.sites import sites
from paramact_jax.programs.trials_last import trials_last

__all__ = ["Instead", "Operation", "Program", "Site", "replace", "sites", "tap", "trace", "trials_last", "walk"]
