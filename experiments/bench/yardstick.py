"""The yardstick: an independent C program for XOR(10), given by the user as xor10.py beside xor10.c.

Both train from the same initial params, so that it is a speed to measure against and an answer to compare with.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from experiments.study.imports import at_once

if TYPE_CHECKING or at_once(__name__):
    import numpy as np

    from paramact_jax.networks import Params

LANES = 16
"""Its number of trials has to be a multiple of this."""

_POINTS = 4
_NODES = HIDDEN_LAYERS * WIDTH
_ROWS = {"W": _NODES * WIDTH, "w0": _NODES, "a": _NODES, "b": _NODES, "W_out": WIDTH, "w0_out": 1}


class YardstickRun(NamedTuple):
    """Trained params (trials, rows), mean squared errors (trials,), and the seconds spent in C."""

    params: np.ndarray
    losses: np.ndarray
    seconds: float


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """The program, built. Made by `load`.

    Attributes:
      module: xor10.py.
      library: xor10.c.
      kinds: the activations it knows.
    """

    module: ModuleType
    library: Any
    kinds: tuple[str, ...]

    def initial(self, kind: str, trials: int, *, seed: int = 0, **std: float) -> np.ndarray:
        """Params (trials, rows) before training: weights N(0, 1/2) and zero biases, unless `std` says otherwise."""
        return self.module.initial(kind, trials, seed=seed, **std)

    def train(self, kind: str, params: np.ndarray, **conditions: Any) -> YardstickRun:
        """Train params (trials, rows), which stay as they are, for `iterations`; see xor10.py for the conditions."""
        timed = _Timed(self.library)
        learned, losses = self.module.train(timed, kind, params, **conditions)
        return YardstickRun(learned, losses, timed.seconds)


class _Timed:
    """The library with a clock around the C call alone: arrays are put in order outside of it."""

    def __init__(self, library: Any) -> None:
        self.parameter_rows: Callable[[], int] = library.parameter_rows
        self.seconds = 0.0
        self._train = library.train

    def train(self, *args: Any) -> None:
        begin = time.perf_counter()
        self._train(*args)
        self.seconds += time.perf_counter() - begin


def check_yardstick(path: Path) -> Path:
    """The path of xor10.py, given that or its directory; raises ValueError if it, xor10.c or gcc is missing."""
    script = path / "xor10.py" if path.is_dir() else path
    for file in (script, script.with_name("xor10.c")):
        if script.name != "xor10.py" or not file.is_file():
            raise ValueError(
                f"--yardstick: expected the directory of xor10.py and xor10.c, got {path}, where there is no "
                f"{file.name if script.name == 'xor10.py' else 'xor10.py'}; pass the directory that holds both"
            )
    if shutil.which("gcc") is None:
        raise ValueError(f"--yardstick: expected gcc to build {script.with_name('xor10.c')}, found none; install gcc")
    return script


def load(path: Path, *, threads: int | None = None, fast_math: bool = True) -> Yardstick:
    """Build the program; raises as `check_yardstick`, and OSError if it cannot be built here.

    Args:
      path: see `check_yardstick`.
      threads: how many it trains with, by default one for each core that this process may use.
      fast_math: as xor10.py builds it, for speed; False: with IEEE arithmetic, to compare answers with.
    """
    script = check_yardstick(path)
    spec = importlib.util.spec_from_file_location("paramact_jax_yardstick", script)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{script}: expected a Python file, got one that Python cannot load")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        library = module.build() if fast_math else _build_ieee(script.with_name("xor10.c"))
    except (OSError, subprocess.CalledProcessError) as error:
        raise OSError(f"{script}: expected gcc to build xor10.c with OpenMP, got: {error}") from error
    if threads is not None:
        # OMP_NUM_THREADS is read once a process, by whoever loads OpenMP first; this holds in any case.
        library.omp_set_num_threads(threads)
    return Yardstick(module, library, tuple(module.KINDS))


def _build_ieee(source: Path) -> ctypes.CDLL:
    library = Path(tempfile.mkdtemp()) / "libxor10.so"
    flags = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def to_params(rows: np.ndarray, parametric: bool) -> Params:
    """Its params as those of our networks, both with a leading axis of trials.

    Its rows are, in this order, W[layer][to][from], w0, a and b[layer][node], W_out, w0_out. Those of a and b mean
    nothing if the activation is not parametric.
    """
    if rows.ndim != 2 or rows.shape[1] != sum(_ROWS.values()):
        raise ValueError(f"expected params of shape (trials, {sum(_ROWS.values())}), got {rows.shape}")
    trials = len(rows)
    ends = np.cumsum(list(_ROWS.values()))
    flat = dict(zip(_ROWS, np.split(rows, ends[:-1], axis=1), strict=True))
    kernels = flat["W"].reshape(trials, HIDDEN_LAYERS, WIDTH, WIDTH).swapaxes(-1, -2)
    by_node = {name: flat[name].reshape(trials, HIDDEN_LAYERS, WIDTH) for name in ("w0", "a", "b")}

    def layer(i: int) -> Params:
        linear = {"kernel": kernels[:, i], "bias": by_node["w0"][:, i]}
        learned = {"a": by_node["a"][:, i], "b": by_node["b"][:, i]}
        return {"linear": linear} | ({"activation": learned} if parametric else {})

    return {
        "hidden": {i: layer(i) for i in range(HIDDEN_LAYERS)},
        "out": {"kernel": flat["W_out"][:, :, None], "bias": flat["w0_out"]},
    }


def contestant(
    yardstick: Yardstick, kind: str, rows: np.ndarray, protocol: Protocol, iterations: int, *, threads: int
) -> Contestant:
    """The yardstick, ready to train `rows`."""
    conditions = {
        "rate": protocol.learning_rate,
        "rate_ab": protocol.activation_learning_rate,
        # It scales the plain sum of errors; the derivative of scale * mean(e^2) is scale * 2 / points * e.
        "gradient_scale": LOSS_SCALE[protocol.loss] * 2 / _POINTS,
    }
    return Contestant(
        name="yardstick",
        what=f"C program on {threads} threads, the C call alone timed",
        train=lambda: yardstick.train(kind, rows, iterations=iterations, **conditions).seconds,
        losses=lambda: yardstick.train(kind, rows, iterations=CHECKED, **conditions).losses,
        trials=len(rows),
        iterations=iterations,
    )
