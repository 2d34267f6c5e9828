"""Whatever bytes come to the HTTP endpoints: an answer that names the fault, and no end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
from typing import Any

import aiohttp
import grpc
import pytest
from envoy.service.accesslog.v3 import als_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc
from google.protobuf.message import DecodeError
from harness import RunForemesh
from meshed import Mesh
from services import Door, answers, catalog_of, constituent, read, send

from streams.records import Outcome, Request
from streams.request_path.envoy.access_log_messages import add_access_log_service
from streams.request_path.envoy.discovery import AggregatedDiscoveryService, ResourceSnapshot
from streams.runtime.grpc_serving import grpc_server
from streams.runtime.token_file import token_of
from streams.settings import Settings

DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HUGE = "9" * 20_000
USER = b"x-foremesh-user: ann\r\n"


def knock(at: str, target: bytes, body: bytes = b"", headers: bytes = b"") -> tuple[int, bytes]:
    """Status and whole answer to a POST, written byte by byte as given; 0 when cut off."""
    host, _, port = at.partition(":")
    with socket.create_connection((host, int(port)), 10) as line:
        size = f"content-length: {len(body)}\r\n".encode()
        line.sendall(
            b"POST " + target + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" + size
        )
        line.sendall(headers + b"\r\n" + body)
        answer = b""
        while data := line.recv(65_536):
            answer += data
    return (int(answer[9:12]) if answer else 0), answer


TO_THE_GATEWAY: dict[str, tuple[bytes, bytes, bytes]] = {
    "a user that is no text": (b"/only-a", b"", b"x-foremesh-user: \xe9\r\n"),
    "an id that is no text": (b"/only-a", b"", USER + b"x-request-id: \xff\xfe\r\n"),
    "a tier that is no text": (b"/only-a", b"", USER + b"x-foremesh-tier: \xe9\r\n"),
    "JSON nested without end": (b"/only-a", DEEP, USER),
    "half a pair of surrogates": (b"/only-a", rb'{"a": "\ud800"}', USER),
    "half a pair as a name": (b"/only-a", rb'{"\udfff": 1}', USER),
    "a number of 20,000 digits": (b"/only-a", f'{{"a": {HUGE}}}'.encode(), USER),
    "a body that is no UTF-8": (b"/only-a", b'{"a": "\xff"}', USER),
    "a body that is no gzip": (b"/only-a", b"\x1f\x8bnone", USER + b"content-encoding: gzip\r\n"),
    "a body that is not JSON's": (b"/only-a", b'{"a": NaN}', USER),
    "two users": (b"/only-a", b"", USER + b"x-foremesh-user: bob\r\n"),
    "two ids": (b"/only-a", b"", USER + b"x-request-id: a\r\nx-request-id: b\r\n"),
    "no composite": (b"/", b"", USER),
    "more than a composite": (b"/only-a/", b"", USER),
    "bytes in the path": (b"/only-\xe9", b"", USER),
    "a NUL in a header": (b"/only-a", b"", b"x-foremesh-user: a\x00b\r\n"),
}


async def test_no_bytes_of_a_client_make_the_gateway_fail(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), trust_tier_header=True))
    door = Door(run_foremesh)
    said = {name: knock(door.gateway_at, *given)[0] for name, given in TO_THE_GATEWAY.items()}
    assert {name: status for name, status in said.items() if not 400 <= status < 500} == {}
    async with aiohttp.ClientSession() as session:
        assert (await door.ask(session, "only-a")).status == 200
    assert door.gateway.stop() == 0
    asked = [x.request_id for x in read(settings, "requests") if isinstance(x, Request)]
    told = [x.request_id for x in read(settings, "outcomes") if isinstance(x, Outcome)]
    assert len(asked) == 1
    assert asked == told


async def test_a_body_that_does_not_come_is_waited_for_until_the_deadline(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh, FOREMESH_GATEWAY_DEADLINE_MS="1000")
    host, _, port = door.gateway_at.partition(":")
    with socket.create_connection((host, int(port)), 20) as line:
        line.sendall(b"POST /only-a HTTP/1.1\r\nhost: x\r\n" + USER + b"content-length: 9\r\n\r\n{")
        assert line.recv(65_536).startswith(b"HTTP/1.1 408 ")
    assert read(settings, "requests") == []


async def test_what_is_nowhere_or_too_large_is_refused_in_a_sentence(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh)
    large = b" " * (1 << 21)
    for at, path, headers in (
        (door.gateway_at, b"/only-a", USER),
        (door.provisioner_at, b"/use", ours(settings)),
    ):
        for target, body, status, says in (
            (b"/no/where", b"", 404, "there is nothing at '/no/where'"),
            (path, large, 413, "the body is larger than"),
        ):
            said, answer = knock(at, target, body, headers)
            assert said == status
            assert says in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


async def test_a_method_that_is_not_allowed_is_told_which_are(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh)
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"http://{door.gateway_at}/only-a") as answer,
    ):
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


def refusal_in(answer: bytes) -> str:
    said: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return said


def use(**values: Any) -> bytes:
    return json.dumps({"uses": [{"instance_id": "none", "in_flight": 0, **values}]}).encode()


def ours(settings: Settings) -> bytes:
    """The headers of a client that has read the token."""
    return (
        f"content-type: application/json\r\nauthorization: Bearer {token_of(settings)}\r\n".encode()
    )


TO_THE_PROVISIONER = {
    "a huge count": (b"/use", use(uses=10**30)),
    "a negative time": (b"/use", use(busy_ms=-1)),
    "a count that is none": (b"/use", use(in_flight="many")),
    "a fraction": (b"/use", use(in_flight=0.5)),
    "neither true nor false": (b"/use", use(claimable="yes")),
    "half a pair of surrogates": (b"/use", use(instance_id="\ud800")),
    "an unknown list": (b"/use", b'{"uses": 7}'),
    "a use that is none": (b"/use", b'{"uses": [7]}'),
    "a list": (b"/use", b"[]"),
    "no UTF-8": (b"/use", b"\xff"),
    "JSON nested without end": (b"/use", DEEP),
    "a huge deadline": (
        b"/standard",
        b'{"service": "a", "request_id": "r", "deadline_ms": %d}' % 10**30,
    ),
    "an id that cannot be written": (
        b"/standard",
        rb'{"service": "a", "request_id": "\ud800", "deadline_ms": 1}',
    ),
    "an id without end": (
        b"/standard",
        b'{"service": "a", "request_id": "%s", "deadline_ms": 1}' % (b"x" * 10_000),
    ),
}


async def test_no_bytes_of_a_client_make_the_provisioner_fail(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh)
    said = {
        name: knock(door.provisioner_at, path, body, ours(settings))[0]
        for name, (path, body) in TO_THE_PROVISIONER.items()
    }
    zipped = ours(settings) + b"content-encoding: gzip\r\n"
    assert knock(door.provisioner_at, b"/use", b"\x1f\x8bnone", zipped)[0] == 400
    assert said == dict.fromkeys(TO_THE_PROVISIONER, 400)
    async with aiohttp.ClientSession() as session:
        assert (await door.ask(session, "only-a")).status == 200
    assert door.provisioner.stop() == 0


@pytest.mark.parametrize("most", [2**40, 0])
async def test_reports_of_the_largest_counts_do_not_end_the_instances(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, most: int
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door = Door(run_foremesh)
    async with aiohttp.ClientSession() as session:
        assert (await door.ask(session, "only-a")).status == 200
        url = f"http://{door.provisioner_at}/instances"
        brings = {"Authorization": f"Bearer {token_of(settings)}"}
        async with session.get(url, headers=brings) as answer:
            [instance] = await answer.json()
        told = use(instance_id=instance["instance_id"], uses=most, busy_ms=most)
        for _ in range(3):
            assert knock(door.provisioner_at, b"/use", told, ours(settings))[0] == 204
        assert (await door.ask(session, "only-a")).headers["x-foremesh"] == "hit"


NO_HTTP = {
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 200,
    "a bad request line": b"GARBAGE\r\n\r\n",
    "no version": b"GET / SOMETHING/9.9\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nnone\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
    "a body that is not packed": b"POST / HTTP/1.1\r\ncontent-encoding: gzip\r\n"
    b"content-length: 9\r\n\r\nunpacked!",
}


def shout(at: str, data: bytes) -> None:
    """Send these bytes, and go when the line is closed or nothing has come for a second."""
    host, _, port = at.partition(":")
    with (
        contextlib.suppress(OSError),  # it may be closed before all is sent
        socket.create_connection((host, int(port)), 10) as line,
    ):
        line.settimeout(1)
        line.sendall(data)
        while line.recv(65_536):
            pass


async def test_what_is_no_http_leaves_no_line_in_the_log(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    door, mesh = Door(run_foremesh), Mesh(run_foremesh)
    decide = mesh.start("decide", provisioner=False, envoy=False)["decide"]
    listeners = (
        (door.gateway, door.gateway_at),
        (door.provisioner, door.provisioner_at),
        (decide, mesh.places.decide),
    )
    for process, at in listeners:
        before = process.output
        for data in (*NO_HTTP.values(), *NO_HTTP.values()):
            shout(at, data)
        assert answers(process, at)
        assert process.output == before


TO_THE_DECISIONS = {
    "no JSON": (b"/lease", b"{"),
    "no UTF-8": (b"/lease", b"\xff"),
    "JSON nested without end": (b"/lease", DEEP),
    "nothing": (b"/lease", b""),
    "a list": (b"/lease", b"[]"),
    "a huge deadline": (
        b"/lease", b'{"service": "a", "request_id": "r", "deadline_ms": %d}' % 10**30,
    ),
    "an infinite deadline": (
        b"/lease", b'{"service": "a", "request_id": "r", "deadline_ms": 1e999}',
    ),
    "a service that is none": (
        b"/lease", b'{"service": {"a": 1}, "request_id": "r", "deadline_ms": 1}',
    ),
    "a key that is none": (
        b"/release", b'{"key": [], "instance": "i", "served_ms": 1, "lost": false}',
    ),
    "a time of 5,000 digits": (
        b"/release",
        f'{{"key": "k", "instance": "i", "served_ms": {HUGE}, "lost": false}}'.encode(),
    ),
    "a negative time": (
        b"/release", b'{"key": "k", "instance": "i", "served_ms": -1, "lost": false}',
    ),
    "half a release": (b"/release", b'{"key": "k"}'),
}  # fmt: skip


SAID = {
    "no UTF-8": "the body is not JSON in UTF-8",
    "no JSON": "the body is not JSON in UTF-8",
    "JSON nested without end": "the body is nested too deeply",
    "nothing": "the body is not JSON in UTF-8",
    "a list": "the body: expected an object, got a list",
    "a huge deadline": "deadline_ms: expected a whole number <= 9007199254740992",
    "an infinite deadline": "deadline_ms: number out of range",
    "a service that is none": "service: expected a text, got an object",
    "a key that is none": "key: expected a text, got a list",
    "a time of 5,000 digits": "served_ms: integer value out of range",
    "a negative time": "served_ms: expected a whole number >= 0",
    "half a release": "the body: object missing required field instance",
}


async def test_no_bytes_of_a_client_make_the_decision_service_fail(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    mesh = Mesh(run_foremesh)
    decide, at = mesh.start("decide", provisioner=False, envoy=False)["decide"], mesh.places.decide
    answered = {
        name: knock(at, path, body, ours(settings))
        for name, (path, body) in TO_THE_DECISIONS.items()
    }
    assert {name: status for name, (status, _) in answered.items() if status != 400} == {}
    assert {name: refusal_in(answer) for name, (_, answer) in answered.items()} == SAID
    good = b'{"key": "none", "instance": "i", "served_ms": 1, "lost": false}'
    assert knock(at, b"/release", good, ours(settings))[0] == 204
    assert "Traceback" not in decide.output
    assert decide.stop() == 0


class AccessLogReader:
    """Reads the messages of a stream."""

    async def StreamAccessLogs(self, messages: Any, context: Any) -> Any:  # noqa: N802
        del context
        async for _ in messages:
            pass
        return als_pb2.StreamAccessLogsResponse()


@pytest.mark.parametrize("method", ["StreamAccessLogs", "Nonsense"])
async def test_bytes_that_are_no_message_end_their_call_and_fill_no_log(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = grpc_server()
    add_access_log_service(AccessLogReader(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            path = f"/envoy.service.accesslog.v3.AccessLogService/{method}"
            call = channel.stream_unary(path, lambda data: data, lambda data: data)
            with pytest.raises(grpc.aio.AioRpcError):
                await call(iter([b"\xff" * 100]))
            if method == "StreamAccessLogs":
                assert await call(iter([b""])) == b""
    finally:
        await server.stop(0)
    assert caplog.records == []


class SlowReader:
    """Asks for the next message of a stream when its client has gone, and what came is none."""

    def __init__(self) -> None:
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def StreamAccessLogs(self, messages: Any, context: Any) -> Any:  # noqa: N802
        del messages, context
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DecodeError("no message") from None
        finally:
            self.ended.set()


async def test_a_client_that_is_gone_when_it_is_told_its_fault_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server, reader = grpc_server(), SlowReader()
    add_access_log_service(reader, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
        call = channel.stream_unary(path, lambda data: data, lambda data: data)()
        await call.write(b"")
        await reader.began.wait()
        call.cancel()
        await reader.ended.wait()
    await server.stop(0)
    assert caplog.records == []
    assert "Traceback" not in capfd.readouterr().err


class NoDiscovery(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]  # untyped
    """Serves none of its methods."""


async def test_a_method_that_is_not_served_is_told_and_fills_no_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server = grpc_server()
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(NoDiscovery(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources
        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await asked(iter([])).read()
    await server.stop(0)
    assert caplog.records == []
    assert "Traceback" not in capfd.readouterr().err


async def test_bytes_that_are_no_message_of_envoy_end_its_stream_and_fill_no_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    server, service = grpc_server(), AggregatedDiscoveryService(ResourceSnapshot())
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
        call = channel.stream_stream(path, lambda data: data, lambda data: data)
        with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
            await call(iter([b"\xff" * 100])).read()
    await server.stop(0)
    gc.collect()  # a task whose failure nobody asked for says so now
    assert caplog.records == []
    assert "Traceback" not in capfd.readouterr().err
