"""What an account asked of the API server, from its audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

__all__ = ["Asked", "asked", "done", "table"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    verb: str
    resource: str
    query: frozenset[str]  # the names of what stands in its URL's query
    code: int


def asked(log: Path, namespace: str, since: int = 0) -> list[Asked]:
    """What the service accounts of a namespace asked, from a position of the log."""
    with log.open() as file:
        file.seek(since)
        lines = [json.loads(line) for line in file]
    prefix = f"system:serviceaccount:{namespace}:"
    return [_asked(one) for one in lines if one["user"]["username"].startswith(prefix)]


def done(log: Path, namespace: str, resource: str) -> Iterator[tuple[str, float]]:
    """Objects of a kind that somebody wrote: the name, and when (seconds since the epoch)."""
    with log.open() as file:
        for line in map(json.loads, file):
            of = line.get("objectRef") or {}
            kind = "/".join(filter(None, (of.get("resource"), of.get("subresource"))))
            code = line["responseStatus"].get("code", 0)
            if (of.get("namespace"), kind) == (namespace, resource) and code < 300:
                yield of.get("name", ""), datetime.fromisoformat(line["stageTimestamp"]).timestamp()


def _asked(line: dict[str, object]) -> Asked:
    reference, status = line.get("objectRef") or {}, line.get("responseStatus") or {}
    assert isinstance(reference, dict)
    assert isinstance(status, dict)
    names = (reference.get("resource", ""), reference.get("subresource", ""))
    query = parse_qs(urlsplit(str(line["requestURI"])).query)
    return Asked(
        str(line["verb"]),
        "/".join(filter(None, names)),
        frozenset(query),
        int(status.get("code", 0)),
    )


def table(requests: list[Asked], seconds: float) -> Iterator[str]:
    """How often each was asked, as lines for people."""
    for (verb, resource), times in Counter((one.verb, one.resource) for one in requests).items():
        yield f"  {verb:7}{resource:28}{times / seconds:6.2f} a second"
