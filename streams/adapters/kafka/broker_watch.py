"""Whether a broker answers: told when that changes, and asked for by health endpoints."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.clients import client_config
from streams.adapters.kafka.topics import declared
from streams.adapters.metrics.table import KAFKA_UP
from streams.flow.topology import STAGES
from streams.settings import Settings

__all__ = ["GOES_ON", "BrokerWatch"]

_log = logging.getLogger(__name__)

LOOK_S = 2.0  # between two questions, and the longest wait for an answer
REPEAT_S = 60.0  # until an outage that lasts is told again
GOES_ON = "what waits for it goes on when it does"


class BrokerWatch:
    """Asks for topics every few seconds, in a thread of its own, once started.

    The clients of a process retry by themselves and say nothing: thousands of lines would tell no
    more than the two of this class, one when Kafka is away and one when it is back.

    Parameters
    ----------
    settings
        Kafka.
    changed
        Called if a topic of the flow gets more partitions, is deleted, or is made anew.
    meanwhile
        What the process does while Kafka is away, told with it.
    """

    def __init__(
        self,
        settings: Settings,
        changed: Callable[[], None] = lambda: None,
        meanwhile: str = GOES_ON,
    ) -> None:
        config: dict[str, Any] = {"error_cb": self._note, "log_level": 0}
        self._client = AdminClient({**client_config(settings), **config})
        self._servers, self._changed, self._meanwhile = settings.kafka, changed, meanwhile
        self._names = declared(settings).keys()
        self._read = {settings.topic(name) for row in STAGES.values() for name in row.reads}
        self._partitions: dict[str, int] = {}  # of each topic when it was last seen
        self._ids: dict[str, str] = {}  # the same: one made anew has the same name, not the same id
        self._missed: set[str] = set()  # topics that the last answer lacked, for the first time
        self._why = ""
        self._away_s: float | None = None  # since when (monotonic)
        self._told_s = float("-inf")  # when that was said last

    @property
    def away(self) -> bool:
        """Whether no broker answered the last question."""
        return self._away_s is not None

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._ask_regularly, name="broker-watch", daemon=True).start()

    def look(self) -> None:
        """Ask once, and tell what has changed."""
        try:
            topics = self._client.list_topics(timeout=LOOK_S).topics
        except KafkaException as error:
            self._client.poll(0)  # calls `_note`
            self._is_away(self._why or str(error.args[0].str()))
        else:
            self._is_there()
            there = {n: len(topics[n].partitions) for n in self._names if n in topics}
            self._compare(there, self._ids_of(there.keys() & self._read))

    def _ask_regularly(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_S)

    def _ids_of(self, names: Iterable[str]) -> Mapping[str, str]:
        """The id of each of these topics of which it is told in time."""
        wanted, found = [*names], dict[str, str]()
        if not wanted:
            return found
        asked = self._client.describe_topics(TopicCollection(wanted), request_timeout=LOOK_S)
        for name, answer in asked.items():
            with suppress(KafkaException, TimeoutError):
                found[name] = str(answer.result(LOOK_S).topic_id)
        return found

    def _note(self, error: KafkaError) -> None:
        self._why = error.str()

    def _is_away(self, why: str) -> None:
        KAFKA_UP.set(0)
        now_s = time.monotonic()
        self._away_s = now_s if self._away_s is None else self._away_s
        if now_s - self._told_s > REPEAT_S:
            self._told_s = now_s
            _log.error(
                "Kafka does not answer at %s (%s); %s", self._servers, why, self._meanwhile,
                extra={"action": "kafka_away"},
            )  # fmt: skip

    def _compare(self, now: Mapping[str, int], ids: Mapping[str, str]) -> None:
        """Tell of partitions that were added, and of topics that were deleted or made anew.

        Keys go to others then, away from their state; of a topic made anew, what is at places that
        were read of the old one would be passed over. A broker that has just started, or lags behind
        others, may not know a topic yet: only two answers without it say that it is gone.
        """
        before, self._partitions = self._partitions, {**self._partitions, **now}
        grown = [name for name, count in now.items() if count > before.get(name, count)]
        for name in grown:
            _log.error(
                "Topic %s has %d partitions, not %d: its keys go to others now, away from their"
                " state. Workers end. To have more partitions, create all topics under another"
                " FOREMESH_PREFIX with FOREMESH_PARTITIONS set, and produce there; to go on with"
                " %d, delete the topic, with what is on it, and run `foremesh topics create`",
                name, now[name], before[name], before[name], extra={"action": "topic_grown"},
            )  # fmt: skip
        missed = before.keys() - now.keys()
        gone, self._missed = missed & self._missed, missed - self._missed
        self._tell_gone(gone)
        anew = [name for name, now_id in ids.items() if self._ids.get(name, now_id) != now_id]
        self._ids |= ids
        for name in anew:
            _log.error(
                "Topic %s was deleted and made anew. Workers end. To go on, start them again: they"
                " read it from its beginning",
                name, extra={"action": "topic_made_anew"},
            )  # fmt: skip
        if grown or gone or anew:
            self._changed()

    def _tell_gone(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            del self._partitions[name]
            self._ids.pop(name, None)
            _log.error(
                "Topic %s was deleted. Workers end. To go on, run `foremesh topics create`, and"
                " start them again: they read it from its beginning",
                name, extra={"action": "topic_deleted"},
            )  # fmt: skip

    def _is_there(self) -> None:
        KAFKA_UP.set(1)
        if self._away_s is not None:
            lasted_s = time.monotonic() - self._away_s
            _log.warning(
                "Kafka answers again, after %.0f s", lasted_s, extra={"action": "kafka_back"}
            )
        self._away_s, self._told_s, self._why = None, float("-inf"), ""
