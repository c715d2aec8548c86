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
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/YOUR_ACCOUNT/paramact_jax/blob/main/notebooks/quickstart.ipynb)
#
# # An activation that is trained
#
# You will put a parametric activation into a Flax model, train it, and see its scales $a$ and shifts $b$ move.
# You will see ten hidden layers learn with it where the plain sigmoid learns nothing, from the same initial weights.
# And you will make the activations of a model that exists already trainable. It takes about ten seconds.

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

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import paramact_jax as pa
from paramact_jax.figures import Moves, gallery, moves_together, trajectories

SEED = 26
STEPS = 1_000
LEARNING_RATE = 0.05

# %% [markdown]
# ## The function
#
# A parametric activation is $z = a\, f(y - b)$, with an $a$ and a $b$ for every node that are learned like weights
# [P, eq. 7-12]:
#
# $$\frac{\partial z}{\partial y} = a f'(y - b), \qquad \frac{\partial z}{\partial a} = f(y - b), \qquad
# \frac{\partial z}{\partial b} = -a f'(y - b).$$
#
# The gradient of a deep network is a product of such slopes. That of the sigmoid is at most $1/4$, so the product
# vanishes. Therefore $a$ starts where the steepest slope is $1.5$: at $6$ for the sigmoid, at $1.5$ for tanh
# [P, section 4.1]. PPNS is the sigmoid moved to be symmetric about $0$, $z = a\,\sigma(y - b) - a/2$ [P, Table 1].
#
# Below, each function is solid and its slope dashed; pale curves have other values of $a$ and $b$.

# %%
gallery([pa.activations.get(name) for name in ("sigmoid", "parametric_sigmoid", "ppns", "tanh", "parametric_tanh")])

# %% [markdown]
# ## The layer
#
# `pa.nnx.Parametric` is an ordinary Flax layer. It takes a name of the catalogue, a record, or any elementwise function
# of yours.

# %%
layer = pa.nnx.Parametric("ppns", features=3)
print("a starts at", layer.a[...], "and b at", layer.b[...])

# %% [markdown]
# ## A network, trained
#
# The network of [P, Fig. 6]: two inputs, ten hidden layers of two nodes, one output; the task is the exclusive or. It
# is built twice, with the same initial weights, and trained by gradient descent on half the mean squared error.


# %%
def network(activation, seed):
    """Ten hidden layers of two nodes."""
    rngs = nnx.Rngs(seed)
    hidden = [part for _ in range(10) for part in (nnx.Linear(2, 2, rngs=rngs), activation())]
    return nnx.Sequential(*hidden, nnx.Linear(2, 1, rngs=rngs))


networks = {
    "Sigmoid": network(lambda: nnx.sigmoid, SEED),
    "PPNS": network(lambda: pa.nnx.Parametric("ppns", features=2), SEED),
}

# %%
inputs, targets = pa.datasets.xor()


@nnx.jit
def train_step(model, optimizer):
    """One update; returns the loss before it."""
    loss, gradient = nnx.value_and_grad(lambda model: optax.l2_loss(model(inputs), targets).mean())(model)
    optimizer.update(model, gradient)
    return loss


def train(model):
    """The loss before every step."""
    optimizer = nnx.Optimizer(model, optax.sgd(LEARNING_RATE), wrt=nnx.Param)
    return np.array([train_step(model, optimizer) for _ in range(STEPS)])


def scales_and_shifts(model):
    """A point (a, b) for each node, layer by layer."""
    layers = [layer for layer in model.layers if isinstance(layer, pa.nnx.Parametric)]
    return [np.stack([layer.a[...], layer.b[...]], axis=1) for layer in layers]


before = scales_and_shifts(networks["PPNS"])
losses = {name: train(model) for name, model in networks.items()}
after = scales_and_shifts(networks["PPNS"])
{name: f"{loss[-1]:.2g}" for name, loss in losses.items()}

# %% [markdown]
# Under PPNS the loss reaches 0. Under the sigmoid it stays at 0.125, the price of answering 1/2 to everything.

# %%
trajectories(np.arange(STEPS), {"half the mean squared error": losses})

# %%
{name: model(inputs)[:, 0].round(3).tolist() for name, model in networks.items()}

# %% [markdown]
# ## What a and b did
#
# All twenty nodes started at $(a, b) = (6, 0)$, the open circle. The cross is the farthest point of the network that
# [P, Fig. 10] shows, with other initial weights.

# %%
moves_together(
    [Moves(f"layer {i + 1}", *points) for i, points in enumerate(zip(before, after, strict=True))],
    names=("a", "b"),
    published=(pa.papers.ko2021.FIG_10_FARTHEST.a, pa.papers.ko2021.FIG_10_FARTHEST.b),
)

# %% [markdown]
# The moves are small, of $a$ by less than 0.05 and of $b$ by about 0.15 at most: the steep start does most of the work.
# `python -m experiments ablation xor10` in the repository measures how much of it.
#
# Not every seed converges, and the training is chaotic: for some seeds the rounding of another processor or of another
# version of JAX decides. For this one it does not; a change of all initial weights by a thousandth of them leaves it
# converging. How often a seed converges is the subject of the next notebook.
#
# ## A model that exists already
#
# `parametrise` finds the activations in what a model computes, however it is written, and leaves its outputs as they
# are: here $a$ starts at $1$. Then $a$ and $b$ can have learning rates of their own.

# %%
rngs = nnx.Rngs(0)
existing = nnx.Sequential(nnx.Linear(4, 8, rngs=rngs), nnx.relu, nnx.Linear(8, 1, rngs=rngs))
x = jnp.linspace(-1, 1, 12).reshape(3, 4)
retrofit = pa.parametrise(existing, x)
print(retrofit)
print("outputs changed by at most", float(jnp.abs(retrofit.model(x) - existing(x)).max()))

# %%
rates = {"weights": optax.adam(1e-3), "a": optax.sgd(0.01), "b": optax.sgd(0.1)}
own_rates = optax.partition(rates, pa.layers.parameter_labels(retrofit.model, separate=True))
optimizer = nnx.Optimizer(retrofit.model, own_rates, wrt=nnx.Param)

# %% [markdown]
# ## Onward
#
# - `seed_sweep`: the same network a thousand times, for seven activations, beside the published counts.
# - `where_gradients_vanish`: at which layer a gradient is lost, and to what.
# - `mnist`: eight hidden layers on handwritten digits.
# - `your_own_activation`: any function of yours, checked and swept.
#
# [P]: Y. M. Ko and S. W. Ko, Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions, 2021.
