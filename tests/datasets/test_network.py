import socket
import time

import pytest

from paramact_jax.datasets.network import why_unreachable


@pytest.fixture
def server():
    """The port of something that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_a_host_that_answers(server):
    assert why_unreachable(f"http://127.0.0.1:{server}/x") is None


def test_a_host_that_does_not(closed_port):
    assert why_unreachable(f"http://127.0.0.1:{closed_port}/x").startswith("127.0.0.1: ")


def test_the_proxy_is_asked_where_there_is_one(monkeypatch, server, closed_port):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server}")
    assert why_unreachable("https://data.invalid/x") is None
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{closed_port}")
    assert why_unreachable("https://data.invalid/x").startswith("127.0.0.1: ")
    monkeypatch.setenv("NO_PROXY", "data.invalid")
    assert why_unreachable("https://data.invalid/x").startswith("data.invalid: ")


def test_a_search_for_a_name_that_never_ends(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2) or [])
    start = time.monotonic()
    assert why_unreachable("https://data.invalid/x", seconds=0.2) == "data.invalid: no answer within 0.2 s"
    assert time.monotonic() - start < 1
