"""The four points of the exclusive or."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def xor() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns inputs of shape (4, 2) and targets of shape (4, 1), both in {0, 1} [P, section 4.1].

    Examples:
      >>> inputs, targets = xor()
      >>> [int(t) for t in targets[:, 0]]
      [0, 1, 1, 0]
    """
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return inputs, np.logical_xor(inputs[:, :1], inputs[:, 1:]).astype(np.float32)
