"""PostgreSQL under the roles that `foremesh acl postgres` prints, each a user of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from harness import Eventually, RunForemesh
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from services import send

from streams.devstack import LocalStack
from streams.records import Outcome, Prediction, Result, Route, ServiceProbability, Source
from streams.settings import Settings

ROLES = ("owner", "writer", "reader")


@pytest.fixture
def bare(stack: LocalStack, settings: Settings) -> Iterator[dict[str, str]]:
    """An empty database of which the public has nothing: its URL for the superuser and each role."""
    name = f"r{uuid.uuid4().hex[:8]}"
    url = stack.postgres.create(name)
    urls = {"superuser": url}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name)))
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for role in ROLES:
            user = f"{name}_{role}"
            connection.execute(
                SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(Identifier(user))
            )
            urls[role] = make_conninfo(url, user=user, password="secret")
    yield urls
    stack.postgres.drop(name)
    with psycopg.connect(settings.postgres, autocommit=True) as connection:
        for role in ROLES:
            connection.execute(SQL("DROP ROLE {}").format(Identifier(f"{name}_{role}")))


def granted(bare: dict[str, str], run: RunForemesh) -> None:
    """Migrate as the owner, and give every role its printed rights."""
    names = {role: str(conninfo_to_dict(bare[role])["user"]) for role in ROLES}
    options = [word for role, name in names.items() for word in (f"--{role}", name)]
    printed = run("acl", "postgres", *options, FOREMESH_POSTGRES=bare["superuser"]).finish()
    owners: list[str] = []
    others: list[str] = []
    for line in printed.splitlines():
        (owners if f'TO "{names["owner"]}"' in line else others).append(line)
    execute(bare["superuser"], owners)
    run("db", "migrate", FOREMESH_POSTGRES=bare["owner"]).finish()
    execute(bare["superuser"], others)


def execute(url: str, lines: list[str]) -> None:
    with psycopg.connect(url) as connection:
        for line in lines:
            connection.execute(line.encode())


def test_each_command_runs_as_its_role(
    bare: dict[str, str],
    settings: Settings,
    topics: list[str],
    run_foremesh: RunForemesh,
    eventually: Eventually,
) -> None:
    assert topics
    granted(bare, run_foremesh)
    outcome = Outcome(
        request_id="r1", user="ann", tier="standard", pool="default", service="s", at_ms=1,
        result=Result.HIT, route=Route.PREALLOCATED, status=200, latency_ms=5, cold_ms=0, saved_ms=0,
        parts=(), source=Source.GATEWAY,
    )  # fmt: skip
    probable = ServiceProbability(service="s", probability=1.0, within=0.5)
    prediction = Prediction(
        request_id="r1", user="ann", services=(probable,), unseen=0.0, horizon_ms=60_000,
        expected_ms=(1, 2, 3), made_ms=1, expires_ms=2, model="m",
    )  # fmt: skip
    later = replace(prediction, request_id="r2", made_ms=2)
    send(settings, [outcome, prediction, later])

    sink = run_foremesh("sink", FOREMESH_POSTGRES=bare["writer"])

    def told() -> str:
        return run_foremesh("predict", "ann", FOREMESH_POSTGRES=bare["reader"]).finish()

    eventually(lambda: "Next request" in told(), 60)
    assert sink.stop() == 0, sink.output
    run_foremesh("report", FOREMESH_POSTGRES=bare["reader"]).finish()
    explained = run_foremesh("explain", "--service", "s", FOREMESH_POSTGRES=bare["reader"])
    assert explained.wait() == 1
    assert "no decision about 's' is known" in explained.output
    run_foremesh("db", "prune", "--keep", "1s", FOREMESH_POSTGRES=bare["owner"]).finish()
    run_foremesh("forget", "ann", "--yes", FOREMESH_POSTGRES=bare["owner"]).finish()
    run_foremesh("reset", "default", "--yes", FOREMESH_POSTGRES=bare["owner"]).finish()
    with psycopg.connect(bare["reader"]) as connection:
        assert (
            connection.execute("SELECT FROM hit_rate, saved_and_wasted, queue").fetchall()
            is not None
        )


def test_a_reader_does_not_write_and_a_writer_changes_no_schema(
    bare: dict[str, str], run_foremesh: RunForemesh
) -> None:
    granted(bare, run_foremesh)

    pruning = run_foremesh("db", "prune", "--keep", "1s", FOREMESH_POSTGRES=bare["reader"])
    assert pruning.wait() == 1
    assert "foremesh acl postgres" in pruning.output
    assert "Traceback" not in pruning.output
    with (
        psycopg.connect(bare["writer"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM outcomes")
    with (
        psycopg.connect(bare["writer"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("CREATE TABLE more (n int)")
