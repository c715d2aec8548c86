"""Measures how many planted faults the tests notice: `python -m tests.mutants draw`, `trace` and `run`.

    python -m tests.mutants trace --suite quick --out trace.json  # once: which lines each test executes
    python -m tests.mutants run --suite quick --trace trace.json --out verdicts.json

`run` plants one fault at a time in a copy of the working tree, and runs first the tests that execute it (stage a), then
the other tests of files near it (b), then the tests of files that use the module (c), up to the first failure; tests
that also fail without a fault do not count. A fault of sample.json that cannot change what the program does has
"equivalent": the reason, and is not tried. A fault whose line has changed is "gone": write its new `change` into
sample.json, or put another fault of that file in its place.
"""

import argparse
import fnmatch
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.mutants import record
from tests.mutants.choose import digests, file_of, read_trace
from tests.mutants.sample import draw, look_up
from tests.mutants.trial import preload, start, try_fault, try_without

SAMPLE = Path(__file__).with_name("sample.json")
OPTIONS = {"quick": [], "all": ["-m", ""]}  # pyproject.toml says what a plain pytest leaves out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw", help="draw a new sample of faults")
    drawing.add_argument("--seed", type=int, default=2026)
    drawing.add_argument("--number", type=int, default=72)
    tracing = commands.add_parser("trace", help="run the tests once and record which lines each executes")
    running = commands.add_parser("run", help="try the faults of the sample")
    for command in (tracing, running):
        command.add_argument("--suite", choices=OPTIONS, default="quick", help="all: with the slow tests")
        command.add_argument("--jobs", type=int, default=2, help="processes")
        command.add_argument("--out", type=Path, required=command is tracing, help="a JSON file")
    tracing.add_argument("paths", nargs="*", help="tests, all by default")
    running.add_argument("--trace", type=Path, nargs="+", required=True, help="what trace has written")
    running.add_argument("--mutants", nargs="*", default=["*"], help="patterns of ids, such as '*/sweeps/*'")
    running.add_argument("--sample", type=Path, default=SAMPLE)
    running.add_argument("--most", type=float, default=900, help="seconds of tests that are tried for one fault")
    for command, run in ((drawing, run_draw), (tracing, run_trace), (running, run_trials)):
        command.set_defaults(run=run)
    options = parser.parse_args()
    options.run(options, Path.cwd())


def run_draw(options, root):
    known = {fault["id"]: fault for fault in json.loads(SAMPLE.read_text())} if SAMPLE.exists() else {}
    drawn = [known.get(m.id, {"id": m.id, "change": m.change}) for m in draw(root, options.seed, options.number)]
    SAMPLE.write_text(json.dumps(drawn, indent=1) + "\n")


def run_trace(options, root):
    if not hasattr(sys, "monitoring"):
        sys.exit("trace needs Python 3.12 or newer, for sys.monitoring")
    whole = {"tests": {}, "fixtures": {}, "sources": digests(root)}
    with tempfile.TemporaryDirectory() as out:
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "tests.mutants.record", *OPTIONS[options.suite]]
        arguments += ["-n", str(options.jobs), "--dist", "loadfile"] if options.jobs > 1 else []
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {record.OUT: out, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-m", "pytest", *arguments, *options.paths], env=environment, check=False)
        for part in (json.loads(file.read_text()) for file in Path(out).glob("*.json")):
            whole["tests"] |= part["tests"]
            whole["fixtures"] |= part["fixtures"]
    if not whole["tests"]:
        sys.exit("pytest ran no test")
    options.out.write_text(json.dumps(whole))
    failed = [test for test, entry in whole["tests"].items() if entry["failed"]]
    print(f"{len(whole['tests'])} tests traced; {len(failed)} failed and are left out of run", *failed, sep="\n")


def run_trials(options, root):
    if not hasattr(os, "fork"):
        sys.exit("run needs os.fork, which Windows has not")
    trace, found = read_trace(options.trace), digests(root)
    if stale := [path for path in found if trace.sources.get(path, found[path]) != found[path]]:
        sys.exit(f"the trace is of other sources, trace again: {', '.join(stale)}")
    verdicts, tasks = {}, {}
    for fault in json.loads(options.sample.read_text()):
        if any(fnmatch.fnmatch(fault["id"], pattern) for pattern in options.mutants):
            mutant = look_up(root, fault["id"], fault["change"])
            if mutant is None or "equivalent" in fault:
                verdicts[fault["id"]] = fault | {"verdict": "equivalent" if mutant else "gone"}
            else:
                tasks[fault["id"]] = fault, mutant
    if (root / "paramact_jax").exists():
        preload()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it has started ends with the command
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        settings = (root, scratch, OPTIONS[options.suite], trace, options.most)
        with multiprocessing.get_context("fork").Pool(options.jobs, start, settings) as pool:
            excluded = set()
            while tasks:
                for verdict in pool.imap_unordered(try_fault, [(*task, excluded) for task in tasks.values()]):
                    verdicts[verdict["id"]] = verdict
                    print(line(verdict), flush=True)
                    if options.out:
                        options.out.write_text(json.dumps(list(verdicts.values()), indent=1) + "\n")
                # A test that kills has to pass without a fault, and a file that cannot be collected with one otherwise.
                killers = {verdicts[name].get("test") for name in tasks}
                files = {file_of(test): test for test in trace.lines if file_of(test) in killers}
                killers = sorted(killers & set(trace.lines) | set(files.values()))
                excluded |= set(pool.apply(try_without, (killers,)))
                tasks = {name: task for name, task in tasks.items() if verdicts[name].get("test") in excluded}
    print(report(list(verdicts.values())))


def line(verdict: dict) -> str:
    said = f"{verdict['verdict']:<10}  {verdict['id']}"
    if verdict["verdict"] == "killed":
        return f"{said}  {verdict['seconds']} s, stage {verdict['stage']}, {verdict['test']}"
    left = f", {verdict['left_out']} left out" if verdict.get("left_out") else ""
    return f"{said}  {verdict['seconds']} s, {verdict['tried']} tests{left}" if "tried" in verdict else said


def report(verdicts: list[dict]) -> str:
    """Returns a line for each fault, the share that is killed, and the faults that survived or were not tried."""
    from paramact_jax.statistics import wilson_interval  # not before the processes are forked, which import their copy

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
            lines.append(f"  {place}  {verdict['change']}  {verdict.get('equivalent', '')}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
