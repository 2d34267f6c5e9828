"""The header `server-timing` (W3C): what each constituent of a request cost.

`pricing;desc=hit;dur=3.1;instance=pricing-07, stock;desc=miss;dur=9;cold=180;start=175;instance=..,
cold;dur=180, total;dur=195.2`: of a constituent, `dur` is the time it took to serve, `cold` how
long the request waited for it, `start` its start-up time if the request waited for the start; all
in milliseconds. People read it, and so does the access log service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

from streams.records import Outcome, Part

__all__ = ["MOST_MS", "format_outcome", "format_part", "parse_metrics", "parse_parts"]

MOST_MS = 86_400_000  # of a duration that is believed: a day
_MAX_METRICS = 256


def format_outcome(outcome: Outcome) -> str:
    """The header of a composite request: a metric for each constituent, then the totals."""
    total = [f"cold;dur={outcome.cold_ms}", f"total;dur={outcome.latency_ms:.1f}"]
    return ", ".join([*map(format_part, outcome.parts), *total])


def format_part(part: Part) -> str:
    """The metric of one constituent."""
    fields = [quote(part.service, safe=""), f"desc={'hit' if part.warm else 'miss'}"]
    fields += [f"dur={part.serve_ms}", f"cold={part.wait_ms}"]
    if part.warm_up_ms is not None:
        fields.append(f"start={part.warm_up_ms}")
    if part.instance_id:
        fields.append(f"instance={quote(part.instance_id, safe='')}")
    return ";".join(fields)


def parse_metrics(header: str) -> dict[str, dict[str, str]]:
    """The parameters of each metric in a header, by the metric's name."""
    metrics: dict[str, dict[str, str]] = {}
    for metric in header.split(",", _MAX_METRICS)[:_MAX_METRICS]:
        name, *params = (word.strip() for word in metric.split(";"))
        # The totals come last: a constituent may have the name of one.
        metrics.setdefault(unquote(name), dict(_pair(param) for param in params))
    return metrics


def parse_parts(header: str) -> Iterator[Part]:
    """The constituents' parts in a header that `format_outcome` or `format_part` made."""
    for constituent, params in parse_metrics(header).items():
        if params.get("desc") in {"hit", "miss"}:
            yield _part(constituent, params)


def _part(constituent: str, params: Mapping[str, str]) -> Part:
    start = params.get("start", "")
    return Part(
        service=constituent,
        warm=params["desc"] == "hit",
        instance_id=unquote(params.get("instance", "")),
        wait_ms=_milliseconds(params.get("cold", "")),
        serve_ms=_milliseconds(params.get("dur", "")),
        warm_up_ms=_milliseconds(start) if start else None,
    )


def _milliseconds(text: str) -> int:
    """A duration, a day at most; 0 if it is not a number."""
    try:
        return min(max(0, round(float(text))), MOST_MS)
    except (ValueError, OverflowError):
        return 0


def _pair(param: str) -> tuple[str, str]:
    name, _, value = param.partition("=")
    return name.strip(), value.strip().strip('"')
