"""What processes tell of themselves at their Prometheus endpoints, in a sentence each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from streams.report.finding import PartFinding

__all__ = ["scraped", "told_by"]

PATIENCE_S = 2.0  # for a whole answer, however it trickles
MOST_BYTES = 4 * 1024 * 1024

Values = dict[str, float]  # by name of metric, summed over labels


async def scraped(urls: Sequence[str]) -> list[PartFinding]:
    """What each endpoint tells; one that does not answer is wrong, since somebody named it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session:
        return await asyncio.gather(*(_scraped(session, url) for url in urls))


async def _scraped(session: aiohttp.ClientSession, url: str) -> PartFinding:
    name = f"metrics {url.partition('//')[2].partition('/')[0]}"
    try:
        async with session.get(url, raise_for_status=True) as answer:
            return told_by(name, await _text(answer))
    except TimeoutError:
        return _wrong(name, f"{url} does not answer in {PATIENCE_S:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return _wrong(name, f"{url} does not answer: {error}")
    except ValueError as error:
        return _wrong(name, f"{url} answers with no metrics: {error}")


async def _text(answer: aiohttp.ClientResponse) -> str:
    """The body of an answer; ValueError when it is too long or no text."""
    told = bytearray()
    async for part in answer.content.iter_any():
        told += part
        if len(told) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
    return told.decode()


def _wrong(name: str, says: str) -> PartFinding:
    return PartFinding(check=name, ok=False, says=says, there=False)


def told_by(name: str, text: str) -> PartFinding:
    """What the text of an endpoint tells of its process; ValueError when it is none."""
    values: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] += sample.value
    kafka = values.get("foremesh_kafka_up")
    told = list(_told(values))
    if kafka is not None:
        told.insert(0, "Kafka answers" if kafka else "has lost Kafka")
    return PartFinding(check=name, ok=kafka != 0, says=", ".join(told) or "answers")


def _told(values: Values) -> Iterator[str]:
    if "foremesh_lag" in values:
        yield f"{values['foremesh_lag']:,.0f} records behind"
    if values.get("foremesh_failed_ticks_total"):
        yield f"{values['foremesh_failed_ticks_total']:,.0f} ticks have failed"
    if "foremesh_requests_total" in values:
        yield f"{values['foremesh_requests_total']:,.0f} requests answered"
