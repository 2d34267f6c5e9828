-- The schema of foremesh's database (PostgreSQL 15 and up), the result of all migrations.
--
-- Every time is stored twice: `..._ms` as on Kafka (integer milliseconds since the epoch, event
-- time) and as timestamptz for people and for the views. Rows are written once, or replaced by
-- newer ones only, so reading a topic again changes nothing.

-- ---------------------------------------------------------------------- types

CREATE TYPE command_action AS ENUM (
    'provision',  -- start `count` instances
    'release',    -- end `count` idle instances
    'queue'       -- wanted, but it does not fit now
);

CREATE TYPE instance_state AS ENUM (
    'starting',   -- starting -> warm, gone
    'warm',       -- warm -> busy, draining, gone
    'busy',       -- busy -> warm, draining, gone
    'draining',   -- draining -> gone
    'gone'
);

CREATE TYPE request_result AS ENUM ('hit', 'partial', 'miss');

CREATE TYPE request_route AS ENUM ('preallocated', 'standard', 'refused', 'observed');

CREATE TYPE request_source AS ENUM ('log', 'gateway');

CREATE TYPE verdict_choice AS ENUM (
    'start',    -- one more instance
    'queue',    -- wanted, but it does not fit
    'release',  -- idle instances are ended
    'keep',     -- the instances stay; one more is not worth its cost
    'leave'     -- there is no instance, and none is worth its cost
);

CREATE TYPE pool_mode AS ENUM (
    'on',      -- the allocator decides and issues commands
    'shadow',  -- it decides and issues no command
    'advise',  -- it decides nothing; instances stay as they are
    'off'      -- it releases idle instances, then does nothing
);

-- Times beyond the years 1 to 9999 come from broken clocks: they are shown as those bounds, since
-- an error would lose the row.
CREATE FUNCTION event_time(ms bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp(greatest(least(ms, 253402300799999), -62135596800000) / 1000.0);

COMMENT ON FUNCTION event_time IS 'Milliseconds since the epoch as a time.';

-- ---------------------------------------------------------------------- predictions

-- Every row is replaced at each request of its user: room in the page and no index but the key
-- let PostgreSQL do so in place.
CREATE TABLE predictions (
    user_id text PRIMARY KEY,
    request_id text NOT NULL,
    tier text NOT NULL,
    pool text NOT NULL,
    services text[] NOT NULL,
    probabilities double precision[] NOT NULL,
    within double precision[] NOT NULL,
    unseen double precision NOT NULL,
    horizon_ms bigint NOT NULL,
    expected_p10_ms bigint NOT NULL,
    expected_p50_ms bigint NOT NULL,
    expected_p90_ms bigint NOT NULL,
    made_ms bigint NOT NULL,
    expires_ms bigint NOT NULL,
    model text NOT NULL,
    kafka_offset bigint NOT NULL,
    made_at timestamptz GENERATED ALWAYS AS (event_time(made_ms)) STORED,
    expires_at timestamptz GENERATED ALWAYS AS (event_time(expires_ms)) STORED
) WITH (fillfactor = 70);

COMMENT ON TABLE predictions IS 'What each user asks for next: the latest vector of each user.';
COMMENT ON COLUMN predictions.request_id IS 'The request that caused it.';
COMMENT ON COLUMN predictions.services IS
    'Composite services, most probable first; one row each in the view predicted_services.';
COMMENT ON COLUMN predictions.probabilities IS
    'In the order of services: that it is the user''s next composite, whenever that comes.';
COMMENT ON COLUMN predictions.within IS
    'In the order of services: that the user asks for it within the horizon.';
COMMENT ON COLUMN predictions.unseen IS
    'Probability of a service never seen; with probabilities it sums to 1.';
COMMENT ON COLUMN predictions.horizon_ms IS 'What "within" refers to, counted from made_ms.';
COMMENT ON COLUMN predictions.expected_p10_ms IS 'Time to the next request, 10 % quantile.';
COMMENT ON COLUMN predictions.expected_p50_ms IS 'Time to the next request, median.';
COMMENT ON COLUMN predictions.expected_p90_ms IS 'Time to the next request, 90 % quantile.';
COMMENT ON COLUMN predictions.expires_at IS 'After this it says nothing any more.';
COMMENT ON COLUMN predictions.kafka_offset IS 'Of two made at one time, the higher one holds.';

CREATE TABLE prediction_history (
    request_id text NOT NULL,
    user_id text NOT NULL,
    tier text NOT NULL,
    pool text NOT NULL,
    services text[] NOT NULL,
    probabilities double precision[] NOT NULL,
    within double precision[] NOT NULL,
    unseen double precision NOT NULL,
    horizon_ms bigint NOT NULL,
    expected_p10_ms bigint NOT NULL,
    expected_p50_ms bigint NOT NULL,
    expected_p90_ms bigint NOT NULL,
    made_ms bigint NOT NULL,
    expires_ms bigint NOT NULL,
    model text NOT NULL,
    made_at timestamptz GENERATED ALWAYS AS (event_time(made_ms)) STORED,
    PRIMARY KEY (request_id, user_id)
);

CREATE INDEX prediction_history_user_id_made_ms ON prediction_history (user_id, made_ms);

-- For the query of the users behind a decision, which reads predictions of a time range.
CREATE INDEX prediction_history_made_ms ON prediction_history USING brin (made_ms);

COMMENT ON TABLE prediction_history IS 'Every prediction, one for each request; columns as in predictions.';

CREATE VIEW predicted_services AS
SELECT
    p.user_id,
    v.rank,
    v.service,
    v.probability,
    v.within,
    p.pool,
    p.tier,
    p.made_at,
    p.expires_at
FROM predictions AS p
CROSS JOIN LATERAL unnest(p.services, p.probabilities, p.within)
    WITH ORDINALITY AS v (service, probability, within, rank);

COMMENT ON VIEW predicted_services IS 'The latest vector of each user, one row for each service.';
COMMENT ON COLUMN predicted_services.probability IS
    'That it is the user''s next composite, whenever that comes.';
COMMENT ON COLUMN predicted_services.within IS
    'That the user asks for it within the horizon.';

-- ---------------------------------------------------------------------- decisions, instances

CREATE TABLE commands (
    command_id text PRIMARY KEY,
    pool text NOT NULL,
    action command_action NOT NULL,
    service text NOT NULL,
    count bigint NOT NULL,
    tier text NOT NULL,
    value double precision NOT NULL,
    cost double precision NOT NULL,
    priority double precision NOT NULL,
    issued_ms bigint NOT NULL,
    expires_ms bigint NOT NULL,
    reason text NOT NULL,
    kafka_offset bigint NOT NULL,
    issued_at timestamptz GENERATED ALWAYS AS (event_time(issued_ms)) STORED,
    expires_at timestamptz GENERATED ALWAYS AS (event_time(expires_ms)) STORED
);

CREATE INDEX commands_pool_service_issued_ms ON commands (pool, service, issued_ms);
CREATE INDEX commands_pool_issued_ms ON commands (pool, issued_ms);
CREATE INDEX commands_issued_at ON commands (issued_at);
CREATE INDEX commands_queued ON commands (pool, priority DESC) WHERE action = 'queue';

COMMENT ON TABLE commands IS 'What the allocator wanted done, and why.';
COMMENT ON COLUMN commands.service IS 'The constituent.';
COMMENT ON COLUMN commands.tier IS 'The highest tier it is for.';
COMMENT ON COLUMN commands.value IS 'Expected worth of doing it, in the unit of the prices.';
COMMENT ON COLUMN commands.cost IS 'Expected cost of doing it, in the unit of the prices.';
COMMENT ON COLUMN commands.priority IS 'Of a queued one: value for each dominant share, tier first.';
COMMENT ON COLUMN commands.expires_at IS 'After this it is not to be carried out.';
COMMENT ON COLUMN commands.reason IS 'In words, with the numbers that decided.';

CREATE TABLE verdicts (
    pool text NOT NULL,
    service text NOT NULL,
    at_ms bigint NOT NULL,
    command_id text NOT NULL,
    choice verdict_choice NOT NULL,
    mode pool_mode NOT NULL,
    instance bigint NOT NULL,
    have bigint NOT NULL,
    chance double precision NOT NULL,
    value double precision NOT NULL,
    cost double precision NOT NULL,
    bound text NOT NULL,
    tier text NOT NULL,
    price double precision NOT NULL,
    horizon_ms bigint NOT NULL,
    warm_up_ms bigint NOT NULL,
    expected_services text[] NOT NULL,
    expected_tiers text[] NOT NULL,
    expected_requests double precision[] NOT NULL,
    alternatives text[] NOT NULL,
    alternative_values double precision[] NOT NULL,
    alternative_costs double precision[] NOT NULL,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    challenger text NOT NULL DEFAULT '',
    PRIMARY KEY (pool, service, at_ms, command_id, challenger)
);

CREATE INDEX verdicts_service_at_ms ON verdicts (service, at_ms);
CREATE INDEX verdicts_command_id ON verdicts (command_id) WHERE command_id <> '';

COMMENT ON TABLE verdicts IS
    'Why a constituent was started, queued, given back or left; each holds until the next one.';
COMMENT ON COLUMN verdicts.service IS 'The constituent.';
COMMENT ON COLUMN verdicts.command_id IS
    'The command that came of it, or in shadow mode would have; empty when none.';
COMMENT ON COLUMN verdicts.instance IS 'The how-manieth instance it is about.';
COMMENT ON COLUMN verdicts.have IS 'Instances there or under way.';
COMMENT ON COLUMN verdicts.chance IS 'That this instance is used within the horizon.';
COMMENT ON COLUMN verdicts.value IS 'Expected worth of this instance, in the unit of the prices.';
COMMENT ON COLUMN verdicts.cost IS 'Of having it, in the unit of the prices.';
COMMENT ON COLUMN verdicts.bound IS
    'What decided: value, pin, cpu, memory, bandwidth, budget, quota.';
COMMENT ON COLUMN verdicts.tier IS 'The highest tier it is for.';
COMMENT ON COLUMN verdicts.price IS 'Of one instance for an hour.';
COMMENT ON COLUMN verdicts.warm_up_ms IS 'Start-up time that was reckoned with.';
COMMENT ON COLUMN verdicts.expected_services IS
    'Composites that were expected to need it, with their tiers and expected requests.';
COMMENT ON COLUMN verdicts.alternatives IS 'What else could have been done, with value and cost.';
COMMENT ON COLUMN verdicts.challenger IS
    'Whose decision it is when it was only tried on paper, beside the one that holds; else empty.';

CREATE TABLE trials (
    pool text NOT NULL,
    since_ms bigint NOT NULL,
    variant text NOT NULL,
    champion boolean NOT NULL,
    at_ms bigint NOT NULL,
    requests bigint NOT NULL,
    cold_ms bigint NOT NULL,
    saved_ms bigint NOT NULL,
    warm_ms bigint NOT NULL,
    wasted_ms bigint NOT NULL,
    worth double precision NOT NULL,
    cost double precision NOT NULL,
    kafka_offset bigint NOT NULL,
    net double precision GENERATED ALWAYS AS (worth - cost) STORED,
    since timestamptz GENERATED ALWAYS AS (event_time(since_ms)) STORED,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (pool, since_ms, variant)
);

COMMENT ON TABLE trials IS
    'What a champion and its challenger have come to on paper, against starting on request only.';
COMMENT ON COLUMN trials.since IS 'When the trial began, for both with the instances of then.';
COMMENT ON COLUMN trials.champion IS 'Whether it was the one in force.';
COMMENT ON COLUMN trials.at IS 'Up to here.';
COMMENT ON COLUMN trials.cold_ms IS 'That requests waited for starts.';
COMMENT ON COLUMN trials.saved_ms IS 'That they would have waited more, had nothing been warm.';
COMMENT ON COLUMN trials.warm_ms IS 'Instance-milliseconds warm.';
COMMENT ON COLUMN trials.wasted_ms IS 'Of these, not serving.';
COMMENT ON COLUMN trials.worth IS 'Of what was saved, by tier, in the unit of the prices.';
COMMENT ON COLUMN trials.cost IS 'Of what was warm, in the unit of the prices.';
COMMENT ON COLUMN trials.net IS 'What it is better than starting on request only.';

CREATE TABLE controls (
    pool text NOT NULL,
    at_ms bigint NOT NULL,
    said_by text NOT NULL,
    reason text NOT NULL,
    mode pool_mode NOT NULL,
    paused boolean NOT NULL,
    budget double precision,
    pins text[] NOT NULL,
    quota_tiers text[] NOT NULL,
    quota_budgets double precision[] NOT NULL,
    champion text NOT NULL,
    challenger text,
    kafka_offset bigint NOT NULL,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (pool, at_ms)
);

COMMENT ON TABLE controls IS
    'What operators said about each pool: the whole word each time, the newest one is in force.';
COMMENT ON COLUMN controls.at IS
    'When it was said; the epoch for the last word of an earlier release, which kept no time.';
COMMENT ON COLUMN controls.said_by IS 'Who said so.';
COMMENT ON COLUMN controls.budget IS 'Most that warm instances may cost in an hour; null: the catalogue''s.';
COMMENT ON COLUMN controls.pins IS 'Bounds on the instances of constituents, in words.';
COMMENT ON COLUMN controls.quota_tiers IS 'Tiers that have a budget of their own, in quota_budgets.';
COMMENT ON COLUMN controls.champion IS 'The parameters that are decided by.';
COMMENT ON COLUMN controls.challenger IS 'Those that are tried beside them, on paper.';

CREATE TABLE instances (
    instance_id text PRIMARY KEY,
    service text NOT NULL,
    pool text NOT NULL,
    state instance_state NOT NULL,
    endpoint text NOT NULL,
    command_id text NOT NULL,
    started_ms bigint NOT NULL,
    changed_ms bigint NOT NULL,
    warm_since_ms bigint,
    gone_ms bigint,
    uses bigint NOT NULL,
    busy_ms bigint NOT NULL,
    reason text NOT NULL,
    kafka_offset bigint NOT NULL,
    started_at timestamptz GENERATED ALWAYS AS (event_time(started_ms)) STORED,
    changed_at timestamptz GENERATED ALWAYS AS (event_time(changed_ms)) STORED,
    warm_since timestamptz GENERATED ALWAYS AS (event_time(warm_since_ms)) STORED,
    gone_at timestamptz GENERATED ALWAYS AS (event_time(gone_ms)) STORED
);

CREATE INDEX instances_pool_service_state ON instances (pool, service, state);
CREATE INDEX instances_command_id ON instances (command_id);
CREATE INDEX instances_started_at ON instances (started_at);

COMMENT ON TABLE instances IS 'Instances that ran or run, each with its newest state.';
COMMENT ON COLUMN instances.service IS 'The constituent.';
COMMENT ON COLUMN instances.endpoint IS 'http://host:port, empty before there is one.';
COMMENT ON COLUMN instances.command_id IS
    'The command that started it, or standard/<request id> when a request waited for it.';
COMMENT ON COLUMN instances.changed_at IS
    'When it entered its state; of a simulated one that ended before it was warm, when it would '
    'have been.';
COMMENT ON COLUMN instances.uses IS 'Requests served so far.';
COMMENT ON COLUMN instances.busy_ms IS 'Time spent serving so far.';
COMMENT ON COLUMN instances.reason IS 'Why it is in this state.';

CREATE TABLE utilisation (
    pool text NOT NULL,
    at_ms bigint NOT NULL,
    cpu_capacity double precision NOT NULL,
    cpu_used double precision NOT NULL,
    memory_capacity double precision NOT NULL,
    memory_used double precision NOT NULL,
    bandwidth_capacity double precision NOT NULL,
    bandwidth_used double precision NOT NULL,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (pool, at_ms)
);

COMMENT ON TABLE utilisation IS
    'Capacity and use of each pool over time: cpu in millicores, memory in MiB, bandwidth in Mbit/s.';

-- ---------------------------------------------------------------------- outcomes

CREATE TABLE outcomes (
    request_id text NOT NULL,
    user_id text NOT NULL,
    tier text NOT NULL,
    pool text NOT NULL,
    service text NOT NULL,
    at_ms bigint NOT NULL,
    result request_result NOT NULL,
    route request_route NOT NULL,
    status bigint NOT NULL,
    latency_ms double precision NOT NULL,
    cold_ms bigint NOT NULL,
    saved_ms bigint NOT NULL,
    source request_source NOT NULL,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    PRIMARY KEY (request_id, user_id)
);

CREATE INDEX outcomes_at ON outcomes (at);
CREATE INDEX outcomes_user_id_at_ms ON outcomes (user_id, at_ms);
CREATE INDEX outcomes_pool_at_ms ON outcomes (pool, at_ms);

COMMENT ON TABLE outcomes IS 'How each request went: one row a request.';
COMMENT ON COLUMN outcomes.request_id IS
    'Whoever asks may choose it, so it names a request only together with the user.';
COMMENT ON COLUMN outcomes.service IS 'The composite.';
COMMENT ON COLUMN outcomes.result IS 'hit: every constituent was warm; partial: some; miss: none.';
COMMENT ON COLUMN outcomes.route IS
    'preallocated: straight to warm instances; standard: waited for a start; refused: answered 503; '
    'observed: served by others, judged from a log.';
COMMENT ON COLUMN outcomes.status IS 'HTTP status answered; 0 when only observed.';
COMMENT ON COLUMN outcomes.latency_ms IS 'The whole request as measured; 0 when only observed.';
COMMENT ON COLUMN outcomes.cold_ms IS 'Cold-start time on the critical path.';
COMMENT ON COLUMN outcomes.saved_ms IS
    'Cold-start time that warm instances took off the critical path.';

-- No foreign key: the parts are written in the transaction of their outcome, and the check would
-- take four times as long as writing them.
CREATE TABLE outcome_parts (
    request_id text NOT NULL,
    position bigint NOT NULL,
    service text NOT NULL,
    warm boolean NOT NULL,
    instance_id text NOT NULL,
    wait_ms bigint NOT NULL,
    serve_ms bigint NOT NULL,
    warm_up_ms bigint,
    user_id text NOT NULL,
    PRIMARY KEY (request_id, user_id, position)
);

CREATE INDEX outcome_parts_service ON outcome_parts (service);
CREATE INDEX outcome_parts_instance_id ON outcome_parts (instance_id) WHERE warm;

COMMENT ON TABLE outcome_parts IS 'What each constituent did for a request.';
COMMENT ON COLUMN outcome_parts.request_id IS 'With user_id: of the outcome that it is a part of.';
COMMENT ON COLUMN outcome_parts.position IS 'In the order of the composite, from 1.';
COMMENT ON COLUMN outcome_parts.service IS 'The constituent.';
COMMENT ON COLUMN outcome_parts.warm IS 'An instance was ready before the request.';
COMMENT ON COLUMN outcome_parts.wait_ms IS 'Waited for an instance to start.';
COMMENT ON COLUMN outcome_parts.serve_ms IS 'Time the instance took.';
COMMENT ON COLUMN outcome_parts.warm_up_ms IS 'Measured start-up time, when one was waited for.';

-- One row a minute, so that what came of weeks of requests is read at once; kept by triggers, in the
-- transaction of the outcomes. Sinks that write at once have rows of their own: no one waits.
CREATE TABLE requests_by_minute (
    pool text NOT NULL,
    minute_ms bigint NOT NULL,
    tier text NOT NULL,
    part bigint NOT NULL,
    requests bigint NOT NULL,
    hits bigint NOT NULL,
    refused bigint NOT NULL,
    cold_ms bigint NOT NULL,
    saved_ms bigint NOT NULL,
    minute timestamptz GENERATED ALWAYS AS (event_time(minute_ms)) STORED,
    PRIMARY KEY (pool, minute_ms, tier, part)
);

COMMENT ON TABLE requests_by_minute IS
    'Sums over outcomes, by minute, pool and tier; the rows of all parts together.';
COMMENT ON COLUMN requests_by_minute.part IS 'Of a writer: add them up.';
COMMENT ON COLUMN requests_by_minute.hits IS 'Requests that found every constituent warm.';
COMMENT ON COLUMN requests_by_minute.refused IS 'Requests that were answered 503.';
COMMENT ON COLUMN requests_by_minute.cold_ms IS 'Cold-start time that these requests waited.';
COMMENT ON COLUMN requests_by_minute.saved_ms IS 'Cold-start time that they were spared.';

CREATE FUNCTION add_requests_by_minute() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO requests_by_minute AS known (
        pool, minute_ms, tier, part, requests, hits, refused, cold_ms, saved_ms
    )
    SELECT
        pool,
        at_ms - mod(at_ms, 60000),
        tier,
        mod(pg_backend_pid(), 16),
        count(*),
        count(*) FILTER (WHERE result = 'hit'),
        count(*) FILTER (WHERE route = 'refused'),
        sum(cold_ms),
        sum(saved_ms)
    FROM added
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (pool, minute_ms, tier, part) DO UPDATE SET
        requests = known.requests + excluded.requests,
        hits = known.hits + excluded.hits,
        refused = known.refused + excluded.refused,
        cold_ms = known.cold_ms + excluded.cold_ms,
        saved_ms = known.saved_ms + excluded.saved_ms;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION add_requests_by_minute IS 'Adds new outcomes to requests_by_minute.';

CREATE TRIGGER add_requests_by_minute
AFTER INSERT ON outcomes
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION add_requests_by_minute();

CREATE FUNCTION forget_requests_by_minute() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM requests_by_minute AS known
    USING (SELECT DISTINCT pool, at_ms - mod(at_ms, 60000) AS minute_ms FROM removed) AS gone
    WHERE known.pool = gone.pool AND known.minute_ms = gone.minute_ms;
    INSERT INTO requests_by_minute (
        pool, minute_ms, tier, part, requests, hits, refused, cold_ms, saved_ms
    )
    SELECT
        gone.pool,
        gone.minute_ms,
        o.tier,
        mod(pg_backend_pid(), 16),
        count(*),
        count(*) FILTER (WHERE o.result = 'hit'),
        count(*) FILTER (WHERE o.route = 'refused'),
        sum(o.cold_ms),
        sum(o.saved_ms)
    FROM (SELECT DISTINCT pool, at_ms - mod(at_ms, 60000) AS minute_ms FROM removed) AS gone
    INNER JOIN outcomes AS o
        ON o.pool = gone.pool AND o.at_ms >= gone.minute_ms AND o.at_ms < gone.minute_ms + 60000
    GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION forget_requests_by_minute IS
    'Counts again the minutes of requests_by_minute that outcomes were deleted from.';

CREATE TRIGGER forget_requests_by_minute
AFTER DELETE ON outcomes
REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION forget_requests_by_minute();

CREATE FUNCTION forget_all_requests_by_minute() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM requests_by_minute;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION forget_all_requests_by_minute IS 'Empties requests_by_minute with outcomes.';

CREATE TRIGGER forget_all_requests_by_minute
AFTER TRUNCATE ON outcomes
FOR EACH STATEMENT EXECUTE FUNCTION forget_all_requests_by_minute();

-- ---------------------------------------------------------------------- dead letters

CREATE TABLE dead_letters (
    kafka_topic text NOT NULL,
    kafka_partition bigint NOT NULL,
    kafka_offset bigint NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    at_ms bigint NOT NULL,
    key bytea,
    value_start bytea,
    value_bytes bigint,
    at timestamptz GENERATED ALWAYS AS (event_time(at_ms)) STORED,
    sha256 text,
    PRIMARY KEY (kafka_topic, kafka_partition, kafka_offset, stage)
);

CREATE INDEX dead_letters_at ON dead_letters (at);

COMMENT ON TABLE dead_letters IS
    'Records that could not be used, where they are and why; more of each on the topic dead-letters.';
COMMENT ON COLUMN dead_letters.stage IS 'Who gave up on it.';
COMMENT ON COLUMN dead_letters.at IS 'Timestamp of the record.';
COMMENT ON COLUMN dead_letters.key IS 'Its first 1,024 bytes.';
COMMENT ON COLUMN dead_letters.value_start IS 'Its first 1,024 bytes.';
COMMENT ON COLUMN dead_letters.value_bytes IS 'Its whole length; null for a record without value.';
COMMENT ON COLUMN dead_letters.sha256 IS
    'Of the whole value, in hexadecimal; empty for a record without value and from earlier releases.';

-- ---------------------------------------------------------------------- views

CREATE VIEW pool_clock AS
WITH RECURSIVE names (pool) AS (
    SELECT
        least(
            (SELECT min(c.pool) FROM commands AS c),
            (SELECT min(u.pool) FROM utilisation AS u),
            (SELECT min(o.pool) FROM outcomes AS o)
        )
    UNION ALL
    SELECT
        least(
            (SELECT min(c.pool) FROM commands AS c WHERE c.pool > names.pool),
            (SELECT min(u.pool) FROM utilisation AS u WHERE u.pool > names.pool),
            (SELECT min(o.pool) FROM outcomes AS o WHERE o.pool > names.pool)
        )
    FROM names
    WHERE names.pool IS NOT NULL
)

SELECT seen.pool, seen.now_ms, event_time(seen.now_ms) AS now
FROM (
    SELECT
        names.pool,
        greatest(
            (SELECT max(c.issued_ms) FROM commands AS c WHERE c.pool = names.pool),
            (SELECT max(u.at_ms) FROM utilisation AS u WHERE u.pool = names.pool),
            (SELECT max(o.at_ms) FROM outcomes AS o WHERE o.pool = names.pool)
        ) AS now_ms
    FROM names
    WHERE names.pool IS NOT NULL
) AS seen;

COMMENT ON VIEW pool_clock IS
    'The newest event time seen in each pool: what "now" is, also while an old log is replayed.';

CREATE VIEW queue AS
SELECT
    q.command_id,
    q.pool,
    q.service,
    q.tier,
    q.count,
    q.priority,
    q.value,
    q.cost,
    q.reason,
    q.issued_at AS queued_at,
    q.expires_at,
    CASE
        WHEN later.action = 'provision' AND later.issued_ms <= q.expires_ms THEN 'served'
        WHEN later.action = 'queue' AND later.issued_ms <= q.expires_ms THEN 'replaced'
        WHEN clock.now_ms > q.expires_ms THEN 'expired'
        ELSE 'waiting'
    END AS state,
    CASE WHEN later.issued_ms <= q.expires_ms THEN later.command_id END AS ended_by,
    least(coalesce(later.issued_ms, clock.now_ms), clock.now_ms, q.expires_ms) - q.issued_ms
        AS waited_ms
FROM commands AS q
INNER JOIN pool_clock AS clock USING (pool)
LEFT JOIN LATERAL (
    SELECT c.command_id, c.action, c.issued_ms
    FROM commands AS c
    WHERE
        c.pool = q.pool
        AND c.service = q.service
        AND c.action IN ('provision', 'queue')
        AND (c.issued_ms, c.kafka_offset) > (q.issued_ms, q.kafka_offset)
    ORDER BY c.issued_ms, c.kafka_offset
    LIMIT 1
) AS later ON true
WHERE q.action = 'queue';

COMMENT ON VIEW queue IS 'What was wanted and did not fit, and what became of it.';
COMMENT ON COLUMN queue.state IS
    'waiting; served by a later provision of the same service; replaced by a later entry for it; '
    'expired.';
COMMENT ON COLUMN queue.ended_by IS 'The command that served or replaced it.';

CREATE VIEW hit_rate AS
SELECT
    date_trunc('hour', at, 'UTC') AS hour,
    service,
    tier,
    pool,
    count(*) AS requests,
    count(*) FILTER (WHERE result = 'hit') AS hits,
    count(*) FILTER (WHERE result = 'partial') AS partials,
    count(*) FILTER (WHERE result = 'miss') AS misses,
    count(*) FILTER (WHERE route = 'refused') AS refused,
    avg((result = 'hit')::int)::double precision AS hit_rate,
    sum(cold_ms)::bigint AS cold_ms,
    sum(saved_ms)::bigint AS saved_ms,
    percentile_cont(0.50) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE route <> 'observed') AS latency_p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE route <> 'observed') AS latency_p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE route <> 'observed') AS latency_p99_ms
FROM outcomes
GROUP BY 1, 2, 3, 4;

COMMENT ON VIEW hit_rate IS
    'Requests by hour, composite service, tier and pool: how warm they were, and their latency.';
COMMENT ON COLUMN hit_rate.cold_ms IS 'Cold-start time that these requests waited.';
COMMENT ON COLUMN hit_rate.saved_ms IS 'Cold-start time that warm instances spared them.';
COMMENT ON COLUMN hit_rate.latency_p50_ms IS
    'Median of those that foremesh served; null for a log, which tells no latency.';

CREATE VIEW saved_and_wasted AS
WITH observed AS (
    SELECT pool FROM outcomes GROUP BY pool HAVING bool_and(route = 'observed')
),

unknown AS (
    SELECT pool
    FROM instances
    GROUP BY pool
    HAVING
        CASE
            WHEN bool_and(endpoint = '') THEN max(busy_ms) = 0
            ELSE pool IN (SELECT observed.pool FROM observed)
        END
),

life AS (
    SELECT
        i.instance_id,
        i.service,
        i.pool,
        coalesce(c.tier, o.tier, '') AS tier,
        CASE WHEN unknown.pool IS NULL THEN i.busy_ms END AS busy_ms,
        i.warm_since_ms AS from_ms,
        least(
            greatest(coalesce(i.gone_ms, clock.now_ms, i.changed_ms), i.warm_since_ms),
            i.warm_since_ms + 366 * 86400000::bigint
        ) AS to_ms
    FROM instances AS i
    LEFT JOIN pool_clock AS clock USING (pool)
    LEFT JOIN unknown USING (pool)
    LEFT JOIN commands AS c USING (command_id)
    LEFT JOIN LATERAL (
        SELECT tier
        FROM outcomes
        WHERE i.command_id LIKE 'standard/%' AND request_id = substr(i.command_id, 10)
        ORDER BY at_ms, user_id
        LIMIT 1
    ) AS o ON true
    WHERE i.warm_since_ms BETWEEN 0 AND 253402300799999
),

warm AS (
    SELECT
        h.hour_ms,
        life.service,
        life.tier,
        life.pool,
        least(life.to_ms, h.hour_ms + 3600000) - greatest(life.from_ms, h.hour_ms) AS warm_ms,
        life.busy_ms,
        greatest(life.to_ms - life.from_ms, 1) AS life_ms
    FROM life
    CROSS JOIN LATERAL generate_series(
        life.from_ms - mod(life.from_ms, 3600000), life.to_ms, 3600000
    ) AS h (hour_ms)
),

instance_time AS (
    SELECT
        hour_ms,
        service,
        tier,
        pool,
        sum(warm_ms) AS warm_ms,
        CASE WHEN count(busy_ms) = count(*) THEN
            sum(least(busy_ms::double precision * warm_ms / life_ms, warm_ms))
        END AS used_ms
    FROM warm
    GROUP BY hour_ms, service, tier, pool
),

part AS (
    SELECT
        *,
        count(*) FILTER (WHERE warm) OVER request AS warm_parts,
        count(*) OVER request AS parts
    FROM outcome_parts
    WINDOW request AS (PARTITION BY request_id, user_id)
),

saved AS (
    SELECT
        o.at_ms - mod(o.at_ms, 3600000) AS hour_ms,
        p.service,
        o.tier,
        o.pool,
        count(*) AS uses,
        count(*) FILTER (WHERE p.warm) AS warm_uses,
        sum(p.wait_ms) AS waited_ms,
        sum(
            CASE
                WHEN p.warm THEN o.saved_ms::double precision / p.warm_parts
                WHEN p.warm_parts = 0 THEN o.saved_ms::double precision / p.parts
            END
        ) AS saved_ms
    FROM outcomes AS o
    INNER JOIN part AS p USING (request_id, user_id)
    GROUP BY 1, 2, 3, 4
)

SELECT
    event_time(hour_ms) AS hour,
    service,
    tier,
    pool,
    coalesce(saved.uses, 0) AS uses,
    coalesce(saved.warm_uses, 0) AS warm_uses,
    coalesce(saved.saved_ms, 0) / 1000.0 AS saved_s,
    coalesce(saved.waited_ms, 0)::double precision / 1000.0 AS waited_s,
    coalesce(instance_time.warm_ms, 0)::double precision / 1000.0 AS warm_s,
    CASE WHEN instance_time.warm_ms IS NULL THEN 0 ELSE instance_time.used_ms END / 1000.0 AS used_s,
    CASE
        WHEN instance_time.warm_ms IS NULL THEN 0
        ELSE instance_time.warm_ms::double precision - instance_time.used_ms
    END / 1000.0 AS wasted_s
FROM saved
FULL JOIN instance_time USING (hour_ms, service, tier, pool);

COMMENT ON VIEW saved_and_wasted IS
    'Seconds that warm instances saved, and instance-seconds they cost, by hour, constituent '
    'service, tier and pool.';
COMMENT ON COLUMN saved_and_wasted.tier IS
    'Of the requests; for instances the tier that they were started for.';
COMMENT ON COLUMN saved_and_wasted.uses IS 'Times a request used this constituent.';
COMMENT ON COLUMN saved_and_wasted.warm_uses IS 'Of these, times an instance was ready.';
COMMENT ON COLUMN saved_and_wasted.saved_s IS
    'Cold-start time taken off requests; a request''s is shared equally between its warm parts, or '
    'between all where none was: a wait for what is busy or starts already is shorter than a start.';
COMMENT ON COLUMN saved_and_wasted.waited_s IS 'Time that requests waited for it to start.';
COMMENT ON COLUMN saved_and_wasted.warm_s IS 'Instance-seconds warm, used or not.';
COMMENT ON COLUMN saved_and_wasted.used_s IS
    'Of these, seconds serving; an instance''s are spread evenly over its warm time. Null where '
    'nobody knows it: of simulated instances, if the log did not say how long requests took, and of '
    'others in pools whose requests all come from a log.';
COMMENT ON COLUMN saved_and_wasted.wasted_s IS 'Warm and not serving; null where used_s is.';

CREATE VIEW decision_value AS
SELECT
    c.command_id,
    c.pool,
    c.service,
    c.tier,
    c.issued_at,
    i.instance_id,
    v.chance AS expected_uses,
    v.chance * v.warm_up_ms / 1000.0 AS expected_saved_s,
    c.cost AS expected_cost,
    (f.first_ms <= i.warm_since_ms + v.horizon_ms)::int AS realised_uses,
    CASE WHEN f.first_ms IS NULL THEN 0 ELSE i.warm_since_ms - i.started_ms END / 1000.0
        AS realised_saved_s,
    w.wasted_ms / 1000.0 AS wasted_s,
    w.wasted_ms / 3600000.0 * v.price AS wasted_cost
FROM commands AS c
INNER JOIN verdicts AS v USING (command_id)
INNER JOIN instances AS i USING (command_id)
INNER JOIN pool_clock AS clock ON clock.pool = c.pool
LEFT JOIN LATERAL (
    SELECT min(o.at_ms) AS first_ms
    FROM outcome_parts AS p
    INNER JOIN outcomes AS o USING (request_id, user_id)
    WHERE p.instance_id = i.instance_id AND p.warm
) AS f ON true
CROSS JOIN LATERAL (
    SELECT
        greatest(0, coalesce(f.first_ms, i.gone_ms, clock.now_ms) - i.warm_since_ms)::double precision
            AS wasted_ms
) AS w
WHERE c.action = 'provision' AND i.warm_since_ms IS NOT NULL;

COMMENT ON VIEW decision_value IS
    'What each started instance brought, against what was expected of it. Without it the first '
    'request would have started an instance, which would have served the later ones as well: so '
    'the first use is what was saved, and the time before it what was wasted.';
COMMENT ON COLUMN decision_value.expected_uses IS 'Chance that it is used within the horizon.';
COMMENT ON COLUMN decision_value.realised_uses IS
    '1 when it was used within the horizon from being warm, 0 when later, null when never.';
COMMENT ON COLUMN decision_value.realised_saved_s IS 'The start that its first request was spared.';
COMMENT ON COLUMN decision_value.wasted_s IS 'Warm before its first use, or in vain.';
COMMENT ON COLUMN decision_value.wasted_cost IS 'The same, at its price.';
