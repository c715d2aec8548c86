"""A sweep's directory is for one process at a time, on file systems with and without locks."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paramact_jax.sweeps import DirectoryRefusedError
from paramact_jax.sweeps.storage import lock
from paramact_jax.sweeps.storage.store import Store

ROOT = Path(__file__).parents[2]
OPEN = f"""
import sys; from pathlib import Path
from paramact_jax.sweeps.storage import lock
from paramact_jax.sweeps.storage.store import Store
def no_locks(descriptor): raise OSError({errno.ENOLCK}, "No locks here")
if sys.argv[2] == "file": lock._lock = no_locks
store = Store(Path(sys.argv[1]), {{}}); print("open", flush=True)
"""
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell when a process began")


def refusing(number, text="No locks here"):
    def refuse(descriptor):
        raise OSError(number, text)

    return refuse


@pytest.fixture
def no_locks(monkeypatch):
    monkeypatch.setattr(lock, "_lock", refusing(errno.ENOLCK))


def other_process(directory, *, kind="lock", script="sys.stdin.read()"):
    """A process that has the directory."""
    command = [sys.executable, "-c", OPEN + script, str(directory), kind]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, cwd=ROOT)
    assert process.stdout.readline() == "open\n", process.communicate()
    return process


def end(process, number=None):
    if number is not None:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def alter(directory, **changes):
    """Has a file that another holder made, or one that ended."""
    holder = lock.Holder.here()._replace(**changes)
    (directory / "lock.json").write_text(json.dumps(holder._asdict()))
    return holder


def files(directory):
    return sorted(path.name for path in directory.iterdir() if path.name.startswith("lock"))


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_of_another_process_is_in_use_by_whatever_name(tmp_path, monkeypatch, number):
    monkeypatch.setattr(lock, "_lock", refusing(number))
    with pytest.raises(DirectoryRefusedError, match=r"is in use by another process \(unknown\); wait for it, or name"):
        Store(tmp_path, {})


def test_an_error_that_says_nothing_of_locks_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_lock", refusing(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match=r"directory: cannot write to .*: Input/output error; name another one"):
        Store(tmp_path, {})


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS])
def test_without_locks_a_file_says_who_has_the_directory(tmp_path, monkeypatch, number):
    monkeypatch.setattr(lock, "_lock", refusing(number))
    store = Store(tmp_path, {})
    holder = json.loads((tmp_path / "lock.json").read_text())
    assert (holder["host"], holder["process"]) == (platform.node(), os.getpid())
    with pytest.raises(DirectoryRefusedError, match=rf"process {os.getpid()} on .* since 20.*delete .*lock.json if"):
        Store(tmp_path, {})
    store.close()
    assert files(tmp_path) == ["lock"]
    Store(tmp_path, {}).close()
    with pytest.raises(DirectoryRefusedError, match="differs in"):  # refused, and released
        Store(tmp_path, {"seeds": "0..9"})
    assert files(tmp_path) == ["lock"]


@pytest.mark.parametrize("kind", ["lock", "file"])
def test_two_processes_do_not_share_a_directory(tmp_path, monkeypatch, kind):
    """Also where only one of them finds locks."""
    other = other_process(tmp_path, kind=kind)
    system = lock._lock
    for here, of_here in {"lock": system, "file": refusing(errno.ENOTSUP)}.items():
        monkeypatch.setattr(lock, "_lock", of_here)
        with pytest.raises(DirectoryRefusedError, match=rf"another process \(process {other.pid} on ") as caught:
            Store(tmp_path, {})
        assert ("delete" in str(caught.value)) == ("file" in (kind, here))
        assert "\n" not in str(caught.value)
    end(other, signal.SIGKILL)
    for of_here in (system, refusing(errno.ENOTSUP)):
        monkeypatch.setattr(lock, "_lock", of_here)
        Store(tmp_path, {}).close()
    assert files(tmp_path) == ["lock"]


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        ("raise RuntimeError", 1, "RuntimeError"),
        pytest.param("", 0, "", marks=pytest.mark.slow),
        pytest.param("raise SystemExit(3)", 3, "", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_ends_by_itself_leaves_no_file(tmp_path, script, status, says):
    returned, error = end(other_process(tmp_path, kind="file", script=script))
    assert returned == status
    assert says in error
    assert files(tmp_path) == ["lock"]


@linux
def test_what_has_ended_is_taken_over(tmp_path, no_locks):
    ended = other_process(tmp_path, kind="file")
    ended.kill()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its number is still there
    first = Store(tmp_path, {})
    assert len(files(tmp_path)) == 3
    with pytest.raises(DirectoryRefusedError, match=f"process {os.getpid()} on "):
        Store(tmp_path, {})
    first.close()
    assert files(tmp_path) == ["lock"]
    end(ended)
    alter(tmp_path, started="1")  # a process of this number that began at another time
    Store(tmp_path, {}).close()
    assert files(tmp_path) == ["lock"]


@pytest.mark.parametrize("changes", [{"host": "node17"}, {"system": "another start, or container"}])
def test_of_another_machine_nobody_knows(tmp_path, no_locks, changes):
    holder = alter(tmp_path, process=2**22 + 1, **changes)
    with pytest.raises(DirectoryRefusedError) as caught:
        Store(tmp_path, {})
    assert str(caught.value) == (
        f"directory: {tmp_path} is in use by another process (process {2**22 + 1} on {holder.host} since "
        f"{holder.since}); wait for it, delete {tmp_path / 'lock.json'} if that process has ended, or name another "
        f"directory"
    )
    (tmp_path / "lock.json").unlink()
    Store(tmp_path, {}).close()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"process": 1}'])
def test_a_file_that_does_not_tell_is_in_use(tmp_path, no_locks, content):
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(DirectoryRefusedError, match=r"another process \(unknown\); wait for it, delete .*lock.json if"):
        Store(tmp_path, {})


def test_a_full_disk_leaves_no_file(tmp_path, no_locks, monkeypatch):
    def full(holder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock.Holder, "_asdict", full)
    with pytest.raises(OSError, match="No space left on device"):
        Store(tmp_path, {})
    assert files(tmp_path) == ["lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_a_process_that_vanishes_between_two_questions_has_ended(monkeypatch):
    holder, there = lock.Holder.here(), [True]
    monkeypatch.setattr(lock, "_started", lambda process: "ended" if there[0] else "")
    monkeypatch.setattr(lock.os, "kill", lambda process, number: there.clear() or there.append(False))
    assert holder._replace(started="1").has_ended()


@linux
@pytest.mark.slow
def test_a_forked_process_does_not_release_what_its_parent_has(tmp_path):
    script = "import os; pid = os.fork()\nif pid == 0: sys.exit()\nos.waitpid(pid, 0); print('on', flush=True)\n"
    other = other_process(tmp_path, kind="file", script=script + "sys.stdin.read()")
    assert other.stdout.readline() == "on\n"
    assert "lock.json" in files(tmp_path)
    end(other)
    assert files(tmp_path) == ["lock"]


@linux
@pytest.mark.parametrize("kills", [20, pytest.param(600, marks=pytest.mark.slow)])
def test_never_do_two_have_it(tmp_path, kills):
    """Five processes, each of which is killed one time in three while it has the directory; see racing.py."""
    command = [sys.executable, "-m", "tests.sweeps.racing", str(tmp_path), str(kills)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    had, killed, both = map(int, said[:3])
    assert had > killed >= kills
    assert both == 0
    assert said[3:] == ["lock"]
