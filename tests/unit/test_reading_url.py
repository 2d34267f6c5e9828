"""The URL of a session that only reads."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict

from streams.dashboard.database import reading_url


def test_options_of_the_url_are_kept_beside_those_of_the_session() -> None:
    url = "postgresql://ann@db/mesh?options=-csearch_path%3Dmesh"

    options = str(conninfo_to_dict(reading_url(url))["options"])

    assert options.startswith("-csearch_path=mesh -c default_transaction_read_only=on")
    assert not str(conninfo_to_dict(reading_url("postgresql://db/mesh"))["options"]).startswith(" ")
