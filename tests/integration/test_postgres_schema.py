from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from streams.adapters.postgres.maintenance import migrate, newer, pending
from streams.adapters.postgres.sql import migrations, schema
from streams.devstack import LocalStack
from streams.errors import DatabaseUnreachable, SettingInvalid
from streams.settings import Settings

# All that a schema consists of, each as text to compare.
CATALOGUE = {
    "columns": """
        SELECT c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
            col_description(c.oid, a.attnum), obj_description(c.oid, 'pg_class')
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace ORDER BY c.relname, a.attnum""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "constraints": """
        SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 1""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "functions": """
        SELECT pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
    "types": """
        SELECT t.typname, e.enumlabel FROM pg_enum AS e JOIN pg_type AS t ON t.oid = e.enumtypid
        ORDER BY t.typname, e.enumsortorder""",
}

EARLIER_ROWS = """
    INSERT INTO outcomes VALUES ('r1', 'ann', 'gold', 'default', 'checkout', 1, 'hit', 'observed', 0, 0, 0, 0, 'log');
    INSERT INTO outcome_parts VALUES ('r1', 1, 'pricing', true, 'i1', 0, 0, null)"""


@pytest.fixture
def empty_database(stack: LocalStack, settings: Settings) -> Iterator[str]:
    name = f"{settings.prefix.rstrip('-')}_empty"
    yield stack.postgres.create(name)
    stack.postgres.drop(name)


def catalogue(url: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        found = {part: connection.execute(query).fetchall() for part, query in CATALOGUE.items()}
    return {
        part: [row for row in rows if "foremesh_migrations" not in str(row)]
        for part, rows in found.items()
    }


def test_all_migrations_together_give_the_schema(settings: Settings, empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute(schema())

    assert catalogue(settings.postgres) == catalogue(empty_database)


def test_migrating_twice_changes_nothing(empty_database: str) -> None:
    first, second = migrate(empty_database), migrate(empty_database)

    assert first == list(migrations())
    assert second == []
    assert pending(empty_database) == []


def test_asking_what_is_pending_changes_nothing(empty_database: str) -> None:
    assert pending(empty_database) == list(migrations())
    assert catalogue(empty_database)["columns"] == []


def test_what_a_later_release_applied_is_told(empty_database: str) -> None:
    assert newer(empty_database) == []
    migrate(empty_database, {**migrations(), "9000_later": "SELECT 1"})

    assert newer(empty_database) == ["9000_later"]
    assert pending(empty_database) == []


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE outcomes (x int)",
        "CREATE VIEW hit_rate AS SELECT 1 AS x",
        "CREATE TYPE request_route AS ENUM ('a')",
        "CREATE FUNCTION event_time(bigint) RETURNS int LANGUAGE sql RETURN 1",
    ],
)
def test_a_database_of_another_program_is_told_in_a_sentence_and_left_alone(
    empty_database: str, theirs: str
) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute(theirs)

    with pytest.raises(
        DatabaseUnreachable, match=r"set FOREMESH_POSTGRES to a database of its own"
    ):
        migrate(empty_database)

    assert pending(empty_database) == list(migrations())


def test_of_two_that_migrate_at_once_one_waits(empty_database: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = [name for names in pool.map(migrate, [empty_database] * 2) for name in names]

    assert applied == list(migrations())


def test_parts_of_an_earlier_release_get_the_user_of_their_outcome(empty_database: str) -> None:
    before = {name: text for name, text in migrations().items() if name < "0007"}
    migrate(empty_database, before)
    with psycopg.connect(empty_database) as connection:
        connection.execute(EARLIER_ROWS)

    migrate(empty_database)

    with psycopg.connect(empty_database) as connection:
        found = connection.execute("SELECT request_id, user_id, position FROM outcome_parts")
        assert found.fetchall() == [("r1", "ann", 1)]


def test_every_table_and_view_says_what_it_is(settings: Settings) -> None:
    columns = catalogue(settings.postgres)["columns"]
    silent = [row[0] for row in columns if row[1] in {"r", "v"} and not row[8]]

    assert silent == []


def test_nobody_there_is_said_in_a_sentence() -> None:
    with pytest.raises(DatabaseUnreachable, match=r"FOREMESH_POSTGRES.*refused"):
        migrate("postgresql://127.0.0.1:1/foremesh")


def test_a_server_that_refuses_a_role_is_not_taken_for_none(settings: Settings) -> None:
    with pytest.raises(
        DatabaseUnreachable, match=r"PostgreSQL answers, and refuses the connection: .*nobody-here"
    ):
        migrate(make_conninfo(settings.postgres, user="nobody-here"))


def test_an_unreadable_url_is_not_shown_since_it_holds_a_password() -> None:
    with pytest.raises(SettingInvalid) as caught:
        migrate("postgres//me:secret@host/foremesh")

    assert not re.search("secret", str(caught.value))


def test_a_server_that_only_reads_is_told_as_such(empty_database: str) -> None:
    mark = "&" if "?" in empty_database else "?"
    standby = f"{empty_database}{mark}options=-c%20default_transaction_read_only%3Don"

    with pytest.raises(DatabaseUnreachable, match="PostgreSQL only reads: set"):
        migrate(standby)
