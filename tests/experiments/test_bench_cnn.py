"""`bench cnn`: its contestants train the same network, and its targets follow from the rates."""

import numpy as np
import pytest

from experiments.bench import cnn
from experiments.bench.contest import Contestant
from experiments.problems.cnn.networks import for_training, load
from experiments.problems.cnn.protocol import Protocol

pytestmark = pytest.mark.usefixtures("unoptimised")


def contestant(name, losses):
    return Contestant(name, lambda: 1.0, lambda: np.array(losses)[:, None], 1, 1)


def test_other_networks_are_refused():
    cnn.check_same_network([contestant("x", [2.0, 1.0]), contestant("y", [2.0001, 1.005])])
    for other in ([2.01, 1.0], [2.0, 1.02], [2.0, float("nan")]):
        with pytest.raises(RuntimeError, match="expected y and x to train the same network"):
            cnn.check_same_network([contestant("x", [2.0, 1.0]), contestant("y", other)])


@pytest.mark.parametrize(
    ("rates", "met", "values"),
    [
        ({"one_seed": [3, 2, 9], "seeds_at_once": [4, 4, 4], "pytorch": [2, 2, 2]}, [True, True], [1.5, 2.0]),
        ({"one_seed": [1, 1], "seeds_at_once": [2, 2], "pytorch": [2, 2]}, [False, False], [0.5, 1.0]),
        ({"one_seed": [1], "seeds_at_once": [2]}, [None, None], [None, None]),
    ],
)
def test_targets_are_medians_of_ratios_in_a_round(rates, met, values):
    targets = cnn._targets(rates, 5)
    assert [target["met"] for target in targets] == met
    assert [target["value"] for target in targets] == values


@pytest.mark.parametrize(
    ("combination", "options"),
    [
        ("parametric_sigmoid/relu", {"pooling": "average", "padding": "valid", "sharing": "channel"}),
        ("parametric_relu/parametric_sigmoid", {"activation_learning_rate": 0.02}),
    ],
)
def test_all_contestants_train_the_same_network(combination, options):
    pytest.importorskip("torch")
    stand_in = for_training(load("synthetic", None, 200), 200, 0)
    protocol = Protocol(**{"seeds": 2, "batch": 20, "learning_rate": 0.05, "activation_learning_rate": 0.3} | options)
    result = cnn.measure(stand_in, combination=combination, protocol=protocol, rounds=1, steps=12)
    assert list(result["images_per_second"]) == ["one_seed", "one_seed_one_device", "seeds_at_once", "pytorch"]
    assert all(found["min"] > 0 for found in result["images_per_second"].values())
    text = cnn.render(result)
    assert "training images per second" in text
    assert "not MNIST" in text
