"""A receiver of traces as OpenTelemetry has them: OTLP over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

TLS = Path(__file__).with_name("tls")

__all__ = ["ReceivedSpan", "TraceReceiver", "receiving"]


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: frozenset[str]  # spans
    attributes: dict[str, Any]


class TraceReceiver(TraceServiceServicer):
    """Keeps all spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.url = ""

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # its name in the protocol
        del context
        for resource in request.resource_spans:
            service = values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [received(service, span) for span in scope.spans]
        return ExportTraceServiceResponse()

    def trace(self, name: str) -> dict[str, ReceivedSpan]:
        """The spans of a trace so far, by id."""
        return {span.span: span for span in list(self.spans) if span.trace == name}


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def received(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        frozenset(link.span_id.hex() for link in span.links),
        values(span.attributes),
    )


@contextmanager
def receiving(*, tls: bool = False) -> Iterator[TraceReceiver]:
    """A receiver on a free port, with the certificate of localhost where that is wanted."""
    server, found = grpc.server(ThreadPoolExecutor(2)), TraceReceiver()
    add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]  # has no types
    if tls:
        pair = [(TLS / f"localhost.{kind}").read_bytes() for kind in ("key", "pem")]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        found.url = f"https://localhost:{port}"
    else:
        found.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield found
    finally:
        server.stop(1).wait()
