import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.problems.xor10.protocol import PROTOCOLS
from experiments.study.run_directory import Run
from experiments.study.tables import Table
from experiments.xor10 import report
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
    rows = report.table_5(dataset(PUBLISHED))
    assert [row.matched for row in rows] == [True] * 7
    assert [row.p_value for row in rows] == [1.0] * 7


def test_a_count_far_off_is_not_matched():
    rows = report.table_5(dataset(PUBLISHED | {"ppns": 193}))
    assert {row.activation: row.matched for row in rows}["ppns"] is False
    assert sum(not row.matched for row in rows) == 1


def test_holm_spares_one_of_many_rows_just_below_5_percent():
    """789 against 744 has p = 0.018 alone, and 0.128 as one row of seven."""
    row = {row.activation: row for row in report.table_5(dataset(PUBLISHED | {"ppns": 789}))}["ppns"]
    assert row.p_value < 0.05 < row.p_value_holm
    assert row.matched


def test_an_unpublished_activation_has_no_verdict():
    (row,) = report.table_5(dataset({"pn_sigmoid": 3}))
    assert (row.published, row.p_value, row.matched) == (None, None, None)


def test_table_4_needs_seeds_0_to_99_of_both():
    assert [row.trials for row in report.table_4(dataset(PUBLISHED))] == [100, 100]
    assert report.table_4(dataset({"ppns": 50}, trials=200)) == []
    assert report.table_4(dataset(PUBLISHED, trials=99)) == []


def test_the_note_says_what_was_changed_in_the_protocol():
    config = {"protocol": "recovered", **dataclasses.asdict(PROTOCOLS["recovered"]), "first_seed": 5, "trials": 100}
    data = dataset({"ppns": 50}, trials=100)
    data = data.assign(non_finite=xr.zeros_like(data["converged"]))
    for changes, says in (
        ({}, "protocol recovered, seeds 5 to 104"),
        ({"initial_a": 3.0, "learning_rate": 1.0}, "protocol recovered with learning_rate 1.0, initial_a 3.0, seeds"),
    ):
        manifest = {"config": config | changes, "environment": {"x64": False}}
        (table,) = report.tables(Run(Path("x"), data, manifest))
        assert table.note.startswith(says)
    data["non_finite"][0, :3] = True
    (table,) = report.tables(Run(Path("x"), data, manifest | {"environment": {"x64": True}}))
    assert "64-bit numbers" in table.note
    assert "not converged: 3 of ppns" in table.note


def test_tables_in_four_notations():
    table = Table("A & B", ["x_1", "y"], [["1 %", "2"], ["long cell", "30"]], note="n")
    assert table.plain().splitlines()[2:6] == ["x_1         y", "---------  --", "1 %         2", "long cell  30"]
    assert "| 1 % | 2 |" in table.markdown()
    assert table.csv() == "x_1,y\n1 %,2\nlong cell,30\n"
    assert r"x\_1 & y \\" in table.latex()
    assert r"\caption{A \& B}" in table.latex()
    with pytest.raises(ValueError, match="expected 2 cells"):
        Table("t", ["a", "b"], [["1"]])


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
