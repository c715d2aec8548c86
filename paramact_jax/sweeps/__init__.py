"""Many independent trials at once: vmapped over seeds, in blocks of one fixed shape, sharded over all devices."""

from paramact_jax.sweeps.cache import use_compilation_cache
from paramact_jax.sweeps.devices import use_all_cores
from paramact_jax.sweeps.distributed import initialise_distributed
from paramact_jax.sweeps.draws import choices, integers, log_uniform, sobol, uniform
from paramact_jax.sweeps.ending import TimeLimitError
from paramact_jax.sweeps.failures import failed, reasons
from paramact_jax.sweeps.forms import BLOCK, FORMS, Form, choose
from paramact_jax.sweeps.grid import trial_key
from paramact_jax.sweeps.iterations import Training
from paramact_jax.sweeps.long import long_sweep
from paramact_jax.sweeps.memory import Plan
from paramact_jax.sweeps.progress import Progress
from paramact_jax.sweeps.reading import merge, read
from paramact_jax.sweeps.storage.refusal import DirectoryRefusedError
from paramact_jax.sweeps.summary import summary, to_dataframe
from paramact_jax.sweeps.sweep import sweep
from paramact_jax.sweeps.trials import OverTrials
from paramact_jax.sweeps.watch import Observed, to_csv, to_jsonl

__all__ = [
    "BLOCK",
    "FORMS",
    "DirectoryRefusedError",
    "Form",
    "Observed",
    "OverTrials",
    "Plan",
    "Progress",
    "TimeLimitError",
    "Training",
    "choices",
    "choose",
    "failed",
    "initialise_distributed",
    "integers",
    "log_uniform",
    "long_sweep",
    "merge",
    "read",
    "reasons",
    "sobol",
    "summary",
    "sweep",
    "to_csv",
    "to_dataframe",
    "to_jsonl",
    "trial_key",
    "uniform",
    "use_all_cores",
    "use_compilation_cache",
]
