"""Why a command was given: what `foremesh explain` says, for the page."""

from __future__ import annotations

import asyncio
from typing import Any

from streams.adapters.postgres.explanation import DecisionGrounds, grounds_of
from streams.dashboard.sources import FactSources
from streams.errors import DatabaseBusy, ForemeshError
from streams.report.explanation import decided, what_would_change

__all__ = ["explanation"]

WINDOW_MS = 10 * 60_000  # before the decision; of a hundred thousand users a day takes seconds


async def explanation(sources: FactSources, command_id: str) -> dict[str, Any]:
    """The command, its grounds and its instances, each None or empty where it is not known."""
    told: dict[str, Any] = dict.fromkeys(("command", "grounds", "decided"))
    told |= {"instances": [], "changes": [], "trouble": ""}
    try:
        commands = await sources.database.rows("command", command_id=command_id)
        told["command"] = commands[0] if commands else None
        told["instances"] = await sources.database.rows("instances_of", command_id=command_id)
        grounds = await _grounds(sources, command_id)
    except ForemeshError as error:
        return told | {"trouble": str(error)}
    if grounds is None:
        return told
    sentences = list(what_would_change(grounds.verdict))
    return told | {"grounds": grounds, "decided": decided(grounds.verdict), "changes": sentences}


async def _grounds(sources: FactSources, command_id: str) -> DecisionGrounds | None:
    try:
        return await asyncio.to_thread(grounds_of, sources.database.url, command_id, WINDOW_MS)
    except DatabaseBusy:
        return None
