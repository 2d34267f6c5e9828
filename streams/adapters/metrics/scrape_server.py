"""The HTTP server that Prometheus scrapes: a thread a connection, none of them for long."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

__all__ = ["ScrapeServer"]

_PATIENCE_S = 10.0  # for a request and its answer
_MOST = 32  # connections at once, a thread each


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing: anyone can ask as often as they like."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the library has it
        """Log nothing."""


class ScrapeServer(ThreadingMixIn, WSGIServer):
    """Serves a registry, to so many at once, and ends each connection after a while.

    Parameters
    ----------
    place
        Host and port to listen at.
    registry
        What is served.
    ready
        What `/ready` answers: 200, or 503 while this is false.
    """

    daemon_threads = True

    def __init__(
        self,
        place: tuple[str, int],
        registry: CollectorRegistry,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._since_s: dict[Any, float] = {}  # open connections
        host, port = place
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family, at = found[0], found[4]
        super().__init__((str(at[0]), port), _QuietHandler)
        self.set_app(_with_readiness(make_wsgi_app(registry), ready))

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for a connection; it is ended if there is not."""
        del client_address
        room = len(self._since_s) < _MOST
        if room:
            self._since_s[request] = time.monotonic()
        return room

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._since_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End what has been open for too long; called twice a second."""
        overdue_s = time.monotonic() - _PATIENCE_S
        for request, since_s in list(self._since_s.items()):
            if since_s < overdue_s:
                with suppress(OSError):  # closed just now
                    request.shutdown(socket.SHUT_RDWR)  # its thread wakes up and closes it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away, or were sent away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _with_readiness(metrics: WSGIApplication, ready: Callable[[], bool]) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/ready":
            return metrics(environ, start)
        said = "200 OK" if ready() else "503 Service Unavailable"
        start(said, [("content-type", "text/plain")])
        return [said.encode()]

    return answer
