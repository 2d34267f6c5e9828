from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from streams.cli import cli
from streams.errors import LogUnreadable
from streams.evaluate.prequential import evaluate
from streams.evaluate.scores import Scores, reliability, summary
from streams.models.mixture import Config
from streams.records import Request


def trace(events: int, users: int = 4, seed: int = 1) -> list[Request]:
    rng = random.Random(seed)
    return [
        Request(
            request_id=str(n), user=f"u{rng.randrange(users)}", service="abcd"[n % 4], at_ms=n * 999
        )
        for n in range(events)
    ]


def written(path: Path, requests: list[Request]) -> Path:
    lines = ["who,what,when", *(f"{r.user},{r.service},{r.at_ms}" for r in requests)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *args], catch_exceptions=False)


def test_scores_are_those_of_their_definitions() -> None:
    scores = Scores(["one"], ["all"])
    scores.add(np.array([[0.5, 0.3, 0.0, 0.2]]), 1, (True,), 0)
    scores.add(np.array([[0.5, 0.3, 0.0, 0.2]]), 0, (True,), 0)
    found = summary(scores)["all"]["one"]
    assert found["n"] == 2
    assert found["accuracy_1"] == 0.5
    assert found["recall_3"] == 1.0
    assert found["mrr"] == 0.75
    assert found["log_loss"] == pytest.approx(-(math.log(0.3) + math.log(0.5)) / 2, abs=1e-6)
    assert found["brier"] == pytest.approx((0.78 + 0.38) / 2)
    assert found["ece"] == pytest.approx(0.0)
    assert reliability(scores, "all", "one") == [(0.5, 0.5, 2)]


def test_services_without_a_column_share_their_probability() -> None:
    scores = Scores(["one"], ["all"])
    scores.add(np.array([[0.5, 0.4, 0.1]]), -2, (True,), 4)
    found = summary(scores)["all"]["one"]
    assert found["log_loss"] == pytest.approx(-math.log(0.1), abs=1e-6)
    assert found["brier"] == pytest.approx(0.25 + 0.81 + 3 * 0.01 + 0.01)


def test_an_event_is_scored_when_its_user_has_an_earlier_one() -> None:
    found = evaluate(trace(200, users=7)).as_json()
    assert found["events"] == 200
    assert found["slices"]["all"]["mixture"]["n"] == 193
    assert found["when"]["n"] == 193


def test_the_slices_by_history_partition_all_events() -> None:
    slices = evaluate(trace(600, users=3)).as_json()["slices"]
    parts = [v["mixture"]["n"] for k, v in slices.items() if k not in {"all", "change"}]
    assert sum(parts) == slices["all"]["mixture"]["n"]


def test_evaluation_is_the_same_twice_but_for_time() -> None:
    first, second = (evaluate(trace(300)).as_json() for _ in range(2))
    first.pop("us_per_event")
    second.pop("us_per_event")
    assert first == second


def test_what_others_just_asked_for_counts_only_at_arrival() -> None:
    # all users ask for the same service in turn, so the last request of anyone tells the next
    at_arrival = evaluate(trace(3_000, users=40), Config(arrival=True)).as_json()
    published = evaluate(trace(3_000, users=40), Config(arrival=False)).as_json()
    losses = [f["slices"]["all"]["mixture"]["log_loss"] for f in (at_arrival, published)]
    assert losses[0] < losses[1]


def test_the_command_writes_json_and_a_page_and_shows_tables(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv.gz", trace(120))
    columns = ("--user", "who", "--item", "what", "--time", "when")
    out = run(
        str(log), *columns, "--json", str(tmp_path / "o.json"), "--report", str(tmp_path / "o.html")
    )
    assert out.exit_code == 0, out.output
    assert "mixture" in out.output
    figures = json.loads((tmp_path / "o.json").read_text())[str(log)]
    expected = {"n", "accuracy_1", "recall_3", "recall_5", "mrr", "log_loss", "brier", "ece"}
    assert set(figures["slices"]["all"]["mixture"]) == expected
    assert figures["state_bytes_max"] >= figures["state_bytes_median"] > 0
    assert "data:image/png" in (tmp_path / "o.html").read_text()


def test_the_limit_counts_in_the_order_of_time(tmp_path: Path) -> None:
    requests = trace(60)
    log = written(tmp_path / "log.csv.gz", [*requests[30:], *requests[:30]])
    columns = ("--user", "who", "--item", "what", "--time", "when", "--time-unit", "ms")
    out = run(str(log), *columns, "--limit", "30", "--json", str(tmp_path / "o.json"))
    assert out.exit_code == 0
    figures = json.loads((tmp_path / "o.json").read_text())[str(log)]
    direct = evaluate(requests[:30], Config(arrival=True)).as_json()
    assert figures["slices"] == direct["slices"]


def test_a_trace_without_a_clock_is_evaluated_in_its_order(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,what\n" + "\n".join(f"u{n % 3},{'ab'[n % 2]}" for n in range(90)))
    assert run(str(log), "--user", "who", "--item", "what").exit_code == 0


def test_a_trace_of_which_no_row_can_be_used_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,what\n,\n")
    with pytest.raises(LogUnreadable, match="no usable row"):
        run(str(log), "--user", "who", "--item", "what")
