"""From an entry of Envoy's access log to a request and its outcome; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from streams.records import Outcome, Part, Request, Source
from streams.records.catalog import Catalog
from streams.request_path.core import server_timing
from streams.request_path.core.headers import (
    CONSTITUENT_HEADER,
    TIER_HEADER,
    USER_HEADER,
    default_tier,
)
from streams.request_path.core.outcomes import outcome_of
from streams.request_path.core.start_up_times import StartUpTimes
from streams.request_path.envoy.fitting_names import fitting
from streams.request_path.envoy.routes import sole_constituent
from streams.stages.base import MAX_MS, MAX_PARAMETER_LENGTH, MAX_PARAMETERS

__all__ = ["AccessLogEntry", "EntryUnusable", "read_entry", "records_of"]

_CLOSED = 499  # the user disconnected before there was a status
_MOST_STATUS = 999


class EntryUnusable(ValueError):
    """An entry that no record can be made of; the message says why."""


class AccessLogEntry(NamedTuple):
    """One request as Envoy saw it; a tuple, since one is made for every request."""

    request_id: str
    route: str  # its name: the composite at the edge; empty if it is not in the catalogue
    user: str
    tier: str
    path: str
    at_ms: int
    status: int
    latency_ms: float  # first byte received to last byte sent
    serve_ms: int  # last byte sent to the upstream to first byte of its answer
    constituent: str  # that was requested; empty if Envoy called the gateway
    warm: bool  # a warm instance answered, after retries
    instance_id: str  # which
    timing: str  # header server-timing of the answer


def read_entry(entry: Any) -> AccessLogEntry:
    """The parts of an entry (`HTTPAccessLogEntry`) that records are made of."""
    common, request, response = entry.common_properties, entry.request, entry.response
    headers, tags = request.request_headers, common.custom_tags
    answered_ms, sent_ms = map(
        _ms, (common.time_to_first_upstream_rx_byte, common.time_to_last_upstream_tx_byte)
    )
    return AccessLogEntry(
        request_id=request.request_id,
        route=common.route_name,
        user=headers.get(USER_HEADER, ""),
        tier=headers.get(TIER_HEADER, ""),
        path=request.original_path or request.path,
        at_ms=int(_ms(common.start_time, MAX_MS)),
        status=min(response.response_code.value or _CLOSED, _MOST_STATUS),
        latency_ms=_ms(common.duration),
        serve_ms=max(0, round(answered_ms - sent_ms)),
        constituent=headers.get(CONSTITUENT_HEADER, ""),
        warm=tags.get("result") == "hit",
        instance_id=tags.get("instance", ""),
        timing=response.response_headers.get("server-timing", ""),
    )


def _ms(time: Any, most: float = server_timing.MOST_MS) -> float:
    """A protobuf duration or timestamp in ms, within bounds; its own methods cost more."""
    return float(min(max(0.0, time.seconds * 1000 + time.nanos / 1e6), most))


def records_of(
    entry: AccessLogEntry, catalog: Catalog, start_up_times: StartUpTimes, pool: str
) -> tuple[Request, Outcome]:
    """The request and its outcome.

    Raises
    ------
    EntryUnusable
        It is no request for a composite, or names no user.
    """
    composite = catalog.composites.get(entry.route)
    if composite is None:
        raise EntryUnusable("not for a composite of the catalogue")
    if not entry.user:
        raise EntryUnusable("the user is missing")
    request = Request(
        request_id=fitting(entry.request_id),
        user=fitting(entry.user),
        service=composite.service,
        at_ms=entry.at_ms,
        parameters=_parameters(entry.path, composite.logged),
        tier=_tier(entry.tier, catalog),
        pool=pool,
        source=Source.GATEWAY,
    )
    if only := sole_constituent(composite, catalog):
        parts = {only: _part(only, entry)}
    else:
        measured, names = _parts(entry), composite.constituents
        parts = {n: measured.get(n) or Part(service=n, warm=False) for n in names}
    usual = start_up_times.of(tuple(parts), catalog)
    return request, outcome_of(
        request, composite.steps, parts, usual, status=entry.status, latency_ms=entry.latency_ms
    )


def _part(name: str, entry: AccessLogEntry) -> Part:
    """What the only constituent of a composite did."""
    if entry.warm:
        return Part(service=name, warm=True, instance_id=entry.instance_id, serve_ms=entry.serve_ms)
    measured = _parts(entry).get(name)  # by the activator
    if measured is None:
        return Part(service=name, warm=False, wait_ms=round(entry.latency_ms))
    serve_ms = max(0, entry.serve_ms - measured.wait_ms)
    return Part(
        service=name,
        warm=measured.warm,
        instance_id=measured.instance_id,
        wait_ms=measured.wait_ms,
        serve_ms=serve_ms,
        warm_up_ms=measured.warm_up_ms,
    )


def _parts(entry: AccessLogEntry) -> dict[str, Part]:
    return {part.service: part for part in server_timing.parse_parts(entry.timing)}


def _tier(requested: str, catalog: Catalog) -> str:
    """The requested tier if the catalogue has it, else the default."""
    tiers = catalog.tiers
    known = requested in tiers or not tiers
    return requested if requested and known else default_tier(tiers)


def _parameters(path: str, allowed: tuple[str, ...]) -> Mapping[str, str]:
    """The query parameters that the catalogue allows to be logged, up to the limits."""
    if not allowed or "?" not in path:
        return {}
    try:
        query = parse_qsl(urlsplit(path).query, max_num_fields=10 * MAX_PARAMETERS)
    except ValueError:
        return {}
    found: dict[str, str] = {}
    size = 0
    for key, value in query:
        grown = size + len(key) + len(value)
        if key in allowed and len(found) < MAX_PARAMETERS and grown <= MAX_PARAMETER_LENGTH:
            found[key], size = value, grown
    return found
