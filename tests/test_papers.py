import dataclasses
import subprocess
import sys

import pytest

from paramact_jax.activations import catalogue
from paramact_jax.papers import ConvergenceRow, ko2021


def printed(table):
    return [(row.label, row.initial_a, row.initial_b, row.converged, row.trials) for row in table]


def test_rows_are_as_printed():
    assert printed(ko2021.TABLE_4) == [("Sigmoid", None, None, 0, 100), ("PPNS", 6, 0, 76, 100)]
    assert printed(ko2021.TABLE_5) == [
        ("Sigmoid", None, None, 0, 1000),
        ("Parametric Sigmoid", 6, 0, 29, 1000),
        ("PPNS", 6, 0, 744, 1000),
        ("Tanh", None, None, 628, 1000),
        ("Parametric Tanh", 1.5, 0, 700, 1000),
        ("ReLU", None, None, 11, 1000),
        ("Parametric ReLU", 1.5, 0, 8, 1000),
    ]
    assert (ko2021.CITATION.key, ko2021.CITATION.year) == ("P", 2021)


@pytest.mark.parametrize("row", ko2021.TABLE_4 + ko2021.TABLE_5, ids=lambda row: f"{row.label} of {row.trials}")
def test_rows_name_records_and_have_start_values_where_those_have_parameters(row):
    assert bool(catalogue.get(row.activation).params) == (row.initial_a is not None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"converged": 1001}, r"within 0\.\.1000 trials, got 1001"),
        ({"converged": -1}, r"within 0\.\.1000 trials, got -1"),
        ({"converged": 0, "trials": 0}, r"within 0\.\.0 trials"),
        ({"initial_b": None}, "both of a and b"),
        ({"initial_a": None}, "both of a and b"),
    ],
    ids=str,
)
def test_a_wrong_row_is_refused(fields, message):
    row = {"activation": "ppns", "label": "PPNS", "converged": 744, "trials": 1000, "initial_a": 6.0, "initial_b": 0.0}
    assert ConvergenceRow(**row) in ko2021.TABLE_5
    with pytest.raises(ValueError, match=message):
        ConvergenceRow(**row | fields)


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ko2021.TABLE_5[0].converged = 1


def test_papers_are_read_without_jax():
    program = "import sys, paramact_jax.papers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "paramact_jax.papers.ko2021" in loaded
    assert not {"jax", "numpy"} & set(loaded)
