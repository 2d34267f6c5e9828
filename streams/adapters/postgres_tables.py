"""The tables that records are written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["TABLES", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table to write: which row holds when two have one key."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    newest_by: tuple[str, ...] = ()  # the row highest in these holds; without, the first one


def _table(name: str, columns: str, *, key: str, newest_by: str = "") -> Table:
    return Table(
        name=name,
        key=tuple(key.split()),
        columns=tuple(columns.split()),
        newest_by=tuple(newest_by.split()),
    )


_PREDICTED = (
    "request_id user_id tier pool services probabilities within unseen horizon_ms expected_p10_ms expected_p50_ms"
    " expected_p90_ms made_ms expires_ms model"
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _table(
            "predictions",
            f"{_PREDICTED} kafka_offset",
            key="user_id",
            newest_by="made_ms kafka_offset",
        ),
        _table("prediction_history", _PREDICTED, key="request_id"),
        _table(
            "commands",
            "command_id pool action service count tier value cost priority issued_ms expires_ms"
            " reason kafka_offset",
            key="command_id",
        ),
        _table(
            "verdicts",
            "pool service at_ms command_id choice mode instance have chance value cost bound tier"
            " price horizon_ms warm_up_ms expected_services expected_tiers expected_requests"
            " alternatives alternative_values alternative_costs challenger",
            key="pool service at_ms command_id challenger",
        ),
        _table(
            "trials",
            "pool since_ms variant champion at_ms requests cold_ms saved_ms warm_ms wasted_ms worth"
            " cost kafka_offset",
            key="pool since_ms variant",
            newest_by="at_ms kafka_offset",
        ),
        _table(
            "instances",
            "instance_id service pool state endpoint command_id started_ms changed_ms"
            " warm_since_ms gone_ms uses busy_ms reason kafka_offset",
            key="instance_id",
            newest_by="changed_ms kafka_offset",
        ),
        _table(
            "utilisation",
            "pool at_ms cpu_capacity cpu_used memory_capacity memory_used bandwidth_capacity"
            " bandwidth_used",
            key="pool at_ms",
        ),
        _table(
            "outcomes",
            "request_id user_id tier pool service at_ms result route status latency_ms cold_ms"
            " saved_ms source",
            key="request_id",
        ),
        _table(  # after outcomes, which it refers to
            "outcome_parts",
            "request_id position service warm instance_id wait_ms serve_ms warm_up_ms",
            key="request_id position",
        ),
        _table(
            "dead_letters",
            "kafka_topic kafka_partition kafka_offset stage reason at_ms key value_start"
            " value_bytes",
            key="kafka_topic kafka_partition kafka_offset stage",
        ),
    )
}
