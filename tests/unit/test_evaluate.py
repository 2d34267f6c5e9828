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
from streams.lab.evaluate.prequential import evaluate
from streams.lab.evaluate.scores import PredictionScores, reliability, summary
from streams.lab.evaluate.when import ArrivalScores
from streams.models.next_request.mixture import MixtureConfig
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
    scores = PredictionScores(["one"], ["all"])
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
    scores = PredictionScores(["one"], ["all"])
    scores.add(np.array([[0.5, 0.4, 0.1]]), -2, (True,), 4)
    found = summary(scores)["all"]["one"]
    assert found["log_loss"] == pytest.approx(-math.log(0.1), abs=1e-6)
    assert found["brier"] == pytest.approx(0.25 + 0.81 + 3 * 0.01 + 0.01)


def test_an_event_is_scored_when_its_user_has_an_earlier_one() -> None:
    found = evaluate(trace(200, users=7)).as_json()
    assert found["events"] == 200
    assert found["slices"]["all"]["mixture"]["n"] == 193
    assert found["when"]["mixture"]["n"] == found["when"]["empirical"]["n"] == 193


def test_the_slices_by_history_partition_all_events() -> None:
    slices = evaluate(trace(600, users=3)).as_json()["slices"]
    parts = [v["mixture"]["n"] for k, v in slices.items() if k not in {"all", "change"}]
    assert sum(parts) == slices["all"]["mixture"]["n"]


def test_evaluation_is_the_same_twice_but_for_time() -> None:
    first, second = (evaluate(trace(300)).as_json() for _ in range(2))
    first.pop("us_per_event")
    second.pop("us_per_event")
    assert first == second


def test_published_vectors_are_scored_over_all_phases_and_by_that_of_the_request() -> None:
    # at random: an order on another day, or a payment in the session
    rng, requests, at_ms = random.Random(1), list[Request](), 10**12
    for n in range(200):
        service, gap_ms = rng.choice([("order", 108_000_000), ("pay", 20_000)])
        at_ms += gap_ms
        requests.append(Request(request_id=str(n), user="ann", service=service, at_ms=at_ms))
    models = evaluate(requests, published=True).as_json()["slices"]["all"]
    learnt = evaluate(requests).as_json()["slices"]["all"]["mixture"]
    assert models["given when"]["log_loss"] < models["mixture"]["log_loss"]
    assert models["given when"] == learnt  # of a single user nothing is learnt in between


def test_a_published_vector_does_not_know_what_others_did_since() -> None:
    requests = [
        Request(request_id=str(n), user=user, service=service, at_ms=10**12 + n * 1_000)
        for n, (user, service) in enumerate(
            [("ann", "a"), *(("bob", each) for each in "abcabcabcabc"), ("ann", "b")]
        )
    ]
    published = evaluate(requests, published=True).as_json()["slices"]["first5"]
    learnt = evaluate(requests).as_json()["slices"]["first5"]
    assert learnt["mixture"]["log_loss"] < published["given when"]["log_loss"]


def test_the_command_writes_json_and_a_page_and_shows_tables(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv.gz", trace(120))
    columns = ("--user", "who", "--item", "what", "--time", "when")
    out = run(
        str(log), *columns, "--json", str(tmp_path / "o.json"), "--report", str(tmp_path / "o.html")
    )
    assert out.exit_code == 0, out.output
    assert "mixture" in out.output
    rows = json.loads((tmp_path / "o.json").read_text())
    first = next(r for r in rows if (r["slice"], r["model"]) == ("all", "mixture"))
    scores = {"n", "accuracy_1", "recall_3", "recall_5", "mrr", "log_loss", "brier", "ece"}
    costs = {"us_per_event", "state_bytes_median", "state_bytes_max"}
    assert set(first) == {"trace", "slice", "model"} | scores | costs
    assert first["trace"] == str(log)
    assert first["state_bytes_max"] >= first["state_bytes_median"] > 0
    assert {r["model"] for r in rows if r["slice"] == "when"} == {"mixture", "empirical"}
    assert "data:image/png" in (tmp_path / "o.html").read_text()


def test_the_recurrent_network_is_shown_with_the_mixture_and_alone(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv.gz", trace(120))
    columns = ("--user", "who", "--item", "what", "--time", "when")
    out = run(str(log), *columns, "--json", str(tmp_path / "o.json"))

    assert out.exit_code == 0, out.output
    assert "mixture+rnn" in out.output
    models = {r["model"] for r in json.loads((tmp_path / "o.json").read_text())}
    assert {"mixture", "rnn", "mixture+rnn"} <= models
    assert "rnn" not in run(str(log), *columns, "--no-rnn").output


def test_the_network_changes_no_figure_of_the_mixture_and_adds_its_bytes() -> None:
    without, beside = (
        evaluate(trace(300), MixtureConfig(rnn=rnn)).as_json() for rnn in (False, True)
    )

    for name, models in without["slices"].items():
        assert models == {m: beside["slices"][name][m] for m in models}
    assert "rnn" not in without["slices"]["all"]
    assert 64 < beside["state_bytes_max"] - without["state_bytes_max"] < 80


def test_the_empirical_rate_is_that_of_the_user_before_the_gap() -> None:
    when = ArrivalScores()
    for gap_ms in (10_000, 40_000, 10_000):
        when.add("u", gap_ms, [1.0] * 4, [10_000] * 3)
    found = when.summary()

    # within 30 s: of nobody yet 1/2, then 1 of 1, then 1 of 2; it came, did not, came
    assert found["empirical"]["brier_30s"] == pytest.approx((0.25 + 1 + 0.25) / 3, abs=1e-6)
    assert found["mixture"]["brier_30s"] == pytest.approx(1 / 3, abs=1e-6)
    over = math.log2(41) - math.log2(11)
    assert found["mixture"]["pinball_0.9"] == pytest.approx(0.9 * over / 3, abs=1e-6)


def test_the_figures_alone_are_written_as_png(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv.gz", trace(60))
    columns = ("--user", "who", "--item", "what", "--time", "when")
    run(str(log), *columns, "--report", str(tmp_path / "o.png"))

    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")


def test_the_limit_counts_in_the_order_of_time(tmp_path: Path) -> None:
    requests = trace(60)
    log = written(tmp_path / "log.csv.gz", [*requests[30:], *requests[:30]])
    columns = ("--user", "who", "--item", "what", "--time", "when", "--time-unit", "ms")
    out = run(str(log), *columns, "--limit", "30", "--json", str(tmp_path / "o.json"))
    assert out.exit_code == 0
    rows = json.loads((tmp_path / "o.json").read_text())
    direct = evaluate(requests[:30], MixtureConfig(rnn=True)).as_json()["slices"]
    assert {r["n"] for r in rows if r["slice"] == "all"} == {direct["all"]["mixture"]["n"]}
    losses = {r["model"]: r["log_loss"] for r in rows if r["slice"] == "all"}
    assert losses == {model: scores["log_loss"] for model, scores in direct["all"].items()}


def test_a_trace_without_a_clock_is_evaluated_in_its_order(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,what\n" + "\n".join(f"u{n % 3},{'ab'[n % 2]}" for n in range(90)))
    out = run(str(log), "--user", "who", "--item", "what")
    assert out.exit_code == 0
    assert "90 events" in out.output
    assert "pinball" not in out.output  # nothing is said of when


def test_a_trace_of_which_no_row_can_be_used_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,what\n,\n")
    with pytest.raises(LogUnreadable, match="has no row that can be used: line 2"):
        run(str(log), "--user", "who", "--item", "what")


def test_a_trace_whose_users_come_once_only_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,what\n" + "\n".join(f"u{n},a" for n in range(9)))
    with pytest.raises(LogUnreadable, match="no user has two of the 9 requests"):
        run(str(log), "--user", "who", "--item", "what")


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (("--logs", "a"), "--logs"),
        (("--table", "ppm", "--user", "a"), "--user"),
        (("--table", "ppm", "--published"), "--published"),
        (("--table", "ppm", "--every"), "--every"),
        (("--table", "ppm", "--no-rnn"), "--rnn"),
    ],
)
def test_options_of_the_other_kind_of_trace_are_refused(
    given: tuple[str, ...], option: str
) -> None:
    result = run("trace", *given)

    assert result.exit_code == 2
    assert f"{option} has no effect with" in result.output
