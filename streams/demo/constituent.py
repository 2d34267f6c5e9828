"""A small HTTP service whose start-up does real work, for demonstrations and tests.

It imports the modules that it is given, reads a model file (written on first use), builds an index
of its rows, and only then listens on PORT. Each POST sums rows of the model. Run by its path, it
imports nothing of foremesh, like a service written by somebody else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path

__all__ = ["IndexedModel", "main", "model_file"]

_MIB = 1024 * 1024
_ROW = 256  # numbers per row of the model
_MOST_BODY = 1024 * 1024


def model_file(folder: Path, mib: int) -> Path:
    """The generated model of this size; renamed once complete, so readers never see a part."""
    path = folder / f"model-{mib}.f64"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        row = random.Random(mib).randbytes(_MIB // 16)  # noqa: S311 - noise, not secrets
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as half:
            for _ in range(mib * 16):
                half.write(row)
        Path(half.name).replace(path)
    return path


class IndexedModel:
    """A model in memory with an index of its rows.

    Parameters
    ----------
    data
        Content of the model file: rows of 256 numbers of 8 bytes.
    index
        Number of rows to index; this is the CPU-bound part of the start-up.
    """

    def __init__(self, data: bytes, index: int) -> None:
        self.weights = array("q", data)
        self.rows = len(self.weights) // _ROW
        self.index = {self._norm(row % self.rows): row for row in range(index)}

    def _norm(self, row: int) -> int:
        return sum(value >> 32 for value in self.weights[row * _ROW : (row + 1) * _ROW])

    def serve(self, work: int) -> int:
        """The work of one request: the norms of `work` rows."""
        return sum(self._norm(row % self.rows) for row in range(work))


async def _handle(
    model: IndexedModel, work: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one keep-alive connection; asyncio sets TCP_NODELAY."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next((int(x[15:]) for x in lines if x.startswith("content-length:")), 0)
            await reader.readexactly(min(length, _MOST_BODY))
            answer = {"answer": model.serve(work)} if lines[0].startswith("post") else {}
            body = json.dumps(answer).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                + str(len(body)).encode()
                + b"\r\n\r\n"
                + body
            )
            await writer.drain()
    writer.close()


async def _serve(model: IndexedModel, work: int, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(
        lambda reader, writer: _handle(model, work, reader, writer), "127.0.0.1", port
    )
    async with server:
        await stop.wait()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--imports", default="", help="modules to import, separated by commas")
    parser.add_argument("--model-mib", type=int, default=4, help="size of the model in memory")
    parser.add_argument("--index", type=int, default=1_000, help="rows to index at start-up")
    parser.add_argument("--work", type=int, default=50, help="rows to read for each request")
    folder = os.environ.get("MODEL_FOLDER", tempfile.gettempdir())
    parser.add_argument("--folder", type=Path, default=Path(folder), help="of the model file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Do the start-up work, then serve until SIGTERM."""
    given = arguments(argv)
    for name in filter(None, given.imports.split(",")):
        importlib.import_module(name)
    model = IndexedModel(model_file(given.folder, given.model_mib).read_bytes(), given.index)
    asyncio.run(_serve(model, given.work, int(os.environ["PORT"])))


if __name__ == "__main__":
    main()
