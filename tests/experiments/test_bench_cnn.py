"""`bench cnn`: its contestants train the same network, and its targets follow from the rates."""

import pytest

from experiments.bench.digits import BenchCnn
from experiments.problems.cnn.networks import for_training, load
from experiments.problems.cnn.protocol import Protocol

pytestmark = pytest.mark.usefixtures("unoptimised")


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
    protocol = Protocol(**{"batch": 20, "learning_rate": 0.05, "activation_learning_rate": 0.3} | options)
    bench = BenchCnn(combination=combination, rounds=1, steps=12, seeds=2)
    result, tables = bench.measure(stand_in, protocol=protocol)
    (row,) = result["rows"]
    assert list(row["images_per_second"]) == ["one_seed", "one_seed_one_device", "seeds_at_once", "pytorch"]
    assert all(found["min"] > 0 for found in row["images_per_second"].values())
    assert "not MNIST" in result["parameters"]["data"]
    assert [target["value"] for target in result["targets"]] == [x["median"] for x in row["ratios"].values()]
    assert "training images per second" in tables[0].plain()
