"""Commands where no broker listens."""

from __future__ import annotations

import logging

import pytest

from streams.adapters.kafka.clients import connect
from streams.errors import BrokerUnreachable
from streams.runtime.ports import free_port
from streams.settings import Settings


def test_who_waits_for_a_broker_is_told_so_once(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = f"127.0.0.1:{free_port()}"

    with caplog.at_level(logging.WARNING), pytest.raises(BrokerUnreachable, match=nowhere):
        connect(Settings(kafka=nowhere), timeout_s=11.0)

    said = [line for line in caplog.messages if "it is asked for" in line]
    assert said == [f"No Kafka broker has answered at {nowhere} yet; it is asked for 10 s more"]
