"""Parsing of listen addresses."""

from __future__ import annotations

__all__ = ["address"]


def address(listen: str) -> tuple[str, int]:
    """Return host and port of `host:port`, with or without a scheme; 127.0.0.1 without a host."""
    place = listen.removeprefix("http://").removeprefix("https://").rstrip("/")
    host, _, port = place.rpartition(":")
    return host or "127.0.0.1", int(port)
