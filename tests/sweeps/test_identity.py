"""A directory is resumed by the same program only: ways in which calls differ and none is overlooked."""

import contextlib
import functools
import os
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from paramact_jax.sweeps import Training, long_sweep, sweep
from paramact_jax.sweeps.devices import trial_mesh

pytestmark = pytest.mark.usefixtures("unoptimised")

ROOT = Path(__file__).parents[2]
RATE, TABLE = 0.1, np.array([1.0, 2.0], np.float32)
ONES = np.ones(2, np.float32)
JAX_ONES = jnp.asarray(ONES)
mylib = types.ModuleType("mylib")
mylib.f = lambda x: 2 * x


def never(*_):
    raise AssertionError("nothing should run")


@contextlib.contextmanager
def changed(owner, name, value):
    with pytest.MonkeyPatch.context() as patch:
        (patch.setitem if isinstance(owner, dict) else patch.setattr)(owner, name, value)
        yield


def draw(key, x=1.0, y=1.0):
    return 2 * x * jax.random.normal(key, (2,)) + y


def trained(optimiser, steps=3):
    """A small training with what an optimiser closes over."""

    def train_one(key):
        params = {"w": jax.random.normal(key, (2,)), "b": jnp.zeros(2)}
        loss = lambda p: jnp.sum((p["w"] * TABLE + p["b"] - 1) ** 2)  # noqa: E731

        def step(_, carried):
            params, state = carried
            updates, state = optimiser.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, steps, step, (params, optimiser.init(params)))[0]

    return {"train_one": train_one}


def adam(peak):
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, peak, 2, 10))


def partitioned(inner):
    return optax.partition({"fast": optax.sgd(0.1), "slow": optax.sgd(inner)}, {"w": "fast", "b": "slow"})


class Network(nnx.Module):
    def __init__(self, activation, dropout, rngs):
        self.layer, self.activation = nnx.Linear(2, 2, rngs=rngs), activation
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.activation(self.layer(x)))


def network(activation=nnx.relu, dropout=0.1):
    return {"train_one": lambda key: Network(activation, dropout, nnx.Rngs(key))(jnp.ones(2))}


class Trainer:
    def __init__(self, rate):
        self.rate = rate

    def train(self, key):
        return self.rate * jax.random.normal(key)


def decay(_, w):
    """The body of a loop, which JAX traces once and keeps."""
    return w - RATE * w


@jax.jit
def decayed(w):
    """As the body of a loop."""
    return w - RATE * w


LOOP = {"train_one": lambda key: jax.lax.fori_loop(0, 3, decay, jax.random.normal(key))}
JITTED = {"train_one": lambda key: decayed(jax.random.normal(key))}
DRAW = {"train_one": draw}


def called_back(function):
    """On one device, and with NumPy only, since JAX may wait for ever for what it computes within a callback."""

    def train_one(key):
        x = jax.random.normal(key)
        return jax.pure_callback(lambda x: function(np.asarray(x)), x, x, vmap_method="sequential")

    return {"train_one": train_one, "mesh": trial_mesh(jax.devices()[:1])}


def times(factor):
    return lambda x: np.float32(factor) * x


def vmapped(factor):
    """Where a trial's own program is the same, and how it is done for many is not."""
    function = jax.custom_batching.custom_vmap(lambda x: x)
    function.def_vmap(lambda size, batched, x: (factor * x, batched[0]))
    return {"train_one": lambda key: function(jax.random.normal(key))}


def where(swapped):
    def train_one(key):
        x = jax.random.normal(key)
        return jnp.where(x > 0, x, 0) if swapped else jnp.where(x > 0, 0, x)

    return {"train_one": train_one}


def closing(x):
    return {"train_one": lambda key: jax.random.normal(key, (2,)) + x}


def listed(factor):
    functions = [lambda x: x + 1, lambda x: x * factor]
    return {"train_one": lambda key: functools.reduce(lambda x, f: f(x), functions, jax.random.normal(key))}


def defaulted(factor):
    def train_one(key, factor=factor):
        return factor * jax.random.normal(key)

    return {"train_one": train_one}


def both(key, x, y):
    return jax.random.normal(key) * x - y


def with_trees(key, pair):
    return jax.random.normal(key) * pair["x"] - pair["y"]


PRIVATE = Trainer(0.1)
CALLS = [
    ("peak of a schedule", trained(adam(0.1)), trained(adam(0.2)), "train_one: operation"),
    (
        "clip in a chain",
        trained(optax.chain(optax.clip(1.0), optax.sgd(0.1))),
        trained(optax.chain(optax.clip(2.0), optax.sgd(0.1))),
        "`jit`: -1.0 1.0 stored, -2.0 2.0 now",
    ),
    ("rate in a partition", trained(partitioned(0.1)), trained(partitioned(0.3)), "-?0.1 stored, -?0.3 now"),
    ("momentum", trained(optax.sgd(0.1, 0.9)), trained(optax.sgd(0.1, 0.8)), "0.9 stored, 0.8 now"),
    ("optimiser", trained(optax.sgd(0.1)), trained(optax.adam(0.1)), "train_one: "),
    ("steps of a scan", trained(optax.sgd(0.1)), trained(optax.sgd(0.1), 4), "length=3 stored, length=4 now"),
    ("activation", network(), network(nnx.tanh), "train_one: operation"),
    ("dropout", network(), network(dropout=0.2), r"0.9\d* stored, 0.8\d* now"),
    (
        "callback",
        called_back(times(2)),
        called_back(times(3)),
        r"train_one: operation \d+ of \d+, `pure_callback`: callback=",
    ),
    ("rule of vmap", vmapped(2), vmapped(3), "train_one: operation"),
    ("branch", where(False), where(True), "train_one: operation"),
    ("closure", closing(2.0), closing(3.0), "2.0 stored, 3.0 now"),
    (
        "array",
        closing(np.array([1, 2], np.float32)),
        closing(np.array([1, 3], np.float32)),
        r"float32_\[1.0,2.0\] stored, float32_\[1.0,3.0\] now",
    ),
    ("jax array", closing(jnp.arange(2.0)), closing(jnp.arange(1, 3.0)), r"\[0.0,1.0\] stored, float32_\[1.0,2.0\]"),
    ("dtype of an array", closing(np.ones(2, np.int32)), closing(np.ones(2, np.int8)), "train_one: operation"),
    ("list of functions", listed(2), listed(3), "2.0 stored, 3.0 now"),
    ("default", defaulted(2), defaulted(3), "2.0 stored, 3.0 now"),
    (
        "partial",
        {"train_one": functools.partial(draw, y=2.0)},
        {"train_one": functools.partial(draw, y=3.0)},
        "2.0 stored, 3.0 now",
    ),
    ("method", {"train_one": Trainer(0.1).train}, {"train_one": Trainer(0.2).train}, "0.1 stored, 0.2 now"),
    (
        "names of results",
        {"train_one": lambda key: {"a": jax.random.normal(key)}},
        {"train_one": lambda key: {"a_": jax.random.normal(key)}},
        "`output a v\\d+` stored, `output a_ v\\d+` now",
    ),
    ("seeds", DRAW, DRAW | {"seeds": range(4)}, r"differs in seeds: 0\.\.2 stored, 0\.\.3 now\. Make"),
    (
        "values of axes",
        DRAW | {"axes": {"x": [1.0, 2.0]}},
        DRAW | {"axes": {"x": [1.0, 3.0]}},
        r"axes.x: float64 \[1.0, 2.0\] stored, float64 \[1.0, 3.0\] now\. Make",
    ),
    ("name of an axis", DRAW | {"axes": {"x": [1.0]}}, DRAW | {"axes": {"y": [1.0]}}, "axes.x: .* axes.y: "),
    ("setting", DRAW | {"x": 1.0}, DRAW | {"x": 2.0}, r"settings.x: float32 1.0 stored, float32 2.0 now\. Make"),
    ("dtype of a setting", DRAW | {"x": 1.0}, DRAW | {"x": 1}, "settings.x: float32 1.0 stored, int32 1 now"),
    (
        "settings swapped",
        {"train_one": both, "x": 1.0, "y": 2.0},
        {"train_one": both, "x": 2.0, "y": 1.0},
        "settings.x",
    ),
    (
        "leaves swapped",
        {"train_one": with_trees, "pair": {"x": 1.0, "y": 2.0}},
        {
            "train_one": lambda key, pair: with_trees(key, {"x": pair["y"], "y": pair["x"]}),
            "pair": {"x": 1.0, "y": 2.0},
        },
        "train_one: operation",
    ),
    ("fused", DRAW, DRAW | {"fused": False}, "form: one kernel, trials last, blocks of 64 stored, trials last, blocks"),
    ("block", DRAW, DRAW | {"block": 32}, "blocks of 64 stored, .* blocks of 32 now"),
]
PLACES = [
    ("global of a loop's body", LOOP, lambda: changed(globals(), "RATE", 0.2), "`mul`: 0.1 stored, 0.2 now"),
    ("global of a jitted function", JITTED, lambda: changed(globals(), "RATE", 0.2), "`mul`: 0.1 stored, 0.2 now"),
    (
        "array in place",
        {"train_one": lambda key: jax.random.normal(key, (2,)) * TABLE},
        lambda: changed_in_place(TABLE),
        r"\[1.0,2.0\] stored, float32_\[1.0,5.0\] now",
    ),
    ("attribute", {"train_one": PRIVATE.train}, lambda: changed(PRIVATE, "rate", 0.3), "0.1 stored, 0.3 now"),
    (
        "function of a module",
        {"train_one": lambda key: mylib.f(jax.random.normal(key))},
        lambda: changed(mylib, "f", lambda x: 3 * x),
        "2.0 stored, 3.0 now",
    ),
    (
        "function of a module in a callback",
        called_back(lambda x: mylib.f(x) + 0),
        lambda: changed(mylib, "f", lambda x: 3 * x),
        "`pure_callback`: callback=",
    ),
    (
        "generator",
        DRAW,
        lambda: configured("jax_default_prng_impl", "rbg"),
        "jax_default_prng_impl: threefry2x32 stored",
    ),
    (
        "precision",
        DRAW,
        lambda: jax.default_matmul_precision("highest"),
        "jax_default_matmul_precision: None stored, highest now",
    ),
    ("64 bits", DRAW, lambda: jax.enable_x64(True), "jax_enable_x64: False stored, True now"),
    (
        "one kernel",
        {"train_one": lambda key: jax.lax.fori_loop(0, 3, lambda _, w: w / 2, jax.random.normal(key))},
        lambda: mock.patch.dict(os.environ, PARAMACT_JAX_ONE_KERNEL="0"),
        "one kernel: 1 stored, 0 now",
    ),
    (
        "threefry",
        DRAW,
        lambda: jax.threefry_partitionable(False),
        "jax_threefry_partitionable: True stored, False now",
    ),
]


@contextlib.contextmanager
def changed_in_place(array):
    array[1] = 5
    yield
    array[1] = 2


@contextlib.contextmanager
def configured(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    yield
    jax.config.update(name, before)


def refused(call, directory, says):
    with pytest.raises(ValueError, match=says) as caught:
        sweep(**call, directory=directory, on_plan=never)
    assert "\n" not in str(caught.value)
    assert "holds a sweep that differs in" in str(caught.value)


@pytest.mark.parametrize(("before", "after", "says"), [way[1:] for way in CALLS], ids=[way[0] for way in CALLS])
def test_another_call_is_refused_by_what_differs(tmp_path, before, after, says):
    before, after = {"seeds": range(3)} | before, {"seeds": range(3)} | after
    first = sweep(**before, directory=tmp_path)
    refused(after, tmp_path, says)
    assert sweep(**before, directory=tmp_path, on_plan=never).identical(first)


@pytest.mark.parametrize(("call", "change", "says"), [way[1:] for way in PLACES], ids=[way[0] for way in PLACES])
def test_a_change_elsewhere_is_noticed_in_the_directory_and_in_memory(tmp_path, call, change, says):
    """Without a directory too: what is computed is what stands there now, not what has been compiled."""
    call = {"seeds": range(3)} | call
    first = sweep(**call, directory=tmp_path)
    with change():
        refused(call, tmp_path, says)
        again = sweep(**call)
    # neither of these changes the numbers here
    unlike = not says.startswith(("jax_default_matmul_precision", "one kernel"))
    assert again.identical(first) != unlike
    assert sweep(**call, directory=tmp_path, on_plan=never).identical(first)
    assert sweep(**call).identical(first)


WALK = {
    "init": lambda key: {"x": jax.random.normal(key)},
    "step": lambda state: {"x": 0.9 * state["x"]},
    "summarise": lambda state: {"x": state["x"]},
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"init": lambda key: {"x": 2 * jax.random.normal(key)}}, "differs in init: "),
        ({"step": lambda state: {"x": 0.8 * state["x"]}}, "differs in step: operation .*0.9 stored, 0.8 now"),
        ({"step": lambda state, iteration: {"x": 0.9 * state["x"] + iteration}}, "differs in step: "),
        ({"summarise": lambda state: {"x": -state["x"]}}, "differs in summarise: "),
        ({name: WALK[name] for name in WALK}, None),
    ],
)
def test_a_long_sweep_is_its_three_programs(tmp_path, changes, says):
    first = long_sweep(Training(**WALK), range(3), iterations=4, directory=tmp_path)
    if says is None:
        again = long_sweep(Training(**WALK | changes), range(3), iterations=4, directory=tmp_path, on_plan=never)
        assert again.identical(first)
        return
    with pytest.raises(ValueError, match=says):
        long_sweep(Training(**WALK | changes), range(3), iterations=4, directory=tmp_path)


class Unhashable(Trainer):
    __hash__ = None

    def __call__(self, key):
        return self.train(key)


def renamed():
    def another_name(w):
        """Another place too."""
        return w * 0.9

    return {"train_one": lambda k: jax.jit(another_name)(jax.random.normal(k))}


def first_name():
    return {"train_one": lambda key: jax.jit(lambda w: w * 0.9)(jax.random.normal(key))}


@pytest.mark.parametrize(
    ("make", "again"),
    [
        (lambda: trained(adam(0.15)), lambda: trained(adam(0.15))),
        (lambda: network(dropout=0.3), lambda: network(dropout=0.3)),
        (first_name, renamed),
        (lambda: closing(ONES.copy()), lambda: closing(JAX_ONES)),
        (lambda: {"train_one": Unhashable(0.7)}, lambda: {"train_one": Trainer(0.7).train}),
        (lambda: called_back(times(5)), lambda: called_back(times(5))),
    ],
    ids=["optimiser", "network", "names", "arrays", "callables", "callbacks"],
)
def test_an_equal_call_goes_on_and_does_not_compile_again(tmp_path, compiled, make, again):
    first = sweep(**make(), seeds=range(3), directory=tmp_path)
    assert compiled() > 0
    assert sweep(**again(), seeds=range(3), directory=tmp_path, on_plan=never).identical(first)
    assert sweep(**again(), seeds=range(3)).identical(first)
    assert compiled() == 0


def test_another_process_goes_on(tmp_path):
    script = (
        "import numpy as np, optax, sys, jax; from paramact_jax.sweeps import sweep\n"
        "optimiser = optax.adam(0.1)\n"
        "def train_one(key):\n"
        "    w = jax.random.normal(key, (2,))\n"
        "    updates, _ = optimiser.update(w, optimiser.init(w))\n"
        "    return jax.pure_callback(np.asarray, w, updates, vmap_method='sequential')\n"
        "print(sweep(train_one, range(3), directory=sys.argv[1], on_plan=print)['result'].values.tobytes().hex())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", prefix + script, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.splitlines()
        for prefix in ("", "import flax.nnx, scipy\n\n\n")
    ]
    assert [len(lines) for lines in said] == [2, 1]  # the second plans nothing
    assert said[0][-1] == said[1][-1]
