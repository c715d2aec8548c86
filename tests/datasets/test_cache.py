"""Where what can be made again is kept, on each system."""

import sys
from pathlib import Path

import pytest

from paramact_jax.datasets.cache import cache_directory


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/paramact_jax"),
        ("linux", {"XDG_CACHE_HOME": "xdg", "LOCALAPPDATA": "local"}, "xdg/paramact_jax"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches/paramact_jax"),
        ("win32", {"LOCALAPPDATA": "local", "XDG_CACHE_HOME": "xdg"}, "local/paramact_jax"),
        ("win32", {"LOCALAPPDATA": ""}, "home/AppData/Local/paramact_jax"),
        ("darwin", {"PARAMACT_CACHE": "chosen"}, "chosen"),
    ],
)
def test_the_directory_of_each_system(platform, environment, expected, monkeypatch):
    for name in ("PARAMACT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    assert cache_directory() == Path(expected)
