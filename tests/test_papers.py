import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from paramact_jax.activations import catalogue
from paramact_jax.papers import ConvergenceRow, FinalLoss, SteepSlopes, TimeSaved, ko2021, kong2020


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
        ({"initial_b": None}, "both a and b"),
        ({"initial_a": None}, "both a and b"),
    ],
    ids=str,
)
def test_a_wrong_row_is_refused(fields, message):
    row = {"activation": "ppns", "label": "PPNS", "converged": 744, "trials": 1000, "initial_a": 6.0, "initial_b": 0.0}
    assert ConvergenceRow(**row) in ko2021.TABLE_5
    with pytest.raises(ValueError, match=message):
        ConvergenceRow(**row | fields)


@pytest.mark.parametrize("citation", [ko2021.CITATION, kong2020.CITATION], ids=lambda citation: citation.key)
def test_the_citation_file_says_the_same(citation):
    references = (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8").split("  - type: article")
    (reference,) = [text for text in references if f"title: {citation.title}\n" in text]
    fields = dict(line.strip().split(": ", 1) for line in reference.splitlines() if ": " in line)
    assert fields["journal"] == citation.venue
    assert f"{fields['start']}-{fields['end']}" == citation.pages
    for name in ("year", "volume", "issue", "doi"):
        assert fields[name] == str(getattr(citation, name))


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ko2021.TABLE_5[0].converged = 1


def test_papers_are_read_without_jax():
    program = "import sys, paramact_jax.papers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {f"paramact_jax.papers.{name}" for name in ("ko2021", "kong2020", "student_report")} <= set(loaded)
    assert not {"jax", "numpy"} & set(loaded)


def test_the_eight_activations_on_mnist_are_as_printed():
    assert [(row.label, row.printed) for row in ko2021.TABLE_7] == [
        ("ReLU", ""),
        ("Parametric ReLU", "a = 1.5, b = 0"),
        ("Tanh", ""),
        ("Parametric Tanh", "a = 1.5, b = 0"),
        ("ReLTanh", "lambda+ = 0, lambda- = -1.5"),
        ("Hexpo", "a, c = i/2 + 1; b, d = i/8 + 1 in hidden layer i"),
        ("Parametric Hexpo", "a, c = i/2 + 1; b, d = i/8 + 1 in hidden layer i; h = 0"),
        ("PPNS", "a = 6, b = 0"),
    ]
    for row in ko2021.TABLE_7:
        assert bool(catalogue.get(row.activation).params) == bool(row.printed)
    both = {row.activation: row.label for row in ko2021.TABLE_5}.items()
    assert both - {row.activation: row.label for row in ko2021.TABLE_7}.items() == {
        ("sigmoid", "Sigmoid"),
        ("parametric_sigmoid", "Parametric Sigmoid"),
    }


def test_the_numbers_on_mnist_are_as_printed():
    names = {row.activation for row in ko2021.TABLE_7}
    losses = {row.activation: (row.loss, row.steps) for row in ko2021.MNIST_FINAL_LOSS}
    assert losses == {
        "parametric_hexpo": (0.08, 10_000),
        "hexpo": (0.077, 10_000),
        "parametric_tanh": (0.076, 10_000),
        "ppns": (0.076, 10_000),
    }
    assert losses.keys() < names
    assert {row.activation for row in ko2021.FIG_14} == names
    assert [row.count for row in ko2021.FIG_14] == [34030, 34030, 0, 46694, 32606, 49384, 49384, 53566]
    assert {row.slopes for row in ko2021.FIG_14} == {65_536}
    saved = ko2021.MNIST_TIME_SAVED
    assert (saved.activation, saved.reference, saved.train_loss, saved.share) == ("ppns", "relu", 0.1, 2 / 3)
    assert ko2021.FIG_13_PARAMETRIC_RELU_RANGE == 0.4


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (lambda: FinalLoss("ppns", float("nan"), 10), "ppns: expected a finite loss > 0, got nan"),
        (lambda: FinalLoss("ppns", 0.0, 10), "ppns: expected a finite loss > 0, got 0"),
        (lambda: FinalLoss("ppns", 0.1, 0), "ppns: expected at least 1 step, got 0"),
        (lambda: SteepSlopes("tanh", 11, 10), r"tanh: expected a count within 0\.\.10, got 11"),
        (lambda: SteepSlopes("tanh", -1, 10), r"tanh: expected a count within 0\.\.10, got -1"),
        (lambda: TimeSaved("ppns", "relu", 0.1, 1.0), r"ppns: expected a share within \(0, 1\), got 1\.0"),
        (lambda: TimeSaved("ppns", "relu", 0.0, 0.5), r"ppns: expected a loss > 0, got 0\.0"),
    ],
)
def test_a_wrong_number_is_refused(record, message):
    with pytest.raises(ValueError, match=message):
        record()
