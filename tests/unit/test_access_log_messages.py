from __future__ import annotations

import os
import random

import pytest
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError

from streams.request_path.core.headers import readable
from streams.request_path.envoy.access_log_messages import read_message


def message() -> als_pb2.StreamAccessLogsMessage:
    """Two requests in one message, with fields of every wire type."""
    made = als_pb2.StreamAccessLogsMessage()
    for number, user in enumerate(("ann", "bob")):
        entry = made.http_logs.log_entry.add()
        entry.request.request_id = f"id-{number}"
        entry.request.request_headers["x-foremesh-user"] = user
        entry.request.request_headers["name"] = "Zo\u00eb"
        entry.common_properties.custom_tags["result"] = "hit"
        entry.common_properties.sample_rate = 0.5
        entry.common_properties.duration.seconds = 7
        entry.response.response_code.value = 200
    return made


def entries(data: bytes) -> list[tuple[str, str, str, int]]:
    return [
        (
            entry.request.request_id,
            entry.request.request_headers["x-foremesh-user"],
            entry.request.request_headers["name"],
            entry.common_properties.duration.seconds,
        )
        for entry in read_message(data).http_logs.log_entry
    ]


def test_a_text_that_is_not_utf_8_harms_no_other() -> None:
    data = message().SerializeToString().replace(b"id-0", b"id\xe90").replace(b"bob", b"b\xffb")
    assert entries(data) == [("id!0", "ann", "Zo\u00eb", 7), ("id-1", "b!b", "Zo\u00eb", 7)]


def test_a_sound_message_is_read_as_it_is() -> None:
    data = message().SerializeToString()
    assert read_message(data) == message()
    assert [name for _, _, name, _ in entries(data)] == ["Zo\u00eb"] * 2


def test_whatever_the_bytes_a_message_comes_out_or_a_decoding_error() -> None:
    chosen, data = random.Random(4), message().SerializeToString()
    for _ in range(5_000):
        spoilt = bytearray(data)
        for _ in range(chosen.randint(1, 4)):
            spoilt[chosen.randrange(len(spoilt))] = chosen.randrange(256)
        try:
            read_message(bytes(spoilt[: chosen.randint(1, len(spoilt))]))
        except DecodeError:
            continue


def test_messages_within_messages_without_end_are_refused() -> None:
    deep = b""
    for _ in range(20_000):
        deep = b"\x12" + varint(len(deep)) + deep
    with pytest.raises(DecodeError):
        read_message(deep + b"\x0a\x02\xff\xff\x01")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def test_what_is_readable_keeps_its_length() -> None:
    assert readable(b"r\xe9") == "r!"
    assert readable("r\u00e9".encode()) == "r\u00e9"
    for _ in range(200):
        data = os.urandom(40)
        assert len(readable(data).encode()) == len(data)
