import json

import pytest

from experiments.bench import retrofitted
from experiments.bench.activations import measure, tables


@pytest.fixture(scope="module")
def result():
    return measure(rounds=1, shapes=((8, 16), (16, 32)), bases=("tanh", "relu_from_right"))


def test_every_function_is_measured_in_every_shape_and_pass(result):
    assert json.loads(json.dumps(result)) == result
    functions = {"relu", "tanh", "parametric tanh", "relu_from_right", "parametric relu_from_right"}
    for shape in ([8, 16], [16, 32]):
        for what in ("forward", "forward + backward"):
            rows = {r["function"]: r for r in result["rows"] if r["shape"] == shape and r["pass"] == what}
            assert set(rows) == functions
            assert all(row["nanoseconds"] > 0 for row in rows.values())
            assert rows["relu"]["to_reference"] == 1
            assert rows["tanh"]["to_base"] is None
            tanh, learned = rows["tanh"]["nanoseconds"], rows["parametric tanh"]["nanoseconds"]
            assert rows["parametric tanh"]["to_base"] == pytest.approx(learned / tanh)


def test_targets_name_the_worst(result):
    for target, what in zip(result["targets"], ("forward", "forward + backward"), strict=True):
        ratios = [r["to_base"] for r in result["rows"] if r["pass"] == what and r["to_base"] is not None]
        assert target["value"] == max(ratios)
        assert isinstance(target["met"], bool)


def test_tables_show_all(result):
    small, large = tables(result["rows"])
    assert "batch 8 x 16" in small.title and "batch 16 x 32" in large.title
    assert [row[0] for row in small.rows] == list(dict.fromkeys(row["function"] for row in result["rows"]))
    assert small.rows[2][6] == result["rows"][7]["to_base"]


def test_a_changed_model_beside_itself():
    (row,) = retrofitted.measure(rounds=2, models=retrofitted.TINY)
    assert (row["model"], row["activations"]) == ("tiny ResNet", 2)
    assert row["plain"] > 0 < row["changed"]
    assert row["met"] == (row["ratio"] <= retrofitted.TARGET)
    assert row["attribution_met"] == (row["attribution_ratio"] <= retrofitted.ATTRIBUTION_TARGET)
    assert "tiny ResNet" in retrofitted.table([row]).plain()
