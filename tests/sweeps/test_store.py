"""What is kept in a sweep's directory, what is refused, and what damage does."""

import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paramact_jax.sweeps import Training, long_sweep, sweep
from paramact_jax.sweeps.storage import atomic
from paramact_jax.sweeps.storage.store import Store

ROOT = Path(__file__).parents[2]
OTHERS = ("lock", "program.json.gz", "sweep.json", "labels.npz")


def draw(key, scale):
    return {"x": scale * 2.0 * jax.random.normal(key, (3,))}


WALK = Training(
    init=lambda key: {"key": key, "x": 0.0},
    step=lambda state: {
        "key": jax.random.split(state["key"])[0],
        "x": 0.9 * state["x"] + jax.random.normal(jax.random.split(state["key"])[1]),
    },
    summarise=lambda state: {"x": state["x"]},
)


class StoppedError(Exception):
    pass


def walk(directory=None, *, stop_at=None, seeds=range(100), iterations=20, chunk=64, **options):
    """Interrupted, by an exception, at the call that reaches `stop_at` iterations times trials."""

    def on_progress(progress):
        if stop_at is not None and progress.done >= stop_at:
            raise StoppedError

    return long_sweep(
        WALK,
        seeds,
        iterations=iterations,
        iterations_per_call=5,
        chunk=chunk,
        directory=directory,
        seconds_between_saves=0,
        on_progress=on_progress,
        **options,
    )


def stop(directory, at):
    with pytest.raises(StoppedError):
        walk(directory, stop_at=at)


def files(directory):
    return sorted(path.name for path in directory.iterdir() if path.name not in OTHERS)


def never(*_):
    raise AssertionError("nothing should run")


def test_arrays_come_back_bit_for_bit(tmp_path):
    arrays = {
        "file": np.array([0.0, -0.0, np.nan, np.inf], np.float32),
        "a.b/c": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "bf16": np.asarray(jnp.array([1.5, -0.0], jnp.bfloat16)),
        "flag": np.array(True),
        "none": np.zeros((0, 3), np.float64),
        "wave": np.array([1j, 2], np.complex64),
    }
    atomic.write_arrays(tmp_path / "x.npz", arrays, {"what": "test"})
    back, about = atomic.read_arrays(tmp_path / "x.npz")
    assert about == {"what": "test"}
    assert list(back) == list(arrays)
    for name, x in arrays.items():
        assert (back[name].dtype, back[name].shape, back[name].tobytes()) == (x.dtype, x.shape, x.tobytes())
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_any_damage_to_a_file_is_seen(tmp_path):
    path = tmp_path / "x.npz"
    atomic.write_arrays(path, {"x": np.arange(100.0), "y": np.zeros(3)}, {})
    content = path.read_bytes()
    random = np.random.default_rng(0)
    damaged = [content[:n] for n in (0, 10, len(content) // 2, len(content) - 1)]
    for at in random.integers(0, len(content), 40):
        damaged.append(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    whole = atomic.read_arrays(path)[0]
    for altered in damaged:
        path.write_bytes(altered)
        try:
            read = atomic.read_arrays(path)[0]
        except atomic.DamagedError as error:
            assert "\n" not in str(error)
        else:  # a byte that zip files hold but nothing reads, a time stamp for instance
            assert {name: x.tobytes() for name, x in read.items()} == {name: x.tobytes() for name, x in whole.items()}


def test_finished_calls_are_kept_and_not_run_again(tmp_path):
    expected = sweep(draw, range(300), axes={"scale": [1.0, 2.0]})
    done = []

    def stop_at_the_second(progress):
        done.append(progress.done)
        if len(done) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        sweep(
            draw, range(300), axes={"scale": [1.0, 2.0]}, chunk=256, directory=tmp_path, on_progress=stop_at_the_second
        )
    assert files(tmp_path) == ["trials-0-256.npz", "trials-256-512.npz"]
    plans = []
    again = sweep(draw, range(300), axes={"scale": [1.0, 2.0]}, chunk=64, directory=tmp_path, on_plan=plans.append)
    assert again.identical(expected)
    assert [(plan.remaining, plan.calls, plan.trials_per_call) for plan in plans] == [(88, 2, 64)]
    last = sweep(draw, range(300), axes={"scale": [1.0, 2.0]}, directory=tmp_path, on_plan=never, on_progress=never)
    assert last.identical(expected)


@pytest.mark.parametrize("stop_at", [1, 600, 64 * 20, 64 * 20 + 36 * 15, 2000])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, stop_at):
    stop(tmp_path / "new" / "directory", stop_at)
    found = []
    resumed = walk(tmp_path / "new" / "directory", on_plan=lambda plan: found.append(plan.remaining), chunk=10)
    assert resumed.identical(walk())
    assert "trials-0-64.npz" in files(tmp_path / "new" / "directory")
    assert walk(tmp_path / "new" / "directory", on_plan=never).identical(resumed)


def test_the_last_two_states_are_kept_and_progress_counts_from_them(tmp_path):
    stop(tmp_path, 64 * 15)
    assert files(tmp_path) == ["state-0-64-10.npz", "state-0-64-15.npz"]
    seen = []
    long_sweep(
        WALK, range(100), iterations=20, iterations_per_call=5, chunk=64, directory=tmp_path, on_progress=seen.append
    )
    assert [(p.done, p.found) for p in seen] == [(done, 960) for done in (1280, 1460, 1640, 1820, 2000)]
    assert files(tmp_path)[2:] == ["trials-0-64.npz", "trials-64-100.npz"]


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [flip_a_byte, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-30])]
)
@pytest.mark.parametrize(("damaged", "goes_on_from"), [((15,), 10), ((10,), 15), ((10, 15), 0)])
def test_a_damaged_state_is_named_and_the_one_before_it_used(tmp_path, damage, damaged, goes_on_from):
    stop(tmp_path, 64 * 15)
    for iteration in damaged:
        damage(tmp_path / f"state-0-64-{iteration}.npz")
    seen = []
    run = lambda: long_sweep(  # noqa: E731
        WALK, range(100), iterations=20, iterations_per_call=5, chunk=64, directory=tmp_path, on_progress=seen.append
    )
    if damaged == (10,):
        resumed = run()
    else:
        with pytest.warns(RuntimeWarning, match=r"state-0-64-1[05]\.npz: .*; set aside as .*damaged, the state before"):
            resumed = run()
        assert "state-0-64-15.npz.damaged" in files(tmp_path)
    assert seen[0].found == goes_on_from * 64
    assert resumed.identical(walk())


def test_damaged_results_are_named_and_run_again(tmp_path):
    expected = walk(tmp_path)
    flip_a_byte(tmp_path / "trials-64-100.npz")
    with pytest.warns(RuntimeWarning, match=r"trials-64-100\.npz: .*; set aside .*, its trials run again"):
        assert walk(tmp_path).identical(expected)
    assert walk(tmp_path, on_plan=never).identical(expected)


def test_a_file_of_another_sweep_is_not_taken(tmp_path):
    expected = walk(tmp_path / "this")
    walk(tmp_path / "other", iterations=10)
    (tmp_path / "this" / "trials-0-64.npz").write_bytes((tmp_path / "other" / "trials-0-64.npz").read_bytes())
    with pytest.warns(RuntimeWarning, match="it belongs to another sweep"):
        assert walk(tmp_path / "this").identical(expected)


def scaled(factor):
    return lambda key, scale: {"x": scale * factor * jax.random.normal(key)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": range(11)}, "seeds: 0..9 stored, 0..10 now"),
        ({"seeds": [5, 1]}, "seeds: 0..9 stored, 5, 1 now"),
        ({"axes": {"scale": [1.0, 3.0]}}, r"axes.scale: float64 \[1.0, 2.0\] stored, float64 \[1.0, 3.0\] now"),
        (
            {"axes": {}, "scale": 1.0},
            r"axes.scale: float64 \[1.0, 2.0\] stored, not there now; settings.scale: not there",
        ),
        (
            {"train_one": scaled(3)},
            r"train_one: operation \d+ of \d+, `mul`: 2.0 stored, 3.0 now \(test_store.py:\d+\)",
        ),
        ({"train_one": draw}, r"train_one: operation \d+ of \d+, "),
        ({"fused": False}, "form: one kernel, trials last, blocks of 64 stored, trials last, blocks of 64 now"),
    ],
)
def test_a_changed_sweep_is_refused_by_what_changed(tmp_path, change, says):
    call = {"train_one": scaled(2), "seeds": range(10), "axes": {"scale": [1.0, 2.0]}}
    first = sweep(**call, directory=tmp_path)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=says) as caught:
        sweep(**(call | change), directory=tmp_path)
    assert "or name another directory" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == before
    assert sweep(**call, directory=tmp_path, on_plan=never).identical(first)


def test_settings_and_precision_are_part_of_what_it_is(tmp_path, x64):
    sweep(draw, range(3), scale=1.0, directory=tmp_path)
    with pytest.raises(ValueError, match=r"differs in settings.scale: float64 1.0 stored, float64 2.0 now\. Make"):
        sweep(draw, range(3), scale=2.0, directory=tmp_path)
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match=r"float64 1.0 stored, float32 1.0 now; jax_enable_x64: True"),
    ):
        sweep(draw, range(3), scale=1.0, directory=tmp_path)


def test_a_directory_of_an_earlier_format_is_refused(tmp_path):
    sweep(draw, range(3), scale=1.0, directory=tmp_path)
    manifest = tmp_path / "sweep.json"
    configuration = json.loads(manifest.read_text())["configuration"] | {"format": "2"}
    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()
    manifest.write_text(json.dumps({"configuration": configuration, "sha256": digest}))
    with pytest.raises(ValueError, match=r"by an earlier or later version .*format 2, now 3.*; finish it") as caught:
        sweep(draw, range(3), scale=1.0, directory=tmp_path)
    assert "\n" not in str(caught.value)
    arrays, _ = atomic.read_arrays(tmp_path / "trials-0-3.npz")  # as the message says
    assert arrays["x"].shape == (3, 3)


@pytest.mark.parametrize("damage", [Path.unlink, flip_a_byte, lambda path: path.write_bytes(b"[]")])
def test_without_the_stored_text_of_a_program_only_the_message_is_less_precise(tmp_path, damage):
    first = sweep(draw, range(3), scale=1.0, directory=tmp_path)
    damage(tmp_path / "program.json.gz")
    with pytest.raises(ValueError, match=r"differs in train_one: sha256:\w+ stored, sha256:\w+ now"):
        sweep(scaled(3), range(3), scale=1.0, directory=tmp_path)
    assert sweep(draw, range(3), scale=1.0, directory=tmp_path, on_plan=never).identical(first)


def test_a_damaged_manifest_and_foreign_directories_are_refused_and_left_alone(tmp_path):
    sweep(draw, range(3), scale=1.0, directory=tmp_path / "own")
    manifest = tmp_path / "own" / "sweep.json"
    content = json.loads(manifest.read_text())
    for text in (manifest.read_text()[:-20], "[]", json.dumps(content | {"configuration": {}})):
        manifest.write_text(text)
        with pytest.raises(ValueError, match=r"sweep.json is damaged \(.*\); restore it, or name another directory"):
            sweep(draw, range(3), scale=1.0, directory=tmp_path / "own")
        assert manifest.read_text() == text
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"expected a new or empty one.*got .*foreign with thesis.tex in it"):
        sweep(draw, range(3), scale=1.0, directory=tmp_path / "foreign")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="expected a directory, got the file"):
        sweep(draw, range(3), scale=1.0, directory=tmp_path / "file")
    with pytest.raises(OSError, match=r"directory: cannot write to .*file/x: Not a directory; name another one"):
        sweep(draw, range(3), scale=1.0, directory=tmp_path / "file" / "x")


def failing(original, at, error):
    """`original`, which raises at its call number `at` (from 1)."""
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(args)
        if len(calls) == at:
            raise error
        return original(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [(atomic, "_save", 4), (atomic.os, "fsync", 11), (Path, "replace", 6)],
    ids=["writing", "flushing", "renaming"],
)
def test_a_full_disk_is_named_and_the_state_before_is_kept(tmp_path, monkeypatch, owner, name, at):
    """The third state does not fit; program, manifest, labels and two states are written, two flushes each."""
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(owner, name, failing(getattr(owner, name), at, full))
    with pytest.raises(
        OSError, match=r"cannot save .*state-0-64-15.npz: No space left on device; .* is kept"
    ) as caught:
        walk(tmp_path)
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == ["state-0-64-10.npz", "state-0-64-5.npz"]
    seen = []
    assert walk(tmp_path, on_plan=seen.append).identical(walk())


def test_a_file_system_that_is_full_indeed(tmp_path):
    """The kernel refuses writes beyond a size, in a process of its own."""
    script = (
        "import resource, signal, sys; import numpy as np; from pathlib import Path\n"
        "from paramact_jax.sweeps.storage.store import Store\n"
        "store = Store(Path(sys.argv[1]), {})\n"
        "store.save_state(range(3), 1, {'x': np.ones(10)})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: store.save_state(range(3), 2, {'x': np.ones(10_000)})\n"
        "except OSError as error: print(error)\n"
        "store.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "cannot save" in done.stdout
    assert "File too large; what was saved before is kept" in done.stdout
    assert done.stderr == ""
    assert files(tmp_path) == ["state-0-3-1.npz"]
    store = Store(tmp_path, {})
    assert store.load_state()[1] == 1
    store.close()
