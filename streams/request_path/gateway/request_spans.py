"""A span around each request at the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams.stages.base import MAX_NAME

if TYPE_CHECKING:
    from streams.tracing.record_tracer import RecordTracer

__all__ = ["traced"]

ROUTE = "/{composite}"


def traced(tracer: RecordTracer) -> Middleware:
    """A middleware that makes the spans; those of health checks would only hide the others."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> Any:
        if request.path == "/healthz":
            return await handler(request)
        asked = {
            "http.request.method": request.method,
            "http.route": ROUTE,
            "foremesh.composite": request.path.lstrip("/")[:MAX_NAME],
        }
        with tracer.beginning(f"{request.method} {ROUTE}", request.headers, asked) as span:
            try:
                answer = await handler(request)
            except web.HTTPException as refused:
                answer = refused
            span.set_attribute("http.response.status_code", answer.status)
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    return middleware
