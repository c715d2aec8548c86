"""A sweep's directory is for one process at a time."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from paramact_jax.sweeps.storage import store
from paramact_jax.sweeps.storage.store import Store

ROOT = Path(__file__).parents[2]


def refusing(number, text):
    def lock(descriptor):
        raise OSError(number, text)

    return lock


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_locks_is_not_in_use(tmp_path, monkeypatch, number):
    monkeypatch.setattr(store, "_lock", refusing(number, "No locks here"))
    with pytest.raises(ValueError, match=r"got .*: No locks here; name a directory on another file system") as caught:
        Store(tmp_path, {})
    assert "in use" not in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    Store(tmp_path, {}).close()


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_of_another_process_is_in_use_by_whatever_name(tmp_path, monkeypatch, number):
    monkeypatch.setattr(store, "_lock", refusing(number, "Not now"))
    with pytest.raises(ValueError, match="is in use by another process"):
        Store(tmp_path, {})


def test_two_processes_do_not_share_a_directory(tmp_path):
    script = "import sys; from pathlib import Path; from paramact_jax.sweeps.storage.store import Store\n"
    script += "store = Store(Path(sys.argv[1]), {}); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert other.stdout.readline() == "open\n"
    with pytest.raises(
        ValueError, match=rf"is in use by another process \(process {other.pid}\); wait for it, or name"
    ):
        Store(tmp_path, {})
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    Store(tmp_path, {}).close()
