"""Which topics there are now: one that is deleted and made anew has the same name, not the same id."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.errors import BrokerUnreachable

__all__ = ["TopicIds"]

ANSWER_S = 10.0
FRESH_S = 5.0  # partitions are assigned together: one question serves them all


class TopicIds:
    """The ids of some topics; may be asked from several threads.

    Parameters
    ----------
    config
        Of librdkafka: servers and security.
    names
        Name on the broker -> name without prefix.
    """

    def __init__(self, config: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._config, self._names = dict(config), names
        self._ids: Mapping[str, str] = {}
        self._asked_s = float("-inf")
        self._lock = threading.Lock()

    def now(self) -> Mapping[str, str]:
        """The id of each topic, by its name without prefix.

        Raises
        ------
        BrokerUnreachable
            Kafka does not answer in time.
        """
        with self._lock:
            if time.monotonic() - self._asked_s > FRESH_S:
                self._ids, self._asked_s = self._ask(), time.monotonic()
            return self._ids

    def _ask(self) -> Mapping[str, str]:
        client = AdminClient(self._config)
        asked = client.describe_topics(TopicCollection(list(self._names)), request_timeout=ANSWER_S)
        try:
            answers = {name: future.result(ANSWER_S) for name, future in asked.items()}
        except (KafkaException, TimeoutError) as error:
            raise BrokerUnreachable(f"Topics cannot be described: {error}") from error
        return {self._names[name]: str(answer.topic_id) for name, answer in answers.items()}
