import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.studies import xor10
from experiments.studies.xor10 import Xor10
from experiments.study.run_directory import Run
from paramact_jax.figures import ConvergenceCurve, convergence
from paramact_jax.papers import ko2021


def dataset(counts, trials=1000):
    converged = np.array([np.arange(trials) < n for n in counts.values()])
    return xr.Dataset(
        {"converged": (("activation", "seed"), converged)},
        coords={"activation": list(counts), "seed": np.arange(trials)},
    )


PUBLISHED = {row.activation: row.converged for row in ko2021.TABLE_5}


def test_the_published_counts_match_themselves():
    rows = xor10.table_5(dataset(PUBLISHED))
    assert [row.matched for row in rows] == [True] * 7
    assert [row.p_value for row in rows] == [1.0] * 7


def test_a_count_far_off_is_not_matched():
    rows = xor10.table_5(dataset(PUBLISHED | {"ppns": 193}))
    assert {row.activation: row.matched for row in rows}["ppns"] is False
    assert sum(not row.matched for row in rows) == 1


def test_holm_spares_one_of_many_rows_just_below_5_percent():
    """789 against 744 has p = 0.018 alone, and 0.128 as one row of seven."""
    row = {row.activation: row for row in xor10.table_5(dataset(PUBLISHED | {"ppns": 789}))}["ppns"]
    assert row.p_value < 0.05 < row.p_value_holm
    assert row.matched


def test_an_unpublished_activation_has_no_verdict():
    (row,) = xor10.table_5(dataset({"pn_sigmoid": 3}))
    assert (row.published, row.p_value, row.matched) == (None, None, None)


def pairs(one, other, only_one, only_other, trials=1000):
    """Records in which the second converges in 600 trials, and so many have converged under one of them alone."""
    records = dataset({one: 600, other: 600}, trials)
    records["converged"].loc[{"activation": one, "seed": slice(0, only_other - 1)}] = False
    records["converged"].loc[{"activation": one, "seed": slice(600, 600 + only_one - 1)}] = True
    return records


@pytest.mark.parametrize(
    ("only_one", "only_other", "verdict", "where"),
    [
        (150, 78, "true", "inside"),
        (260, 100, "true", "outside"),
        (78, 150, "false", "outside"),
        (150, 120, "undecided", "outside"),
        (100, 99, "undecided", "outside"),
    ],
)
def test_tanh_and_parametric_tanh_are_compared_on_equal_seeds(only_one, only_other, verdict, where):
    (found,) = xor10.compared(pairs("parametric_tanh", "tanh", only_one, only_other))
    assert found.text == "Parametric Tanh converges more often than Tanh, by 72 of 1,000 trials"
    assert (found.verdict, found.effect) == (verdict, pytest.approx((only_one - only_other) / 1000))
    low, high = found.interval
    assert f"the published 0.072 is {where}" in found.measured
    assert (low <= 0.072 <= high) == (where == "inside")


def test_comparisons_are_of_the_papers_networks_and_corrected():
    counts = xor10.compared(dataset(PUBLISHED))
    assert [one.verdict for one in counts] == ["true", "true", "true", "undecided"]
    other = dataset(PUBLISHED).assign_coords(layer=range(3), node=range(2))
    assert list(xor10.compared(other)) == []
    assert list(xor10.compared(dataset({"tanh": 600, "ppns": 700}))) == []


def test_table_4_needs_seeds_0_to_99_of_both():
    assert [row.trials for row in xor10.table_4(dataset(PUBLISHED))] == [100, 100]
    assert xor10.table_4(dataset({"ppns": 50}, trials=200)) == []
    assert xor10.table_4(dataset(PUBLISHED, trials=99)) == []


def test_networks_of_other_sizes_have_no_published_counts():
    for sizes in ({"layer": 3, "node": 2}, {"layer": 10, "node": 4}):
        other = dataset(PUBLISHED).assign_coords({name: range(size) for name, size in sizes.items()})
        assert {row.matched for row in xor10.table_5(other)} == {None}
        assert xor10.table_4(other) == []
    usual = dataset(PUBLISHED).assign_coords(layer=range(10), node=range(2))
    assert all(row.matched for row in xor10.table_5(usual))


def test_what_is_left_to_the_protocol():
    recovered = dataclasses.asdict(Xor10().resolved())
    assert dataclasses.asdict(PROTOCOLS["recovered"]).items() <= recovered.items()
    literal = Xor10(protocol="literal", learning_rate=0.1, bias_std=0.2).resolved()
    assert (literal.weight_std, literal.loss, literal.activation_learning_rate) == (1.0, "mse", 0.1)
    assert Xor10(width=4).resolved().weight_std == 0.5


def test_the_note_says_what_was_changed_in_the_protocol():
    config = {"protocol": "recovered", **dataclasses.asdict(PROTOCOLS["recovered"]), "first_seed": 5, "seeds": 100}
    data = dataset({"ppns": 50}, trials=100)
    data = data.assign(non_finite=xr.zeros_like(data["converged"]))
    for changes, says in (
        ({}, "protocol recovered, seeds 5 to 104"),
        ({"initial_a": 3.0, "learning_rate": 1.0}, "protocol recovered with learning_rate 1.0, initial_a 3.0, seeds"),
    ):
        manifest = {"config": config | changes, "environment": {"x64": False}}
        ((_, table),) = Xor10.tables(Run(Path("x"), data, manifest))
        assert table.note.startswith(says)
    data["non_finite"][0, :3] = True
    ((_, table),) = Xor10.tables(Run(Path("x"), data, manifest | {"environment": {"x64": True}}))
    assert "64-bit numbers" in table.note
    assert "not converged: 3 of ppns" in table.note


def test_convergence_figure_draws_the_share_reached():
    reached = np.array([10, 20, -1, 30])
    figure = convergence([ConvergenceCurve("PPNS", reached, published=0.744)], iterations=40, threshold=1e-3)
    (axes,) = figure.axes
    curve, published = axes.lines[:2]
    x, y = curve.get_data()
    assert [y[np.searchsorted(x, at)] for at in (9, 10, 20, 29, 30, 40)] == [0, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert published.get_data() == ([40], [0.744])
    with pytest.raises(ValueError, match="at least one trial"):
        convergence([ConvergenceCurve("x", np.array([]))], iterations=1, threshold=1)
