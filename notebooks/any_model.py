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
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/YOUR_ACCOUNT/paramact_jax/blob/main/notebooks/any_model.ipynb)
#
# # Any model
#
# You will write a residual network and a transformer in plain Flax, and make their activations trainable in one line.
# You will see what changes the gradient's norm on its way back: activations, norms, skips, attention.
# Put your own model in the place of these. It takes about a minute on two cores.

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
import jax.numpy as jnp
import numpy as np
from flax import nnx

import paramact_jax as pa
from paramact_jax.figures import gradient_profile

WIDTH = 32
DEPTH = 24
NETWORKS = 8

jax.config.update("jax_disable_most_optimizations", True)  # each network is compiled and run once: this is faster

# %% [markdown]
# ## Two networks
#
# Each has blocks, and a linear map at its end. A block may have a norm, a skip, both or neither. `activation` is any
# function, or the name of one of this package that has a trainable $a$ and $b$.


# %%
def same(x):
    """What stands in the place of a norm."""
    return x


def made(activation, features):
    """The activation of a block."""
    return pa.nnx.Parametric(activation, features=features) if isinstance(activation, str) else activation


class Residual(nnx.Module):
    """A linear map and an activation."""

    def __init__(self, activation, norm, skip, rngs):
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs) if norm else same
        self.linear = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.activation = made(activation, WIDTH)
        self.skip = skip

    def __call__(self, x):
        """One block."""
        y = self.activation(self.linear(self.norm(x)))
        return x + y if self.skip else y


class Transformer(nnx.Module):
    """Attention, and two linear maps with an activation between them."""

    def __init__(self, activation, norm, skip, rngs):
        self.first_norm = nnx.LayerNorm(WIDTH, rngs=rngs) if norm else same
        self.queries_keys_values = nnx.Linear(WIDTH, 3 * WIDTH, rngs=rngs)
        self.mix = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.second_norm = nnx.LayerNorm(WIDTH, rngs=rngs) if norm else same
        self.up = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs)
        self.activation = made(activation, 2 * WIDTH)
        self.down = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)
        self.skip = skip

    def __call__(self, x):
        """One block."""
        q, k, v = jnp.split(self.queries_keys_values(self.first_norm(x)), 3, axis=-1)
        y = self.mix(jax.nn.softmax(q @ k.swapaxes(-1, -2) / WIDTH**0.5) @ v)
        x = x + y if self.skip else y
        y = self.down(self.activation(self.up(self.second_norm(x))))
        return x + y if self.skip else y


class Network(nnx.Module):
    """Some blocks, one after the other."""

    def __init__(self, block, depth, activation, *, norm=True, skip=True, rngs):
        self.blocks = nnx.List([block(activation, norm, skip, rngs) for _ in range(depth)])
        self.head = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, x):
        """All blocks, and the head."""
        for block in self.blocks:
            x = block(x)
        return self.head(x)


x = jax.random.normal(jax.random.key(0), (32, WIDTH))  # samples, features
tokens = jax.random.normal(jax.random.key(0), (8, 16, WIDTH))  # samples, tokens, features

# %% [markdown]
# ## Trainable activations in one line
#
# `parametrise` calls the network once on an example, finds its activations, and makes $a f(y - b)$ of each. No code of
# the network changes. `start="steepest"` starts $a$ where the steepest slope is 1.5, as [P] does. Without it, the
# network computes what it did before. $a \tanh(y - b)$ is the PPNS of [P] at twice the input.

# %%
residual = Network(Residual, 3, jnp.tanh, rngs=nnx.Rngs(0))
retrofit = pa.parametrise(residual, x, start="steepest")
print(*retrofit.changed, sep="\n")

# %%
transformer = Network(Transformer, 2, jax.nn.gelu, rngs=nnx.Rngs(0))
retrofit = pa.parametrise(transformer, tokens, start="steepest")
print(*retrofit.changed, sep="\n")
print("new parameters:", ", ".join(retrofit.model.activations))

# %% [markdown]
# The norms and the softmax have elementwise functions too, such as a square and an exponential. These are left alone.
#
# ## What changes the gradient
#
# `attribute` goes back through the network, one operation at a time, and says by how much each changes the norm of the
# gradient. Here for six blocks under the sigmoid, without norm and skip. A change of -1 decade leaves a tenth.


# %%
def loss(outputs):
    """The mean square."""
    return (outputs**2).mean()


plain = Network(Residual, 6, jax.nn.sigmoid, norm=False, skip=False, rngs=nnx.Rngs(0))
plain_found = pa.gradients.attribute(plain, x, loss=loss)
print(plain_found)

# %% [markdown]
# The six sigmoids lose 3.8 decades, and the linear maps 0.1. No unit is saturated: a sigmoid's slope is 1/4 at
# best, and that is a loss of 0.6 decades each time. The sigmoid is also never negative. So, from the second block on,
# all weights of a unit are moved in one direction: "one sign" is 100 %. The last table divides by the norm of each
# parameter. That of a bias is 0 at the start, which gives "inf".
#
# ## Deep networks
#
# Now 24 blocks, under four activations, with and without norm and skip. So many blocks are better kept as one: every
# parameter gets an axis for the blocks, and a scan runs through them. `jax.vmap` looks at eight networks at a time,
# each with its own random weights.


# %%
class Deep(nnx.Module):
    """The same as `Network`, but compiled in the time of one block."""

    def __init__(self, block, activation, *, norm, skip, rngs):
        @nnx.split_rngs(splits=DEPTH)
        @nnx.vmap
        def blocks(rngs):
            return block(activation, norm, skip, rngs)

        self.blocks = blocks(rngs)
        self.head = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, x):
        """All blocks, and the head."""

        @nnx.scan
        def forward(x, block):
            return block(x), None

        return self.head(forward(x, self.blocks)[0])


def look_at(block, activation, inputs, *, norm, skip):
    """The attributions of some networks."""

    def look(key):
        network = Deep(block, activation, norm=norm, skip=skip, rngs=nnx.Rngs(key))
        return pa.gradients.attribute(network, inputs, loss=loss)

    return jax.vmap(look)(jax.random.split(jax.random.key(1), NETWORKS))


ACTIVATIONS = {"ppns": "ppns", "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}
VARIANTS = {
    "neither": {"norm": False, "skip": False},
    "norm": {"norm": True, "skip": False},
    "skip": {"norm": False, "skip": True},
    "both": {"norm": True, "skip": True},
}

deep = {
    (variant, name): look_at(Residual, activation, x, **options)
    for variant, options in VARIANTS.items()
    for name, activation in ACTIVATIONS.items()
}


# %%
def decades(logarithms):
    """Median over the networks, as a decimal logarithm."""
    return float(np.median(logarithms) / np.log(10))


def show(attributions):
    """One line for each: the change from the outputs to the inputs, and by each kind of operation."""
    print(f"{'norm, skip':12}{'activation':12}{'total':>6}   by kind, the largest losses first")
    for (variant, name), found in attributions.items():
        kinds = sorted((decades(share), str(kind)) for kind, share in found.by_kind().items())
        by_kind = ", ".join(f"{kind} {share:+.1f}" for share, kind in kinds if abs(share) >= 0.05)
        print(f"{variant:12}{name:12}{decades(found.total):+6.1f}   {by_kind}")


show(deep)

# %% [markdown]
# With neither, the sigmoid loses 15.5 decades, ReLU 3.9 and tanh 1.0. It is the activations that lose them. PPNS gains
# 0.8.
#
# With a norm, the sigmoids still lose 16.1 decades. But the norms give 15.8 back: they divide by the deviation of what
# they get, and that of a sigmoid's values is small.
#
# With a skip, most of the gradient goes around the sigmoids, which now lose 0.3. Where two ways come together their
# gradients add up, so that it grows instead: under ReLU by 3.0 decades.
#
# With both, all four activations gain less than one decade in 24 blocks.
#
# The curves show the norm of the gradient at every point that all paths pass. The bars below say what changes it there.

# %%
gradient_profile({name: deep["neither", name] for name in ACTIVATIONS}, title="24 blocks with neither norm nor skip")

# %%
gradient_profile(deep["norm", "sigmoid"], title="24 blocks of sigmoids with a norm")

# %% [markdown]
# Each block loses a factor of four to its sigmoid, and the norm of the next block gives it back.
#
# ## The transformer
#
# The same four variants, under the sigmoid; and one more, with the sigmoid moved down by 1/2, as PPNS is.


# %%
def centred(y):
    """The sigmoid, between -1/2 and 1/2."""
    return jax.nn.sigmoid(y) - 0.5


deep_transformer = {
    (variant, "sigmoid"): look_at(Transformer, jax.nn.sigmoid, tokens, **options)
    for variant, options in VARIANTS.items()
}
deep_transformer["norm", "centred"] = look_at(Transformer, centred, tokens, **VARIANTS["norm"])
show(deep_transformer)

# %% [markdown]
# With neither, the transformer loses as much as the residual network, 15.5 decades.
#
# With a norm it still loses 10.1. The linear map behind the sigmoids turns their mean of 1/2 into values that differ
# from feature to feature. So the deviation that the norm divides by is not small, and it gives back 7.2 of 16.2
# decades. Moved down by 1/2, the sigmoid loses as many, but the norms give all of them back.
#
# With a skip and no norm, the gradient grows by more than 4 decades. The values grow from block to block, and the
# products of attention are the larger for it. The softmax loses part of it again, as it saturates.
#
# With both, it grows by 1.0.

# %%
gradient_profile(deep_transformer["skip", "sigmoid"], title="24 transformer blocks with skips and without norms")

# %% [markdown]
# ## Onward
#
# - Any function of parameters and any module of nnx or linen can stand here: convolutions, recurrent cells, your own.
# - `where_gradients_vanish` goes further with chains of layers: theory, and the start value of $a$.
# - `your_own_activation` makes a function of yours parametric.
#
# [P]: Y. M. Ko and S. W. Ko, Alleviation of Vanishing Gradient Problem Using Parametric Activation Functions, 2021.
