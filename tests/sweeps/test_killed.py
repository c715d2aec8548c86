"""Killed at any moment and started again, a sweep gives the same bits; see killed.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps import killed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no SIGKILL"),
]

ROOT = Path(__file__).parents[2]


def test_what_lies_there_at_every_step_of_writing_is_gone_on_with(tmp_path, monkeypatch):
    """A killed process leaves what lies there at that moment: it is copied before every step, and gone on with."""
    whole, copies = tmp_path / "whole", []

    def copy():
        copies.append(tmp_path / str(len(copies)))
        shutil.copytree(whole, copies[-1])

    with monkeypatch.context() as patch:
        killed.at_each_step(copy, patch.setattr)
        killed.run(whole)
    assert len(copies) == killed.STEPS
    expected = killed.run(None)
    for step in copies:
        assert killed.run(step) == expected, step
        assert killed.left_over(step) == []


def test_killed_at_some_steps_of_writing_and_at_random_times(tmp_path):
    """By a signal, and gone on with by another process."""
    command = [sys.executable, "-m", "tests.sweeps.killed", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900, check=True).stdout
    assert said == f"killed {len(range(0, killed.STEPS, killed.STRIDE)) + killed.TIMES}\n"
