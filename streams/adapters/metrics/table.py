"""All metrics. `docs/reference/metrics.md` is made from this table: `foremesh metrics` prints it.

Names have base units; a label has a bounded number of values, and none of them names a user.
"""

from __future__ import annotations

from streams.adapters.metrics.definition import PROCESSES, BoundedNames, MetricTable
from streams.records import InstanceState, Result, Route
from streams.records.control import Mode
from streams.records.verdicts import Choice

__all__ = [
    "ARRIVED_REQUESTS",
    "BATCH_SECONDS",
    "BUDGET",
    "BUILD_INFO",
    "CAPACITY_BANDWIDTH",
    "CAPACITY_CPU",
    "CAPACITY_MEMORY",
    "CARRIED_OUT",
    "CONSTITUENTS",
    "COST",
    "CRASHES",
    "DEAD_LETTERS",
    "DEAD_REASONS",
    "DECIDED",
    "DECISIONS",
    "DELAY_SECONDS",
    "DID",
    "EVENTS_LOST",
    "EVENTS_WAITING",
    "EVENT_TO_WARM_SECONDS",
    "EXPECTED_REQUESTS",
    "FAILED_TICKS",
    "FAILURES",
    "INSTANCES",
    "INSTANCE_SECONDS",
    "IN_PROGRESS",
    "KAFKA_UP",
    "LAG",
    "LOG_ENTRIES",
    "LOG_LOSS",
    "POOLS",
    "POSTGRES_UP",
    "PROBABILITIES",
    "QUEUED_WANTS",
    "QUEUE_LENGTH",
    "RECORDS",
    "REQUESTS",
    "REQUEST_SECONDS",
    "ROWS",
    "SAVED_SECONDS",
    "SCORED",
    "SERVICES",
    "SERVING_SECONDS",
    "SINK_FAILED",
    "SINK_RETRIES",
    "SPENDING",
    "STARTS",
    "START_FAILURES",
    "START_SECONDS",
    "TABLE",
    "TIERS",
    "TOP_CAME",
    "TOP_PREDICTED",
    "TOP_SCORED",
    "USED_BANDWIDTH",
    "USED_CPU",
    "USED_MEMORY",
    "WAIT_SECONDS",
]

TABLE = MetricTable()
_counter, _gauge, _histogram = TABLE.counter, TABLE.gauge, TABLE.histogram

MOST_NAMES = 50  # constituents, composites; further ones are counted together
CONSTITUENTS, SERVICES = BoundedNames(MOST_NAMES), BoundedNames(MOST_NAMES)
POOLS, TIERS = BoundedNames(20), BoundedNames(10)
_CONSTITUENT = f"constituent (the first {MOST_NAMES} and `other`)"
_SERVICE = f"composite (the first {MOST_NAMES} and `other`)"
_POOL, _TIER = "pool (the first 20 and `other`)", "tier (the first 10 and `other`)"
_STAGE, _PARTITION = "stage, or `sink`", "number of a partition"

DEAD_REASONS = (
    *("undecodable", "misplaced", "not_in_catalogue", "unusable", "no_room"),
    *("failed", "unstorable"),
)
BOUNDS = ("value", "pin", "cpu", "memory", "bandwidth", "budget", "quota")
PROBABILITIES = tuple(f"{tenth / 10:.1f}" for tenth in range(10))  # from it up to the next
FAILURES = ("timeout", "limits", "not_allowed", "not_startable", "exited")
DID = ("started", "kept", "no_room", "ended", "expired", "backed_off", "repeated", "ignored")
_ALIVE = tuple(state.value for state in InstanceState if state is not InstanceState.GONE)

_WORKER, _SINK, _PROVISION = ("worker",), ("sink",), ("provision",)
_TELLS = ("worker", "gateway", "mesh log")  # each outcome is told by one of them
_SERVES = ("gateway", "mesh log")
_QUEUES = ("gateway", "mesh decide", "mesh activate")

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_LONG_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)

# ------------------------------------------------------------------- every process

BUILD_INFO = _gauge(
    "foremesh_build_info",
    "1, with the version of foremesh and of Python as labels.",
    on=PROCESSES,
    version="release",
    python="release of Python",
)
KAFKA_UP = _gauge(
    "foremesh_kafka_up",
    "Whether a Kafka broker has answered the last question, asked every 2 s: 1 or 0.",
    on=PROCESSES,
)

# ------------------------------------------------------------------- what is read from Kafka

RECORDS = _counter(
    "foremesh_records_total",
    "Records that a stage has read, by what became of them.",
    on=(*_WORKER, *_SINK),
    stage=f"{_STAGE}, or `event-time`",
    topic="topic",
    outcome="`done`, `dead`, `failed`, `repeated`, `lost` or `forgotten`",
)
FAILED_TICKS = _counter(
    "foremesh_failed_ticks_total",
    "Ticks of a stage that have failed, one for each pool: it is decided on again at the next tick.",
    on=_WORKER,
    stage="stage",
    partition=_PARTITION,
)
BATCH_SECONDS = _histogram(
    "foremesh_batch_seconds",
    "Time a batch took from being read to being acknowledged.",
    on=(*_WORKER, *_SINK),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    stage=f"{_STAGE}, or `event-time`",
)
LAG = _gauge(
    "foremesh_lag",
    "Records of a partition of a stage's input that are not handled yet.",
    on=(*_WORKER, *_SINK),
    stage=_STAGE,
    partition=_PARTITION,
)
DELAY_SECONDS = _histogram(
    "foremesh_delay_seconds",
    "From when the first record of a batch was written to Kafka until the stage was through with it.",
    on=(*_WORKER, *_SINK),
    buckets=_LONG_SECONDS,
    stage=_STAGE,
)
DEAD_LETTERS = _counter(
    "foremesh_dead_letters_total",
    "Records that could not be used and went to dead-letters, by kind of reason.",
    on=(*_WORKER, *_SINK, *_PROVISION),
    reason=DEAD_REASONS,
)

# ------------------------------------------------------------------- what users are predicted

LOG_LOSS = _counter(
    "foremesh_prediction_log_loss_nats_total",
    "Sum of the log-losses of predictions of the next composite, each scored by the request that"
    " came, for the mixture and for each of its experts.",
    on=_WORKER,
    model="`mixture`, or an expert of it",
)
SCORED = _counter(
    "foremesh_predictions_scored_total",
    "Predictions that were scored: what log-losses are divided by.",
    on=_WORKER,
)
TOP_PREDICTED = _counter(
    "foremesh_prediction_top_predicted_total",
    "Calibration: the probability of the most probable composite, summed over the predictions that"
    " gave it about so much.",
    on=_WORKER,
    probability=PROBABILITIES,
)
TOP_CAME = _counter(
    "foremesh_prediction_top_came_total",
    "Calibration: how often that composite came.",
    on=_WORKER,
    probability=PROBABILITIES,
)
TOP_SCORED = _counter(
    "foremesh_prediction_top_scored_total",
    "Calibration: how many predictions gave the most probable composite about so much.",
    on=_WORKER,
    probability=PROBABILITIES,
)

# ------------------------------------------------------------------- what is kept warm, and why

DECISIONS = _counter(
    "foremesh_decisions_total",
    "Decisions about a constituent that differ from the one before, by what was decided and what"
    " decided it.",
    on=_WORKER,
    pool=_POOL,
    choice=tuple(map(str, Choice)),
    bound=BOUNDS,
    mode=tuple(map(str, Mode)),
)
DECIDED = _gauge(
    "foremesh_decided_timestamp_seconds",
    "Event time of the last decision about a pool.",
    on=_WORKER,
    pool=_POOL,
)
EXPECTED_REQUESTS = _counter(
    "foremesh_expected_requests_total",
    "Requests that the demand expected between one decision and the next. It looks ahead by the"
    " slowest start and a margin, so it expects more than comes; how much more should be steady.",
    on=_WORKER,
    service=_SERVICE,
)
ARRIVED_REQUESTS = _counter(
    "foremesh_arrived_requests_total",
    "Requests that came between one decision and the next: what was expected against what is.",
    on=_WORKER,
    service=_SERVICE,
)
BUDGET = _gauge(
    "foremesh_budget_per_hour",
    "Most that instances of a pool may cost in an hour, in the unit of the catalogue's prices; +Inf"
    " without a budget.",
    on=_WORKER,
    pool=_POOL,
)
SPENDING = _gauge(
    "foremesh_spending_per_hour",
    "What instances that there are or that are under way cost in an hour, as of the last decision.",
    on=_WORKER,
    pool=_POOL,
)
QUEUED_WANTS = _gauge(
    "foremesh_queued_wants",
    "Constituents of which one more instance pays but does not fit.",
    on=_WORKER,
    pool=_POOL,
)

# ------------------------------------------------------------------- what became of requests

REQUESTS = _counter(
    "foremesh_requests_total",
    "Requests with an outcome; each is counted by one process, a worker those of logs.",
    on=_TELLS,
    service=_SERVICE,
    tier=_TIER,
    result=tuple(map(str, Result)),
    route=tuple(map(str, Route)),
)
REQUEST_SECONDS = _histogram(
    "foremesh_request_seconds",
    "Time a request took, from its first byte to the last one answered.",
    on=_SERVES,
    # From a hit, some milliseconds, to a cold start, up to a minute.
    buckets=_SECONDS,
    result=tuple(map(str, Result)),
)
WAIT_SECONDS = _histogram(
    "foremesh_request_wait_seconds",
    "Time that requests waited for instances to start, of those that waited at all.",
    on=_TELLS,
    buckets=_LONG_SECONDS,
    tier=_TIER,
)
SAVED_SECONDS = _counter(
    "foremesh_saved_seconds_total",
    "Time that requests would have waited for instances that were warm.",
    on=_TELLS,
    service=_SERVICE,
)
IN_PROGRESS = _gauge(
    "foremesh_requests_in_progress",
    "Requests that have no outcome yet.",
    on=("gateway", "mesh compose"),
)
QUEUE_LENGTH = _gauge(
    "foremesh_queue_length",
    "Requests that wait for an instance.",
    on=_QUEUES,
    constituent=_CONSTITUENT,
)
LOG_ENTRIES = _counter(
    "foremesh_log_entries_total",
    "Entries of Envoy's access log, by what became of them.",
    on=("mesh log",),
    became=("told", "unusable", "inner"),
)
EVENTS_LOST = _counter(
    "foremesh_events_lost_total",
    "Requests and outcomes that could not be sent to Kafka in time.",
    on=_SERVES,
)
EVENTS_WAITING = _gauge(
    "foremesh_events_waiting",
    "Requests and outcomes that are on their way to Kafka.",
    on=_SERVES,
)

# ------------------------------------------------------------------- instances

INSTANCES = _gauge(
    "foremesh_instances",
    "Instances that there are.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
    state=_ALIVE,
)
INSTANCE_SECONDS = _counter(
    "foremesh_instance_seconds_total",
    "Time that instances spent in a state: `warm` is what was paid for and not used.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
    state=_ALIVE,
)
SERVING_SECONDS = _counter(
    "foremesh_instance_serving_seconds_total",
    "Time that instances spent serving, summed over the requests that they serve at once.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
)
COST = _counter(
    "foremesh_cost_total",
    "What instances have cost, in the unit of the catalogue's prices.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
)
START_SECONDS = _histogram(
    "foremesh_start_seconds",
    "From when an instance was spawned until it was warm.",
    on=_PROVISION,
    buckets=_LONG_SECONDS,
    constituent=_CONSTITUENT,
)
EVENT_TO_WARM_SECONDS = _histogram(
    "foremesh_event_to_warm_seconds",
    "From the event time of the decision that asked for an instance until it was warm.",
    on=_PROVISION,
    buckets=_LONG_SECONDS,
)
STARTS = _counter(
    "foremesh_starts_total",
    "Instances that became warm, by what they were started for.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
    cause=("command", "request"),
)
START_FAILURES = _counter(
    "foremesh_start_failures_total",
    "Instances that did not become warm.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
    cause=FAILURES,
)
CRASHES = _counter(
    "foremesh_crashes_total",
    "Instances that ended by themselves after they had been warm.",
    on=_PROVISION,
    constituent=_CONSTITUENT,
)
CARRIED_OUT = _counter(
    "foremesh_commands_total",
    "Commands that were read, by what was done; `kept`: a base that runs; `backed_off`: dropped"
    " after a failed start.",
    on=_PROVISION,
    did=DID,
)
CAPACITY_CPU = _gauge("foremesh_pool_capacity_cpu_cores", "CPU of the pool.", on=_PROVISION)
CAPACITY_MEMORY = _gauge(
    "foremesh_pool_capacity_memory_bytes", "Memory of the pool.", on=_PROVISION
)
CAPACITY_BANDWIDTH = _gauge(
    "foremesh_pool_capacity_bandwidth_bytes_per_second", "Bandwidth of the pool.", on=_PROVISION
)
USED_CPU = _gauge("foremesh_pool_used_cpu_cores", "CPU that instances hold.", on=_PROVISION)
USED_MEMORY = _gauge(
    "foremesh_pool_used_memory_bytes", "Memory that instances hold.", on=_PROVISION
)
USED_BANDWIDTH = _gauge(
    "foremesh_pool_used_bandwidth_bytes_per_second", "Bandwidth that instances hold.", on=_PROVISION
)

# ------------------------------------------------------------------- PostgreSQL

POSTGRES_UP = _gauge(
    "foremesh_postgres_up",
    "Whether PostgreSQL took the last batch, or answered at the start: 1 or 0.",
    on=_SINK,
)
ROWS = _counter(
    "foremesh_rows_total",
    "Records that were written to PostgreSQL, by topic; again after a failure.",
    on=_SINK,
    topic="topic",
)
SINK_RETRIES = _counter(
    "foremesh_sink_retries_total",
    "Times that a batch could not be written and was tried again.",
    on=_SINK,
)
SINK_FAILED = _gauge(
    "foremesh_sink_failed_timestamp_seconds",
    "When PostgreSQL last could not take a batch; 0 for never.",
    on=_SINK,
)
