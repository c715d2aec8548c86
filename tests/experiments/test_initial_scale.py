"""The study of the initial scale trains what it says, and its verdicts follow from the records."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.studies import initial_scale
from experiments.studies.initial_scale import (
    AS_R,
    CANDIDATES,
    SMALL,
    InitialScale,
    deviations,
    model,
    scaled,
)
from experiments.study import run_directory
from experiments.study.run_directory import Run
from paramact_jax.datasets import synthetic_mnist
from paramact_jax.gradients import attribute
from paramact_jax.networks import params_of, with_params
from paramact_jax.papers import student_report
from paramact_jax.sweeps import trial_key
from paramact_jax.training import cross_entropy

pytestmark = pytest.mark.usefixtures("unoptimised")

SMALL_RUN = ["--data", "synthetic", "--seeds", "2", "--steps", "4", "--printed-steps", "4", "--every", "2"]
COMMAND = ["initial-scale", *SMALL_RUN, "--width", "6", "--activations", "tanh", "--scales", "0.01", "he", "he-hidden"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "scale"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initial_scale, "CANDIDATES", ("tanh",))
        assert main([*COMMAND, "--out", str(out)]) == 0
    return run_directory.read(out)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("0.01", [0.01] * 5),
        ("xavier", [1 / 28, *[1 / 7] * 4]),
        ("he", [2**0.5 / 28, *[2**0.5 / 7] * 4]),
        ("he-hidden", [2**0.5 / 7] * 5),
    ],
)
def test_deviations_of_every_layer(scale, expected):
    np.testing.assert_allclose(deviations(scale, 49, 784), expected)


def test_every_layer_starts_with_the_deviation_of_its_scale_whatever_the_activation():
    key = trial_key(0)
    plain = params_of(model("relu", 6, key))
    of_ppns = scaled(params_of(model("ppns", 6, key)), jnp.array(deviations("he", 6, 784)))
    for i, deviation in enumerate(deviations("he", 6, 784)):
        own, other = (p["hidden"][i]["linear"] if i < 4 else p["out"] for p in (of_ppns, plain))
        np.testing.assert_allclose(own["kernel"], deviation * other["kernel"], rtol=1e-6)
        assert other["kernel"].std() == pytest.approx(1, rel=0.4)
        assert not own["bias"].any()
    assert (of_ppns["hidden"][3]["activation"]["a"] == 6).all()


def test_what_is_recorded_before_training_is_what_attribution_says(run):
    records = run.records
    digits = synthetic_mnist(2_000, 500)
    images, labels = digits.train_images[:1_000], digits.train_labels[:1_000]

    @jax.jit
    def reference(key, images, labels):
        network = model("tanh", 6, key)
        network = with_params(network, scaled(params_of(network), jnp.array(deviations("he", 6, 784))))
        found = attribute(network, images, loss=lambda out: cross_entropy(out, labels))
        z = [images]
        for layer in network.hidden:
            z.append(layer(z[-1]))
        return found.decay.log_norm, found.decay.linear, z[1:]

    log_norm, linear, z = reference(jax.random.split(trial_key(1))[0], images, labels)
    z = [np.asarray(layer) for layer in z]
    own = records.sel(activation="tanh", scale="he", seed=1)
    np.testing.assert_allclose(own["before_log_norm"], log_norm, rtol=1e-4)
    np.testing.assert_allclose(own["before_linear"], linear, atol=1e-4)
    np.testing.assert_allclose(own["before_size"], [np.sqrt((layer**2).mean()) for layer in z], rtol=1e-4)
    np.testing.assert_allclose(own["before_spread"], [np.sqrt(layer.var(0).mean()) for layer in z], rtol=1e-3)
    assert (records["histogram"].sum("bin") == 2 * 1_000 * 6).all()
    assert records["edge"].sel(activation="tanh").values[[0, -1]].tolist() == [-1, 1]
    np.testing.assert_allclose(
        initial_scale.decades_lost(records).sel(activation="tanh", scale="he", seed=1),
        (log_norm[-1] - log_norm[0]) / np.log(10),
        rtol=1e-4,
    )


def said_of(records):
    return list(InitialScale.statements(Run(None, records, {})))


def test_smaller_weights_lose_more(run):
    lost = initial_scale.decades_lost(run.records).sel(activation="tanh")
    assert (lost.sel(scale=SMALL) > lost.sel(scale="he") + 3).all()


def records_of(run, labels):
    """The run's records with the accuracies of networks that give one label each, by cell; None: of none."""
    records = run.records.copy(deep=True)
    shares = {"train": np.linspace(0.05, 0.15, 10).round(3), "test": np.linspace(0.06, 0.14, 10).round(2)}
    for split in ("train", "test"):
        records.attrs[f"{split}_images"] = 1_000
        records[f"{split}_share"] = ("label", shares[split])
        for name, label in labels.items():
            accuracy = 0.9 if label is None else shares[split][label]
            variable = records[f"{'again_' if name[0] == 'again' else ''}{split}_accuracy"]
            variable.loc[dict(name[1])] = accuracy
    return records


def test_a_network_of_one_label_is_told_by_both_accuracies(run):
    grid = {("grid", (("scale", scale),)): label for scale, label in ((SMALL, 3), ("he", None), (AS_R, 9))}
    records = records_of(run, grid)
    assert initial_scale.constant_label(records).sel(scale=SMALL).values.tolist() == [[[3] * 3] * 2]
    stays = initial_scale.stays(records).sel(activation="tanh")
    assert [bool(stays.sel(scale=scale).all()) for scale in (SMALL, "he", AS_R)] == [True, False, True]
    records["train_accuracy"].loc[{"scale": SMALL, "seed": 1}] = 0.0
    assert initial_scale.stays(records).sel(activation="tanh", scale=SMALL).values.tolist() == [True, False]
    records["test_accuracy"].loc[{"scale": AS_R, "seed": 0}] = np.nan
    assert initial_scale.stays(records).sel(activation="tanh", scale=AS_R).values.tolist() == [False, True]


def test_verdicts_about_the_small_run(run, monkeypatch):
    monkeypatch.setattr(initial_scale, "comparable", lambda records: True)
    cell = ("again", (("printed_scale", SMALL),))
    records = records_of(run, {cell: 9})
    (one, other) = initial_scale.small_runs(records)
    assert (one.lines, one.of_one_label, one.of_another, one.fits) == (4, 4, (0, 0), True)
    for split in ("train", "test"):
        accuracy = records[f"again_{split}_accuracy"]
        accuracy.loc[{"learning_rate": other.rate, "seed": 0, "printed_step": 2}] = float(records[f"{split}_share"][7])
        accuracy.loc[{"learning_rate": one.rate, "seed": 1, "printed_step": 4}] = 0.5
    one, other = initial_scale.small_runs(records)
    assert (one.of_one_label, one.of_another, one.fits) == (3, (0, 0), False)
    assert (other.of_one_label, other.of_another, other.fits) == (4, (1, 0), True)
    for split in ("train", "test"):
        records[f"again_{split}_accuracy"].loc[{"learning_rate": other.rate}] = float(records[f"{split}_share"][7])
    one, other = initial_scale.small_runs(records)
    assert (other.of_one_label, other.of_another, other.fits) == (4, (2, 2), True)


def test_a_training_that_diverged_solves_nothing(run):
    records = records_of(run, {("grid", (("scale", AS_R),)): None})

    def solved():
        (found,) = [one for one in said_of(records) if one.text == "tanh: He's value solves it"]
        return found.verdict

    assert solved() == "true"
    for split in ("train", "test"):
        records[f"{split}_accuracy"].loc[{"scale": AS_R, "seed": 0}] = np.nan
    assert solved() == "false"


def printed_records(run, offset):
    """Records of runs scored where [R] prints, both seeds at its accuracies and `offset` beside them."""
    lines = len(student_report.HE.lines)
    records = run.records.isel(printed_step=np.zeros(lines, int)).copy(deep=True)
    records = records.assign_coords(printed_step=np.arange(lines) * student_report.STEPS_A_LINE)
    records.attrs["synthetic"] = 0
    accuracy = np.array(student_report.HE.test) + offset
    values = accuracy + np.array([[-0.001], [0.001]])
    shape = records["again_test_accuracy"].shape
    records["again_test_accuracy"][:] = np.broadcast_to(values, shape)
    return records


@pytest.mark.parametrize(("offset", "fits"), [(0.0, True), (0.05, False)])
def test_verdicts_about_the_run_of_he(run, offset, fits):
    found = initial_scale.he_runs(printed_records(run, offset))
    assert {(cell.first_inside, cell.last_inside, cell.fits) for cell in found} == {(fits, fits, fits)}
    assert {round(cell.distance, 6) for cell in found} == {offset}
    assert {round(cell.first.mean - offset, 4) for cell in found} == {0.8104}


def test_the_conditions_that_fit_both_runs_are_named(run):
    records = printed_records(run, 0.0)
    for split in ("train", "test"):
        share = float(records[f"{split}_share"].max())
        records[f"again_{split}_accuracy"].loc[{"printed_scale": SMALL}] = share
    records["again_train_accuracy"].loc[{"printed_scale": SMALL, "learning_rate": 0.1}] = 0.9
    for width in (50, 100):
        said = initial_scale.conclusion(Run(run.directory, records, {"config": {"width": width}}))
        assert f"with {width} nodes a layer" in said
        assert said.endswith(": tanh at 0.01.")
    assert initial_scale.conclusion(run) == ""


def test_nothing_is_judged_by_other_steps_or_images(run):
    assert {cell.first_inside for cell in initial_scale.he_runs(run.records)} == {None}
    assert not any(cell.fits for cell in initial_scale.small_runs(run.records))
    assert not any(cell.fits for cell in initial_scale.he_runs(run.records))
    synthetic = printed_records(run, 0.0)
    synthetic.attrs["synthetic"] = 1
    assert {cell.last_inside for cell in initial_scale.he_runs(synthetic)} == {None}


def test_statements_about_the_network(run):
    records = records_of(run, {("grid", (("scale", SMALL),)): 3, ("grid", (("scale", AS_R),)): None})
    found = said_of(records)
    assert [statement.verdict for statement in found] == ["true"] * 4
    assert found[0].effect < 1e-4
    assert found[1].effect > 3
    records["before_size"][:] = 0.5
    records["test_accuracy"].loc[{"scale": SMALL, "seed": 0}] = 0.9
    assert [one.verdict for one in said_of(records)] == ["false", "true", "false", "true"]
    records["before_size"][:] = 0.1
    assert said_of(records)[0].verdict == "false"
    assert said_of(records.sel(scale=["he"])) == []


def test_records_and_report_of_a_run(run):
    assert {"report.md", "overview.csv", "he.tex", "gradients.png", "again.png", "values_tanh.png"} <= {
        path.name for path in run.directory.iterdir()
    }
    assert "NOT MNIST" in (run.directory / "report.md").read_text()
    assert len(json.loads((run.directory / "summary.json").read_text())["he"]) == 2
    assert dict(run.records["test_loss"].sizes) == {"activation": 1, "scale": 3, "seed": 2, "step": 3}
    assert dict(run.records["again_test_loss"].sizes) == {
        "candidate": 1,
        "printed_scale": 2,
        "learning_rate": 2,
        "seed": 2,
        "printed_step": 3,
    }
    assert np.isfinite(run.records["again_test_loss"]).all()


def test_every_layer_is_named_below_its_histograms(run):
    figure = dict(InitialScale.figures(run))["values_tanh"]
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == [""] * 8 + [f"layer {layer}" for layer in (1, 2, 3, 4)]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == [SMALL, "he", AS_R]


def test_trainings_that_are_not_finite_are_said(run, tmp_path):
    records = run.records.copy(deep=True)
    for name in ("test_loss", "test_accuracy", "train_accuracy"):
        records[name].loc[{"scale": "he", "seed": 0}] = np.nan
    cells = dict(InitialScale.tables(Run(tmp_path, records, run.manifest)))["cells"]
    assert [row[2].text.endswith("(1 not finite)") for row in cells.rows] == [False, True, False]


def test_images_of_another_size_and_number_of_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(initial_scale, "CANDIDATES", ("relu",))
    rng = np.random.default_rng(0)
    images = {f"{split}_images": rng.integers(0, 256, (40, 3, 4), np.uint8) for split in ("train", "test")}
    labels = {f"{split}_labels": np.arange(40) % 3 for split in ("train", "test")}
    np.savez(tmp_path / "own.npz", **images, **labels)
    own = ["--data", str(tmp_path / "own.npz"), "--batch", "10", "--activations", "relu", "--scales", "he"]
    assert main([*COMMAND, *own, "--rates", "0.1", "--out", str(tmp_path / "run")]) == 0
    run = run_directory.read(tmp_path / "run")
    assert run.records["label"].values.tolist() == [0, 1, 2]
    assert np.isfinite(run.records["test_loss"]).all()
    assert not initial_scale.comparable(run.records)


def test_the_defaults_are_those_of_the_book_and_of_the_report():
    assert InitialScale.printed_steps == 9_600
    assert set(CANDIDATES) < set(InitialScale.activations)
    assert {SMALL, AS_R} < set(InitialScale.scales)
