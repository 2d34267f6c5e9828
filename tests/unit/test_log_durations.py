"""How long requests took, as logs say it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_request_log import read, reasons_of, requests_of

from streams.adapters.logs.columns import ColumnMapping
from streams.errors import LogUnreadable


def test_a_log_may_say_how_long_a_request_took(tmp_path: Path) -> None:
    data = "user,item,ts,took\nann,draw,1,0.25\nbob,draw,2,\ncat,draw,3,-\ndan,draw,4,-1\neve,draw,5,NULL\n"
    mapping = ColumnMapping(duration="took", duration_unit="s")
    found = requests_of(read(tmp_path, data, mapping=mapping))
    assert [request.serve_ms for request in found] == [250, 0, 0, 0, 0]
    assert found[0].parameters == {}  # it is none


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("soon", "column 'took': duration 'soon' is neither a number of ms nor as 0:00:12"),
        ("12ms", "column 'took': duration '12ms' is neither a number of ms nor as 0:00:12"),
        (
            "400 days 0:00:00",
            "column 'took': duration '400 days 0:00:00' is more than a year",
        ),
        ("-2", "column 'took': duration '-2' in ms is negative or more than a year"),
        ("1e300", "column 'took': duration '1e300' in ms is negative or more than a year"),
    ],
)
def test_a_duration_that_is_none_makes_a_bad_row(tmp_path: Path, text: str, reason: str) -> None:
    data = f"user,item,ts,took\nann,draw,1,5\nann,draw,1,{text}\n"
    found = read(tmp_path, data, mapping=ColumnMapping(duration="took"))
    assert reasons_of(found) == [(3, reason)]


def test_a_column_of_durations_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="has no column 'took'"):
        read(tmp_path, "user,item,ts\nann,draw,1\n", mapping=ColumnMapping(duration="took"))
