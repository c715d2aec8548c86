"""From a function of one trial to one compiled program for all trials."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from paramact_jax.programs.program import Program, trace
from paramact_jax.programs.trials_last import trials_last
from paramact_jax.sweeps.compiler import cpu_options, loops_as_kernels
from paramact_jax.sweeps.devices import TRIALS, check_mesh
from paramact_jax.sweeps.distributed import fetch, put
from paramact_jax.sweeps.forms import FORMS, Form


class OverTrials:
    """`fn(trial, shared)` of one trial, as a compiled function of all trials.

    A block of trials in one of the forms of `Form`; `jax.lax.map` over a device's blocks (on an accelerator: `jax.vmap`
    over them); `jax.shard_map` over the devices. Every block has the same shape, the last one padded, and runs the same
    machine code: on one kind of CPU a trial's result is bit for bit the same whatever the number of trials or devices.
    Forms are rounded differently: each code generator turns other products and sums into one operation. So the bits of
    one form are to be compared with those of the same form.

    Between `place` and `collect` the arrays of all trials are in blocks: shape (blocks, ..., block), trials on the
    last axis, where small arrays are fast. Results of one OverTrials are arguments of the next with as large blocks.

    Args:
      fn: pure function of one trial's tree of arrays and a tree shared by all trials.
      form: how a block is carried out; `choose` finds the fastest. By default batched, by `jax.vmap`.
      mesh: mesh of one axis over the devices to use, by default all of the default backend.

    Examples:
      >>> import jax.numpy as jnp
      >>> scaled = OverTrials(lambda x, factor: x * factor)
      >>> blocks = scaled.place(np.arange(100, dtype=np.float32))
      >>> scaled.collect(scaled(blocks, jnp.float32(2)), 100)[:4].tolist()
      [0.0, 2.0, 4.0, 6.0]
    """

    def __init__(
        self,
        fn: Callable[[Any, Any], Any],
        *,
        form: Form = FORMS["batched"],
        mesh: Mesh | None = None,
    ) -> None:
        self.mesh = check_mesh(mesh)
        self.form = form
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        kernel = form.kernel and on_cpu
        of_block = _OF_BLOCK[form.layout](fn, kernel)
        # inline: traced once, for the shapes of its results and for itself
        traced = jax.jit(of_block, inline=True)

        def of_device(blocks: Any, shared: Any, trials: jax.Array) -> Any:
            if not on_cpu:
                return jax.vmap(traced, in_axes=(0, None))(blocks, shared)
            if kernel:
                return jax.lax.map(lambda block: traced(block, shared), blocks)
            here = len(jax.tree.leaves(blocks)[0])
            first = (jax.lax.axis_index(TRIALS) * here + jnp.arange(here)) * form.block

            def unless_filled_up(numbered: tuple[jax.Array, Any]) -> Any:
                number, own = numbered
                nothing = jax.eval_shape(traced, own, shared)
                return jax.lax.cond(
                    number < trials,
                    lambda: traced(own, shared),
                    lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing),
                )

            return jax.lax.map(unless_filled_up, (first, blocks))

        sharded = jax.shard_map(
            of_device,
            mesh=self.mesh,
            in_specs=(PartitionSpec(TRIALS), PartitionSpec(), PartitionSpec()),
            out_specs=PartitionSpec(TRIALS),
            check_vma=False,
        )
        small = form.layout == "last"
        self._program = jax.jit(sharded, compiler_options=cpu_options(small=small) if on_cpu else None)

    def __call__(self, blocks: Any, shared: Any, *, trials: int | None = None) -> Any:
        """Results of all trials, in blocks.

        Args:
          blocks: as `place` made them, or another OverTrials.
          shared: as `share` made them.
          trials: how many are not mere filling up, by default all. Blocks of nothing else cost no time on a CPU; what
            stands in them then is of no meaning.
        """
        return self._program(blocks, shared, _count(trials))

    def compile(self, blocks: Any, shared: Any, *, trials: int | None = None) -> Callable[[Any, Any], Any]:
        """This function compiled for arguments of these shapes (arrays or `jax.ShapeDtypeStruct`)."""
        program = self._program.lower(blocks, shared, _count(None)).compile()
        return lambda blocks, shared: program(blocks, shared, _count(trials))

    def memory(self, blocks: Any, shared: Any) -> int:
        """Bytes on each device while the program runs on arguments of these shapes, by the compiled program itself."""
        used = self._program.lower(blocks, shared, _count(None)).compile().memory_analysis()
        if used is None:  # a backend that does not tell
            return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(blocks)) // self.mesh.size
        return int(
            used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes - used.alias_size_in_bytes
        )

    def blocks_of(self, one: Any, trials: int) -> Any:
        """Shapes of what `place` makes of so many trials of these shapes."""
        blocks = self._padded(trials) // self.form.block
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((blocks, *x.shape, self.form.block), x.dtype, sharding=self._sharding), one
        )

    def place(self, trials: Any, *, room: int = 0) -> Any:
        """Arrays with a leading axis of trials, in blocks on the devices; padded with copies of the last trial.

        Args:
          trials: tree of arrays; with several processes the same in each.
          room: pad to the blocks of at least so many trials.
        """

        def to_blocks(x: Any) -> jax.Array:
            x = np.asarray(x)
            missing = self._padded(max(len(x), room)) - len(x)
            filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
            blocks = np.moveaxis(filled.reshape(len(filled) // self.form.block, self.form.block, *x.shape[1:]), 1, -1)
            return put(blocks, self._sharding)

        return jax.tree.map(to_blocks, trials)

    def share(self, tree: Any) -> Any:
        """Arrays that all trials share, on every device."""
        sharding = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda x: put(x, sharding), tree)

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(TRIALS))

    def _padded(self, trials: int) -> int:
        return trials + -trials % (self.form.block * self.mesh.size)

    @staticmethod
    def collect(blocks: Any, trials: int) -> Any:
        """The first `trials` trials as NumPy arrays with a leading axis of trials, in every process."""

        def to_trials(x: Any) -> np.ndarray:
            moved = np.moveaxis(fetch(x), -1, 1)
            return moved.reshape(moved.shape[0] * moved.shape[1], *moved.shape[2:])[:trials]

        return jax.tree.map(to_trials, blocks)


@functools.lru_cache(maxsize=64)
def over_trials(program: Program, form: Form, mesh: Mesh) -> OverTrials:
    """Returns the compiled function of a program, the one that there is already for an equal program."""
    return OverTrials(program, form=form, mesh=mesh)


def _count(trials: int | None) -> np.int32:
    return np.int32(2**31 - 1 if trials is None else trials)


Function = Callable[[Any, Any], Any]


def _last(fn: Function, kernel: bool) -> Function:
    """`fn` of a block of trials, all on the last axis of every array."""

    def of_block(block: Any, shared: Any) -> Any:
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[:-1], x.dtype), block)
        own = [True] * len(jax.tree.leaves(block)) + [False] * len(jax.tree.leaves(shared))
        many = trials_last(fn if isinstance(fn, Program) else trace(fn, one, shared), own)
        return (loops_as_kernels(trace(many, block, shared)) if kernel else many)(block, shared)

    return of_block


def _first(fn: Function, kernel: bool) -> Function:
    return jax.vmap(fn, in_axes=(-1, None), out_axes=-1)


def _alone(fn: Function, kernel: bool) -> Function:
    """`fn` of one trial after the other, without `jax.vmap`, which would turn its branches into selections."""

    def of_block(block: Any, shared: Any) -> Any:
        count = jax.tree.leaves(block)[0].shape[-1]
        if count == 1:
            return jax.tree.map(lambda x: x[..., None], fn(jax.tree.map(lambda x: x[..., 0], block), shared))
        first = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), block)
        made = jax.lax.map(lambda trial: fn(trial, shared), first)
        return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), made)

    return of_block


_OF_BLOCK = {"last": _last, "first": _first, "alone": _alone}
