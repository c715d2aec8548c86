"""`bench xor10`: this project, an independent C program, the usual way in JAX, and PyTorch.

All train the same trials from the same initial params under the recovered protocol, on the same cores.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.bench import contest
from experiments.bench import yardstick as yardsticks
from experiments.bench.contest import CHECKED, Contestant, Measurement, Race, Unit
from experiments.problems.xor10.protocol import ACTIVATIONS, HIDDEN_LAYERS, LOSS_SCALE, PROTOCOLS, WIDTH, Protocol
from experiments.study.imports import at_once
from experiments.study.options import DISTINCT, Seeds, Steps, one_of, seeds_of
from experiments.study.tables import Table

if TYPE_CHECKING or at_once(__name__):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from experiments.problems.xor10.train import settings_for, settings_of, training
    from paramact_jax.activations import Activation, catalogue
    from paramact_jax.datasets import xor
    from paramact_jax.networks import MLP, Params
    from paramact_jax.programs.program import shapes_of, trace
    from paramact_jax.sweeps import OverTrials, trial_key
    from paramact_jax.sweeps.devices import TRIALS, trial_mesh
    from paramact_jax.sweeps.forms import choose
    from paramact_jax.training import start

TOLERANCE = 1e-3
"""Relative difference up to which two losses are the same."""
FORKED = 0.1
"""Share of trials that may differ by more. Deep networks with steep activations amplify rounding, which makes up to 5 %
differ. Another learning rate, loss or number of iterations makes at least a third differ."""
SHORTER = 5
"""The usual way, which is several times slower, runs this many times fewer iterations to last about as long."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchXor10(Measurement):
    """Time one iteration of 1,024 XOR(10) trials: this project, and other ways to train the same trials.

    The usual way in JAX (vmap of a Flax model, optax, scan), a loop in PyTorch if it is installed, and the yardstick,
    an independent C program, if its path is given. About 2 minutes on 2 cores; writes nothing but the JSON asked
    for. Example: python -m experiments bench xor10 --json bench.json
    """

    yardstick: Path | None = None
    """Directory of the yardstick, with xor10.py and xor10.c; needs gcc."""
    pytorch: bool = True
    """Whether to time PyTorch, if it is installed."""
    activations: Annotated[tuple[str, ...], one_of(*ACTIVATIONS), DISTINCT] = ACTIVATIONS
    """Names of the activations, some of [P, Table 5]; the totals are their sums."""
    seeds: Seeds = 1_024
    """Trials of each activation; a multiple of 16 and of the number of CPU devices."""
    steps: Steps = 1_000
    """Iterations of a run; the usual way's are a fifth, PyTorch's fewer."""

    def load(self) -> Protocol:
        """Returns the conditions; refuses a number of seeds that cannot be divided, and a missing yardstick."""
        multiple = math.lcm(yardsticks.LANES, len(jax.devices("cpu")))
        if self.seeds % multiple:
            raise ValueError(f"--seeds: expected a multiple of {multiple}, got {self.seeds}")
        if self.yardstick is not None:
            yardsticks.check_yardstick(self.yardstick)
        return dataclasses.replace(PROTOCOLS["recovered"], seeds=self.seeds, activations=self.activations)

    def measure(self, data: Protocol) -> tuple[dict[str, Any], list[Table]]:
        """Measures activation by activation; this project is the first contestant."""
        devices = jax.devices("cpu")
        skipped = {
            "yardstick": None if self.yardstick else "not given (--yardstick)",
            "usual_sharded": contest.only_one(devices),
            "pytorch": contest.without_pytorch(asked_for=self.pytorch),
        }
        unit = Unit(
            "microseconds",
            f"XOR(10): microseconds for one iteration of {self.seeds:,} trials",
            ["project / yardstick", "usual / project", "usual_sharded / project", "pytorch / project"],
            lambda x: x * self.seeds,
            [
                ("ratio to the yardstick <= 1.0", ["project / yardstick"], lambda x: x <= 1),
                ("usual way at least 5x slower", ["usual / project"], lambda x: x >= 5),
            ],
        )

        def races() -> Iterator[Race]:
            given = None if self.yardstick is None else yardsticks.load(self.yardstick, threads=len(devices))
            for name in self.activations:
                contest.say(f"compiling {name}")
                record, rows = catalogue.get(name), None
                if given is None:
                    params = initial_params(record, data)
                else:
                    std = {"weight_std": data.weight_std, "bias_std": data.bias_std}
                    rows = given.module.initial(name, data.seeds, seed=data.first_seed, **std)
                    params = yardsticks.to_params(rows, parametric=bool(record.params))
                found = [project(record, params, data, self.steps, devices)]
                if given is not None and rows is not None:
                    found.append(yardsticks.contestant(given, name, rows, data, self.steps, threads=len(devices)))
                for own in [devices] if len(devices) == 1 else [devices[:1], devices]:
                    found.append(usual(record, params, data, max(self.steps // SHORTER, CHECKED + 1), own))
                if not skipped["pytorch"]:
                    found.append(contest.pytorch().on_xor(record, params, data))
                yield name, unit, found

        parameters = {"iterations_a_run": self.steps, **dataclasses.asdict(data)}
        return contest.hold(races(), self.rounds, differ=differ, skipped=skipped, parameters=parameters)


def differ(own: np.ndarray, others: np.ndarray) -> bool:
    """Returns whether losses by trial, some of which may have forked, are those of different networks."""
    apart = ~np.isclose(own, others[: len(own)], rtol=TOLERANCE, atol=0, equal_nan=True)
    return bool(apart.sum() > max(1, FORKED * len(own)))


def initial_params(record: Activation, protocol: Protocol) -> Params:
    """Draws the initial params of all trials under an activation: NumPy arrays with a leading axis of trials."""
    given, init = settings_for(protocol, record), training(record).init
    draw = jax.vmap(lambda seed: init(trial_key(seed), given["std"], given["starts"])["now"].params)
    return jax.device_get(jax.jit(draw)(np.asarray(seeds_of(protocol), np.uint32)))


def program(record: Activation, params: Params, mesh: Mesh | None = None) -> tuple[OverTrials, dict[str, Any]]:
    """Returns the repeated step of an activation's training, in the form that a sweep chooses, and its first states.

    The step is a function of states and (settings, steps). States are in blocks, params have a leading axis of trials.
    """
    mesh = trial_mesh() if mesh is None else mesh
    step: Callable[..., Any] = training(record).step

    def advance(state: Any, shared: tuple[Any, jax.Array]) -> Any:
        return jax.lax.fori_loop(0, shared[1], lambda _, state: step(state, shared[0]), state)

    states = {"now": jax.vmap(start)(params)}
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states)
    traced = trace(advance, one, shapes_of((settings_of(PROTOCOLS["recovered"]), np.int32(0))))
    over = OverTrials(traced, form=choose([traced], mesh.devices.flat[0].platform), mesh=mesh)
    return over, over.place(states)


def project(
    record: Activation, params: Params, protocol: Protocol, iterations: int, devices: Sequence[jax.Device]
) -> Contestant:
    """Compiles this project's contestant: the program of the sweep of `xor10`, called as the sweep calls it."""
    settings, trials = settings_of(protocol), len(params["out"]["bias"])

    def build() -> Callable[[int], Any]:
        over, states = program(record, params, trial_mesh(list(devices)))
        advance = over.compile(states, (settings, np.int32(0)))
        return lambda steps: advance(states, (settings, np.int32(steps)))

    def losses(after: Callable[[int], Any]) -> np.ndarray:
        return OverTrials.collect(after(CHECKED + 1)["now"].loss, trials)  # an update records the loss it started from

    what = f"the sweep's program on {len(devices)} CPU devices, watching convergence"
    return contest.compiled("project", what, build, losses, trials, iterations)


def usual(
    record: Activation, params: Params, protocol: Protocol, iterations: int, devices: Sequence[jax.Device]
) -> Contestant:
    """Compiles the usual way: `jax.vmap` over trials of a Flax model, optax, `jax.lax.scan`, default compiler options.

    Params of activations have the learning rate of the weights, as in the recovered protocol. The trials are sharded
    over the devices, whose number must divide that of the trials. There must be more iterations than `CHECKED`.
    """
    inputs, targets = map(jnp.asarray, xor())
    graphdef, initial = nnx.split(MLP(2, [WIDTH] * HIDDEN_LAYERS, 1, record, rngs=nnx.Rngs(0)))
    nnx.replace_by_pure_dict(initial, params)
    initial = jax.device_put(initial, NamedSharding(trial_mesh(list(devices)), PartitionSpec(TRIALS)))
    optimiser, scale = optax.sgd(protocol.learning_rate), LOSS_SCALE[protocol.loss]

    def objective(state: Any) -> jax.Array:
        outputs = nnx.merge(graphdef, state)(inputs)
        return scale * jnp.mean((outputs - targets) ** 2)

    def update(carry: Any, _: None) -> tuple[Any, jax.Array]:
        state, moments = carry
        loss, gradient = jax.value_and_grad(objective)(state)
        updates, moments = optimiser.update(gradient, moments, state)
        return (optax.apply_updates(state, updates), moments), loss / scale

    def train_one(state: Any) -> tuple[Any, jax.Array]:
        (state, _), losses = jax.lax.scan(update, (state, optimiser.init(state)), length=iterations)
        return state, losses

    def build() -> Callable[[int], Any]:
        whole = jax.jit(jax.vmap(train_one)).lower(initial).compile()
        return lambda _: whole(initial)

    def losses(after: Callable[[int], Any]) -> np.ndarray:
        return np.asarray(after(iterations)[1])[:, CHECKED]

    name, what = "usual", "jax.vmap of the Flax model, optax.sgd, jax.lax.scan, as it is usually written"
    if len(devices) > 1:
        name, what = "usual_sharded", f"the same with the trials sharded over {len(devices)} devices"
    return contest.compiled(name, what, build, losses, len(params["out"]["bias"]), iterations)
