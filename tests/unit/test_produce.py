from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.adapters.logs.request_log import BadRow
from streams.catalog import yaml_reader
from streams.cli import cli
from streams.cli.log_producer import Pause
from streams.cli.produce import paced, shifted
from streams.errors import CatalogInvalid, LogUnreadable
from streams.records import Request


def request(at_ms: int) -> Request:
    return Request(request_id=f"r{at_ms}", user="u", service="s", at_ms=at_ms)


def times(items: Sequence[Request | BadRow | Pause]) -> list[int]:
    return [item.at_ms for item in items if isinstance(item, Request)]


def test_a_shifted_log_begins_now_and_keeps_its_gaps_divided_by_the_speed() -> None:
    bad = BadRow(2, "bad", "")
    found = list(shifted([request(1_000), bad, request(3_000), request(2_000)], 50_000, 2.0))
    assert times(found) == [50_000, 51_000, 50_500]
    assert found[1] is bad


@pytest.mark.parametrize(
    ("at_ms", "speed"), [(253_402_300_799_999, 0.5), (-10, 1e-300), (9, 1e-300), (9, math.nan)]
)
def test_what_cannot_be_shifted_to_a_time_says_so(at_ms: int, speed: float) -> None:
    with pytest.raises(LogUnreadable, match="too far to be shifted: check --time-unit and --speed"):
        list(shifted([request(0), request(at_ms)], 50_000, speed))


def test_a_log_shifted_at_two_times_asks_for_two_things() -> None:
    ids = {
        item.request_id
        for now_ms in (1, 2)
        for item in shifted([request(5)], now_ms, 1.0)
        if isinstance(item, Request)
    }
    assert len(ids) == 2


def test_a_paced_log_takes_its_time_divided_by_the_speed() -> None:
    begun = time.monotonic()
    assert times(list(paced([request(0), request(5_000), request(2_000)], 50.0))) == [
        0,
        5_000,
        2_000,
    ]
    assert 0.09 < time.monotonic() - begun < 2.0


def test_a_first_catalogue_says_how_long_requests_took(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,took\nada,sketch,1.5\nada,sketch,-\nada,logo,4.5\nada,logo,90\n")
    words = ["catalog", "infer", str(log), "--duration", "took"]
    said = CliRunner().invoke(cli, [*words, "--duration-unit", "s"], catch_exceptions=False)
    assert "log.csv: 2 services found; half of the requests took 4.5 s or less" in said.output


def test_a_first_catalogue_asks_for_the_unit_where_all_durations_come_to_nothing(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,took\nada,sketch,0.2\nada,logo,0.45\n")
    words = ["catalog", "infer", str(log), "--duration", "took"]
    said = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert "none of the requests took half a millisecond: see --duration-unit" in said.output


def test_a_first_catalogue_never_overwrites_one_whose_numbers_may_be_edited(tmp_path: Path) -> None:
    log, path = tmp_path / "log.csv", tmp_path / "catalog.yaml"
    log.write_text("user,item\nada,sketch\n")
    words = ["catalog", "infer", str(log), "-o", str(path)]
    assert CliRunner().invoke(cli, words, catch_exceptions=False).exit_code == 0
    assert list(yaml_reader.load(path).composites) == ["sketch"]
    log.unlink()  # it is refused before the log is read, which may take minutes
    with pytest.raises(CatalogInvalid, match="exists, and its numbers may have been edited"):
        CliRunner().invoke(cli, words, catch_exceptions=False)
