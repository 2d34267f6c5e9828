from __future__ import annotations

import asyncio

from harness import eventually
from pools import warm

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer
from streams.records import Instance
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.settings import Settings

CHANGES = 40
APART_S = 0.005


async def test_changes_of_instances_that_come_close_together_are_news_together(
    settings: Settings, topics: list[str]
) -> None:
    assert topics
    news: list[list[Instance]] = []
    watch = await CatalogAndInstanceWatch.open(settings)
    following = asyncio.create_task(watch.follow_instances(news.append))
    producer = CheckedProducer({**producer_config(settings), "linger.ms": 0})
    for number in range(CHANGES):
        told = warm("a", f"a-{number}", "c")
        producer.send(settings.topic("instances"), told.instance_id.encode(), codec.encode(told))
        await asyncio.sleep(APART_S)

    await asyncio.to_thread(eventually, lambda: sum(map(len, news)) == CHANGES)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    watch.close()

    assert len(news) < CHANGES / 2
