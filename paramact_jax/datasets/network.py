"""Finds out within seconds whether a host can be reached."""

from __future__ import annotations

import queue
import socket
import threading
import urllib.request
from urllib.parse import urlsplit


def why_unreachable(url: str, seconds: float = 3.0) -> str | None:
    """Returns why no connection to the host of `url`, or to its proxy, opens in time; None if one opens.

    It sends nothing. Proxies are those of the environment (HTTPS_PROXY, NO_PROXY and so on) or of the system.

    Args:
      url: An http or https address.
      seconds: The longest time to wait in total, with the search for the host's name.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if (proxy := urllib.request.getproxies().get(parts.scheme)) and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except OSError as error:
            answers.put(f"{host}: {error}")
        else:
            answers.put(None)

    # In a thread, because the timeout of a socket does not limit the search for the host's name.
    threading.Thread(target=connect, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"{host}: no answer within {seconds:g} s"
