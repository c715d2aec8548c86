import dataclasses

import jax
import numpy as np
import pytest
import xarray as xr
from flax import nnx

from experiments.problems.xor10 import records
from experiments.problems.xor10 import train as training
from experiments.problems.xor10.protocol import ACTIVATIONS, PROTOCOLS, Protocol
from experiments.problems.xor10.train import initial_params, model, train
from experiments.study import run_directory as runs
from paramact_jax.activations import catalogue
from paramact_jax.datasets import xor
from paramact_jax.networks import params_of, with_params
from paramact_jax.sweeps import trial_key
from paramact_jax.sweeps.devices import trial_mesh

CHAOTIC = ("ppns", "parametric_tanh")
SHORT = dataclasses.replace(PROTOCOLS["recovered"], seeds=1000, steps=300, activations=CHAOTIC)


@pytest.fixture(scope="module")
def thousand():
    return train(SHORT, mesh=trial_mesh(jax.devices()[:1]))


@pytest.mark.cpu_devices(4)
@pytest.mark.parametrize(
    ("changes", "options", "rows", "names"),
    [
        ({"seeds": 1, "first_seed": 707}, {}, slice(707, 708), CHAOTIC[:1]),
        pytest.param(
            *({"seeds": 100, "first_seed": 300}, {"chunk": 100}, slice(300, 400), CHAOTIC), marks=pytest.mark.slow
        ),
        ({}, {"chunk": 77}, slice(0, 1000), CHAOTIC[1:]),
    ],
    ids=["alone on 4 devices", "100 seeds on 4 devices in chunks of 100", "1,000 on 4 devices in chunks of 77"],
)
def test_the_same_seed_gives_the_same_trial_bit_for_bit(thousand, changes, options, rows, names):
    """The reference ran 1,000 trials on one device; PPNS and Parametric Tanh turn any rounding into another result."""
    again = train(dataclasses.replace(SHORT, activations=names, **changes), **options)
    for name in names:
        assert thousand[name].found.isel(seed=rows).equals(again[name].found)


def test_a_trial_is_the_flax_model_of_its_seed(thousand):
    """Its initial params are those of `model`, and a model holding its learned params has its final loss."""
    protocol = PROTOCOLS["recovered"]
    inputs, targets = xor()
    run = records.to_dataset(SHORT, thousand)
    for seed in (0, 42, 999):
        flax_model = model("ppns", seed, weight_std=protocol.weight_std, bias_std=protocol.bias_std)
        initial = records.params_of_trial(run, "ppns", seed, when="initial")
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
            initial,
            nnx.to_pure_dict(nnx.state(flax_model, nnx.Param)),
        )
        learned = with_params(flax_model, records.params_of_trial(run, "ppns", seed))
        loss = float(np.mean((np.asarray(learned(inputs)) - targets) ** 2))
        assert loss == pytest.approx(float(run["final_loss"].sel(activation="ppns", seed=seed)), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("name", ["ppns", "tanh"])
def test_initial_params_are_those_that_flax_draws(name):
    record, std = catalogue.get(name), {"weight": np.float32(0.7), "bias": np.float32(0.3)}
    for seed in (0, 999):
        ours = initial_params(record, trial_key(seed), std, record.params)
        flax_model = model(name, seed, weight_std=std["weight"], bias_std=std["bias"])
        # XLA may multiply the deviation with a factor of the drawing first, or round once for two steps
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), ours, params_of(flax_model))


@pytest.mark.parametrize(
    "names", [("sigmoid", "ppns", "parametric_relu"), pytest.param(ACTIVATIONS, marks=pytest.mark.slow)]
)
def test_every_activation_starts_from_the_same_weights_and_its_own_a(names):
    protocol = dataclasses.replace(SHORT, seeds=3, steps=1, activations=names)
    run = records.to_dataset(protocol, train(protocol))
    for name in ("initial_weight", "initial_bias", "initial_output_weight"):
        assert (run[name] == run[name].isel(activation=0)).all()
    starts = {str(name): run["initial_a"].sel(activation=name).values for name in names}
    expected = {"parametric_sigmoid": 6, "ppns": 6, "parametric_tanh": 1.5, "parametric_relu": 1.5}
    for name, values in starts.items():
        np.testing.assert_array_equal(values, expected.get(name, np.nan))
    assert float(run["initial_weight"].std()) == pytest.approx(2**-0.5, rel=0.2)


def test_initial_a_weight_std_and_bias_std_are_obeyed():
    protocol = dataclasses.replace(
        SHORT, seeds=200, steps=1, activations=("ppns", "tanh"), initial_a=2.5, weight_std=3.0, bias_std=0.5
    )
    run = records.to_dataset(protocol, train(protocol))
    np.testing.assert_array_equal(run["initial_a"].sel(activation="ppns"), 2.5)
    assert float(run["initial_weight"].std()) == pytest.approx(3.0, rel=0.05)
    assert float(run["initial_bias"].std()) == pytest.approx(0.5, rel=0.05)


def test_trials_that_blow_up_are_counted_not_hidden():
    protocol = dataclasses.replace(
        SHORT, seeds=64, steps=200, activations=("parametric_relu", "sigmoid"), learning_rate=50.0
    )
    run = records.to_dataset(protocol, train(protocol))
    bad = run["non_finite"].sel(activation="parametric_relu")
    assert bad.any()
    assert not run["converged"].sel(activation="parametric_relu").where(bad, drop=True).any()
    seed = int(run["seed"].values[bad.values][0])
    diverged = records.params_of_trial(run, "parametric_relu", seed)
    assert set(diverged["hidden"][0]) == {"linear", "activation"}
    assert not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(diverged))
    assert set(records.params_of_trial(run, "sigmoid", seed)["hidden"][0]) == {"linear"}


def test_shape_parameters_are_learned_and_recorded(tmp_path):
    protocol = dataclasses.replace(SHORT, seeds=70, steps=30, activations=("swish", "tanh", "ppns"))
    written = runs.write(
        tmp_path / "run", records.to_dataset(protocol, train(protocol)), experiment="x", config={}, seconds={}
    )
    run = runs.read(written.directory).records
    np.testing.assert_array_equal(run["initial_beta"].sel(activation="swish"), 1.0)
    assert (run["learned_beta"].sel(activation="swish") != 1.0).mean() > 0.2
    assert np.isnan(run["learned_beta"].sel(activation=["tanh", "ppns"])).all()
    own = {
        name: records.params_of_trial(run, name, 3)["hidden"][0].get("activation", {}) for name in protocol.activations
    }
    assert {name: set(params) for name, params in own.items()} == {"swish": {"beta"}, "tanh": set(), "ppns": {"a", "b"}}


def test_initial_a_needs_an_activation_that_has_a():
    with pytest.raises(ValueError, match=r"^--initial-a: expected an activation with a parameter a, got tanh relu"):
        train(dataclasses.replace(SHORT, initial_a=3.0, activations=("tanh", "relu")))


def test_progress_names_activation_and_iteration():
    seen, compiled = [], []
    protocol = dataclasses.replace(SHORT, seeds=5, steps=25, activations=("tanh", "relu"))
    train(
        protocol,
        chunk=10,
        on_compiled=lambda name, seconds: compiled.append(name),
        on_progress=lambda name, progress: seen.append((name, progress.done // 5)),
    )
    assert sorted(compiled) == ["relu", "tanh"]
    first = seen[0][0]  # the one that was compiled first
    assert seen == [(name, done) for name in (first, {"tanh": "relu", "relu": "tanh"}[first]) for done in (10, 20, 25)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seeds", 0),
        ("seeds", 2**33),
        ("steps", 2**31),
        ("width", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", 0.0),
        ("activation_learning_rate", float("inf")),
        ("threshold", 0.0),
        ("threshold", -1.0),
        ("weight_std", -0.1),
        ("bias_std", float("nan")),
        ("initial_a", float("nan")),
        ("first_seed", -1),
        ("first_seed", 2**32 - 500),
        ("loss", "mae"),
        ("activations", ()),
        ("activations", ("tanh", "tanh")),
    ],
)
def test_unusable_values_are_refused_by_name(field, value):
    protocol: Protocol = dataclasses.replace(SHORT, **{field: value})
    with pytest.raises(ValueError, match=f"^--{field.replace('_', '-')}: expected .*got ") as caught:
        train(protocol)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "kernels_there"),
    [
        ({}, True),
        pytest.param({"chunk": 20}, True, marks=pytest.mark.slow),
        pytest.param({"gradients_every": 20}, True, marks=pytest.mark.slow),
        pytest.param({}, False, marks=pytest.mark.slow),
    ],
    ids=["one call", "chunks", "looks", "no kernels"],
)
def test_all_activations_in_one_call_are_the_same_trials(options, kernels_there, monkeypatch):
    """As accelerators do it."""
    protocol = dataclasses.replace(SHORT, seeds=70, steps=50)
    one_by_one = train(protocol, **options)
    monkeypatch.setattr(training, "_one_at_a_time", lambda mesh: False)
    monkeypatch.setattr(training, "target_of", lambda mesh: "there are" if kernels_there else None)
    told, compiled = [], []
    at_once = train(
        protocol,
        **options,
        on_compiled=lambda name, seconds: compiled.append(name),
        on_progress=lambda name, progress: told.append((name, progress.done == progress.total)),
    )
    assert compiled == list(CHAOTIC)
    assert told[-1] == (CHAOTIC[-1], True)
    xr.testing.assert_identical(records.to_dataset(protocol, at_once), records.to_dataset(protocol, one_by_one))


@pytest.mark.parametrize(("depth", "width"), [(2, 3), (3, 1)])
def test_networks_of_other_sizes(depth, width):
    """As on CPUs and, with the activation that has no a and b beside the other, in one call."""
    protocol = dataclasses.replace(SHORT, seeds=3, steps=2, depth=depth, width=width, activations=("ppns", "tanh"))
    run = records.to_dataset(protocol, train(protocol, gradients_every=2))
    assert {name: run.sizes[name] for name in ("layer", "node", "from_node")} == {
        "layer": depth,
        "node": width,
        "from_node": max(2, width),
    }
    assert not run["non_finite"].any()
    inputs, targets = xor()
    for name in protocol.activations:
        own = model(name, 2, weight_std=protocol.weight_std, depth=depth, width=width)
        initial = records.params_of_trial(run, name, 2, when="initial")
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), initial, params_of(own))
        learned = with_params(own, records.params_of_trial(run, name, 2))
        loss = np.mean((np.asarray(learned(inputs)) - targets) ** 2)
        np.testing.assert_allclose(run["final_loss"].sel(activation=name, seed=2), loss, rtol=1e-4)
