"""Settings that have to stand before JAX is used, compiled programs kept between runs, and the longest files first."""

import itertools
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
import jax
import pytest

os.environ["PARAMACT_JAX_COMPILATION_CACHE"] = "0"  # commands would keep their programs in the user's cache
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)

hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("deterministic")

SECONDS = "paramact_jax/seconds of {}"
"""Where pytest keeps the seconds that each file took in the last whole run, by the marks that were asked for."""

MOST_BYTES = 2**30
"""Of compiled programs kept; the oldest go first."""


def pytest_configure(config):
    """Lets JAX find the programs that earlier runs compiled.

    JAX writes an entry in place, and another process could read half of one. So each process has a directory of its
    own, with links to what is kept.
    """
    if not hasattr(config, "cache"):  # -p no:cacheprovider
        return
    config.programs = config.cache.mkdir("programs")
    (config.programs / "kept").mkdir(exist_ok=True)
    config.own_programs = tempfile.TemporaryDirectory(dir=config.programs)
    shutil.copytree(config.programs / "kept", config.own_programs.name, copy_function=os.link, dirs_exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", config.own_programs.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_unconfigure(config):
    """Keeps what this process compiled."""
    if not hasattr(config, "programs"):
        return
    kept = config.programs / "kept"
    for entry in Path(config.own_programs.name).iterdir():
        if not (kept / entry.name).exists():
            entry.replace(kept / entry.name)
    config.own_programs.cleanup()
    if not hasattr(config, "workerinput"):
        for left in set(config.programs.iterdir()) - {kept}:  # by a process that was killed
            if time.time() - left.stat().st_mtime > 86_400:
                shutil.rmtree(left)
        newest_first = sorted(kept.iterdir(), key=lambda entry: -entry.stat().st_mtime)
        sizes = itertools.accumulate(entry.stat().st_size for entry in newest_first)
        for entry, size in zip(newest_first, sizes, strict=True):
            if size > MOST_BYTES:
                entry.unlink()


def pytest_collection_modifyitems(config, items):
    """Puts the files that took longest in the last run first, so that no worker begins a long one at the end."""
    seconds = config.cache.get(SECONDS.format(config.option.markexpr), {}) if hasattr(config, "cache") else {}
    items.sort(key=lambda item: -seconds.get(item.nodeid.partition("::")[0], 0))


def pytest_terminal_summary(terminalreporter, config):
    """Shows the seconds of the longest files, and keeps those of a whole run."""
    seconds = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.keyword:
        return
    if hasattr(config, "cache"):
        config.cache.set(SECONDS.format(config.option.markexpr), seconds)
    terminalreporter.section("seconds of the longest files")
    for file, taken in seconds.most_common(config.option.durations or 10):
        terminalreporter.line(f"{taken:8.1f}  {file}")


@pytest.fixture(scope="module")
def unoptimised():
    """Programs of one module's tests compiled in half the time, for tests that compute little."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def x64():
    """64-bit numbers inside one test."""
    with jax.enable_x64(True):
        yield
