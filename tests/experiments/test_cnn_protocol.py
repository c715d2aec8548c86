"""The conditions of the convolutional networks are refused or can be built."""

import dataclasses
import re
import subprocess
import sys

import pytest
from flax import nnx

from experiments.problems.cnn.protocol import COMBINATIONS, DENSE_FEATURES, FILTERS, Protocol, search_cells
from paramact_jax.networks import CNN


def test_the_combinations_are_the_twelve_of_table_1():
    Protocol().check()
    assert len(COMBINATIONS) == 12
    assert COMBINATIONS[11] == ("parametric_relu", "parametric_sigmoid")
    conv, dense = Protocol().records()[COMBINATIONS[11]]
    assert (conv.params["a"], dense.params["a"]) == (1.5, 6.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_size": 4}, "--kernel-size: expected an odd number [A, eq. 3], got 4"),
        ({"kernel_size": 5, "padding": "valid"}, "in convolutional layer 3, got a map 0 pixels wide"),
        ({"pool_size": 4}, "in convolutional layer 3, got a map 1 pixels wide"),
        ({"padding": "full"}, "--padding: expected one of same, valid, got 'full'"),
        ({"pooling": "min"}, "--pooling: expected one of max, average, got 'min'"),
        ({"sharing": "node"}, "--sharing: expected one of element, channel, layer, got 'node'"),
        ({"learning_rate": 0.0}, "--learning-rate: expected a finite number > 0, got 0.0"),
        ({"activation_learning_rate": float("nan")}, "--activation-learning-rate: expected a finite number >= 0"),
        ({"initial_a": float("inf")}, "--initial-a: expected a finite number, got inf"),
        ({"training_images": 5_001}, "--training-images: expected a multiple of 10, got 5001"),
        ({"batch_size": 5_001}, "--batch-size: expected at most 5000, the training images, got 5001"),
        ({"iterations": 0}, "--iterations: expected an integer >= 1, got 0"),
        ({"trials": 2, "first_seed": 2**32 - 1}, "--first-seed: expected an integer within 0..4294967294"),
        ({"combinations": ()}, "--combinations: expected at least one pair of activations, got none"),
        ({"combinations": COMBINATIONS[:1] * 2}, "--combinations: expected each pair once, got sigmoid/relu"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_with_is_refused_in_one_line(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        dataclasses.replace(Protocol(), **fields).check()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"combinations": (("relu", "agile_relu"),)}, "unknown activation 'agile_relu'"),
    ],
    ids=str,
)
def test_names_that_cannot_be_trained_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Protocol(), **fields).records()


def test_every_cell_of_the_search_can_be_built():
    cells = search_cells(Protocol())
    assert len(set(cells)) == len(cells)
    for cell in cells:
        cell.check()
    for kernel_size, padding in {(cell.kernel_size, cell.padding) for cell in cells}:
        CNN(
            (28, 28, 1),
            FILTERS,
            DENSE_FEATURES,
            conv_activation="relu",
            dense_activation="relu",
            kernel_size=kernel_size,
            padding=padding,
            rngs=nnx.Rngs(0),
        )


def test_the_protocol_is_read_without_jax():
    program = "import sys, experiments.problems.cnn.protocol; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "experiments.problems.cnn.protocol" in loaded
    assert not {"jax", "numpy"} & set(loaded)
