"""Serving gRPC: what a client sends that is no message ends its call, and fills no log."""

from __future__ import annotations

import logging

import grpc
from google.protobuf.message import DecodeError

__all__ = ["grpc_server"]


class _CallAnswered(logging.Filter):
    """Leaves out what is no message, or for a method that is not there: the call has its status."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the server's own fault."""
        return not (
            record.exc_info and isinstance(record.exc_info[1], DecodeError | NotImplementedError)
        )


logging.getLogger("grpc._cython.cygrpc").addFilter(_CallAnswered())


def grpc_server() -> grpc.aio.Server:
    """A server without services."""
    return grpc.aio.server()
