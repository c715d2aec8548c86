"""Killed at any moment and started again, a sweep gives the same bits; see killed.py."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no SIGKILL")
def test_killed_at_every_step_of_writing_and_at_random_times(tmp_path):
    """48 steps of writing (before and within each write, before each flush, renaming, removal) and 20 random times."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.sweeps.killed", str(tmp_path), str(first), "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for first in range(2)
    ]
    try:
        said = [worker.communicate(timeout=900) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    lines = [out.splitlines() for out, _ in said]
    assert [line[:-1] for line in lines] == [[], []], said
    counts = [re.fullmatch(r"killed (\d+) of 48", line[-1]) for line in lines]
    assert all(counts), said
    assert sum(int(count[1]) for count in counts) == 48 + 20
