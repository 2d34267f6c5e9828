"""Bytes of every released schema version: what stands in old topics stays readable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from harness import CHECKOUT

from streams.adapters.avro.codec import decode, encode
from streams.flow.topology import TOPOLOGY
from streams.records import (
    Action,
    ColdStart,
    Command,
    DeadLetter,
    Demand,
    Feedback,
    Instance,
    InstanceState,
    LoggedUse,
    MeasuredWarmUp,
    Outcome,
    Part,
    Prediction,
    Record,
    Request,
    Result,
    Route,
    ServiceDemand,
    ServiceProbability,
    Source,
    Utilisation,
    Watermark,
)
from streams.records.catalog import Composite, Constituent, Pool, Resources, Tier
from streams.records.control import Control, Mode, Pin, Quota, Variant
from streams.records.trials import Score, Trial
from streams.records.verdicts import Alternative, Choice, Expected, Verdict

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_700_000_000_000
PREDICTION = Prediction(
    request_id="r-1",
    user="ann",
    services=(
        ServiceProbability(service="checkout", probability=0.625, within=0.25, soon=0.375),
        ServiceProbability(service="search", probability=0.25, within=0.125, soon=0.25),
    ),
    unseen=0.125,
    horizon_ms=10_000,
    expected_ms=(1_000, 30_000, 900_000),
    soon=0.5,
    made_ms=NOW,
    expires_ms=NOW + 900_000,
    model="counts/1",
    tier="gold",
    pool="eu",
)
FEEDBACK = Feedback(  # the same of all versions: what later ones lack is not read
    request_id="r-1",
    user="ann",
    tier="gold",
    pool="eu",
    service="checkout",
    at_ms=NOW,
    result=Result.PARTIAL,
    warm_ups=(MeasuredWarmUp(service="pricing", count=1, total_ms=448, squares_ms2=2e5),),
)
REQUEST = Request(
    request_id="r-1",
    user="ann",
    service="checkout",
    at_ms=NOW,
    parameters={"size": "XL", "größe": "42"},
    tier="gold",
    pool="eu",
    source=Source.GATEWAY,
)
INSTANCE = Instance(
    instance_id="i-1",
    service="pricing",
    pool="eu",
    state=InstanceState.BUSY,
    endpoint="http://127.0.0.1:4711",
    command_id="c-1",
    started_ms=NOW,
    changed_ms=NOW + 60_000,
    warm_since_ms=NOW + 2_000,
    gone_ms=None,
    uses=3,
    busy_ms=450,
    reason="claimed",
)

# What the bytes of a version mean today. A later version adds its own bytes and examples; those
# of an earlier one stay, with the defaults of the fields that it lacks.
EXAMPLES: dict[str, Record] = {
    "request/v1": REQUEST,
    "request/v2": replace(REQUEST, source=Source.LOG, serve_ms=32_000),
    "prediction/v1": Prediction(
        request_id="r-1",
        user="ann",
        services=(
            ServiceProbability(service="checkout", probability=0.625, within=0.25),
            ServiceProbability(service="search", probability=0.25, within=0.125),
        ),
        unseen=0.125,
        horizon_ms=60_000,
        expected_ms=(1_000, 30_000, 900_000),
        made_ms=NOW,
        expires_ms=NOW + 900_000,
        model="counts/1",
        tier="gold",
        pool="eu",
    ),
    "prediction/v2": PREDICTION,
    "prediction/v3": replace(PREDICTION, asked="pay"),
    "prediction/v4": replace(
        PREDICTION,
        asked="pay",
        services=(
            ServiceProbability("checkout", 0.625, 0.25, 0.375, 0.5, 0.75),
            ServiceProbability("search", 0.25, 0.125, 0.25, 0.375, 0.125),
        ),
    ),
    "demand/v1": Demand(
        pool="eu",
        partition=3,
        at_ms=NOW,
        horizon_ms=60_000,
        services=(ServiceDemand(service="checkout", tier="gold", expected=1.5),),
        warm_ups=(MeasuredWarmUp(service="pricing", count=2, total_ms=900, squares_ms2=410_000.0),),
        expires_ms=NOW + 60_000,
    ),
    "demand/v2": Demand(
        pool="eu",
        partition=3,
        at_ms=NOW,
        horizon_ms=60_000,
        services=(ServiceDemand(service="checkout", tier="gold", expected=1.5, seen=7),),
        warm_ups=(MeasuredWarmUp(service="pricing", count=2, total_ms=900, squares_ms2=410_000.0),),
        expires_ms=NOW + 60_000,
    ),
    "demand/v3": Demand(
        pool="eu",
        partition=3,
        at_ms=NOW,
        horizon_ms=60_000,
        services=(ServiceDemand(service="checkout", tier="gold", expected=1.5, seen=7),),
        warm_ups=(MeasuredWarmUp(service="pricing", count=2, total_ms=900, squares_ms2=410_000.0),),
        expires_ms=NOW + 60_000,
    ),
    "constituent/v1": Constituent(
        service="pricing",
        needs=Resources(cpu=500.0, memory=256.0, bandwidth=10.0),
        warm_up_ms=450,
        price=0.25,
        concurrency=4,
        command=("python", "-m", "pricing"),
        health="/ready",
    ),
    "constituent/v2": Constituent(
        service="pricing",
        needs=Resources(cpu=500.0, memory=256.0, bandwidth=10.0),
        warm_up_ms=450,
        price=0.25,
        command=("python", "-m", "pricing"),
        warm_up="/price",
        warm_up_body='{"item": 1}',
    ),
    "constituent/v3": Constituent(
        service="sketch",
        needs=Resources(cpu=500.0, memory=256.0, bandwidth=10.0),
        warm_up_ms=450,
        price=0.25,
        base="model",
    ),
    "composite/v1": Composite(service="checkout", steps=(("pricing", "stock"), ("payment",))),
    "composite/v2": Composite(
        service="checkout",
        steps=(("pricing", "stock"), ("payment",)),
        logged=("size", "colour"),
    ),
    "composite/v3": Composite(
        service="checkout", steps=(("pricing", "stock"), ("payment",)), idempotent=True
    ),
    "tier/v1": Tier(tier="gold", weight=2.5, sla_ms=300, priority=1),
    "tier/v2": Tier(tier="gold", weight=2.5, sla_ms=300, priority=1, quota=0.25),
    "pool/v1": Pool(pool="eu", capacity=Resources(cpu=4_000.0, memory=8_192.0)),
    "pool/v2": Pool(
        pool="eu", capacity=Resources(cpu=4_000.0, memory=8_192.0), trust_tier_header=True
    ),
    "utilisation/v1": Utilisation(
        pool="eu", at_ms=NOW, capacity=Resources(cpu=4_000.0), used=Resources(cpu=500.0)
    ),
    "command/v1": Command(
        command_id="c-1",
        pool="eu",
        action=Action.QUEUE,
        service="pricing",
        count=2,
        value=1.5,
        cost=0.5,
        priority=3.25,
        issued_ms=NOW,
        expires_ms=NOW + 30_000,
        reason="worth 1.5, costs 0.5, no memory left",
        tier="gold",
    ),
    "control/v1": Control(
        pool="eu",
        mode=Mode.SHADOW,
        paused=True,
        budget=2.5,
        pins=(
            Pin(
                service="pricing",
                least=1,
                most=4,
                days=(1, 7),
                from_minute=480,
                until_minute=1_080,
            ),
            Pin(service="payment", least=2),
        ),
        quotas=(Quota(tier="bronze", budget=0.5),),
        reason="a sale",
    ),
    "control/v2": Control(
        pool="eu",
        quotas=(Quota(tier="bronze", budget=0.5),),
        variants=(
            Variant(),
            Variant(name="bold", price=0.5, slack=0.25, settle_ms=30_000),
        ),
    ),
    "control/v3": Control(
        pool="eu",
        paused=True,
        reason="a sale",
        variants=(Variant(),),
        by="ann",
        at_ms=NOW,
    ),
    "verdict/v2": Verdict(
        pool="eu",
        service="pricing",
        at_ms=NOW,
        choice=Choice.START,
        mode=Mode.SHADOW,
        command_id="bold~eu/pricing/1700000000000/1",
        instance=1,
        have=0,
        chance=0.75,
        value=1.5,
        cost=0.5,
        bound="value",
        tier="gold",
        price=0.25,
        horizon_ms=60_000,
        warm_up_ms=450,
        challenger="bold",
    ),
    "trial/v1": Trial(
        pool="eu",
        since_ms=NOW,
        at_ms=NOW + 60_000,
        scores=(
            Score(variant="standard", requests=3, cold_ms=450, saved_ms=900, cost=0.25),
            Score(
                variant="bold",
                requests=3,
                saved_ms=1_350,
                warm_ms=9_000,
                wasted_ms=8_000,
                worth=1.5,
            ),
        ),
    ),
    "verdict/v1": Verdict(
        pool="eu",
        service="pricing",
        at_ms=NOW,
        choice=Choice.QUEUE,
        mode=Mode.ON,
        command_id="c-1",
        instance=2,
        have=1,
        chance=0.75,
        value=1.5,
        cost=0.5,
        bound="memory",
        tier="gold",
        price=0.25,
        horizon_ms=60_000,
        warm_up_ms=450,
        expected=(Expected(service="checkout", tier="gold", requests=1.5),),
        alternatives=(Alternative(what="leave it", value=0.0, cost=0.0),),
    ),
    "instance/v1": INSTANCE,
    "instance/v2": replace(
        INSTANCE, state=InstanceState.WARM, busy_until_ms=NOW + 90_000, serves_until_ms=NOW + 99_000
    ),
    "watermark/v1": Watermark(
        log="4f0c", source="requests.csv", at_ms=NOW, number=26_823, complete=True
    ),
    "cold-start/v1": ColdStart(request_id="r-1", pool="eu", service="pricing", at_ms=NOW),
    "cold-start/v2": ColdStart(
        request_id="r-1", pool="eu", service="pricing", at_ms=NOW, serve_ms=32_000
    ),
    "logged-use/v1": LoggedUse(
        request_id="r-1",
        pool="eu",
        service="pricing",
        instance_id="i-1",
        at_ms=NOW,
        serve_ms=32_000,
    ),
    "outcome/v1": Outcome(
        request_id="r-1",
        user="ann",
        tier="gold",
        pool="eu",
        service="checkout",
        at_ms=NOW,
        result=Result.PARTIAL,
        route=Route.STANDARD,
        status=200,
        latency_ms=512.5,
        cold_ms=450,
        saved_ms=700,
        parts=(
            Part(service="pricing", warm=False, wait_ms=450, serve_ms=20, warm_up_ms=448),
            Part(service="payment", warm=True, instance_id="i-2", serve_ms=30),
        ),
        source=Source.GATEWAY,
    ),
    "feedback/v1": FEEDBACK,
    "feedback/v2": FEEDBACK,
    "feedback/v3": FEEDBACK,
    "dead-letter/v1": DeadLetter(
        topic="requests",
        partition=3,
        offset=42,
        stage="profiler",
        reason="empty",
        at_ms=NOW,
        key=None,
        value=b"\x00\xff",
    ),
    "dead-letter/v2": DeadLetter(
        topic="requests",
        partition=3,
        offset=42,
        stage="profiler",
        reason="empty",
        at_ms=NOW,
        key=b"ann",
        value=b"\x00\xff",
        key_size=3,
        value_size=70_000,
        sha256="06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8",
    ),
}


@pytest.mark.parametrize("version", EXAMPLES)
def test_bytes_of_a_released_version_still_mean_the_same(version: str) -> None:
    golden = bytes.fromhex((GOLDEN / f"{version}.hex").read_text())

    assert decode(golden) == EXAMPLES[version]


@pytest.mark.parametrize("record", TOPOLOGY.schemas)
def test_the_highest_version_is_the_one_written(record: str) -> None:
    highest = max(EXAMPLES, key=lambda version: (version.startswith(f"{record}/"), version))
    golden = bytes.fromhex((GOLDEN / f"{highest}.hex").read_text())

    assert encode(EXAMPLES[highest]) == golden


def test_every_released_version_has_golden_bytes() -> None:
    released = {str(p.relative_to(CHECKOUT / "schemas"))[:-5] for p in schema_files()}

    assert released == set(EXAMPLES)


def schema_files() -> list[Path]:
    return list((CHECKOUT / "schemas").rglob("*.avsc"))
