"""Many independent trials at once: vmapped over seeds, in blocks of one fixed shape, sharded over all devices."""

from paramact_jax.sweeps.devices import use_all_cores
from paramact_jax.sweeps.stepwise import Progress, run_in_chunks
from paramact_jax.sweeps.sweep import sweep, trial_key
from paramact_jax.sweeps.trials import BLOCK, OverTrials

__all__ = ["BLOCK", "OverTrials", "Progress", "run_in_chunks", "sweep", "trial_key", "use_all_cores"]
