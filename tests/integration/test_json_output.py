"""Every command that tells something tells it as one JSON document, with the keys of its help."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from commands import WITHOUT, doers, help_of
from harness import CHECKOUT
from test_report_from_database import COMMAND, INSTANCE, OUTCOME, PREDICTION, store

from streams.adapters.kafka.topics import create_topics
from streams.cli import cli
from streams.devstack import LocalStack
from streams.records.control import Mode
from streams.records.verdicts import Choice, Verdict
from streams.settings import Settings

LOG = "user,service,time\n" + "\n".join(
    f"u{n % 3},{'ab'[n // 3 % 2]},{1_700_000_000 + 40 * n}" for n in range(90)
)
ARGUMENTS = {
    "control mode": "shop shadow",
    "control pause": "shop",
    "control resume": "shop",
    "control budget": "shop 2.5",
    "control quota": "shop gold 1",
    "control pin": "shop pricing --min 2 --day mon",
    "control unpin": "shop pricing",
    "control challenge": "shop bold --price 0.5",
    "control promote": "shop standard",
    "control withdraw": "shop",
    "predict": "ann",
    "explain": "c1",
    "replay": "log.csv",
    "evaluate": "log.csv --no-rnn",
    "compare": "log.csv --policies keep-alive",
    "db prune": "--keep 365d",
    "forget": "ann --dry-run",
    "reset": "default --dry-run",
}
VERDICT = Verdict(
    pool=COMMAND.pool,
    service=COMMAND.service,
    at_ms=COMMAND.issued_ms,
    choice=Choice.START,
    mode=Mode.ON,
    command_id=COMMAND.command_id,
    instance=1,
    have=0,
    chance=0.5,
    value=COMMAND.value,
    cost=COMMAND.cost,
    bound="value",
    tier=COMMAND.tier,
    price=0.5,
    horizon_ms=60_000,
    warm_up_ms=900,
)
OF_THE_SEED = {"userID", "serviceProbabilities"}  # names that vectors have always had


@pytest.fixture(scope="module")
def place(module_settings: Settings) -> Iterator[Settings]:
    """Topics and rows that there is something to tell of, and a log."""
    build = Path(module_settings.build)
    build.mkdir(parents=True)
    (build / "kafka").symlink_to(CHECKOUT / "build" / "kafka")
    (build / "log.csv").write_text(LOG, encoding="utf-8")
    create_topics(module_settings)
    store(module_settings, [PREDICTION, OUTCOME, INSTANCE, COMMAND, VERDICT])
    yield module_settings
    LocalStack(build).stop()


def foremesh(place: Settings, words: str) -> tuple[int, str]:
    """Exit code and standard output; what starts servers is a process of its own."""
    given = ARGUMENTS.get(words, "").replace("log.csv", f"{place.build}/log.csv")
    argv = [*words.split(), *given.split(), "--output", "json"]
    if words in {"up", "down", "status"}:
        child = [sys.executable, "-m", "streams", *argv]
        env = {**os.environ, **place.to_env()}
        done = subprocess.run(child, env=env, cwd=CHECKOUT, stdout=subprocess.PIPE, check=False)
        return done.returncode, done.stdout.decode()
    result = CliRunner().invoke(cli, argv, env=place.to_env())
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.stdout


def keys_of(document: Any) -> set[str]:
    """The keys of an object, or of the first one in a list."""
    first = document[0] if isinstance(document, list) and document else document
    return set(first) if isinstance(first, dict) else set()


@pytest.mark.parametrize("words", [words for words in doers() if words not in WITHOUT])
def test_a_command_tells_programs_one_document_with_the_keys_of_its_help(
    place: Settings, words: str
) -> None:
    code, told = foremesh(place, words)

    assert code in {0, 1}
    keys = keys_of(json.loads(told))
    assert [key for key in keys if not re.search(rf"\b{key}\b", help_of(words.split()))] == []
    assert [key for key in keys - OF_THE_SEED if not re.fullmatch("[a-z][a-z0-9_]*", key)] == []


def test_what_an_operator_says_is_told_as_it_is_in_force(place: Settings) -> None:
    said = json.loads(foremesh(place, "control pin")[1])
    shown = json.loads(foremesh(place, "control show")[1])

    pin = said["pins"][-1]
    assert (pin["service"], pin["least"], pin["most"]) == ("pricing", 2, None)
    assert said in shown
