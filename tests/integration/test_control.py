from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from harness import eventually
from live import Live
from pools import warm
from services import ONE, catalog_of, constituent, send

from streams.adapters.avro import codec
from streams.adapters.kafka.topic_reader import read_topic
from streams.records import (
    Action,
    Command,
    Demand,
    InstanceState,
    Record,
    ServiceDemand,
    Utilisation,
)
from streams.records.control import Mode
from streams.records.trials import Trial
from streams.records.verdicts import Choice, Verdict
from streams.runtime.clock import wall_ms
from streams.settings import Settings

EFFECT_S = 1.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One partition, so that a worker has it soon."""
    return replace(settings, partitions=1)


def wanted(at_ms: int) -> list[Record]:
    """A pool, and users who are sure to ask for `only-a`."""
    asked = ServiceDemand(service="only-a", tier="gold", expected=1.0)
    return [
        Utilisation(pool="default", at_ms=at_ms, capacity=ONE.times(4), used=ONE.times(0)),
        Demand(
            pool="default",
            partition=0,
            at_ms=at_ms,
            horizon_ms=60_000,
            services=(asked,),
            expires_ms=at_ms + 600_000,
        ),
    ]


def commands(live: Live, action: Action, service: str) -> list[Command]:
    found = [r for r in live.records("commands") if isinstance(r, Command)]
    return [c for c in found if (c.action, c.service) == (action, service)]


def written_ms(live: Live, topic: str, count: int) -> int:
    """When the broker took the record of this number (from 1), once it has."""
    eventually(lambda: live.count(topic) >= count)
    messages = list(read_topic(live.settings, live.settings.topic(topic)))
    return int(messages[count - 1].timestamp()[1])


def verdicts(live: Live) -> list[Verdict]:
    return [r for r in live.records("verdicts") if isinstance(r, Verdict)]


def first_of(live: Live, service: str) -> int:
    """When the broker took the first command for a constituent."""
    for message in read_topic(live.settings, live.settings.topic("commands")):
        command = codec.decode(message.value() or b"")
        if isinstance(command, Command) and command.service == service:
            return int(message.timestamp()[1])
    raise AssertionError(service)


def seconds_from_word_to_command(live: Live, word: int, command: int) -> float:
    return (written_ms(live, "commands", command) - written_ms(live, "control", word)) / 1000


def test_an_operators_word_takes_effect_within_a_second(live: Live) -> None:
    send(live.settings, catalog_of(constituent("a"), constituent("b")))
    live.worker("allocator")
    send(live.settings, wanted(wall_ms()))
    eventually(lambda: commands(live, Action.PROVISION, "a"), 60)

    given = live.count("commands")
    live.run("control", "pin", "default", "b", "--min", "1", "--reason", "a sale")
    assert seconds_from_word_to_command(live, 1, given + 1) < EFFECT_S
    assert "an operator wants at least 1" in commands(live, Action.PROVISION, "b")[0].reason

    live.run("control", "mode", "default", "shadow")
    time.sleep(EFFECT_S)
    given = live.count("commands")
    time.sleep(12)  # commands that nobody carried out would be given again
    assert live.count("commands") == given
    assert "shadow" in live.run("control", "show")

    live.run("control", "mode", "default", "on")
    assert seconds_from_word_to_command(live, 3, given + 1) < EFFECT_S


def test_what_an_operator_said_before_the_first_worker_holds_from_its_first_decision(
    live: Live,
) -> None:
    send(live.settings, catalog_of(constituent("a"), constituent("b")))
    send(live.settings, wanted(wall_ms()))
    live.run("control", "mode", "default", "shadow")
    live.worker("allocator")
    eventually(lambda: [v for v in verdicts(live) if v.service == "a"], 60)
    assert live.count("commands") == 0
    assert {v.mode for v in verdicts(live)} == {Mode.SHADOW}


def test_a_challenger_runs_on_paper_and_is_promoted_within_a_second(live: Live) -> None:
    send(live.settings, catalog_of(constituent("a"), constituent("b")))
    live.worker("allocator")
    live.sink()
    pool, demand = wanted(wall_ms())
    assert isinstance(demand, Demand)
    hardly = ServiceDemand(service="only-b", tier="gold", expected=1e-2)
    send(live.settings, [pool, replace(demand, services=(*demand.services, hardly))])
    eventually(lambda: commands(live, Action.PROVISION, "a"), 60)

    live.run("control", "challenge", "default", "bold", "--price", "0.01")
    eventually(lambda: [v for v in verdicts(live) if v.challenger == "bold" and v.service == "b"])
    assert commands(live, Action.PROVISION, "b") == []
    told = [r for r in live.records("trials") if isinstance(r, Trial)]
    assert [score.variant for score in told[-1].scores] == ["standard", "bold"]
    assert "standard (in force)" in live.run("control", "trial")
    eventually(
        lambda: live.query("SELECT 1 FROM verdicts WHERE (service, challenger) = ('b', 'bold')")
    )
    eventually(lambda: live.rows("trials") == 2)
    champions = live.query("SELECT variant, champion, net = worth - cost FROM trials")
    assert sorted(champions) == [("bold", False, True), ("standard", True, True)]
    assert "no instance of b was started" in live.run("explain", "--service", "b")
    theirs = live.run("explain", "--service", "b", "--challenger", "bold")
    assert "challenger bold would have decided, on paper" in theirs

    live.run("control", "promote", "default", "bold")
    eventually(lambda: commands(live, Action.PROVISION, "b"))
    assert first_of(live, "b") - written_ms(live, "control", 2) < 1000 * EFFECT_S
    live.run("control", "promote", "default", "bold")
    assert "bold (in force)" in live.run("control", "trial", "default")


def test_a_decision_and_its_absence_are_explained_from_the_database(live: Live) -> None:
    send(live.settings, catalog_of(constituent("a"), constituent("b")))
    live.worker("allocator")
    live.sink()
    at_ms = wall_ms()
    hardly = ServiceDemand(service="only-b", tier="gold", expected=1e-2)
    pool, demand = wanted(at_ms)
    assert isinstance(demand, Demand)
    send(live.settings, [pool, replace(demand, services=(*demand.services, hardly))])
    eventually(lambda: live.rows("verdicts") >= 2, 60)

    (command, *_) = commands(live, Action.PROVISION, "a")
    eventually(lambda: live.rows("commands"))
    (why,) = json.loads(live.run("explain", command.command_id, "--output", "json"))
    assert why["reason"] == command.reason
    assert why["verdict"]["choice"] == Choice.START
    assert why["verdict"]["expected"] == [{"service": "only-a", "tier": "gold", "requests": 1.0}]

    gone = replace(
        warm("a", "a-1", command.command_id),
        pool="default",
        gone_ms=at_ms,
        state=InstanceState.GONE,
        reason="crashed: Kubernetes made no pod: exceeded quota: small",
    )
    send(live.settings, [gone])
    eventually(lambda: live.rows("instances"))
    assert "a-1 crashed: Kubernetes made no pod" in live.run("explain", command.command_id)

    later = str(at_ms + 5_000)
    (why_not,) = json.loads(
        live.run("explain", "--service", "b", "--at", later, "--output", "json")
    )
    assert why_not["verdict"]["choice"] == Choice.LEAVE
    assert why_not["warm"] == 0
    assert any("expected requests" in sentence for sentence in why_not["what_would_change"])
    assert "no instance of b was started" in live.run("explain", "--service", "b")
    told = verdicts(live)
    assert live.rows("verdicts") == len(
        {(v.service, v.at_ms, v.command_id, v.challenger) for v in told}
    )
