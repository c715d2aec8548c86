"""What was measured, as text."""

from __future__ import annotations

from collections import Counter


def line(verdict: dict) -> str:
    ending = ""
    if verdict["verdict"] == "killed":
        ending = f"in stage {verdict['stage']} by {verdict['test']}"
    elif verdict["verdict"] == "survived":
        left = f", {verdict['left_out']} left out" if verdict["left_out"] else ""
        ending = f"{verdict['tried']} tests{left}"
    return f"{verdict['verdict']:<8} {verdict.get('seconds', 0):6.1f} s  {verdict['id']}  {ending}"


def report(verdicts: list[dict]) -> str:
    """Returns a line for each fault, the share that is killed, and the faults that survived or were not tried."""
    from paramact_jax.statistics import wilson_interval  # not earlier: the package itself has the fault

    of = {name: [v for v in verdicts if v["verdict"] == name] for name in ("killed", "survived", "equivalent", "gone")}
    lines = [line(verdict) for verdict in sorted(verdicts, key=lambda verdict: verdict["id"])]
    killed, counted = len(of["killed"]), len(of["killed"]) + len(of["survived"])
    if counted:
        low, high = wilson_interval(killed, counted)
        share = (
            f"{killed} of {counted} faults are killed: {killed / counted:.1%} (95 % interval {low:.1%} to {high:.1%})"
        )
        stages = Counter(verdict["stage"] for verdict in of["killed"])
        lines += ["", share, ", ".join(f"{stages[stage]} in stage {stage}" for stage in sorted(stages))]
    for name in ("survived", "equivalent", "gone"):
        lines += ["", f"{len(of[name])} {name}"] if of[name] else []
        for verdict in of[name]:
            place = f"{verdict['id'].partition('::')[0]}:{verdict['line']}" if "line" in verdict else verdict["id"]
            lines.append(f"  {place}  {verdict['change']}")
            if "equivalent" in verdict:
                lines.append(f"    {verdict['equivalent']}")
    return "\n".join(lines)
