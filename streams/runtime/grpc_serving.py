"""Serving gRPC: what a client sends that is no message ends its call, and fills no log."""

from __future__ import annotations

import logging

import grpc
from google.protobuf.message import DecodeError

__all__ = ["grpc_server"]


# What is no message, what asks for a method that is not there, and a client that is gone.
_CLIENTS_FAULTS = (DecodeError, NotImplementedError, grpc.aio.InternalError)


class _ClientsFault(logging.Filter):
    """Leaves out what clients can bring about as often as they like: the call has its status."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the server's own fault."""
        return not (record.exc_info and isinstance(record.exc_info[1], _CLIENTS_FAULTS))


logging.getLogger("grpc._cython.cygrpc").addFilter(_ClientsFault())


def grpc_server() -> grpc.aio.Server:
    """A server without services."""
    return grpc.aio.server()
