"""The thread in which aiokafka keeps the consumer group, as a stage needs it; it fetches nothing.

Relied on: faust-streaming 0.15.3 with aiokafka 0.14, as named at each override.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import aiokafka  # type: ignore[import-untyped]
from aiokafka.coordinator.assignors.range import (  # type: ignore[import-untyped]
    RangePartitionAssignor,
)
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata  # type: ignore[import-untyped]
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.errors import BrokerUnreachable

__all__ = ["ConsumerThread"]

logger = logging.getLogger(__name__)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread with the aiokafka consumer in it."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        # Faust 0.15.3, aiokafka.py:579: without tables it assigns round-robin, which tears apart
        # partitions of the same number.
        conf = self.app.conf
        settings = driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context)
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            **settings,
        )

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Faust 0.15.3, aiokafka.py:772: a commit that fails brings the worker down. The next
        # one says the same and more, so it is only reported.
        owned = self.assignment()
        wanted = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in owned
        }
        try:
            await self._ensure_consumer().commit(wanted)
        except KafkaError as error:
            logger.warning("Offsets not committed, will be tried again: %s", error)
            return False
        return True

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """As Faust (consumer.py:1365); what is paused aiokafka does not fetch (fetcher.py:634)."""
        self._ensure_consumer().pause(*map(driver.ensure_aiokafka_TP, assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def check_group(self, alive: bool) -> None:
        """Raise what keeps this worker out of its group; stay in it when it is `alive`.

        aiokafka 0.14 says so only to those who fetch (group_coordinator.py:324), which Faust does
        not before it has partitions; and it leaves the group when nobody does for long (:791).
        """
        consumer = self._ensure_consumer()
        try:
            consumer._coordinator.check_errors()  # noqa: SLF001  # has no other
        except KafkaError as error:
            raise BrokerUnreachable(
                f"The consumer group {self.app.conf.id} does not take this worker in: {error}"
            ) from error
        if alive:
            with consumer._subscription.fetch_context():  # noqa: SLF001  # has no other
                pass
