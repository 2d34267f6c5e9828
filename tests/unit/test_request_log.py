from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.adapters.logs.request_log import BadRow, ColumnMapping, RequestLog, read_log
from streams.adapters.logs.rows import MAX_LINE, RowUnreadable
from streams.adapters.logs.times import NUMBER, epoch_ms
from streams.errors import LogUnreadable
from streams.records import Request

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1)
DAY_MS = 1_731_689_870_000


def read(
    folder: Path, data: bytes | str, name: str = "log.csv", mapping: ColumnMapping | None = None
) -> list[Request | BadRow]:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_log(path, mapping))


def requests_of(items: list[Request | BadRow]) -> list[Request]:
    assert not [item for item in items if isinstance(item, BadRow)]
    return [item for item in items if isinstance(item, Request)]


def reasons_of(items: list[Request | BadRow]) -> list[tuple[int, str]]:
    return [(item.line, item.reason) for item in items if isinstance(item, BadRow)]


def test_all_columns_that_are_missing_are_named_at_once(tmp_path: Path) -> None:
    mapping = ColumnMapping(time="when", tier="level", parameters=("size",))

    with pytest.raises(LogUnreadable) as raised:
        read(tmp_path, "who,what\na,b\n", mapping=mapping)

    assert str(raised.value).endswith(
        "has no column 'when', none 'level', none 'size', none that looks like the user, none that"
        " looks like the service: it has 'who', 'what'; name the right one with --user and --item"
    )


def test_the_usual_column_names_are_guessed_and_the_others_are_parameters(tmp_path: Path) -> None:
    [request] = requests_of(read(tmp_path, "groupId,ts,Item,steps,note\nG1,1731689870,M1,30.0,\n"))
    assert (request.user, request.service, request.at_ms) == ("G1", "M1", DAY_MS)
    assert request.parameters == {"steps": "30.0"}
    assert (request.tier, request.pool) == ("standard", "default")


def test_a_column_without_a_name_is_neither_tier_nor_pool(tmp_path: Path) -> None:
    [request] = requests_of(read(tmp_path, ",user,item,ts\n7,a,b,1731689870\n"))
    assert (request.tier, request.pool) == ("standard", "default")


def test_columns_can_be_named(tmp_path: Path) -> None:
    mapping = ColumnMapping(
        user="who", service="what", time="when", tier="level", pool="where", parameters=("size",)
    )
    [request] = requests_of(
        read(
            tmp_path,
            "who,what,when,level,where,size,user\na,b,1731689870000,gold,east,9,x\n",
            mapping=mapping,
        )
    )
    assert (request.user, request.service, request.at_ms) == ("a", "b", DAY_MS)
    assert (request.tier, request.pool, request.parameters) == ("gold", "east", {"size": "9"})


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".log", ".log.gz"])
def test_csv_and_json_lines_plain_and_gzipped_give_the_same_requests(
    tmp_path: Path, suffix: str
) -> None:
    as_json = ".jsonl" in suffix or ".log" in suffix
    text = (
        '{"user": "a", "service": "s", "time": 1731689870, "n": 1}\n'
        if as_json
        else "user,service,time,n\na,s,1731689870,1\n"
    )
    data = gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode()
    [request] = requests_of(read(tmp_path, data, name="log" + suffix))
    assert (request.user, request.service, request.at_ms) == ("a", "s", DAY_MS)
    assert request.parameters == {"n": "1"}


def test_a_log_is_read_from_standard_input() -> None:
    program = "from streams.adapters.logs.request_log import read_log\nprint([r.user for r in read_log('-')])"
    found = subprocess.run(
        [sys.executable, "-c", program],
        input=gzip.compress(b"user,item\nada,x\ngrace,y\n"),
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert found.stdout.decode().strip() == "['ada', 'grace']"


@pytest.mark.parametrize(
    "text",
    [
        "1731689870",
        "1731689870.0",
        "1731689870000",
        "1731689870000000",
        "1731689870000000000",
        "2024-11-15T16:57:50Z",
        "2024-11-15 16:57:50",
        "2024-11-15T17:57:50+01:00",
        " 1.73168987e9 ",
    ],
)
def test_a_time_is_read_whatever_its_unit(text: str) -> None:
    assert epoch_ms(text) == DAY_MS


@pytest.mark.parametrize(
    "text", ["20241115165750", "20241115165750.0", "20241115165750000", "20241115165750000000"]
)
def test_the_digits_of_a_date_and_time_are_no_number(text: str) -> None:
    assert epoch_ms(text) == DAY_MS
    assert epoch_ms(text, "ns") == round(float(text) / 1e6)


@pytest.mark.parametrize("text", ["20241115.0", "2024111516", "202411151657"])
def test_the_digits_of_a_date_without_seconds_may_be_a_number_too(text: str) -> None:
    with pytest.raises(RowUnreadable, match="may be a date or a number"):
        epoch_ms(text)
    assert epoch_ms(text, "s") == round(float(text) * 1_000)


@pytest.mark.parametrize("text", ["20241115", "2024-11-15", "2024-W46-5", "20241115T000000"])
def test_a_date_is_tried_before_a_number(text: str) -> None:
    assert epoch_ms(text) == DAY_MS // 86_400_000 * 86_400_000


def test_among_numbers_no_digits_are_a_date(tmp_path: Path) -> None:
    assert epoch_ms("20241115", NUMBER) == 20_241_115_000
    items = requests_of(read(tmp_path, "user,item,ts\na,s,20241114\na,s,20241115\n"))
    assert items[1].at_ms - items[0].at_ms == 86_400_000
    items = requests_of(read(tmp_path, "user,item,ts\na,s,5\na,s,20241115\na,s,2024-11-15\n"))
    assert [item.at_ms // 1_000 for item in items] == [5, 20_241_115, 1_731_628_800]


@pytest.mark.parametrize("text", ["15/Nov/2024:16:57:50 +0000", "15/Nov/2024:09:57:50.0 -0700"])
def test_a_time_as_access_logs_write_it_is_read(text: str) -> None:
    assert epoch_ms(text) == DAY_MS


def test_the_form_of_a_time_can_be_given() -> None:
    assert epoch_ms("15.11.2024 16:57:50", form="%d.%m.%Y %H:%M:%S") == DAY_MS
    assert epoch_ms("15.11.2024 17:57:50 +01", form="%d.%m.%Y %H:%M:%S +01") == DAY_MS + 3_600_000
    with pytest.raises(RowUnreadable, match=r"time '2024' is not of the form '%d\.%m'"):
        epoch_ms("2024", form="%d.%m")


def test_ten_digits_of_the_last_century_are_seconds_of_this_one() -> None:
    assert epoch_ms("1905011512") == 1_905_011_512_000


@pytest.mark.parametrize("text", ["20249915000000", "00010101000000", "99991231235959", "7.3e9"])
def test_a_number_that_comes_to_a_time_far_ahead_has_another_unit(text: str) -> None:
    with pytest.raises(RowUnreadable, match=r"beyond the year 2199 in m?s: give its --time-unit"):
        epoch_ms(text)
    assert epoch_ms(text, "us") == round(float(text) / 1_000)


@pytest.mark.parametrize(
    "text", ["NaN", "inf", "1_762_500_000", "\u0661", "0x6905f3a0", "20240230010101"]
)
def test_what_only_python_takes_for_a_number_is_no_time(text: str) -> None:
    with pytest.raises(RowUnreadable, match="neither a number nor ISO 8601"):
        epoch_ms(text)


def test_the_unit_of_time_can_be_given() -> None:
    assert epoch_ms("1731689870", "ms") == 1_731_689_870
    assert epoch_ms("5000", "us") == 5


@given(st.integers(-(10**14), 253_402_300_799_999))
def test_a_time_in_milliseconds_is_kept_exactly(at_ms: int) -> None:
    assert epoch_ms(str(at_ms), "ms") == at_ms


@given(
    st.text() | st.text("0123456789-:.+/TZ JanFebOct", max_size=30),
    st.sampled_from(["auto", NUMBER, "s", "ns"]),
    st.sampled_from([None, "%d/%b/%Y:%H:%M:%S %z", "%Y", "%y%j"]),
)
def test_any_text_is_a_time_or_says_why_not(text: str, unit: str, form: str | None) -> None:
    try:
        assert abs(epoch_ms(text, unit, form)) <= 253_402_300_799_999
    except RowUnreadable as error:
        assert "time" in str(error)  # noqa: PT017 - either outcome is right


def test_ids_are_the_same_each_time_and_differ_between_rows_and_files(tmp_path: Path) -> None:
    text = "user,item,ts\na,s,1\na,s,1\n"
    once = [r.request_id for r in requests_of(read(tmp_path, text))]
    again = [r.request_id for r in requests_of(read(tmp_path, text))]
    other = [r.request_id for r in requests_of(read(tmp_path, text, name="other.csv"))]
    assert once == again
    assert len({*once, *other}) == 4


def test_an_empty_service_is_still_a_request(tmp_path: Path) -> None:
    text = "user,item,ts\na,,1\na,s,1\n"
    lines = '{"user": "a", "item": null, "ts": 1}\n{"user": "a", "item": "s", "ts": 1}\n'
    found = requests_of(read(tmp_path, text)) + requests_of(read(tmp_path, lines, "log.jsonl"))
    assert [r.service for r in found] == ["", "s", "", "s"]


def test_a_bad_row_hurts_only_itself_and_keeps_its_bytes(tmp_path: Path) -> None:
    items = read(
        tmp_path, b"user,item,ts\na,s,1\nb\xff,s,2\nc,s\nd,s,soon\n\ne,s,5,6\nf,s,\ng,s,7\n"
    )
    assert reasons_of(items) == [
        (3, "not valid UTF-8"),
        (4, "2 columns where the header has 3"),
        (5, "column 'ts': time 'soon' is neither a number nor ISO 8601: give its --time-format"),
        (7, "4 columns where the header has 3"),
        (8, "column 'ts': time is missing"),
    ]
    assert [i.user for i in items if isinstance(i, Request)] == ["a", "g"]
    assert next(i for i in items if isinstance(i, BadRow)).data == b"b\xff,s,2"


def test_a_quoted_field_may_hold_line_ends_and_quotes(tmp_path: Path) -> None:
    [request] = requests_of(read(tmp_path, 'user,item,note\na,s,"one\n\n""two"", three"\n'))
    assert request.parameters == {"note": 'one\n\n"two", three'}


def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path: Path) -> None:
    rows = "".join(f"u{i},s,{i}\n" for i in range(500))
    items = read(tmp_path, 'user,item,ts\n"oops,s,1\n' + rows)
    assert [line for line, _ in reasons_of(items)] == [2]
    assert len(items) == 501


def test_a_line_without_end_is_one_bad_row_and_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    with gzip.open(path, "wb") as out:
        out.write(b"user,item\na,s\n")
        for _ in range(64):
            out.write(b"x" * MAX_LINE)
        out.write(b"\nb,s\n")
    tracemalloc.start()
    items = list(read_log(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reasons_of(items) == [(3, f"longer than {MAX_LINE} bytes")]
    assert len(items) == 3
    assert peak < 16 * MAX_LINE


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1, 2]", "not a JSON object"),
        ("{oops", "not JSON: "),
        ('{"user": "\\ud800", "item": "s", "ts": 1}', "not valid UTF-8"),
        ("[" * 100_000, "nested too deep"),
        ('{"user": "a", "item": "s", "ts": ' + "9" * 5000 + "}", "column 'ts': time"),
        ('{"user": "a", "user": "b", "item": "s", "ts": 1}', "names 'user' twice"),
        ('{"a": {"b": 1}, "a.b": 2, "user": "a", "item": "s", "ts": 1}', "names 'a.b' twice"),
        ('{"who": "a", "ts": 1}', "has no column that looks like the user"),
    ],
)
def test_a_bad_json_line_hurts_only_itself(tmp_path: Path, line: str, reason: str) -> None:
    good = '{"user": "a", "item": "s", "ts": 1}\n'
    items = read(tmp_path, good + line + "\n" + good, name="log.jsonl")
    [(number, found)] = reasons_of(items)
    assert number == 2
    assert found.startswith(reason)
    assert len(items) == 3


def test_json_values_become_text(tmp_path: Path) -> None:
    line = {"user": 7, "item": "s", "on": True, "of": None, "in": {"ü": [1]}, "at": 5}
    [request] = requests_of(read(tmp_path, json.dumps(line), name="log.jsonl"))
    assert request.user == "7"
    assert request.parameters == {"on": "true", "in.ü": "[1]"}


def test_a_cr_within_a_csv_row_is_named(tmp_path: Path) -> None:
    items = read(tmp_path, 'user,item,ts\na,s\r,1\n"a\rb",s,1\n')
    assert reasons_of(items) == [
        (2, "a CR stands within the row: remove it, or put its field in quotes")
    ]


def test_seconds_that_could_be_days_are_read_where_the_unit_is_given(tmp_path: Path) -> None:
    mapping = ColumnMapping(time_unit="s")
    [request] = requests_of(read(tmp_path, "user,item,ts\na,s,45123.5\n", mapping=mapping))
    assert request.at_ms == 45_123_500


@pytest.mark.parametrize("number", ["1.10", "1e999", "-0", "0.1000000000000000055", "9" * 5_000])
def test_numbers_of_json_are_kept_as_they_are_written(tmp_path: Path, number: str) -> None:
    line = f'{{"user": {number}, "item": "s", "ts": 1, "of": [{number}, {{"a": {number}}}]}}'
    [request] = requests_of(read(tmp_path, line, name="log.jsonl"))
    assert request.user == number
    assert request.parameters == {"of": f'[{number}, {{"a": {number}}}]'}


def test_json_lines_may_each_have_other_fields(tmp_path: Path) -> None:
    lines = '{"user":"a","item":"s","ts":1}\n{"user":"a","item":"s","ts":1,"tier":"gold"}\n'
    items = requests_of(read(tmp_path, lines, "log.jsonl", ColumnMapping(tier="tier")))
    assert [r.tier for r in items] == ["standard", "gold"]


def test_a_log_without_times_happens_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\na,s\n")
    [request] = RequestLog(path, now_ms=lambda: 42)
    assert isinstance(request, Request)
    assert request.at_ms == 42


def test_a_limit_counts_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "a,s\n" * 10)
    assert len(list(read_log(path, limit=3))) == 3
    assert len(list(read_log(path, limit=10**30))) == 10
    assert not list(read_log(path, limit=0))


def test_progress_is_in_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "a,s\n" * 10)
    log = RequestLog(path)
    assert log.position == 0
    assert list(log)
    assert log.position == log.size == path.stat().st_size


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("log.csv", b"", "is empty: a CSV begins with a header line"),
        ("log.csv", b"a,b,c\n1,2,3\n", "name the right one with --user"),
        ("log.csv", b"user,b,c\n1,2,3\n", "name the right one with --item"),
        ("log.csv", b"\xfa\xfe\n1,2,3\n", "is no CSV header: not valid UTF-8"),
        ("log.csv", "user,item\na,s\n".encode("utf-16"), "is UTF-16: .* `iconv -f UTF-16"),
        ("log.csv.gz", gzip.compress("user,item\n".encode("utf-16"), mtime=0), "is UTF-16"),
        ("log.csv", "user,item\na,s\n".encode("utf-16-be"), "without its mark: .* -f UTF-16BE"),
        ("log.csv", "user,item\na,s\n".encode("utf-16-le"), "without its mark: .* -f UTF-16LE"),
        ("log.csv", "user,item\na,s\n".encode("utf-32"), "is UTF-32: "),
        ("log.tar.gz", gzip.compress(b"a.csv".ljust(257, b"\0") + b"ustar\0", mtime=0), "is a tar"),
        ("log.csv.lzma", lzma.compress(b"user,item\n", lzma.FORMAT_ALONE), "`xz -dc LOG"),
        ("log.csv.Z", b"\x1f\x9d\x90user", "`zcat LOG"),
        ("log.7z", b"7z\xbc\xaf\x27\x1c\0\4", "`7z x -so LOG"),
        ("log.csv.zst", b"\x28\xb5\x2f\xfd\x24\x27", "its compression breaks off after row 0"),
        ("log.csv.xz", lzma.compress(b"user,item\n")[:-9], "its compression breaks off"),
        ("log.csv.bz2", bz2.compress(b"user,item\n")[:-9], "its compression breaks off"),
        ("log.csv.lz4", b"\x04\x22\x4d\x18", "is compressed with LZ4: .* `lz4 -dc LOG"),
        ("log.parquet", b"PAR1\x15\x04\x15\x10", "log.parquet cannot be read as Parquet: "),
        ("log.csv", b"user,item,user\na,s,b\n", "has two columns 'user': give each its own name"),
        ("log.csv", b"user,item\ra,s\r", "has lines that end in CR alone"),
        (
            "log.csv.gz",
            gzip.compress(gzip.compress(b"user,item\n", mtime=0), mtime=0),
            "is compressed twice",
        ),
        (
            "log.csv",
            b"user,item,ts\na,s,45123.52431\n",
            "'45123.52431' may be days of a spreadsheet",
        ),
        (
            "log.csv.gz",
            gzip.compress(b"user,item\n" + b"a,s\n" * 9, mtime=0)[:-9],
            "its compression breaks",
        ),
        ("log.csv.gz", b"\x1f\x8b\x08\0 not gzip at all", "its compression breaks off after row 0"),
        (
            "log.csv.gz",
            gzip.compress(b"user,item\na,s\n", mtime=0) + b"junk",
            "its compression breaks off",
        ),
    ],
)
def test_a_log_that_cannot_be_read_at_all_says_so(
    tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    with pytest.raises(LogUnreadable, match=sentence):
        read(tmp_path, data, name=name)


def test_a_line_that_names_the_mark_of_tar_is_no_archive(tmp_path: Path) -> None:
    text = f"user,item,note\na,s,{'x' * 238}ustar\n"
    assert text.index("ustar") == 257
    assert len(requests_of(read(tmp_path, text))) == 1


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path: Path) -> None:
    data = gzip.compress(b"user,item\nada,x\n") + gzip.compress(b"grace,y\n")
    assert [
        item.user for item in read(tmp_path, data, name="log.csv.gz") if isinstance(item, Request)
    ] == ["ada", "grace"]


def test_bars_may_be_between_the_cells(tmp_path: Path) -> None:
    (request,) = read(tmp_path, "user|item\nada|x\n")
    assert isinstance(request, Request)
    assert (request.user, request.service) == ("ada", "x")


def test_a_log_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="cannot be read: No such file"):
        list(read_log(tmp_path / "none.csv"))
    with pytest.raises(LogUnreadable, match="cannot be read: Is a directory"):
        list(read_log(tmp_path))


def test_a_column_that_was_named_must_be_there(tmp_path: Path) -> None:
    for mapping in (ColumnMapping(tier="level"), ColumnMapping(parameters=("size",))):
        with pytest.raises(LogUnreadable, match=r"has no column '(level|size)': it has 'user'"):
            read(tmp_path, "user,item\na,s\n", mapping=mapping)


@given(
    st.lists(st.tuples(WORDS, WORDS, st.text(st.characters(exclude_categories=["Cs"]))), min_size=1)
)
@IN_A_FOLDER
def test_what_a_csv_writer_writes_is_read_as_it_was(
    tmp_path: Path, rows: list[tuple[str, str, str]]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["user", "item", "note"])
    writer.writerows((u, i, note.replace("\r", " ")) for u, i, note in rows)
    items = requests_of(read(tmp_path, text.getvalue()))
    assert [(r.user, r.service, r.parameters.get("note", "")) for r in items] == [
        (u, i, note.replace("\r", " ")) for u, i, note in rows
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "user,item,when\na,s,soon\n",
            r"line 2 \(a,s,soon\): column 'when': time 'soon' is neither",
        ),
        ("user,item,when\n,s,1\n", r"line 2 \(,s,1\): column 'user', the user, is empty"),
        ("user,item,when\na,,1\n", r"line 2 \(a,,1\): column 'item', the service, is empty"),
        ("user,item,when\na,s\n", r"line 2 \(a,s\): 2 columns where the header has 3"),
        ("user,item,when\n", r"has no row of a request"),
    ],
)
def test_a_log_without_a_row_that_can_be_used_shows_the_first(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(LogUnreadable, match=sentence):
        read(tmp_path, text, mapping=ColumnMapping(time="when"))


@given(st.binary(max_size=400), st.sampled_from(["log.csv", "log.jsonl", "log", "log.csv.gz"]))
@IN_A_FOLDER
def test_any_bytes_are_rows_or_an_error_for_people(tmp_path: Path, data: bytes, name: str) -> None:
    try:
        items = read(tmp_path, b"user,item,ts\n" + data if name == "log.csv" else data, name=name)
    except LogUnreadable as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert all(isinstance(i, (Request, BadRow)) for i in items)
        for item in items:
            if isinstance(item, BadRow):
                assert item.reason
                assert item.data in data
