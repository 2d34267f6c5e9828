"""Traces over Kafka, on the real stack, as a receiver of OpenTelemetry's protocol gets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import aiohttp
import pytest
from harness import CHECKOUT, RunForemesh, eventually
from live import Live
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from receiver import TLS, ReceivedSpan, TraceReceiver, receiving, serving
from services import Door, catalog_of, constituent, send
from services import command as order

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records.catalog import Tier
from streams.runtime.ports import free_port
from streams.settings import Settings
from streams.tracing.span_exporter import JsonSpanExporter

CALLER = "00f067aa0ba902b7"
LOG = "user,service,ts\n" + "".join(f"u{n % 3},only-a,{n}\n" for n in range(40))


@pytest.fixture
def receiver() -> Iterator[TraceReceiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def settings(settings: Settings, receiver: TraceReceiver) -> Settings:
    return replace(settings, traces=receiver.url, trace_every=1)


def names_above(span: ReceivedSpan, spans: Mapping[str, ReceivedSpan]) -> list[str]:
    """The names of a span and those above it, up to the caller's; none while one has not come."""
    found = [span.name]
    while span.parent != CALLER:
        if span.parent not in spans:
            return []
        span = spans[span.parent]
        found.append(span.name)
    return found[::-1]


def catalogue(settings: Settings) -> None:
    """A constituent of which one more is always worth its price."""
    eager = replace(constituent("a"), price=1e-9)
    entries = [e for e in catalog_of(eager) if not isinstance(e, Tier)]
    send(settings, [*entries, Tier(tier="standard", weight=1e6, sla_ms=2_000)])


def missing(settings: Settings, spans: Mapping[str, ReceivedSpan]) -> list[tuple[str, ...]]:
    """What a trace lacks of a request that was served, learnt from, and summed up as demand."""
    name = settings.topic
    predicted = "POST /{composite}", f"send {name('requests')}", f"profiler {name('requests')}"
    outcome = "POST /{composite}", f"send {name('outcomes')}"
    found = {tuple(names_above(span, spans)) for span in spans.values()}
    summed = *predicted, f"aggregator {name('predictions')}", f"allocator {name('demand')}"
    wanted = [
        (*predicted, f"sink {name('predictions')}"),
        summed,  # what is decided then depends on when demand of other partitions comes
        (*outcome, f"sink {name('outcomes')}"),
        (*outcome, f"feedback {name('outcomes')}"),
    ]
    # Demand is sent at once, or at a tick if some was sent just before.
    found |= {tuple(part for part in chain if part != "aggregator tick") for chain in found}
    return [one for one in wanted if one not in found]


@pytest.mark.timeout(180)
async def test_one_request_is_one_trace_from_the_gateway_to_the_allocator_and_the_sink(
    live: Live, run_foremesh: RunForemesh, receiver: TraceReceiver
) -> None:
    catalogue(live.settings)
    door = Door(run_foremesh)
    live.worker()
    live.sink()
    eventually(lambda: live.count("utilisation") > 3)
    eventually(lambda: live.committed(live.settings.group("allocator")))  # it knows of the room
    traces = [f"{n:032x}" for n in range(1, 21)]
    left: list[list[tuple[str, ...]]] = []
    async with aiohttp.ClientSession() as session:
        for trace in traces:
            answer = await door.ask(session, "only-a", "ann", traceparent=f"00-{trace}-{CALLER}-01")
            assert answer.status == 200
            await asyncio.sleep(3)
            left = [missing(live.settings, receiver.trace(one)) for one in traces]
            if [] in left:
                break

    assert [] in left
    requests = live.settings.topic("requests")
    about = next(s for s in receiver.spans if s.name == f"profiler {requests}").attributes
    assert about["messaging.system"] == "kafka"
    assert about["messaging.destination.name"] == requests
    assert about["messaging.consumer.group.name"] == live.settings.group("profiler")
    assert int(about["messaging.destination.partition.id"]) in range(live.settings.partitions)
    assert about["messaging.kafka.offset"] == 0
    assert about["foremesh.pool"] == "default"
    assert "ann" not in {value for span in receiver.spans for value in span.attributes.values()}


@pytest.mark.timeout(120)
def test_the_trace_of_a_command_goes_on_to_the_provisioner_and_the_sink(
    live: Live, run_foremesh: RunForemesh, receiver: TraceReceiver
) -> None:
    catalogue(live.settings)
    Door(run_foremesh)
    live.sink()
    trace, wanted = "a" * 32, order("a")
    producer = CheckedProducer(producer_config(live.settings))
    header = [("traceparent", f"00-{trace}-{CALLER}-01".encode())]
    name = live.settings.topic
    producer.send(name("commands"), key_of(wanted), codec.encode(wanted), headers=header)
    producer.flush(10)

    def chains() -> set[tuple[str, ...]]:
        spans = receiver.trace(trace)
        return {tuple(names_above(span, spans)) for span in spans.values()}

    chain = {(f"provisioner {name('commands')}",), (f"sink {name('commands')}",)}
    eventually(lambda: chain <= chains())


@pytest.mark.timeout(120)
def test_a_log_begins_traces_and_names_users_where_that_is_wanted(
    live: Live, receiver: TraceReceiver, tmp_path: Path
) -> None:
    catalogue(live.settings)
    live.worker("profiler", "aggregator", FOREMESH_TRACE_USERS="on")
    (tmp_path / "log.csv").write_text(LOG)
    live.run("produce", str(tmp_path / "log.csv"))
    requests = live.settings.topic("requests")

    def profiled() -> list[ReceivedSpan]:
        return [span for span in receiver.spans if span.name == f"profiler {requests}"]

    eventually(lambda: len(profiled()) == 40)
    sent = {s.span: s for s in receiver.spans if s.name == f"send {requests}"}
    assert {sent[span.parent].service for span in profiled()} == {"foremesh-produce"}
    assert len({span.trace for span in profiled()}) == 40
    assert {span.attributes["enduser.id"] for span in profiled()} == {"u0", "u1", "u2"}
    assert all("enduser.id" not in span.attributes for span in sent.values())
    eventually(lambda: any(span.name == "aggregator tick" for span in list(receiver.spans)))
    [tick, *_] = [span for span in receiver.spans if span.name == "aggregator tick"]
    predictions = f"aggregator {live.settings.topic('predictions')}"
    heard = {span.span for span in receiver.spans if span.name == predictions}
    assert tick.parent in heard
    assert tick.links <= heard - {tick.parent}


@pytest.mark.timeout(120)
def test_one_of_so_many_requests_begins_a_trace(
    live: Live, receiver: TraceReceiver, tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text(LOG * 5)
    live.run("produce", str(tmp_path / "log.csv"), FOREMESH_TRACE_EVERY="10")
    assert 2 <= len(receiver.spans) <= 60  # 200 requests, by chance


@pytest.mark.timeout(120)
def test_spans_go_over_tls_to_a_receiver_whose_certificate_is_trusted(
    live: Live, tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    with receiving(tls=True) as receiver:
        to = {"FOREMESH_TRACES": receiver.url, "FOREMESH_TLS_CA": str(TLS / "ca.pem")}
        live.run("produce", str(tmp_path / "log.csv"), **to)
        assert len(receiver.spans) == 40
        live.run("produce", str(tmp_path / "log.csv"), FOREMESH_TRACES=receiver.url)
        assert len(receiver.spans) == 40


@pytest.mark.timeout(120)
def test_a_receiver_that_is_away_holds_up_nothing(live: Live, tmp_path: Path) -> None:
    away = {"FOREMESH_TRACES": f"http://127.0.0.1:{free_port()}"}
    catalogue(live.settings)
    (tmp_path / "log.csv").write_text(LOG * 100)
    running = [live.worker("profiler", **away)]
    live.run("produce", str(tmp_path / "log.csv"), **away)
    live.be_quiet(40)
    assert live.count("predictions") > 0
    assert [one.stop(20) for one in running] == [0]


def test_a_receiver_that_sends_elsewhere_is_told_once_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(301)
            self.send_header("location", "/")
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    span = TracerProvider().get_tracer("test").start_span("lost")
    assert isinstance(span, ReadableSpan)
    with serving(Elsewhere) as url:
        exporter = JsonSpanExporter(url, "", 10.0)
        assert [exporter.export([span]) for _ in range(2)] == [SpanExportResult.FAILURE] * 2

    assert caplog.text.count("Spans are dropped") == caplog.text.count("301") == 1


def test_without_a_receiver_nothing_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys, streams.pipeline.worker, streams.pipeline.sink, streams.cli.log_producer\n"
        "import streams.request_path.gateway.app\n"
        "from streams.settings import Settings\n"
        "from streams.tracing.opening import tracer_of\n"
        "assert tracer_of(Settings(), 'worker') is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
