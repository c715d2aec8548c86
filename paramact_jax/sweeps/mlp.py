"""The sweep of a multilayer perceptron, in the form that is fastest for its shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from paramact_jax.activations import Activation
from paramact_jax.networks import forward
from paramact_jax.sweeps.forms import FORMS
from paramact_jax.sweeps.trials import OverTrials
from paramact_jax.training import gradient_descent

WIDEST_WITH_TRIALS_LAST = 16
"""Measured on CPUs: up to 8 nodes a layer trials-last is 2 to 5 times as fast, at 16 about equal, from 32 slower."""


@dataclasses.dataclass(frozen=True)
class OldForm:
    """How the trials of a network are computed. Forms differ in speed and rounding, not in mathematics.

    Attributes:
      trials_last: sums of products with the trials on the last axis, instead of batched matrix products.
      fused: see `OverTrials`.
    """

    trials_last: bool
    fused: bool


def choose_form(features: Sequence[int]) -> OldForm:
    """The form for a network whose input, hidden layers and output have these sizes."""
    narrow = max(features) <= WIDEST_WITH_TRIALS_LAST
    return OldForm(trials_last=narrow, fused=narrow)


def mlp_trainer(
    activation: Activation,
    hidden_features: Sequence[int],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    form: OldForm | None = None,
    mesh: Mesh | None = None,
) -> OverTrials:
    """Makes `(state, (settings, steps)) -> state` for all trials of an MLP: see `training.gradient_descent`.

    Args:
      activation: the record in every hidden layer.
      hidden_features: sizes of the hidden layers.
      inputs: (points, in_features), the same for all trials.
      targets: (points, out_features).
      form: by default chosen by the sizes.
      mesh: devices, by default all.
    """
    form = form or choose_form([inputs.shape[1], *hidden_features, targets.shape[1]])
    advance = gradient_descent(
        lambda params, inputs: forward(params, inputs, activation), inputs, targets, trials_last=form.trials_last
    )
    return OverTrials(lambda state, shared: advance(state, *shared), form=FORMS["batched"], mesh=mesh)
