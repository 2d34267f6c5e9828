"""`foremesh predict`: show a user's latest prediction vector."""

from __future__ import annotations

import json
import sys

import click
from rich.table import Table
from rich.text import Text

from streams.adapters.postgres.queries import latest_prediction
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo, output_option
from streams.records import Prediction
from streams.report.tables import iso_time
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.argument("user")
@output_option("table", "json", "A table for people, or JSON for programs.")
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
    if output == "json":
        echo(json.dumps(_as_json(prediction), indent=2, ensure_ascii=False))
    else:
        _show(prediction)


def _as_json(prediction: Prediction) -> dict[str, object]:
    return {
        "userID": prediction.user,
        "serviceProbabilities": [
            {"serviceID": entry.service, "probability": entry.probability}
            for entry in prediction.services
        ],
    }


def _show(prediction: Prediction) -> None:
    horizon_s = prediction.horizon_ms / 1000
    table = Table(title=Text(f"User {prediction.user}"), title_justify="left")
    table.add_column("service")
    table.add_column("next %", justify="right")
    table.add_column(f"within {horizon_s:g} s, %", justify="right")
    for entry in prediction.services:
        table.add_row(
            Text(entry.service), f"{100 * entry.probability:.2f}", f"{100 * entry.within:.2f}"
        )
    table.add_row(Text("never seen", "dim"), f"{100 * prediction.unseen:.2f}", "")
    console = PrintableConsole()
    console.print(table)
    early, middle, late = (ms / 1000 for ms in prediction.expected_ms)
    console.print(f"next request in {middle:,.1f} s (80 % between {early:,.1f} and {late:,.1f} s)")
    console.print(f"made {iso_time(prediction.made_ms)}, expires {iso_time(prediction.expires_ms)}")
