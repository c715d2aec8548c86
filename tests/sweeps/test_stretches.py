"""Iterations in stretches during which no branch changes, as accelerators carry them out; here on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from paramact_jax.sweeps import Training, long, long_sweep
from paramact_jax.training import Classifier, Minibatches

IMAGES = jax.random.normal(jax.random.key(0), (80, 4))
LABELS = IMAGES[:, :3].argmax(1)
DIGITS = {
    **{"train_images": IMAGES[:60], "train_labels": LABELS[:60]},
    **{"test_images": IMAGES[60:], "test_labels": LABELS[60:]},
}


def classifier():
    training = Classifier(
        network=lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"],
        initial=lambda key: {"in": jax.random.normal(key, (4, 5)), "out": 0.3 * jax.random.normal(key, (5, 3))},
        batches=Minibatches(60, 10),
        steps=150,
        scores={"test": 10, "train": 25},
    )
    return training, {"data": DIGITS, "learning_rate": 0.3}


def scheduled():
    """A rate that a setting's schedule lowers, a rare event within a branch, and one that comes every other time."""

    def step(state, iteration, every, rate):
        rate = lax.cond(iteration < 3 * every, lambda: rate, lambda: rate / 2)
        w = state["w"] - rate * jnp.sin(state["w"])
        w = lax.cond(iteration % every == 0, lambda: lax.cond(iteration > 40, lambda: w * 2, lambda: w + 1), lambda: w)
        flips = state["flips"] + lax.cond(iteration % 2 == 0, lambda: 1, lambda: 0)
        return {"w": w, "flips": flips.astype(jnp.int32)}

    def init(key):
        return {"w": jax.random.normal(key, (3,)), "flips": jnp.int32(0)}

    return Training(init, step, dict, lambda state: {"seen": state["w"]}), {"every": 20, "rate": 0.1}


def plain():
    """No conditional; a setting that is a random key."""

    def step(w, noise, iteration):
        return 0.9 * w + jax.random.normal(jax.random.fold_in(noise, iteration))

    return Training(lambda key: jax.random.normal(key, (2,)), step, lambda w: {"w": w}), {"noise": jax.random.key(7)}


@pytest.fixture
def stretched(monkeypatch):
    """A long sweep in stretches, and the iterations that calls with and without conditionals made."""

    def run(training, **options):
        made = {"with": 0, "without": 0}
        calls = long._Programs._calls

        def counted(self, choices, begin, until):
            for end, over in calls(self, choices, begin, until):
                made["with" if over is self._advance(choices) else "without"] += end - begin
                begin = end
                yield end, over

        with monkeypatch.context() as patch:
            patch.setattr(long, "host_counts", lambda form, mesh: True)
            patch.setattr(long._Programs, "_calls", counted)
            return long_sweep(training, range(3), **options), made

    return run


@pytest.mark.parametrize(
    ("make", "most"), [pytest.param(classifier, 75, marks=pytest.mark.slow), (scheduled, 40), (plain, 0)]
)
def test_stretches_compute_what_the_steps_compute(make, most, stretched, unoptimised):
    training, settings = make()
    every = {"observe_every": 50} if training.observe else {}
    options = {"iterations": 150, "iterations_per_call": 75, **every, **settings}
    wanted = long_sweep(training, range(3), **options)
    found, made = stretched(training, **options)
    for name, x in wanted.items():
        np.testing.assert_allclose(found[name].values, x.values, rtol=1e-5, err_msg=name)
    assert made["with"] + made["without"] == 150
    assert made["with"] <= most


@pytest.mark.parametrize("iterations", [0, 1, 7])
def test_few_iterations(iterations, stretched):
    training, settings = scheduled()
    found, _ = stretched(training, iterations=iterations, observe_every=3, **settings)
    wanted = long_sweep(training, range(3), iterations=iterations, observe_every=3, **settings)
    for name, x in wanted.items():
        np.testing.assert_allclose(found[name].values, x.values, rtol=1e-6)


def test_it_goes_on_where_it_was_with_as_many_iterations_a_call_alone(stretched, tmp_path):
    training, settings = scheduled()
    options = {"iterations": 60, "observe_every": 30, **settings}
    kept = {"directory": tmp_path / "kept", "seconds_between_saves": 0}
    wanted, _ = stretched(training, iterations_per_call=20, **options)

    def stop(progress):
        if progress.done >= 40 * 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stretched(training, iterations_per_call=20, on_progress=stop, **options, **kept)
    with pytest.raises(ValueError, match="iterations_per_call"):
        stretched(training, iterations_per_call=10, **options, **kept)
    found, made = stretched(training, iterations_per_call=20, **options, **kept)
    assert found.identical(wanted)
    assert sum(made.values()) == 10  # the calls end at 20, 30, 50 and 60
