from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from streams.adapters.logs.formats import FORMATS
from streams.adapters.logs.request_log import BadRow, ColumnMapping, read_log
from streams.adapters.logs.times import duration_ms
from streams.errors import LogUnreadable
from streams.records import Request

COMBINED = (
    '10.1.2.3 - - [15/Nov/2024:16:57:50 +0000] "GET /checkout/7?x=1 HTTP/1.1" 200 512'
    ' "https://example.org/" "Mozilla/5.0 (\\"X\\")"'
)
COMMON = '10.1.2.3 - ada [15/Nov/2024:16:57:50 +0000] "POST /checkout HTTP/1.1" 204 -'
ENVOY = (
    '[2024-11-15T16:57:50.000Z] "POST /checkout/v1 HTTP/2" 204 - 154 0 226 100'
    ' "10.1.2.3, 10.0.0.1" "nsq2http" "cc21d9b0" "locations" "tcp://10.0.2.1:80"'
)
ISTIO = (
    '[2024-11-15T16:57:50.000Z] "GET /checkout HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-"'
    ' "curl/7.73.0" "84961386" "httpbin:8000" "127.0.0.1:80" inbound|8000||'
    " 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_ default"
)
SWF = """\
; Version: 2.2
; UnixStartTime: 1731689800
;
    1    70   5  10    4   -1   -1    4  100   -1 1 17  3  5  1  1 -1 -1
    2    71   5  10    4   -1   -1    4  100   -1 1 -1  3  6  1  1 -1 -1
    3    72   5  10
"""
AT_MS = 1_731_689_870_000


def read(
    folder: Path, data: bytes | str, mapping: ColumnMapping | None = None, *, name: str = "log"
) -> list[Request | BadRow]:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_log(path, mapping))


def fields(items: list[Request | BadRow]) -> list[tuple[str, str, int]]:
    return [(i.user, i.service, i.at_ms) for i in items if isinstance(i, Request)]


@pytest.mark.parametrize(
    ("line", "user"),
    [(COMBINED, "10.1.2.3"), (COMMON, "ada"), (ENVOY, "10.1.2.3"), (ISTIO, "10.44.1.23")],
    ids=["combined", "common", "envoy", "istio"],
)
def test_an_access_log_is_known_by_its_lines(tmp_path: Path, line: str, user: str) -> None:
    [found] = read(tmp_path, line + "\n", name="access.log")
    assert isinstance(found, Request)
    assert (found.user, found.service, found.at_ms) == (user, "checkout", AT_MS)
    assert found.parameters == {}


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/", "/"),
        ("/?q=1", "/"),
        ("//draw//x", "draw"),
        ("/draw?x=/y", "draw"),
        ("http://host:80/draw/1", "draw"),
        ("http://host/", "/"),
        ("/shop.Cart/Add", "shop.Cart"),
        ("*", "*"),
        ('/a\\"b/c', 'a\\"b'),
    ],
)
def test_the_service_of_an_access_log_is_the_first_segment_of_the_path(
    tmp_path: Path, path: str, service: str
) -> None:
    [found] = read(tmp_path, COMBINED.replace("/checkout/7?x=1", path))
    assert isinstance(found, Request)
    assert found.service == service


def test_the_columns_of_an_access_log_can_be_chosen(tmp_path: Path) -> None:
    mapping = ColumnMapping(user="agent", service="path", parameters=("status", "referer"))
    [found] = read(tmp_path, COMBINED, mapping)
    assert isinstance(found, Request)
    assert (found.user, found.service) == (r"Mozilla/5.0 (\"X\")", "/checkout/7?x=1")
    assert found.parameters == {"status": "200", "referer": "https://example.org/"}


def test_what_follows_in_a_line_of_an_access_log_is_left_alone(tmp_path: Path) -> None:
    for line in (COMBINED, COMMON, ENVOY):
        assert len(fields(read(tmp_path, f'{line} "10.9.9.9" rt=0.12'))) == 1


def test_a_line_of_an_access_log_that_is_none_hurts_only_itself(tmp_path: Path) -> None:
    garbage = COMBINED.replace("GET /checkout/7?x=1 HTTP/1.1", r"\x16\x03\x01")
    found = read(tmp_path, f"{COMBINED}\noops\n{garbage}\n{COMBINED}\n")
    assert [i.reason for i in found if isinstance(i, BadRow)] == ["no line of the format combined"]
    assert [service for _, service, _ in fields(found)] == ["checkout", "", "checkout"]


def test_the_service_is_what_a_regular_expression_finds(tmp_path: Path) -> None:
    mapping = ColumnMapping(service_from=re.compile(r"^/api/(?:v\d+/)?(\w+)"))
    lines = [COMBINED.replace("/checkout/7", path) for path in ("/api/v2/draw", "/api/buy", "/x")]
    found = read(tmp_path, "\n".join(lines), mapping)
    assert [service for _, service, _ in fields(found)] == ["draw", "buy"]
    assert isinstance(found[2], BadRow)
    assert found[2].reason.startswith("column 'path': '/x?x=1' does not match ")


def test_a_pattern_of_ones_own_names_the_columns(tmp_path: Path) -> None:
    pattern = re.compile(
        r"(?P<time>\S+ \S+) (?P<who>\w+) called (?P<service>\w+)(?: in (?P<ms>\d+))?"
    )
    mapping = ColumnMapping(pattern=pattern, user="who", time_format="%d.%m.%Y %H:%M:%S")
    text = "[1] 15.11.2024 16:57:50 ada called draw in 5 ms\nstarted\n"
    [found, bad] = read(tmp_path, text, mapping)
    assert isinstance(found, Request)
    assert (found.user, found.service, found.at_ms) == ("ada", "draw", AT_MS)
    assert found.parameters == {"ms": "5"}
    assert isinstance(bad, BadRow)
    assert bad.reason == "does not match the pattern"


def test_the_jobs_of_a_scheduler_are_requests(tmp_path: Path) -> None:
    found = read(tmp_path, SWF)
    assert fields(found) == [("17", "5", AT_MS), ("", "6", AT_MS + 1_000)]
    assert [i.reason for i in found if isinstance(i, BadRow)] == ["4 fields where SWF has 18"]


def test_no_second_of_a_scheduler_is_a_date(tmp_path: Path) -> None:
    lines = SWF.replace("; UnixStartTime: 1731689800\n", "").replace("  70 ", " 19960401 ")
    assert fields(read(tmp_path, lines, name="jobs.swf"))[0][2] == 19_960_401_000


ARRAYS = [
    '[{"user": "a", "item": "s", "ts": 1}, {"user": "b", "item": "s", "ts": 2}]',
    '\n [\n{"user": "a",\n"item": "s", "ts": 1},\n{"user": "b", "item": "s", "ts": 2}\n]\n',
    '[{"user": "a", "item": "s", "ts": 1}]\n[{"user": "b", "item": "s", "ts": 2}]',
    '\ufeff[{"user": "a", "item": "s", "ts": 1}, {"user": "b", "item": "s", "ts": 2}]',
]


@pytest.mark.parametrize("text", ARRAYS, ids=range(len(ARRAYS)))
@pytest.mark.parametrize("name", ["log", "log.json"])
def test_an_array_of_json_is_read_as_its_lines_would_be(
    tmp_path: Path, text: str, name: str
) -> None:
    found = read(tmp_path, text, name=name)
    assert fields(found) == [("a", "s", 1_000), ("b", "s", 2_000)]
    assert len({i.request_id for i in found if isinstance(i, Request)}) == 2


@given(
    st.lists(
        st.tuples(st.text('ab,[]{}\\"\u20ac', min_size=1), st.integers(10**5, 10**9)), min_size=1
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_array_of_any_size_is_read_whole(tmp_path: Path, rows: list[tuple[str, int]]) -> None:
    values = [{"user": u, "item": "s", "ts": t, "x": "y" * (t % 70_000)} for u, t in rows]
    for indent in (None, 2):
        found = read(tmp_path, json.dumps(values, indent=indent, ensure_ascii=False))
        assert [user for user, _, _ in fields(found)] == [u for u, _ in rows]


@pytest.mark.parametrize(
    ("text", "lasted_ms"),
    [
        ("0:00:12", 12_000),
        ("00:01:02.5", 62_500),
        ("2 days, 1:00:00", 49 * 3_600_000),
        ("0 days 00:00:01.250000", 1_250),
        ("-1.0", 0),
    ],
)
def test_a_duration_may_be_as_on_a_clock(text: str, lasted_ms: int) -> None:
    assert duration_ms(text, "us") == lasted_ms


def test_durations_of_parquet_are_read_whatever_the_unit(tmp_path: Path) -> None:
    took = pa.array([timedelta(days=1, seconds=2), timedelta(milliseconds=5)], pa.duration("us"))
    data = as_parquet(user=pa.array(["a", "b"]), item=pa.array(["s", "s"]), took=took)
    found = read(tmp_path, data, ColumnMapping(duration="took"), name="log.parquet")
    assert [i.serve_ms for i in found if isinstance(i, Request)] == [86_402_000, 5]


def test_an_object_of_several_lines_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match=r"write one a line, `jq -c \. LOG`"):
        read(tmp_path, '{\n  "user": "ann",\n  "item": "draw"\n}\n', name="log.json")


def test_a_line_may_say_the_delimiter_as_excel_writes_it(tmp_path: Path) -> None:
    text = f"\ufeffsep=;\r\nuser;item;ts,a,b,c\r\nann;draw;{AT_MS}\r\n"
    mapping = ColumnMapping(time="ts,a,b,c")
    assert fields(read(tmp_path, text, mapping, name="log.csv")) == [("ann", "draw", AT_MS)]


def test_blanks_after_the_delimiters_of_a_header_are_no_part_of_cells(tmp_path: Path) -> None:
    text = f'user, item, ts\nann, draw, {AT_MS}\n"bob", "a, b",  "{AT_MS}"\n'
    found = fields(read(tmp_path, text, name="log.csv"))
    assert found == [("ann", "draw", AT_MS), ("bob", "a, b", AT_MS)]


def test_blanks_may_stand_around_quotes_where_they_are_no_part_of_cells(tmp_path: Path) -> None:
    text = f'user, item, ts\nann, "draw" , {AT_MS}\n"bob" , "a, b",{AT_MS}\n'
    found = fields(read(tmp_path, text, name="log.csv"))
    assert found == [("ann", "draw", AT_MS), ("bob", "a, b", AT_MS)]


def test_blanks_of_cells_are_theirs_where_the_header_has_none(tmp_path: Path) -> None:
    text = f"user,item,ts\n ann, draw,{AT_MS}\n"
    assert fields(read(tmp_path, text, name="log.csv")) == [(" ann", " draw", AT_MS)]


def test_an_element_that_is_no_object_hurts_only_itself(tmp_path: Path) -> None:
    found = read(tmp_path, '[{"user": "a", "item": "s"}, 17, "x", {"user": "b", "item": "s"}]')
    assert [(i.line, i.text, i.reason) for i in found if isinstance(i, BadRow)] == [
        (2, "17", "not a JSON object"),
        (3, '"x"', "not a JSON object"),
    ]
    assert len(found) == 4


def test_a_number_of_any_length_in_an_array_hurts_only_its_row(tmp_path: Path) -> None:
    digits = "9" * 5_000
    found = read(
        tmp_path, f'[{{"user": "a", "item": "s"}}, {digits}, {{"user": {digits}, "item": "s"}}]'
    )
    assert [(i.line, i.reason) for i in found if isinstance(i, BadRow)] == [
        (2, "not a JSON object")
    ]
    assert [user for user, _, _ in fields(found)] == ["a", digits]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"user": "a", "item": "s"}', "element 2 of its array, is no JSON: "),
        ('[{"user": "a", "item": "s"}, {"user"', "element 2 of its array, is no JSON: "),
        ('[{"user": "a", "item": "s"}] x', "element 1 of its array, is no element"),
        ('[{"user": "a", "item": "s"}, {"user": ' + "[" * 100_000, "is nested too deep"),
        ('[{"a": "' + "x" * 2_000_000, "is no JSON, or longer than 1048576 bytes"),
    ],
)
def test_an_array_that_breaks_off_says_where(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(LogUnreadable, match=sentence):
        read(tmp_path, text)


def test_a_nested_field_has_a_path(tmp_path: Path) -> None:
    line = {"user": {"id": 7}, "http": {"path": "/draw/1"}, "at": "2024-11-15T16:57:50Z", "n": {}}
    mapping = ColumnMapping(
        user="user.id", service="http.path", service_from=re.compile(r"^/(\w+)")
    )
    [found] = read(tmp_path, json.dumps(line), mapping)
    assert isinstance(found, Request)
    assert (found.user, found.service, found.at_ms) == ("7", "draw", AT_MS)
    assert found.parameters == {"n": "{}"}


def test_an_object_is_no_column(tmp_path: Path) -> None:
    line = {"user": "a", "http": {"path": "/draw/1"}}
    with pytest.raises(LogUnreadable, match=r"has no column 'http': it has 'user', 'http\.path'"):
        read(tmp_path, json.dumps(line), ColumnMapping(service="http"))


def as_parquet(**columns: pa.Array) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out)
    return out.getvalue()


def test_parquet_is_read_by_its_columns(tmp_path: Path) -> None:
    moment = datetime(2024, 11, 15, 16, 57, 50, tzinfo=UTC)
    data = as_parquet(
        user=pa.array([{"id": 7}, {"id": None}]),
        item=pa.array(["draw", None]).dictionary_encode(),
        ts=pa.array([moment, moment], pa.timestamp("ns", "UTC")),
        size=pa.array([1.5, float("nan")]),
        tags=pa.array([["a"], []]),
    )
    found = read(tmp_path, data, ColumnMapping(user="user.id"), name="log.parquet")
    assert fields(found) == [("7", "draw", AT_MS), ("", "", AT_MS)]
    assert [i.parameters for i in found if isinstance(i, Request)] == [
        {"size": "1.5", "tags": '["a"]'},
        {"tags": "[]"},
    ]


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("far", [9 * 10**18, -9 * 10**18, 254_402_300_799_000_000])
def test_a_time_of_parquet_that_is_none_hurts_only_its_row(
    tmp_path: Path, unit: str, far: int
) -> None:
    times = pa.array([far, AT_MS * {"ms": 1, "us": 1_000}[unit]], pa.timestamp(unit))
    data = as_parquet(user=pa.array(["a", "b"]), item=pa.array(["s", "s"]), ts=times)
    bad, good = read(tmp_path, data, name="log.parquet")
    assert isinstance(bad, BadRow)
    assert bad.reason == "has a time that is not within the years 1 to 9999"
    assert str(far) in bad.text
    assert isinstance(good, Request)
    assert good.at_ms == AT_MS


def test_a_time_of_parquet_that_is_none_within_a_column_hurts_only_its_row(tmp_path: Path) -> None:
    within = pa.struct({"at": pa.timestamp("us", "America/New_York")})
    times = pa.array([{"at": -62_135_596_800_000_000}, {"at": AT_MS * 1_000}], within)
    data = as_parquet(user=pa.array(["a", "b"]), item=pa.array(["s", "s"]), more=times)
    bad, good = read(tmp_path, data, name="log.parquet")
    assert isinstance(bad, BadRow)
    assert bad.reason == "has a time that is not within the years 1 to 9999"
    assert '"user": "a"' in bad.text
    assert isinstance(good, Request)


@pytest.mark.parametrize("kind", [pa.duration("ns"), pa.timestamp("ns"), pa.time64("ns")])
@pytest.mark.parametrize("within", [lambda of: of, pa.list_, lambda of: pa.struct({"a": of})])
def test_parquet_may_be_finer_than_microseconds(
    tmp_path: Path, kind: pa.DataType, within: Callable[[pa.DataType], pa.DataType]
) -> None:
    column = within(kind)
    value = {"list": [1_500], "struct": {"a": 1_500}}.get(str(column).split("<")[0], 1_500)
    data = as_parquet(user=pa.array(["a"]), item=pa.array(["s"]), x=pa.array([value], column))
    [found] = read(tmp_path, data, name="log.parquet")
    assert isinstance(found, Request)
    [text] = found.parameters.values()
    assert "000001" in text


def test_a_duration_of_parquet_that_python_has_not_hurts_only_its_row(tmp_path: Path) -> None:
    far = 9 * 10**18
    took = pa.array([far, 2], pa.duration("s"))
    data = as_parquet(user=pa.array(["a", "b"]), item=pa.array(["s", "s"]), took=took)
    bad, good = read(tmp_path, data, name="log.parquet")
    assert isinstance(bad, BadRow)
    assert bad.reason == "has a duration of more than 999999999 days"
    assert str(far) in bad.text
    assert isinstance(good, Request)


def test_text_of_parquet_that_is_not_utf_8_hurts_only_its_row(tmp_path: Path) -> None:
    ends = pa.array([0, 2, 3], pa.int32()).buffers()[1]
    users = pa.StringArray.from_buffers(2, ends, pa.py_buffer(b"a\xffb"))
    data = as_parquet(user=users, item=pa.array(["draw", "buy"]))
    bad, good = read(tmp_path, data, name="log.parquet")
    assert isinstance(bad, BadRow)
    assert bad.reason == "not valid UTF-8"
    assert bad.data == b'{"user": "a\xff", "item": "draw"}'
    assert isinstance(good, Request)


def test_a_column_of_parquet_may_not_be_there_twice(tmp_path: Path) -> None:
    out = io.BytesIO()
    parquet.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["user", "user"]), out)
    with pytest.raises(LogUnreadable, match="has two columns 'user'"):
        read(tmp_path, out.getvalue(), name="log.parquet")


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_compressed_log_is_opened_all_its_members(tmp_path: Path, suffix: str) -> None:
    compress = COMPRESSIONS[suffix]
    rows = "".join(f"{line}\n" for line in [COMBINED] * 2_000)
    data = compress(rows.encode()) + compress(COMBINED.encode())
    assert len(fields(read(tmp_path, data, name=f"access.log.{suffix}"))) == 2_001


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_compressed_log_that_breaks_off_says_so(tmp_path: Path, suffix: str) -> None:
    rows = "".join(f"10.0.0.{n % 250}{COMBINED[8:]}{n}\n" for n in range(5_000))
    data = COMPRESSIONS[suffix](rows.encode())[:-40]
    with pytest.raises(LogUnreadable, match=r"its compression breaks off after row \d+"):
        read(tmp_path, data, name=f"access.log.{suffix}")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("rest", [b"junk", COMBINED.encode()])
def test_what_follows_in_a_compressed_log_and_is_not_compressed_is_not_lost_in_silence(
    tmp_path: Path, suffix: str, rest: bytes
) -> None:
    data = COMPRESSIONS[suffix](COMBINED.encode() + b"\n") + rest
    with pytest.raises(LogUnreadable, match=r"is damaged: its compression breaks off after row \d"):
        read(tmp_path, data, name=f"access.log.{suffix}")


@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_members_of_a_compressed_log_may_be_padded(tmp_path: Path, suffix: str) -> None:
    member = COMPRESSIONS[suffix](COMBINED.encode() + b"\n") + b"\0" * 4096
    assert len(fields(read(tmp_path, 2 * member, name=f"access.log.{suffix}"))) == 2


def test_zstd_may_begin_with_what_is_to_be_skipped(tmp_path: Path) -> None:
    data = b"\x50\x2a\x4d\x18\4\0\0\0size" + zstandard.compress(COMBINED.encode())
    assert len(fields(read(tmp_path, data, name="access.log.zst"))) == 1


def test_of_what_expands_a_million_times_no_more_is_kept_than_is_read(tmp_path: Path) -> None:
    data = bz2.compress(b"user,item\na,b\n" + b"\0" * 60_000_000)
    tracemalloc.start()
    try:
        read(tmp_path, data, name="log.csv.bz2")
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LogUnreadable, match=r"zstd: pip install 'foremesh\[zstd\]'"):
        read(tmp_path, zstandard.compress(COMBINED.encode()))
    with pytest.raises(LogUnreadable, match=r"Parquet: pip install 'foremesh\[parquet\]'"):
        read(tmp_path, as_parquet(user=pa.array(["a"])))


ANY_TEXT = st.text() | st.text('"\\\\ []{}:,;-/GETabc0123456789\n', max_size=200)


@given(st.sampled_from(["", COMBINED, ENVOY, ISTIO, SWF, ARRAYS[0]]), ANY_TEXT, ANY_TEXT, st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_in_any_format_is_rows_or_an_error_for_people(
    tmp_path: Path, around: str, inside: str, after: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(around)))
    text = around[:at] + inside + around[at:] + after
    mapping = ColumnMapping(format=data.draw(st.sampled_from(["auto", *FORMATS])))
    try:
        found = read(tmp_path, text.encode("utf-8", "surrogatepass"), mapping)
    except LogUnreadable as error:
        assert "log" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(i, Request) or i.reason for i in found)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["[ ", " ", '"', '"\\', "- ", "/", "[1"])
def test_no_line_takes_long(tmp_path: Path, part: str) -> None:
    long = part * (200_000 // len(part))
    for line in (long, COMBINED[:12] + long, COMBINED[:-30] + long, ENVOY[:40] + long):
        read(tmp_path, f"{COMBINED}\n{line}\n")
