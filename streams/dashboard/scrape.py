"""What processes tell of themselves at their Prometheus endpoints, in a sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from streams.report.finding import PartFinding

__all__ = ["scraped", "told_by"]

PATIENCE_S = 2.0
MOST_BYTES = 4 * 1024 * 1024

Values = dict[str, float]  # by name of metric, summed over labels


def scraped(urls: Iterable[str]) -> Iterator[PartFinding]:
    """What each endpoint tells; one that does not answer is wrong, since somebody named it."""
    for url in urls:
        name = f"metrics {urlsplit(url).netloc}"
        try:
            with urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310  # of an operator
                text = answer.read(MOST_BYTES).decode()
            yield told_by(name, text)
        except (OSError, ValueError, HTTPException) as error:
            yield PartFinding(
                check=name, ok=False, says=f"{url} does not answer: {error}", there=False
            )


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
