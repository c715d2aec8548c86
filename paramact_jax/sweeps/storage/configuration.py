"""Everything that the results of a sweep depend on, by names that a message can give."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from paramact_jax.programs.identity import Identity
from paramact_jax.programs.program import Program
from paramact_jax.programs.values import checksum, describe_value
from paramact_jax.sweeps.compiler import one_kernel
from paramact_jax.sweeps.devices import processor, usable_cores
from paramact_jax.sweeps.forms import Forms
from paramact_jax.sweeps.grid import Grid

_FORMAT = "3"
_OPTIONS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_threefry_partitionable", "jax_default_prng_impl")


class Configuration(NamedTuple):
    """Everything that the results of a sweep depend on.

    Attributes:
      entries: values by the names that a message gives them; a program's value is its digest.
      programs: identities of the programs by name, for messages only.
    """

    entries: dict[str, str]
    programs: dict[str, Identity]


def identities(programs: Mapping[str, Sequence[Program]], grid: Grid) -> dict[str, Identity]:
    """Returns the identity of each program, by the function's name and the choice of the static settings.

    Args:
      programs: for each function, a program for each choice.
      grid: the trials.
    """
    return {
        f"{function}[{choice.name}]" if choice.name else function: program.identity
        for function, several in programs.items()
        for choice, program in zip(grid.choices, several, strict=True)
    }


def describe_sweep(
    programs: Mapping[str, Identity],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    mesh: Mesh,
    form: Forms,
    chunk: int,
    iterations: int | None = None,
    observe_every: int | None = None,
    stop_every: int | None = None,
    iterations_per_call: int | None = None,
) -> Configuration:
    """Returns the configuration of a sweep that computes its trials with these programs.

    The machine is part of it as far as the last bits of results may depend on it. On accelerators these are the number
    of trials a call and the devices. On CPUs it is the number of threads, over which XLA's library of matrix products
    splits long sums; one kernel with the trials last does not call that library.
    """
    found = {"format": _FORMAT}
    if len(set(form)) == 1:
        found["form"] = str(form)
    else:
        found |= {f"form of [{choice.name}]": str(own) for choice, own in zip(grid.choices, form, strict=True)}
    found |= {"seeds": _seeds(grid.seeds)}
    found |= {f"axes.{name}": describe_value(labels) for name, labels in grid.labels.items()}
    for name, column in grid.points.items():
        found[f"points.{name}"] = describe_value(column.labels)
        if column.present is not None:
            found[f"points.{name} there"] = describe_value(column.present)
    for name, value in settings.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(value):
            found[f"settings.{name}{jax.tree_util.keystr(path)}"] = describe_value(leaf)
    steps = {
        "iterations": iterations,
        "observe_every": observe_every,
        "stop_every": stop_every,
        "iterations_per_call": iterations_per_call,
    }
    found |= {name: str(number) for name, number in steps.items() if number is not None}
    found |= {"jax": jax.__version__, "jaxlib": importlib.metadata.version("jaxlib")}
    found |= {name: str(getattr(jax.config, name)) for name in _OPTIONS}
    found |= _machine(mesh, form, chunk)
    found |= {name: f"sha256:{program.digest}" for name, program in programs.items()}
    return Configuration(found, dict(programs))


def describe_values(arrays: Mapping[str, np.ndarray], which: np.ndarray) -> str:
    """Returns a text that differs for different arrays, where only trials that are not in `which` count."""
    content = [f"{name}:{x.dtype}{x.shape}".encode() + x[~which].tobytes() for name, x in sorted(arrays.items())]
    return f"{int((~which).sum())} trials, {checksum(b''.join([which.tobytes(), *content]))}"


def _machine(mesh: Mesh, form: Forms, chunk: int) -> dict[str, str]:
    device = mesh.devices.flat[0]
    flags = (flag for flag in os.environ.get("XLA_FLAGS", "").split() if "host_platform_device_count" not in flag)
    found = {"platform": device.platform, "XLA_FLAGS": " ".join(sorted(flags))}
    if device.platform != "cpu":
        return found | {"device": device.device_kind, "devices": str(mesh.size), "chunk": str(chunk)}
    found["processor"] = processor()  # XLA generates code for it
    if any(own.kernel for own in form):
        found["one kernel"] = one_kernel()
    if not form.kernel:
        found["threads"] = str(max(usable_cores(), jax.local_device_count()))
    return found


def _seeds(seeds: np.ndarray) -> str:
    first, last = int(seeds[0]), int(seeds[-1])
    if np.array_equal(seeds, np.arange(first, first + len(seeds))):
        return f"{first}..{last}"
    if len(seeds) <= 8:
        return ", ".join(map(str, seeds.tolist()))
    return f"{len(seeds)} from {first} to {last}, {checksum(np.ascontiguousarray(seeds).tobytes())}"
