import numpy as np

from paramact_jax.datasets import xor


def test_xor():
    inputs, targets = xor()
    assert {(int(x1), int(x2)): float(t) for (x1, x2), (t,) in zip(inputs, targets, strict=True)} == {
        (0, 0): 0.0,
        (0, 1): 1.0,
        (1, 0): 1.0,
        (1, 1): 0.0,
    }
    assert (inputs.shape, targets.shape) == ((4, 2), (4, 1))
    assert inputs.dtype == targets.dtype == np.float32


def test_changing_the_arrays_changes_nobody_elses():
    inputs, targets = xor()
    inputs += 1
    targets += 1
    assert xor()[0].min() == xor()[1].min() == 0
