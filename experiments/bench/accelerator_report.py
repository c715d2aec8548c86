"""What `bench accelerator` found, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.study.tables import Table

Parts = Mapping[str, Mapping[str, Any]]


def microseconds(parts: Parts) -> dict[str, dict[str, float]]:
    """Microseconds of an iteration of all XOR(10) trials by activation, of those of `project` and `usual` measured."""
    found: dict[str, dict[str, float]] = {}
    if warm := parts.get("xor10", {}).get("warm"):
        iterations = parts["xor10"]["iterations"]
        found["project"] = {name: 1e6 * seconds / iterations for name, seconds in warm["train_seconds"].items()}
    if usual := parts.get("usual", {}).get("microseconds"):
        found["usual"] = usual
    return found


def usual_to_project(parts: Parts) -> dict[str, float]:
    """How many times as long the usual way takes, by activation and in total; of those that both have trained."""
    found = microseconds(parts)
    project, usual = (found.get(which, {}) for which in ("project", "usual"))
    both = [name for name in project if name in usual]
    if not both:
        return {}
    total = sum(usual[name] for name in both) / sum(project[name] for name in both)
    return {name: usual[name] / project[name] for name in both} | {"total": total}


def render(result: Mapping[str, Any]) -> str:
    """A result of `measure` for a terminal."""
    parts: Parts = result["parts"]
    tables = [_xor10(parts, result["usual_to_project"]), _digits(parts), _outcomes(parts)]
    return "\n".join([_head(result), *(table.plain() for table in tables if table.rows)])


def outcome(part: Mapping[str, Any]) -> str:
    """How a part ended."""
    return next((f"{how}: {part[how]}" for how in ("skipped", "cut", "failed") if how in part), "done")


def _head(result: Mapping[str, Any]) -> str:
    info = result["parts"].get("info", {})
    devices = sorted({part["device"] for part in result["parts"].values() if "device" in part})
    lines = [" and ".join(devices) + (f", {info['devices']} of {info['platform']}" if "platform" in info else "")]
    if result["small"]:
        lines[0] += "; TINY SIZES: the times and counts say nothing"
    if "versions" in result:
        lines.append(", ".join(f"{name} {version}" for name, version in result["versions"].items() if version))
    if "dispatch_microseconds" in info:
        lines.append(
            f"float32 products are off by {info['product_error_default']:.1g}, at precision highest by "
            f"{info['product_error_highest']:.1g}; a call takes {info['dispatch_microseconds']:.0f} us"
        )
    return "\n".join(lines) + "\n"


def _xor10(parts: Parts, ratios: Mapping[str, float]) -> Table:
    part, by_activation = parts.get("xor10", {}), microseconds(parts)
    cold, warm = part.get("cold", {}), part.get("warm", {})
    times: dict[str, tuple[Mapping[str, float], str]] = {
        "compile, s": (cold.get("compile_seconds", {}), ".1f"),
        "first, s": (cold.get("train_seconds", {}), ".3g"),
        "again, s": (warm.get("train_seconds", {}), ".3g"),
        "us/iteration": (by_activation.get("project", {}), ",.1f"),
        "usual way, us": (by_activation.get("usual", {}), ",.1f"),
    }
    rows = part.get("rows", {})

    def count(name: str) -> list[str]:
        if name not in rows:
            return [""] * 6
        row = rows[name]
        return [
            str(row["here"]),
            *(str(row[which][0]) for which in ("published", "kept")),
            *(f"{row[which]:.2g}" for which in ("p_published", "p_kept")),
            "yes" if row["matches"] else "NO",
        ]

    names = list(dict.fromkeys(name for found, _ in reversed(times.values()) for name in found))
    total = [_cell(sum(found.values()) if found else None, form) for found, form in [*times.values()][1:]]
    return Table(
        f"XOR(10), {part.get('trials', 0):,} trials x {part.get('iterations', 0):,} iterations",
        ["activation", *times, "ratio", "converged", "published", "on a CPU", "p", "p of CPU", "matches"],
        [
            *(
                [
                    name,
                    *(_cell(found.get(name), form) for found, form in times.values()),
                    _cell(ratios.get(name), ".2f"),
                    *count(name),
                ]
                for name in names
            ),
            *([["total", "", *total, _cell(ratios.get("total"), ".2f"), *[""] * 6]] if names else []),
        ],
        note=f"All of it took {_wall(cold)} s, again {_wall(warm)} s. Activations compile side by side.\n"
        f"As one compiled call: {_cell(part.get('compiled_call', {}).get('seconds'), '.3f') or '-'} s.\n"
        "Ratio: usual way / this project. p: two-proportion test; matches: with Holm's correction neither below 0.05.",
    )


def _digits(parts: Parts) -> Table:
    found = {
        f"{who}: {name}": row
        for part, who in (("mnist", "this project"), ("torch", "PyTorch"))
        for name, row in parts.get(part, {}).items()
        if isinstance(row, dict)
    }

    def cells(row: Mapping[str, Any]) -> list[str]:
        if "failed" in row:
            return ["failed", "", "", ""]
        rate, losses = row["steps_per_second"], row.get("losses")
        times: list[tuple[float | None, str]] = [
            (rate, ",.0f"),
            (rate * row["seeds"], ",.0f"),
            (row["compile_seconds"], ".1f"),
            (losses[1] if losses else None, ".6f"),
        ]
        return [_cell(*time) for time in times]

    return Table(
        "Digits, PPNS: training steps per second, products in float32",
        ["", "steps/s", "of all seeds", "compile, s", "loss after 10 steps"],
        [[name, *cells(row)] for name, row in found.items()],
        note="; ".join(f"{name} failed: {row['failed']}" for name, row in found.items() if "failed" in row),
    )


def _outcomes(parts: Parts) -> Table:
    rows = [[name, _cell(part.get("seconds"), ".0f"), outcome(part)] for name, part in parts.items()]
    return Table("Parts", ["part", "seconds", "outcome"], rows, left=["outcome"])


def _wall(run: Mapping[str, Any]) -> str:
    return _cell(run.get("wall_seconds"), ".1f") or "?"


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
