"""A receiver of traces as OpenTelemetry has them: OTLP over HTTP, in JSON."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

TLS = Path(__file__).with_name("tls")

__all__ = ["ReceivedSpan", "TraceReceiver", "receiving", "serving"]


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


class TraceReceiver:
    """Keeps all spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.url = ""

    def take(self, message: Any) -> None:
        """Keep the spans of an export."""
        for resource in message["resourceSpans"]:
            service = values(resource["resource"]["attributes"])["service.name"]
            for scope in resource["scopeSpans"]:
                self.spans += [received(service, span) for span in scope["spans"]]

    def trace(self, name: str) -> dict[str, ReceivedSpan]:
        """The spans of a trace so far, by id."""
        return {span.span: span for span in list(self.spans) if span.trace == name}


def values(attributes: Any) -> dict[str, Any]:
    return {one["key"]: value(one["value"]) for one in attributes}


def value(given: dict[str, Any]) -> Any:
    ((kind, said),) = given.items()
    return int(said) if kind == "intValue" else said


def received(service: str, span: Any) -> ReceivedSpan:
    assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    return ReceivedSpan(
        service,
        span["name"],
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId", ""),
        frozenset(link["spanId"] for link in span["links"]),
        values(span["attributes"]),
    )


def handler(found: TraceReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/json"
            found.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
            """Nothing: the spans are looked at, not the requests."""

    return Handler


@contextmanager
def receiving(*, tls: bool = False) -> Iterator[TraceReceiver]:
    """A receiver on a free port, with the certificate of localhost where that is wanted."""
    found = TraceReceiver()
    with serving(handler(found), tls=tls) as found.url:
        yield found


@contextmanager
def serving(how: type[BaseHTTPRequestHandler], *, tls: bool = False) -> Iterator[str]:
    """The URL of a server on a free port that answers so."""
    with ThreadingHTTPServer(("127.0.0.1", 0), how) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
            url = f"https://localhost:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()
