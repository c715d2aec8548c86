"""What the reports on the convolutional networks say, on small hand-made records with known answers."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from experiments.problems.cnn.protocol import COMBINATIONS, PUBLISHED, Protocol
from experiments.problems.cnn.train import best
from experiments.studies.cnn import Cnn, best_first, ranged, rank_correlation
from experiments.studies.cnn_sharing import CnnSharing
from experiments.study import report
from experiments.study.run_directory import Run
from experiments.study.statements import judged
from paramact_jax.papers import kong2020

NAMES = list(COMBINATIONS)
BEST = "parametric_relu/parametric_sigmoid"
LOWEST = "sigmoid/parametric_sigmoid"
LOSS = {name: row.loss for name, row in PUBLISHED.items()}
ITERATIONS = {name: row.iterations for name, row in PUBLISHED.items()}
SMALL = (100, 200, 300)
SLOWLY = "smallest test loss of the twelve, within the steps of the run and: at the latest step of the twelve"
STEPS = [0, 1_000, 5_000, 10_000]
LAYERS = ["convolutional 1", "convolutional 2", "convolutional 3", "dense"]


def dataset(loss=LOSS, at=ITERATIONS, seeds=3, synthetic=0, dense=(0.9, 0.5)):
    """Records with these smallest losses, at these iterations; seed k has k times 0.0001 more, k iterations more."""
    names, each = list(loss), np.arange(seeds)
    losses = np.array([[[2.3, loss[n] + 0.1, loss[n] + 1e-4 * k, loss[n] + 0.2] for k in each] for n in names])
    losses[[name == LOWEST for name in names], :, 1] += 0.5  # slow: the lowest in the end, and not on average
    ranges = np.full((len(names), seeds, 3, len(LAYERS)), np.nan)
    for i, name in enumerate(names):
        conv, dense_name = name.split("/")
        ranges[i, :, :, :3] = np.array([1.5, 1.6, 1.7])[:, None] if "parametric" in conv else np.nan
        ranges[i, :, :, 3] = 6.0 if "parametric" in dense_name else np.nan
    by = ("combination", "seed")
    dense_losses = np.array([[[2.3, level, level, level]] * seeds for level in dense])
    return xr.Dataset(
        {
            "test_loss": ((*by, "test_step"), losses),
            "test_accuracy": ((*by, "test_step"), 1 - losses / 4),
            "best_loss": (by, losses[:, :, 2]),
            "best_iteration": (by, np.array([at[n] + each for n in names], float)),
            **{
                f"{name}_{which}": ((*by, "step", "layer"), ranges)
                for name in "ab"
                for which in ("smallest", "largest")
            },
            "parameters_of_activations": ("combination", np.arange(len(names))),
            "dense_only_test_loss": (("dense_only", "seed", "test_step"), dense_losses),
        },
        coords={
            "combination": names,
            "seed": each,
            "test_step": STEPS,
            "step": [0, 1, 2],
            "layer": LAYERS,
            "dense_only": ["sigmoid", "parametric_sigmoid"],
        },
        attrs={"source": "by hand", "synthetic": synthetic},
    )


def run(records, directory=Path("x"), **config):
    config = dict(vars(Protocol().resolved())) | {"data": "by hand"} | config
    return Run(directory, records, {"experiment": "cnn", "config": config})


def said(records):
    return list(Cnn.statements(run(records)))


def found(records):
    return {(one.text, one.criterion.split(";")[0]): one for one in said(records)}


def verdicts(records):
    return [{"true": True, "false": False, "undecided": None}[one.verdict] for one in said(records)]


def tables(records, **config):
    return dict(Cnn.tables(run(records, **config)))


def columns(table):
    return [column if isinstance(column, str) else column.heading for column in table.columns]


def test_the_published_numbers_bear_out_all_of_table_1():
    assert verdicts(dataset()) == [True, False, True, True, True, True]
    bear_out = [re.findall(r"published: (\w+)", one.measured) for one in said(dataset())]
    assert bear_out == [[], [], [], ["true"] * 2, ["true"], ["true"]]
    assert [one.text for one in said(dataset())] == [*kong2020.CLAIMS, *kong2020.READINGS]


@pytest.mark.parametrize(
    ("loss", "at", "dense", "verdict"),
    [
        ({BEST: 0.14}, {}, (0.9, 0.5), [True, False, True, False, True, True]),
        ({BEST: 0.19}, {}, (0.9, 0.5), [True, False, False, True, True, False]),
        ({}, {LOWEST: 5_000}, (0.9, 0.5), [True, False, True, False, True, True]),
        ({}, {"relu/relu": 4_318}, (0.9, 0.5), [True, False, True, True, False, True]),
        ({"relu/relu": 0.15}, {}, (0.9, 0.5), [True, False, False, True, True, False]),
        ({}, {}, (0.5, 0.5), [False, False, True, True, True, True]),
    ],
)
def test_each_statement_can_be_false(loss, at, dense, verdict):
    assert verdicts(dataset(LOSS | loss, ITERATIONS | at, dense=dense)) == verdict


@pytest.mark.parametrize(
    ("steps", "falls", "verdict"), [([0, 1, 2, 3], 4, "true"), (STEPS, 4, "undecided"), ([0, 1, 2, 3], 3, "false")]
)
def test_scores_that_lie_apart_cannot_bear_out_that_the_loss_falls_at_every_step(steps, falls, verdict):
    records = dataset().assign_coords(test_step=steps)
    records["test_loss"][:] = np.array([4.0, 3.0, 2.0, 1.0 if falls == 4 else 2.0])
    (one,) = [one for one in said(records) if one.source == "A, Fig. 9"]
    assert one.verdict == verdict
    assert one.effect == pytest.approx(0 if falls == 4 else 1 / 3)


@pytest.mark.parametrize(
    ("at", "verdict", "seeds_true"),
    [
        ({LOWEST: 10_000}, [True, True], [3, 3]),  # the latest: later still would be later
        ({LOWEST: 9_998}, [True, True], [3, 3]),
        ({"parametric_sigmoid/parametric_sigmoid": 10_000}, [False, True], [0, 3]),
        ({"parametric_sigmoid/parametric_sigmoid": 9_998}, [False, True], [0, 3]),
        ({"parametric_sigmoid/parametric_sigmoid": 10_000, LOWEST: 10_000}, [None, True], [0, 3]),
        ({"relu/relu": 4_315}, [None, None], [0, 2]),
    ],
)
def test_an_iteration_that_is_the_last_may_be_a_later_one(at, verdict, seeds_true):
    """Seed k has k more; the run ends at 10,000, or for the last case at 4,317."""
    records = dataset(LOSS, ITERATIONS | at)
    last = 4_317 if "relu/relu" in at else 10_000
    records = records.assign_coords(test_step=[0, 1_000, 2_000, last])
    records["best_iteration"] = records["best_iteration"].clip(max=last)
    statement = [
        found(records)[kong2020.CLAIM_LOWEST, SLOWLY],
        found(records)[
            kong2020.READING_FEWER_ITERATIONS, "step of the smallest test loss below, in every pair of rows"
        ],
    ]
    assert [one.verdict for one in statement] == [judged(holds) for holds in verdict]
    assert [f"in {n} of 3 seeds alone" in one.measured for n, one in zip(seeds_true, statement, strict=True)] == [
        True
    ] * 2


def test_the_difference_is_of_the_two_that_come_closest():
    one = found(dataset())[kong2020.CLAIM_LOWEST, SLOWLY]
    assert one.measured.startswith("Sigmoid / Agile Sigmoid - Agile ReLU / Agile Sigmoid; in 3 of 3 seeds alone; ")
    assert one.effect == pytest.approx(LOSS[LOWEST] - LOSS[BEST])
    assert one.interval == pytest.approx((one.effect, one.effect))
    (reading,) = [one for (text, _), one in found(dataset()).items() if text == kong2020.READING_DENSE_AGILE_SIGMOID]
    assert reading.measured.startswith("Agile Sigmoid / Agile Sigmoid - Agile Sigmoid / ReLU; ")
    assert reading.effect == pytest.approx(0.15600 - 0.16259)


def test_agile_sigmoid_alone_has_to_be_ahead_at_every_score():
    records = dataset()
    records["dense_only_test_loss"].loc[{"dense_only": "parametric_sigmoid", "test_step": 5_000}] = 0.95
    one = said(records)[0]
    assert one.verdict == "false"
    assert one.measured.startswith("at 2 of 3 steps; in 0 of 3 seeds alone; ")
    assert one.effect == pytest.approx((0.5 + 0.95 + 0.5) / 3 - 0.9)


def test_statements_about_combinations_that_are_not_there_are_not_asked():
    records = dataset({name: LOSS[name] for name in NAMES[:3]}).drop_vars(["dense_only_test_loss", "dense_only"])
    assert said(records) == []


def test_a_seed_that_is_not_finite_is_left_out_and_counted():
    records = dataset()
    records["best_loss"].loc[{"combination": BEST, "seed": 2}] = np.nan
    records["test_loss"].loc[{"combination": BEST, "seed": 2}] = np.inf
    one = found(records)[kong2020.CLAIM_LOWEST, SLOWLY]
    assert one.verdict == "true"
    assert "in 2 of 3 seeds alone" in one.measured
    assert "left out where they are: 1 of 3 of Agile ReLU / Agile Sigmoid." in tables(records)["table_1"].note
    records["best_loss"].loc[{"combination": BEST}] = np.nan
    assert found(records)[kong2020.CLAIM_LOWEST, SLOWLY].verdict == "undecided"
    assert best_first(run(records))[-1] == BEST


def test_the_smallest_loss_is_the_smallest_finite_one_and_its_first_iteration():
    losses = xr.DataArray(
        [[3.0, 1.0, 1.0, np.nan], [np.nan, np.inf, np.nan, np.nan], [np.nan, 2.0, -np.inf, 0.5]],
        dims=("seed", "test_step"),
        coords={"test_step": STEPS},
    )
    np.testing.assert_array_equal(best(losses)["best_loss"], [1.0, np.nan, 0.5])
    np.testing.assert_array_equal(best(losses)["best_iteration"], [1_000, np.nan, 10_000])


def test_table_1_beside_the_published():
    table = tables(dataset())["table_1"]
    assert [row[0] for row in table.rows] == list(range(1, 13))
    row = dict(zip(columns(table), table.rows[11], strict=True))
    assert (row["convolutional"], row["dense"]) == ("Agile ReLU", "Agile Sigmoid")
    assert (row["loss"], row["published"], row["steps"]) == pytest.approx((0.15037, 0.15027, 3_262))
    assert row["published steps"] == 3_261
    assert row["in prediction interval"] is True
    half = stats.t.ppf(0.975, 2) * 1e-4 / np.sqrt(3)
    assert row["95 % interval"] == pytest.approx((0.15037 - half, 0.15037 + half))


def test_nothing_published_beside_synthetic_images():
    found = tables(dataset(synthetic=1))
    table, correlation = found["table_1"], found["rank_correlation"]
    published = [i for i, name in enumerate(columns(table)) if name.startswith(("published", "in prediction"))]
    assert {row[i] for row in table.rows for i in published} == {None}
    assert {cell for row in correlation.rows for cell in row[1:]} == {None}
    summary = Cnn.summary(run(dataset(synthetic=1)))
    assert summary["rank_correlation"] == {"best_loss": None, "best_iteration": None}


def test_nothing_published_beside_a_shorter_run():
    short = tables(dataset(), steps=2_499)["table_1"]
    assert short.note.endswith("the run ends at 2,499 steps, before the 2,500 of the protocol.")
    published = [i for i, name in enumerate(columns(short)) if name.startswith(("published", "in prediction"))]
    assert {row[i] for row in short.rows for i in published} == {None}
    assert "not compared" not in tables(dataset(), steps=2_500)["table_1"].note


def test_the_last_iteration_as_the_best_is_said():
    records = dataset(at=ITERATIONS | {LOWEST: 10_000}, seeds=1)
    note = tables(records, steps=10_000)["table_1"].note
    assert "the last of 10,000 steps in some seed, and perhaps still falling: Sigmoid / Agile Sigmoid." in note


def test_the_rank_correlation_of_the_published_order_is_1_and_of_its_reverse_minus_1():
    rho, p_value, pairs, single = tables(dataset())["rank_correlation"].rows[0][1:]
    assert (rho, p_value, pairs, *single) == pytest.approx((1, 1e-5, 12, 1, 1))
    reverse = tables(dataset({name: 1 - loss for name, loss in LOSS.items()}))["rank_correlation"]
    assert reverse.rows[0][1] == pytest.approx(-1)


def test_spearman_is_scipys_and_p_that_of_all_orders():
    ours, published = [0.3, 0.1, 0.4, 0.1, 0.5], [1.0, 2.0, 3.0, 4.0, 5.0]
    expected = stats.spearmanr(ours, published).statistic
    assert rank_correlation(ours, published).rho == pytest.approx(expected)
    exact = np.mean(
        [
            abs(stats.spearmanr(order, published).statistic) >= abs(expected) - 1e-9
            for order in itertools.permutations(ours)
        ]
    )
    assert rank_correlation(ours, published).p_value == pytest.approx(exact, abs=0.005)
    assert rank_correlation([1, np.nan, 2], [1, 2, 3]) is None
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]).rho)
    assert rank_correlation([1, np.inf, 2, 3], [3, 7, 2, 1]).rho == pytest.approx(-1)


def test_figures_and_of_which_combination_the_ranges_are():
    pictures = dict(Cnn.figures(run(dataset())))
    assert list(pictures) == ["figure_11", "figure_12", "figure_13", "figure_14_a", "figure_14_b"]
    twelve = [line for axes in pictures["figure_12"].axes for line in axes.get_lines() if len(line.get_xdata()) == 4]
    assert len(twelve) == 12
    five = pictures["figure_13"].legends[0].get_texts()
    assert [text.get_text() for text in five] == [kong2020.TABLE_1[n - 1].label for n in (3, 12, 6, 9, 2)]
    assert ranged(run(dataset())) == BEST
    assert ranged(run(dataset({name: LOSS[name] for name in NAMES[6:9]}))) == "relu/parametric_sigmoid"
    plain = run(dataset({"relu/relu": 0.1}))
    assert ranged(plain) is None
    assert list(dict(Cnn.figures(plain))) == ["figure_11", "figure_12", "figure_13"]
    assert list(dict(Cnn.tables(plain))) == ["table_1", "rank_correlation"]


def test_the_table_of_ranges():
    table = tables(dataset())["ranges"]
    assert table.title == "Ranges of a and b, Agile ReLU / Agile Sigmoid [A, Fig. 14]"
    assert list(table.rows[0]) == ["convolutional 1", "a", (1.5, 1.5), (1.7, 1.7), (1.5, 1.7)]
    assert len(table.rows) == 8


def test_the_report_is_written_and_is_json(tmp_path):
    written = {path.name for path in report.Report(Cnn, run(dataset(), tmp_path)).write()}
    assert written >= {"summary.json", "report.md", "table_1.csv", "statements.tex", "ranges.csv", "figure_14_b.png"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["order"][:2] == [LOWEST, BEST]
    assert summary["rank_correlation"]["best_loss"]["rho"] == pytest.approx(1)
    assert [one["verdict"] for one in summary["statements"]].count("true") == 5


def sharing_run(directory=Path("x")):
    names = [BEST]
    parts = []
    for level, parameters in ((0.15, 28_676), (0.16, 116), (0.17, 66)):
        part = dataset({BEST: level}, seeds=3)[["test_loss", "test_accuracy", "best_loss", "best_iteration"]]
        part["parameters_of_activations"] = ("combination", [parameters])
        parts.append(part.drop_vars(["step", "layer", "dense_only"], errors="ignore"))
    records = xr.concat(parts, xr.DataArray(["element", "channel", "layer"], dims="sharing", name="sharing"))
    seconds = np.array([[[0.002] * 3]] * 3)
    records["seconds_per_step"] = (("sharing", "combination", "timing"), seconds)
    records.attrs = {"source": "by hand", "synthetic": 0}
    assert records["combination"].values.tolist() == names
    return run(records, directory, sharing=["element", "channel", "layer"])


def test_sharing_is_compared_with_the_first_on_equal_seeds(tmp_path):
    table = dict(CnnSharing.tables(sharing_run()))["sharing"]
    assert [row[1:3] for row in table.rows] == [["element", 28_676], ["channel", 116], ["layer", 66]]
    assert [row[3] for row in table.rows] == pytest.approx([0.1501, 0.1601, 0.1701])
    assert [row[5] for row in table.rows] == [None, pytest.approx(0.01), pytest.approx(0.02)]
    assert {row[-1] for row in table.rows} == {2.0}
    assert "for each element or channel or layer" in table.note
    report.Report(CnnSharing, sharing_run(tmp_path)).write()
    summary = json.loads((tmp_path / "summary.json").read_text())["combinations"][BEST]
    assert summary["element"]["difference"] is None
    assert summary["layer"]["difference"]["difference"] == pytest.approx(0.02)
    assert (tmp_path / "loss.png").stat().st_size > 5_000


def test_the_table_of_what_changes_the_gradient():
    records = dataset(seeds=3)
    assert "gradient" not in tables(records)
    by = ("combination", "seed", "when")
    shares = np.zeros((len(NAMES), 3, 2, 3))
    shares[..., 0] = np.log(10) * np.array([-1.0, -2.0])  # linear, before and after
    shares[..., 1] = np.log(10) * np.array([0.25, 0.5])
    records = records.assign(
        gradient_share=((*by, "kind"), shares),
        gradient_saturated=((*by, "layer"), np.full((len(NAMES), 3, 2, 4), 0.125)),
        gradient_dead=((*by, "layer"), np.full((len(NAMES), 3, 2, 4), np.nan)),
    ).assign_coords(when=["before", "after"], kind=["linear", "activation", "gate"])
    table = tables(records)["gradient"]
    assert columns(table)[:6] == [
        *("convolutional / dense", "training", "decades", "linear", "activation", "saturated: 1")
    ]
    assert table.rows[0][1] == "before"
    assert table.rows[0][2:9] == pytest.approx([-0.75, -1.0, 0.25, *[0.125] * 4])
    assert np.isnan(table.rows[0][9:]).all()
    assert table.rows[1][2:5] == pytest.approx([-1.5, -2.0, 0.5])
    assert len(table.rows) == 2 * len(NAMES)
