"""The yardstick: an independent C program for XOR(10), given by the user as xor10.py and xor10.c.

The yardstick and this project train from the same initial params, so that speeds and answers can be compared.
"""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
import tempfile
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.bench.contest import CHECKED, Contestant
from experiments.problems.xor10.protocol import HIDDEN_LAYERS, LOSS_SCALE, WIDTH, Protocol
from experiments.study.imports import at_once

if TYPE_CHECKING or at_once(__name__):
    import numpy as np

    from experiments.problems.timing import seconds_of
    from paramact_jax.networks import Params

LANES = 16
"""The number of its trials must be a multiple of this."""
_POINTS = 4
_NODES = HIDDEN_LAYERS * WIDTH
_ROWS = {"W": _NODES * WIDTH, "w0": _NODES, "a": _NODES, "b": _NODES, "W_out": WIDTH, "w0_out": 1}


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """The program, built by `load`.

    Attributes:
      module: xor10.py. Its `initial(kind, trials)` returns params (trials, rows), its `KINDS` are the activations.
      library: xor10.c.
    """

    module: Any
    library: Any

    def train(self, kind: str, params: np.ndarray, **conditions: Any) -> tuple[np.ndarray, float]:
        """Trains a copy of params (trials, rows) under the conditions that xor10.py names.

        Returns:
          Mean squared errors (trials,), and the seconds of the C call alone, without the preparation of arrays.
        """
        seconds = []

        def timed(*args: Any) -> None:
            seconds.append(seconds_of(lambda: self.library.train(*args)))

        library = types.SimpleNamespace(parameter_rows=self.library.parameter_rows, train=timed)
        _, losses = self.module.train(library, kind, params, **conditions)
        return losses, sum(seconds)


def check_yardstick(path: Path) -> Path:
    """Returns the path of xor10.py, given it or its directory; raises ValueError if it, xor10.c or gcc is missing."""
    directory = path if path.is_dir() else path.parent
    for name in ("xor10.py", "xor10.c"):
        if not (directory / name).is_file():
            raise ValueError(
                f"--yardstick: expected the directory of xor10.py and xor10.c, got {path}, where there is no {name}; "
                f"pass the directory that holds both"
            )
    if shutil.which("gcc") is None:
        raise ValueError(f"--yardstick: expected gcc to build {directory / 'xor10.c'}, found none; install gcc")
    return directory / "xor10.py"


def load(path: Path, *, threads: int | None = None, fast_math: bool = True) -> Yardstick:
    """Builds the program; raises as `check_yardstick`, and OSError if it cannot be built here.

    Args:
      path: see `check_yardstick`.
      threads: how many it trains with, by default one for each core that this process may use.
      fast_math: True: as xor10.py builds it, for speed; False: with IEEE arithmetic, to compare answers.
    """
    script = check_yardstick(path)
    module: Any = types.ModuleType("paramact_jax_yardstick")
    module.__file__ = str(script)
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), module.__dict__)  # a program of the user's own
    try:
        library = module.build() if fast_math else _build_ieee(script.with_name("xor10.c"))
    except (OSError, subprocess.CalledProcessError) as error:
        raise OSError(f"{script}: expected gcc to build xor10.c with OpenMP, got: {error}") from error
    if threads is not None:
        # OMP_NUM_THREADS is read only once in a process, when OpenMP is loaded first; this call always works.
        library.omp_set_num_threads(threads)
    return Yardstick(module, library)


def _build_ieee(source: Path) -> ctypes.CDLL:
    library = Path(tempfile.mkdtemp()) / "libxor10.so"
    flags = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def to_params(rows: np.ndarray, parametric: bool) -> Params:
    """Converts the yardstick's params to those of our networks, both with a leading axis of trials.

    The rows are, in this order, W[layer][to][from], w0, a and b[layer][node], W_out, w0_out. The rows of a and b mean
    nothing if the activation is not parametric.
    """
    if rows.ndim != 2 or rows.shape[1] != sum(_ROWS.values()):
        raise ValueError(f"expected params of shape (trials, {sum(_ROWS.values())}), got {rows.shape}")
    ends = np.cumsum(list(_ROWS.values()))
    flat = dict(zip(_ROWS, np.split(rows, ends[:-1], axis=1), strict=True))
    kernels = flat["W"].reshape(-1, HIDDEN_LAYERS, WIDTH, WIDTH).swapaxes(-1, -2)
    by_node = {name: flat[name].reshape(-1, HIDDEN_LAYERS, WIDTH) for name in ("w0", "a", "b")}

    def layer(i: int) -> Params:
        linear = {"kernel": kernels[:, i], "bias": by_node["w0"][:, i]}
        learned = {"a": by_node["a"][:, i], "b": by_node["b"][:, i]}
        return {"linear": linear} | ({"activation": learned} if parametric else {})

    out = {"kernel": flat["W_out"][:, :, None], "bias": flat["w0_out"]}
    return {"hidden": {i: layer(i) for i in range(HIDDEN_LAYERS)}, "out": out}


def contestant(
    yardstick: Yardstick, kind: str, rows: np.ndarray, protocol: Protocol, iterations: int, *, threads: int
) -> Contestant:
    """Makes the contestant that trains `rows`."""

    def train(iterations: int) -> tuple[np.ndarray, float]:
        # the program scales the plain sum of errors; the derivative of scale * mean(e^2) is scale * 2 / points * e
        scale, rate_ab = LOSS_SCALE[protocol.loss] * 2 / _POINTS, protocol.activation_learning_rate
        rates = {"rate": protocol.learning_rate, "rate_ab": rate_ab}
        return yardstick.train(kind, rows, iterations=iterations, gradient_scale=scale, **rates)

    what = f"C program on {threads} threads, the C call alone timed"
    return Contestant("yardstick", what, lambda: train(iterations)[1], lambda: train(CHECKED)[0], len(rows), iterations)
