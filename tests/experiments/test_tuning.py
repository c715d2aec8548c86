"""A learning rate is chosen on the first seeds alone, for each place along all other dims."""

import numpy as np
import pytest
import xarray as xr

from experiments.study.tuning import chosen, reported

RATES = [0.01, 0.1, 1.0]


def by_rate(values, rates=RATES):
    """Values (rates, seeds) as a labelled array."""
    return xr.DataArray(values, {"learning_rate": rates}, ("learning_rate", "seed"))


@pytest.mark.parametrize(
    ("values", "rate", "score", "at_end"),
    [
        ([[1, 1, 9], [2, 4, 0], [1, 2, 9]], 0.1, 3, False),
        ([[1, 1, 0], [0, 0, 0], [0, 0, 0]], 0.01, 1, True),
        ([[0, 0, 0], [0, 0, 0], [1, 1, 0]], 1.0, 1, True),
        ([[1, 1, 0], [2, 2, 0], [2, 2, 0]], 0.1, 2, False),
        ([[-5, -5, 0], [np.nan, 1, 0], [np.inf, 1, 0]], 0.01, -5, True),
        ([[1, 1, np.nan], [0, 0, 0], [0, 0, 0]], 0.01, 1, True),
        (np.full((3, 3), np.nan), 0.01, -np.inf, True),
    ],
)
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_one_rate_is_chosen_by_two_seeds(values, rate, score, at_end, order):
    """Not by the third, whatever the order of the rates; of equal ones the smallest, and no number is the worst."""
    found = chosen(by_rate(np.asarray(values, float)).isel(learning_rate=order), 2)
    assert {name: x.item() for name, x in found.items()} == {"rate": rate, "score": score, "at_end": at_end}


def test_a_single_rate_lies_at_no_end():
    assert not chosen(by_rate([[1.0, 2.0]], [0.1]), 1)["at_end"]


def test_every_place_along_other_dims_has_its_own():
    rng = np.random.default_rng(0)
    sizes, labels = {"optimiser": 2, "lr": 3, "activation": 4, "seed": 6}, {"lr": RATES, "activation": list("abcd")}
    values = xr.DataArray(rng.normal(size=tuple(sizes.values())), labels, tuple(sizes))
    values = values.assign_coords(optimiser=["x", "y"], seed=range(10, 16))
    best = chosen(values, 2, "lr")
    others = reported(values, best["rate"], 2, "lr")
    assert (others.sizes, others["seed"].values.tolist()) == (
        {"optimiser": 2, "activation": 4, "seed": 4},
        [12, 13, 14, 15],
    )
    for place in others.isel(seed=0).stack(at=("optimiser", "activation"))["at"].values:
        own, at = (
            values.sel(optimiser=place[0], activation=place[1]),
            dict(zip(("optimiser", "activation"), place, strict=True)),
        )
        alone = chosen(own.drop_vars(("optimiser", "activation")), 2, "lr")
        xr.testing.assert_equal(alone, best.sel(at, drop=True))
        np.testing.assert_array_equal(others.sel(at), own.sel(lr=alone["rate"])[2:])
