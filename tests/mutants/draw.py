"""Draws the sample of faults: some of every part of the package, at most one of a function."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tests.mutants.faults import Mutant, plant, read_faults

PARTS = ("activations", "layers", "networks", "gradients", "training", "sweeps", "statistics", "datasets", "figures")
PARTS += ("papers",)
SHARE = 0.6  # of the package; the rest are faults of experiments
LEAST = 2  # faults of each part
WITHOUT = "pytorch"  # few installations can run what this word stands in


def draw(root: Path, seed: int, number: int) -> list[Mutant]:
    """Returns faults chosen by chance: the module by its number of faults, then the kind, then the fault."""
    choose = random.Random(seed)
    parts = {f"paramact_jax/{part}": read_part(root, f"paramact_jax/{part}") for part in PARTS}
    others = read_part(root, "experiments")
    counts = Counter(dict.fromkeys(parts, LEAST))
    sizes = [sum(map(len, modules)) for modules in parts.values()]
    counts.update(choose.choices(list(parts), sizes, k=round(SHARE * number) - counts.total()))
    drawn = [mutant for part in parts for mutant in draw_from(parts[part], counts[part], choose, root)]
    return drawn + draw_from(others, number - len(drawn), choose, root)


def read_part(root: Path, directory: str) -> list[list[Mutant]]:
    """Returns the faults of every module that has any."""
    files = sorted(file.relative_to(root).as_posix() for file in (root / directory).rglob("*.py"))
    return [found for file in files if WITHOUT not in file and (found := read_faults(root, file))]


def draw_from(modules: list[list[Mutant]], number: int, choose: random.Random, root: Path) -> list[Mutant]:
    """Returns faults of different modules while there are any, and never two of one function."""
    drawn: list[Mutant] = []
    fresh = list(modules)
    while len(drawn) < number:
        fresh = fresh or list(modules)
        (module,) = choose.choices(fresh, map(len, fresh))
        kind = choose.choice(sorted({mutant.kind for mutant in module}))
        mutant = choose.choice([mutant for mutant in module if mutant.kind == kind])
        if WITHOUT in mutant.change or any((mutant.path, mutant.scope) == (other.path, other.scope) for other in drawn):
            continue
        try:
            plant(mutant, (root / mutant.path).read_text(encoding="utf-8"))
        except ValueError:
            continue
        fresh.remove(module)
        drawn.append(mutant)
    return sorted(drawn, key=lambda mutant: (mutant.path, mutant.line))
