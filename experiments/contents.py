"""The table of contents: every command, in the order of the front page, and how to run it small."""

from __future__ import annotations

from experiments.bench.command import Bench
from experiments.commands import CONTENTS, TOOLS, Entry
from experiments.studies.ablation import Ablation
from experiments.studies.cnn import Cnn
from experiments.studies.cnn_search import CnnSearch
from experiments.studies.cnn_sharing import CnnSharing
from experiments.studies.crossing import Crossing
from experiments.studies.gain import Gain
from experiments.studies.gain_mnist import GainMnist
from experiments.studies.gradients import Gradients
from experiments.studies.initial_scale import InitialScale
from experiments.studies.mnist import Mnist
from experiments.studies.optimisers import Optimisers
from experiments.studies.relu_family import ReluFamily
from experiments.studies.sigmoid_faults import SigmoidFaults
from experiments.studies.starts import Starts
from experiments.studies.xor10 import Xor10
from experiments.studies.xor10_figures import Xor10Figures
from experiments.studies.xor10_protocol import Xor10Protocol
from experiments.tools.activations import Activations
from experiments.tools.all import All
from experiments.tools.findings import Findings
from experiments.tools.report import Report
from experiments.tools.verify import Verify

_IMAGES = "--data synthetic"
_SHORT = f"{_IMAGES} --steps 4 --seeds 2 --test-every 2"
_CNN = f"{_IMAGES} --training-images 60 --batch 20"
_SHORT_CNN = f"{_CNN} --seeds 2 --steps 4 --test-every 2"

CONTENTS.update(
    {
        "Reproduce [P], Ko & Ko 2021": (
            Entry("xor10", Xor10, {"": "--activations sigmoid ppns --seeds 8 --steps 20 --out OUT"}),
            Entry("xor10-figures", Xor10Figures, {"": "--seeds 16 --every 100 --steps 1000 --out OUT"}),
            Entry("mnist", Mnist, {"": f"{_SHORT} --train-every 2 --activations ppns --out OUT"}),
            Entry(
                "xor10-protocol",
                Xor10Protocol,
                {
                    "": "--scales fan-in --bias-stds 0 --batches full --seeds 8 --finalists 2 --final-seeds 16 "
                    "--steps 20 --out OUT"
                },
            ),
        ),
        "Reproduce [A], Kong, Ko & Ko 2020": (
            Entry("cnn", Cnn, {"": f"{_SHORT_CNN} --combinations relu/parametric_sigmoid --out OUT"}),
            Entry("cnn-search", CnnSearch, {"": f"{_CNN} --steps 1 --combinations relu/relu --out OUT"}),
            Entry(
                "cnn-sharing",
                CnnSharing,
                {"": f"{_SHORT_CNN} --combinations parametric_relu/relu --sharing element layer --out OUT"},
            ),
        ),
        "Studies that the papers lack": (
            Entry(
                "ablation",
                Ablation,
                {
                    "xor10": "--activations ppns --seeds 8 --steps 20 --out OUT",
                    "mnist": f"{_SHORT} --activations ppns --out OUT",
                },
            ),
            Entry(
                "gain",
                Gain,
                {"": "--activations ppns --gains 1 1.5 --weight-stds 1 1.5 --seeds 8 --steps 20 --out OUT"},
            ),
            Entry(
                "gain-mnist",
                GainMnist,
                {
                    "": f"{_IMAGES} --activations ppns --depths 2 3 --scales 0.5 1 2 --seeds 2 --width 8 --steps 4 "
                    "--scored 50 --out OUT"
                },
            ),
            Entry(
                "starts",
                Starts,
                {
                    "xor10": "--activations ppns --rates 0.05 0.1 --seeds 8 --choosing 4 --steps 20 --out OUT",
                    "mnist": f"{_IMAGES} --activations ppns --depths 2 --rates 0.05 --seeds 3 --choosing 1 --width 8 "
                    "--steps 4 --out OUT",
                    "cnn": f"{_CNN} --combinations relu/parametric_sigmoid --rates 0.3 --seeds 3 --choosing 1 "
                    "--steps 4 --out OUT",
                },
            ),
            Entry(
                "crossing",
                Crossing,
                {"": "--activations ppns --starts 0.5 --multiples 0 1 --seeds 4 --depth 2 --steps 20 --out OUT"},
            ),
            Entry("gradients", Gradients, {"": "--depth 1,3 --width 8 --seeds 8 --gains 1 --out OUT"}),
            Entry(
                "initial-scale",
                InitialScale,
                {
                    "": f"{_IMAGES} --activations relu --scales 0.01 he --width 8 --steps 4 --printed-steps 4 "
                    "--test-every 2 --rates 0.1 --seeds 2 --out OUT"
                },
            ),
            Entry(
                "optimisers",
                Optimisers,
                {
                    "xor10": "--activations ppns --optimisers sgd adam --rates 0.05 --seeds 8 --choosing 4 --steps 20 "
                    "--out OUT",
                    "mnist": f"{_IMAGES} --activations ppns --optimisers sgd adam --rates 0.05 --seeds 3 --choosing 1 "
                    "--steps 4 --out OUT",
                },
            ),
            Entry(
                "sigmoid-faults",
                SigmoidFaults,
                {
                    "": "--gains 1 --width 8 --depth 2 --samples 8 --seeds 4 --xor-seeds 8 --xor-steps 20 --starts 10 "
                    "--rounds 1 --timed-steps 5 --small --out OUT"
                },
            ),
            Entry(
                "relu-family",
                ReluFamily,
                {
                    "": f"{_IMAGES} --activations relu elu --rates 0.1 --seeds 3 --choosing 1 --depth 2 "
                    "--width 8 --steps 4 --look-every 2 --test-every 2 --probes 20 --out OUT"
                },
            ),
        ),
        TOOLS: (
            Entry("activations", Activations, {"": "--out OUT"}),
            Entry("verify", Verify, {"": "--activations ppns relu"}),
            Entry(
                "bench",
                Bench,
                {
                    "xor10": "--rounds 1 --no-pytorch --activations ppns --json OUT.json",
                    "mnist": f"{_IMAGES} --rounds 1 --steps 30 --json OUT.json",
                    "cnn": f"{_IMAGES} --rounds 1 --steps 12 --json OUT.json",
                    "activations": "--rounds 1 --small --functions tanh --json OUT.json",
                    "sweeps": "--rounds 1 --trials 128 1024 --small --trainings logistic --json OUT.json",
                    "accelerator": "--small --parts info --json OUT.json",
                },
            ),
            Entry("findings", Findings, {"": ""}),
            Entry("report", Report, {"": "RUNS"}),
            Entry("all", All, {}),
        ),
    }
)
