"""Turns a function of one trial into one compiled program for all trials."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from paramact_jax.programs.program import Program, trace
from paramact_jax.programs.trials_last import trials_last
from paramact_jax.sweeps.compiler import cpu_options, gpu_options, loops_as_kernels
from paramact_jax.sweeps.devices import TRIALS, check_mesh, usable_cores
from paramact_jax.sweeps.distributed import begin_fetching, fetch, put
from paramact_jax.sweeps.forms import FORMS, Form
from paramact_jax.sweeps.kernels import LoopKernels, Target, target_of


class OverTrials:
    """A function `fn(trial, shared)` of one trial, as a compiled function of all trials.

    A block of trials is carried out in one of the forms of `Form`. A loop runs over a device's blocks; on an
    accelerator `jax.vmap` does, or one kernel for each loop, see `sweeps.kernels`. `jax.shard_map` runs over the
    devices. Every block has the same shape, the last one padded, and runs the same machine code: on one kind of CPU a
    trial's result is bit for bit the same for any number of trials or devices. Forms are rounded differently, since
    each code generator fuses other products and sums into one operation. So compare bits only within one form.

    Between `place` and `collect` the arrays of all trials are in blocks of shape (blocks, ..., block), with the trials
    on the last axis, where small arrays are fast. For kernels of an accelerator there is one block for each device.
    The blocks are dealt to the devices in turn, so that each device has equally many, even of few blocks. Results of
    one OverTrials can be arguments of the next if its blocks are equally large.

    Args:
      fn: pure function of one trial's tree of arrays and a tree shared by all trials.
      form: how a block is carried out; `choose` finds the fastest form. By default batched, by `jax.vmap`.
      mesh: mesh of one axis over the devices to use, by default over all devices of the default backend.
      donate: whether the results replace the blocks in memory, so that the blocks can no longer be used. Results are
        then of the same kind as the blocks, and blocks that are not computed stay as they are.
      first: number of the device that gets the first block.

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
        donate: bool = False,
        first: int = 0,
    ) -> None:
        self.mesh = check_mesh(mesh)
        self.form = form
        self._first = first
        self._target = target = target_of(self.mesh) if form.kernel else None
        on_cpu = self.mesh.devices.flat[0].platform == "cpu" and target is None
        kernel = form.kernel and on_cpu
        of_block = _of_block(fn, form, on_cpu, target)
        # inline: traced once, for the shapes of its results and for itself
        traced = jax.jit(of_block, inline=True)

        def of_device(blocks: Any, shared: Any, trials: jax.Array) -> Any:
            if target is not None:  # there is one block
                made = traced(jax.tree.map(lambda x: x[0], blocks), shared)
                return jax.tree.map(lambda x: x[None], made)
            if not on_cpu:
                return jax.vmap(traced, in_axes=(0, None))(blocks, shared)
            here = len(jax.tree.leaves(blocks)[0])
            if kernel and here == 1:  # XLA would simplify a loop over one block, and then abort on the kernel in it
                blocks = jax.tree.map(lambda x: jnp.concatenate([x, x]), blocks)
            made = blocks
            if not donate:
                one = jax.eval_shape(traced, jax.tree.map(lambda x: x[0], blocks), shared)
                made = jax.tree.map(lambda x: jnp.zeros((max(here, 2) if kernel else here, *x.shape), x.dtype), one)
            before = (jax.lax.axis_index(TRIALS) - first) % self.mesh.size  # devices that get a block earlier
            wanted = -(-trials // form.block) - before  # one in mesh.size of them is here

            def one_more(i: jax.Array, made: Any) -> Any:
                given = made if donate else blocks
                own = traced(jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), given), shared)
                return jax.tree.map(lambda x, block: jax.lax.dynamic_update_index_in_dim(x, block, i, 0), made, own)

            made = jax.lax.fori_loop(0, jnp.clip(-(-wanted // self.mesh.size), 0, here), one_more, made)
            return jax.tree.map(lambda x: x[:here], made)

        self.sharded = jax.shard_map(
            of_device,
            mesh=self.mesh,
            in_specs=(PartitionSpec(TRIALS), PartitionSpec(), PartitionSpec()),
            out_specs=PartitionSpec(TRIALS),
            check_vma=False,
        )
        self._program = _jit(self.sharded, self, donate=donate)

    def __call__(self, blocks: Any, shared: Any, *, trials: int | None = None) -> Any:
        """Returns the results of all trials, in blocks.

        Args:
          blocks: blocks from `place`, or from another OverTrials.
          shared: a tree from `share`.
          trials: number of trials that are not padding, by default all. Blocks with only padding cost no time on a CPU;
            their results then have no meaning, unless the blocks are donated.
        """
        return self._program(blocks, shared, _count(trials))

    def compile(self, blocks: Any, shared: Any, *, trials: int | None = None) -> Callable[[Any, Any], Any]:
        """Returns this function compiled for arguments of these shapes (arrays or `jax.ShapeDtypeStruct`)."""
        program = self._program.lower(blocks, shared, _count(None)).compile()
        return lambda blocks, shared: program(blocks, shared, _count(trials))

    def memory(self, blocks: Any, shared: Any) -> int:
        """Returns the bytes on each device while the program runs on such arguments, as the compiled program says."""
        return most_memory([[self.lowered(blocks, shared)]])

    def lowered(self, blocks: Any, shared: Any) -> Lowered:
        """Returns the program for arguments of these shapes, before it is compiled."""
        program = self._program.lower(blocks, shared, _count(None))
        return Lowered(program, _size(blocks) // self.mesh.size)

    def blocks_of(self, one: Any, trials: int) -> Any:
        """Returns the shapes of the blocks that `place` makes of this number of trials of these shapes."""
        blocks, block = self._blocks(trials)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((blocks, *x.shape, block), x.dtype, sharding=self._sharding), one
        )

    def place(self, trials: Any, *, room: int = 0) -> Any:
        """Returns trials in blocks on the devices, padded with copies of the last trial.

        Args:
          trials: tree of arrays with a leading axis of trials; with several processes the same in each.
          room: least number of trials to pad to.
        """

        def to_blocks(x: Any) -> jax.Array:
            x = np.asarray(x)
            blocks, block = self._blocks(max(len(x), room))
            missing = blocks * block - len(x)
            filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
            dealt = filled.reshape(blocks // self.mesh.size, self.mesh.size, block, *x.shape[1:]).swapaxes(0, 1)
            dealt = np.roll(dealt, self._first, axis=0)
            return put(np.moveaxis(dealt.reshape(blocks, block, *x.shape[1:]), 1, -1), self._sharding)

        return jax.tree.map(to_blocks, trials)

    def share(self, tree: Any) -> Any:
        """Returns arrays that all trials share, on every device."""
        return share(tree, self.mesh)

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(TRIALS))

    def _blocks(self, trials: int) -> tuple[int, int]:
        """Returns the number of blocks for this number of trials, and the number of trials in each block."""
        if self._target is None:
            return -(-trials // (self.form.block * self.mesh.size)) * self.mesh.size, self.form.block
        return self.mesh.size, -(-trials // (self._target.block * self.mesh.size)) * self._target.block

    @staticmethod
    def collect(blocks: Any, trials: int) -> Any:
        """Returns the first `trials` trials in every process, as NumPy arrays with a leading axis; for `first` 0."""
        begin_fetching(blocks)
        return _fetched(blocks, trials)


class Lowered(NamedTuple):
    """A program before it is compiled, and the bytes of its blocks on each device."""

    program: Any
    bytes_of_blocks: int


def most_memory(calls: Sequence[Sequence[Lowered]]) -> int:
    """Compiles programs, as many at once as there are cores.

    Args:
      calls: the programs of each call, which run one after another.

    Returns:
      Bytes on each device during the call that takes most, as the compiled programs say.
    """
    everything = [lowered for call in calls for lowered in call]
    if len(everything) == 1 or jax.process_count() > 1:
        compiled = [lowered.program.compile() for lowered in everything]
    else:
        with ThreadPoolExecutor(usable_cores()) as pool:
            compiled = list(pool.map(lambda lowered: lowered.program.compile(), everything))
    each = iter(compiled)
    return max(_memory([(next(each), lowered) for lowered in call]) for call in calls)


def _memory(call: Sequence[tuple[Any, Lowered]]) -> int:
    kept, needed = 0, 0
    for compiled, lowered in call:
        used = compiled.memory_analysis()
        if used is None:  # a backend that does not say
            kept += lowered.bytes_of_blocks
        else:
            kept += used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
            needed = max(needed, used.temp_size_in_bytes)
    return int(kept + needed)


def _size(blocks: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(blocks))


class Together:
    """Several functions over trials, each with trials of its own, all with one shared tree.

    On a CPU each function is compiled alone, all at the same time, and each device runs them one after another. The
    first block of each function is on the next device, so that no device has more to do than the others. On an
    accelerator the functions are one compiled program, and on a GPU they run at the same time as far as there is room.

    Args:
      several: the functions, on one mesh, the i-th with `first` i.
      donate: as in `OverTrials`.
    """

    def __init__(self, several: Sequence[OverTrials], *, donate: bool = False) -> None:
        """Takes the functions that run together."""
        self._several = several
        self._alone = len(several) == 1 or several[0].mesh.devices.flat[0].platform == "cpu"

        def all_of_them(blocks: list[Any], shared: Any, trials: list[Any]) -> list[Any]:
            each = zip(several, blocks, trials, strict=True)
            return [over.sharded(own, shared, count) for over, own, count in each]

        self._program = _jit(all_of_them, several[0], donate=donate, together=True)

    def __call__(self, blocks: Sequence[Any], shared: Any, *, trials: Sequence[int]) -> list[Any]:
        """Returns the results of each function, in blocks; `trials` as in `OverTrials`."""
        if self._alone:
            each = zip(self._several, blocks, trials, strict=True)
            return [over(own, shared, trials=count) for over, own, count in each]
        return list(self._program(list(blocks), shared, [_count(n) for n in trials]))

    def lowered(self, blocks: Sequence[Any], shared: Any) -> list[Lowered]:
        """Returns the programs for arguments of these shapes, before they are compiled."""
        if self._alone:
            return [over.lowered(own, shared) for over, own in zip(self._several, blocks, strict=True)]
        program = self._program.lower(list(blocks), shared, [_count(None)] * len(blocks))
        return [Lowered(program, _size(blocks) // self._several[0].mesh.size)]

    def blocks_of(self, ones: Sequence[Any], trials: Sequence[int]) -> list[Any]:
        """Returns the shapes of the blocks that `place` makes of these numbers of trials of these shapes."""
        return [over.blocks_of(one, count) for over, one, count in zip(self._several, ones, trials, strict=True)]

    def place(self, trials: Sequence[Any], *, room: int = 0) -> list[Any]:
        """Returns the trials of each function in blocks, as `OverTrials.place`; `room` counts only for one function."""
        room = room if len(trials) == 1 else 0
        return [over.place(x, room=room) for over, x in zip(self._several, trials, strict=True)]

    @staticmethod
    def collect(blocks: Sequence[Any], trials: Sequence[int]) -> list[Any]:
        """Returns the trials of each function, as `OverTrials.collect`."""
        begin_fetching(blocks)
        return [_fetched(x, count, i) for i, (x, count) in enumerate(zip(blocks, trials, strict=True))]


@functools.lru_cache(maxsize=64)
def together(programs: tuple[Program, ...], forms: tuple[Form, ...], mesh: Mesh, *, donate: bool = False) -> Together:
    """Returns the compiled function of some programs; equal programs get the function that is there already."""
    each = enumerate(zip(programs, forms, strict=True))
    several = [OverTrials(fn, form=form, mesh=mesh, donate=donate, first=i) for i, (fn, form) in each]
    return Together(several, donate=donate)


def _fetched(blocks: Any, trials: int, first: int = 0) -> Any:
    def to_trials(x: Any) -> np.ndarray:
        moved = np.moveaxis(fetch(x), -1, 1)
        blocks, block, *own = moved.shape
        devices = x.sharding.num_devices
        dealt = np.roll(moved.reshape(devices, blocks // devices, block, *own), -first, axis=0).swapaxes(0, 1)
        return dealt.reshape(blocks * block, *own)[:trials]

    return jax.tree.map(to_trials, blocks)


def share(tree: Any, mesh: Mesh) -> Any:
    """Returns arrays that all trials share, on every device of a mesh."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: put(x, sharding), tree)


def _jit(fn: Callable[..., Any], over: OverTrials, *, donate: bool = False, together: bool = False) -> Any:
    """Returns a function of blocks, jitted; the results replace the blocks in memory if they are donated."""
    platform = over.mesh.devices.flat[0].platform
    options = None
    if platform == "cpu":
        options = cpu_options(small=over.form.layout == "last")
    elif platform in ("gpu", "cuda") and together:
        options = gpu_options()
    return jax.jit(fn, compiler_options=options, donate_argnums=0 if donate else ())


def _count(trials: int | None) -> np.int32:
    return np.int32(2**31 - 1 if trials is None else trials)


Function = Callable[[Any, Any], Any]


def _of_block(fn: Function, form: Form, on_cpu: bool, target: Target | None) -> Function:
    """Returns the function of a block of trials, on the last axis of every array."""
    if form.layout == "first":
        return jax.vmap(fn, in_axes=(-1, None), out_axes=-1)
    return _alone(fn) if form.layout == "alone" else _last(fn, form.kernel and on_cpu, on_cpu, target)


def _last(fn: Function, kernel: bool, on_cpu: bool, target: Target | None) -> Function:
    loop = None if target is None else LoopKernels(target)

    def of_block(block: Any, shared: Any) -> Any:
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[:-1], x.dtype), block)
        own = [True] * len(jax.tree.leaves(block)) + [False] * len(jax.tree.leaves(shared))
        program = fn if isinstance(fn, Program) else trace(fn, one, shared)
        many = trials_last(program, own, loop=loop, products_apart=on_cpu)
        return (loops_as_kernels(trace(many, block, shared)) if kernel else many)(block, shared)

    return of_block


def _alone(fn: Function) -> Function:
    """Returns a function that runs one trial after another. `jax.vmap` would turn branches into selections."""

    def of_block(block: Any, shared: Any) -> Any:
        count = jax.tree.leaves(block)[0].shape[-1]
        if count == 1:
            return jax.tree.map(lambda x: x[..., None], fn(jax.tree.map(lambda x: x[..., 0], block), shared))
        first = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), block)
        made = jax.lax.map(lambda trial: fn(trial, shared), first)
        return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), made)

    return of_block
