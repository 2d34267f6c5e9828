"""`foremesh predict`: show a user's latest prediction vector."""

from __future__ import annotations

import sys

import click

from streams.adapters.postgres.queries import latest_prediction
from streams.cli import pass_settings
from streams.cli.console import echo
from streams.cli.output import json_option, tell
from streams.records import Prediction
from streams.report.tables import iso_time
from streams.report.text_table import NAME, NUMBER, TextTable
from streams.settings import Settings

__all__ = ["as_json", "command", "table_of"]


@click.command()
@click.argument("user")
@json_option(
    "userID, serviceProbabilities (a list of serviceID, probability), horizon_ms, within_horizon (a"
    " probability by service), never_seen_probability, expected_ms (early, middle, late), made_ms,"
    " expires_ms"
)
@pass_settings
def command(settings: Settings, user: str, output: str) -> None:
    """Show which service USER will probably request next, and when.

    The vector is the latest one that `foremesh sink` has written to PostgreSQL.
    """
    prediction = latest_prediction(settings.postgres, user)
    if prediction is None:
        echo(
            f"nothing is known of user {user!r}: the profiler has learnt no request of this user, or "
            "`foremesh sink` has not run since",
            err=True,
        )
        sys.exit(1)
    tell(output, as_json(prediction), table_of(prediction))


def as_json(prediction: Prediction) -> dict[str, object]:
    """The vector as plain values, under the names that it has had from the beginning."""
    early, middle, late = prediction.expected_ms
    return {
        "userID": prediction.user,
        "serviceProbabilities": [
            {"serviceID": entry.service, "probability": entry.probability}
            for entry in prediction.services
        ],
        "horizon_ms": prediction.horizon_ms,
        "within_horizon": {entry.service: entry.within for entry in prediction.services},
        "never_seen_probability": prediction.unseen,
        "expected_ms": {"early": early, "middle": middle, "late": late},
        "made_ms": prediction.made_ms,
        "expires_ms": prediction.expires_ms,
    }


def table_of(prediction: Prediction) -> TextTable:
    """The vector for people, and when the next request is expected."""
    early, middle, late = (ms / 1000 for ms in prediction.expected_ms)
    within = f"within {prediction.horizon_ms / 1000:g} s, %"
    rows = [(e.service, f"{100 * e.probability:.2f}", f"{100 * e.within:.2f}")
            for e in prediction.services]  # fmt: skip
    return TextTable(
        title=f"User {prediction.user}",
        columns={"service": NAME, "next %": NUMBER, within: NUMBER},
        rows=[*rows, ("one never seen", f"{100 * prediction.unseen:.2f}", "")],
        legend=f"Next request in {middle:,.1f} s (80 % between {early:,.1f} and {late:,.1f} s).\n"
        f"Made {iso_time(prediction.made_ms)}, expires {iso_time(prediction.expires_ms)}.",
    )
