"""Measures how many planted faults the tests notice: `python -m tests.mutants draw`, `trace` and `run`.

    python -m tests.mutants trace --suite quick --out trace.json  # once: which lines each test executes
    python -m tests.mutants run --suite quick --trace trace.json --out verdicts.json

`run` plants one fault at a time in a copy of the working tree, and runs first the tests that execute it (stage a), then
the other tests of these files (b), then the tests of whatever uses the module (c), up to the first failure.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.draw import draw
from tests.mutants.faults import look_up

SAMPLE = Path(__file__).with_name("sample.json")
OPTIONS = {"quick": [], "all": ["-m", ""]}  # pyproject.toml says what a plain pytest leaves out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("draw", help="draw a new sample of faults")
    command.add_argument("--seed", type=int, default=2026)
    command.add_argument("--number", type=int, default=72)
    command.set_defaults(run=draw_command)
    for name, run, text in (
        ("trace", trace_command, "run the tests once and record which lines each executes"),
        ("run", run_command, "try the faults of the sample"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--suite", choices=OPTIONS, default="quick", help="all: with the slow tests")
        command.add_argument("--jobs", type=int, default=2, help="processes")
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, required=name == "trace", help="a JSON file")
        if name == "trace":
            command.add_argument("paths", nargs="*", help="tests, all by default")
        else:
            command.add_argument("--trace", type=Path, nargs="+", required=True, help="what trace has written")
            command.add_argument("--mutants", nargs="*", default=["*"], help="patterns of ids, such as '*/sweeps/*'")
            command.add_argument("--sample", type=Path, default=SAMPLE)
            command.add_argument("--most", type=float, default=900, help="seconds of tests tried for one fault at most")
    options = parser.parse_args()
    options.run(options)


def draw_command(options) -> None:
    known = {fault["id"]: fault for fault in json.loads(SAMPLE.read_text())} if SAMPLE.exists() else {}
    drawn = [known.get(m.id, {"id": m.id, "change": m.change}) for m in draw(Path.cwd(), options.seed, options.number)]
    SAMPLE.write_text(json.dumps(drawn, indent=1) + "\n")


def trace_command(options) -> None:
    from tests.mutants import record
    from tests.mutants.choose import digests

    if record.missing():
        sys.exit(record.missing())
    with tempfile.TemporaryDirectory() as out:
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "tests.mutants.record", *OPTIONS[options.suite]]
        arguments += ["-n", str(options.jobs), "--dist", "loadfile"] if options.jobs > 1 else []
        path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {record.OUT: out, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-m", "pytest", *arguments, *options.paths], env=environment, check=False)
        parts = [json.loads(file.read_text()) for file in sorted(Path(out).glob("*.json"))]
    whole = {"tests": {}, "fixtures": {}, "sources": digests(Path.cwd())}
    for part in parts:
        whole["tests"] |= part["tests"]
        whole["fixtures"] |= part["fixtures"]
    options.out.write_text(json.dumps(whole))
    failed = [test for test, entry in whole["tests"].items() if entry["failed"]]
    print(f"{len(whole['tests'])} tests traced; {len(failed)} failed and are left out of run", *failed, sep="\n")


def run_command(options) -> None:
    from tests.mutants.choose import digests, read_trace
    from tests.mutants.report import line, report
    from tests.mutants.trial import preload, start, work

    root = Path.cwd()
    trace = read_trace(options.trace)
    stale = [path for path, digest in digests(root).items() if trace.sources.get(path, digest) != digest]
    if stale:
        sys.exit(f"the trace is of other sources, trace again: {', '.join(stale)}")
    sample = json.loads(options.sample.read_text())
    wanted = [fault for fault in sample if any(fnmatch.fnmatch(fault["id"], each) for each in options.mutants)]
    verdicts, tasks = [], []
    for fault in wanted:
        mutant = look_up(root, fault["id"], fault["change"])
        if mutant is None or "equivalent" in fault:
            verdicts.append(fault | {"verdict": "equivalent" if mutant else "gone"})
        else:
            tasks.append((fault, mutant))
    if (root / "paramact_jax").exists():
        preload()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        settings = (root, scratch, OPTIONS[options.suite], trace, options.most)
        with multiprocessing.get_context("fork").Pool(options.jobs, start, settings) as pool:
            for verdict in pool.imap_unordered(work, tasks):
                verdicts.append(verdict)
                print(line(verdict), flush=True)
                if options.out:
                    options.out.write_text(json.dumps(verdicts, indent=1) + "\n")
    print(report(verdicts))


if __name__ == "__main__":
    main()
