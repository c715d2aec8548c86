"""Settings that have to stand before JAX is used, compiled programs kept between runs, and the longest files first."""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
import jax
import jaxlib
import pytest

os.environ["PARAMACT_JAX_COMPILATION_CACHE"] = "0"  # commands would keep their programs in the user's cache
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)
PRECISION = jax.config.values["jax_default_matmul_precision"]

hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("deterministic")

KEPT = Path(os.environ.get("PARAMACT_TESTS_CACHE") or Path(__file__).parents[1] / ".pytest_cache" / "paramact_jax")
PROGRAMS = KEPT / f"programs-{jaxlib.__version__}"
MOST_PROGRAMS = 20_000  # of about 11 kB; the oldest go first
SECONDS = KEPT / "seconds.json"
"""The seconds that each file of tests took in the last whole run, by the marks that were asked for."""
MONTH = 30 * 24 * 3600
MOST_GROWTH = 1e9
"""Bytes by which a process may grow before JAX forgets what it compiled. Each program that it has lowered slows down
the lowering of the next, and without this a process grows to 14 GB."""
FORGOTTEN_AT = pytest.StashKey[int]()


def pytest_configure(config):
    """Lets JAX find the programs that earlier runs compiled.

    JAX writes an entry in place, and another process could read half of one. So each process has a directory of its
    own, with links to what is kept. What is damaged all the same is compiled again.
    """
    config.pluginmanager.register(AfterEach())
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache")
    try:
        PROGRAMS.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(dir=KEPT, ignore_cleanup_errors=True)
        for entry in PROGRAMS.iterdir():
            _link(entry, Path(own.name) / entry.name)
    except OSError:  # a place that cannot be written to
        return
    config.own_programs = own
    jax.config.update("jax_compilation_cache_dir", own.name)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # else the directory is part of the key
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _link(entry, place):
    try:
        os.link(entry, place)
    except FileNotFoundError:  # another run has cleared it up
        pass
    except OSError:  # a file system without links
        shutil.copy(entry, place)


def pytest_sessionfinish(session, exitstatus):
    session.config.ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def pytest_unconfigure(config):
    """Keeps what this process compiled, unless it was interrupted, perhaps while it wrote."""
    if not hasattr(config, "own_programs"):
        return
    with contextlib.suppress(FileNotFoundError):  # another run clears up too
        if getattr(config, "ended", False):
            for entry in Path(config.own_programs.name).iterdir():
                if not (PROGRAMS / entry.name).exists():
                    entry.replace(PROGRAMS / entry.name)
        if not hasattr(config, "workerinput"):
            _clear_up()
    config.own_programs.cleanup()


def _clear_up():
    for entry in sorted(PROGRAMS.iterdir(), key=lambda entry: -entry.stat().st_mtime)[MOST_PROGRAMS:]:
        entry.unlink(missing_ok=True)
    for left in KEPT.iterdir():  # programs of other versions, and of processes that were killed
        if left.is_dir() and left != PROGRAMS and time.time() - left.stat().st_mtime > MONTH:
            shutil.rmtree(left, ignore_errors=True)


def _seconds(config):
    with contextlib.suppress(OSError, ValueError):
        return json.loads(SECONDS.read_text()).get(config.option.markexpr, {})
    return {}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Gives all workers the same seconds, and so the same order."""
    node.workerinput["seconds"] = _seconds(node.config)


def pytest_collection_modifyitems(config, items):
    """Puts the files that took longest in the last run first, so that no worker begins a long one at the end."""
    seconds = config.workerinput["seconds"] if hasattr(config, "workerinput") else _seconds(config)
    items.sort(key=lambda item: -seconds.get(item.nodeid.partition("::")[0], 0))


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Shows the seconds of the longest files after a whole run, and keeps them."""
    seconds = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if not seconds or not whole or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(SECONDS.read_text()) if SECONDS.exists() else {}
        part = SECONDS.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(before | {config.option.markexpr: seconds}))
        part.replace(SECONDS)
    terminalreporter.section("seconds of the longest files")
    for file, taken in seconds.most_common(config.option.durations or 10):
        terminalreporter.line(f"{taken:8.1f}  {file}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skips a test that is marked to need CPU devices that are not there, or not used."""
    for mark in item.iter_markers("cpu_devices"):
        if jax.default_backend() != "cpu" or len(jax.devices()) < mark.args[0]:
            pytest.skip(f"expected {mark.args[0]} CPU devices, got {jax.devices()}; set JAX_PLATFORMS=cpu")


class AfterEach:
    """What is forgotten after each test, and after each example in a docstring of the package, too.

    pytest calls the hooks of this file itself for the tests in its directory alone.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item):
        """Forgets registered activations, and JAX's programs if this process has grown since it did so last."""
        if catalogue := sys.modules.get("paramact_jax.activations.catalogue"):
            catalogue._REGISTERED.clear()
        with contextlib.suppress(AttributeError, OSError):  # another C library than glibc, a system that does not tell
            if _memory() > item.config.stash.get(FORGOTTEN_AT, 0) + MOST_GROWTH:
                jax.clear_caches()
                ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what the threads of the compiler have freed
                item.config.stash[FORGOTTEN_AT] = _memory()


def _memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def unoptimised():
    """Programs of one module's tests compiled in half the time, for tests that compute little.

    What sweeps keep compiled in the process is forgotten before and after: the same program has other bits here.
    """
    from paramact_jax.sweeps.trials import together

    together.cache_clear()
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    together.cache_clear()


@pytest.fixture(autouse=True)
def _own_precision():
    """Undoes what commands in other tests have set: on accelerators they set the precision of products."""
    jax.config.update("jax_default_matmul_precision", PRECISION)


@pytest.fixture
def x64():
    """64-bit numbers inside one test."""
    with jax.enable_x64(True):
        yield
