"""Every table of the command line at 80 columns, as `tests/unit/golden/tables` shows it.

After a change that is meant: `PYTHONPATH=tests .venv/bin/python tests/unit/test_tables.py` draws them anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from rich.console import RenderableType
from tables import PICTURES, picture, piped
from wide_catalog import LONG, wide_catalog

from streams.adapters.kafka.dead_letters import DeadLetterAtOffset
from streams.adapters.kafka.topics import TopicState
from streams.adapters.postgres.explanation import (
    DecisionGrounds,
    InstanceFailure,
    RealisedValue,
    UserBehind,
)
from streams.cli import (
    catalog_tables,
    compare_femux,
    compare_report,
    control,
    db,
    dead_letters,
    doctor,
    forget,
    predict,
    replay,
    reset,
    stack_status,
    topics,
    trial,
)
from streams.cli.explain import explained
from streams.dashboard import glance
from streams.dashboard.glance import PoolGlance
from streams.dashboard.pool_picture import ConstituentPicture
from streams.demo import results
from streams.demo.account import SLICES, Account
from streams.lab.compare.femux import FEMUX, FORESEEN, KEEP_ALIVE, OURS, FemuxScore
from streams.lab.compare.run import PolicyRow
from streams.lab.evaluate import published_report
from streams.lab.evaluate import report as evaluation
from streams.lab.evaluate.published import FoldScore
from streams.lab.evaluate.published_report import LogComparison
from streams.pipeline.forget import ForgottenUser
from streams.pipeline.reset import ResetPlan
from streams.records import (
    Action,
    Command,
    DeadLetter,
    Instance,
    InstanceState,
    Outcome,
    Prediction,
    Result,
    Route,
    ServiceProbability,
)
from streams.records.catalog import Catalog
from streams.records.control import STANDARD, Control, Mode, Pin, Quota, Variant
from streams.records.trials import Score, Trial
from streams.records.verdicts import Alternative, Choice, Expected, Verdict
from streams.report.finding import PartFinding
from streams.report.summary import FlowSummary, summarise
from streams.report.tables import tables
from streams.report.text_table import NAME, NUMBER, WHOLE, TextTable

NOW = 1_700_000_000_000


def outcomes() -> list[Outcome]:
    hit = Outcome(
        request_id="0",
        user="ann",
        tier="gold",
        pool="studio",
        service=LONG,
        at_ms=NOW,
        result=Result.HIT,
        route=Route.PREALLOCATED,
        status=200,
        latency_ms=10.25,
        cold_ms=0,
        saved_ms=22_700,
        parts=(),
    )
    miss = replace(
        hit,
        tier="standard",
        service="upscale",
        result=Result.MISS,
        route=Route.STANDARD,
        latency_ms=22_710.0,
        cold_ms=22_700,
        saved_ms=0,
    )
    return [
        replace(miss if n % 8 == 0 else hit, request_id=str(n), at_ms=NOW + 1_000 * n)
        for n in range(1_200)
    ]


def flow(*, observed: bool = False) -> FlowSummary:
    warm = Instance(
        instance_id="i1",
        service=f"{LONG} base",
        pool="studio",
        state=InstanceState.WARM,
        endpoint="" if observed else "http://127.0.0.1:1",
        command_id="c1",
        started_ms=NOW - 11_000,
        changed_ms=NOW - 10_000,
        warm_since_ms=NOW - 10_000,
        busy_ms=0 if observed else 400_000,
    )
    command = Command(
        command_id="c1",
        pool="studio",
        action=Action.PROVISION,
        service=f"{LONG} base",
        count=1,
        value=1.0,
        cost=0.1,
        priority=0.0,
        issued_ms=NOW - 11_000,
        expires_ms=NOW,
        reason="",
        tier="gold",
    )
    found = outcomes()
    if observed:
        found = [replace(one, route=Route.OBSERVED) for one in found]
    return summarise(found, [warm], [command])


def replayed() -> Iterable[RenderableType]:
    records = Counter({"Request": 1_200, "Prediction": 1_200, "Outcome": 1_200, "Command": 41})
    reasons = Counter({"the time 'soon' is neither ISO 8601 nor a number of seconds": 3})
    return replay.shown(flow(observed=True), records, reasons)


def policy(name: str, parameter: str, rate: float, warm_h: float, cost: float) -> PolicyRow:
    return PolicyRow(
        policy=name,
        parameter=parameter,
        requests=20_000,
        cold_start_rate=rate,
        cold_start_ms=round(20_000 * rate * 22_700),
        wasted_seconds=3_600 * warm_h,
        wasted_gb_s=3_600 * warm_h * 4,
        cost=cost,
        total_cost=cost + 4_000 * rate,
    )


def compared() -> Iterable[RenderableType]:
    rows = [
        policy("keep-alive", "10m", 0.139, 862, 86.2),
        policy("keep-alive", "4h", 0.03, 4_294, 429.4),
        policy("hybrid histogram", "4h", 0.025, 5_210, 521.0),
        policy("greedy-dual", "0.5 of memory", 0.02, 9_000, 900.0),
        policy("oracle, pre-warming", "", 0.0, 120, 12.0),
        *(
            policy("foremesh", f"{price} x price", rate, warm_h, warm_h / 10)
            for price, rate, warm_h in [
                ("0.1", 0.012, 6_431),
                ("1", 0.036, 1_900),
                ("4", 0.14, 300),
            ]
        ),
    ]
    return compare_report.shown(rows, hours=720.0, today=("keep-alive", "10m"), guessed=True)


def compared_with_femux() -> Iterable[RenderableType]:
    total = {
        OURS: FemuxScore(cold=14_310.0, gbs=71_234.5),
        FEMUX: FemuxScore(cold=20_411.0, gbs=88_120.0),
        FORESEEN: FemuxScore(cold=0.0, gbs=40_000.0),
        f"{KEEP_ALIVE} 10 min": FemuxScore(cold=11_000.0, gbs=120_000.0),
    }
    yield compare_femux.table_of(total, 200)
    yield compare_femux.verdict(total)


def scored() -> Iterable[RenderableType]:
    names = ("accuracy_1", "recall_3", "recall_5", "mrr", "log_loss", "brier", "ece")
    models = {
        model: {"n": 123_456, **{name: 0.1 + i / 9 + k / 50 for k, name in enumerate(names)}}
        for i, model in enumerate(["mixture", "order 2", "frequency", "rnn", "mixture+rnn"])
    }
    errors = {"n": 9_000, "brier_60s": 0.1234, "brier_600s": 0.2, "pinball_0.5": 1.05}
    figures = {
        "events": 130_000,
        "us_per_event": 412.3,
        "state_bytes_median": 812,
        "state_bytes_max": 65_536,
        "slices": {"all": models, "history_20_99": models},
        "when": {"mixture": errors, "empirical": {**errors, "brier_60s": 0.2}},
        "ahead": {"next": errors, "frequency": errors},
        "demand": {name: {"n": 9, "rmse": 1.5} for name in ("forecast", "last", "season", "mean")},
    }
    intervals = "demand, 1,440 intervals of 60 s, 100 services, 12 with a season"
    return evaluation.tables_of("image-generation/requests.csv.gz", figures, intervals)


def published() -> Iterable[RenderableType]:
    one = LogComparison(
        ours=[FoldScore(accuracy=0.8125, mae_days=1.25)],
        network=[FoldScore(accuracy=0.8175, mae_days=1.2)],
        batch=[FoldScore(accuracy=0.8205, mae_days=1.1)],
        accuracy={"Tax": {0: 0.8}, "Theis_no_resource": {0: 0.83}, "Camargo": {0: 0.7}},
        mae_days={"Tax": {0: 1.5}, "Camargo": {0: 1.4}},
    )
    logs = {"BPI_Challenge_2012_W_Complete": one, "env_permit": one, "Helpdesk": one}
    yield from published_report.summaries(logs)
    yield published_report.verdict(logs)


def controls() -> list[Control]:
    pin = Pin(service=LONG, least=2, most=9, days=(1, 5), from_minute=480, until_minute=1_110)
    bold = Variant(name="bold", price=0.5)
    return [
        Control(
            pool="studio",
            mode=Mode.SHADOW,
            paused=True,
            budget=12.5,
            pins=(pin, Pin(service="upscale", least=1)),
            quotas=(Quota(tier="standard", budget=3.0),),
            variants=(STANDARD, bold),
            by="ann",
            reason="a launch on Monday: the base has to be there before anybody asks for it",
        ),
        Control(pool="checkout"),
    ]


def tried() -> Iterable[RenderableType]:
    scores = (
        Score(variant="standard", requests=12_345, saved_ms=9_876_543, cold_ms=1_234_567,
              wasted_ms=8_765_432, worth=987.65, cost=123.4),
        Score(variant="bold", requests=12_345, saved_ms=10_876_543, cold_ms=234_567,
              wasted_ms=28_765_432, worth=1_087.65, cost=183.4),
    )  # fmt: skip
    trials = {"studio": Trial(pool="studio", since_ms=NOW, at_ms=NOW + 60_000, scores=scores)}
    return trial.tables(controls(), trials)


def grounds() -> DecisionGrounds:
    verdict = Verdict(
        pool="studio",
        service=f"{LONG} base",
        at_ms=NOW,
        choice=Choice.START,
        mode=Mode.ON,
        command_id="c1",
        instance=2,
        have=1,
        chance=0.731,
        value=0.04,
        cost=0.02,
        bound="value",
        tier="gold",
        price=0.6,
        horizon_ms=120_000,
        warm_up_ms=22_700,
        expected=(Expected(service=LONG, tier="gold", requests=1.25),),
        alternatives=(Alternative(what="two instances of it at once", value=0.05, cost=0.04),),
    )
    realised = RealisedValue(
        instance_id="studio-4f1c9a52-2",
        expected_uses=0.731,
        expected_saved_s=16.6,
        expected_cost=0.02,
        realised_uses=1,
        realised_saved_s=22.7,
        wasted_s=41.0,
        wasted_cost=0.0068,
    )
    failure = InstanceFailure(
        instance_id="studio-4f1c9a52-1",
        gone_ms=NOW - 20_000,
        reason="crashed: Kubernetes made no pod: exceeded quota: small",
    )
    users = (
        UserBehind(user="ann", tier="gold", service=LONG, within=0.61, made_ms=NOW - 40_000),
        UserBehind(user="b" * 40, tier="gold", service="upscale", within=0.2, made_ms=NOW - 90_000),
    )
    return DecisionGrounds(
        verdict=verdict,
        reason=f"1.25 requests for {LONG} are expected within 2 min",
        warm=1,
        users=users,
        realised=(realised,),
        failures=(failure,),
    )


def vector() -> Prediction:
    return Prediction(
        request_id="r1",
        user="ann",
        services=(
            ServiceProbability(service=LONG, probability=0.75, within=0.5),
            ServiceProbability(service="upscale", probability=0.125, within=0.08),
        ),
        unseen=0.125,
        horizon_ms=120_000,
        expected_ms=(12_000, 73_000, 3_600_000),
        made_ms=NOW,
        expires_ms=NOW + 600_000,
        model="mixture 7",
    )


def cleared(**counts: int) -> Iterable[RenderableType]:
    wanted = ResetPlan(
        pools=("studio", "default"),
        topics={"requests": counts.get("records", 0), "profiler-state": counts.get("states", 0)},
        groups=("profiler", "provisioner-studio") if counts else (),
        tables={"prediction_history": counts.get("rows", 0), "dead_letters": 0},
        running={},
    )
    yield reset.table_of(wanted)


def forgotten(state: dict[str, int], tables: dict[str, int]) -> Iterable[RenderableType]:
    yield forget.table_of(ForgottenUser(user="u" * 64, state=state, tables=tables))


def letter(topic: str, offset: int, reason: str) -> DeadLetterAtOffset:
    return DeadLetterAtOffset(
        partition=0,
        offset=offset,
        stored_ms=NOW,
        letter=DeadLetter(
            topic=topic,
            partition=3,
            offset=12_345_678,
            stage="profiler",
            reason=reason,
            at_ms=NOW,
            key=b"5f2b8c7a-1d0e-4b7c-9a64-b2a4c07e9f10",
            value=b"\xff original",
        ),
    )


def letters() -> Iterable[RenderableType]:
    why = (
        "the service 'checkuot' is not in the catalogue; catalog.yaml has checkout, search and pay"
    )
    yield dead_letters.table_of(
        120, [letter("requests", 1, why), letter("shop-2026-01-31.csv.gz", 2, "not Avro")]
    )


def findings() -> Iterable[RenderableType]:
    lost = "1 member, 7 records behind"
    yield doctor.table_of([
        PartFinding(check="broker", ok=True, says="answers at 127.0.0.1:9092"),
        PartFinding(check="database", ok=False, says="lacks 0007_controls, 0008_views and"
                    " 0009_requests_by_minute: run `foremesh db migrate`"),
        PartFinding(check="lag of profiler", ok=True, says=lost),
        PartFinding(check="gateway", ok=True, says="does not answer at 127.0.0.1:8080", there=False),
    ])  # fmt: skip


def servers() -> Iterable[RenderableType]:
    url = "postgresql://foremesh:4-bQ8XcYfH0m_3Zb9WvT1uNqkLrS2pDx@127.0.0.1:15433/foremesh"
    state = stack_status.ServerState
    yield stack_status.table_of([
        state(server="Kafka", pid=12_345, address="127.0.0.1:19092", log="build/stack/kafka/log"),
        state(server="PostgreSQL", pid=12_346, address=url, log="build/stack/postgres/log"),
    ])  # fmt: skip


def demonstrated() -> Iterable[RenderableType]:
    arms = [
        Account(title=title, requests=640, hits=hits, served=640, late=0, waited_s=waited_s,
                started_before=hits, warm_s=0.0,
                waiting=waiting, spent=spent, shares=dict.fromkeys(SLICES, (hits // 9, 71)))
        for title, hits, waited_s, waiting, spent in [
            ("no pre-allocation", 12, 4_310.0, 43.1, 0.2),
            ("keep-alive 73 s", 401, 1_204.0, 12.0, 3.1),
            ("foremesh", 590, 310.0, 3.1, 3.0),
        ]
    ]  # fmt: skip
    yield from results.tables(arms)
    yield results.verdict(arms, 11.0)


def glanced() -> Iterable[RenderableType]:
    minute = {"tier": "gold", "requests": 120, "hits": 111, "refused": 0, "cold_ms": 204_300,
              "saved_ms": 2_519_700}  # fmt: skip
    constituents = [
        ConstituentPicture(
            service=f"{LONG} base",
            counts={"warm": 2, "busy": 1},
            queued=1,
            why="one more is wanted, memory is short: worth 0.04, costs 0.02",
        ),
        ConstituentPicture(service="upscale", counts={"starting": 1}, why="pinned by an operator"),
    ]
    why = f"1.25 requests for {LONG} are expected within 2 min"
    decision = {"action": "provision", "service": f"{LONG} base", "reason": why, "issued_ms": NOW}
    return glance.tables(
        PoolGlance(
            pool="studio",
            now_ms=NOW,
            hour=[{**minute, "at_ms": NOW - 60_000 * n} for n in range(60)],
            constituents=constituents,
            decisions=[decision, {**decision, "action": "release", "reason": "idle"}],
        )
    )


TABLES: dict[str, Callable[[], Iterable[RenderableType]]] = {
    "report": lambda: tables(flow()),
    "replay": replayed,
    "compare": compared,
    "compare_femux": compared_with_femux,
    "evaluate": scored,
    "evaluate_ppm": published,
    "control_show": lambda: [control.table_of(controls())],
    "control_show_nothing": lambda: [control.table_of([])],
    "control_trial": tried,
    "explain": lambda: explained(grounds()),
    "top": glanced,
    "top_nothing": lambda: glance.tables(PoolGlance(pool="studio", now_ms=None)),
    "catalog_show": lambda: catalog_tables.tables_of(wide_catalog(layered=False)),
    "catalog_show_layered": lambda: catalog_tables.tables_of(wide_catalog(layered=True)),
    "catalog_show_nothing": lambda: catalog_tables.tables_of(Catalog()),
    "reset": lambda: cleared(records=12_345_678, states=30, rows=1_234_567),
    "reset_nothing": cleared,
    "forget": lambda: forgotten({"aggregator": 2}, {"prediction_history": 1_234_567}),
    "forget_nothing": lambda: forgotten({"aggregator": 0}, {"prediction_history": 0}),
    "predict": lambda: [predict.table_of(vector())],
    "dead_letters_list": letters,
    "doctor": findings,
    "status": servers,
    "topics_create": lambda: [
        topics.table_of(
            [
                TopicState(name="requests", partitions=8, created=True),
                TopicState(name="foremesh-profiler-state-changelog", partitions=8, created=False),
            ]
        )
    ],
    "db_prune": lambda: [db.table_of({"predictions": 1_234_567, "outcome_parts": 12})],
    "demo": demonstrated,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_looks_as_it_did_and_no_line_is_longer_than_80_columns(name: str) -> None:
    assert piped(TABLES[name]()) == picture(name)


@pytest.mark.parametrize("name", TABLES)
def test_the_last_line_of_a_table_is_a_sentence(name: str) -> None:
    assert piped(TABLES[name]()).splitlines()[-1][-1:] in {".", "%"}


def test_a_word_without_room_ends_in_a_mark_and_numbers_stay_whole() -> None:
    table = TextTable(
        columns={"name": NAME, "id": WHOLE, "n": NUMBER},
        rows=[("a sentence of words and " + "x" * 70, "i" * 30, "1,234,567")],
        legend="",
    )
    text = piped([table])
    assert "a sentence of words and" in text
    assert "x…" in text
    assert "i" * 30 in text
    assert "1,234,567" in text


if __name__ == "__main__":
    for title, parts in TABLES.items():
        (PICTURES / f"{title}.txt").write_text(piped(parts()), encoding="utf-8")
