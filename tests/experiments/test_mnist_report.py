"""What the report of an MNIST run says, on small hand-made records with known answers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.studies import mnist
from experiments.studies.mnist import Mnist, times
from experiments.study import report
from experiments.study.run_directory import Run
from experiments.study.samples import first_below, mean_and_interval, sample
from experiments.study.tables import Column
from paramact_jax.papers import ko2021

NAMES = [row.activation for row in ko2021.TABLE_7]
LEVELS = {  # test loss before the last step: the paper's order
    "relu": 2.0,
    "parametric_relu": 0.7,
    "tanh": 1.0,
    "parametric_tanh": 0.4,
    "reltanh": 0.95,
    "hexpo": 0.41,
    "parametric_hexpo": 0.42,
    "ppns": 0.43,
    "mine": 0.5,
}
FINAL = LEVELS | {row.activation: row.loss for row in ko2021.MNIST_FINAL_LOSS}
RANGES = LEVELS | {  # largest entry of the gradient; the smallest is the same below 0
    "relu": 0.01,
    "parametric_relu": 0.2,
    "tanh": 0.015,
    "parametric_tanh": 0.1,
    "reltanh": 0.018,
    "hexpo": 0.1,
    "parametric_hexpo": 0.105,
    "ppns": 0.15,
}
COUNTS = {row.activation: row.count for row in ko2021.FIG_14} | {"mine": 7}
STEPS, TEST_STEPS, TRAIN_STEPS = 5_000, [0, 300, 650, 2_000, 5_000], [0, 500, 5_000]
LOOKED_AT = np.arange(0, STEPS, 50)  # a run looks at every step; these suffice for what is said


def dataset(names=NAMES, seeds=3, synthetic=0):
    """Records in which every statement of the paper is true; seed k has k times 0.001 more test loss."""
    each = 0.001 * np.arange(seeds)[:, None]
    loss = np.stack([[LEVELS[n]] * 4 + [FINAL[n]] + each for n in names])
    largest = np.stack([np.full((seeds, len(LOOKED_AT)), RANGES[n]) for n in names])
    slopes = np.zeros((len(names), seeds, 8), int)
    slopes[:, :, 0] = np.array([COUNTS[n] for n in names])[:, None]
    train = np.stack([np.tile([1.0, 0.1 if n == "ppns" else 0.5, 0.05], (seeds, 1)) for n in names])
    by = ("activation", "seed")
    return xr.Dataset(
        {
            "test_loss": ((*by, "test_step"), loss),
            "test_accuracy": ((*by, "test_step"), 1 - loss / 4),
            "train_loss": ((*by, "train_step"), train),
            "gradient_smallest": ((*by, "step"), -largest),
            "gradient_largest": ((*by, "step"), largest),
            "steep_slopes": ((*by, "layer"), slopes),
            "seconds_per_step": (("activation", "timing"), np.full((len(names), 3), 2e-3)),
        },
        coords={
            "activation": names,
            "seed": np.arange(seeds),
            "test_step": TEST_STEPS,
            "train_step": TRAIN_STEPS,
            "step": LOOKED_AT,
            "layer": np.arange(1, 9),
        },
        attrs={"source": "by hand", "synthetic": synthetic},
    )


def run(records, directory=Path("x"), **config):
    config = {
        "protocol": "recovered",
        "steps": STEPS,
        "batch": 64,
        "learning_rate": 0.01,
        "learning_rate_a": 0.01,
        "learning_rate_b": 0.01,
        "optimiser": "sgd",
        "initial": "fan-in",
        "batches": "shuffled",
    } | config
    return Run(directory, records, {"experiment": "mnist", "config": config})


def changed(activation, variable, values, records=None, **at):
    """The records with other values of one activation."""
    records = dataset() if records is None else records
    records[variable].loc[{"activation": activation, **at}] = values
    return records


def cells(table, row, *columns):
    """Texts, by the columns' headings, the first of a heading."""
    own = [Column(column) if isinstance(column, str) else column for column in table.columns]
    headings = [column.heading for column in own]
    (line,) = [line for line in table.rows if line[0] == row]
    return [own[i].text(line[i]) for i in map(headings.index, columns)]


def tables(own):
    return list(dict(Mnist.tables(own)).values())


def check(records, **config):
    return list(Mnist.statements(run(records, **config)))


def false(records):
    return [s.text for s in check(records) if s.verdict == "false"]


def test_every_statement_is_true_of_records_made_so():
    found = check(dataset())
    figures = [*["12"] * 4, *["12, close-up"] * 2, "12", *["13"] * 10, *["14"] * 2]
    assert [s.source for s in found] == [f"P, Fig. {figure}" for figure in figures]
    assert {s.verdict for s in found} == {"true"}
    assert all("; true of 3 of 3 seeds; effect: " in s.measured for s in found)
    assert "Not asked" not in Mnist.opening(run(dataset()))


@pytest.mark.parametrize(
    ("ranges", "verdict"),
    [
        ([0.218, 0.253, 0.288], "true"),  # s.d. 0.035: one more of ours would be within 0.079 to 0.427
        (0.253 + 0.035 * np.linspace(-1.5, 1.5, 10), "false"),  # as many as a kept run has: within 0.17 to 0.34
        ([0.1, 0.253, 0.5], "true"),  # too wide to tell
        ([0.449, 0.451], "true"),
        ([0.46, 0.46], "false"),
        ([0.4], "undecided"),
    ],
)
def test_a_printed_length_is_met_by_one_more_network_of_ours(ranges, verdict):
    records = dataset(seeds=len(ranges))
    half = np.array(ranges)[:, None] / 2
    for variable, sign in (("gradient_smallest", -1), ("gradient_largest", 1)):
        records[variable].loc[{"activation": "parametric_relu"}] = sign * half
    (one,) = [one for one in check(records) if "range reaches" in one.text]
    assert (one.verdict, "0.35 to 0.45" in one.criterion) == (verdict, True)
    assert one.effect == pytest.approx(np.mean(ranges) - 0.4)


def test_networks_of_another_size_are_judged_by_nothing_that_is_printed():
    for other in ({"depth": 4, "width": 256}, {"width": 64}):
        own = run(dataset(), **other)
        assert len(check(dataset(), **other)) == 19 - 4
        assert mnist.slope_counts(own) == mnist.final_losses(own) == {}
        assert "Not asked, for want of an activation, of scores or of the paper's network: 4 " in Mnist.opening(own)


@pytest.mark.parametrize(
    ("activation", "variable", "values", "starts"),
    [
        ("tanh", "test_loss", 3.0, {"ReLU's loss falls slowest", "ReLTanh is but slightly"}),
        ("reltanh", "test_loss", 1.1, {"ReLTanh is ahead"}),
        ("reltanh", "test_loss", 0.8, {"ReLTanh is but slightly"}),
        ("parametric_relu", "test_loss", 1.1, {"Parametric ReLU is ahead"}),
        ("parametric_hexpo", "test_loss", 0.6, {"Hexpo, Parametric Hexpo and PPNS fall"}),
        ("parametric_relu", "test_loss", 0.39, {"Parametric Tanh, Hexpo, Parametric Hexpo and PPNS fall"}),
        ("relu", "gradient_largest", 0.05, {"ReLU's gradient is near 0"}),
        ("tanh", "gradient_largest", 0.03, {"Tanh's gradient is near 0"}),
        (
            "reltanh",
            "gradient_largest",
            0.3,
            {"ReLTanh's gradient is near 0", "PPNS's gradient is larger than those of"},
        ),
        ("parametric_relu", "gradient_largest", 0.7, {"Parametric ReLU's range reaches about 0.4"}),
        (
            "parametric_tanh",
            "gradient_largest",
            -0.09,
            {"Tanh's gradient is small against", "Parametric Tanh's gradient is similar"},
        ),
        ("parametric_hexpo", "gradient_largest", 0.2, {"Hexpo and Parametric Hexpo are alike"}),
        ("tanh", "steep_slopes", 6_000, {"Parametric Tanh, Hexpo, Parametric Hexpo and PPNS have more"}),
        ("hexpo", "steep_slopes", 7_000, {"PPNS has the most"}),
    ],
)
def test_a_change_makes_just_these_false(activation, variable, values, starts):
    at = {"test_step": TEST_STEPS[:-1]} if variable == "test_loss" else {}
    found = false(changed(activation, variable, values, **at))
    assert len(found) == len(starts)
    assert all(any(text.startswith(start) for start in starts) for text in found)


def test_who_ends_lowest():
    records = changed("hexpo", "test_loss", 0.0755, test_step=5_000)
    (statement,) = [s for s in check(records) if "end lowest" in s.text]
    assert statement.verdict == "false"
    assert statement.measured.endswith("; true of 0 of 3 seeds; effect: Hexpo - Parametric Tanh")
    assert statement.effect == pytest.approx(0.0755 - 0.077)


def test_the_difference_is_paired_over_seeds_and_of_the_two_that_decide():
    records = dataset()
    records["test_loss"].loc[{"activation": "tanh"}] = np.array([1.0, 3.0, 1.0])[:, None]
    (slowest,) = [s for s in check(records) if "slowest" in s.text]
    difference = 2 + 0.001 * np.arange(3) - [1.0, 3.0, 1.0]
    assert slowest.verdict == "true"
    assert slowest.measured.endswith("; true of 2 of 3 seeds; effect: ReLU - Tanh")
    assert slowest.effect == pytest.approx(difference.mean())
    half = 4.302652729911275 * difference.std(ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom
    assert slowest.interval == pytest.approx((difference.mean() - half, difference.mean() + half))


@pytest.mark.parametrize("every", [1, 10, 50])
def test_speed_is_the_area_below_the_curve_however_often_it_was_scored(every):
    """From 2 in a straight line to 1 at step 650 and on to 0 at step 2,000: a mean of 1.5, of (975 + 675) / 2,000."""
    steps = np.arange(0, 2_001, every)
    curve = np.interp(steps, [0, 650, 2_000], [2.0, 1.0, 0.0])
    records = dataset(["tanh"]).drop_dims("test_step").assign_coords(test_step=steps)
    records["test_loss"] = (("activation", "seed", "test_step"), np.tile(curve, (1, 3, 1)))
    found = mnist.quantities(records)
    np.testing.assert_allclose(found["early speed"], 1.5)
    np.testing.assert_allclose(found["speed"], 1650 / 2_000)


def test_steps_beyond_the_window_do_not_count():
    (text,) = false(changed("relu", "gradient_largest", 9.0, step=slice(201, None)))  # of steps 0 to 4,000
    assert text.startswith("Parametric ReLU's gradient is similar")
    assert not false(changed("relu", "gradient_largest", 9.0, step=slice(4_001, None)))


def test_a_statement_without_its_activations_is_left_out_and_counted():
    records = dataset(["ppns", "tanh", "reltanh"])
    assert [s.text for s in check(records)] == [
        "ReLTanh is ahead of Tanh",
        "ReLTanh is but slightly ahead of Tanh",
        "Tanh's gradient is near 0 at first",
        "ReLTanh's gradient is near 0 at first",
    ]
    assert ": 15 of the paper's statements." in Mnist.opening(run(records))


def test_one_score_in_the_closeup_says_nothing_about_speed():
    found = check(dataset().isel(test_step=[0, 2, 3]))
    assert len(found) == 19 - 2
    assert not [s for s in found if "close-up" in s.source]


def test_what_is_not_finite_is_counted_and_not_used():
    records = changed("ppns", "test_loss", np.nan, seed=1)
    (statement,) = [s for s in check(records) if "close-up" in s.source and s.text.startswith("Parametric")]
    assert statement.verdict == "true"
    assert "; true of 2 of 3 seeds; " in statement.measured
    final = tables(run(records))[0]
    assert "left out where they are: 1 of 3 of PPNS." in final.note
    assert cells(final, "PPNS", "test loss") == ["0.0770"]


def test_a_statement_about_nothing_finite_is_undecided():
    (one,) = [s for s in check(changed("ppns", "gradient_largest", np.inf)) if s.verdict == "undecided"]
    assert one.text == "PPNS's gradient is larger than those of ReLU, Tanh and ReLTanh"
    assert (one.measured, one.effect) == ("not finite for any seed", None)


def test_prediction_interval_by_hand():
    """1, 2, 3: s = 1, t(0.975, 2) = 4.3027; s sqrt(1/3) = 0.57735, s sqrt(4/3) = 1.1547."""
    found = sample([1.0, 2.0, 3.0])
    assert found.interval() == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert found.prediction() == pytest.approx((2 - 4.9683, 2 + 4.9683), abs=1e-4)
    assert sample([1.0, np.inf]).prediction() is None


def test_a_published_loss_within_one_run_and_not_within_the_mean():
    records = dataset()
    records["test_loss"].loc[{"activation": "hexpo", "test_step": 5_000}] = [0.081, 0.083, 0.085]
    records["test_loss"].loc[{"activation": "ppns", "test_step": 5_000}] = [0.0810, 0.0811, 0.0812]
    table = tables(run(records, steps=10_000))[0]
    columns = ("test loss", "published", "published in it", "in interval of mean")
    assert cells(table, "Hexpo", *columns) == ["0.0830", "0.077", "yes", "no"]  # 0.083 +- 0.00994, +- 0.00497
    assert cells(table, "PPNS", *columns) == ["0.0811", "0.076", "no", "no"]
    assert cells(table, "ReLU", *columns) == ["2.0010", "", "", ""]
    assert cells(table, "Hexpo", "prediction interval", "smallest - largest") == [
        "0.0731 to 0.0929",
        "0.0810 to 0.0850",
    ]


def test_a_run_of_other_length_is_not_compared_with_what_was_published():
    table = tables(run(dataset()))[0]
    assert cells(table, "PPNS", "published", "published in it") == ["0.076", ""]
    assert "not compared: it is of another training" in table.note


def test_slope_counts_in_standard_deviations():
    records = dataset()
    records["steep_slopes"].loc[{"activation": "ppns", "layer": 1}] = [53_366, 53_466, 53_266]  # s.d. 100, 200 below
    records["steep_slopes"].loc[{"activation": "relu", "layer": 2}] = [400, 500, 600]
    table = tables(run(records))[1]
    columns = ("mean", "s.d.", "published", "s.d. away", "verdict")
    assert cells(table, "PPNS", *columns) == ["53,366", "100", "53,566", "+2.00", "within"]
    assert cells(table, "ReLU", *columns) == ["34,530", "100", "34,030", "-5.00", "outside"]
    assert cells(table, "Tanh", *columns) == ["0", "0", "0", "+0.00", "within"]
    assert mnist.deviations_away(sample([1, 1]), 0) == -math.inf
    assert mnist.met(sample([1, 1]), 0) is False
    assert mnist.met(sample([1, 2, 3]), 2 + mnist.WITHIN) is True, "the bounds belong to it"


def test_slope_counts_of_one_network_are_compared_together():
    """Counts that vary together: each is met, their differences are not."""
    records, common = dataset(seeds=40), 300 * np.random.default_rng(0).normal(size=40)
    assert mnist.counts_together(run(records)) is None, "counts without spread have no distance"
    drawn = np.random.default_rng(1).normal(size=(len(NAMES), 40))
    records["steep_slopes"].loc[{"layer": 1}] = (
        (records["steep_slopes"].isel(layer=0) + common + 50 * drawn).round().astype(int)
    )
    found = mnist.counts_together(run(records))
    assert found.activations == ("relu", "parametric_tanh", "reltanh", "hexpo", "ppns")
    assert found.p_value > 0.05
    assert all(abs(one.away) < 3 for one in found.differences)
    records["steep_slopes"].loc[{"activation": "hexpo", "layer": 1}] += 400
    moved = mnist.counts_together(run(records))
    assert abs(mnist.deviations_away(mnist.slopes(records, "hexpo"), COUNTS["hexpo"])) < 3
    assert moved.p_value < 1e-6 < 0.001 < found.p_value
    assert moved.squared_distance > found.squared_distance + 20
    assert {one.first if one.second == "hexpo" else one.second for one in moved.differences if abs(one.away) > 3} == {
        *("relu", "parametric_tanh", "reltanh", "ppns")
    }
    table = tables(run(records))[2]
    assert len(table.rows) == 10
    assert cells(table, "Hexpo - PPNS", "published", "verdict") == ["-4,182", "outside"]


def test_the_distance_is_that_of_one_more_seed():
    """With the published counts drawn as the seeds are, Hotelling's p is uniform."""
    generator, found = np.random.default_rng(2), []
    names = [name for name, count in COUNTS.items() if count and name in LEVELS]
    for _ in range(200):
        records, drawn = dataset(names, seeds=12), generator.normal(size=(len(names), 12)) * 500
        one_more = dict(zip(names, generator.normal(size=len(names)) * 500, strict=True))
        shift = np.array([one_more[name] for name in names])[:, None]
        records["steep_slopes"] = records["steep_slopes"].astype(float)
        records["steep_slopes"].loc[{"layer": 1}] = records["steep_slopes"].isel(layer=0) + drawn - shift
        found.append(mnist.counts_together(run(records)).p_value)
    assert 0.4 < np.mean(found) < 0.6
    assert 2 <= np.sum(np.array(found) < 0.05) <= 20


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([1.0, 0.01, 0.001], 50),
        ([1.0, 0.1, 0.001], 100),
        ([0.1, 0.2, 0.3], 0),
        ([1.0, 0.2, 0.05, 1.0], 150),
        ([1.0, 0.2, 0.11], math.nan),
        ([np.nan, np.inf, 0.05], 200),
        ([1.0, np.nan, np.nan], math.nan),
        ([1.0, 0.0], 100),
    ],
)
def test_first_below(losses, step):
    assert first_below(100 * np.arange(len(losses)), np.array(losses), 0.1) == pytest.approx(step, nan_ok=True)


def test_time_to_loss_and_what_it_saves():
    """ReLU: 0.5 at 500, 0.05 at 5,000, so 0.1 at 500 + 4,500 log10(5); PPNS: 0.1 at 500."""
    records = dataset()
    records["seconds_per_step"].loc[{"activation": "ppns"}] = [3e-3, 4e-3, 50e-3]
    found = {row.activation: row for row in times(records)}
    late = 500 + 4_500 * math.log10(5)
    assert found["relu"].steps.mean == pytest.approx(late)
    assert found["relu"].saved_steps is None
    assert found["ppns"].steps.mean == 500
    assert found["ppns"].seconds == pytest.approx(500 * 4e-3)
    assert found["ppns"].saved_steps.mean == pytest.approx(1 - 500 / late)
    assert found["ppns"].saved_seconds.mean == pytest.approx(1 - 2 * 500 / late)
    assert found["ppns"].saved_seconds.interval == pytest.approx([1 - 1000 / late] * 2)
    table = tables(run(records))[2]
    assert [row[0] for row in table.rows[:3]] == ["ReLU", "PPNS", "Parametric ReLU"]
    assert cells(
        table, "PPNS", "seeds", "steps", "ms a step", "seconds", "published", "inside (steps)", "inside (time)"
    ) == [*("3 of 3", "500", "4", "2", "about 2/3", "no", "no")]
    assert "Never" not in table.note


def test_a_loss_never_reached_is_said():
    records = changed("relu", "train_loss", 0.5, seed=[0, 1])
    found = {row.activation: row for row in times(records)}
    assert (found["relu"].steps.seeds, found["relu"].steps.non_finite) == (1, 2)
    saved = found["ppns"].saved_steps
    assert (saved.pairs, saved.interval, saved.alone) == (1, None, 2)
    assert saved.at_least == pytest.approx(1 - 500 / 5_000)
    assert found["relu"].saved_steps is None
    table = tables(run(records))[2]
    assert "Never got there within 5,000 steps, and left out: 2 of 3 of ReLU." in table.note
    assert "In 2 of 3 seeds PPNS got there and ReLU did not: there it saves more than 90.0% of the steps, 90.0% of" in (
        table.note
    )
    table = tables(run(changed("relu", "train_loss", 0.5)))[2]
    assert cells(table, "ReLU", "seeds", "steps", "seconds") == ["0 of 3", "never", ""]
    assert cells(table, "PPNS", "steps saved against ReLU", "inside (steps)", "inside (time)") == ["", "", ""]


def test_savings_of_pairs_have_an_interval_that_can_hold_two_thirds():
    records = dataset()
    records["train_loss"].loc[{"activation": "relu"}] = [[1, 0.5, 0.1], [1, 0.4, 0.1], [1, 0.5, 0.1]]  # 5,000 steps
    for steps, mean, verdict in (([1_000, 2_000, 1_900], 1 - 4_900 / 15_000, "yes"), ([500] * 3, 0.9, "no")):
        way = (np.array(steps) - 500) / 4_500  # from 500 to 5,000, where the loss is 0.01
        at_500 = 10 ** ((2 * way - 1) / (1 - way))
        records["train_loss"].loc[{"activation": "ppns"}] = [[1, loss, 0.01] for loss in at_500]
        table = tables(run(records))[2]
        assert cells(table, "PPNS", "inside (steps)", "inside (time)") == [verdict] * 2
        assert cells(table, "PPNS", "steps saved against ReLU") == [f"{mean:.1%}"]


def test_one_seed_has_no_intervals_and_says_so():
    own = run(dataset(seeds=1), steps=10_000)
    for table in tables(own):
        assert "seed 0 alone" in table.note
        assert "One seed has no interval" in table.note
    final, slopes, _ = tables(own)
    assert cells(final, "PPNS", "95 % interval", "published", "published in it") == ["", "0.076", ""]
    assert cells(slopes, "PPNS", "s.d.", "verdict") == ["", ""]
    assert {(s.verdict, s.interval) for s in Mnist.statements(own) if "range reaches" not in s.text} == {("true", None)}


def test_synthetic_images_are_compared_with_nothing():
    own = run(dataset(synthetic=1), steps=10_000)
    final, slopes, time = tables(own)
    assert cells(final, "PPNS", "prediction interval", "published in it", "in interval of mean") == [""] * 3
    assert cells(slopes, "PPNS", "verdict") == [""]
    assert cells(time, "PPNS", "inside (steps)", "inside (time)") == ["", ""]


def test_every_note_has_the_conditions():
    for table in tables(run(dataset())):
        assert table.note.startswith(
            "Protocol recovered, seeds 0 to 2: 8 hidden layers of 128, initial weights fan-in, Hexpo from i = 1, "
            "shuffled batches of 64, sgd, learning rate 0.01 (0.01 for a, 0.01 for b), 5,000 steps; images: by hand."
        )


def test_rows_are_in_the_papers_order_whatever_that_of_the_run():
    own = run(dataset(["ppns", "relu", "tanh"]).transpose())
    assert mnist.activations(own.records) == ["relu", "tanh", "ppns"]
    assert [row[0] for row in tables(own)[0].rows] == ["ReLU", "Tanh", "PPNS"]


@pytest.mark.parametrize(
    "records", [dataset(["ppns", "mine"]), dataset(["tanh"], seeds=1), changed("ppns", "test_loss", np.nan)]
)
def test_everything_is_written(records, tmp_path):
    files = {file.name for file in report.Report(Mnist, run(records, tmp_path)).write()}
    assert files >= {f"figure_{i}.png" for i in (12, 13, 14)} | {"final_test_loss.csv", "time_to_loss.tex"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["activations"]) == mnist.activations(records)


def test_the_summary_has_the_numbers_of_the_tables():
    summary = report.Report(Mnist, run(dataset(), steps=10_000)).summary()
    ppns = summary["activations"]["ppns"]
    assert ppns["test_loss"]["mean"] == pytest.approx(0.077)
    assert ppns["test_loss"]["published_within_prediction"] is True
    assert ppns["steep_slopes"]["deviations_away"] == 0
    assert ppns["time_to_loss"]["saved_steps"]["pairs"] == 3
    assert summary["activations"]["relu"]["test_loss"]["published"] is None


def test_figures_draw_the_records():
    own = run(dataset(["ppns", "relu"]), steps=10_000)
    drawn = dict(Mnist.figures(own))
    whole = drawn["figure_12"].axes[0]
    relu = next(line for line in whole.lines if line.get_label() == "ReLU")
    np.testing.assert_allclose(relu.get_ydata(), [2.001] * 5)
    marks = [line.get_xydata().tolist() for line in whole.lines if line.get_marker() == "D"]
    assert marks == [[[1.02, 0.076]], []]  # the second is the legend's
    panel = drawn["figure_13"].axes[1]
    assert panel.get_title(loc="left") == "(b) PPNS"
    np.testing.assert_array_equal(panel.lines[1].get_ydata(), [RANGES["ppns"]] * 81)
    assert [bar.get_height() for bar in drawn["figure_14"].axes[0].patches] == [COUNTS["relu"], COUNTS["ppns"]]


def test_mean_and_interval_pass_over_what_is_not_finite():
    values = np.array([[1.0, np.nan, np.inf], [3.0, 2.0, np.nan]])
    mean, low, high = mean_and_interval(values)
    np.testing.assert_array_equal(mean, [2.0, 2.0, np.nan])
    half = 12.706204736 * math.sqrt(2) / math.sqrt(2)
    np.testing.assert_allclose(low, [2 - half, np.nan, np.nan])
    np.testing.assert_allclose(high, [2 + half, np.nan, np.nan])


def test_counts_of_other_minibatches_are_not_compared():
    table = tables(run(dataset(), batch=32))[1]
    assert "of 32,768" in table.title
    assert {row[-1] for row in table.rows} == {None}
    assert "it is of other networks or minibatches" in table.note
    assert {row[-1] for row in tables(run(dataset()))[1].rows} == {"within"}
