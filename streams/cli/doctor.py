"""`foremesh doctor`: checks of everything that foremesh needs, each failure with its fix."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

import aiohttp
import click

from streams.adapters.avro.codec import schema_problems
from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.lag import GroupLag, group_lags
from streams.adapters.kafka.topics import check_topics
from streams.adapters.postgres.maintenance import missing_columns, pending
from streams.cli import pass_settings
from streams.cli.health_question import health_at
from streams.cli.output import json_option, tell
from streams.errors import ForemeshError, SettingInvalid
from streams.flow.components import POOL_GROUP
from streams.pipeline.event_time.presence import is_present
from streams.pipeline.last_values import entries_in_force
from streams.records.catalog import Pool
from streams.report.finding import PartFinding
from streams.report.text_table import NAME, WHOLE, TextTable, counted
from streams.request_path.envoy.addresses import MeshAddresses
from streams.runtime.addresses import address, is_everywhere
from streams.settings import Settings

__all__ = ["command", "endpoints", "examine", "table_of"]

BROKER_S = 10.0
MOST_POOLS = 20  # whose provisioners are looked for: each takes two questions


@click.command()
@json_option("a list of check, ok, says, there")
@click.pass_context
@pass_settings
def command(settings: Settings, ctx: click.Context, output: str) -> None:
    """Check broker, topics, catalogue, schemas, database, lag and servers; exit code 1 if one is wrong."""
    findings = list(examine(settings))
    tell(output, [asdict(finding) for finding in findings], table_of(findings))
    ctx.exit(0 if all(finding.ok for finding in findings) else 1)


def examine(settings: Settings) -> Iterator[PartFinding]:
    """Every check; those that need the broker are left out when it does not answer."""
    broker = list(_check("broker", lambda: _broker(settings), f"answers at {settings.kafka}"))
    yield from broker
    if broker[0].ok:
        yield from _check("topics", lambda: check_topics(settings), "as declared")
        yield from _check("catalogue", lambda: _catalogue(settings), "is loaded")
    yield from _check("schemas", _schemas, "every version reads every other")
    yield from _check("database", lambda: _database(settings), "has every migration")
    if broker[0].ok:
        yield from _lag(settings)
    for name, (at, expected) in endpoints(settings, os.environ).items():
        yield from _health(settings, name, at, expected=expected)


def endpoints(settings: Settings, env: Mapping[str, str]) -> Mapping[str, tuple[str, bool]]:
    """The address of each server, and whether it must be there: when it is set to another place.

    Of the mesh are asked those that a variable names.
    """
    at = {"gateway": settings.gateway, "provisioner": settings.provisioner}
    usual = Settings()
    known = {name: (place, place != getattr(usual, name)) for name, place in at.items()}
    mesh = {f"mesh {name}": MeshAddresses.variable(name) for name in ("edge", "decide")}
    return known | {name: (env[key], True) for name, key in mesh.items() if key in env}


def _health(settings: Settings, name: str, at: str, *, expected: bool) -> Iterator[PartFinding]:
    """Whether a server answers, and whether Kafka answers it; nothing of one listening everywhere."""
    try:
        if is_everywhere(address(at)[0]):
            return
        said = health_at(settings, at)
    except SettingInvalid as error:
        yield PartFinding(check=name, ok=False, says=str(error))
    except (OSError, ValueError, aiohttp.ClientError) as error:
        fix = f": start it, or unset its variable ({error})" if expected else ""
        says = f"does not answer at {at}{fix}"
        yield PartFinding(check=name, ok=not expected, says=says, there=False)
    else:
        lost = isinstance(said, dict) and said.get("kafka") == 0
        says = f"answers at {at}" + (", but has lost Kafka" if lost else "")
        yield PartFinding(check=name, ok=not lost, says=says)


def _check(name: str, problems: Callable[[], list[str]], well: str) -> Iterator[PartFinding]:
    try:
        found = problems()
    except ForemeshError as error:
        found = [str(error)]
    yield from (PartFinding(check=name, ok=False, says=problem) for problem in found)
    if not found:
        yield PartFinding(check=name, ok=True, says=well)


def _broker(settings: Settings) -> list[str]:
    connect(settings, BROKER_S)
    return []


def _catalogue(settings: Settings) -> list[str]:
    if entries_in_force(settings):
        return []
    return ["is empty, so nothing is started: run `foremesh catalog load`"]


def _schemas() -> list[str]:
    fix = "add a new version under schemas/ that keeps to FULL_TRANSITIVE"
    return [f"{problem}: {fix}" for problem in schema_problems()]


def _database(settings: Settings) -> list[str]:
    missing = pending(settings.postgres)
    if missing:
        return [f"lacks {', '.join(missing)}: run `foremesh db migrate`"]
    if missing := missing_columns(settings.postgres):
        fix = "somebody changed the schema: add them as sql/schema.sql has them"
        return [f"lacks the columns {', '.join(missing)}, though it has every migration: {fix}"]
    return []


def _lag(settings: Settings) -> Iterator[PartFinding]:
    try:
        lags = group_lags(settings, pools=_pools(settings))
        in_event_time = is_present(settings)
    except ForemeshError as error:
        yield PartFinding(check="lag", ok=False, says=str(error))
    else:
        of_pools = [lag for lag in lags if lag.stage.startswith(POOL_GROUP)]
        for lag in lags[: len(lags) - len(of_pools)]:
            if in_event_time and lag.stage != "sink":
                says = f"a worker in event time runs it, {counted(lag.records, 'record')} behind"
                yield PartFinding(check=f"lag of {lag.stage}", ok=True, says=says)
            else:
                yield _finding_of(lag, event_clock=settings.clock == "event")
        simulated = any(lag.optional and lag.members for lag in lags)
        if of_pools and not (in_event_time or simulated):
            yield _finding_of_provisioners(of_pools)


def _pools(settings: Settings) -> list[str]:
    """The first pools of the catalogue."""
    kept = entries_in_force(settings).values()
    return sorted(entry.pool for entry in kept if isinstance(entry, Pool))[:MOST_POOLS]


def _finding_of_provisioners(lags: Sequence[GroupLag]) -> PartFinding:
    """Whether somebody carries out commands; to learn of a log, nobody need to."""
    running = [lag for lag in lags if lag.members]
    behind = max(lag.records for lag in running or lags)
    says = (
        f"{counted(len(running), 'pool')} with a provisioner, {counted(behind, 'command')} behind"
    )
    if behind and not running:
        says += ": nothing is started before somebody runs `foremesh provision`"
    return PartFinding(check="lag of provision", ok=True, says=says, there=bool(running))


def _finding_of(lag: GroupLag, *, event_clock: bool) -> PartFinding:
    """A group fails when records wait and it has no members; lag alone is no failure."""
    check, there = f"lag of {lag.stage}", lag.members > 0
    state = f"{counted(lag.members, 'member')}, {counted(lag.records, 'record')} behind"
    if lag.held_back:
        state += f", {lag.held_back:,} of them waiting for a transaction that is open to end"
    if there or not lag.records:
        return PartFinding(check=check, ok=True, says=state, there=there)
    if why := _why_not_read(lag, event_clock=event_clock):
        return PartFinding(check=check, ok=True, says=f"{state}: no fault, {why}", there=False)
    run = "foremesh sink" if lag.stage == "sink" else f"foremesh worker {lag.stage}"
    return PartFinding(check=check, ok=False, says=f"{state}: run `{run}`")


def _why_not_read(lag: GroupLag, *, event_clock: bool) -> str:
    """Why it may be meant that a group has no members; empty if it never is."""
    if event_clock and lag.stage != "sink":
        return "`FOREMESH_CLOCK=event foremesh worker` runs all stages, in no group of a stage"
    if lag.optional:
        return (
            f"`foremesh worker {lag.stage}` only simulates instances, where no `foremesh provision`"
            " starts them"
        )
    return ""


def table_of(findings: Sequence[PartFinding]) -> TextTable:
    """The findings for people, and how many of them are bad."""
    wrong = sum(not finding.ok for finding in findings)
    found = "nothing is wrong" if not wrong else f"{wrong} wrong: each says how to mend it"
    return TextTable(
        columns={"state": WHOLE, "check": WHOLE, "finding": NAME},
        rows=[(f.state, f.check, f.says) for f in findings],
        legend=f"{len(findings)} checks, {found}.",
    )
