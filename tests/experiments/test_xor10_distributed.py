"""The command in several processes: the same records, written by process 0."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.study.run_directory import read

ROOT = Path(__file__).parents[2]
TINY = ["--trials", "150", "--iterations", "200", "--activations", "ppns", "--gradients-every", "100"]


@pytest.mark.slow
def test_two_processes_write_the_records_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "experiments", "xor10", *TINY, "--out", str(tmp_path / "two"), "--distributed"]
    started = [
        subprocess.Popen(
            [*command, "--coordinator", address, "--processes", "2", "--process", str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    assert "Trials that reach loss 0" in said[0][0]
    assert "Trials that reach loss 0" not in said[1][0]
    assert main(["xor10", *TINY, "--out", str(tmp_path / "one")]) == 0
    assert read(tmp_path / "two").records.identical(read(tmp_path / "one").records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_what_cannot_be_joined_is_said_in_one_line(tmp_path, capsys):
    """JAX's devices exist in this process: it is too late."""
    import jax

    jax.devices()
    out = tmp_path / "run"
    assert main(["xor10", *TINY, "--distributed", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected to join the processes once, before any use of a device")
    assert error.count("\n") == 1
    assert not out.exists()
