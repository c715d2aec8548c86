"""The rows of [A] are as printed, and what is said to be read off them can be."""

import dataclasses
import re

import pytest

from paramact_jax.activations import catalogue
from paramact_jax.papers import kong2020
from paramact_jax.papers.kong2020 import LABELS, TABLE_1, CombinationRow

AS_PRINTED = """
1	Sigmoid	ReLU	0.18850	5030
2	Sigmoid	Agile ReLU	0.16094	5045
3	Sigmoid	Agile Sigmoid	0.14456	9908
4	Agile Sigmoid	ReLU	0.16259	5036
5	Agile Sigmoid	Agile ReLU	0.16684	4317
6	Agile Sigmoid	Agile Sigmoid	0.15600	7808
7	ReLU	ReLU	0.18127	1187
8	ReLU	Agile ReLU	0.17529	1187
9	ReLU	Agile Sigmoid	0.16031	3400
10	Agile ReLU	ReLU	0.17666	1050
11	Agile ReLU	Agile ReLU	0.18261	809
12	Agile ReLU	Agile Sigmoid	0.15027	3261
"""


def test_rows_are_as_printed():
    rows = [
        f"{row.number}\t{LABELS[row.conv]}\t{LABELS[row.dense]}\t{row.loss:.5f}\t{row.iterations}" for row in TABLE_1
    ]
    assert rows == AS_PRINTED.strip().splitlines()
    assert (kong2020.CITATION.key, kong2020.CITATION.year) == ("A", 2020)


def test_names_are_in_the_catalogue_and_agile_ones_have_a_and_b():
    for name, label in LABELS.items():
        assert list(catalogue.get(name).params) == (["a", "b"] if label.startswith("Agile ") else [])


def test_what_is_read_off_the_table_holds_in_it():
    relu, sigmoid = ([row for row in TABLE_1 if row.conv.endswith(kind)] for kind in ("relu", "sigmoid"))
    assert max(row.iterations for row in relu) < min(row.iterations for row in sigmoid)
    for conv in LABELS:
        of_conv = [row for row in TABLE_1 if row.conv == conv]
        assert len(of_conv) == 3
        assert min(of_conv, key=lambda row: row.loss).dense == "parametric_sigmoid"


def test_claims_name_rows_of_the_table():
    by_loss = sorted(TABLE_1, key=lambda row: row.loss)
    named = "{} in the convolutional layers with {} in the dense layer"
    for claim, row in ((kong2020.CLAIM_LOWEST, by_loss[0]), (kong2020.CLAIM_BEST, by_loss[1])):
        assert claim.startswith(named.format(*row.label.split(" / ")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conv": "tanh"}, "row 12: expected one of sigmoid, parametric_sigmoid, relu, parametric_relu, got 'tanh'"),
        ({"dense": "agile_sigmoid"}, "got 'agile_sigmoid'"),
        ({"loss": 0.0}, "expected a finite loss > 0, got 0.0"),
        ({"loss": float("nan")}, "expected a finite loss > 0, got nan"),
        ({"iterations": 0}, "got 0 iterations"),
        ({"number": 0}, "row 0: expected a number"),
    ],
    ids=str,
)
def test_a_wrong_row_is_refused(fields, message):
    row = dataclasses.asdict(TABLE_1[11])
    with pytest.raises(ValueError, match=re.escape(message)):
        CombinationRow(**row | fields)


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TABLE_1[0].loss = 0.1
