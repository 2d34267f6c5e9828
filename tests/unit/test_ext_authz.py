from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from services import catalog_of, constituent
from test_claims import claims
from test_leases import table

from streams.request_path.core.claims import InstanceClaims
from streams.request_path.envoy import ext_authz
from streams.request_path.envoy.ext_authz import CheckListener, ExtAuthzChecks

STANDARD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
CLAIMED = (
    b"HTTP/1.1 200 OK\r\nx-gateway-destination-endpoint: 127.0.0.1:1\r\ncontent-length: 0\r\n\r\n"
)
CATALOG = catalog_of(constituent("a"), constituent("b", concurrency=8))


def checks(free: InstanceClaims) -> ExtAuthzChecks:
    made = ExtAuthzChecks(free, table(free), 10_000)
    made.set_catalog(CATALOG)
    return made


def head(path: str, method: str = "GET") -> bytes:
    told = "host: mesh\r\ncontent-length: 0\r\nx-request-id: r1"
    return f"{method} {path} HTTP/1.1\r\n{told}".encode()


@pytest.mark.parametrize(
    "path",
    ["/composite/only-a", "/composite/only-a?x=/y", "/composite/only-a/more", "/constituent/a"],
)
def test_a_request_for_an_exclusive_constituent_gets_a_free_instance_once(path: str) -> None:
    asked = checks(claims("x"))

    assert asked.answer(head(path, "POST")) == CLAIMED
    assert asked.answer(head(path, "POST")) == STANDARD


@pytest.mark.parametrize(
    "path",
    ["/composite/only-b", "/composite/all", "/composite/nobody", "/composite", "/constituent/b"],
)
def test_any_other_request_takes_the_standard_path(path: str) -> None:
    assert checks(claims("x")).answer(head(path)) == STANDARD


def test_a_claim_goes_by_the_id_of_its_request() -> None:
    free = claims("x")
    leases = table(free)
    asked = ExtAuthzChecks(free, leases, 10_000)
    asked.set_catalog(CATALOG)
    asked.answer(head("/constituent/a"))
    leases.release("r1/a", "x", 5)

    assert free.claim("a") is not None


def test_nothing_is_claimed_for_a_request_that_has_just_ended() -> None:
    free = claims("x")
    leases = table(free)
    asked = ExtAuthzChecks(free, leases, 10_000)
    asked.set_catalog(CATALOG)
    leases.release("r1/a", "", 0)  # Envoy did not wait, and the standard path has served it
    leases.expire(0)

    assert asked.answer(head("/constituent/a")) == STANDARD
    leases.expire(500)
    assert asked.answer(head("/constituent/a")) == CLAIMED


class Wire(asyncio.Transport):
    """A connection without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def get_protocol(self) -> asyncio.Protocol:
        return self.protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def abort(self) -> None:
        self.closed = True


class Other(asyncio.Protocol):
    def __init__(self) -> None:
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data


def connected(answer: Callable[[bytes], bytes], *told: bytes) -> tuple[Wire, Other]:
    wire, other = Wire(), Other()
    opened(CheckListener(answer, lambda: other), wire)
    for data in told:
        wire.protocol.data_received(data)
    return wire, other


def opened(listener: CheckListener, wire: Wire) -> Wire:
    wire.protocol = listener()
    wire.protocol.connection_made(wire)
    return wire


async def test_checks_are_answered_in_turn_however_their_bytes_come() -> None:
    whole = b"GET /composite/1 HTTP/1.1\r\na: b\r\n\r\nGET /composite/2 HTTP/1.1\r\n\r\n"
    for size in (1, 7, len(whole)):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        wire, _ = connected(lambda asked: asked.split()[1], *pieces)

        assert wire.sent == [b"/composite/1", b"/composite/2"]


async def test_who_asks_for_something_else_is_left_to_the_others() -> None:
    asked = b"POST /lease HTTP/1.1\r\n\r\n{}"
    wire, other = connected(lambda _: b"", asked[:9], asked[9:])

    assert (other.seen, wire.sent) == (asked, [])


async def test_who_never_ends_a_line_is_let_go() -> None:
    wire, _ = connected(lambda _: b"", *[b"x" * 100_000] * 11)

    assert wire.closed


CHECK = b"GET /composite/1 HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("told", [b"", CHECK[:9], CHECK, CHECK + CHECK[:-1]])
async def test_who_asks_nothing_for_long_is_let_go(
    told: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ext_authz, "FIRST_S", 0.01)
    monkeypatch.setattr(ext_authz, "_SILENT_S", 0.02)
    wire, _ = connected(lambda _: b"", told)
    await asyncio.sleep(0.2)

    assert wire.closed


async def test_one_connection_too_many_is_ended_until_another_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ext_authz, "most_connections", lambda: 2)
    listener = CheckListener(lambda _: b"", Other)
    first, second, third = [opened(listener, Wire()) for _ in range(3)]
    assert [wire.closed for wire in (first, second, third)] == [False, False, True]
    first.protocol.connection_lost(None)

    assert not opened(listener, Wire()).closed
