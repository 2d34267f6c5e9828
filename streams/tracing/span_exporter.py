"""Sends spans as OTLP over HTTP, in JSON, which every receiver of OpenTelemetry's reads.

OpenTelemetry's own exporters need its messages as Python, which xds-protos (Envoy's, needed for the
mesh) overwrites with old ones when both are installed.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    ProxyHandler,
    Request,
    build_opener,
)

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

__all__ = ["JsonSpanExporter"]

_log = logging.getLogger(__name__)

Json = dict[str, Any]


class _NoRedirects(HTTPRedirectHandler):
    """A receiver elsewhere is to be named: what follows a redirect leaves the spans behind."""

    def redirect_request(self, *_: object) -> None:
        """Have the answer told as what it is."""


class JsonSpanExporter(SpanExporter):
    """Posts batches of spans to `<url>/v1/traces`; one that is refused or late is dropped.

    Parameters
    ----------
    url
        Of the receiver: http[s]://host:port.
    authority
        File of the certificates to trust; empty for those of the system.
    patience_s
        How long a receiver may take for a batch, and for all that is left after `end`.

    References
    ----------
    OpenTelemetry Protocol specification 1.x, "JSON Protobuf Encoding".
    """

    def __init__(self, url: str, authority: str, patience_s: float) -> None:
        self._url = f"{url.rstrip('/')}/v1/traces"
        secure = url.startswith("https://")
        trust = ssl.create_default_context(cafile=authority or None) if secure else None
        # No proxy of the environment: a receiver on this host is on this host.
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=trust), _NoRedirects)
        self._patience_s, self._until_s = patience_s, float("inf")  # the latter monotonic
        self._answers = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        left_s = min(self._patience_s, self._until_s - time.monotonic())
        if left_s <= 0.0:
            return SpanExportResult.FAILURE
        body = json.dumps(message_of(spans)).encode()
        request = Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310  # settings check the scheme
        try:
            with self._opener.open(request, timeout=left_s):
                self._answers = True
        except (OSError, HTTPException) as error:
            if self._answers:
                _log.warning(
                    "Spans are dropped: %s does not take them (%s)", self._url, error,
                    extra={"action": "spans_dropped"},
                )  # fmt: skip
            self._answers = False
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def end(self) -> None:
        """From now on all that is left has the time of one batch."""
        self._until_s = time.monotonic() + self._patience_s


def message_of(spans: Sequence[ReadableSpan]) -> Json:
    """The message of spans of one component."""
    resource = spans[0].resource.attributes
    scope = {"scope": {"name": "foremesh"}, "spans": [_span(span) for span in spans]}
    return {
        "resourceSpans": [
            {"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}
        ]
    }


def _span(span: ReadableSpan) -> Json:
    own, parent = span.get_span_context(), {}
    assert own is not None
    if span.parent:
        parent = {"parentSpanId": f"{span.parent.span_id:016x}"}
    return {
        **_place(own),
        **parent,
        "name": span.name,
        "kind": span.kind.value + 1,  # 0 is none said
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "events": [
            {
                "name": event.name,
                "timeUnixNano": str(event.timestamp),
                "attributes": _attributes(event.attributes or {}),
            }
            for event in span.events
        ],
        "links": [_place(link.context) for link in span.links],
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
    }


def _place(span: SpanContext) -> Json:
    return {"traceId": f"{span.trace_id:032x}", "spanId": f"{span.span_id:016x}"}


def _attributes(attributes: Mapping[str, Any]) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> Json:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}  # JSON has no integers of 64 bits
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}
