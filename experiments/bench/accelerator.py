"""The whole sweep on an accelerator."""

from __future__ import annotations

from typing import Any

import jax

from experiments.xor10.protocol import Protocol
from experiments.xor10.train import train


def measure_accelerator(protocol: Protocol) -> dict[str, Any]:
    """Time the sweep of `experiments.xor10` as it is, all iterations, on all devices of the default backend.

    Returns:
      The devices, and by activation the seconds to compile (all activations at once) and to train.
    """
    compile_seconds: dict[str, float] = {}
    results = train(protocol, on_compiled=compile_seconds.__setitem__)
    seconds = {name: result.seconds for name, result in results.items()}
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "trials": protocol.trials,
        "iterations": protocol.iterations,
        "seconds": seconds,
        "total_seconds": sum(seconds.values()),
        "compile_seconds": compile_seconds,
    }
