"""The sample of faults: drawn once, some of every part of the package, then kept in sample.json by id and change."""

import random
from collections import Counter
from pathlib import Path

from tests.mutants.faults import Mutant, faults, plant

PARTS = [
    "activations",
    "programs",
    "layers",
    "networks",
    "gradients",
    "training",
    "sweeps",
    "statistics",
    "datasets",
    "figures",
    "papers",
]
SHARE = 0.6  # of the package; the rest are faults of experiments
LEAST = 2  # faults of each part
WITHOUT = "pytorch"  # few installations can run what this word stands in


def look_up(root: Path, identity: str, change: str) -> Mutant | None:
    """Returns the fault of an id, or the first with this change in the same scope; None if neither is left."""
    path, scope, kind, _ = identity.split("::")
    if not (root / path).exists():
        return None
    same = [
        mutant
        for mutant in faults(path, (root / path).read_text(encoding="utf-8"))
        if (mutant.scope, mutant.kind, mutant.change) == (scope, kind, change)
    ]
    return next((mutant for mutant in same if mutant.id == identity), same[0] if same else None)


def draw(root: Path, seed: int, number: int) -> list[Mutant]:
    """Returns faults chosen by chance: the module by its number of faults, then the kind, then the fault."""
    choose = random.Random(seed)
    modules = {part: _read(root / "paramact_jax" / part, root) for part in PARTS}
    counts = Counter(dict.fromkeys(PARTS, LEAST))
    sizes = [sum(map(len, modules[part])) for part in PARTS]
    counts.update(choose.choices(PARTS, sizes, k=round(SHARE * number) - counts.total()))
    drawn = [mutant for part in PARTS for mutant in _drawn(modules[part], counts[part], choose, root)]
    return drawn + _drawn(_read(root / "experiments", root), number - len(drawn), choose, root)


def _read(directory, root):
    """Returns the faults of each module that has any."""
    files = (file for file in sorted(directory.rglob("*.py")) if WITHOUT not in file.name)
    found = (faults(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")) for file in files)
    return [module for module in found if module]


def _drawn(modules, number, choose, root):
    """Draws from different modules while there are any, and never two of one function."""
    drawn, fresh = [], list(modules)
    while len(drawn) < number:
        fresh = fresh or list(modules)
        (module,) = choose.choices(fresh, map(len, fresh))
        kind = choose.choice(sorted({mutant.kind for mutant in module}))
        mutant = choose.choice([mutant for mutant in module if mutant.kind == kind])
        if WITHOUT in mutant.change or any((mutant.path, mutant.scope) == (m.path, m.scope) for m in drawn):
            continue
        plant(mutant, (root / mutant.path).read_text(encoding="utf-8"))
        fresh.remove(module)
        drawn.append(mutant)
    return sorted(drawn, key=lambda mutant: (mutant.path, mutant.line))
