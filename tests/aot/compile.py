"""Compiles programs of this project for a GPU or TPU that is not there: `python -m tests.aot.compile h100 [NAME ...]`.

Prints one line of JSON for each program: how long it took, and what was made of it. It needs the extra `aot`.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from experiments.problems.cnn import protocol as cnn_protocol
from experiments.problems.cnn.train import classifier as convolutional
from experiments.problems.cnn.train import conditions
from experiments.problems.mnist import protocol as mnist_protocol
from experiments.problems.mnist.train import classifier, rates_of
from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.problems.xor10.train import one_trial, together
from paramact_jax.programs.program import shapes_of
from paramact_jax.sweeps import long
from paramact_jax.sweeps.arguments import as_arrays
from paramact_jax.sweeps.devices import trial_mesh
from paramact_jax.sweeps.engine import Options
from paramact_jax.sweeps.grid import make_grid
from paramact_jax.sweeps.iterations import repeated, trace_training
from paramact_jax.sweeps.sweep import programs_of
from paramact_jax.sweeps.trials import together as compiled_together
from tests.sweeps.kernel_programs import ACTIVATIONS, KINDS, OPTIMISERS

H100 = (Path(__file__).parent / "h100.txtpb").read_text()


def mesh_of(kind):
    """One device of a kind, to compile for."""
    if kind == "tpu":
        found = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    else:
        from jax._src.pallas.triton import gpu_info

        # Pallas asks which GPU is there
        gpu_info.get_gpu_info = lambda *_, **__: gpu_info._get_gpu_info_impl(gpu_info.GpuVersion.H100)
        found = topologies.get_topology_desc(
            platform="cuda", topology_name="1x1x1", target_config=H100, topology="1 x 1 x 1"
        )
    return trial_mesh(found.devices[:1])


def shared_on(mesh, tree):
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=whole), tree)


def options_of(mesh, grid, *, block=None, fused=None):
    nothing = dict.fromkeys(("chunk", "directory", "on_plan", "on_progress"))
    return Options.of(grid, mesh=mesh, block=block, fused=fused, **nothing)


def of_sweep(mesh, train_one, trials, axes, settings, *, fused=None):
    """The one call of a `sweep`."""
    grid, shared = make_grid(axes, range(trials)), as_arrays(settings)
    programs = programs_of(train_one, grid, shared)
    form = options_of(mesh, grid, fused=fused).forms(programs)
    over = compiled_together(programs, tuple(form), mesh)
    blocks = over.blocks_of([grid.one()] * len(programs), [trials] * len(programs))
    return form, [("all", lower(over, mesh, blocks, shared))]


def lower(over, mesh, blocks, shared):
    return over._program.lower(blocks, shared_on(mesh, shared), shared_on(mesh, [np.int32(1)] * len(blocks)))


def of_long_sweep(mesh, training, trials, axes, settings, *, iterations, per_call, block=None):
    """The calls of a `long_sweep` that make its iterations, each kind once."""
    grid, shared = make_grid(axes, range(trials)), as_arrays(settings)
    functions = {name: getattr(training, name) for name in ("init", "step", "summarise")}
    traced = [trace_training(functions, grid.one(), shapes_of(shared), x.settings) for x in grid.choices]
    form = options_of(mesh, grid, block=block).forms([repeated(x["step"], grid.one(), shared) for x in traced])
    programs = long._Programs(traced, grid, shared, form, mesh, {}, {}, [], iterations, per_call)
    ((choices, counts),) = grid.of_calls([range(grid.trials)], grid.trials)
    found, begin = {}, 0
    for end, over in programs._calls(choices, 0, per_call):
        blocks = over.blocks_of(
            [{"state": traced[i]["init"].outputs, "axes": grid.one()["axes"]} for i in choices], counts
        )
        name = f"stretch of {end - begin}"
        if over is programs._advance(choices):
            name = "whole" if form.kernel else "with conditionals"
        found.setdefault(name, lower(over, mesh, blocks, (shared, np.int32(0), np.int32(0))))
        begin = end
    return form, list(found.items())


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def images(train, test, *pixels):
    return {
        "train_images": zeros(train, *pixels),
        "train_labels": zeros(train, dtype=np.int32),
        "test_images": zeros(test, *pixels),
        "test_labels": zeros(test, dtype=np.int32),
    }


def xor10(mesh):
    train_one, settings = one_trial(PROTOCOLS["recovered"])
    return of_sweep(mesh, train_one, 1000, {"function": list(PROTOCOLS["recovered"].activations)}, settings)


def xor10_in_calls(mesh):
    training, settings = together(PROTOCOLS["recovered"])
    axes = {"function": list(PROTOCOLS["recovered"].activations)}
    return of_long_sweep(mesh, training, 1000, axes, settings, iterations=10_000, per_call=10_000)


def mnist(mesh):
    protocol = mnist_protocol.PROTOCOLS["recovered"]
    three = classifier("ppns", protocol, 60_000)
    settings = {"data": images(60_000, 10_000, 784), **rates_of(protocol)}
    return of_long_sweep(mesh, three, 8, {}, settings, iterations=protocol.steps, per_call=100, block=1)


def cnn(mesh):
    combination, protocol = cnn_protocol.COMBINATIONS[0], cnn_protocol.Protocol()
    training = convolutional(combination, protocol)
    side = cnn_protocol.IMAGE_SIDE
    data = images(protocol.training_images, 10_000, side, side)
    settings = {"data": data, **conditions(protocol)}
    return of_long_sweep(mesh, training, 3, {}, settings, iterations=protocol.steps, per_call=250, block=1)


def battery(train_one):
    return lambda mesh: of_sweep(mesh, train_one, 130, {}, {}, fused=True)


PROGRAMS = {"xor10": xor10, "xor10 in calls": xor10_in_calls, "mnist": mnist, "cnn": cnn}
PROGRAMS |= {f"kernel of {fn.__name__}": battery(fn) for fn in (*KINDS, *OPTIMISERS, *ACTIVATIONS)}


LAUNCHED = {
    *("fusion", "copy", "custom-call", "dot", "convolution", "reduce", "sort", "scatter", "while", "conditional"),
}
"""Instructions that are a launch of their own, or several."""


def about(text):
    """What a compiled program is made of."""
    computations = dict(re.findall(r"^(?:ENTRY )?%?([\w.\-]+) \([^\n]*\{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE))
    opcode = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (?:\([^=]*?\)|\S+) ([\w\-]+)\(", re.MULTILINE)
    bodies = [computations.get(name, "") for name in re.findall(r"body=%?([\w.\-]+)", text)]
    launches = [sum(name in LAUNCHED for name in opcode.findall(body)) for body in bodies]
    products = [line for line in text.splitlines() if re.search(r" (dot|convolution)\(", line)]
    return {
        "kernels": len(re.findall(r'custom_call_target="(?:mosaic_gpu|tpu_custom_call)[^"]*"', text)),
        "loops": len(bodies),
        "loops_of_known_length": text.count("known_trip_count"),
        "conditionals": len(re.findall(r" conditional\(", text)),
        "launches_an_iteration": max(launches, default=0),
        "float64": "f64[" in text,
        "products": len(products),
        "rounded_products": sum("operand_precision={highest,highest}" not in line for line in products),
    }


def main(kind, *names):
    jax.config.update("jax_default_matmul_precision", "highest")
    mesh = mesh_of(kind)
    for name in names or PROGRAMS:
        begin = time.perf_counter()
        with jax.numpy_rank_promotion("allow"):
            form, lowered = PROGRAMS[name](mesh)
        for part, program in lowered:
            compiled = program.compile()
            found = {"name": name, "part": part, "form": str(form), "seconds": round(time.perf_counter() - begin, 2)}
            print(json.dumps(found | about(compiled.as_text())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
