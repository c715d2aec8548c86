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
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/YOUR_ACCOUNT/paramact_jax/blob/main/notebooks/where_gradients_vanish.ipynb)
#
# # Where gradients vanish
#
# You will choose a depth and activations, and see at which layer the gradient is lost, and to which factor.
# You will see how saturated the units are on the way, and how mean-field theory predicts the loss without any network.
# And you will find the start value of $a$ that keeps the gradient alive. It takes about 20 seconds on two cores.

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
import xarray as xr
from flax import nnx

import paramact_jax as pa
from paramact_jax.figures import DepthCurve, gradient_against_depth

DEPTH = 20
WIDTH = 64
ACTIVATIONS = ("sigmoid", "tanh", "relu", "ppns")
SEEDS = 50
SAMPLES = 32

# %% [markdown]
# Any of these names can stand in `ACTIVATIONS`:

# %%
print(*pa.activations.names(), sep=", ")

# %% [markdown]
# ## The two factors
#
# The chain rule takes the gradient from the output to the first layer through two factors a layer [P, eq. 6]:
#
# $$\frac{\partial L}{\partial y^{(1)}} = \frac{\partial L}{\partial y^{(out)}}
# \prod_{m} \underbrace{\frac{\partial y^{(m)}}{\partial z^{(m)}}}_{W^{(m)}}
# \underbrace{\frac{\partial z^{(m)}}{\partial y^{(m-1)}}}_{\mathrm{diag}(f')}$$
#
# It can vanish by the first factor (type 1), by the second (type 2), or by both (type 3) [P, section 3.1]. `attribute`
# measures the gradient's norm at every layer of a network and splits its decay into the two. It is a pure function of
# the network's params, so `jax.vmap` takes it over many at once: random networks with weights
# $N(0, 1)/\sqrt{\text{fan-in}}$, under every activation the same ones.


# %%
def look_at(activation):
    """The function that looks at one random network under this activation."""

    def look(key):
        model_key, input_key = jax.random.split(key)
        model = pa.networks.MLP(WIDTH, [WIDTH] * DEPTH, 1, activation, rngs=nnx.Rngs(params=model_key))
        x = jax.random.normal(input_key, (SAMPLES, WIDTH))
        return pa.gradients.attribute(model, x, loss=lambda outputs: outputs.mean())

    return look


keys = jax.random.split(jax.random.key(0), SEEDS)
found = {name: jax.vmap(look_at(name))(keys) for name in ACTIVATIONS}

# %% [markdown]
# ## Which factor is it?
#
# By how many decades the gradient changes from the last layer to the first, and how many of them are due to each
# factor; medians over the seeds. A negative number is a loss.


# %%
def decades(logarithms):
    """Median over the seeds of a factor's decimal logarithm, all layers added."""
    return float(np.median(logarithms.sum(axis=1)) / np.log(10))


change = xr.Dataset(
    {
        "by W": ("activation", [decades(f.decay.linear) for f in found.values()]),
        "by the slopes": ("activation", [decades(f.decay.activation) for f in found.values()]),
        "by both": ("activation", [decades(f.decay.linear + f.decay.activation) for f in found.values()]),
    },
    coords={"activation": list(found)},
)
change.to_dataframe().round(1)

# %% [markdown]
# With these weights $W$ takes next to nothing: it is the slopes that decide. Those of the sigmoid lose 12.6 decades in
# 20 layers, so that a layer hands on less than a quarter; those of ReLU lose 3, those of tanh 0.7. Those of PPNS, the
# sigmoid scaled to a steepest slope of 1.5 and centred, gain 0.8 instead.
#
# ## At which layer?
#
# Mean-field theory predicts it for wide networks: with weights of variance $g^2/n$ the values $y$ of layer $l$ are
# normal with a variance $q_l$, and the gradient's mean square changes there by
#
# $$\chi_l = g^2\, \mathrm{E}\left[f'(\sqrt{q_l}\, u)^2\right], \qquad u \sim N(0, 1),$$
#
# so that $\|\partial L/\partial y^{(l)}\|^2$ is about $\chi_l\, \chi_{l+1} \cdots \chi_K$ times that at the output
# (Poole et al. 2016, Schoenholz et al. 2017). Lines are medians over the seeds, bands reach from the 5th to the 95th
# percentile, the prediction is dotted.


# %%
def curve(name):
    """The gradient at every layer, relative to the output's."""
    log_norm = np.asarray(found[name].decay.log_norm) / np.log(10)
    low, middle, high = np.quantile(log_norm - log_norm[:, -1:], [0.05, 0.5, 0.95], axis=0)
    factors = pa.gradients.mean_field.predict(pa.activations.get(name), DEPTH).factors
    predicted = 0.5 * np.log10(factors[::-1]).cumsum()[::-1]
    return DepthCurve(name, middle, low, high, np.append(predicted, 0.0))


gradient_against_depth(
    np.arange(1, DEPTH + 2),
    {f"{WIDTH} nodes a layer": [curve(name) for name in ACTIVATIONS]},
    xlabel="layer",
    ylabel=r"$\log_{10}$ of $\|\partial L/\partial y^{(l)}\|$, at the output 1",
)

# %% [markdown]
# ## The units on the way
#
# A unit whose slope is below 0.01 is saturated; one whose slope is at least 1 hands on the gradient undiminished, which
# [P, Fig. 14] counts. Means over the seeds, with the same bands.


# %%
def share(name, kind):
    """The share of such units in every hidden layer."""
    shares = np.asarray(getattr(found[name].units, kind))
    low, high = np.quantile(shares, [0.05, 0.95], axis=0)
    return DepthCurve(name, shares.mean(axis=0), low, high)


gradient_against_depth(
    np.arange(1, DEPTH + 1),
    {
        title: [share(name, kind) for name in ACTIVATIONS]
        for title, kind in {"slope at least 1": "slope_at_least_one", "slope below 0.01": "saturated"}.items()
    },
    xlabel="hidden layer",
    ylabel="share of the units",
)

# %% [markdown]
# Less than 1 in 10,000 of the sigmoid's units is saturated: their slope is near $1/4$, the largest it has. Its gradient
# vanishes where the function is at its best. Half of ReLU's units have slope 0, a loss of $\sqrt{1/2}$ a layer.
#
# ## Which start value of a?
#
# [P] starts $a$ where the steepest slope is 1.5. What other start values do to the gradient takes no network to find
# out. Here for PPNS, whose $a$ is four times its steepest slope; above 0 the gradient grows with the depth.


# %%
def prediction(steepest_slope):
    """The gradient at the first layer of networks of 1 to DEPTH hidden layers."""
    record = pa.parametric(pa.activations.pn_sigmoid, a=4 * steepest_slope)
    values = pa.gradients.mean_field.predict(record, DEPTH).log_gradient / np.log(10)
    return DepthCurve(f"a = {4 * steepest_slope:g}, slope {steepest_slope:g}", values, values, values)


predictions = [prediction(slope) for slope in (0.5, 1.0, 1.25, 1.5, 2.0, 3.0)]
gradient_against_depth(np.arange(1, DEPTH + 1), {"PPNS, mean field": predictions})

# %% [markdown]
# At a steepest slope between 1 and 1.25 the gradient neither vanishes nor grows. The paper's 1.5 lets it grow by 0.8
# decades in 20 layers; at 0.5 it loses 6, at 3 it gains 3.
#
# ## Onward
#
# - `attribute` takes any network, nnx, linen or a function of params; look at a model of yours while it trains. The
#   notebook `any_model` does it for a residual network and a transformer.
# - `python -m experiments gradients` in the repository goes to 50 layers, for several initial scales.
# - `quickstart` trains the sigmoid and PPNS; `seed_sweep` counts how often each converges.
#
# [P]: Y. M. Ko and S. W. Ko, Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions, 2021.
# B. Poole et al., Exponential expressivity in deep neural networks through transient chaos, 2016. S. S. Schoenholz et
# al., Deep information propagation, 2017.
