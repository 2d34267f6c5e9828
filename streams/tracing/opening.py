"""The tracer of a process, where traces are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.errors import ToolMissing
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.tracing.record_tracer import RecordTracer

__all__ = ["tracer_of"]


def tracer_of(settings: Settings, component: str) -> RecordTracer | None:
    """The tracer of a component; None, and nothing imported, where FOREMESH_TRACES is empty.

    Raises
    ------
    ToolMissing
        OpenTelemetry is not installed.
    """
    if not settings.traces:
        return None
    try:
        from streams.tracing.record_tracer import RecordTracer  # noqa: PLC0415  # loads slowly
    except ImportError as error:
        raise ToolMissing(
            f"FOREMESH_TRACES is set, but there is no OpenTelemetry ({error}): install"
            " foremesh[tracing]"
        ) from error
    return RecordTracer(settings, component)
