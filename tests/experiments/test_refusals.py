"""Every command refuses what it cannot do in one line with status 2, before anything runs or is written."""

import shlex

import numpy as np
import pytest

from experiments.__main__ import main

REFUSALS = [
    ("xor10 --activations swoosh", "unknown activation 'swoosh': did you mean swish? expected one of identity, step"),
    ("xor10 --activations ppn", "did you mean ppns?"),
    ("xor10 --trials -1", "--seeds: expected an integer within 1..2**31 - 1, got -1"),
    ("xor10 --learning-rate nan", "--learning-rate: expected a finite number > 0 that float32 can hold, got nan"),
    ("xor10 --activation-learning-rate -1", "--activation-learning-rate: expected a finite number >= 0"),
    ("xor10 --initial-a 3 --activations tanh", "--initial-a: expected an activation with a parameter a, got tanh"),
    ("xor10 --coordinator 10.0.0.1:99", "--coordinator: expected --distributed with it"),
    ("xor10 --steps 40 --gradients-every 41", "--gradients-every: expected an integer within 0..40, got 41"),
    ("xor10 --activations identity --gradients-every 1", "--activations: expected nonlinear activations to look at"),
    ("xor10-figures --every 7", "--every: expected a divisor of 10000 steps, got 7"),
    ("xor10-figures --every 0", "--every: expected an integer within 1..2**31 - 1, got 0"),
    ("xor10-figures --seed 1000", "--seed: expected an integer within 0..999, the trials of --first-seed and --seeds"),
    (
        "xor10-protocol --scales xavier",
        "--scales: expected a number > 0 or one of fan-in, normal, glorot, he, got xavier",
    ),
    ("xor10-protocol --scales he he", "--scales: expected at least one value, each once, got he he"),
    ("xor10-protocol --kinks 2", "--kinks: expected one of 0, 1, got 2"),
    ("xor10-protocol --trials 100 --final-trials 50", "--final-seeds: expected an integer within 100.."),
    ("xor10-protocol --first-seed 4294963297", "--first-seed: expected an integer within 0..4294963296"),
    ("gradients --activation tan", "unknown activation 'tan'"),
    ("gradients --gain -1", "--gains: expected a finite number > 0 that float32 can hold, got -1.0"),
    ("gradients --seeds 1", "--seeds: expected an integer within 2..2**31 - 1, got 1"),
    ("mnist --data synthetic --steps 2147483648", "--steps: expected an integer within 1..2**31 - 1"),
    (
        "mnist --data synthetic --batch 2001",
        "--batch: expected an integer within 1..2000, the number of training images, got 2001",
    ),
    ("mnist --data synthetic --learning-rate nan", "--learning-rate: expected a finite number > 0 that float32 can"),
    ("mnist --data synthetic --learning-rate-a -0.1", "--learning-rate-a: expected a finite number >= 0 that float32"),
    ("mnist --data synthetic --initial-a nan", "--initial-a: expected a finite number, got nan"),
    (
        "mnist --data synthetic --initial-a 2 --activations relu",
        "--initial-a: expected an activation with a parameter a",
    ),
    (
        "mnist --data synthetic --first-seed 4294967295",
        "--first-seed: expected an integer within 0..4294967293, got 4294967295",
    ),
    ("mnist --data synthetic --activations relu relu", "--activations: expected at least one value, each once"),
    ("mnist --data synthetic --activations ppms", "unknown activation 'ppms': did you mean ppns?"),
    ("mnist --data synthetic --data-dir somewhere", "--data-dir: expected none with --data synthetic, got somewhere"),
    ("cnn --learning-rate 0", "--learning-rate: expected a finite number > 0 that float32 can hold, got 0.0"),
    ("cnn --subset-seed -1", "--subset-seed: expected an integer within 0..2**31 - 1, got -1"),
    ("cnn --data synthetic --kernel-size 5 --padding valid", "expected at least one window to pool"),
    ("cnn --data-dir nowhere", "--data-dir: "),
    ("cnn-sharing --sharing element", "--sharing: expected two or three, each once, got element"),
    (
        "cnn-sharing --data synthetic --combinations relu/ppns",
        "--combinations: expected an activation with parameters, which can be shared, in the convolutional layers",
    ),
    ("cnn-search --steps 30 10", "--steps: expected rising numbers, one a round, got 30 10"),
    ("cnn-search --iterations 0 10", "--steps: expected an integer within 1..2**31 - 1, got 0"),
    ("cnn-search --keep-one-in 1", "--keep-one-in: expected an integer within 2..2**31 - 1, got 1"),
    ("ablation xor10 --trials 1", "--seeds: expected an integer within 2..2**31 - 1, got 1"),
    (
        "ablation xor10 --functions tanh",
        "--activations: expected one of ppns, parametric_tanh, parametric_relu, got tanh",
    ),
    ("ablation mnist --functions ppns ppns", "--activations: expected at least one value, each once, got ppns ppns"),
    ("ablation mnist --data synthetic --data-dir x", "--data-dir: expected none with --data synthetic"),
    ("initial-scale --scales -1", "--scales: expected a number > 0 or one of xavier, he, he-hidden, got -1"),
    ("initial-scale --scales hee", "--scales: expected a number > 0 or one of xavier, he, he-hidden, got hee"),
    ("initial-scale --data synthetic --scales 0.2 he-hidden", "--scales: expected scales that differ"),
    ("initial-scale --rates 0.1 0.1000000001", "--rates: expected at least one value, each once"),
    ("initial-scale --seeds 1", "--seeds: expected an integer within 2.."),
    ("initial-scale --activations swoosh", "unknown activation 'swoosh'"),
    ("initial-scale --data synthetic --data-dir x", "--data-dir: expected none with --data synthetic"),
    ("optimisers xor10 --optimisers adm", "--optimisers: expected one of sgd, momentum"),
    ("optimisers xor10 --rates 0", "--rates: expected a finite number > 0 that float32 can hold, got 0.0"),
    ("optimisers xor10 --seeds 2", "--seeds: expected an integer within 3.."),
    ("optimisers xor10 --choosing 511", "--choosing: expected an integer within 1..510, got 511"),
    ("optimisers mnist --activations swoosh", "unknown activation 'swoosh'"),
    ("optimisers mnist --data synthetic --data-dir x", "--data-dir: expected none with --data synthetic"),
    ("relu-family --data synthetic --activations rel", "unknown activation 'rel'"),
    ("relu-family --data synthetic --activations relu relu", "--activations: expected at least one value, each once"),
    ("relu-family --data synthetic --learning-rates 0", "--rates: expected a finite number > 0 that float32 can hold"),
    ("relu-family --data synthetic --seeds 2", "--seeds: expected an integer within 3..2**31 - 1, got 2"),
    ("relu-family --data synthetic --choosing 6", "--choosing: expected an integer within 1..5, got 6"),
    ("relu-family --data synthetic --probes 3000", "1..1667, the number of training images, got 3000"),
    ("relu-family --data nowhere.npz", "--data: expected one of auto, idx, tfds, synthetic, or images of your own: "),
    ("relu-family --data synthetic --activations mine.py:f", "FileNotFoundError: no file "),
    ("sigmoid-faults --also relu", "--also: expected each name once, and none of sigmoid"),
    ("sigmoid-faults --depth 1", "--depth: expected an integer within 2..2**31 - 1, got 1"),
    ("sigmoid-faults --first-seed 4294966300", "--first-seed: expected an integer within 0..4294966296, got"),
    ("bench xor10 --activations softsign", "--activations: expected one of sigmoid, parametric_sigmoid"),
    ("bench xor10 --seeds 24", "--seeds: expected a multiple of 16, got 24"),
    ("bench xor10 --yardstick nowhere", "--yardstick: expected the directory of xor10.py and xor10.c, got nowhere"),
    ("bench activations --functions nonsense", "unknown activation 'nonsense'"),
    ("bench sweeps --trials 256 128", "--trials: expected rising numbers >= 1, got 256 128"),
    ("bench sweeps --trainings nothing", "--trainings: expected a part of one of deep narrow network, "),
    ("bench sweeps --parts", "--parts: expected some of trials, trainings, stopping, got none"),
    ("bench mnist --data synthetic --rounds 0", "--rounds: expected an integer within 1..2**31 - 1, got 0"),
    ("bench mnist --data synthetic --data-dir nowhere", "--data-dir"),
    (
        "bench mnist --data synthetic --json nowhere/bench.json",
        "--json: expected a new file in a directory that exists",
    ),
    ("bench cnn --steps 9", "--steps: expected an integer within 10..2**31 - 1, got 9"),
    ("bench cnn --combination relu", "expected CONV/DENSE"),
    ("bench cnn --combination relu/nothing", "unknown activation 'nothing'"),
    ("verify --activations nonsense", "unknown activation 'nonsense'"),
]


@pytest.mark.parametrize(("command", "says"), REFUSALS, ids=[command for command, _ in REFUSALS])
def test_a_refusal_is_one_line_with_status_2_and_writes_nothing(command, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.study.study.Study._run", lambda *_: pytest.fail("it runs"))
    assert main(shlex.split(command)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_form_are_refused_by_the_networks_of_a(tmp_path, capsys):
    images, labels = np.zeros((6, 5, 4), np.uint8), np.arange(6) % 3
    np.savez(tmp_path / "small.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert main(["cnn", "--data", str(tmp_path / "small.npz"), "--out", str(tmp_path / "run")]) == 2
    assert "expected images of 28 x 28 in 10 classes for the networks of [A], got 5 x 4 in 3" in capsys.readouterr().err
