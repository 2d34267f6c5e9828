"""The place of a request in its log, as a header of its record on Kafka."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

__all__ = ["LogPlace"]

_HEADER = "foremesh-log"


class LogPlace(NamedTuple):
    """Where a request stands in the order in which its log has it; partitions do not keep that."""

    at_ms: int  # latest event time of the log up to here, so that no place is before another's
    number: int  # how many requests there are up to here
    log: str = ""  # one run of `foremesh produce`; empty for a producer that says no places

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The headers that say so."""
        return [(_HEADER, f"{self.at_ms} {self.number} {self.log}".encode())]

    @classmethod
    def of(cls, headers: Any) -> Self | None:
        """The place that headers say; None if they say none that can be read."""
        try:
            text = dict(headers or ())[_HEADER].decode()
            at_ms, number, log = text.split()
            return cls(int(at_ms), int(number), log)
        except (KeyError, ValueError, AttributeError):
            return None
