"""One provisioner of a pool: another would take its instances for those of a dead one."""

from __future__ import annotations

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.clients import client_here, connect
from streams.adapters.kafka.groups import members
from streams.errors import ProvisionerRuns
from streams.flow.components import POOL_GROUP
from streams.settings import Settings

__all__ = ["refuse_elsewhere"]

_ASK_S = 0.3
_SLACK_S = 3.0  # which a broker may take to remove a member whose session has ended


def refuse_elsewhere(settings: Settings, pool: str) -> None:
    """Refuse a pool that a provisioner on another machine has; one that was killed has it a while.

    Raises
    ------
    BrokerUnreachable
        No broker answers.
    ProvisionerRuns
        There is another one, for longer than the session of one that was killed.
    """
    client, deadline_s = connect(settings), time.monotonic() + settings.session_ms / 1000 + _SLACK_S
    while there := _elsewhere(settings, client, pool):
        if time.monotonic() > deadline_s:
            raise ProvisionerRuns(
                f"A provisioner of pool {pool!r} runs at {', '.join(sorted(there))}: end it first, a"
                " pool has one, and a second one would have its instances taken for ended"
            )
        time.sleep(_ASK_S)


def _elsewhere(settings: Settings, client: AdminClient, pool: str) -> set[str]:
    """The addresses of provisioners on other machines; none is seen by who may not ask."""
    try:
        found = members(client, settings.group(POOL_GROUP + pool))
    except (KafkaException, TimeoutError):
        return set()
    return {one.host.lstrip("/") for one in found if one.client_id != client_here()}
