"""The messages of Envoy's access log services, read although a client sent bytes that are no text.

Envoy passes on what a client puts into a header, byte by byte, in fields that protobuf declares to
be UTF-8. Python's protobuf refuses a message with other bytes as a whole, and with it the entries
of all other requests that Envoy gathered in it.
"""

from __future__ import annotations

from typing import Any

import grpc
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError

from streams.request_path.core.headers import readable

__all__ = ["add_access_log_service", "read_message"]

_VARINT, _FIXED_64, _SIZED, _FIXED_32 = 0, 1, 2, 5  # wire types
_DEEPEST = 100  # as protobuf's own parsers

Message = als_pb2.StreamAccessLogsMessage


def add_access_log_service(servicer: Any, server: Any) -> None:
    """Have a gRPC server serve the entries of any number of Envoys."""
    handler = grpc.stream_unary_rpc_method_handler(
        servicer.StreamAccessLogs,
        request_deserializer=read_message,
        response_serializer=als_pb2.StreamAccessLogsResponse.SerializeToString,
    )
    name = als_pb2.DESCRIPTOR.services_by_name["AccessLogService"].full_name
    methods = {"StreamAccessLogs": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))


def read_message(data: bytes) -> Any:
    """A message of these bytes; each byte of a text that is not UTF-8 becomes an exclamation mark.

    Raises
    ------
    google.protobuf.message.DecodeError
        They are no such message.
    """
    try:
        return Message.FromString(data)
    except DecodeError:
        mended = bytearray(data)
        _mend(mended, 0, len(mended), Message.DESCRIPTOR, _DEEPEST)
        return Message.FromString(bytes(mended))


def _mend(data: bytearray, at: int, end: int, kind: Any, depth: int) -> None:
    """Mend the texts of a message in place: none changes its length."""
    while at < end and depth:
        tag, at = _varint(data, at)
        if tag & 7 == _SIZED:
            size, at = _varint(data, at)
            field = kind.fields_by_number.get(tag >> 3)
            if at + size > end:
                return
            if field is not None and field.message_type is not None:
                _mend(data, at, at + size, field.message_type, depth - 1)
            elif field is not None and field.type == field.TYPE_STRING:
                data[at : at + size] = readable(bytes(data[at : at + size])).encode()
            at += size
        elif tag & 7 == _VARINT:
            _, at = _varint(data, at)
        elif tag & 7 in {_FIXED_64, _FIXED_32}:
            at += 8 if tag & 7 == _FIXED_64 else 4
        else:
            return  # no message of this kind: the parser says so


def _varint(data: bytearray, at: int) -> tuple[int, int]:
    """An unsigned number and the offset after it; of bytes that end too early whatever is there."""
    value = shift = 0
    for byte in data[at : at + 10]:
        value |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            break
    return value, at
