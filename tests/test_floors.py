"""Each floor of the house only knows the floors below it."""

import ast
import graphlib
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"activations", "papers", "statistics", "datasets"},
    {"programs"},
    {"layers"},
    {"networks"},
    {"gradients", "training"},
    {"sweeps"},
    {"figures"},
    {"paramact_jax"},  # the names of the whole package: it imports every floor, on first use
    {"experiments"},
]
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}


def read_sources():
    files = [path for top in ("paramact_jax", "experiments") for path in (ROOT / top).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def part_of(dotted):
    """The part of the house a dotted name belongs to: a package of paramact_jax, itself, or a top-level name."""
    top, *rest = dotted.split(".")
    return rest[0] if top == "paramact_jax" and rest and rest[0] in FLOOR_OF else top


def imported_names(path, source):
    package = ".".join(Path(path).parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def graph_of(sources):
    """Part -> the other parts it imports."""
    graph = {}
    for path, source in sources.items():
        second = Path(path).parts[1]
        dotted = "paramact_jax" if second == "__init__.py" else ".".join(Path(path).with_suffix("").parts)
        part = part_of(dotted)
        if part == "paramact_jax" and second != "__init__.py":
            part = dotted  # a part without a floor
        graph.setdefault(part, set()).update(set(map(part_of, imported_names(path, source))) - {part})
    return graph


def violations(sources):
    graph = graph_of(sources)
    for part, imported in graph.items():
        if part not in FLOOR_OF:
            yield f"{part} has no floor"
            continue
        for other in imported & set(FLOOR_OF):
            if FLOOR_OF[other] > FLOOR_OF[part]:
                yield f"{part} imports {other}, which lies above it"
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield f"a circle: {' imports '.join(reversed(error.args[1]))}"


def reach(part, graph):
    """All that importing a part imports, one hop into other people's packages."""
    found, open_ = set(), {part}
    while open_:
        found |= open_
        open_ = set().union(*(graph.get(name, set()) for name in open_)) - found
    return found - {part}


def test_each_floor_knows_only_the_floors_below_it():
    sources = read_sources()
    assert {"activations", "sweeps", "experiments"} <= set(graph_of(sources))
    assert list(violations(sources)) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("activations/new.py", "from paramact_jax.layers import nnx", "activations imports layers"),
        ("activations/new.py", "from paramact_jax import layers", "activations imports layers"),
        ("activations/new.py", "from ..layers.nnx import Parametric", "activations imports layers"),
        ("networks/new.py", "def f():\n    import paramact_jax.training.new", "networks imports training"),
        ("papers/__init__.py", "from paramact_jax import parametric", "papers imports paramact_jax"),
        ("figures/new.py", "import experiments.xor10", "figures imports experiments"),
        ("__init__.py", "import experiments", "paramact_jax imports experiments"),
        ("utils.py", "", "paramact_jax.utils has no floor"),
    ],
)
def test_a_violation_is_seen(path, source, message):
    assert [message in violation for violation in violations({f"paramact_jax/{path}": source})] == [True]


def test_a_circle_on_one_floor_is_seen():
    there = {"paramact_jax/training/x.py": "import paramact_jax.gradients.y"}
    assert list(violations(there)) == []
    back = {"paramact_jax/gradients/y.py": "from paramact_jax.training import x"}
    (circle,) = violations(there | back)
    assert circle.startswith("a circle")


@pytest.mark.parametrize(
    ("part", "never"),
    [
        ("activations", {"flax", "optax", "scipy"}),
        ("programs", {"flax", "optax", "scipy"}),
        ("statistics", {"jax", "flax", "optax"}),
    ],
)
def test_parts_that_stand_alone(part, never):
    reached = reach(part, graph_of(read_sources()))
    assert reached
    assert not reached & never


def test_sweeps_are_generic_until_a_network_is_asked_for():
    sources = {path: source for path, source in read_sources().items() if path != "paramact_jax/sweeps/mlp.py"}
    own = {path: source for path, source in sources.items() if path.startswith("paramact_jax/sweeps/")}
    assert not reach("sweeps", graph_of(sources)) & {"flax", "optax", "layers", "networks", "gradients", "training"}
    assert not [
        path for path, source in own.items() if any("sweeps.mlp" in name for name in imported_names(path, source))
    ]


def test_papers_need_the_standard_library_only():
    assert reach("papers", graph_of(read_sources())) <= sys.stdlib_module_names


def test_reach_follows_the_house_into_what_it_imports():
    sources = {
        "paramact_jax/activations/x.py": "from paramact_jax import datasets",
        "paramact_jax/datasets/y.py": "import flax.nnx",
    }
    assert reach("activations", graph_of(sources)) == {"datasets", "flax"}
