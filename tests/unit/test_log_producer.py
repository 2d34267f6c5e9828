"""What `produce` says it has delivered."""

from __future__ import annotations

from typing import Any

import pytest

from streams.cli import log_producer
from streams.cli.log_producer import LogProducer
from streams.records import Request
from streams.settings import Settings


class Interrupted:
    """A producer that somebody interrupts at a user's request."""

    def __init__(self, _: object) -> None: ...

    def send(self, _: str, key: bytes | None, *__: object, **___: object) -> None:
        if key == b"late":
            raise KeyboardInterrupt

    def flush(self, _: float) -> None: ...


def test_a_request_that_an_interrupt_kept_from_kafka_is_not_called_delivered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: Any = Interrupted
    monkeypatch.setattr(log_producer, "CheckedProducer", made)
    first, late = (
        Request(request_id=user, user=user, service="s", at_ms=1_000) for user in ("ann", "late")
    )

    with LogProducer(Settings(), "log", partitions=1) as sender:
        sender.send(first)
        with pytest.raises(KeyboardInterrupt):
            sender.send(late)

    assert "1 requests delivered" in capsys.readouterr().out
    assert "1 not for certain" in sender.summary()
