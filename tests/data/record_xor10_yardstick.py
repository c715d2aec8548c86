"""Write xor10_yardstick.npz: what the yardstick, an independent C program, makes of 64 trials of each activation.

`python tests/data/record_xor10_yardstick.py DIRECTORY_OF_XOR10_C`
"""

import sys
from pathlib import Path

import numpy as np

from experiments.bench import yardstick

TRIALS, ITERATIONS = 64, (10, 300)

if __name__ == "__main__":
    program = yardstick.load(Path(sys.argv[1]), fast_math=False)
    arrays = {}
    for kind in program.module.KINDS:
        rows = program.module.initial(kind, TRIALS)
        arrays[f"{kind}_initial"] = rows
        for iterations in ITERATIONS:
            arrays[f"{kind}_losses_{iterations}"] = program.train(kind, rows, iterations=iterations)[0]
    np.savez_compressed(Path(__file__).with_name("xor10_yardstick.npz"), **arrays)
