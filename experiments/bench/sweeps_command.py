"""`python -m experiments bench sweeps`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from experiments.bench.output import check, say, show

TRIALS = (128, 1_024, 10_240, 102_400)
"""Multiples of 64 trials on each of 2 devices: calls are filled up to that."""


@dataclasses.dataclass(frozen=True)
class BenchSweeps:
    """Measure sweeps: against the number of trials and devices, by every way to run trials, and with early stops.

    The numbers of trials are 128 to 102,400, those of devices 1 and 2. The trainings are written as users write them,
    and the default of pa.sweep is compared with jit(vmap), jit(lax.map) and every form of a sweep. On the default
    backend. Early stops are those of XOR(10). About 10 minutes on 2 cores. Prints tables, and writes nothing but the
    file that --json names. Example:
    python -m experiments bench sweeps --parts trainings --trainings deep CNN --rounds 5
    """

    rounds: int = 3
    """Times that each size, or each training by each contestant, is measured."""
    parts: tuple[Literal["trials", "trainings", "stopping"], ...] = ("trials", "trainings", "stopping")
    """Which of the three to measure."""
    trials: tuple[int, ...] = TRIALS
    """Numbers of trials, rising; multiples of 128 are not filled up."""
    trainings: tuple[str, ...] = ()
    """Parts of the names of the trainings to run (default: all)."""
    small: bool = False
    """Whether to run a few iterations of 8 trials of each training only, to see that all of them run."""
    json: Path | None = None
    """Write the times, the machine and the versions to this new file, too."""

    def prepare(self) -> Callable[[], None]:
        """Check everything that can be checked before measuring; returns the work.

        Raises:
          ValueError: in one line, for what cannot be done.
        """
        from paramact_jax.sweeps import use_all_cores

        check(self.rounds, self.json)
        if not self.trials or self.trials[0] < 1 or list(self.trials) != sorted(set(self.trials)):
            raise ValueError(f"--trials: expected rising numbers >= 1, got {' '.join(map(str, self.trials)) or 'none'}")
        if not self.parts:
            raise ValueError("--parts: expected some of trials, trainings, stopping, got none")
        use_all_cores()
        from experiments.bench import forms, stopping, sweeps
        from experiments.bench.trainings import chosen

        trainings = [training.small() if self.small else training for training in chosen(self.trainings)]

        def work() -> None:
            result: dict[str, Any] = {}
            tables = []
            if "trials" in self.parts:
                result |= sweeps.measure(sizes=self.trials, rounds=self.rounds, on_progress=say)
                tables.append(sweeps.render(result))
            if "trainings" in self.parts:
                result |= forms.measure(trainings, rounds=self.rounds, on_progress=say)
                tables.append(forms.render(result))
            if "stopping" in self.parts:
                result |= stopping.measure(rounds=self.rounds, on_progress=say, small=self.small)
                tables.append(stopping.render(result))
            show("\n".join(tables), result, self.json)

        return work
