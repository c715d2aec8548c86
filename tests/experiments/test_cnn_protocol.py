"""The conditions of the convolutional networks are refused or can be built."""

import dataclasses
import re
import subprocess
import sys

import pytest

from experiments.problems.cnn.protocol import COMBINATIONS
from experiments.studies.cnn import Cnn
from experiments.studies.cnn_search import CnnSearch
from experiments.studies.cnn_sharing import CnnSharing
from experiments.study.options import check_options
from paramact_jax.activations import catalogue


def test_the_combinations_are_the_twelve_of_table_1():
    assert len(COMBINATIONS) == 12
    assert COMBINATIONS[11] == "parametric_relu/parametric_sigmoid"
    assert [catalogue.get(name).params["a"] for name in COMBINATIONS[11].split("/")] == [1.5, 6.0]


@pytest.mark.parametrize("study", [Cnn, CnnSharing, CnnSearch])
def test_the_conditions_by_default_can_be_trained(study):
    check_options(study().resolved())
    study().resolved().check(None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_size": 4}, "--kernel-size: expected an odd number [A, eq. 3], got 4"),
        ({"kernel_size": 5, "padding": "valid"}, "in layer convolutional 3, got a map 0 pixels wide"),
        ({"pool_size": 4}, "in layer convolutional 3, got a map 1 pixels wide"),
        ({"activation_learning_rate": float("nan")}, "--activation-learning-rate: expected a finite number >= 0"),
        ({"initial_a": float("inf")}, "--initial-a: expected a finite number, got inf"),
        ({"training_images": 5_001}, "--training-images: expected a multiple of 10, got 5001"),
        ({"batch": 5_001}, "--batch: expected an integer within 1..5000, the training images, got 5001"),
        ({"combinations": ("relu/agile_relu",)}, "unknown activation 'agile_relu'"),
        ({"combinations": ("relu",)}, "--combinations: expected CONV/DENSE, two activations as in parametric_relu"),
        ({"combinations": COMBINATIONS[:1] * 2}, "--combinations: expected at least one value, each once, got sigmoid"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_with_is_refused_in_one_line(fields, message):
    study = dataclasses.replace(Cnn(), **fields).resolved()
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        check_options(study)
        study.check(None)
    assert "\n" not in str(refusal.value)


def test_the_rate_of_a_and_b_is_that_of_the_weights_unless_it_is_given():
    assert Cnn(learning_rate=0.1).resolved().activation_learning_rate == 0.1
    assert Cnn(learning_rate=0.1, activation_learning_rate=0.0).resolved().activation_learning_rate == 0.0


def test_the_protocol_is_read_without_jax():
    program = "import sys, experiments.studies.cnn, experiments.studies.cnn_search; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "experiments.problems.cnn.protocol" in loaded
    assert not {"jax", "numpy"} & set(loaded)
