"""Parsing of listen addresses."""

from __future__ import annotations

import re

from streams.errors import SettingInvalid

__all__ = ["address"]

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
