"""The roles of the database and what each may do: what `foremesh acl postgres` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composable, Composed, Identifier

from streams.adapters.postgres.rows import StoredTable
from streams.adapters.postgres.sql import schema
from streams.adapters.postgres.tables import STORED_TABLES

__all__ = ["MIGRATIONS", "DatabaseRoles", "grants"]

MIGRATIONS = "foremesh_migrations"  # the table of those that were applied
SUMS = "requests_by_minute"  # written by a trigger, with the rights of who writes outcomes
_VIEW = re.compile(r"^CREATE VIEW (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRoles:
    """The names of those who connect; one may stand for several."""

    owner: str = "foremesh_owner"  # foremesh db, reset, forget
    writer: str = "foremesh_writer"  # foremesh sink
    reader: str = "foremesh_reader"  # foremesh dashboard, report, explain, predict, doctor


def grants(
    url: str, roles: DatabaseRoles, tables: Iterable[StoredTable] = STORED_TABLES
) -> Iterator[str]:
    """The SQL that gives the roles their rights and no more, a statement each.

    Those of the owner come first: `foremesh db migrate` makes what the others are on.

    Parameters
    ----------
    url
        Of the database.
    roles
        Their names.
    tables
        Those that the sink writes to.
    """
    database = conninfo_to_dict(url).get("dbname") or "foremesh"
    for statement in _grants(Identifier(str(database)), roles, tuple(tables)):
        yield f"{statement.as_string(None)};"


def _grants(
    database: Identifier, roles: DatabaseRoles, tables: tuple[StoredTable, ...]
) -> Iterator[Composed]:
    yield _grant("CONNECT", SQL("DATABASE {}").format(database), roles.owner)
    yield _grant("USAGE, CREATE", SQL("SCHEMA public"), roles.owner)
    # The sink copies a batch to temporary tables first, which are made like those of the schema.
    yield _grant("CONNECT, TEMPORARY", SQL("DATABASE {}").format(database), roles.writer)
    yield _grant("USAGE", SQL("SCHEMA public"), roles.writer)
    for table in tables:
        rights = "SELECT, INSERT, UPDATE" if table.newest_by else "SELECT, INSERT"
        yield _grant(rights, Identifier(table.name), roles.writer)
    yield _grant("SELECT, INSERT, UPDATE", Identifier(SUMS), roles.writer)
    yield _grant("SELECT", Identifier(MIGRATIONS), roles.writer)
    yield _grant("CONNECT", SQL("DATABASE {}").format(database), roles.reader)
    yield _grant("USAGE", SQL("SCHEMA public"), roles.reader)
    for name in (*(table.name for table in tables), *_VIEW.findall(schema()), SUMS, MIGRATIONS):
        yield _grant("SELECT", Identifier(name), roles.reader)


def _grant(rights: str, on: Composable, to: str) -> Composed:
    return SQL("GRANT {} ON {} TO {}").format(SQL(rights), on, Identifier(to))
