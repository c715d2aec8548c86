"""What every command does before it touches a device."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import threading
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Processes:
    """Several processes as one machine."""

    distributed: bool = False
    """Spread the trials over several processes, each of which is started with the same command. SLURM, Open MPI,
    Kubernetes and Cloud TPU are detected; elsewhere give the three below. Process 0 writes."""
    coordinator: str | None = None
    """HOST:PORT of process 0."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """Which one this is, from 0."""

    def check(self) -> None:
        """Raises ValueError, in one line, for an address without --distributed."""
        given = [name for name in ("coordinator", "processes", "process") if getattr(self, name) is not None]
        if given and not self.distributed:
            raise ValueError(f"--{given[0]}: expected --distributed with it; add it to join several processes")


def start(processes: Processes | None = None) -> bool:
    """Keeps compiled programs, joins the other processes if there are some, uses all cores, and float32 for products.

    Returns:
      Whether this process is the one that writes and prints.

    Raises:
      ValueError: in one line, if the processes cannot be joined.
    """
    import jax

    from paramact_jax.activations.precision import set_float32_products
    from paramact_jax.sweeps import initialise_distributed, use_all_cores, use_compilation_cache

    use_compilation_cache()
    use_all_cores()
    if processes is not None and processes.distributed:
        initialise_distributed(processes.coordinator, processes.processes, processes.process)
    set_float32_products()
    return jax.process_index() == 0


@contextlib.contextmanager
def importing(*modules: str) -> Iterator[None]:
    """Imports modules in another thread during a block: compilation does not need Python, and pandas takes a second."""
    thread = threading.Thread(target=lambda: [importlib.import_module(name) for name in modules])
    thread.start()
    try:
        yield
    finally:
        thread.join()
