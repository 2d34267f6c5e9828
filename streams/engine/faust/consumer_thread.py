"""The thread in which aiokafka keeps the consumer group; it fetches nothing.

The overrides rely on faust-streaming 0.15.3 with aiokafka 0.14, as named at each.
"""

from __future__ import annotations

import asyncio
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

LEAVE_S = 2.0  # longest that a stage that stops waits for the broker; a worker has five


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs the aiokafka consumer, with range assignment and commits that may fail."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        # Faust 0.15.3, aiokafka.py:579: without tables it assigns round-robin, so that partitions
        # of the same number may go to different workers.
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
        # Faust 0.15.3, aiokafka.py:772: a failed commit stops the worker. Here it is logged, since
        # the next commit includes its offsets.
        owned = self.assignment()
        wanted = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in owned
        }
        if not wanted:  # all have left since; aiokafka refuses to commit nothing
            return False
        try:
            await self._ensure_consumer().commit(wanted)
        except KafkaError as error:
            logger.warning("Offsets not committed, will be retried: %s", error)
            return False
        return True

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """As Faust (consumer.py:1365), but paused: aiokafka fetches none (fetcher.py:634)."""
        self._ensure_consumer().pause(*map(driver.ensure_aiokafka_TP, assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_thread_stop(self) -> None:
        """As Faust (aiokafka.py:551), but for `LEAVE_S`: all offsets are committed by then.

        A broker answers the requests of a connection in turn, so that one to leave the group waits
        behind one to join it, which waits for every other member.
        """
        try:
            async with asyncio.timeout(LEAVE_S):
                await super().on_thread_stop()
        except TimeoutError:
            logger.warning(
                "The consumer group %s is left without an answer of the broker; it may give the"
                " partitions to others only after %.0f s",
                self.app.conf.id,
                self.app.conf.broker_session_timeout,
            )

    async def check_group(self, alive: bool) -> None:
        """Raise an error of the consumer group; stay a member as long as `alive`.

        aiokafka 0.14 raises such errors only from a fetch (group_coordinator.py:324), and leaves
        the group without fetches (:791); here there are none.
        """
        consumer = self._ensure_consumer()
        try:
            consumer._coordinator.check_errors()  # noqa: SLF001  # has no other
        except KafkaError as error:
            raise BrokerUnreachable(
                f"This worker cannot join the consumer group {self.app.conf.id}: {error}"
            ) from error
        if alive:
            with consumer._subscription.fetch_context():  # noqa: SLF001  # has no other
                pass
