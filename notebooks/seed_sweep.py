# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/YOUR_ACCOUNT/paramact_jax/blob/main/notebooks/seed_sweep.ipynb)
#
# # A thousand trials in one call
#
# You will train the network of [P, Fig. 6] from 1,000 seeds under each of seven activations, one call each.
# You will see Table 5 of the paper beside your own counts, with intervals and a test of every row.
# And you will see how to sweep a training of your own. It takes about half a minute on two cores.

# %% [markdown]
# The first cell installs the package where it, or what it needs, is missing, on Colab for instance: from a clone in the
# working folder if there is one. The runtime's own jax, which knows its GPU or TPU, stays as it is.

# %%
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # float32 products are float32 on a GPU or TPU too
NEEDS = ["PIL", "flax", "jax", "matplotlib", "numpy", "optax", "paramact_jax", "scipy", "tensorflow_datasets", "xarray"]


def missing():
    """What cannot be imported. A folder of the right name, such as a clone of the repository, is not a package."""
    specs = {name: importlib.util.find_spec(name) for name in NEEDS}
    return [name for name, spec in specs.items() if spec is None or spec.origin is None]


if missing():
    files = ("pyproject.toml", "paramact_jax/__init__.py")
    clones = [folder for folder in (Path("paramact_jax"), Path()) if all((folder / file).exists() for file in files)]
    source = clones[0].resolve().as_uri() if clones else "git+https://github.com/YOUR_ACCOUNT/paramact_jax"
    present = {distribution.name for distribution in importlib.metadata.distributions()}
    own = sorted(name for name in present if re.match(r"jax(lib|[-_].*)?$|libtpu", name))
    kept = [f"{name}=={importlib.metadata.version(name)}" for name in own]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", f"paramact_jax[experiments] @ {source}", *kept]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        beside, said = " ".join(kept) or "no jax", " ".join((done.stderr or done.stdout).split())
        raise RuntimeError(f"paramact_jax cannot be installed beside {beside} from {source}; mend this: {said}")
    importlib.invalidate_caches()
    if missing():
        raise RuntimeError(f"expected {', '.join(missing())} to be installed now, got none; restart the runtime")

# %%
# %matplotlib inline

import xarray as xr
from flax import nnx

import paramact_jax as pa
from paramact_jax.figures import ConvergenceCurve, convergence

TRIALS = 1_000
ITERATIONS = 10_000
THRESHOLD = 1e-3
PUBLISHED = pa.papers.ko2021.TABLE_5

pa.sweeps.use_all_cores()

# %% [markdown]
# ## One trial
#
# Two inputs, ten hidden layers of two nodes, one output: layer $l$ computes $y^{(l)} = W^{(l)} z^{(l)} + w_0^{(l)}$ and
# $z^{(l+1)} = f(y^{(l)})$ [P, eq. 4-5]. The four points of the exclusive or are learned by full-batch gradient descent
# at rate 0.05 [P, Table 3], of weights, $a$ and $b$ alike.
#
# Two conditions are not those that the paper prints, because the printed ones do not give its table: initial weights
# are $N(0, 1)/\sqrt{\text{fan-in}}$ instead of $N(0, 1)$, and the gradient is that of half the mean squared error.
# `experiments/studies/xor10.md` in the repository says how they were found.
#
# A trial is a pure function of a random key and of settings. Settings are traced, so other values do not compile again.

# %%
inputs, targets = pa.datasets.xor()


def trial_of(activation):
    """The function that trains one network under this activation."""
    advance = pa.training.gradient_descent(
        lambda params, inputs: pa.networks.forward(params, inputs, activation), inputs, targets
    )

    def train_one(key, settings):
        model = pa.networks.MLP(2, [2] * 10, 1, activation, rngs=nnx.Rngs(params=key))
        state = pa.training.start(pa.networks.params_of(model))
        state = advance(state, settings, ITERATIONS + 1)  # one more measures the loss that the last one left
        return {"loss": state.loss, "reached_at": state.reached_at}

    return train_one


settings = pa.training.Settings(learning_rate=0.05, activation_learning_rate=0.05, loss_scale=0.5, threshold=THRESHOLD)

# %% [markdown]
# ## A thousand of them
#
# `sweep` trains all seeds at once, on all devices. What comes back is an xarray Dataset with a row for every seed. A
# seed is a trial: its result does not depend on how many others run beside it.

# %%
results = {
    row.label: pa.sweep(trial_of(pa.activations.get(row.activation)), seeds=range(TRIALS), settings=settings)
    for row in PUBLISHED
}
dict(results["PPNS"].sizes)

# %% [markdown]
# ## Table 5
#
# How many of 1,000 trials reach loss 0, here: end below 0.001. The interval is Wilson's, at 95 %. A small $p$ would say
# that our count and the published one do not come from equal chances; Holm's correction allows for seven comparisons.

# %%
counts = {name: int((found["loss"] < THRESHOLD).sum()) for name, found in results.items()}
intervals = {name: pa.statistics.wilson_interval(count, TRIALS) for name, count in counts.items()}
p_values = [
    pa.statistics.two_proportion_p_value(counts[row.label], TRIALS, row.converged, row.trials) for row in PUBLISHED
]

table_5 = xr.Dataset(
    {
        "ours, per 1,000": ("activation", [1_000 * count / TRIALS for count in counts.values()]),
        "from": ("activation", [round(1_000 * low, 1) for low, _ in intervals.values()]),
        "to": ("activation", [round(1_000 * high, 1) for _, high in intervals.values()]),
        "published": ("activation", [row.converged for row in PUBLISHED]),
        "p": ("activation", [round(p, 3) for p in p_values]),
        "p (Holm)": ("activation", [round(p, 3) for p in pa.statistics.holm(p_values)]),
    },
    coords={"activation": list(counts)},
)
table_5.to_dataframe()

# %% [markdown]
# No row is rejected. PPNS, the symmetric one, converges in about 765 of 1,000 trials; the parametric sigmoid, which is
# the same function shifted up to be positive, in about 30; the sigmoid in none. Tanh manages about 650 without any $a$
# and $b$ and about 690 with them, ReLU about 10 in either case.
#
# ## When do they converge?
#
# The share that has converged by each iteration, with its interval; a diamond is the published count.

# %%
curves = [
    ConvergenceCurve(
        row.label,
        found["reached_at"].where(found["loss"] < THRESHOLD, pa.training.NOT_REACHED).values,
        published=row.converged / row.trials,
    )
    for row, found in zip(PUBLISHED, results.values(), strict=True)
]
convergence(curves, iterations=ITERATIONS, threshold=THRESHOLD)

# %% [markdown]
# ## How many seeds does a question need?
#
# Whether PPNS converges in 74.4 % or in 76.5 % of the trials, 1,000 seeds cannot tell. So many of each could, with a
# power of 80 %:

# %%
pa.statistics.seeds_to_tell(0.744, 0.765)

# %% [markdown]
# ## Onward
#
# - `directory="runs/mine"` in the call of `sweep` keeps what is finished, and the same call goes on after a crash;
#   `axes={"learning_rate": [...]}` runs every seed at every value.
# - `python -m experiments xor10` in the repository makes Table 4 too, faster, and `xor10-protocol` searches the
#   conditions behind the printed table.
# - `your_own_activation`: the same sweep with a function of yours.
# - `where_gradients_vanish`: why the sigmoid never gets anywhere.
#
# [P]: Y. M. Ko and S. W. Ko, Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions, 2021.
