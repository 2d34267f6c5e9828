from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
import pytest
from harness import Eventually, RunForemesh, code_of

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import connect, consumer_config, producer_config
from streams.adapters.postgres.maintenance import migrate
from streams.adapters.postgres.rows import Column
from streams.adapters.postgres.sink import PostgresSink, ReceivedRecord, SinkEntry
from streams.adapters.postgres.tables import STORED_TABLES
from streams.engine.producer import CheckedProducer
from streams.errors import DatabaseBusy, DatabaseUnreachable
from streams.flow.topology import key_of, topic_of
from streams.pipeline.sink import RecordSink
from streams.records import (
    Action,
    Command,
    DeadLetter,
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
from streams.records.trials import Score, Trial
from streams.runtime.ports import free_port
from streams.settings import Settings

NOW = 1_700_000_000_000

PREDICTION = Prediction(
    request_id="r1",
    user="ann",
    services=(
        ServiceProbability(service='a "quoted\\" one, {with} commas', probability=0.7, within=0.2),
        ServiceProbability(service="pay", probability=0.2, within=0.1),
    ),
    unseen=0.1,
    horizon_ms=60_000,
    expected_ms=(1_000, 5_000, 90_000),
    made_ms=NOW,
    expires_ms=NOW + 90_000,
    model="m1",
)
RECEIVED = ReceivedRecord(topic="t", partition=0, offset=0, at_ms=0, key=None, value=None)
COMMAND = Command(
    command_id="c1",
    pool="default",
    action=Action.PROVISION,
    service="base",
    count=2,
    value=1.5,
    cost=0.5,
    priority=0.0,
    issued_ms=NOW,
    expires_ms=NOW + 1_000,
    reason="worth 1.5, costs 0.5",
)
INSTANCE = Instance(
    instance_id="i1",
    service="base",
    pool="default",
    state=InstanceState.WARM,
    endpoint="http://127.0.0.1:1",
    command_id="c1",
    started_ms=NOW,
    changed_ms=NOW + 100,
    warm_since_ms=NOW + 100,
)
UTILISATION = Utilisation(
    pool="default", at_ms=NOW, capacity=Resources(cpu=4000), used=Resources(cpu=500)
)
OUTCOME = Outcome(
    request_id="r1",
    user="ann",
    tier="standard",
    pool="default",
    service="pay",
    at_ms=NOW,
    result=Result.PARTIAL,
    route=Route.STANDARD,
    status=200,
    latency_ms=12.5,
    cold_ms=900,
    saved_ms=100,
    parts=(Part(service="base", warm=True), Part(service="lora", warm=False, warm_up_ms=900)),
)
LETTER = DeadLetter(
    topic="requests",
    partition=0,
    offset=7,
    stage="profiler",
    reason="empty",
    at_ms=NOW,
    key=None,
    value=b"\xff" * 5_000,
)
TRIAL = Trial(
    pool="default",
    since_ms=NOW,
    at_ms=NOW + 2_000,
    scores=(Score(variant="standard", requests=3), Score(variant="bold", requests=3, worth=1.5)),
)
CONTROL = Control(pool="default", reason="a sale", by="ann", at_ms=NOW)
ALL: tuple[Record, ...] = (
    PREDICTION,
    COMMAND,
    TRIAL,
    CONTROL,
    INSTANCE,
    UTILISATION,
    OUTCOME,
    LETTER,
)
ROWS = {
    "predictions": 1,
    "prediction_history": 1,
    "commands": 1,
    "trials": 2,
    "controls": 1,
    "instances": 1,
    "utilisation": 1,
    "outcomes": 1,
    "outcome_parts": 2,
    "dead_letters": 1,
}

Send = Callable[[Iterable[Record]], None]


@pytest.fixture
def send(settings: Settings, topics: list[str]) -> Send:
    assert topics
    producer = CheckedProducer(producer_config(settings))

    def deliver(records: Iterable[Record]) -> None:
        for record in records:
            producer.send(settings.topic(topic_of(record)), key_of(record), codec.encode(record))
        producer.flush(10)

    return deliver


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """A sink at work."""
    sink = RecordSink(settings)
    thread = threading.Thread(target=sink.run)
    thread.start()
    try:
        yield
    finally:
        sink.stop()
        thread.join(20)
        assert not thread.is_alive()


def ask(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.postgres) as connection:
        return connection.execute(query.encode()).fetchall()


def counts(settings: Settings) -> dict[str, object]:
    return {table: ask(settings, f"SELECT count(*) FROM {table}")[0][0] for table in ROWS}


def forget_offsets(settings: Settings) -> None:
    client = connect(settings)
    for future in client.delete_consumer_groups([settings.group("sink")]).values():
        future.result(10)


def test_every_record_arrives_in_its_table(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    send(ALL)

    with running(settings):
        eventually(lambda: counts(settings) == ROWS)

    assert ask(settings, "SELECT service, probability, within FROM predicted_services") == [
        ('a "quoted\\" one, {with} commas', 0.7, 0.2),
        ("pay", 0.2, 0.1),
    ]
    assert ask(settings, "SELECT value_bytes, length(value_start) FROM dead_letters") == [
        (5_000, 1_024)
    ]


def test_reading_the_topics_again_changes_no_row_count(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    send(ALL)
    with running(settings):
        eventually(lambda: counts(settings) == ROWS)

    forget_offsets(settings)
    send([*ALL, replace(OUTCOME, request_id="last")])
    with running(settings):
        eventually(lambda: ask(settings, "SELECT FROM outcomes WHERE request_id = 'last'"))

    assert counts(settings) == {**ROWS, "outcomes": 2, "outcome_parts": 4}


def test_of_two_users_with_one_request_id_both_keep_their_rows(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    send(replace(record, user=user) for user in ("ann", "eve") for record in (PREDICTION, OUTCOME))

    with running(settings):
        eventually(lambda: counts(settings)["outcomes"] == 2)
        eventually(lambda: counts(settings)["prediction_history"] == 2)

    parts = "SELECT user_id, count(*) FROM outcome_parts GROUP BY user_id ORDER BY user_id"
    assert ask(settings, parts) == [("ann", 2), ("eve", 2)]


def test_of_a_key_the_newest_holds_whatever_the_order(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    late = replace(PREDICTION, request_id="r2", made_ms=NOW + 5)
    gone = replace(INSTANCE, state=InstanceState.GONE, changed_ms=NOW + 900, gone_ms=NOW + 900)
    longer = replace(TRIAL, at_ms=NOW + 9_000, scores=(Score(variant="standard", requests=7),))
    send([late, gone, longer, PREDICTION, INSTANCE, TRIAL, OUTCOME])

    with running(settings):
        eventually(lambda: counts(settings)["prediction_history"] == 2)
        eventually(lambda: counts(settings)["outcomes"] == 1)
        eventually(lambda: counts(settings)["trials"] == 2)

    assert ask(settings, "SELECT requests FROM trials WHERE champion") == [(7,)]
    assert ask(settings, "SELECT request_id FROM predictions") == [("r2",)]
    assert ask(settings, "SELECT state FROM instances") == [("gone",)]


def test_text_that_postgresql_cannot_store_is_shown_instead(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    odd = ServiceProbability(service="a\0b", probability=1.0, within=float("nan"))
    send([replace(OUTCOME, user="a\0b"), replace(PREDICTION, services=(odd,), user="a\0b")])

    with running(settings):
        eventually(lambda: ask(settings, "SELECT FROM outcomes WHERE user_id = 'a\u2400b'"))
        eventually(
            lambda: ask(settings, "SELECT FROM predicted_services WHERE service = 'a\u2400b'")
        )


def test_a_time_beyond_the_calendar_is_stored(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    send([replace(OUTCOME, at_ms=2**63 - 1), replace(OUTCOME, request_id="r2", at_ms=-(2**63))])

    with running(settings):
        eventually(lambda: counts(settings)["outcomes"] == 2)

    assert ask(settings, "SELECT extract(year FROM at) FROM outcomes ORDER BY at") == [
        (1,),
        (9999,),
    ]
    assert ask(settings, "SELECT count(*) FROM hit_rate") == [(2,)]
    assert ask(settings, "SELECT count(*) FROM saved_and_wasted") == [(4,)]


def test_a_record_that_cannot_be_stored_hurts_only_itself(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    others = [replace(OUTCOME, request_id=f"r{n}") for n in range(50)]
    poison = replace(OUTCOME, request_id="".join(chr(0x4E00 + n) for n in range(20_000)))
    send([*others[:25], poison, *others[25:]])

    with running(settings):
        eventually(lambda: counts(settings)["dead_letters"] == 1)
        eventually(lambda: counts(settings)["outcomes"] == 50)

    ((stage, reason),) = ask(settings, "SELECT stage, reason FROM dead_letters")
    assert stage == "sink"
    assert "index row" in str(reason)


def test_a_record_of_which_no_row_can_be_made_is_a_dead_letter(settings: Settings) -> None:
    broken = replace(
        next(table for table in STORED_TABLES if table.record is Outcome),
        columns=(Column("request_id", lambda row: [][row.offset]),),
    )
    received = ReceivedRecord(
        topic="outcomes", partition=1, offset=7, at_ms=NOW, key=b"ann", value=b"x"
    )
    sink = PostgresSink(settings.postgres, tables=[broken])

    (letter,) = sink.write([SinkEntry(OUTCOME, received)])
    assert (letter.topic, letter.partition, letter.offset) == ("outcomes", 1, 7)
    assert "list index out of range" in letter.reason


def test_an_undecodable_record_that_no_stage_reports_becomes_a_dead_letter(
    settings: Settings, topics: list[str], eventually: Eventually
) -> None:
    assert topics
    producer = CheckedProducer(producer_config(settings))
    producer.send(settings.topic("instances"), b"i1", b"\x00noise")
    producer.send(settings.topic("outcomes"), b"ann", b"\x00noise")  # feedback reports this one
    producer.send(settings.topic("predictions"), b"ann", None)
    producer.flush(10)

    with running(settings):
        eventually(lambda: counts(settings)["dead_letters"] == 1)

    ((topic, reason),) = ask(settings, "SELECT kafka_topic, reason FROM dead_letters")
    assert topic == "instances"
    assert "starts with 00 6e" in str(reason)


def test_a_connection_that_is_cut_is_opened_again(
    settings: Settings, send: Send, eventually: Eventually
) -> None:
    send([OUTCOME])
    with running(settings):
        eventually(lambda: counts(settings)["outcomes"] == 1)
        ask(
            settings,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        send([replace(OUTCOME, request_id="r2")])
        eventually(lambda: counts(settings)["outcomes"] == 2)


def test_a_lock_is_not_waited_for_without_end(settings: Settings) -> None:
    sink = PostgresSink(settings.postgres, timeout_s=0.2)
    received = ReceivedRecord(topic="t", partition=0, offset=0, at_ms=0, key=None, value=None)

    with psycopg.connect(settings.postgres) as other:
        other.execute("LOCK TABLE outcomes")
        with pytest.raises(DatabaseUnreachable, match="holds a lock on a table"):
            sink.write([SinkEntry(OUTCOME, received)])

    assert sink.write([SinkEntry(OUTCOME, received)]) == []
    sink.close()


def before_insert(settings: Settings, statement: str) -> None:
    """Have each outcome that is inserted execute a statement first."""
    with psycopg.connect(settings.postgres) as connection:
        connection.execute(
            "CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {statement}; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER first BEFORE INSERT ON outcomes FOR EACH ROW EXECUTE FUNCTION first()"
        )


@pytest.mark.parametrize("said", ["'no'", "'no space left' USING ERRCODE = 'disk_full'"])
def test_a_server_that_refuses_is_no_missing_server(settings: Settings, said: str) -> None:
    before_insert(settings, f"RAISE EXCEPTION {said}")
    sink = PostgresSink(settings.postgres)

    with pytest.raises(DatabaseUnreachable, match=r"answers, and refuses what .*\(no"):
        sink.write([SinkEntry(OUTCOME, RECEIVED)])
    sink.close()


def test_a_server_that_lets_nobody_in_is_no_missing_server(settings: Settings) -> None:
    nowhere = f"{settings.postgres}_that_is_not_there"
    with pytest.raises(DatabaseUnreachable, match="PostgreSQL answers, and refuses the conn"):
        PostgresSink(nowhere).write([SinkEntry(OUTCOME, RECEIVED)])


def test_a_slow_statement_is_no_missing_server(settings: Settings) -> None:
    before_insert(settings, "PERFORM pg_sleep(5)")
    sink = PostgresSink(settings.postgres, timeout_s=0.2)

    with pytest.raises(DatabaseBusy, match="not in time"):
        sink.write([SinkEntry(OUTCOME, RECEIVED)])
    sink.close()


def test_a_batch_that_takes_too_long_is_written_in_parts(
    settings: Settings, eventually: Eventually
) -> None:
    before_insert(settings, "PERFORM pg_sleep(0.1)")
    sink = PostgresSink(settings.postgres, timeout_s=0.5)
    batch = [SinkEntry(replace(OUTCOME, request_id=f"r{i}"), RECEIVED) for i in range(12)]

    def written() -> bool:
        with suppress(DatabaseBusy):
            return sink.write(batch) == []
        return False

    eventually(written)
    assert counts(settings)["outcomes"] == len(batch)
    sink.close()


def test_a_missing_column_is_named_and_not_waited_for(
    settings: Settings, send: Send, run_foremesh: RunForemesh
) -> None:
    with psycopg.connect(settings.postgres) as connection:
        connection.execute("ALTER TABLE dead_letters DROP COLUMN sha256")
    send([OUTCOME])

    sink = run_foremesh("sink")

    assert sink.wait(30) == 1
    assert 'column "sha256"' in sink.output
    assert "run `foremesh db migrate`" in sink.output


@contextmanager
def away(settings: Settings) -> Iterator[None]:
    """A database that is not there, as far as its URL says."""
    name = settings.postgres.rpartition("/")[2]
    with psycopg.connect(settings.postgres.replace(name, "postgres"), autocommit=True) as server:
        gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        server.execute(gone, [name])
        server.execute(f"ALTER DATABASE {name} RENAME TO {name}_away".encode())
        try:
            yield
        finally:
            server.execute(f"ALTER DATABASE {name}_away RENAME TO {name}".encode())


def test_a_database_that_is_away_for_longer_than_kafka_is_patient_is_waited_for(
    settings: Settings,
    send: Send,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def impatient(settings: Settings, group: str) -> dict[str, object]:
        return {**consumer_config(settings, group), "max.poll.interval.ms": settings.session_ms}

    monkeypatch.setattr("streams.pipeline.sink.consumer_config", impatient)
    send([OUTCOME])
    with running(settings):
        eventually(lambda: counts(settings)["outcomes"] == 1)
        with away(settings):
            send([replace(OUTCOME, request_id="r2")])
            time.sleep(2 * settings.session_ms / 1000)
        send([replace(OUTCOME, request_id="r3")])

        eventually(lambda: counts(settings)["outcomes"] == 3, 30)
    assert len([one for one in caplog.records if getattr(one, "action", "") == "sink_waits"]) == 1


def test_killing_the_command_loses_nothing_and_doubles_nothing(
    settings: Settings, send: Send, run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    send(replace(OUTCOME, request_id=f"r{n}", user=f"u{n % 50}") for n in range(20_000))
    first = run_foremesh("sink")
    eventually(lambda: counts(settings)["outcomes"])
    first.kill()
    second = run_foremesh("sink")

    eventually(lambda: counts(settings)["outcomes"] == 20_000, 60)
    assert counts(settings)["outcome_parts"] == 40_000
    assert second.stop() == 0, second.output


def test_the_command_ends_cleanly_when_told_to(
    settings: Settings, send: Send, run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    send(ALL)
    command = run_foremesh("sink")
    eventually(lambda: counts(settings) == ROWS)

    assert command.stop() == 0, command.output


def test_the_command_waits_for_tables_and_is_alive_but_not_ready_meanwhile(
    settings: Settings, send: Send, run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    with psycopg.connect(settings.postgres) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    send([OUTCOME])
    port = free_port()
    command = run_foremesh("sink", "--metrics-port", str(port))
    eventually(lambda: "Waiting for PostgreSQL: The database lacks" in command.output, 30)
    at = f"http://127.0.0.1:{port}"
    assert (code_of(f"{at}/metrics"), code_of(f"{at}/ready")) == (200, 503)

    migrate(settings.postgres)

    eventually(lambda: counts(settings)["outcomes"] == 1, 30)
    assert code_of(f"{at}/ready") == 200
    assert command.stop() == 0, command.output


def test_the_command_ends_when_told_to_while_it_waits(
    topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    del topics
    command = run_foremesh("sink", FOREMESH_POSTGRES="postgresql://127.0.0.1:1/foremesh")
    eventually(lambda: "Waiting for PostgreSQL: No PostgreSQL answers" in command.output, 30)

    assert command.stop() == 0, command.output
