"""What is said of a log whose rows lack columns or have names that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.adapters.logs.request_log import BadRow, read_log
from streams.catalog.inference import infer
from streams.cli import cli
from streams.errors import LogUnreadable
from streams.records import Request

TIMED = '{"user":"a","item":"s","ts":1}'
UNTIMED = '{"user":"a","item":"s"}'
TOOK = ("--duration", "took")


def said(path: Path, text: str, *options: str, name: str = "log.jsonl") -> Sequence[str]:
    """What `catalog infer` tells people of a log."""
    log = path / name
    log.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(cli, ["catalog", "infer", str(log), *options])
    assert result.exit_code == 0, result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith(f"{name}: ")]


def test_a_log_of_which_no_column_looks_like_the_time_says_so(tmp_path: Path) -> None:
    assert said(tmp_path, "user,item,when\na,s,1\na,s,2\n", name="log.csv") == [
        "log.csv: 2 requests have no time: name its column with --time",
        "log.csv: 1 service found",
    ]


def test_of_requests_without_a_time_bad_rows_are_none(tmp_path: Path) -> None:
    *_, told, _ = said(tmp_path, "user,item,took\na,s,1\na,s,x\n", *TOOK, name="log.csv")
    assert told == "log.csv: 1 request has no time: name its column with --time"


def test_the_first_time_of_a_log_says_what_those_that_follow_are(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f"{UNTIMED}\n{TIMED}\n{TIMED[:-2]}20261107}}\n", encoding="utf-8")
    assert [item.at_ms for item in read_log(path) if isinstance(item, Request)][1:] == [
        1_000,
        20_261_107_000,
    ]


@pytest.mark.parametrize("before", [UNTIMED, '{"user":"a","item":"s","ts":null}'])
def test_a_first_time_that_may_be_days_is_refused_wherever_it_is(
    tmp_path: Path, before: str
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f"{before}\n{TIMED[:-2]}45123.52431}}\n", encoding="utf-8")
    with pytest.raises(LogUnreadable, match=r"line 2: time '45123\.52431' may be days"):
        list(read_log(path))


def test_of_a_log_with_times_a_row_without_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f"{TIMED}\n{UNTIMED}\n{TIMED}\n", encoding="utf-8")
    first, bad, last = read_log(path)
    assert isinstance(first, Request)
    assert isinstance(last, Request)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason) == (2, "time is missing")


@pytest.mark.parametrize("option", ["--duration", "--tier", "--pool", "--parameter"])
def test_a_column_that_is_named_and_in_no_row_of_json_is_told(tmp_path: Path, option: str) -> None:
    assert said(tmp_path, f"{TIMED}\n{TIMED}\n", option, "took") == [
        "log.jsonl: no row has a column 'took'",
        "log.jsonl: 1 service found",
    ]


def test_a_column_that_is_named_may_be_in_some_rows_of_json_only(tmp_path: Path) -> None:
    text = f'{TIMED}\n{{"user":"a","item":"s","ts":1,"took":3}}\n{TIMED}\n'
    assert said(tmp_path, text, "--duration", "took") == [
        "log.jsonl: 1 service found; half of the requests took 0.003 s or less"
    ]


def test_requests_for_what_is_no_name_are_told_when_a_catalogue_is_inferred(tmp_path: Path) -> None:
    rows = f"a,s,1\na,bad\x1b[2J,1\na,{'x' * 257},1\na,,1\n"
    first, found = said(tmp_path, f"user,item,ts\n{rows}", name="log.csv")
    assert first.startswith(
        "log.csv: 3 requests left out, such as for 'bad\\x1b[2J': a name has 1 to"
    )
    assert found == "log.csv: 1 service found"


def test_requests_for_no_service_are_told_when_a_catalogue_is_inferred(tmp_path: Path) -> None:
    told = said(tmp_path, "user,item,ts\na,s,1\na,,1\n", name="log.csv")
    assert told == ["log.csv: 1 request left out: no service", "log.csv: 1 service found"]


def test_a_log_of_which_no_name_can_be_in_a_catalogue_says_such_a_name() -> None:
    request = Request(request_id="r", user="a", service="s", at_ms=1, tier="gold\a")
    with pytest.raises(LogUnreadable, match=r"such as one for 'gold\\x07': a name has 1 to 256"):
        infer([request])
