"""Makes the spans; this module and `span_exporter` alone know OpenTelemetry."""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streams.settings import Settings
from streams.tracing.span_exporter import JsonSpanExporter
from streams.tracing.traceparent import TRACEPARENT, RecordHeaders, RecordPlace

__all__ = ["RecordTracer"]

MOST_WAITING = 2_048  # spans; further ones are dropped, so that nothing ever waits for a receiver
SEND_S = 5.0  # how long a receiver may take, also when the process ends
_W3C = TraceContextTextMapPropagator()


class RecordTracer:
    """Spans of one component, sent by a thread of its own.

    A record without a trace gets none; `beginning` begins one, of every so many requests.

    Parameters
    ----------
    settings
        Where spans go, how many requests begin a trace, whether spans name users.
    component
        `foremesh-` and this is the name of the service.
    """

    def __init__(self, settings: Settings, component: str) -> None:
        self._names_users = settings.trace_users == "on"
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(1 / settings.trace_every)),
            resource=Resource.create({"service.name": f"foremesh-{component}"}),
            shutdown_on_exit=False,
        )
        self._exporter = JsonSpanExporter(settings.traces, settings.tls_ca or "", SEND_S)
        self._provider.add_span_processor(
            BatchSpanProcessor(self._exporter, max_queue_size=MOST_WAITING)
        )
        self._tracer = self._provider.get_tracer("foremesh")
        atexit.register(self.close)

    @contextmanager
    def processing(
        self, name: str, place: RecordPlace, parent: bytes
    ) -> Iterator[tuple[Span, RecordHeaders]]:
        """A span of what a record causes, and the headers of what comes of it.

        Parameters
        ----------
        name
            Of who processes it.
        place
            Where the record stands.
        parent
            Its header; the span records nothing where that is none.
        """
        span = self.reading(name, place, parent)
        with trace.use_span(span, end_on_exit=True):
            yield span, _headers(span)

    def reading(self, name: str, place: RecordPlace, parent: bytes) -> Span:
        """The same, to be ended by the caller."""
        context = _context(parent)
        if context is None:
            return trace.INVALID_SPAN
        kind, attributes = SpanKind.CONSUMER, place.attributes
        return self._tracer.start_span(f"{name} {place.topic}", context, kind, attributes)

    @contextmanager
    def ticking(self, name: str, causes: Iterable[bytes]) -> Iterator[RecordHeaders]:
        """A span of what a tick makes of several records: in the trace of the last one.

        Parameters
        ----------
        name
            Of who ticks.
        causes
            The headers of the records since the last tick; the span has links to them.
        """
        contexts = [context for cause in causes if (context := _context(cause)) is not None]
        spans = [trace.get_current_span(context).get_span_context() for context in contexts]
        if not contexts:
            yield ()
            return
        links = [Link(span) for span in spans[:-1]]
        span = self._tracer.start_span(f"{name} tick", contexts[-1], SpanKind.INTERNAL, links=links)
        with trace.use_span(span, end_on_exit=True):
            yield _headers(span)

    @contextmanager
    def beginning(
        self, name: str, headers: Mapping[str, str], attributes: Mapping[str, str]
    ) -> Iterator[Span]:
        """A span of a request as it comes; the trace begins here if its headers have none."""
        span = self._tracer.start_span(
            name, _W3C.extract(headers), SpanKind.SERVER, dict(attributes)
        )
        with trace.use_span(span, end_on_exit=True):
            yield span

    def sending(self, topic: str, record: Any) -> RecordHeaders:
        """The headers of a request that is sent to this topic of the broker."""
        attributes = {"messaging.system": "kafka", "messaging.operation.type": "send",
                      "messaging.destination.name": topic}  # fmt: skip
        with self._tracer.start_as_current_span(
            f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes
        ) as span:
            self.describe(span, record)
            return _headers(span)

    def carried(self) -> RecordHeaders:
        """The headers of a record that comes of the span in progress; none outside of one."""
        return _headers(trace.get_current_span())

    def describe(self, span: Span, record: Any) -> None:
        """Say of a span what its record is about; who asked only where that is wanted."""
        named = {"pool": "foremesh.pool", "request_id": "foremesh.request_id",
                 "command_id": "foremesh.command_id"}  # fmt: skip
        if self._names_users:
            named["user"] = "enduser.id"
        for field, attribute in named.items():
            if value := getattr(record, field, ""):
                span.set_attribute(attribute, value)

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        atexit.unregister(self.close)
        self._exporter.end()
        self._provider.shutdown()


def _headers(span: Span) -> RecordHeaders:
    if not span.get_span_context().trace_flags.sampled:
        return ()
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span))
    return [(TRACEPARENT, carrier[TRACEPARENT].encode())] if carrier else []


def _context(parent: bytes) -> Context | None:
    """The context of a header; None where it is damaged, or its trace is not recorded."""
    context = _W3C.extract({TRACEPARENT: parent.decode("ascii", "replace")})
    flags = trace.get_current_span(context).get_span_context().trace_flags
    return context if flags.sampled else None
