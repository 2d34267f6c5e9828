"""Listen addresses as host and port."""

from __future__ import annotations

__all__ = ["address"]


def address(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`, with or without `http://`."""
    host, _, port = listen.removeprefix("http://").rstrip("/").rpartition(":")
    return host or "127.0.0.1", int(port)
