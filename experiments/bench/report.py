"""The result of a benchmark in plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.study.tables import Table

LABELS = {
    "yardstick": "yardstick",
    "project": "this project",
    "usual": "usual way",
    "usual_sharded": "usual, sharded",
    "pytorch": "PyTorch",
}
"""The contestants by their name in a result."""

_RATIOS = (("project", "yardstick"), ("usual", "project"), ("usual_sharded", "project"), ("pytorch", "project"))


def render(result: dict[str, Any]) -> str:
    """A result of `measure` for a terminal."""
    tables = [_times(result), _ratios(result), _compilation(result)]
    texts = [_machine(result), *(table.plain() for table in tables), _contestants(result), _targets(result)]
    return "\n".join(texts)


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    avx512 = "with AVX-512" if machine["avx512"] else "without AVX-512"
    packages = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    return f"{machine['cpu']}, {machine['cores_used']} of {machine['cores_there']} cores, {avx512}\n{packages}\n"


def _times(result: dict[str, Any]) -> Table:
    totals, parameters = result["totals"]["microseconds"], result["parameters"]
    measured = [name for name in LABELS if name in totals]
    rows = [
        [row["activation"], *(_with_range(row["microseconds"][name], _number) for name in measured)]
        for row in result["rows"]
    ]
    return Table(
        title=f"XOR(10): microseconds for one iteration of {parameters['trials']:,} trials",
        columns=["activation", *(LABELS[name] for name in measured)],
        rows=[*rows, ["total", *(_number(totals[name]) for name in measured)]],
        note=f"Median of {parameters['rounds']} rounds, in brackets the least and the most.",
    )


def _ratios(result: dict[str, Any]) -> Table:
    measured = result["totals"]["microseconds"]
    ratios = [(name, reference) for name, reference in _RATIOS if name in measured and reference in measured]

    def cells(found: dict[str, Any]) -> list[str]:
        return [_with_range(found[f"ratio_to_{reference}"][name], _ratio) for name, reference in ratios]

    return Table(
        title="The same as ratios within a round",
        columns=["activation", *(f"{LABELS[name]} / {LABELS[reference]}" for name, reference in ratios)],
        rows=[
            *([row["activation"], *cells(row)] for row in result["rows"]),
            ["total", *cells(result["totals"])],
            [
                "sums of medians",
                *(_ratio(result["totals"][f"ratio_to_{reference}"][name]["of_sums"]) for name, reference in ratios),
            ],
        ],
    )


def _compilation(result: dict[str, Any]) -> Table:
    compiled = [name for name in LABELS if name in result["totals"]["compile_seconds"]]

    def cells(seconds: dict[str, float]) -> list[str]:
        return [f"{seconds[name]:.1f}" for name in compiled]

    return Table(
        title="Seconds to compile, not in the times above",
        columns=["activation", *(LABELS[name] for name in compiled)],
        rows=[
            *([row["activation"], *cells(row["compile_seconds"])] for row in result["rows"]),
            ["total", *cells(result["totals"]["compile_seconds"])],
        ],
    )


def _contestants(result: dict[str, Any]) -> str:
    return "".join(f"{LABELS[name]}: {_about(about)}\n" for name, about in result["contestants"].items())


def _about(contestant: dict[str, Any]) -> str:
    return f"skipped, {contestant['skipped']}" if "skipped" in contestant else contestant["what"]


def _targets(result: dict[str, Any]) -> str:
    words = {True: "met", False: "NOT met", None: "not measured"}
    return "".join(
        f"{target['target']}: {words[target['met']]}"
        + ("\n" if target["value"] is None else f" ({target['value']:.2f})\n")
        for target in result["targets"]
    )


def _with_range(spread: dict[str, float], text: Callable[[float], str]) -> str:
    return f"{text(spread['median'])} ({text(spread['min'])}-{text(spread['max'])})"


def _number(microseconds: float) -> str:
    return f"{microseconds:,.0f}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"
