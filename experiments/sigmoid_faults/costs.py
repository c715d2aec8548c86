"""What exp costs: per element beside ReLU, and in a whole training step of the network for MNIST."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.bench.activations import REFERENCE, measure
from experiments.problems.mnist.protocol import PROTOCOLS
from experiments.problems.mnist.train import seconds_per_step
from paramact_jax.datasets import synthetic_mnist

BASES = ("sigmoid", "pn_sigmoid", "tanh")
SIZES = ((64, 128), (1024, 1024), (2048, 2048))
NETWORKS = (REFERENCE, "sigmoid", "tanh", "ppns")
ROUNDS_A_RACE = 3
_IMAGES = 2_000


def per_element(
    races: int, on_progress: Callable[[str], None] = lambda message: None, *, small: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Nanoseconds per element: see `experiments.bench.activations.measure`, which is repeated to see the spread.

    Args:
      races: how often.
      on_progress: called with a line for people when another part begins.
      small: whether to take the first base and the first size only.

    Returns:
      Data variables with the dims function, size, pass, race, and their coordinates.
    """
    rows: dict[tuple[str, str, str], list[float]] = {}
    sizes, bases = (SIZES[:1], BASES[:1]) if small else (SIZES, BASES)
    for race in range(races):

        def say(message: str, race: int = race) -> None:
            on_progress(f"cost per element, race {race + 1} of {races}, {message}")

        for row in measure(rounds=ROUNDS_A_RACE, shapes=sizes, bases=bases, on_progress=say)["rows"]:
            size = f"{row['shape'][0]} x {row['shape'][1]}"
            rows.setdefault((row["function"], size, row["pass"]), []).append(row["nanoseconds"])
    functions, shapes, passes = (list(dict.fromkeys(key[i] for key in rows)) for i in range(3))
    nanoseconds = np.array([[[rows[f, s, p] for p in passes] for s in shapes] for f in functions])
    about = {"description": f"nanoseconds per element, the median of {ROUNDS_A_RACE} rounds of a race"}
    data = {"nanoseconds": (("function", "size", "pass", "race"), nanoseconds, about)}
    return data, {"function": functions, "size": shapes, "pass": passes}


def whole_step(rounds: int, steps: int, *, small: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds of a training step of the network of `mnist`: 8 hidden layers of 128, minibatches of 64, one seed.

    The images are synthetic: the time does not depend on what is on them.

    Args:
      rounds: measurements of each network, in turns.
      steps: of one measurement.
      small: whether to take the first two networks only.

    Returns:
      Data variables with the dims network, round, and their coordinates.
    """
    networks = NETWORKS[:2] if small else NETWORKS
    protocol = dataclasses.replace(PROTOCOLS["recovered"], activations=networks)
    digits = synthetic_mnist(_IMAGES, 1)
    seconds = seconds_per_step(networks, protocol, digits, rounds=rounds, steps=steps)
    about = {"description": "seconds of one training step of the network of mnist, without scores"}
    return {"step_seconds": (("network", "round"), seconds, about)}, {"network": list(networks)}
