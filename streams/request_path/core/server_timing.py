"""The header `server-timing` (W3C), which tells people and the access log what a request cost.

`pricing;desc=hit;dur=3.1;instance=pricing-07, stock;desc=miss;dur=9;cold=180;start=175;instance=..,
cold;dur=180, total;dur=195.2`: a constituent's `dur` is the time it took to serve, `cold` what the
request waited for it, `start` its start-up time when that was waited for, all in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

from streams.records import Outcome, Part

__all__ = ["format_outcome", "format_part", "parse_metrics", "parse_parts"]

MOST_METRICS = 256


def format_outcome(outcome: Outcome) -> str:
    """What a composite's request cost, part by part."""
    total = [f"cold;dur={outcome.cold_ms}", f"total;dur={outcome.latency_ms:.1f}"]
    return ", ".join([*map(format_part, outcome.parts), *total])


def format_part(part: Part) -> str:
    """What one constituent did."""
    told = [quote(part.service, safe=""), f"desc={'hit' if part.warm else 'miss'}"]
    told += [f"dur={part.serve_ms}", f"cold={part.wait_ms}"]
    if part.warm_up_ms is not None:
        told.append(f"start={part.warm_up_ms}")
    if part.instance_id:
        told.append(f"instance={quote(part.instance_id, safe='')}")
    return ";".join(told)


def parse_metrics(header: str) -> dict[str, dict[str, str]]:
    """The metrics of a header, by name; what is no metric is left out."""
    found = {}
    for metric in header.split(",", MOST_METRICS)[:MOST_METRICS]:
        name, *params = (word.strip() for word in metric.split(";"))
        found[unquote(name)] = dict(_pair(param) for param in params)
    return found


def parse_parts(header: str) -> Iterator[Part]:
    """The parts in a header that `format_outcome` wrote."""
    for service, told in parse_metrics(header).items():
        if told.get("desc") in {"hit", "miss"}:
            yield _part(service, told)


def _part(service: str, told: Mapping[str, str]) -> Part:
    start = told.get("start", "")
    return Part(
        service=service,
        warm=told["desc"] == "hit",
        instance_id=unquote(told.get("instance", "")),
        wait_ms=number(told.get("cold", "")),
        serve_ms=number(told.get("dur", "")),
        warm_up_ms=number(start) if start else None,
    )


def number(text: str) -> int:
    """A duration in ms; 0 when it is none."""
    try:
        return max(0, round(float(text)))
    except (ValueError, OverflowError):
        return 0


def _pair(param: str) -> tuple[str, str]:
    name, _, value = param.partition("=")
    return name.strip(), value.strip().strip('"')
