from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from streams.cli import cli
from streams.errors import LogUnreadable
from streams.lab.evaluate.published import DAY_MS, END, FoldScore, folds, log_of, read, score
from streams.lab.evaluate.published_online import score_online
from streams.lab.evaluate.published_report import LogComparison, rows, verdict
from streams.records import Request

HOUR_MS = 3_600_000


def case(name: str, *activities: str, gap_ms: int = HOUR_MS) -> list[Request]:
    return [
        Request(request_id=f"{name}{n}", user=name, service=activity, at_ms=n * gap_ms)
        for n, activity in enumerate(activities)
    ]


def benchmark(folder: Path, cases: int = 40) -> Path:
    """Half of the cases are of one sort and half of another, told by the resource alone."""
    lines = ["case,activity,ts,resource"]
    for n in range(cases):
        second = "approve" if n % 2 else "refuse"
        lines += [f"c{n:02},ask,{n * 60},desk-{n % 2}", f"c{n:02},{second},{n * 60 + 7200},x"]
    (folder / "Tiny.events.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "published").mkdir()
    for kind, column, value in (("accuracy", "accuracy", 0.75), ("nt_mae", "nt_mae", 0.02)):
        result = "\n".join(f"{value},Tax,{fold},tiny" for fold in range(5))
        (folder / "published" / f"{kind}_raw_results.csv").write_text(
            f"{column},approach,fold,log\n{result}\n"
        )
    return folder


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "--table", "ppm", *args], catch_exceptions=False)


def test_every_prefix_is_labelled_with_what_follows_and_the_last_with_the_end() -> None:
    log = log_of([case("a", "ask", "pay", "ask"), case("b", "pay")])

    assert log.labels.tolist() == [2, 1, END, END]
    assert log.gaps_ms.tolist() == [HOUR_MS, HOUR_MS, 0, 0]
    assert log.case.tolist() == [0, 0, 0, 1]
    assert (log.cases, log.classes) == (2, 3)


def test_the_folds_are_those_of_the_published_results() -> None:
    # scikit-learn 1.6: KFold(5, shuffle=True, random_state=42).split(range(10)), first fold
    learn, test = next(folds(10))

    assert test.tolist() == [1, 8]
    assert learn.tolist() == [0, 2, 3, 4, 5, 6]  # of 0 2 3 4 5 6 7 9 the first 80 %


def test_the_folds_score_every_case_once_and_learn_none_that_they_score() -> None:
    found = list(folds(23))

    assert sorted(np.concatenate([test for _, test in found]).tolist()) == list(range(23))
    assert all(not set(learn) & set(test) for learn, test in found)


def test_nothing_of_the_scored_cases_is_learnt() -> None:
    # two logs that differ in the scored cases' ends alone predict the same before them
    sorts = [("ask", "pay"), ("ask", "refuse")]
    cases = [case(f"c{n:02}", *sorts[n % 2]) for n in range(20)]
    fold = (np.arange(10), np.array([10]))
    never = [*cases[:10], case("c10", "ask", "pay"), *cases[11:]]
    always = [*cases[:10], case("c10", "ask", "refuse"), *cases[11:]]
    scores = [score(log_of(log), fold).accuracy for log in (never, always)]

    assert sorted(scores) == [0.5, 1.0]


def test_a_rule_is_learnt_and_its_time_too() -> None:
    cases = [case(f"c{n:02}", "ask", "pay", "receipt") for n in range(60)]

    found = score(log_of(cases), next(folds(60)))

    assert found.accuracy == 1.0
    # an hour lies in a half octave of 52 to 74 minutes, whose middle is what can be known
    assert found.mae_days * DAY_MS < 2 / 3 * 12 * 60_000


def test_the_models_of_a_worker_learn_cases_and_their_ends_event_by_event() -> None:
    cases = [case(f"c{n:02}", "ask", "pay", "receipt") for n in range(60)]

    found = score_online(cases, next(folds(60)))

    assert [scores.accuracy for scores in found] == [1.0, 1.0]
    assert found.alone.mae_days == found.network.mae_days < 1 / 24


def test_the_models_of_a_worker_keep_nothing_of_a_case_that_is_scored() -> None:
    cases = [case(f"c{n:02}", "ask", "pay") for n in range(20)]
    learn = np.arange(10)
    strange = case("c99", *(["shout"] * 30))

    alone, after, shouts = (
        score_online([*cases, strange], (learn, np.array(scored))).network
        for scored in ([12], [20, 12], [20])
    )
    assert after.accuracy * 32 == pytest.approx(2 * alone.accuracy + 30 * shouts.accuracy)
    assert after.mae_days * 32 == pytest.approx(2 * alone.mae_days + 30 * shouts.mae_days)


def test_a_case_named_na_is_a_case(tmp_path: Path) -> None:
    path = tmp_path / "x.events.csv"
    rows = "\n".join(f"{name},ask,1," for name in ("NA", *"abcdefghi"))
    path.write_text(f"case,activity,ts,resource\n{rows}\n")

    assert len(read(path)) == 10


def test_the_command_shows_ours_beside_the_published(tmp_path: Path) -> None:
    out = run(str(benchmark(tmp_path)), "--json", str(tmp_path / "o.json"))

    assert out.exit_code == 0, out.output
    assert "above Tax on 1 of 1 logs" in out.output
    by_model = {row["model"]: row for row in json.loads((tmp_path / "o.json").read_text())}
    assert by_model["Tax"]["accuracy"] == 0.75
    ours, batch = by_model["foremesh"], by_model["log-linear, batch-trained"]
    assert ours["accuracy"] == batch["accuracy"] == 1.0  # the resource tells what follows
    assert 0 < batch["nt_mae_days"] < 0.02
    assert 0 < ours["nt_mae_days"] <= 1 / 12  # the longest gap


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="no log 'other': it has tiny"):
        run(str(benchmark(tmp_path)), "--logs", "tiny,other")


def test_too_few_cases_for_the_folds_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="4 cases are too few"):
        run(str(benchmark(tmp_path)), "--limit", "8")


def test_a_folder_without_logs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="give the benchmark's folder"):
        run(str(tmp_path))


def test_a_log_whose_published_error_is_below_its_resolution_has_no_time() -> None:
    timeless = LogComparison(
        ours=[FoldScore(accuracy=0.375, mae_days=1e-6)],
        network=[FoldScore(accuracy=0.4375, mae_days=1e-6)],
        batch=[FoldScore(accuracy=0.5, mae_days=1e-6)],
        accuracy={"Tax": {0: 0.25}, "TACO": {0: 0.625}},
        mae_days={"Tax": {0: 5e-10}},
    )

    assert timeless.errors() == {}
    assert "0 of 0 with time" in verdict({"x": timeless})
    assert "above Tax on 1 of 1 logs and above every published method on 0" in verdict(
        {"x": timeless}
    )
    assert [row["accuracy"] for row in rows({"x": timeless})] == [0.375, 0.4375, 0.5, 0.25, 0.625]
