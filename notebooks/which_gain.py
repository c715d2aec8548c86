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
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/YOUR_ACCOUNT/paramact_jax/blob/main/notebooks/which_gain.ipynb)
#
# # Which start value of a?
#
# You will compute the critical gain of an activation: the start value of $a$ at which the gradient of a deep network
# keeps its size. Then you will train networks from smaller and larger values, and see where they begin to learn.
# Put your own activation into `ACTIVATIONS`. It takes less than a minute on two cores.

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

import jax
import numpy as np
from flax import nnx

import paramact_jax as pa
from paramact_jax.figures import BandCurve, curves_in_panels

ACTIVATIONS = ("ppns", "parametric_tanh")
GAINS = [2 ** (k / 2) for k in range(-3, 3)]  # of a, in units of the critical gain
STDS = [2 ** (k / 2) for k in range(-1, 2)]  # of the weights, in units of 1/sqrt(fan-in)
TRIALS = 64
ITERATIONS = 10_000
THRESHOLD = 1e-3

pa.sweeps.use_all_cores()

# %% [markdown]
# ## What theory says
#
# In a wide random network, a layer multiplies the mean square of the gradient by a factor $\chi$. It depends on the
# product of $a$ and the scale $\sigma_w$ of the weights. Below the critical gain $\chi < 1$: the gradient vanishes with
# the depth. Above it the gradient grows. `critical_gain` computes the value of $a$ where $\chi = 1$ if $\sigma_w = 1$.

# %%
critical = {name: pa.activations.critical_gain(name).gain for name in ACTIVATIONS}
print(", ".join(f"{name}: {gain:.2f}" for name, gain in critical.items()))

# %% [markdown]
# ## What networks do
#
# The exclusive or with ten hidden layers of two nodes, as in `seed_sweep`. Each trial starts with an $a$ and a scale of
# the weights. Both are traced settings, so one program trains all cells of an activation. $a$ and $b$ are held at their
# start values: their learning rate is 0.

# %%
inputs, targets = pa.datasets.xor()
settings = pa.training.Settings(learning_rate=0.05, activation_learning_rate=0.0, loss_scale=0.5, threshold=THRESHOLD)


def trial_of(name):
    """The training of one trial with this activation."""
    record = pa.activations.get(name)
    advance = pa.training.gradient_descent(
        lambda params, inputs: pa.networks.forward(params, inputs, record), inputs, targets
    )

    def train_one(key, gain, weight_std, settings):
        """The final loss."""
        model = pa.networks.MLP(2, [2] * 10, 1, record, initial={"a": gain * critical[name]}, rngs=nnx.Rngs(params=key))
        params = pa.networks.params_of(model)
        params = jax.tree_util.tree_map_with_path(
            lambda path, value: value * weight_std if path[-1].key == "kernel" else value, params
        )
        state = advance(pa.training.start(params), settings, ITERATIONS + 1)  # one more measures the last loss
        return {"loss": state.loss}

    return train_one


axes = {"gain": GAINS, "weight_std": STDS}
found = {name: pa.sweep(trial_of(name), seeds=range(TRIALS), axes=axes, settings=settings) for name in ACTIVATIONS}
converged = {name: results["loss"] < THRESHOLD for name, results in found.items()}

# %% [markdown]
# The phase diagram: the share of the trials that converge in percent. Rows are values of $a$ in units of the critical
# gain, columns are scales of the weights.


# %%
def diagram(name):
    """A table of the shares."""
    shares = 100 * converged[name].mean("seed").to_pandas()
    return shares.round(0).astype(int).rename(index="{:.2f}".format, columns="{:.2f}".format)


diagram("ppns")

# %%
diagram("parametric_tanh")

# %% [markdown]
# ## Only the product counts
#
# The same shares against the product $a \sigma_w$, in percent of its critical value. Bands are 95 % intervals.

# %%
products = np.array(sorted({round(100 * gain * std) for gain in GAINS for std in STDS}))


def curve(name, std):
    """The share of the trials that converge, by product; NaN at the products of other scales."""
    counts = {round(100 * gain * std): int(converged[name].sel(gain=gain, weight_std=std).sum()) for gain in GAINS}
    shares = {product: [n / TRIALS, *pa.statistics.wilson_interval(n, TRIALS)] for product, n in counts.items()}
    return BandCurve(rf"$\sigma_w$ = {std:.2f}", *np.array([shares.get(x, [np.nan] * 3) for x in products.tolist()]).T)


curves = {name: [curve(name, std) for std in STDS] for name in ACTIVATIONS}
curves_in_panels(
    products,
    curves,
    xlabel=r"$a\,\sigma_w$, % of its critical value",
    ylabel="trials that converge",
    shares=True,
)


# %%
def boundary(name):
    """The product at which half of the trials converge, in percent of its critical value."""
    means = np.nanmean([one.middle for one in curves[name]], axis=0)
    i = int(np.argmax(means >= 0.5))  # the first
    return float(np.interp(0.5, means[i - 1 : i + 1], products[i - 1 : i + 1]))


boundaries = {name: boundary(name) for name in ACTIVATIONS}
print(", ".join(f"{name}: {value:.0f} %" for name, value in boundaries.items()))

# %% [markdown]
# For both activations, half of the trials converge at about 95 % of the critical value. Theory speaks of wide networks,
# and these layers have only two nodes. At 50 % no trial converges. The best start values are above the critical one.
# [P] starts at 1.5 times the critical value, where the steepest slope is 1.5. The curves of the three scales lie close
# to each other: the product of $a$ and $\sigma_w$ counts.
#
# ## Onward
#
# - The study `gain` of the repository has 256 cells for each activation, and trains with $a$ and $b$ learned, too.
# - `where_gradients_vanish`: what the start value of $a$ does to the gradient at each layer.
# - `your_own_activation`: the same question for a function of yours.
#
# [P]: Y. M. Ko and S. W. Ko, Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions, 2021.
