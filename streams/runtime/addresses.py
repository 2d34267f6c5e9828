"""Parsing of listen addresses."""

from __future__ import annotations

import ipaddress
import re

from streams.errors import SettingInvalid

__all__ = ["address", "is_everywhere", "is_loopback", "url_of"]

_PLACE = re.compile(r"(?:https?://)?(?:\[([^]/\s]+)\]|([^]:/\s[]*)):(\d{1,5})/?", re.ASCII)


def address(listen: str) -> tuple[str, int]:
    """Return host and port of `host:port`, with or without a scheme; 127.0.0.1 without a host.

    Raises
    ------
    SettingInvalid
        It is none.
    """
    found = _PLACE.fullmatch(listen)
    if found is None or int(found[3]) >= 2**16:
        raise SettingInvalid(f"{listen[:80]!r} is no address: write host:port, as 127.0.0.1:8080")
    return found[1] or found[2] or "127.0.0.1", int(found[3])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host, as its name alone says."""
    name = host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def is_everywhere(host: str) -> bool:
    """Whether a host is every address of its machine: one can listen there, and not ask there."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def url_of(listen: str) -> str:
    """The URL of what listens at an address: beyond loopback it has TLS, unless a scheme is said."""
    if "://" in listen:
        return listen
    return f"{'http' if is_loopback(address(listen)[0]) else 'https'}://{listen}"
