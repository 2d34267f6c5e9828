from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from harness import RunForemesh

from streams.adapters.postgres import connection
from streams.adapters.postgres.maintenance import prune
from streams.adapters.postgres.queries import (
    HistoryRange,
    count_outcomes,
    latest_prediction,
    read_history,
)
from streams.adapters.postgres.sink import PostgresSink, ReceivedRecord, SinkEntry
from streams.errors import DatabaseBusy, DatabaseUnreachable
from streams.records import (
    Action,
    Command,
    Instance,
    InstanceState,
    Outcome,
    Part,
    Prediction,
    Record,
    Result,
    Route,
    ServiceProbability,
    Utilisation,
)
from streams.records.catalog import Resources
from streams.records.control import Control
from streams.report.summary import summarise
from streams.report.tables import iso_time
from streams.settings import Settings

HOUR = 3_600_000
NOW = 1_700_000_000_000 - 1_700_000_000_000 % HOUR

PREDICTION = Prediction(
    request_id="r1",
    user="ann",
    services=(
        ServiceProbability(service="checkout", probability=0.75, within=0.5),
        ServiceProbability(service="search", probability=0.125, within=0.25),
    ),
    unseen=0.125,
    horizon_ms=60_000,
    expected_ms=(1_000, 30_000, 900_000),
    made_ms=NOW,
    expires_ms=NOW + 900_000,
    model="m1",
)
OUTCOME = Outcome(
    request_id="r1",
    user="ann",
    tier="gold",
    pool="default",
    service="checkout",
    at_ms=NOW + HOUR,
    result=Result.HIT,
    route=Route.PREALLOCATED,
    status=200,
    latency_ms=12.5,
    cold_ms=0,
    saved_ms=900,
    parts=(),
)
INSTANCE = Instance(
    instance_id="i1",
    service="pricing",
    pool="default",
    state=InstanceState.GONE,
    endpoint="http://127.0.0.1:1",
    command_id="c1",
    started_ms=NOW,
    changed_ms=NOW + 2 * HOUR,
    warm_since_ms=NOW + HOUR // 2,
    gone_ms=NOW + 3 * HOUR // 2,
    uses=2,
    busy_ms=HOUR // 4,
)
COMMAND = Command(
    command_id="c1",
    pool="default",
    action=Action.PROVISION,
    service="pricing",
    count=1,
    value=1.5,
    cost=0.5,
    priority=0.0,
    issued_ms=NOW,
    expires_ms=NOW + 1_000,
    reason="worth it",
    tier="gold",
)


def store(settings: Settings, records: Sequence[Record]) -> None:
    sink = PostgresSink(settings.postgres)
    entries = [
        SinkEntry(
            record, ReceivedRecord(topic="t", partition=0, offset=n, at_ms=0, key=None, value=None)
        )
        for n, record in enumerate(records)
    ]
    assert sink.write(entries) == []
    sink.close()


def ask(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.postgres) as connection:
        return connection.execute(query.encode()).fetchall()


def test_what_was_written_is_read_as_it_was(settings: Settings) -> None:
    store(settings, [PREDICTION, OUTCOME, INSTANCE, COMMAND])

    history = read_history(settings.postgres)

    assert history.outcomes == [OUTCOME]
    assert history.instances == [INSTANCE]
    assert history.commands == [COMMAND]
    assert latest_prediction(settings.postgres, "ann") == PREDICTION
    assert latest_prediction(settings.postgres, "b\0b") is None


def test_a_window_reaches_back_from_the_newest_outcome(settings: Settings) -> None:
    early = replace(OUTCOME, request_id="r0", at_ms=OUTCOME.at_ms - 5_000)
    store(settings, [early, OUTCOME])

    def found(part: HistoryRange) -> list[Outcome]:
        return read_history(settings.postgres, part).outcomes

    assert found(HistoryRange(last_ms=1_000)) == [OUTCOME]
    assert len(found(HistoryRange(last_ms=5_000))) == 2
    assert found(HistoryRange(last_ms=1_000, until_ms=OUTCOME.at_ms)) == [early]
    assert found(HistoryRange(from_ms=OUTCOME.at_ms)) == [OUTCOME]


def test_the_outcomes_of_a_pool_are_counted(settings: Settings) -> None:
    elsewhere = replace(OUTCOME, request_id="elsewhere", pool="other")
    store(settings, [OUTCOME, elsewhere, replace(OUTCOME, request_id="again")])

    assert count_outcomes(settings.postgres, "default") == 2


def test_a_database_without_tables_is_said_with_its_fix(settings: Settings) -> None:
    with psycopg.connect(settings.postgres) as connection:
        connection.execute("DROP TABLE outcomes CASCADE")

    with pytest.raises(DatabaseUnreachable, match="foremesh db migrate"):
        read_history(settings.postgres)


def test_the_report_is_the_same_for_people_and_programs(
    settings: Settings, run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    store(settings, [OUTCOME, INSTANCE, COMMAND])
    figure = tmp_path / "report.png"

    table = run_foremesh("report", "--since", "1h", "--figure", str(figure)).finish()
    pools = json.loads(run_foremesh("report", "--output", "json").finish())["pools"]

    assert "12.5" in table
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert pools["default"]["hit_rate"] == 1.0
    assert pools["default"]["instances"]["tiers"]["gold"]["wasted_s"] == 2_700.0


def test_the_report_of_a_log_says_what_is_not_known_from_it(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    observed = replace(OUTCOME, route=Route.OBSERVED, status=0, latency_ms=0.0)
    store(settings, [observed, replace(INSTANCE, endpoint="", busy_ms=0), COMMAND])

    table = run_foremesh("report").finish()
    pools = json.loads(run_foremesh("report", "--output", "json").finish())["pools"]

    assert table.count("not known from a log") == 2
    assert "100.0" not in table.partition("Time of instances")[2]
    assert pools["default"]["instances"]["wasted_s"] is None
    assert pools["default"]["latency_ms"]["p95"] is None


def test_logs_on_one_stack_are_reported_apart_by_pool_and_by_time(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    later = replace(OUTCOME, request_id="r2", at_ms=NOW + 24 * HOUR, result=Result.MISS)
    elsewhere = replace(OUTCOME, request_id="r3", pool="other", result=Result.PARTIAL)
    young = replace(
        INSTANCE, instance_id="i2", started_ms=later.at_ms, changed_ms=later.at_ms + HOUR,
        warm_since_ms=later.at_ms, gone_ms=later.at_ms + HOUR,
    )  # fmt: skip
    store(settings, [OUTCOME, later, elsewhere, INSTANCE, young, COMMAND])

    def reported(*options: str) -> dict[str, tuple[float, float]]:
        said = run_foremesh("report", "--output", "json", *options).finish()
        pools = json.loads(said)["pools"].items()
        return {name: (pool["hit_rate"], pool["instances"]["warm_s"]) for name, pool in pools}

    noon = iso_time(NOW + 12 * HOUR)
    assert reported("--pool", "other") == {"other": (0.0, 0.0)}
    assert reported("--pool", "default", "--until", noon) == {"default": (1.0, 3_600.0)}
    assert reported("--from", noon) == {"default": (0.0, 3_600.0)}
    half = iso_time(NOW + HOUR)
    assert reported("--pool", "default", "--from", half, "--until", noon) == {
        "default": (1.0, 1_800.0)
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "yesterday"], "'yesterday' is none of 2026-01-31"),
        (
            ["--from", "2026-02-01", "--until", "2026-01-31"],
            "--from has to be earlier than --until",
        ),
        (["--from", "2026-02-01", "--since", "1h"], "give either --from or --since"),
        (["--pool", "nowhere"], "no request or instance is known of this pool and time"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(
    run_foremesh: RunForemesh, options: list[str], said: str
) -> None:
    command = run_foremesh("report", *options)

    assert command.wait() != 0
    assert said in command.output


def test_a_vector_is_shown_as_table_and_as_json(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    store(settings, [PREDICTION])

    assert "75.00" in run_foremesh("predict", "ann").finish()
    found = json.loads(run_foremesh("predict", "ann", "--output", "json").finish())
    assert found["horizon_ms"] == PREDICTION.horizon_ms
    assert {key: found[key] for key in ("userID", "serviceProbabilities")} == {
        "userID": "ann",
        "serviceProbabilities": [
            {"serviceID": "checkout", "probability": 0.75},
            {"serviceID": "search", "probability": 0.125},
        ],
    }


def test_a_user_never_seen_is_said_to_be_unknown(run_foremesh: RunForemesh) -> None:
    command = run_foremesh("predict", "nobody")

    assert command.wait() == 1
    assert "nothing is known of user 'nobody'" in command.output


def test_a_user_that_is_no_text_is_told_in_a_sentence(run_foremesh: RunForemesh) -> None:
    command = run_foremesh("predict", "\udcff")  # a byte that is no UTF-8

    assert command.wait() == 2
    assert command.output == "foremesh: '\\udcff' is no text in UTF-8\n"


def test_what_is_old_is_deleted_counted_back_from_the_newest_prediction(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    part = Part(service="pricing", warm=True)
    old = replace(OUTCOME, at_ms=NOW - HOUR, parts=(part,))
    running = replace(INSTANCE, state=InstanceState.WARM, gone_ms=None)
    young = replace(OUTCOME, request_id="r2", parts=(part,))
    store(settings, [PREDICTION, old, replace(COMMAND, issued_ms=0), running, young])

    would = run_foremesh("db", "prune", "--keep", "30m", "--dry-run").finish()
    said = run_foremesh("db", "prune", "--keep", "30m").finish()

    assert re.search(r"^3 rows would be deleted", would, re.MULTILINE)
    assert re.search(r"^outcomes +1 *$", said, re.MULTILINE)
    counts = [
        ask(settings, f"SELECT count(*) FROM {table}")[0][0]
        for table in ("predictions", "outcomes", "outcome_parts", "commands", "instances")
    ]
    assert counts == [1, 1, 1, 0, 1]


def test_a_lock_that_somebody_holds_is_told_and_nothing_is_deleted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOCK_MS", 200)
    store(settings, [PREDICTION, replace(OUTCOME, at_ms=NOW - HOUR)])
    with connection.connect(settings.postgres) as holder:
        holder.execute("LOCK TABLE outcomes IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(DatabaseBusy, match="Somebody holds a lock"):
            prune(settings.postgres, keep_ms=1_000)

    assert ask(settings, "SELECT count(*) FROM outcomes") == [(1,)]


def test_who_changed_what_is_never_deleted(settings: Settings, run_foremesh: RunForemesh) -> None:
    store(settings, [PREDICTION, Control(pool="default", by="ann", at_ms=1)])

    run_foremesh("db", "prune", "--keep", "1s").finish()

    assert ask(settings, "SELECT said_by FROM controls") == [("ann",)]


# --------------------------------------------------------------------------- views


def test_what_is_queued_waits_until_served_replaced_or_expired(settings: Settings) -> None:
    queued = replace(COMMAND, action=Action.QUEUE, expires_ms=NOW + 1_000)
    store(
        settings,
        [
            replace(queued, command_id="served", service="a"),
            replace(COMMAND, command_id="p", service="a", issued_ms=NOW + 400),
            replace(queued, command_id="replaced", service="b"),
            replace(queued, command_id="expired", service="b", issued_ms=NOW + 500),
            replace(COMMAND, command_id="late", service="b", issued_ms=NOW + 5_000),
            replace(queued, command_id="waiting", service="c", expires_ms=NOW + 9_000),
            replace(COMMAND, command_id="r", action=Action.RELEASE, service="c"),
        ],
    )

    found = ask(settings, "SELECT command_id, state, ended_by, waited_ms FROM queue ORDER BY 1")

    assert found == [
        ("expired", "expired", None, 500),
        ("replaced", "replaced", "expired", 500),
        ("served", "served", "p", 400),
        ("waiting", "waiting", None, 5_000),
    ]


def test_saved_and_wasted_time_is_split_by_hour_service_and_tier(settings: Settings) -> None:
    parts = (
        Part(service="pricing", warm=True),
        Part(service="stock", warm=True),
        Part(service="payment", warm=False, wait_ms=500),
    )
    store(settings, [replace(OUTCOME, parts=parts), INSTANCE, COMMAND])

    found = ask(
        settings,
        "SELECT extract(hour FROM hour) - extract(hour FROM min(hour) OVER ()), service, tier,"
        " saved_s, waited_s, warm_s, used_s, wasted_s FROM saved_and_wasted ORDER BY 1, 2",
    )

    assert found == [
        (0, "pricing", "gold", 0.0, 0.0, 1_800.0, 450.0, 1_350.0),
        (1, "payment", "gold", 0.0, 0.5, 0.0, 0.0, 0.0),
        (1, "pricing", "gold", 0.45, 0.0, 1_800.0, 450.0, 1_350.0),
        (1, "stock", "gold", 0.45, 0.0, 0.0, 0.0, 0.0),
    ]


def test_one_request_id_of_two_users_shares_and_doubles_nothing(settings: Settings) -> None:
    mine = replace(OUTCOME, parts=(Part(service="pricing", warm=True),))
    theirs = replace(mine, user="eve", tier="standard", at_ms=mine.at_ms + 1)
    store(settings, [mine, theirs, replace(INSTANCE, command_id="standard/r1")])

    found = ask(
        settings,
        "SELECT tier, sum(saved_s), sum(warm_s) FROM saved_and_wasted GROUP BY tier ORDER BY tier",
    )

    assert found == [("gold", 0.9, 3_600.0), ("standard", 0.9, 0.0)]


def test_views_leave_open_what_a_log_does_not_tell(settings: Settings) -> None:
    observed = replace(OUTCOME, route=Route.OBSERVED, latency_ms=0.0, parts=())
    store(settings, [observed, replace(INSTANCE, endpoint="", busy_ms=0), COMMAND])

    used = ask(settings, "SELECT DISTINCT used_s, wasted_s FROM saved_and_wasted")
    latency = ask(settings, "SELECT hit_rate, latency_p50_ms, latency_p99_ms FROM hit_rate")

    assert used == [(None, None)]
    assert latency == [(1.0, None, None)]


def test_views_know_how_long_a_log_says_that_simulated_instances_served(
    settings: Settings,
) -> None:
    observed = replace(OUTCOME, route=Route.OBSERVED, latency_ms=0.0, parts=())
    store(settings, [observed, replace(INSTANCE, endpoint=""), COMMAND])

    found = ask(settings, "SELECT sum(used_s), sum(wasted_s) FROM saved_and_wasted")

    assert found == [(900.0, 2_700.0)]


def test_what_a_wait_for_a_busy_instance_spared_is_shared_between_all_that_were_waited_for(
    settings: Settings,
) -> None:
    parts = tuple(Part(service=name, warm=False, wait_ms=100) for name in ("pricing", "stock"))
    store(settings, [replace(OUTCOME, parts=parts, cold_ms=200, saved_ms=900)])

    found = ask(settings, "SELECT service, saved_s FROM saved_and_wasted ORDER BY 1")

    assert found == [("pricing", 0.45), ("stock", 0.45)]


def test_the_report_and_the_view_count_what_is_warm_up_to_one_time(settings: Settings) -> None:
    soon = replace(
        INSTANCE, instance_id="soon", warm_since_ms=NOW + 3 * HOUR, changed_ms=NOW + 3 * HOUR
    )
    used = Utilisation(
        pool="default", at_ms=NOW + 2 * HOUR, capacity=Resources(cpu=1), used=Resources(cpu=1)
    )
    store(settings, [OUTCOME, replace(INSTANCE, gone_ms=None), soon, COMMAND, used])

    history = read_history(settings.postgres)
    found = summarise(history.outcomes, history.instances, history.commands, clocks=history.clocks)

    ((seen,),) = ask(settings, "SELECT sum(warm_s) FROM saved_and_wasted")
    assert found.pools["default"].instances.warm_s == pytest.approx(seen)


def test_real_instances_used_past_foremesh_are_not_said_to_be_wasted(settings: Settings) -> None:
    store(settings, [replace(OUTCOME, route=Route.OBSERVED), INSTANCE, COMMAND])

    assert ask(settings, "SELECT DISTINCT wasted_s FROM saved_and_wasted") == [(None,)]


def test_hit_rates_are_counted_by_hour(settings: Settings) -> None:
    miss = replace(OUTCOME, request_id="r2", result=Result.MISS, latency_ms=100.0, cold_ms=80)
    store(settings, [OUTCOME, miss, replace(miss, request_id="r3", at_ms=NOW)])

    found = ask(
        settings,
        "SELECT requests, hits, misses, hit_rate, cold_ms, latency_p50_ms FROM hit_rate"
        " ORDER BY hour",
    )

    assert found == [(1, 0, 1, 0.0, 80, 100.0), (2, 1, 1, 0.5, 80, 56.25)]
